"""The patient bootstrap, fast enough for a million films.

Patients are drawn with replacement within strata (those who have films of the same classes), so every draw
has every class. A draw is a whole-number weight for each patient; nothing is copied or sorted again: films
are sorted once, and each draw costs one pass. Cost: films × log(films) once, then films for each draw;
memory: a few dozen bytes a film.

The same seed and the same patients give the same draws, so two models judged on one table are compared
pairwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.evaluate import clusters
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.intervals import percentile
from cxray.evaluate.record import Codes, Estimate, Flags, Floats, estimate

DRAWS = 2000
# Draws are worked on in blocks of about this many film weights: large enough to amortise a numpy call, small
# enough for the processor's cache.
_BLOCK = 1 << 18

Weights = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class PatientBootstrap:
    """Draws of patients, reproducible by `seed`.

    `patient` are dense codes (films,); `group` is the class number of each film (films,), at most 62 classes.
    """

    patient: Codes
    group: Codes
    draws: int = DRAWS
    seed: int = 0

    def blocks(self) -> Iterator[Weights]:
        """Weights of shape (draws in the block, patients), in order; together `draws` rows."""
        patients = int(self.patient.max()) + 1
        strata = self._strata(patients)
        rng = np.random.default_rng(self.seed)
        size = max(1, _BLOCK // self.patient.size)
        for start in range(0, self.draws, size):
            rows = min(size, self.draws - start)
            weights = np.zeros((rows, patients), dtype=np.uint8)
            for members in strata:
                weights[:, members] = _multinomial(rng, rows, members.size)
            yield weights

    def sums(self, values: Floats) -> Floats:
        """Weighted sums of `values` (films, columns) in every draw: (draws, columns)."""
        by_patient = self._by_patient(values)
        return np.concatenate([block.astype(np.float64) @ by_patient for block in self.blocks()])

    def rankings(self, scores: Floats, is_positive: Flags) -> tuple[Floats, Floats]:
        """AUROC and average precision of `scores` (films,) in every draw, each (draws,); NaN where a class is empty."""
        ranks = _Ranks.of(scores, is_positive, self.patient)
        parts = [ranks.measure(block) for block in self.blocks()]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def rankings_and_sums(self, scores: Floats, is_positive: Flags, values: Floats) -> tuple[Floats, Floats, Floats]:
        """AUROC, average precision and the weighted sums of `values` (films, columns), from one run over the draws."""
        ranks = _Ranks.of(scores, is_positive, self.patient)
        by_patient = self._by_patient(values)
        parts = [(*ranks.measure(block), block.astype(np.float64) @ by_patient) for block in self.blocks()]
        areas, precisions, sums = (np.concatenate([part[place] for part in parts]) for place in range(3))
        return areas, precisions, sums

    def partial_areas(self, scores: Floats, is_positive: Flags, least_specificity: float) -> Floats:
        """Partial AUROC where specificity is at least `least_specificity`, not standardised, in every draw."""
        ranks = _Ranks.of(scores, is_positive, self.patient)
        return np.concatenate([ranks.partial_area(block, 1 - least_specificity) for block in self.blocks()])

    def interval(self, value: float, draws: Floats, level: float, *, what: str = "patient bootstrap") -> Estimate:
        """`value` with percentile limits from `draws` of these patients; without limits when patients are few."""
        patients = clusters.count(self.patient)
        if patients < LEAST_PATIENTS:
            return Estimate(value, method=what).noting(f"Only {patients} patients, too few for an interval.")
        return resampled(value, draws, level, what=what)

    def _by_patient(self, values: Floats) -> Floats:
        patients = int(self.patient.max()) + 1
        sums = [np.bincount(self.patient, weights=column, minlength=patients) for column in values.T]
        return np.column_stack(sums).astype(np.float64)

    def _strata(self, patients: int) -> list[Codes]:
        """Patients who have films of the same set of classes."""
        classes = np.zeros(patients, dtype=np.int64)
        np.bitwise_or.at(classes, self.patient, np.left_shift(1, self.group))
        return [np.flatnonzero(classes == kind).astype(np.int64) for kind in np.unique(classes) if kind]


def resampled(value: float, draws: Floats, level: float, *, what: str = "patient bootstrap") -> Estimate:
    """`value` with percentile limits from `draws`; NaN draws (an empty class) are left out.

    When draws are missing or all alike there is no interval, and the estimate says so: a bootstrap cannot look beyond
    the films it has, so it would print a false certainty at a perfect value.
    """
    method = f"{what}, percentile, {len(draws)} draws"
    known = draws[~np.isnan(draws)]
    if known.size < len(draws) / 2:
        return Estimate(value, method=what).noting("Too few patients of one class for an interval.")
    if known.min() == known.max():
        return Estimate(value, method=what).noting("Every draw gives the same value, so there is no interval.")
    low, high = percentile(known, level)
    return estimate(value, min(low, value), max(high, value), method)


def bootstrap_difference(
    measure: Callable[[Floats, Flags], float], scores: Floats, is_positive: Flags, bootstrap: PatientBootstrap
) -> Floats:
    """`measure` of the first model minus the second in every draw, for any measure of (scores, is_positive).

    `scores` has shape (films, 2); both models see the same draws. Slower than the built-in measures, because each draw
    copies its films.
    """
    differences = []
    for block in bootstrap.blocks():
        for weights in block:
            films = np.repeat(np.arange(len(scores)), weights[bootstrap.patient])
            drawn, truth = scores[films], is_positive[films]
            differences.append(measure(drawn[:, 0], truth) - measure(drawn[:, 1], truth))
    return np.array(differences)


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranks:
    """Films sorted once, best score first, the two classes apart.

    For each ill film: how many healthy films score higher (`above`), how many at least as high
    (`not_below`), and how many ill films at least as high (`rank`). Without ties the first two agree.
    """

    ill: Codes
    healthy: Codes
    above: Codes
    not_below: Codes
    rank: Codes

    @classmethod
    def of(cls, scores: Floats, is_positive: Flags, patient: Codes) -> _Ranks:
        positive, negative = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
        positive = positive[np.argsort(-scores[positive], kind="stable")]
        negative = negative[np.argsort(-scores[negative], kind="stable")]
        own, others = -scores[positive], -scores[negative]
        return cls(
            ill=patient[positive],
            healthy=patient[negative],
            above=np.searchsorted(others, own, side="left").astype(np.int64),
            not_below=np.searchsorted(others, own, side="right").astype(np.int64),
            rank=np.searchsorted(own, own, side="right").astype(np.int64),
        )

    def measure(self, weights: Weights) -> tuple[Floats, Floats]:
        ill = weights.take(self.ill, axis=1)
        cleared = _running(weights.take(self.healthy, axis=1))
        found = _running(ill).take(self.rank, axis=1)
        alarms = cleared.take(self.not_below, axis=1)
        healthy_total = cleared[:, -1].astype(np.float64)
        ill_total = found[:, -1].astype(np.float64)
        lost = _weighted_sum(ill, alarms)
        if not np.array_equal(self.above, self.not_below):
            lost = (lost + _weighted_sum(ill, cleared.take(self.above, axis=1))) / 2
        precision = found / np.maximum(found + alarms, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1 - lost / (ill_total * healthy_total), _weighted_sum(ill, precision) / ill_total

    def partial_area(self, weights: Weights, width: float) -> Floats:
        ill = weights.take(self.ill, axis=1)
        cleared = _running(weights.take(self.healthy, axis=1)).astype(np.float64)
        room = width * cleared[:, -1:]
        first = room - cleared.take(self.above, axis=1)
        last = room - cleared.take(self.not_below, axis=1)
        # An ill film adds a strip from its false-alarm rate to the width; among ties the strip ends on a slope.
        slope = np.divide(first**2, 2 * (first - last), out=np.zeros_like(first), where=(first > 0) & (last < 0))
        strip = np.where(last >= 0, (first + last) / 2, slope)
        ill_total = ill.sum(axis=1, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            areas: Floats = _weighted_sum(ill, strip) / (ill_total * cleared[:, -1])
        return areas


def _running(weights: Weights) -> npt.NDArray[np.int32]:
    totals = np.zeros((weights.shape[0], weights.shape[1] + 1), dtype=np.int32)
    np.cumsum(weights, axis=1, dtype=np.int32, out=totals[:, 1:])
    return totals


def _weighted_sum(weights: Weights, values: npt.NDArray[Any]) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", weights.astype(np.float64), values.astype(np.float64, copy=False)))


def _multinomial(rng: np.random.Generator, rows: int, members: int) -> Weights:
    drawn = rng.integers(0, members, size=(rows, members), dtype=np.int32)
    drawn += (np.arange(rows, dtype=np.int32) * members)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * members).reshape(rows, members).astype(np.uint8)
