import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from cxray.data.audit.findings import Finding
from cxray.data.audit.scan import Scan
from cxray.data.audit.shortcuts import (
    check_shortcuts,
    check_transport,
    look_at_whole_films,
    probes_table,
    targets_of,
)
from cxray.records import ImageRecord
from tests.data.audit.conftest import scan_of, two_classes


def found_in(scan: Scan) -> dict[str, Finding]:
    findings, _ = check_shortcuts(scan, targets_of(scan), 0)
    return {finding.code: finding for finding in findings}


def warnings_in(scan: Scan) -> set[str]:
    return {code for code, finding in found_in(scan).items() if finding.severity == "warning"}


def plain_scan(films: int = 400) -> Scan:
    return scan_of(two_classes(films, test_share=0.25))


def test_a_clean_set_has_a_low_floor_and_no_warning(clean_scan: Scan):
    found = found_in(clean_scan)
    assert set(found) == {"shortcut-floor"}
    assert found["shortcut-floor"].severity == "info"
    assert found["shortcut-floor"].evidence["best"]["test"]["value"] < 0.75


def test_an_edge_that_follows_the_class_is_a_border_shortcut():
    scan = plain_scan()
    thumbnails = scan.thumbnails.copy()
    thumbnails[scan.label == "PNEUMONIA", 0, 8:24] //= 4
    found = found_in(dataclasses.replace(scan, thumbnails=thumbnails))
    assert found["shortcut-border"].severity == "warning"
    assert found["shortcut-border"].evidence["worst"]["test"]["value"] > 0.9
    assert "shortcut-corners" not in found
    assert found["shortcut-floor"].evidence["best"]["probe"] == "the outer 1/32 frame"


def test_a_mark_in_a_corner_is_a_corner_shortcut_and_not_a_border_one():
    scan = plain_scan()
    thumbnails = scan.thumbnails.copy()
    thumbnails[scan.label == "PNEUMONIA", 1:5, 1:5] //= 4
    assert warnings_in(dataclasses.replace(scan, thumbnails=thumbnails)) == {"shortcut-corners"}


def test_the_size_of_the_film_is_a_shortcut_when_it_follows_the_class():
    scan = plain_scan()
    rng = np.random.default_rng(0)
    ill = scan.label == "PNEUMONIA"
    wide = rng.integers(200, 300, len(scan))
    assert "shortcut-size" not in found_in(dataclasses.replace(scan, width=wide))
    assert warnings_in(dataclasses.replace(scan, width=wide + 60 * ill)) == {"shortcut-size"}


def test_the_file_size_is_a_shortcut_when_it_follows_the_class():
    scan = plain_scan()
    assert warnings_in(dataclasses.replace(scan, file_bytes=scan.file_bytes + 3000 * (scan.label == "NORMAL"))) == {
        "shortcut-file-bytes"
    }


def test_a_middle_that_only_ill_films_have_is_found_although_it_is_no_slope():
    # Ill films lie between two groups of normal ones; a straight line cannot tell them, a bent one can.
    scan = plain_scan()
    rng = np.random.default_rng(0)
    side = np.where(scan.label == "PNEUMONIA", 0.5, np.where(rng.random(len(scan)) < 0.5, 0.3, 0.7))
    grey = scan.grey.copy()
    grey[:, 0] = side + rng.normal(0, 0.03, len(scan))
    assert warnings_in(dataclasses.replace(scan, grey=grey)) == {"shortcut-intensity"}


def with_metadata(scan: Scan, column: Sequence[str]) -> Scan:
    records = tuple(
        dataclasses.replace(record, metadata={"machine": str(cell)})
        for record, cell in zip(scan.records, column, strict=True)
    )
    return dataclasses.replace(scan, records=records)


def test_a_column_of_the_table_that_follows_the_class_is_a_shortcut():
    scan = plain_scan()
    rng = np.random.default_rng(0)
    chance = np.where(scan.label == "PNEUMONIA", 0.9, 0.2)
    machine = np.where(rng.random(len(scan)) < chance, "portable", "fixed")
    assert warnings_in(with_metadata(scan, machine)) == {"shortcut-metadata"}
    age = np.where(scan.label == "PNEUMONIA", 40, 20) + rng.integers(0, 25, len(scan))
    cells = ["" if index % 7 == 0 else str(value) for index, value in enumerate(age)]
    assert warnings_in(with_metadata(scan, cells)) == {"shortcut-metadata"}


def test_a_column_that_names_each_film_is_no_metadata():
    scan = plain_scan()
    assert "shortcut-metadata" not in found_in(with_metadata(scan, [f"film {n}" for n in range(len(scan))]))


def test_every_class_is_probed_when_there_are_three():
    records = [
        dataclasses.replace(record, label=("A", "B", "C")[index % 3]) for index, record in enumerate(two_classes(300))
    ]
    scan = scan_of(records)
    assert {target.name for target in targets_of(scan)} == {"A", "B", "C"}
    scan = dataclasses.replace(scan, width=scan.width + 50 * (scan.label == "B"))
    assert found_in(scan)["shortcut-size"].evidence["worst"]["target"] == "B"


def multi_label(films: int = 300) -> Scan:
    rng = np.random.default_rng(0)
    records = [
        ImageRecord(
            two_classes(films)[index].path,
            findings={
                "effusion": bool(rng.random() < 0.4),
                "nodule": None if index % 5 == 0 else bool(rng.random() < 0.3),
                "rare": index < 5,
            },
            patient=f"p{index}",
        )
        for index in range(films)
    ]
    return scan_of(records)


def test_findings_are_probed_where_they_are_known_and_frequent_enough():
    scan = multi_label()
    targets = {target.name: target for target in targets_of(scan)}
    assert set(targets) == {"effusion", "nodule"}
    assert targets["nodule"].known.sum() == 240
    scan = dataclasses.replace(scan, height=scan.height + 40 * targets["effusion"].is_positive)
    assert found_in(scan)["shortcut-size"].evidence["worst"]["target"] == "effusion"


@pytest.mark.parametrize(("per_class", "is_probed"), [(19, False), (20, True)])
def test_fewer_than_twenty_patients_of_a_class_are_not_probed(per_class: int, is_probed: bool):
    scan = scan_of(two_classes(2 * per_class))
    assert bool(targets_of(scan)) == is_probed
    assert bool(found_in(scan)) == is_probed


def test_films_of_a_patient_are_never_on_both_sides_of_a_probe():
    # Every patient has a frame of his own and a class by chance: only a probe that knows the patient can tell.
    rng = np.random.default_rng(0)
    records = two_classes(400, films_per_patient=4)
    scan = scan_of(records)
    frames = rng.integers(0, 256, (100, 32, 32), dtype=np.uint8)
    scan = dataclasses.replace(scan, thumbnails=np.repeat(frames, 4, axis=0))
    _, table = check_shortcuts(scan, targets_of(scan), 0)
    border = next(one for one in table if "frame" in one.shortcut)
    assert border.held_out.value < 0.7
    assert border.held_out.high - border.held_out.low > 0.15  # 100 patients, not 400 films


def test_a_threshold_that_does_not_carry_over_is_reported():
    scan = plain_scan(800)
    thumbnails = scan.thumbnails.copy()
    middle = (slice(None), slice(10, 22), slice(10, 22))
    ill, tested = scan.label == "PNEUMONIA", scan.split == "test"
    dark = np.where(ill, 0.7, 1.0) * np.where(tested & ~ill, 0.72, 1.0)
    thumbnails[middle] = (thumbnails[middle] * dark[:, None, None]).astype(np.uint8)
    moved = dataclasses.replace(scan, thumbnails=thumbnails)
    found = check_transport(moved, look_at_whole_films(moved, targets_of(moved), 0))
    assert [finding.code for finding in found] == ["threshold-shift"]
    assert found[0].evidence["train_cross_validated"]["specificity"] > 0.9
    assert found[0].evidence["test"]["specificity"] < 0.6


def test_a_threshold_that_carries_over_is_not(clean_scan: Scan):
    assert check_transport(clean_scan, look_at_whole_films(clean_scan, targets_of(clean_scan), 0)) == []


def test_the_table_has_a_row_for_every_probe_and_empty_cells_without_a_test():
    scan = scan_of(two_classes(100))
    _, probed = check_shortcuts(scan, targets_of(scan), 0)
    table = probes_table(probed)
    assert len(table["probe"]) == len(probed) == 4  # size and metadata do not vary here
    assert np.isnan(table["auroc_test"]).all()
    assert ((table["auroc_cross_validated"] >= 0) & (table["auroc_cross_validated"] <= 1)).all()
