"""A smooth calibration curve and the size of miscalibration: ICI, E50 and E90.

The outcome is regressed on a restricted cubic spline of logit(score); the distance between that curve and the score,
over the films, is the integrated calibration index (mean), E50 (median) and E90. Noise alone makes a distance larger
than 0, and near 0 no bootstrap interval keeps its promise (tried: percentile, basic, log and normal; coverage 0 to 0.95
in simulation). So each is given with the value that a well calibrated model would show on these films, not with limits.

Sources: Austin & Steyerberg 2019 (Statistics in Medicine 38:4051); Harrell, Regression Modeling Strategies, 2.4.5.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cxray.evaluate.calibration import fit_logistic, logit, sigmoid
from cxray.evaluate.record import Codes, Estimate, Flags, Floats, withhold

_KNOT_QUANTILES = {5: (0.05, 0.275, 0.5, 0.725, 0.95), 4: (0.05, 0.35, 0.65, 0.95), 3: (0.1, 0.5, 0.9)}
_SUMMARIES = ("ici", "e50", "e90")
_GRID = 100
# Film evaluations spent on the noise level: 300 draws for small tables, 20 for a million films.
_NOISE_WORK = 20_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class SmoothCurve:
    """A fitted spline: `knots` on the logit scale and coefficients for intercept, logit and the spline terms."""

    knots: Floats
    coefficients: Floats

    def chance(self, scores: Floats) -> Floats:
        """The probability that the curve gives films of these scores."""
        return sigmoid(_basis(logit(scores), self.knots) @ self.coefficients)


def fit(scores: Floats, is_positive: Flags) -> SmoothCurve | None:
    """The smooth curve, with 5 knots or as few as 3 where scores repeat; None when no curve can be fitted.

    Fewer than 10 films of the rarer outcome for each coefficient would draw noise, so knots are given up first.
    """
    logits = logit(scores)
    rarer = min(int(is_positive.sum()), int((~is_positive).sum()))
    for number, quantiles in _KNOT_QUANTILES.items():
        knots = np.unique(np.quantile(logits, quantiles))
        if knots.size < number or (rarer < 10 * number and number > 3):
            continue
        fitted = fit_logistic(_basis(logits, knots), is_positive.astype(np.float64))
        if fitted is not None:
            return SmoothCurve(knots, fitted)
    return None


def integrated_index(scores: Floats, is_positive: Flags, patient: Codes, *, seed: int = 0) -> dict[str, Estimate]:
    """`ici`, `e50` and `e90`: mean, median and 90th percentile of |curve - score|, 0–1, smaller is better."""
    curve = fit(scores, is_positive)
    if curve is None:
        reason = "No smooth calibration curve can be fitted: too few different scores, one class, or separation."
        return dict.fromkeys(_SUMMARIES, withhold(reason))
    sizes = _sizes(curve.chance(scores), scores)
    noise = np.quantile(_noise(scores, patient, curve.knots, seed), 0.95, axis=0)
    return {
        name: Estimate(float(size), method="restricted cubic spline").noting(
            f"A well calibrated model would show up to {limit:.4f} on these films (95 of 100 times)."
        )
        for name, size, limit in zip(_SUMMARIES, sizes, noise, strict=True)
    }


def _noise(scores: Floats, patient: Codes, knots: Floats, seed: int) -> Floats:
    """The three sizes, (draws, 3), when outcomes are drawn from the scores; one Newton step from the true curve.

    Films of one patient share one random number, as in the CORP band.
    """
    rng = np.random.default_rng(seed)
    basis = _basis(logit(scores), knots)
    information = (basis * (scores * (1 - scores))[:, None]).T @ basis
    inverse = np.linalg.pinv(information)
    truth = np.zeros(knots.size)
    truth[1] = 1.0
    draws = int(np.clip(_NOISE_WORK // len(scores), 20, 300))
    sizes = np.empty((draws, len(_SUMMARIES)))
    for draw in range(draws):
        outcome = rng.random(int(patient.max()) + 1)[patient] < scores
        step = inverse @ (basis.T @ (outcome - scores))
        sizes[draw] = _sizes(sigmoid(basis @ (truth + step)), scores)
    return sizes


def points(scores: Floats, is_positive: Flags) -> dict[str, Floats]:
    """The smooth curve on a grid between the 1st and 99th percentile: `score`, `observed`; empty when none fits."""
    curve = fit(scores, is_positive)
    if curve is None:
        return {"score": np.empty(0), "observed": np.empty(0)}
    low, high = np.quantile(scores, [0.01, 0.99])
    grid = np.linspace(low, high, _GRID)
    return {"score": grid, "observed": curve.chance(grid)}


def _sizes(chance: Floats, scores: Floats) -> Floats:
    distance = np.abs(chance - scores)
    return np.array([distance.mean(), *np.quantile(distance, [0.5, 0.9])])


def _basis(logits: Floats, knots: Floats) -> Floats:
    """Intercept, logit and restricted cubic spline terms (films, knots): linear beyond the outer knots."""
    last, before = knots[-1], knots[-2]
    scale = (last - knots[0]) ** 2

    def cubed(values: Floats) -> Floats:
        return np.maximum(values, 0.0) ** 3

    terms = [np.ones_like(logits), logits]
    for knot in knots[:-2]:
        tail = cubed(logits - before) * (last - knot) - cubed(logits - last) * (before - knot)
        terms.append((cubed(logits - knot) - tail / (last - before)) / scale)
    return np.column_stack(terms)
