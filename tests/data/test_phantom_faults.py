"""Planted faults do what they say, the same each time, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.data.phantom_faults import FAULTS, plant
from cxray.errors import ConfigError

COPIES = sorted(name for name in FAULTS if name.startswith("copy-"))
DOSES = {"tiny-validation": 2.0, "shift": 0.2}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_folder(tmp_path_factory.mktemp("faults") / "clean", PhantomPlan(size_px=48), 24, seed=3)


@pytest.fixture
def linked(clean: Path, tmp_path: Path) -> Path:
    """The same films as hard links."""
    for source in clean.glob("*/*/*.png"):
        target = tmp_path / "films" / source.relative_to(clean)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    return tmp_path / "films"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*/*.*"))}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as film:
        return np.asarray(film.convert("L")).astype(int)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_touches_what_it_names_and_leaves_the_sources(fault: str, clean: Path, linked: Path) -> None:
    before, sources = contents(linked), contents(clean)
    planted = plant(linked, fault, DOSES.get(fault, 0.4), seed=1)
    after = contents(linked)
    assert planted.films
    changed = {name for name in after if before.get(name) != after[name]}
    if fault == "patient-overlap":
        assert {name.replace("train/", "test/") for name in planted.films} == set(before) - set(after)
    assert changed <= set(planted.films)
    assert contents(clean) == sources


@pytest.mark.parametrize("fault", FAULTS)
def test_no_dose_no_fault(fault: str, clean: Path, linked: Path) -> None:
    before = contents(linked)
    plant(linked, fault, 0.0, seed=1)
    after = contents(linked)
    if fault in ("marker", "size"):  # without a dose the trait is still there, by chance
        labels = [name.split("/")[1] for name in after if after[name] != before.get(name)]
        assert 0 < labels.count("NORMAL") < 24 and 0 < labels.count("PNEUMONIA") < 24
    elif fault == "quality":
        assert len(after) == len(before)
    elif fault == "shift":
        assert all(np.array_equal(pixels(linked / name), pixels(clean / name)) for name in after)
    else:
        assert after == before


@pytest.mark.parametrize("fault", COPIES)
def test_copies_lie_in_train_under_another_name(fault: str, linked: Path) -> None:
    few = plant(linked, fault, 0.2, seed=4)
    assert all(name.startswith("train/") and "-p2" in name for name in few.films)
    assert all(source.startswith("test/") for source in few.sources)
    assert [n.split("/")[1] for n in few.films] == [s.split("/")[1] for s in few.sources]
    many = plant(linked, fault, 0.5, seed=4)
    assert many.sources[: len(few.sources)] == few.sources


def test_what_the_changes_do(linked: Path) -> None:
    (copy,) = plant(linked, "copy-mirrored", 0.01, seed=0).films
    (source,) = plant(linked, "copy-mirrored", 0.01, seed=0).sources
    assert np.array_equal(pixels(linked / copy)[:, ::-1], pixels(linked / source))
    name = plant(linked, "inverted", 0.01, seed=0).films[0]
    assert (linked / name).is_file()
    tiny = plant(linked, "tiny-validation", 2, seed=0).films
    assert len(tiny) == 8 and all(name.startswith("val/") for name in tiny)


def test_traits_follow_the_class_as_far_as_the_dose_says(linked: Path) -> None:
    plant(linked, "size", 1.0, seed=2)
    widths = {path.parent.name: set() for path in linked.glob("*/*/*")}
    for path in linked.glob("*/*/*.png"):
        widths[path.parent.name].add(pixels(path).shape[1])
    assert widths == {"NORMAL": {48}, "PNEUMONIA": {36}}


def test_equal_seeds_plant_equal_faults(clean: Path, tmp_path: Path) -> None:
    names = []
    for number in range(2):
        folder = tmp_path / str(number)
        for source in clean.glob("*/*/*.png"):
            (folder / source.relative_to(clean).parent).mkdir(parents=True, exist_ok=True)
            os.link(source, folder / source.relative_to(clean))
        plant(folder, "foreign", 0.1, seed=9)
        names.append(contents(folder))
    assert names[0] == names[1]


@pytest.mark.parametrize(("fault", "dose"), [("marker", 1.01), ("shift", -0.1), ("inverted", 0.6)])
def test_doses_outside_their_range(fault: str, dose: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"dose of {fault} must be between"):
        plant(tmp_path, fault, dose, seed=0)
    with pytest.raises(ConfigError, match="There is no fault 'typo'"):
        plant(tmp_path, "typo", dose, seed=0)
