"""Changing the last step of a finished model to fit local films: offset, scale, or the whole linear head.

    threshold      the scores stay, a new operating point is chosen by the bundle's policy
    recalibrate    logits × slope + bias: one slope, one bias a class (vector scaling with a single slope; Guo and
                   others 2017), for a hospital with other prevalence or exposure
    head           a correction to the linear head on the unchanged features, drawn towards no correction by a penalty

All are small convex problems on what the bundle's graph gives for each film; no TensorFlow. Which of them a number of
local films can carry is decided outside, on patients that took no part in the fit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import UsageError
from cxray.runtime.cross_entropy import loss_and_slope

AS_IS, THRESHOLD, RECALIBRATE, HEAD = "as_is", "threshold", "recalibrate", "head"
METHODS = (AS_IS, THRESHOLD, RECALIBRATE, HEAD)
PENALTIES = (0.01, 0.1, 1.0, 10.0)
# Draws slope and bias towards 1 and 0; felt only where a handful of films would send them to infinity.
_GENTLE = 1e-3
_ITERATIONS = 200

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class LocalFilms:
    """What the unchanged model says about local films whose truth is known.

    `logits` (n, K) and `features` (n, F) come from the graph; `wanted` (n, K) is 1 or 0, NaN = unknown; `exclusive`
    says whether each film has exactly one class (softmax) or any number of findings (sigmoid).
    """

    logits: Floats
    features: Floats
    wanted: Floats
    exclusive: bool

    def __len__(self) -> int:
        return len(self.logits)

    def of(self, rows: npt.NDArray[Any]) -> LocalFilms:
        """The films of some rows: a boolean mask (N,) or integer positions."""
        return dataclasses.replace(
            self, logits=self.logits[rows], features=self.features[rows], wanted=self.wanted[rows]
        )

    def loss(self, logits: Floats) -> float:
        """Mean cross-entropy of other logits (n, K) for the same films."""
        return _loss_and_slope(logits, self.wanted, self.exclusive)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """New logits = `slope` × logits + features @ `weights` + `bias`; `weights` (F, K), `bias` (K,)."""

    slope: float
    weights: Floats
    bias: Floats

    def applied(self, films: LocalFilms) -> Floats:
        """Logits (n, K) after the change."""
        return np.asarray(self.slope * films.logits + films.features @ self.weights + self.bias)


def no_change(films: LocalFilms) -> Change:
    """The change that leaves everything as it is."""
    return Change(1.0, np.zeros((films.features.shape[1], films.logits.shape[1])), np.zeros(films.logits.shape[1]))


def fit_change(method: str, films: LocalFilms, penalty: float = 1.0) -> Change:
    """Fit one of `METHODS` to local films; `penalty` is used by "head" alone.

    Raises:
        UsageError: no such method.
    """
    if method not in METHODS:
        raise UsageError(f"There is no method {method!r} of adaptation.", f"Choose one of {', '.join(METHODS)}.")
    if method in (AS_IS, THRESHOLD):
        return no_change(films)
    if method == RECALIBRATE:
        return _recalibrated(films)
    return _corrected(films, penalty)


def _recalibrated(films: LocalFilms) -> Change:
    classes = films.logits.shape[1]

    def objective(values: Floats) -> tuple[float, Floats]:
        slope, bias = values[0], values[1:]
        loss, by_logit = _loss_and_slope(slope * films.logits + bias, films.wanted, films.exclusive)
        loss += _GENTLE / 2 * ((slope - 1) ** 2 + float(bias @ bias))
        gradient = np.concatenate([[(by_logit * films.logits).sum()], by_logit.sum(axis=0)])
        return loss, gradient + _GENTLE * np.concatenate([[slope - 1], bias])

    # A negative slope would turn the ranking round; a model that is wrong that way needs a new head, not a new scale.
    found = _minimise(
        objective, np.concatenate([[1.0], np.zeros(classes)]), bounds=[(0.0, None)] + [(None, None)] * classes
    )
    unchanged = no_change(films)
    return Change(float(found[0]), unchanged.weights, found[1:])


def _corrected(films: LocalFilms, penalty: float) -> Change:
    mean = films.features.mean(axis=0)
    deviation = np.maximum(films.features.std(axis=0), 1e-6)
    standard = (films.features - mean) / deviation
    shape = (standard.shape[1] + 1, films.logits.shape[1])

    def objective(flat: Floats) -> tuple[float, Floats]:
        table = flat.reshape(shape)
        moved = films.logits + standard @ table[:-1] + table[-1]
        loss, by_logit = _loss_and_slope(moved, films.wanted, films.exclusive)
        loss += penalty / 2 * float((table[:-1] ** 2).sum()) + _GENTLE / 2 * float((table[-1] ** 2).sum())
        gradient = np.vstack([standard.T @ by_logit + penalty * table[:-1], by_logit.sum(axis=0) + _GENTLE * table[-1]])
        return loss, gradient.ravel()

    table = _minimise(objective, np.zeros(shape[0] * shape[1])).reshape(shape)
    weights = table[:-1] / deviation[:, None]
    return Change(1.0, weights, table[-1] - mean @ weights)


def _loss_and_slope(logits: Floats, wanted: Floats, exclusive: bool) -> tuple[float, Floats]:
    """Mean cross-entropy over known cells, and its derivative by the logits (n, K)."""
    if exclusive:
        return loss_and_slope(logits, wanted, np.full(len(logits), 1 / len(logits)))
    known = ~np.isnan(wanted)
    return loss_and_slope(logits, np.where(known, wanted, 0.0), known / max(1, int(known.sum())))


def _minimise(objective: Any, start: Floats, bounds: Any = None) -> Floats:
    from scipy.optimize import minimize

    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS})
    return np.asarray(found.x, dtype=np.float64)
