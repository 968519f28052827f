"""Folds of patients: whole, even, drawn from a seed, and never more than there are patients for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cxray.data.crossfold import assign_folds, joined_patients
from cxray.errors import SplitError, UsageError
from cxray.records import ImageRecord


def patients(ill: int, well: int, films: int = 3) -> list[ImageRecord]:
    return [
        ImageRecord(Path(f"{label}-{patient}-{film}.png"), label=label, patient=f"{label}{patient}")
        for label, count in (("ILL", ill), ("WELL", well))
        for patient in range(count)
        for film in range(1 + patient % films)
    ]


@pytest.mark.parametrize("folds", [2, 5])
def test_every_patient_is_held_out_whole_and_once_with_classes_even(folds: int) -> None:
    records = patients(20, 40)
    fold_of = assign_folds(records, folds, seed=0)
    assert set(fold_of.tolist()) == set(range(1, folds + 1))
    homes = {(record.patient, int(fold)) for record, fold in zip(records, fold_of, strict=True)}
    assert len(homes) == 60
    counts = Counter((record.label, int(fold)) for record, fold in zip(records, fold_of, strict=True))
    for label in ("ILL", "WELL"):
        shares = [counts[label, fold] for fold in range(1, folds + 1)]
        assert max(shares) - min(shares) <= 4


def test_one_fold_holds_out_a_fifth_and_the_rest_is_never_held_out() -> None:
    fold_of = assign_folds(patients(20, 20), 1, seed=0)
    assert set(fold_of.tolist()) == {0, 1}
    assert 0.15 <= (fold_of == 1).mean() <= 0.25


def test_folds_depend_on_the_seed_and_nothing_else() -> None:
    records = patients(10, 10)
    np.testing.assert_array_equal(assign_folds(records, 3, seed=1), assign_folds(records, 3, seed=1))
    assert (assign_folds(records, 3, seed=1) != assign_folds(records, 3, seed=2)).any()


def test_too_few_patients_of_a_class_are_refused_and_one_more_is_enough() -> None:
    assign_folds(patients(4, 9), 3, seed=0)
    with pytest.raises(SplitError, match="'ILL' has films of 3 patients, too few for 3 parts"):
        assign_folds(patients(3, 9), 3, seed=0)
    with pytest.raises(UsageError, match="At least 1 fold is needed, got 0"):
        assign_folds(patients(9, 9), 0, seed=0)


def test_a_rare_finding_may_be_missing_in_a_fold() -> None:
    records = [
        ImageRecord(Path(f"{n}.png"), findings={"mass": n == 0, "edema": n % 2 == 0}, patient=str(n)) for n in range(12)
    ]
    assert set(assign_folds(records, 3, seed=0).tolist()) == {1, 2, 3}


def test_patients_who_share_a_copy_of_a_film_become_one() -> None:
    names = ["a", "b", "c", "d", "d"]
    assert joined_patients(names, []) == names
    assert joined_patients(names, [(0, 3), (2, 4)]) == ["a + c + d", "b", "a + c + d", "a + c + d", "a + c + d"]
