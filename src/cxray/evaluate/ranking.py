"""AUROC: how often an ill film gets a higher score than a healthy one.

Own implementation because no Python package examined is clustered by patient and safe at the boundary: fast
DeLong by midranks (Sun & Xu 2014), variances summed per patient after Obuchowski 1997, limits on the logit
scale, and a score interval where the variance estimate fails (AUROC of 0 or 1, or a tiny class).

Arrays: `scores` float64 (films,) or (films, models), larger = more ill; `is_positive` bool (films,);
`patient` codes.
"""

from __future__ import annotations

import numpy as np

from cxray.evaluate import clusters
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.intervals import boundary, logit_scale, normal_quantile, two_sided_p, wald
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, estimate, withhold

# Below this many patients in a class the delta method is too narrow in simulation (tests/long), so the score
# interval takes over.
TINY_CLASS = LEAST_PATIENTS


def auroc(scores: Floats, is_positive: Flags) -> float:
    """The area under the ROC curve, ties counted half; NaN when a class is empty."""
    if is_positive.all() or not is_positive.any():
        return float("nan")
    return float(_placements(scores, is_positive)[0].mean())


def delong_covariance(scores: Floats, is_positive: Flags, patient: Codes) -> tuple[Floats, Floats]:
    """AUROC of several models on the same films, with their covariance clustered by patient.

    `scores` has shape (films, models). Returns values (models,) and covariance (models, models). With one
    film a patient this is DeLong, DeLong & Clarke-Pearson 1988; otherwise Obuchowski 1997, equation 5,
    including the term for patients who have films of both classes. Both classes must be present.
    """
    placed = [_placements(column, is_positive) for column in scores.T]
    positive = np.column_stack([pair[0] for pair in placed])
    negative = np.column_stack([pair[1] for pair in placed])
    values: Floats = positive.mean(axis=0)
    ill, healthy = patient[is_positive], patient[~is_positive]
    of_ill = clusters.totals((positive - values) / len(positive), ill)
    of_healthy = clusters.totals((negative - values) / len(negative), healthy)
    covariance = _corrected(len(of_ill)) * of_ill.T @ of_ill
    covariance += _corrected(len(of_healthy)) * of_healthy.T @ of_healthy
    both, in_ill, in_healthy = np.intersect1d(np.unique(ill), np.unique(healthy), return_indices=True)
    if both.size:
        cross = of_ill[in_ill].T @ of_healthy[in_healthy]
        covariance += _corrected(clusters.count(patient)) * (cross + cross.T)
    return values, covariance


def auroc_influence(scores: Floats, is_positive: Flags) -> tuple[float, Floats]:
    """AUROC, and what each film adds to its error (films,): placement values centred and divided by the class size."""
    positive, negative = _placements(scores, is_positive)
    value = float(positive.mean())
    influence = np.empty(len(scores))
    influence[is_positive] = (positive - value) / positive.size
    influence[~is_positive] = (negative - value) / negative.size
    return value, influence


def auroc_interval(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """AUROC with an interval that never leaves 0–1 and never has zero width."""
    if is_positive.all() or not is_positive.any():
        return withhold("AUROC needs films of both classes, but only one is present.", "DeLong")
    values, covariance = delong_covariance(scores[:, None], is_positive, patient)
    value, variance = float(values[0]), float(covariance[0, 0])
    ill, healthy = clusters.count(patient[is_positive]), clusters.count(patient[~is_positive])
    if variance <= 0 or value in (0.0, 1.0) or min(ill, healthy) < TINY_CLASS:
        low, high = score_interval(value, ill, healthy, level)
        found = estimate(value, low, high, "score interval (Hanley-McNeil variance at the limit)")
        return found.noting(_why_score(value, ill, healthy))
    low, high = logit_scale(value, float(np.sqrt(variance)), level)
    is_clustered = clusters.count(patient) < len(patient)
    return estimate(value, low, high, "clustered DeLong, logit scale" if is_clustered else "DeLong, logit scale")


def score_interval(value: float, positives: int, negatives: int, level: float = LEVEL) -> tuple[float, float]:
    """Limits L where |value - L| is exactly z standard errors, the error taken at L.

    Uses the variance of Hanley & McNeil 1982 (Radiology 143:29); Newcombe 2006 (Statistics in Medicine
    25:559) recommends this kind of interval when the value is near 1.
    """
    squared = normal_quantile(level) ** 2

    def is_outside(limit: float) -> bool:
        return (value - limit) ** 2 > squared * _hanley_mcneil(limit, positives, negatives)

    return boundary(is_outside, 0.0, value), boundary(is_outside, 1.0, value)


def paired_test(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> tuple[Estimate, float]:
    """First model minus second on the same films: the difference in AUROC with its interval, and the p value.

    `scores` has shape (films, 2). Identical rankings give a difference of 0 and p = 1.
    """
    values, covariance = delong_covariance(scores, is_positive, patient)
    difference = float(values[0] - values[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    plain = Estimate(difference, method="paired DeLong")
    fewest = min(clusters.count(patient[is_positive]), clusters.count(patient[~is_positive]))
    if difference == 0 and variance <= 1e-15:
        return plain.noting("Both models rank every film alike."), 1.0
    if fewest < TINY_CLASS or variance <= 1e-15:
        return plain.noting(f"Only {fewest} patients in the smaller class, too few for an interval."), 1.0
    error = variance**0.5
    low, high = wald(difference, error, level)
    return estimate(difference, max(-1.0, low), min(1.0, high), "paired DeLong"), two_sided_p(difference / error)


def contrast_test(scores: Floats, is_positive: Flags, patient: Codes, contrast: Floats) -> tuple[float, float]:
    """Joint test that every row of `contrast` (rows, models) times the AUROCs is zero: chi-squared and p
    value.

    Source: DeLong 1988, section 4.
    """
    from scipy.special import chdtrc

    values, covariance = delong_covariance(scores, is_positive, patient)
    gap = contrast @ values
    statistic = float(gap @ np.linalg.solve(contrast @ covariance @ contrast.T, gap))
    return statistic, float(chdtrc(len(contrast), statistic))


def hand_till(scores: Floats, truth: Codes) -> float:
    """The multi-class AUROC M of Hand & Till 2001 (Machine Learning 45:171), equation 7.

    `scores` has shape (films, classes), `truth` holds class numbers. Classes without a film are left out;
    NaN when fewer than two are left.
    """
    present = np.unique(truth)
    pairs = [(i, j) for i in present for j in present if i < j]
    areas = []
    for i, j in pairs:
        rows = (truth == i) | (truth == j)
        areas.append((auroc(scores[rows, i], truth[rows] == i) + auroc(scores[rows, j], truth[rows] == j)) / 2)
    return float(np.mean(areas)) if areas else float("nan")


def _placements(scores: Floats, is_positive: Flags) -> tuple[Floats, Floats]:
    positive, negative = scores[is_positive], scores[~is_positive]
    return _share_below(positive, np.sort(negative)), 1 - _share_below(negative, np.sort(positive))


def _share_below(values: Floats, others: Floats) -> Floats:
    left = np.searchsorted(others, values, side="left")
    right = np.searchsorted(others, values, side="right")
    return (left + right) / (2 * others.size)


def _corrected(groups: int) -> float:
    return groups / (groups - 1) if groups > 1 else 1.0


def _hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    both_higher = area / (2 - area)
    higher_than_both = 2 * area * area / (1 + area)
    spread = (positives - 1) * (both_higher - area**2) + (negatives - 1) * (higher_than_both - area**2)
    return (area * (1 - area) + spread) / (positives * negatives)


def _why_score(value: float, ill: int, healthy: int) -> str:
    if min(ill, healthy) < TINY_CLASS:
        return f"Only {min(ill, healthy)} patients in the smaller class; the interval takes each patient once."
    return f"An AUROC of {value:g} leaves DeLong no variance; the interval takes each patient once."
