import dataclasses
from pathlib import Path

import pytest

from cxray.data.audit.findings import Finding
from cxray.data.audit.leaks import check_leaks
from cxray.data.audit.scan import Scan
from cxray.data.identity import Identity
from cxray.records import ImageRecord
from tests.data.audit.conftest import scan_of, two_classes

GIVEN = Identity("column", "given", "the patient column", 0)


def found_in(scan: Scan, identity: Identity = GIVEN) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_leaks(scan, identity)}


def test_a_clean_division_has_counts_and_nothing_else():
    found = found_in(scan_of(two_classes(400, test_share=0.0)))
    assert list(found) == ["counts"]
    train = found["counts"].evidence["splits"]["train"]
    assert train["classes"] == {"NORMAL": {"films": 200, "patients": 200}, "PNEUMONIA": {"films": 200, "patients": 200}}
    assert found["counts"].evidence["always_most_frequent_class"] == {"train": 0.5}


def test_a_patient_on_two_sides_is_an_error_and_only_a_warning_when_the_reading_is_assumed():
    records = two_classes(200, test_share=0.2)
    records[0] = dataclasses.replace(records[0], split="test")
    records[2] = dataclasses.replace(records[2], patient=records[0].patient)
    scan = scan_of(records)
    leak = found_in(scan)["patient-leak"]
    assert leak.severity == "error"
    assert leak.evidence["patients"] == 1
    assert leak.evidence["crossings"] == {"test and train": 1}
    assert len(leak.files) == 2
    assumed = found_in(scan, Identity("generic", "assumed", "a word", 0))["patient-leak"]
    assert assumed.severity == "warning"


def test_siblings_are_counted_as_a_film_by_film_split_would_leak_them():
    found = found_in(scan_of(two_classes(200, films_per_patient=2)))["sibling-films"]
    # Two films each: a held-out film's sibling is in train with probability 1 - 0.15.
    assert found.evidence["films_with_sibling_in_train"] == pytest.approx(0.85)
    assert "sibling-films" not in found_in(scan_of(two_classes(200)))


@pytest.mark.parametrize(("films", "is_small"), [(48, True), (50, False)])
def test_validation_is_too_small_below_twenty_five_films_of_a_class(films: int, is_small: bool):
    records = [
        dataclasses.replace(record, split="validation" if index < films else "train")
        for index, record in enumerate(two_classes(400))
    ]
    assert ("validation-too-small" in found_in(scan_of(records))) == is_small


def test_sixteen_validation_films_say_nothing_even_if_all_are_right():
    records = [
        dataclasses.replace(record, split="validation" if index < 16 else "train")
        for index, record in enumerate(two_classes(400))
    ]
    found = found_in(scan_of(records))["validation-too-small"]
    assert found.severity == "warning"
    # Wilson's lower limit of 16 of 16, from the closed form n / (n + z²).
    assert found.evidence["wilson_lower_limit_all_right"] == pytest.approx(0.8064, abs=5e-4)
    assert found.evidence["points_per_film"] == 6.25


def test_a_small_test_is_an_info():
    assert found_in(scan_of(two_classes(100, test_share=0.2)))["test-too-small"].severity == "info"
    assert "test-too-small" not in found_in(scan_of(two_classes(600, test_share=0.2)))


def numbered(is_test: list[bool]) -> Scan:
    records = [
        ImageRecord(Path(f"films/s{n:05d}.png"), label="NORMAL", split="test" if out else "train", patient=f"id{n:04d}")
        for n, out in enumerate(is_test)
    ]
    return scan_of(records)


def test_a_block_of_numbers_is_no_random_sample():
    found = found_in(numbered([80 <= n < 160 for n in range(400)]))["contiguous-split"]
    assert found.severity == "warning"
    family = found.evidence["families"][0]
    assert family["held_out_numbers"] == [80, 159]
    assert family["runs"] == 3
    # Expected runs of a random order: 2·80·320/400 + 1.
    assert found.evidence["runs_expected_at_random"] == 129


def test_random_or_alternating_numbers_are_no_block():
    import numpy as np

    random = np.random.default_rng(0).random(400) < 0.2
    assert "contiguous-split" not in found_in(numbered(list(random)))
    assert "contiguous-split" not in found_in(numbered([n % 5 == 0 for n in range(400)]))


def test_without_a_held_out_split_there_is_no_block():
    assert "contiguous-split" not in found_in(numbered([False] * 100))


def test_films_without_patients_are_ordered_by_their_names():
    records = [
        ImageRecord(Path(f"films/img_{n:05d}.png"), label="NORMAL", split="test" if n < 60 else "train")
        for n in range(200)
    ]
    identity = Identity("none", "none", "no patient column and no known file names", 200, 200)
    assert "contiguous-split" in found_in(scan_of(records), identity)
