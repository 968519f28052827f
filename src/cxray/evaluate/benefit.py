"""Is acting on the scores worth it? Net benefit and decision curves, clustered by patient.

At threshold probability p a miss weighs (1-p)/p false alarms. Net benefit counts true positives minus weighted false
positives, per film judged. Source: Vickers & Elkin 2006 (Medical Decision Making 26:565); interventions avoided:
Vickers et al. 2008. The variance is that of a mean of per-film contributions, summed over patients.
"""

from __future__ import annotations

import numpy as np

from cxray.evaluate import clusters
from cxray.evaluate.intervals import normal_quantile, sandwich
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, withhold

THRESHOLDS: Floats = np.round(np.arange(0.01, 1.0, 0.01), 2)


def net_benefit(
    calls: Flags, is_positive: Flags, patient: Codes, threshold_probability: float, level: float = LEVEL
) -> Estimate:
    """Net benefit of acting on `calls` (bool, films) when a miss weighs (1-p)/p false alarms, per film."""
    gains = per_film_benefit(calls, is_positive, threshold_probability)
    value = float(gains.mean())
    found, _ = sandwich(value, (gains - value) / len(gains), patient, level)
    return found.noting(
        f"A missed ill film weighs as much as {1 / threshold_probability - 1:.3g} false alarms "
        f"(threshold probability {threshold_probability:.3g})."
    )


def net_benefit_at_prevalence(
    calls: Flags,
    is_positive: Flags,
    patient: Codes,
    *,
    threshold_probability: float,
    prevalence: float,
    level: float = LEVEL,
) -> Estimate:
    """Net benefit per film where a share `prevalence` (0–1) is ill, if sensitivity and specificity hold there.

    Needed for tables that were not sampled as patients come, such as case-control collections (Vickers & Elkin 2006).
    """
    if is_positive.all() or not is_positive.any():
        return withhold("Net benefit at another prevalence needs films of both classes.")
    harm = threshold_probability / (1 - threshold_probability)
    found, alarms = calls[is_positive].mean(), calls[~is_positive].mean()
    value = prevalence * found - (1 - prevalence) * harm * alarms
    of_ill = prevalence * (calls - found) / is_positive.sum()
    of_healthy = (1 - prevalence) * harm * (calls - alarms) / (~is_positive).sum()
    answer, _ = sandwich(value, np.where(is_positive, of_ill, -of_healthy), patient, level)
    return answer.noting(f"At a stated prevalence of {prevalence:.1%}, if sensitivity and specificity hold there.")


def decision_curve(
    scores: Floats, is_positive: Flags, patient: Codes, *, level: float = LEVEL, thresholds: Floats = THRESHOLDS
) -> dict[str, Floats]:
    """Net benefit over threshold probabilities, beside calling every film and calling none.

    Columns: `threshold`, `net_benefit` with `low` and `high`, `treat_all`, `treat_none`, `standardised` (net benefit
    over prevalence) and `interventions_avoided` (per 100 films, against calling all).
    """
    rate = float(is_positive.mean())
    gains = [per_film_benefit(scores >= p, is_positive, p) for p in thresholds]
    values = np.array([gain.mean() for gain in gains])
    errors = np.array([_error(gain, patient) for gain in gains])
    half = normal_quantile(level) * errors
    odds = thresholds / (1 - thresholds)
    treat_all = rate - (1 - rate) * odds
    return {
        "threshold": thresholds,
        "net_benefit": values,
        "low": values - half,
        "high": values + half,
        "treat_all": treat_all,
        "treat_none": np.zeros_like(thresholds),
        "standardised": values / rate if rate > 0 else np.zeros_like(values),
        "interventions_avoided": 100 * (values - treat_all) / odds,
    }


def per_film_benefit(calls: Flags, is_positive: Flags, threshold_probability: float) -> Floats:
    """What each film adds to net benefit (films,): 1 for a case found, minus the odds of the threshold for a false
    alarm.
    """
    harm = threshold_probability / (1 - threshold_probability)
    return np.where(calls, np.where(is_positive, 1.0, -harm), 0.0)


def _error(gains: Floats, patient: Codes) -> float:
    return float(np.sqrt(clusters.sandwich(((gains - gains.mean()) / len(gains))[:, None], patient)[0, 0]))
