"""Groups of films that lack a class: named when one class never met them, silent when both did or too few speak."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from cxray.data.audit.findings import Finding
from cxray.data.audit.groups import check_groups, groups_of, one_class_groups
from cxray.data.audit.prints import FEWEST_FILMS, corner_prints, same_print
from cxray.data.audit.scan import Scan, scan_films
from cxray.data.audit.shortcuts import targets_of
from cxray.data.intake import read_dataset
from tests.data.audit.conftest import scan_of, two_classes

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


def found_in(scan: Scan) -> dict[str, Finding]:
    findings, _ = check_groups(scan, targets_of(scan), 0)
    return {finding.code: finding for finding in findings}


def with_fact(scan: Scan, has_it: Flags) -> Scan:
    """The scan with a column that says of some films that machine A made them."""
    records = tuple(
        dataclasses.replace(record, metadata={"machine": "A" if own else "B"})
        for record, own in zip(scan.records, has_it, strict=True)
    )
    return dataclasses.replace(scan, records=records)


def lettered(text: str, seed: int, side: int = 224, up: int = 0) -> np.ndarray:
    """A grey film with slow noise and white lettering in its lower right corner, `up` by some 224ths of the side."""
    rng = np.random.default_rng(seed)
    film = Image.fromarray(rng.integers(20, 90, (14, 14), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    ink = ImageDraw.Draw(film)
    place = (side - 34 * side // 224, side - (16 + up) * side // 224)
    ink.text(place, text, fill=250, font=ImageFont.load_default(11 * side // 224))
    return np.asarray(film)


@pytest.fixture
def scan() -> Scan:
    return scan_of(two_classes(400, test_share=0.25))


def test_a_machine_that_one_class_never_met_is_named_with_its_numbers(scan: Scan) -> None:
    ill = np.asarray(scan.label == "PNEUMONIA")
    has_it = ill & (np.arange(len(scan)) % 3 == 0)
    findings, table = check_groups(with_fact(scan, has_it), targets_of(scan), 0)
    assert [finding.code for finding in findings] == ["one-class-group"]
    learned = has_it & (scan.split != "test")
    (group,) = findings[0].evidence["groups"]
    assert group["group"] == "machine A"
    assert group["class"] == "NORMAL"
    assert group["learned_from"] == {
        "films": learned.sum(), "patients": learned.sum(), "films_of_class": 0, "patients_of_class": 0,
    }  # fmt: skip
    outside = ~has_it & (scan.split != "test")
    assert group["expected_patients_of_class"] == pytest.approx(learned.sum() * (~ill)[outside].mean(), rel=1e-3)
    assert set(findings[0].files) == set(scan.names(np.flatnonzero(learned)))
    assert len(table["path"]) == has_it.sum()
    assert set(table["group"]) == {"machine A"}
    assert set(table["has_class_missing"]) == {0}


def test_a_group_that_both_classes_met_is_not_named(scan: Scan) -> None:
    assert found_in(with_fact(scan, np.arange(len(scan)) % 5 < 2)) == {}


def test_too_few_patients_say_nothing_however_clear_they_look(scan: Scan) -> None:
    ill = np.flatnonzero((scan.label == "PNEUMONIA") & (scan.split != "test"))
    has_it = np.zeros(len(scan), dtype=bool)
    has_it[ill[:19]] = True
    assert found_in(with_fact(scan, has_it)) == {}
    has_it[ill[:60]] = True
    assert "one-class-group" in found_in(with_fact(scan, has_it))


def test_films_of_one_patient_count_once(scan: Scan) -> None:
    many = scan_of(two_classes(400, films_per_patient=20))
    has_it = np.asarray(many.label == "PNEUMONIA") & (np.arange(len(many)) % 2 == 0)
    assert has_it.sum() == 100
    assert found_in(with_fact(many, has_it)) == {}


def test_where_the_test_films_contradict_they_are_listed(scan: Scan) -> None:
    tested = scan.split == "test"
    ill = np.asarray(scan.label == "PNEUMONIA")
    has_it = (ill & (np.arange(len(scan)) % 3 == 0)) | (~ill & tested)
    found = found_in(with_fact(scan, has_it))
    assert set(found) == {"one-class-group", "one-class-group-breaks"}
    assert set(found["one-class-group-breaks"].files) == set(scan.names(np.flatnonzero(~ill & tested)))
    assert "48 of 66 test films are NORMAL" in found["one-class-group-breaks"].title


def test_test_films_play_no_part_in_naming_a_group(scan: Scan) -> None:
    tested = np.asarray(scan.split == "test")
    ill = np.asarray(scan.label == "PNEUMONIA")
    assert found_in(with_fact(scan, ill & tested)) == {}


def test_no_false_alarm_in_two_hundred_sets_where_machines_are_drawn_by_chance() -> None:
    scan = scan_of(two_classes(300))
    targets = targets_of(scan)
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        machines = rng.choice(list("ABCDEFGH"), len(scan))
        records = tuple(
            dataclasses.replace(record, metadata={"machine": machine})
            for record, machine in zip(scan.records, machines, strict=True)
        )
        alarms += bool(one_class_groups(dataclasses.replace(scan, records=records), targets, 0))
    assert alarms <= 2


def test_the_same_print_is_one_group_and_other_prints_are_not_in_it() -> None:
    films = [lettered("KV59", seed) for seed in range(40)] + [lettered("12:34", seed, up=8) for seed in range(40, 80)]
    films += [lettered("", seed) for seed in range(80, 120)]
    groups = same_print(np.stack([corner_prints(film) for film in films]), 0)
    assert set(groups) == {"print 1 in the lower right corner", "print 2 in the lower right corner"}
    assert {tuple(np.flatnonzero(group)) for group in groups.values()} == {tuple(range(40)), tuple(range(40, 80))}


def test_a_print_is_the_same_on_a_larger_film_and_rare_prints_are_no_group() -> None:
    films = [lettered("KV59", seed, side=224 * (1 + seed % 2)) for seed in range(40)]
    films += [lettered("RARE", seed, up=8) for seed in range(40, 40 + FEWEST_FILMS - 1)]
    groups = same_print(np.stack([corner_prints(film) for film in films]), 0)
    assert [tuple(np.flatnonzero(group)) for group in groups.values()] == [tuple(range(40))]


def test_a_value_that_changes_from_film_to_film_stays_one_print() -> None:
    films = [lettered(f"KV{50 + seed}", seed) for seed in range(40)]
    groups = same_print(np.stack([corner_prints(film) for film in films]), 0)
    assert [group.sum() for group in groups.values()] == [40]


def test_films_of_any_size_have_prints_of_one_size() -> None:
    for shape in ((1, 1), (7, 300), (300, 7), (2000, 1500)):
        assert corner_prints(np.zeros(shape, dtype=np.uint8)).shape == (4, 196)


def test_more_films_than_are_compared_are_still_all_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxray.data.audit.prints._MOST_COMPARED", 50)
    monkeypatch.setattr("cxray.data.audit.prints._COMPARED_AT_ONCE", 64)
    films = [lettered("KV59", seed) for seed in range(100)] + [lettered("12", seed) for seed in range(100, 200)]
    groups = same_print(np.stack([corner_prints(film) for film in films]), 3)
    assert {tuple(np.flatnonzero(group)) for group in groups.values()} == {tuple(range(100)), tuple(range(100, 200))}


def test_a_printed_machine_is_found_in_films_on_disk(copy_folder: Callable[[int], Path]) -> None:
    folder = copy_folder(1)
    chosen = sorted(folder.glob("train/PNEUMONIA/*.png"))
    for path in chosen[: len(chosen) * 2 // 3]:
        film = Image.open(path).convert("L").resize((224, 224))
        ink = ImageDraw.Draw(film)
        ink.rectangle((186, 204, 224, 224), fill=0)
        ink.text((190, 208), "KV59", fill=255, font=ImageFont.load_default(11))
        film.save(path)
    scan = scan_films(read_dataset(folder), folder)
    found = found_in(dataclasses.replace(scan, height=np.full(len(scan), 96), width=np.full(len(scan), 96)))
    names = {group["group"] for group in found["one-class-group"].evidence["groups"]}
    assert names == {"print 1 in the lower right corner"}


def test_a_clean_set_has_groups_and_no_finding(clean_scan: Scan) -> None:
    assert groups_of(clean_scan, 0)
    assert found_in(clean_scan) == {}


def test_findings_of_one_film_are_asked_one_by_one() -> None:
    plain = two_classes(300)
    records = [
        dataclasses.replace(
            record,
            label="",
            findings={"Effusion": index % 2 == 0, "Mass": index % 5 == 0},
            metadata={"machine": "A" if index % 4 == 1 else "B"},
        )
        for index, record in enumerate(plain)
    ]
    found = found_in(scan_of(records))
    (group,) = found["one-class-group"].evidence["groups"]
    assert (group["group"], group["class"]) == ("machine A", "Effusion")


def test_two_machines_that_share_no_class_are_both_named(scan: Scan) -> None:
    found = found_in(with_fact(scan, np.asarray(scan.label == "PNEUMONIA")))
    named = {(group["group"], group["class"]) for group in found["one-class-group"].evidence["groups"]}
    assert named == {("machine A", "NORMAL"), ("machine B", "PNEUMONIA")}


def test_marks_are_what_a_white_top_hat_leaves() -> None:
    film = lettered("KV59", 1)
    corner = film[-28:, -56:]
    expected = corner - ndimage.grey_opening(corner, (5, 5)) > 60
    assert expected.any()
    np.testing.assert_array_equal(np.unpackbits(corner_prints(film)[3]).reshape(28, 56).astype(bool), expected)
