"""Tiny classifiers as instruments: how well does a handful of numbers predict a target, patient by patient?

A probe is a logistic regression on a few standardised features. Its AUROC comes from cross-validation with whole
patients held out, and from other films it never saw ("transported"). Intervals resample patients, not films. A probe
shows what is in the data; it says nothing about what a given network uses.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from cxray.tables import Column

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FOLDS = 5
# With fewer patients on one side an AUROC is mostly noise: its standard error is about 0.3 / √20 = 0.07.
MINIMUM_PATIENTS = 20
_DRAWS = 200


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Plain numbers."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % interval {self.low:.3f}–{self.high:.3f})"


def patient_codes(patient: Column) -> Integers:
    """Patients as integers 0 … patients-1, shape (films,)."""
    return np.unique(patient.astype(str), return_inverse=True)[1].astype(np.int64)


def has_enough(target: Flags, patient: Integers) -> bool:
    """Whether both sides have films of at least `MINIMUM_PATIENTS` patients."""
    sides = (patient[target], patient[~target])
    return min(len(np.unique(side)) for side in sides) >= MINIMUM_PATIENTS


def folds_of(patient: Integers, seed: int) -> Integers:
    """A fold 0 … FOLDS-1 for every film, whole patients together, drawn at random and of about equal size."""
    shuffled = np.random.default_rng(seed).permutation(int(patient.max()) + 1)[patient]
    fold = np.empty(len(patient), dtype=np.int64)
    for number, (_, held_out) in enumerate(GroupKFold(FOLDS).split(shuffled, groups=shuffled)):
        fold[held_out] = number
    return fold


def fit(features: Floats, target: Flags) -> Pipeline:
    """A probe fitted on float64 (films, features) and bool (films,)."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(features, target)


def held_out_scores(features: Floats, target: Flags, patient: Integers, seed: int) -> Floats:
    """The log odds that a probe gives each film when it has seen no film of its patient, float64 (films,)."""
    fold = folds_of(patient, seed)
    scores = np.empty(len(target))
    for number in range(FOLDS):
        held_out = fold == number
        learned = ~held_out
        if target[learned].all() or not target[learned].any():
            scores[held_out] = 0.0
            continue
        scores[held_out] = fit(features[learned], target[learned]).decision_function(features[held_out])
    return scores


def auroc(scores: Floats, target: Flags, patient: Integers, seed: int) -> Interval:
    """AUROC with an interval from 200 resamples of patients; both sides must be present.

    Ties count half. A resample that lost one side is left out.
    """
    ill, healthy = scores[target], np.sort(scores[~target])
    order = np.argsort(scores[~target], kind="stable")
    below, up_to = np.searchsorted(healthy, ill, "left"), np.searchsorted(healthy, ill, "right")

    def weighted(weight: Floats) -> Floats:
        """AUROC for each row of film weights (draws, films)."""
        of_ill = weight[:, target]
        cumulated = np.concatenate([np.zeros((len(weight), 1)), np.cumsum(weight[:, ~target][:, order], axis=1)], 1)
        wins = of_ill * (cumulated[:, below] + cumulated[:, up_to]) / 2
        pairs = of_ill.sum(axis=1) * cumulated[:, -1]
        return np.asarray(wins.sum(axis=1)[pairs > 0] / pairs[pairs > 0])

    patients = int(patient.max()) + 1
    rng = np.random.default_rng(seed)
    value = float(weighted(np.ones((1, len(scores))))[0])
    even = np.full(patients, 1 / patients)
    # In portions: all draws of a hundred thousand films at once would not fit.
    draws = [
        weighted(rng.multinomial(patients, even, size=20)[:, patient].astype(np.float64)) for _ in range(_DRAWS // 20)
    ]
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    return Interval(value, min(float(low), value), max(float(high), value))


def curved(features: Floats) -> Floats:
    """Each feature and its standardised square, cut off at 3 standard deviations, so that a probe may bend once."""
    spread = features.std(axis=0)
    standard = np.clip((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1), -3, 3)
    return np.column_stack([standard, standard**2])


def components(films: npt.NDArray[np.floating[Any]], reference: Flags, most: int = 64) -> Floats:
    """Films (N, pixels) as whitened principal components (N, ≤ most), found on the films of `reference`.

    Directions in which these hardly vary are left out: whitening would turn their rounding errors into features. A
    column of zeros is returned when nothing varies.
    """
    known = films[reference]
    mean = known.mean(axis=0)
    centred = known - mean
    covariance = (centred.T @ centred).astype(np.float64) / max(len(known) - 1, 1)
    variance, directions = np.linalg.eigh(covariance)
    useful = np.flatnonzero(variance > 1e-6 * max(float(variance[-1]), 1e-9))[::-1][: min(most, len(known) - 1)]
    if not useful.size:
        return np.zeros((len(films), 1))
    whitening = (directions[:, useful] / np.sqrt(variance[useful])).astype(films.dtype)
    return np.asarray((films - mean) @ whitening, dtype=np.float64)
