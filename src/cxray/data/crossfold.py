"""Dividing patients into folds, so that every film is judged once by a model that never saw its patient.

Folds are drawn by scikit-learn's stratified, grouped K-fold: patients stay whole, classes stay even. Films that are
copies of each other count as one patient's.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cxray.data.split import stratum
from cxray.errors import SplitError, UsageError
from cxray.records import ImageRecord

# With one fold, the share of patients that judges is one in five.
SINGLE_FOLD_PARTS = 5


def assign_folds(records: Sequence[ImageRecord], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """int64 (n,): the fold, from 1, in which each film is held out; with one fold, 0 for films that never are.

    Raises:
        UsageError: fewer than one fold.
        SplitError: a class has fewer patients than there are parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 1:
        raise UsageError(f"At least 1 fold is needed, got {folds}.")
    parts = SINGLE_FOLD_PARTS if folds == 1 else folds
    strata = np.array(_strata(records), dtype=object)
    patients = np.array([record.patient for record in records], dtype=object)
    if any(record.label for record in records):  # a rare finding may be missing in a fold, a class may not
        _check_patients(strata, patients, parts)
    fold_of = np.zeros(len(records), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        drawn = StratifiedGroupKFold(parts, shuffle=True, random_state=seed).split(strata, strata, patients)
        for number, (_, held_out) in enumerate(drawn, start=1):
            fold_of[held_out] = number
    return np.where(fold_of <= folds, fold_of, 0)


def joined_patients(patients: Sequence[str], copies: Iterable[tuple[int, int]]) -> list[str]:
    """The patient of each film after patients who share a copy of a film became one, named "a + b"."""
    leader = {patient: patient for patient in patients}

    def find(patient: str) -> str:
        while leader[patient] != patient:
            patient = leader[patient]
        return patient

    for first, second in copies:
        a, b = sorted((find(patients[first]), find(patients[second])))
        leader[b] = a
    members = defaultdict(list)
    for patient in sorted(leader):
        members[find(patient)].append(patient)
    return [" + ".join(members[find(patient)]) for patient in patients]


def _strata(records: Sequence[ImageRecord]) -> list[str]:
    rarity = Counter(name for record in records for name, value in record.findings.items() if value)
    return [stratum(record, rarity) for record in records]


def _check_patients(strata: npt.NDArray[np.object_], patients: npt.NDArray[np.object_], parts: int) -> None:
    for name in sorted(set(strata)):
        count = len(set(patients[strata == name]))
        # Inside every fold training needs two patients of a class more: one to learn from, one to validate on.
        if count < parts + 1:
            raise SplitError(
                f"{name!r} has films of {count} patients, too few for {parts} parts that all can be learned from.",
                "Use fewer --folds, or add patients.",
            )
