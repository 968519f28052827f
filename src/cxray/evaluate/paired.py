"""Two answers to the same yes/no question on the same films: tests and intervals for the difference of two shares.

`only_first` and `only_second` count the films that only one of the two got right (the discordant pairs), `films` counts
all. Sensitivity and specificity are compared apart; pooling them would weigh them by the prevalence.

Sources: McNemar 1947; Fagerland, Lydersen & Laake 2013 (mid-p); Newcombe 1998 (Statistics in Medicine 17:2635, method
10); Tango 1998 (Statistics in Medicine 17:891); Obuchowski 1998 (Statistics in Medicine 17:1495, clustered test).
"""

from __future__ import annotations

import math

import numpy as np

from cxray.evaluate import clusters
from cxray.evaluate.intervals import boundary, normal_quantile, two_sided_p, wilson
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, estimate, withhold


def mcnemar(only_first: int, only_second: int, *, corrected: bool = False) -> tuple[float, float]:
    """McNemar's chi-squared (1 degree of freedom) and its p value; `corrected` for continuity."""
    discordant = only_first + only_second
    if discordant == 0:
        return 0.0, 1.0
    gap = max(0.0, abs(only_first - only_second) - (1 if corrected else 0))
    statistic = gap * gap / discordant
    return statistic, two_sided_p(math.sqrt(statistic))


def mcnemar_exact(only_first: int, only_second: int, *, mid: bool = False) -> float:
    """The exact two-sided p value, or the mid-p value, which is less conservative."""
    from scipy.special import bdtr, gammaln

    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    fewer = min(only_first, only_second)
    tail = 2 * float(bdtr(fewer, discordant, 0.5))
    if not mid:
        return min(1.0, tail)
    # On the log scale, because the binomial coefficient of a thousand pairs overflows.
    ways = gammaln(discordant + 1) - gammaln(fewer + 1) - gammaln(discordant - fewer + 1)
    return min(1.0, tail - math.exp(ways - discordant * math.log(2)))


def newcombe(both: int, only_first: int, only_second: int, neither: int, level: float = LEVEL) -> tuple[float, float]:
    """Limits of share(first) - share(second), Newcombe's method 10 for pairs."""
    films = both + only_first + only_second + neither
    rates = (both + only_first) / films, (both + only_second) / films
    (low_first, high_first), (low_second, high_second) = (wilson(rate * films, films, level) for rate in rates)
    link = _phi(both, only_first, only_second, neither)
    below = _hypotenuse(rates[0] - low_first, high_second - rates[1], link)
    above = _hypotenuse(high_first - rates[0], rates[1] - low_second, link)
    difference = rates[0] - rates[1]
    return difference - below, difference + above


def tango(only_first: float, only_second: float, films: float, level: float = LEVEL) -> tuple[float, float]:
    """Score limits of share(first) - share(second); counts need not be whole, so effective sizes are accepted."""
    z = normal_quantile(level)
    estimate_ = (only_first - only_second) / films

    def is_outside(limit: float) -> bool:
        return abs(_tango_score(only_first, only_second, films, limit)) > z

    return boundary(is_outside, -1.0, estimate_), boundary(is_outside, 1.0, estimate_)


def paired_difference(first: Flags, second: Flags, patient: Codes, level: float = LEVEL) -> tuple[Estimate, float]:
    """Share right of the first minus the second on the same films, and the p value.

    `first` and `second` (films,) say whether each was right. With one film a patient: Tango's limits and the mid-p
    value. Otherwise the counts are divided by the design effect of the difference, and the test is Obuchowski's.
    """
    if first.size == 0:
        return withhold("No film of this class to compare on."), 1.0
    gap = first.astype(np.float64) - second
    only_first, only_second = int((gap > 0).sum()), int((gap < 0).sum())
    patients = clusters.count(patient)
    if patients == gap.size:
        limits = tango(only_first, only_second, gap.size, level)
        return estimate(gap.mean(), *limits, "Tango, mid-p"), mcnemar_exact(only_first, only_second, mid=True)
    sums = clusters.totals(gap, patient)
    spread = float(((gap - gap.mean()) ** 2).sum())
    centred = clusters.totals(gap - gap.mean(), patient)
    effect = max(1.0, float(centred @ centred) / spread) if spread > 0 else gap.size / patients
    limits = tango(only_first / effect, only_second / effect, gap.size / effect, level)
    p = two_sided_p(float(sums.sum()) / math.sqrt(float(sums @ sums))) if sums.any() else 1.0
    return estimate(gap.mean(), *limits, "cluster-adjusted Tango, Obuchowski's test"), p


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p values, in the given order (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(order)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def benjamini_hochberg(p_values: list[float]) -> list[float]:
    """Adjusted p values that control the false discovery rate, in the given order (Benjamini & Hochberg 1995)."""
    order = np.argsort(p_values, kind="stable")[::-1]
    adjusted = [0.0] * len(order)
    smallest = 1.0
    for passed, place in enumerate(order):
        smallest = min(smallest, p_values[place] * len(order) / (len(order) - passed))
        adjusted[place] = smallest
    return adjusted


def cochran_q(right: Flags) -> tuple[float, float]:
    """Cochran's Q for several models, `right` bool (films, models), and its p value; for two it is McNemar's test."""
    from scipy.special import chdtrc

    models = right.shape[1]
    by_model, by_film = right.sum(axis=0).astype(float), right.sum(axis=1).astype(float)
    spread = models * by_film.sum() - (by_film**2).sum()
    if spread == 0:
        return 0.0, 1.0
    statistic = (models - 1) * (models * (by_model**2).sum() - by_model.sum() ** 2) / spread
    return float(statistic), float(chdtrc(models - 1, statistic))


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    sides = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if sides == 0:
        return 0.0
    product: float = both * neither - only_first * only_second
    if product > 0:
        # Newcombe's continuity correction applies to positive association only.
        product = max(product - (both + only_first + only_second + neither) / 2, 0)
    return product / math.sqrt(sides)


def _hypotenuse(first: float, second: float, link: float) -> float:
    return math.sqrt(max(0.0, first * first - 2 * link * first * second + second * second))


def _tango_score(only_first: float, only_second: float, films: float, limit: float) -> float:
    # Tango 1998, equations 4 and 5: the discordant share of the second under a true difference of `limit`.
    middle = -only_first - only_second + (2 * films - only_first + only_second) * limit
    constant = -only_second * limit * (1 - limit)
    share = (math.sqrt(max(0.0, middle * middle - 8 * films * constant)) - middle) / (4 * films)
    variance = films * (2 * share + limit * (1 - limit))
    gap = only_first - only_second - films * limit
    if variance <= 0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)
