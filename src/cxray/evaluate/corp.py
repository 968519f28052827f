"""The CORP reliability diagram: the curve that fits best among all rising ones, without bins to choose.

The Brier score splits exactly into miscalibration - discrimination + uncertainty. The band shows where the curve
would lie by chance if the scores were right. Source: Dimitriadis, Gneiting & Jordan 2021 (PNAS 118:e2016191118).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cxray.evaluate.record import LEVEL, Codes, Flags, Floats

_BAND_DRAWS = 400
_BAND_POINTS = 100
# The band of a larger table is drawn from this many films: its width is scaled up, never down.
_BAND_FILMS = 50_000


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """Brier score = `miscalibration` - `discrimination` + `uncertainty`, all 0–1."""

    brier: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def decompose(scores: Floats, is_positive: Flags) -> Decomposition:
    """Split the Brier score of `scores` (films,) against `is_positive` (films,)."""
    truth = is_positive.astype(np.float64)
    brier = float(((scores - truth) ** 2).mean())
    recalibrated = float(((recalibrate(scores, is_positive) - truth) ** 2).mean())
    uncertainty = float(truth.mean() * (1 - truth.mean()))
    return Decomposition(brier, brier - recalibrated, uncertainty - recalibrated, uncertainty)


def recalibrate(scores: Floats, is_positive: Flags) -> Floats:
    """Each film's score after isotonic recalibration, (films,)."""
    values, place = np.unique(scores, return_inverse=True)
    return _fit(values, place, is_positive)[place]


def curve(scores: Floats, is_positive: Flags) -> dict[str, Floats]:
    """The corners of the curve: `score`, `observed` share of ill films, and `films` that share the step."""
    values, place = np.unique(scores, return_inverse=True)
    fitted = _fit(values, place, is_positive)
    films = np.bincount(place)
    steps = np.diff(fitted) != 0
    keep = np.concatenate([[True], steps]) | np.concatenate([steps, [True]])
    piece = np.concatenate([[0], np.cumsum(steps)])
    return {
        "score": values[keep],
        "observed": fitted[keep],
        "films": np.bincount(piece, weights=films)[piece][keep],
    }


def consistency_band(scores: Floats, patient: Codes, *, level: float = LEVEL, seed: int = 0) -> dict[str, Floats]:
    """Where the curve would lie by chance if every score were right: `score`, `low`, `high` on a grid.

    Outcomes are drawn from the scores themselves. Films of one patient share one random number, because one child's
    films usually share one truth; this widens the band as clustering should.
    """
    rng = np.random.default_rng(seed)
    if len(scores) > _BAND_FILMS:
        kept = rng.choice(len(scores), _BAND_FILMS, replace=False)
        scores, patient = scores[kept], patient[kept]
    values, place = np.unique(scores, return_inverse=True)
    grid = np.unique(np.quantile(values, np.linspace(0, 1, _BAND_POINTS)))
    owners, owner = np.unique(patient, return_inverse=True)
    curves = np.empty((_BAND_DRAWS, grid.size))
    for draw in range(_BAND_DRAWS):
        truth = rng.random(owners.size)[owner] < scores
        curves[draw] = np.interp(grid, values, _fit(values, place, truth))
    tail = (1 - level) / 2
    low, high = np.quantile(curves, [tail, 1 - tail], axis=0)
    return {"score": grid, "low": low, "high": high}


def _fit(values: Floats, place: Codes, is_positive: Flags) -> Floats:
    from scipy.optimize import isotonic_regression

    films = np.bincount(place, minlength=values.size).astype(np.float64)
    ill = np.bincount(place, weights=is_positive, minlength=values.size)
    return np.asarray(isotonic_regression(ill / films, weights=films).x, dtype=np.float64)
