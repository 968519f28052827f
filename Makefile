# One word a chore. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
FOLDER ?= tutorial-run

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup:  ## .venv with the locked libraries of every extra
	PYTHON=$(PYTHON) sh scripts/setup

check:  ## lint, formatting, types
	sh scripts/check

test:  ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long:  ## the statistical promises by simulation, about four minutes
	$(BIN)/python -m pytest tests/long

cover:  ## the suite once more, with the lines it never reached
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

docs:  ## the site, strictly and offline, in build/site
	$(BIN)/python scripts/site.py

tutorial:  ## run the tutorial in FOLDER and renew page and notebook
	$(BIN)/python scripts/tutorial.py $(FOLDER)

pictures:  ## the pictures of the pages
	$(BIN)/python scripts/pictures.py

bench:  ## a quick look at the speed of the parts
	$(BIN)/python -m pytest benchmarks/test_speed_smoke.py

packages:  ## wheel and sdist, each installed in an empty environment and tried
	$(BIN)/python benchmarks/install_sizes.py --smoke

.PHONY: help setup check test test-long cover docs tutorial pictures bench packages
