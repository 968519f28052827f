import dataclasses

import numpy as np
import pytest

from cxray.data.audit.findings import Finding
from cxray.data.audit.scan import Scan
from cxray.data.audit.shift import check_shift
from tests.data.audit.conftest import relabel, scan_of, two_classes


def found_in(scan: Scan, seed: int = 0) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_shift(scan, seed)}


def test_the_same_source_in_train_and_test_is_no_shift(clean_scan: Scan):
    assert found_in(clean_scan) == {}


def test_a_shift_in_one_class_is_found_and_blamed_on_it():
    scan = scan_of(two_classes(600, test_share=0.3))
    thumbnails = scan.thumbnails.copy()
    thumbnails[(scan.split == "test") & (scan.label == "NORMAL"), :8] //= 2
    found = found_in(dataclasses.replace(scan, thumbnails=thumbnails))["class-shift"]
    assert found.severity == "warning"
    assert found.evidence["worst"] == "NORMAL"
    rows = found.evidence["classes"]
    assert rows["NORMAL"]["auroc"]["value"] > 0.75
    assert rows["NORMAL"]["p"] <= 0.005
    assert rows["PNEUMONIA"]["auroc"]["value"] < 0.6
    assert rows["NORMAL"]["chance"] == pytest.approx(0.5, abs=0.05)


def test_shuffled_splits_raise_an_alarm_no_more_often_than_stated():
    # p < 0.01 in either class and an AUROC of 0.6: at most one in fifty seeds is expected, none in ten is likely.
    scan = scan_of(two_classes(300, test_share=0.3, films_per_patient=2))
    assert sum("class-shift" in found_in(scan, seed) for seed in range(10)) <= 1


def test_another_mix_of_classes_is_a_warning_and_a_like_mix_is_none():
    scan = scan_of(two_classes(1000, test_share=0.3))
    assert "prevalence-difference" not in found_in(scan)
    rng = np.random.default_rng(0)
    chance = np.where(scan.split == "test", 0.4, 0.7)
    label = np.where(rng.random(1000) < chance, "PNEUMONIA", "NORMAL")
    found = found_in(relabel(scan, label=label))["prevalence-difference"]
    assert found.severity == "warning"
    assert found.evidence["classes"]["PNEUMONIA"]["train"] == pytest.approx(0.7, abs=0.04)
    assert found.evidence["classes"]["PNEUMONIA"]["test"] == pytest.approx(0.4, abs=0.06)


def test_one_patient_with_many_films_is_no_difference_in_prevalence():
    # 60 test films of a single ill patient: a large share of films, but the word of one patient only.
    scan = scan_of(two_classes(200, test_share=0.5))
    patient = np.array(scan.patient)
    label = np.array(scan.label)
    of_one = np.flatnonzero(scan.split == "test")[:60]
    patient[of_one], label[of_one] = "one", "PNEUMONIA"
    assert "prevalence-difference" not in found_in(relabel(scan, patient=patient, label=label))


def test_words_in_names_that_divide_a_class_are_strata():
    records = [
        dataclasses.replace(
            record,
            path=record.path.with_name(
                f"person{index}_{'virus' if index % 3 else 'bacteria'}_{index + 900}.png"
                if record.label == "PNEUMONIA"
                else f"healthy_{index}.png"
            ),
        )
        for index, record in enumerate(two_classes(300, test_share=0.2))
    ]
    strata = found_in(scan_of(records))["strata-in-names"]
    assert strata.severity == "info"
    assert set(strata.evidence["classes"]) == {"PNEUMONIA"}
    rows = strata.evidence["classes"]["PNEUMONIA"]
    assert rows["virus"]["films"] + rows["bacteria"]["films"] == 150
    assert rows["virus"]["share_in_test"] == pytest.approx(2 / 3, abs=0.1)


def test_film_counters_are_no_strata(clean_scan: Scan):
    assert "strata-in-names" not in found_in(clean_scan)
