"""What every test may rely on: private cache, log and key, a clean environment, the real films when at hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # read once, when TensorFlow is first imported

import numpy as np
import pytest
from PIL import Image

pytest_plugins = ["tests.runtime_fixtures"]
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def _measured_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines") / "engines.json"


@pytest.fixture(autouse=True)
def _private_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, _measured_engines: Path
) -> Iterator[None]:
    """A cache, state and key of each test's own; only which engine is faster for a graph is measured once for all."""
    cache = tmp_path_factory.mktemp("cache")
    if _measured_engines.exists():
        shutil.copyfile(_measured_engines, cache / _measured_engines.name)
    monkeypatch.setenv("CXRAY_CACHE", str(cache))
    monkeypatch.setenv("CXRAY_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("CXRAY_KEY", str(tmp_path_factory.mktemp("key") / "pseudonym.key"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    yield
    if (cache / _measured_engines.name).exists():
        shutil.copyfile(cache / _measured_engines.name, _measured_engines)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real films, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("CXRAY_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data" / "kermany224").is_dir():
        pytest.skip(f"the real films are not at {folder} (set CXRAY_SHARED)")
    return folder


def draw(path: Path, value: int = 100, side: int = 32, seed: int | None = None) -> Path:
    """Write a small grey film: one value with a gradient, or noise from a seed. The ending decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if seed is None:
        pixels = np.clip(value + np.arange(side)[None, :] - side // 2 + np.zeros((side, 1)), 0, 255)
    else:
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def draw_dataset(root: Path, films: int = 6, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """A folder `splits × NORMAL, PNEUMONIA` of small films, two films a patient, named in the generic grammar."""
    seed = 0
    for split in splits:
        for label in ("NORMAL", "PNEUMONIA"):
            for film in range(films):
                seed += 1
                name = f"patient-{len(split)}{ord(label[0])}{film // 2:02d}-{film}.png"
                draw(root / split / label / name, seed=seed)
    return root
