"""Do the scores mean what they say? Proper scores and logistic recalibration, clustered by patient.

`scores` are probabilities (films,), `is_positive` bool (films,), `patient` codes. Intercepts come in two kinds that
packages confuse: `calibration_intercept` keeps the slope at 1 (calibration in the large), `recalibration_intercept` is
fitted together with the slope. Errors are sandwich estimates summed over patients (Liang & Zeger 1986).

Sources: Van Calster et al. 2019 (BMC Medicine 17:230); Kattan & Gerds 2018 (scaled Brier, IPA); Spiegelhalter 1986.
"""

from __future__ import annotations

import math

import numpy as np

from cxray.evaluate.calibration import fit_logistic, logit, sigmoid
from cxray.evaluate.intervals import sandwich, two_sided_p
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, withhold


def brier(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The mean squared distance between score and outcome: 0 is perfect, smaller is better."""
    return _mean((scores - is_positive) ** 2, patient, level)


def log_loss(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The mean of -log(score of what happened), natural logarithm.

    Withheld when a film was given a score of exactly 0 or 1 and the opposite happened: the loss is then infinite.
    """
    chance = np.where(is_positive, scores, 1 - scores)
    impossible = int(np.count_nonzero(chance == 0))
    if impossible:
        return withhold(
            f"{impossible} films got a score of exactly 0 or 1 and the opposite was true, so the log loss is infinite."
        )
    return _mean(-np.log(chance), patient, level)


def scaled_brier(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """1 - Brier / Brier of always saying the prevalence (IPA): 1 is perfect, 0 no better than the prevalence."""
    loss = (scores - is_positive) ** 2
    rate = is_positive.mean()
    worst = rate * (1 - rate)
    if worst == 0:
        return withhold("The scaled Brier score compares with the prevalence, which needs films of both classes.")
    value = 1 - loss.mean() / worst
    of_worst = (1 - 2 * rate) * (is_positive - rate)
    influence = (-(loss - loss.mean()) / worst + loss.mean() / worst**2 * of_worst) / len(loss)
    return sandwich(value, influence, patient, level, reach=(-math.inf, 1.0))[0]


def observed_expected_ratio(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """Ill films found over ill films promised by the scores: 1 is right, above 1 the scores are too low."""
    observed, expected = float(is_positive.sum()), float(scores.sum())
    if observed == 0 or expected == 0:
        return withhold("The ratio of observed to expected needs at least one ill film and one score above 0.")
    value = observed / expected
    return sandwich(value, is_positive / observed - scores / expected, patient, level, scale="log")[0]


def calibration_intercept(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """Calibration in the large on the logit scale, slope fixed at 1: 0 is right, below 0 the scores are too high."""
    logits = logit(scores)
    design = np.ones((len(scores), 1))
    fitted = fit_logistic(design, is_positive.astype(np.float64), offset=logits)
    if fitted is None:
        return withhold("The calibration intercept needs films of both classes.")
    influence = _influence(design, fitted, logits, is_positive)
    return sandwich(fitted[0], influence[:, 0], patient, level)[0].noting(_saturated(scores))


def recalibration(
    scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL
) -> tuple[Estimate, Estimate]:
    """Slope and intercept of the logistic regression of the outcome on logit(score): 1 and 0 are right.

    A slope below 1 means scores too extreme (overfitting). Withheld when the films are separated perfectly or all
    scores are equal.
    """
    logits = logit(scores)
    design = np.column_stack([logits, np.ones_like(logits)])
    fitted = fit_logistic(design, is_positive.astype(np.float64))
    if fitted is None:
        reason = "The logistic recalibration has no solution: one class, equal scores, or perfect separation."
        return withhold(reason), withhold(reason)
    influence = _influence(design, fitted, np.zeros_like(logits), is_positive)
    note = _saturated(scores)
    slope, intercept = (
        sandwich(value, own, patient, level)[0].noting(note) for value, own in zip(fitted, influence.T, strict=True)
    )
    return slope, intercept


def spiegelhalter(scores: Floats, is_positive: Flags) -> tuple[float, float]:
    """Spiegelhalter's z for calibration and its two-sided p value; films are taken as independent."""
    spread = float(((1 - 2 * scores) ** 2 * scores * (1 - scores)).sum())
    if spread == 0:
        return float("nan"), float("nan")
    z = float(((is_positive - scores) * (1 - 2 * scores)).sum()) / math.sqrt(spread)
    return z, two_sided_p(z)


def binned_error(scores: Floats, is_positive: Flags, bins: int = 10, *, equal_mass: bool = False) -> float:
    """Expected calibration error with `bins` bins of equal width, or of equal numbers of films.

    The value depends on the bins: compare only with the same bins.
    """
    films = len(scores)
    if equal_mass:
        edges = np.quantile(scores, np.linspace(0, 1, bins + 1))
        place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    else:
        # Bins are open below and closed above, the first closed at both ends.
        place = np.clip(np.ceil(scores * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=is_positive - scores, minlength=bins)
    return float(np.abs(gap).sum() / films)


def _mean(losses: Floats, patient: Codes, level: float) -> Estimate:
    if losses.size == 0:
        return withhold("No film can be counted here.")
    value = float(losses.mean())
    return sandwich(value, (losses - value) / losses.size, patient, level, reach=(0.0, math.inf))[0]


def _influence(design: Floats, fitted: Floats, offset: Floats, is_positive: Flags) -> Floats:
    """What each film adds to the error of each coefficient, (films, coefficients)."""
    chance = sigmoid(design @ fitted + offset)
    information = (design * (chance * (1 - chance))[:, None]).T @ design
    scores = design * (is_positive - chance)[:, None]
    return np.linalg.solve(information, scores.T).T.astype(np.float64)


def _saturated(scores: Floats) -> str:
    films = int(np.count_nonzero((scores == 0) | (scores == 1)))
    return f"{films} scores of exactly 0 or 1 were moved inwards by 2^-24." if films else ""
