"""Curves of one yes/no question, as columns ready to draw: ROC, precision-recall and the histogram of scores.

Own code where scikit-learn gives a curve without an interval; `average_precision` follows scikit-learn's
definition (a sum of steps, never the trapezoid). Long curves are thinned to `MOST_POINTS` evenly spaced
points, ends kept.
"""

from __future__ import annotations

import numpy as np

from cxray.evaluate.intervals import proportion
from cxray.evaluate.record import LEVEL, Codes, Flags, Floats

MOST_POINTS = 2000
_BAND_POINTS = 60

Columns = dict[str, Floats]


def roc_points(scores: Floats, is_positive: Flags) -> Columns:
    """Every corner of the ROC curve: `threshold`, `sensitivity`, `specificity`, from no film called to all
    called.

    The first threshold is just above the largest score. Points between two corners of a straight piece are
    left out.
    """
    thresholds, hits, alarms = _cumulative(scores, is_positive)
    sensitivity, false_alarms = hits / hits[-1], alarms / alarms[-1]
    corner = np.ones(len(hits), dtype=bool)
    corner[1:-1] = (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0)
    keep = _thin(np.flatnonzero(corner))
    return {
        "threshold": thresholds[keep],
        "sensitivity": sensitivity[keep],
        "specificity": 1 - false_alarms[keep],
    }


def roc_band(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Columns:
    """Pointwise limits of sensitivity along the ROC curve, clustered by patient, at a few dozen thresholds.

    `low` and `high` belong to `sensitivity` at `threshold`; `specificity` places them on the curve.
    """
    thresholds, hits, alarms = _cumulative(scores, is_positive)
    steps = np.unique(np.linspace(0, alarms[-1], _BAND_POINTS).round())
    chosen = np.unique(np.searchsorted(alarms, steps, side="right") - 1)
    ill, owner = scores[is_positive], patient[is_positive]
    limits = [proportion(ill >= thresholds[place], owner, level) for place in chosen]
    return {
        "threshold": thresholds[chosen],
        "specificity": 1 - alarms[chosen] / alarms[-1],
        "sensitivity": hits[chosen] / hits[-1],
        "low": np.array([found.low for found in limits], dtype=np.float64),
        "high": np.array([found.high for found in limits], dtype=np.float64),
    }


def precision_recall_points(scores: Floats, is_positive: Flags) -> Columns:
    """`threshold`, `recall` and `precision` at every different score, from the highest down."""
    thresholds, hits, alarms = _cumulative(scores, is_positive)
    keep = 1 + _thin(np.arange(len(hits) - 1))
    return {
        "threshold": thresholds[keep],
        "recall": hits[keep] / hits[-1],
        "precision": hits[keep] / (hits[keep] + alarms[keep]),
    }


def average_precision(scores: Floats, is_positive: Flags) -> float:
    """The mean precision over the ill films, ties taken together; NaN without an ill film."""
    if not is_positive.any():
        return float("nan")
    _, hits, alarms = _cumulative(scores, is_positive)
    return float((np.diff(hits) * hits[1:] / (hits[1:] + alarms[1:])).sum() / hits[-1])


def partial_auroc(scores: Floats, is_positive: Flags, least_specificity: float = 0.9) -> float:
    """The area under the ROC curve where specificity is at least `least_specificity`, standardised.

    0.5 is chance and 1 perfect, by McClish's correction (McClish 1989, Medical Decision Making 9:190).
    """
    width = 1 - least_specificity
    _, hits, alarms = _cumulative(scores, is_positive)
    sensitivity, false_alarms = hits / hits[-1], alarms / alarms[-1]
    inside = false_alarms <= width
    along = np.append(false_alarms[inside], width)
    # On a vertical piece several sensitivities share one false-alarm rate; the curve is read where it has
    # ended.
    height = np.append(sensitivity[inside], np.interp(width, false_alarms, sensitivity))
    if false_alarms[inside][-1] == width:
        height[-1] = height[-2]
    area = float(np.sum(np.diff(along) * (height[1:] + height[:-1]) / 2))
    return float(standardised_area(np.array(area), least_specificity))


def standardised_area(area: Floats, least_specificity: float) -> Floats:
    """McClish's correction of a partial area: 0.5 for chance, 1 for a perfect curve."""
    width = 1 - least_specificity
    least = width * width / 2
    return 0.5 * (1 + (area - least) / (width - least))


def score_histogram(scores: Floats, is_positive: Flags, bins: int = 20) -> Columns:
    """Counts of ill (`positive`) and healthy (`negative`) films in equal `bins` of the scores from 0 to 1."""
    edges = np.linspace(0, 1, bins + 1)
    return {
        "low": edges[:-1],
        "high": edges[1:],
        "positive": np.histogram(scores[is_positive], edges)[0].astype(np.float64),
        "negative": np.histogram(scores[~is_positive], edges)[0].astype(np.float64),
    }


def _cumulative(scores: Floats, is_positive: Flags) -> tuple[Floats, Floats, Floats]:
    """Thresholds from high to low, with the ill and healthy films called at each; the first calls none."""
    values, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place[is_positive], minlength=values.size)
    alarms = np.bincount(place[~is_positive], minlength=values.size)
    thresholds = np.concatenate([[np.nextafter(-values[0], np.inf)], -values])
    return thresholds, _from_zero(hits), _from_zero(alarms)


def _from_zero(counts: Codes) -> Floats:
    return np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])


def _thin(places: Codes) -> Codes:
    if len(places) <= MOST_POINTS:
        return places
    return places[np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(np.int64)]
