import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxray.data.audit.files import check_files
from cxray.data.audit.findings import Finding
from cxray.data.audit.scan import Scan, scan_films
from cxray.data.intake import Intake, read_dataset


def found_in(folder: Path) -> dict[str, Finding]:
    intake = read_dataset(folder)
    return {finding.code: finding for finding in check_files(scan_films(intake, folder), intake)}


@pytest.fixture
def folder(copy_folder: Callable[[int], Path]) -> Path:
    return copy_folder(2)


def first(folder: Path) -> Path:
    return sorted((folder / "train" / "NORMAL").iterdir())[0]


def change(path: Path, how: Callable[[Image.Image], Image.Image]) -> str:
    with Image.open(path) as film:
        how(film).save(path)
    return f"train/NORMAL/{path.name}"


def test_a_clean_set_has_nothing_to_report(clean_folder: Path, clean_scan: Scan):
    assert [f.code for f in check_files(clean_scan, read_dataset(clean_folder)) if f.severity != "info"] == []


def test_films_that_cannot_be_read_are_listed_with_the_reason(folder: Path):
    cut = first(folder)
    cut.write_bytes(cut.read_bytes()[:200])
    (folder / "train" / "NORMAL" / "empty.png").touch()
    found = found_in(folder)["unreadable-film"]
    assert (found.severity, found.evidence["films"]) == ("warning", 2)
    assert "is empty (0 bytes)" in found.evidence["reasons"]["train/NORMAL/empty.png"]
    assert "damaged or cut off" in found.evidence["reasons"][f"train/NORMAL/{cut.name}"]


def test_more_than_one_unreadable_film_in_twenty_is_an_error(folder: Path):
    for number in range(30):
        (folder / "train" / "NORMAL" / f"{number}.png").touch()
    assert found_in(folder)["unreadable-film"].severity == "error"


def test_what_is_no_film_is_a_note_and_a_film_in_the_wrong_place_a_warning(folder: Path):
    (folder / "train" / ".DS_Store").touch()
    assert found_in(folder)["stray-files"].severity == "info"
    (folder / "train" / "lost.png").write_bytes(first(folder).read_bytes())
    found = found_in(folder)["stray-files"]
    assert found.severity == "warning"
    assert found.evidence["reasons"]["film outside any class folder"] == 1


def test_a_nested_copy_is_a_warning_and_its_films_are_not_counted_twice(folder: Path, clean_folder: Path):
    before = len(read_dataset(folder).records)
    inner = folder / "chest_xray" / "train" / "NORMAL"
    inner.mkdir(parents=True)
    (inner / "copy.png").write_bytes(first(folder).read_bytes())
    assert found_in(folder)["nested-copies"].evidence == {"copies": 1}
    assert len(read_dataset(folder).records) == before


PLANTED: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
    "blank-film": ("warning", lambda film: Image.new("L", film.size, 90)),
    "tiny-film": ("warning", lambda film: film.resize((63, 63))),
    "inverted-film": ("warning", ImageOps.invert),
    "colour-film": ("warning", lambda film: ImageOps.colorize(film, "blue", "yellow")),
    "odd-aspect": ("warning", lambda film: film.resize((220, 96))),
    "black-border": ("info", lambda film: ImageOps.expand(film.crop((0, 12, 96, 96)), (0, 12, 0, 0), 0)),
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_film_is_found_and_named(code: str, folder: Path):
    severity, how = PLANTED[code]
    name = change(first(folder), how)
    found = found_in(folder)[code]
    assert found.severity == severity
    assert name in found.files
    assert found.evidence["by_class"]["train/NORMAL"]["films"] >= 1
    if code != "black-border":  # some clean phantoms have margins too
        assert found.files == (name,)


def test_grey_films_stored_as_colour_are_only_a_note(folder: Path):
    name = change(first(folder), lambda film: film.convert("RGB"))
    found = found_in(folder)["colour-film"]
    assert (found.severity, found.files) == ("info", (name,))
    assert found.evidence["colour_models"]["RGB"] == 1


def test_sixty_four_pixels_are_not_tiny(folder: Path):
    change(first(folder), lambda film: film.resize((64, 64)))
    assert "tiny-film" not in found_in(folder)


def test_a_film_of_something_else_looks_unusual(folder: Path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8)
    name = change(first(folder), lambda film: Image.fromarray(noise).resize(film.size, Image.Resampling.NEAREST))
    found = found_in(folder)["unusual-film"]
    assert (found.severity, found.files) == ("info", (name,))


def test_all_films_blank_is_reported_without_a_warning_from_numpy(clean_scan: Scan):
    blank = dataclasses.replace(
        clean_scan, thumbnails=np.zeros_like(clean_scan.thumbnails), grey=np.zeros_like(clean_scan.grey)
    )
    intake = Intake(blank.records, blank.classes, False, "splits", None, {})  # type: ignore[arg-type]
    found = {finding.code: finding for finding in check_files(blank, intake)}
    assert found["blank-film"].evidence["share"] == 1
    assert "inverted-film" not in found
