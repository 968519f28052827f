"""Part of the lock: what some extras need, neither more nor less, with versions, hashes and markers as they are."""

from __future__ import annotations

import tomllib

import pytest
from scripts.locked import ROOT, normal, part, roots

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
LOCK = (ROOT / "requirements.txt").read_text("utf-8")
SMALL = """# Every library.
a==1 \\
    --hash=sha256:aa
    # via cxray (pyproject.toml)
b-c==2 ; python_full_version < '3.12' \\
    --hash=sha256:bb
    # via
    #   a
    #   e
d==3 \\
    --hash=sha256:dd
    # via b-c
e==4 \\
    --hash=sha256:ee
    # via cxray (pyproject.toml)
f==5 \\
    --hash=sha256:ff
    # via e
"""


def names(lock: str) -> set[str]:
    return {normal(line) for line in lock.splitlines() if line[:1].isalnum()}


def test_what_is_needed_by_what_is_needed_comes_along_and_nothing_else() -> None:
    kept = part(SMALL, {"a"})
    assert names(kept) == {"a", "b-c", "d"}
    assert "b-c==2 ; python_full_version < '3.12' \\\n    --hash=sha256:bb\n" in kept


def test_every_extra_together_is_the_whole_lock() -> None:
    extras = tomllib.loads(PYPROJECT)["project"]["optional-dependencies"]
    assert names(part(LOCK, roots(PYPROJECT, extras))) == names(LOCK)


def test_the_demo_gets_training_and_the_page_but_no_cluster_and_no_tests() -> None:
    wanted = roots(PYPROJECT, ["train", "serve"])
    kept = names(part(LOCK, wanted))
    assert wanted | {"numpy", "starlette", "pluggy"} <= kept
    assert not kept & {"ray", "pytest", "openvino", "playwright", "pydicom"}


def test_names_are_compared_as_indexes_do_and_an_unknown_extra_is_an_error() -> None:
    assert normal("Jinja2.X_y>=3.1 ; sys_platform == 'x'") == "jinja2-x-y"
    with pytest.raises(KeyError, match="trian"):
        roots(PYPROJECT, ["trian"])
