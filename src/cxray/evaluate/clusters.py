"""Patients as clusters: the unit of analysis.

Films of one patient resemble each other, so variances are summed over patients, not over films. Everything
here takes `patient` codes: int64, shape (films,), 0 … patients-1, or None when every film stands for itself.

Source: Obuchowski 1997 (Biometrics 53:567) for AUROC; Rao & Scott 1992 (Biometrics 48:577) for rates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.evaluate.record import Codes, Floats

# With fewer patients than this, a variance summed over patients cannot be trusted.
LEAST_PATIENTS = 10


def codes(patient: npt.NDArray[Any] | None, rows: int) -> Codes:
    """Dense patient codes, shape (rows,), int64.

    Equal values share a code. An empty text (unknown patient) is a patient of its own, and so is every film
    when `patient` is None.
    """
    if patient is None:
        return np.arange(rows, dtype=np.int64)
    if patient.dtype.kind in "iu":
        return np.unique(patient, return_inverse=True)[1].astype(np.int64)
    seen: dict[object, int] = {}
    return np.fromiter(
        (seen.setdefault(name if name != "" else ("unknown", row), len(seen)) for row, name in enumerate(patient)),
        dtype=np.int64,
        count=rows,
    )


def count(patient: Codes) -> int:
    """How many different patients the codes name."""
    return int(np.count_nonzero(np.bincount(patient))) if patient.size else 0


def totals(values: Floats, patient: Codes) -> Floats:
    """Sum `values`, shape (films,) or (films, columns), over each patient present; rows follow ascending
    code.
    """
    present = np.bincount(patient) > 0
    if values.ndim == 1:
        return _sums(values, patient)[present]
    return np.column_stack([_sums(column, patient)[present] for column in values.T])


def sandwich(influence: Floats, patient: Codes) -> Floats:
    """Covariance of estimates from their influence values, summed over patients.

    `influence` has shape (films, estimates) and columns that sum to about zero: what each film adds to the
    error of each estimate. The result has shape (estimates, estimates).
    """
    sums = totals(influence, patient)
    patients = len(sums)
    # C/(C-1) as in the sample variance: with one film a patient this is the textbook variance of a mean.
    return (sums.T @ sums) * (patients / max(patients - 1, 1))


def design_effect(hits: Floats, patient: Codes) -> float:
    """Variance of a proportion with clustering over the variance without, at least 1.

    `hits` is 0 or 1, shape (films,). With one film a patient it is exactly 1. When all films agree the data
    cannot tell, and each patient is counted once: films divided by patients.
    """
    films, patients = hits.size, count(patient)
    if patients == films:
        return 1.0
    rate = hits.mean()
    if rate in (0.0, 1.0) or patients < LEAST_PATIENTS:
        return films / patients
    sums = totals(hits - rate, patient)
    return max(1.0, float(sums @ sums / (films * rate * (1 - rate))))


def _sums(values: Floats, patient: Codes) -> Floats:
    return np.bincount(patient, weights=values).astype(np.float64, copy=False)
