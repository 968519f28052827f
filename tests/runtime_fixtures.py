"""A tiny real bundle, trained once a session on synthetic films, for every test that needs one."""

from __future__ import annotations

from pathlib import Path

import pytest

PATIENTS = 40
SETTINGS = ("input.height=64", "input.width=64", "train.epochs=3", "split.minimum_validation_films=5")


@pytest.fixture(scope="session")
def phantom_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder train/ test/ × NORMAL PNEUMONIA of synthetic films, 96 pixels a side."""
    from cxray.data.phantom import PhantomPlan, write_phantom_folder

    return write_phantom_folder(tmp_path_factory.mktemp("phantom") / "films", PhantomPlan(size_px=96), PATIENTS, seed=1)


@pytest.fixture(scope="session")
def tiny_run(phantom_films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of recipe demo, made small."""
    pytest.importorskip("tensorflow", reason="needs the extra train")
    from cxray.workflow.train import train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(phantom_films, out, recipe="demo", overrides=SETTINGS)
    return out


@pytest.fixture(scope="session")
def gated_run(phantom_films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with enough validation films for an input gate."""
    pytest.importorskip("tensorflow", reason="needs the extra train")
    from cxray.workflow.train import train

    out = tmp_path_factory.mktemp("runs") / "gated"
    train(phantom_films, out, recipe="demo", overrides=[*SETTINGS, "split.validation_fraction=0.4"])
    return out
