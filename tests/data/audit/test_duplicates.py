import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxray.data.audit.duplicates import Pair, check_duplicates, find_pairs, groups_of, pairs_table
from cxray.data.audit.findings import Finding
from cxray.data.audit.scan import Scan, scan_films
from cxray.data.intake import read_dataset

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 40": lambda film: film,  # saved as JPEG below
    "three quarters of the size": lambda film: film.resize((72, 72)),
    "mirrored": ImageOps.mirror,
    "turned by 4 degrees": lambda film: film.rotate(4, Image.Resampling.BICUBIC),
    "turned by 33 degrees": lambda film: film.rotate(33, Image.Resampling.BICUBIC),
    "turned by a quarter": lambda film: film.rotate(90),
    "upside down": lambda film: film.rotate(180),
    "mirrored and turned": lambda film: ImageOps.mirror(film).rotate(-6, Image.Resampling.BICUBIC),
    "gamma 1.3": lambda film: film.point(lambda grey: 255 * (grey / 255) ** 1.3),
    "brighter": lambda film: film.point(lambda grey: min(255, grey * 1.1 + 8)),
}


def scanned(folder: Path) -> Scan:
    return scan_films(read_dataset(folder), folder)


def findings_of(scan: Scan) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_duplicates(scan, find_pairs(scan))}


def some_film(folder: Path, split: str, label: str) -> Path:
    return sorted((folder / split / label).iterdir())[0]


def test_a_clean_set_has_no_pairs(clean_scan: Scan):
    assert find_pairs(clean_scan) == []
    assert check_duplicates(clean_scan, []) == []
    assert len(pairs_table(clean_scan, [])["first"]) == 0


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_across_splits_is_found_and_is_an_error(change: str, copy_folder: Callable[[int], Path]):
    folder = copy_folder(4)
    source = some_film(folder, "train", "NORMAL")
    with Image.open(source) as film:
        CHANGES[change](film).save(
            folder / "test" / "NORMAL" / "phantom-p9999-f0.jpeg", quality=40 if "JPEG" in change else 95
        )
    scan = scanned(folder)
    pairs = find_pairs(scan)
    assert [(pair.kind, pair.is_mirrored) for pair in pairs] == [("copy", "mirrored" in change)]
    assert (pairs[0].degrees != 0) == ("turned" in change or "down" in change)
    found = findings_of(scan)
    assert found["duplicate-across-splits"].severity == "error"
    assert set(found["duplicate-across-splits"].files) == {
        f"train/NORMAL/{source.name}",
        "test/NORMAL/phantom-p9999-f0.jpeg",
    }
    assert found["duplicate-across-patients"].severity == "info"


def test_the_same_bytes_with_two_labels_are_an_error(copy_folder: Callable[[int], Path]):
    folder = copy_folder(4)
    source = some_film(folder, "train", "NORMAL")
    (folder / "train" / "PNEUMONIA" / source.name).write_bytes(source.read_bytes())
    found = findings_of(scanned(folder))
    assert found["duplicate-contradicting-labels"].severity == "error"
    assert found["duplicate-contradicting-labels"].evidence["pairs_by_kind"] == {"file": 1, "copy": 0, "near": 0}
    assert "duplicate-across-splits" not in found
    assert "duplicate-within-split" in found


def test_pixels_equal_in_another_format_are_one_film(copy_folder: Callable[[int], Path]):
    folder = copy_folder(4)
    source = some_film(folder, "train", "NORMAL")
    stream = io.BytesIO()
    with Image.open(source) as film:
        film.save(stream, "TIFF")
    source.with_suffix(".tiff").write_bytes(stream.getvalue())
    found = findings_of(scanned(folder))
    assert found["duplicate-within-split"].evidence["groups"] == 1
    assert "duplicate-across-patients" not in found


def test_a_film_there_a_hundred_times_is_one_group_of_ninety_nine_pairs(copy_folder: Callable[[int], Path]):
    folder = copy_folder(10)
    source = some_film(folder, "train", "NORMAL")
    for number in range(99):
        (source.parent / f"phantom-p{5000 + number}-f0.png").write_bytes(source.read_bytes())
    scan = scanned(folder)
    assert len(find_pairs(scan)) == 99
    found = findings_of(scan)["duplicate-within-split"]
    assert (found.evidence["groups"], found.evidence["films"], found.severity) == (1, 100, "warning")


def test_groups_join_pairs_that_share_a_film():
    pairs = [Pair(1, 5, "file"), Pair(5, 9, "copy"), Pair(2, 3, "file")]
    assert groups_of(pairs) == [[1, 5, 9], [2, 3]]


def test_films_of_one_patient_are_no_duplicates(clean_scan: Scan):
    # Two exposures of one patient share all anatomy; the clean set has 200 such pairs.
    assert len(set(clean_scan.patient)) == 200
    same = [
        pair for pair in find_pairs(clean_scan) if clean_scan.patient[pair.first] == clean_scan.patient[pair.second]
    ]
    assert same == []


def test_near_pairs_warn_only_when_they_cross_splits(clean_scan: Scan):
    split = clean_scan.split
    train = np.flatnonzero(split == "train")
    test = np.flatnonzero(split == "test")
    inside = check_duplicates(clean_scan, [Pair(int(train[0]), int(train[4]), "near", 0.97, 0.7)])
    across = check_duplicates(clean_scan, [Pair(int(test[0]), int(train[4]), "near", 0.97, 0.7)])
    assert [(finding.code, finding.severity) for finding in inside] == [("near-duplicate", "info")]
    assert [(finding.code, finding.severity) for finding in across] == [("near-duplicate", "warning")]
