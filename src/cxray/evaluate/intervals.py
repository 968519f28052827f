"""Confidence intervals for proportions and for values on the logit scale.

Every interval stays inside the range of its quantity and never has zero width at the boundary. `level` is in
0–1. Names follow Newcombe 1998 (Statistics in Medicine 17:857); the cluster adjustment divides the films by
the design effect (Rao & Scott 1992) before applying Wilson's formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtr, ndtri

from cxray.evaluate import clusters
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, estimate, withhold

_SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "plain": (float, float),
    "log": (math.log, math.exp),
    "logit": (lambda value: float(logit(value)), lambda value: float(expit(value))),
}

_ROUNDING = 1e-12


def normal_quantile(level: float) -> float:
    """The two-sided normal quantile: 1.959964 for 0.95."""
    return float(ndtri(0.5 + level / 2))


def two_sided_p(z: float) -> float:
    """The two-sided p value of a standard normal deviate."""
    return float(2 * ndtr(-abs(z)))


def wilson(successes: float, total: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval; counts need not be whole, so effective sizes are accepted.

    Source: Newcombe 1998, method 3.
    """
    z = normal_quantile(level)
    rate = successes / total
    centre = rate + z * z / (2 * total)
    half = z * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if successes == total else min(1.0, (centre + half) / scale)
    return low, high


def exact(successes: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's exact interval (Newcombe 1998, method 5)."""
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, total - successes + 1, tail))
    high = 1.0 if successes == total else float(betaincinv(successes + 1, total - successes, 1 - tail))
    return low, high


def exact_lower_bound(successes: int, total: int, confidence: float = 0.95) -> float:
    """The one-sided exact lower bound of a proportion: what is proven with `confidence`."""
    return exact(successes, total, 2 * confidence - 1)[0]


def proportion(hits: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """A proportion with its cluster-adjusted Wilson interval.

    `hits` has shape (films,). With one film a patient this is exactly Wilson's interval.
    """
    films = hits.size
    if films == 0:
        return withhold("No film can be counted here.", "Wilson")
    numbers = hits.astype(np.float64)
    effect = clusters.design_effect(numbers, patient)
    effective = films / effect
    low, high = wilson(numbers.mean() * effective, effective, level)
    if effect == 1.0:
        return estimate(numbers.mean(), low, high, "Wilson")
    found = estimate(numbers.mean(), low, high, "cluster-adjusted Wilson")
    return found.noting(f"Design effect {effect:.2f}: {films} films count as {effective:.0f} independent ones.")


def logit_scale(value: float, standard_error: float, level: float = LEVEL) -> tuple[float, float]:
    """Limits of a value strictly between 0 and 1, symmetric on the logit scale (delta method)."""
    z = normal_quantile(level)
    half = z * standard_error / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def log_scale(value: float, standard_error_of_log: float, level: float = LEVEL) -> tuple[float, float]:
    """Limits of a positive ratio, symmetric on the log scale."""
    factor = math.exp(normal_quantile(level) * standard_error_of_log)
    return value / factor, value * factor


def wald(value: float, standard_error: float, level: float = LEVEL) -> tuple[float, float]:
    """value ± z × standard error, for quantities without a bounded range."""
    half = normal_quantile(level) * standard_error
    return value - half, value + half


def sandwich(
    value: float,
    influence: Floats,
    patient: Codes,
    level: float = LEVEL,
    *,
    scale: str = "plain",
    reach: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[Estimate, float]:
    """A value whose error is the sum of what each film adds, with limits, and the p value that it is 0.

    `influence` (films,) is on the `scale` of the limits: `plain`, `log` (positive values) or `logit` (values in 0–1).
    Variances are summed over patients and limits use Student's t with patients - 1 degrees of freedom (Liang & Zeger
    1986; Mancl & DeRouen 2001 on few clusters). Limits are cut at `reach`. Below `LEAST_PATIENTS` the variance itself
    is guesswork, so the value comes without limits and p is 1.
    """
    from scipy.special import stdtr, stdtrit

    patients = clusters.count(patient)
    plain = Estimate(float(value), method="sandwich over patients")
    if patients < LEAST_PATIENTS:
        return plain.noting(f"Only {patients} patients, too few for an interval."), 1.0
    error = float(np.sqrt(clusters.sandwich(influence[:, None], patient)[0, 0]))
    # Equal contributions leave an error of rounding alone, which would print as an interval of no width.
    if error <= _ROUNDING * abs(value):
        return plain.noting("All films agree, so there is no interval."), 1.0
    half = float(stdtrit(patients - 1, 0.5 + level / 2)) * error
    forward, back = _SCALES[scale]
    middle = forward(value)
    low, high = (min(max(back(limit), reach[0]), reach[1]) for limit in (middle - half, middle + half))
    name = "sandwich over patients" if scale == "plain" else f"sandwich over patients, {scale} scale"
    return estimate(value, low, high, name), float(2 * stdtr(patients - 1, -abs(middle / error)))


def mean_of_rates(first: Estimate, second: Estimate, correlation: float) -> tuple[float, float]:
    """Limits of the mean of two proportions by the recovery of variances from their own limits.

    Bounded and never of zero width, unlike the delta method. Source: Zou & Donner 2008 (Statistics in
    Medicine 27:1693), equation 10, with the correlation term.
    """
    low_arms = _arms(first)[0], _arms(second)[0]
    high_arms = _arms(first)[1], _arms(second)[1]
    middle = ((first.value or 0.0) + (second.value or 0.0)) / 2
    return middle - _joint(low_arms, correlation) / 2, middle + _joint(high_arms, correlation) / 2


def independent_difference(first: Estimate, second: Estimate) -> Estimate:
    """First minus second for two independent values, limits recovered from their own.

    For two Wilson intervals this is Newcombe's method 10 for independent proportions (Newcombe 1998, Statistics in
    Medicine 17:873). Withheld when either value or interval is.
    """
    if None in (first.value, first.low, second.value, second.low):
        return withhold("One of the two values has no interval.")
    (below_first, above_first), (below_second, above_second) = _arms(first), _arms(second)
    value = (first.value or 0.0) - (second.value or 0.0)
    low, high = value - math.hypot(below_first, above_second), value + math.hypot(above_first, below_second)
    return estimate(value, low, high, "recovered from both intervals")


def percentile(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of bootstrap draws; draws that are NaN (an empty class) are left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def boundary(is_outside: Callable[[float], bool], outer: float, inner: float) -> float:
    """The point between `outer` (outside an interval) and `inner` (inside) where `is_outside` changes, by bisection."""
    if inner == outer:
        return outer
    for _ in range(200):
        middle = (outer + inner) / 2
        if middle in (outer, inner):
            break
        if is_outside(middle):
            outer = middle
        else:
            inner = middle
    return inner


def _arms(found: Estimate) -> tuple[float, float]:
    value = found.value or 0.0
    return value - (found.low or 0.0), (1.0 if found.high is None else found.high) - value


def _joint(arms: tuple[float, float], correlation: float) -> float:
    first, second = arms
    return math.sqrt(max(0.0, first * first + second * second + 2 * correlation * first * second))
