"""A folder as a reader of the pages has it after typing them in: films and runs under the names of the pages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tutorial_folder(phantom_films: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tutorial asks for, small: synthetic films, a finished run under both names."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(phantom_films, folder / "chest_xray")
    shutil.copytree(phantom_films / "test", folder / "elsewhere")
    for name in ("article", "default"):
        shutil.copytree(tiny_run, folder / "runs" / name)
    return folder
