"""What a clinician asks at a fixed threshold: sensitivity, specificity, predictive values, likelihood ratios
and more.

Everything takes `calls` (bool, films: called positive), `is_positive` (bool, films) and `patient` codes, and
gives `Estimate`s clustered by patient. Rates use cluster-adjusted Wilson limits; ratios are taken on the log
scale (Simel 1991); accuracy, F1 and MCC carry the warning that they reward a wrong threshold (Van Calster et
al. 2025).
"""

from __future__ import annotations

import math

import numpy as np

from cxray.evaluate import clusters
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.intervals import log_scale, mean_of_rates, proportion
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, estimate, withhold
from cxray.evaluate.resample import PatientBootstrap

IMPROPER = "Improper measure: it can prefer a worse model or threshold, so it is never a headline."
# Half a film is added to every cell when one is empty, so that a ratio stays finite (Simel 1991).
_CONTINUITY = 0.5


def sensitivity(calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The share of ill films that are called positive."""
    if not is_positive.any():
        return withhold("No ill film is in the table, so sensitivity cannot be measured.")
    return proportion(calls[is_positive], patient[is_positive], level)


def specificity(calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The share of healthy films that are called negative."""
    if is_positive.all():
        return withhold("No healthy film is in the table, so specificity cannot be measured.")
    return proportion(~calls[~is_positive], patient[~is_positive], level)


def ppv(calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The share of positive calls that are right, at the prevalence of this table."""
    if not calls.any():
        return withhold("No film was called positive, so there is no positive predictive value.")
    found = proportion(is_positive[calls], patient[calls], level)
    return found.noting(f"Holds at this table's prevalence of {is_positive.mean():.1%} only.")


def npv(calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The share of negative calls that are right, at the prevalence of this table."""
    if calls.all():
        return withhold("No film was called negative, so there is no negative predictive value.")
    found = proportion(~is_positive[~calls], patient[~calls], level)
    return found.noting(f"Holds at this table's prevalence of {is_positive.mean():.1%} only.")


def accuracy(calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The share of right calls, to be read beside the share of the larger class."""
    larger = max(is_positive.mean(), 1 - is_positive.mean())
    found = proportion(calls == is_positive, patient, level)
    return found.noting(IMPROPER, f"Always naming the larger class would be right in {larger:.1%}.")


def balanced_accuracy(calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL) -> Estimate:
    """The mean of sensitivity and specificity; limits by recovery from their own (Zou & Donner 2008)."""
    first, second = _both(calls, is_positive, patient, level)
    if first.value is None or second.value is None:
        return withhold("Balanced accuracy needs films of both classes.")
    influence = _rate_influence(calls, is_positive, first.value, second.value)
    covariance = clusters.sandwich(influence, patient)
    spread = math.sqrt(covariance[0, 0] * covariance[1, 1])
    low, high = mean_of_rates(first, second, covariance[0, 1] / spread if spread > 0 else 0.0)
    middle = (first.value + second.value) / 2
    return estimate(middle, low, high, "recovered from Wilson limits").noting(IMPROPER)


def likelihood_ratios(
    calls: Flags, is_positive: Flags, patient: Codes, level: float = LEVEL
) -> tuple[Estimate, Estimate]:
    """LR+ = sensitivity / (1 - specificity) and LR- = (1 - sensitivity) / specificity, limits on the log
    scale.
    """
    if is_positive.all() or not is_positive.any():
        absent = withhold("Likelihood ratios need films of both classes.")
        return absent, absent
    return (
        _ratio(calls, is_positive, patient, level),
        _ratio(~calls, is_positive, patient, level),
    )


def at_prevalence(
    calls: Flags, is_positive: Flags, patient: Codes, prevalence: float, level: float = LEVEL
) -> tuple[Estimate, Estimate]:
    """PPV and NPV where a share `prevalence` (0–1, ends excluded) of films is ill, by Bayes' rule.

    Limits on the logit scale after Mercaldo, Lau & Zhou 2007 (Statistics in Medicine 26:2170), variances
    clustered. Assumes that sensitivity and specificity stay what they are here.
    """
    first, second = _both(calls, is_positive, patient, level)
    if first.value is None or second.value is None:
        absent = withhold("Predictive values at another prevalence need films of both classes.")
        return absent, absent
    odds = prevalence / (1 - prevalence)
    positive, negative = likelihood_ratios(calls, is_positive, patient, level)
    if positive.value is None or negative.value is None:
        return positive, negative
    note = f"At a stated prevalence of {prevalence:.1%}, if sensitivity and specificity hold there."
    return _after(odds, positive, note), _after(1 / odds, _inverse(negative), note)


def f1_and_mcc(
    calls: Flags, is_positive: Flags, bootstrap: PatientBootstrap, level: float = LEVEL
) -> tuple[Estimate, Estimate]:
    """F1 (harmonic mean of sensitivity and PPV) and MCC (Matthews' correlation, -1 to 1), from the same draws."""
    cells = _cells(calls, is_positive)
    draws = bootstrap.sums(cells)
    whole = cells.sum(axis=0)[None]
    reasons = "F1 needs a film that is ill or called.", "MCC needs both classes and both calls."
    first, second = (
        withhold(reason)
        if math.isnan(float(measure(whole)[0]))
        else bootstrap.interval(float(measure(whole)[0]), measure(draws), level).noting(IMPROPER)
        for measure, reason in zip((_f1, _mcc), reasons, strict=True)
    )
    return first, second


def _both(calls: Flags, is_positive: Flags, patient: Codes, level: float) -> tuple[Estimate, Estimate]:
    return sensitivity(calls, is_positive, patient, level), specificity(calls, is_positive, patient, level)


def _cells(calls: Flags, is_positive: Flags) -> Floats:
    pairs = (calls & is_positive, calls & ~is_positive, ~calls & is_positive, ~calls & ~is_positive)
    return np.column_stack(pairs).astype(np.float64)


def _rate_influence(calls: Flags, is_positive: Flags, first: float, second: float) -> Floats:
    """What each film adds to the error of sensitivity and of specificity: (films, 2)."""
    of_ill = np.where(is_positive, calls - first, 0.0) / is_positive.sum()
    of_healthy = np.where(is_positive, 0.0, ~calls - second) / (~is_positive).sum()
    return np.column_stack([of_ill, of_healthy])


def _ratio(calls: Flags, is_positive: Flags, patient: Codes, level: float) -> Estimate:
    """Share of ill films called over share of healthy films called."""
    if clusters.count(patient) < LEAST_PATIENTS:
        return withhold("Likelihood ratios need at least ten patients.")
    is_single = clusters.count(patient) == len(patient)
    method = "log scale" if is_single else "clustered, log scale"
    if any(calls[group].all() or not calls[group].any() for group in (is_positive, ~is_positive)):
        return _ratio_with_empty_cell(calls, is_positive, patient, level)
    shares = calls[is_positive].mean(), calls[~is_positive].mean()
    influence = _rate_influence(calls, is_positive, shares[0], 1 - shares[1])
    # The second column speaks of specificity, whose error is minus that of the false-alarm share.
    on_log = influence[:, 0] / shares[0] + influence[:, 1] / shares[1]
    variance = float((clusters.totals(on_log, patient) ** 2).sum())
    value = float(shares[0] / shares[1])
    return estimate(value, *log_scale(value, math.sqrt(variance), level), method)


def _ratio_with_empty_cell(calls: Flags, is_positive: Flags, patient: Codes, level: float) -> Estimate:
    shares, variance = [], 0.0
    for group in (is_positive, ~is_positive):
        films = group.sum() + 2 * _CONTINUITY
        share = (calls[group].sum() + _CONTINUITY) / films
        effect = clusters.design_effect(calls[group].astype(np.float64), patient[group])
        variance += effect * (1 - share) / (share * films)
        shares.append(share)
    value = shares[0] / shares[1]
    found = estimate(value, *log_scale(value, math.sqrt(variance), level), "log scale, half a film added")
    return found.noting("One cell is empty; half a film was added to every cell.")


def _after(odds: float, ratio: Estimate, note: str) -> Estimate:
    """The probability that follows from prior `odds` and a likelihood ratio; it rises with the ratio."""
    value, low, high = (
        (odds * (limit or 0.0)) / (1 + odds * (limit or 0.0)) for limit in (ratio.value, ratio.low, ratio.high)
    )
    return estimate(value, low, high, "Bayes' rule, logit scale").noting(note, *ratio.assumptions)


def _inverse(ratio: Estimate) -> Estimate:
    value, low, high = (1 / (limit or math.inf) for limit in (ratio.value, ratio.high, ratio.low))
    return Estimate(value, low, high, ratio.method, assumptions=ratio.assumptions)


def _f1(cells: Floats) -> Floats:
    hits, alarms, misses, _ = cells.T
    total = 2 * hits + alarms + misses
    return _quotient(2 * hits, total)


def _mcc(cells: Floats) -> Floats:
    hits, alarms, misses, cleared = cells.T
    scale = np.sqrt((hits + alarms) * (hits + misses) * (cleared + alarms) * (cleared + misses))
    product = hits * cleared - alarms * misses
    return _quotient(product, scale)


def _quotient(upper: Floats, lower: Floats) -> Floats:
    """Elementwise quotient, NaN where the lower part is 0."""
    result = np.full_like(lower, np.nan)
    np.divide(upper, lower, out=result, where=lower > 0)
    return result
