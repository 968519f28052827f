"""The published reference values, recomputed on this machine.

Each check names its source, the value expected there, the value measured here and the tolerance. Only data that may be
shared is used: small tables printed in papers, and values that follow from formulas. `tests/reference` runs the same
checks and those that need data of others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from cxray.evaluate import calibration, paired, planning, ranking, rates, readers, shift, uncertainty
from cxray.evaluate.intervals import wilson
from cxray.evaluate.ovarian import ovarian_data
from cxray.evaluate.record import Estimate, Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One reference value: `measured` agrees when it lies within `tolerance` of `expected`."""

    name: str
    source: str
    expected: float
    measured: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether this machine reproduces the reference value."""
        return abs(self.measured - self.expected) <= self.tolerance


def selftest() -> tuple[Check, ...]:
    """Recompute every shippable reference value; takes about a second."""
    return tuple(check for family in _FAMILIES for check in family())


def _delong() -> Iterator[Check]:
    scores, is_positive = ovarian_data()
    values, covariance = ranking.delong_covariance(scores, is_positive, np.arange(len(is_positive)))
    source = "DeLong et al. 1988, ovarian cancer data"
    names = ("K-G score", "albumin", "total protein")
    for place, expected in enumerate((0.7258064516, 0.7365591398, 0.6478494624)):
        yield Check(f"AUROC {names[place]}", source, expected, values[place], 1e-6)
    for place, expected in enumerate((0.1028216, 0.0926944, 0.1000474)):
        yield Check(f"standard error {names[place]}", source, expected, covariance[place, place] ** 0.5, 1e-6)
    for first, second, expected in ((0, 1, 0.00503706), (0, 2, 0.0048193), (1, 2, 0.00774453)):
        yield Check(f"covariance {names[first]}, {names[second]}", source, expected, covariance[first, second], 1e-6)
    contrasts: tuple[tuple[Floats, float, float], ...] = (
        (np.array([[1.0, -1, 0]]), 0.0127189, 0.9102063),
        (np.array([[1.0, 0, -1]]), 0.5553504, 0.4561397),
        (np.array([[1.0, -1, 0], [1.0, 0, -1]]), 2.5339779, 0.2816785),
    )
    for contrast, expected, expected_p in contrasts:
        statistic, p = ranking.contrast_test(scores, is_positive, np.arange(len(is_positive)), contrast)
        name = f"contrast with {len(contrast)} degrees of freedom"
        yield Check(f"{name}, chi-squared", source, expected, statistic, 1e-6)
        yield Check(f"{name}, p", source, expected_p, p, 1e-6)


def _perfect_separation() -> Iterator[Check]:
    source = "score interval, Hanley & McNeil variance at the limit"
    yield Check("AUROC 1 with 8 and 8, lower", source, 0.7556, ranking.score_interval(1.0, 8, 8)[0], 5e-5)
    yield Check("AUROC 1 with 390 and 234, lower", source, 0.99501, ranking.score_interval(1.0, 390, 234)[0], 5e-6)
    low, high = ranking.score_interval(0.95, 390, 234)
    yield Check("AUROC 0.95 with 390 and 234, lower", source, 0.93059, low, 5e-6)
    yield Check("AUROC 0.95 with 390 and 234, upper", source, 0.96376, high, 1e-5)


def _wilson() -> Iterator[Check]:
    rows = (
        (81, 263, 0.2553, 0.3662, 5e-5),
        (15, 148, 0.0624, 0.1605, 5e-5),
        (0, 20, 0.0, 0.1611, 5e-5),
        (1, 29, 0.0061, 0.1718, 5e-5),
        (19, 38, 0.348499283643951, 0.651500716356049, 1e-9),
        (16, 16, 0.8064, 1.0, 5e-5),
    )
    for successes, films, low, high, tolerance in rows:
        found = wilson(successes, films)
        yield Check(f"Wilson {successes}/{films}, lower", "Newcombe 1998", low, found[0], tolerance)
        yield Check(f"Wilson {successes}/{films}, upper", "Newcombe 1998", high, found[1], tolerance)


def _liver_scan() -> Iterator[Check]:
    source = "Altman & Bland 1994, liver scan"
    is_positive = np.repeat([True, True, False, False], (231, 27, 32, 54))
    calls = np.repeat([True, False, True, False], (231, 27, 32, 54))
    patient = np.arange(344)
    yield Check("sensitivity", source, 0.8953, _value(rates.sensitivity(calls, is_positive, patient)), 5e-5)
    yield Check("specificity", source, 0.6279, _value(rates.specificity(calls, is_positive, patient)), 5e-5)
    ppv, npv = rates.at_prevalence(calls, is_positive, patient, 0.25)
    yield Check("PPV at prevalence 0.25", source, 0.4451, _value(ppv), 5e-5)
    yield Check("NPV at prevalence 0.25", source, 0.9474, _value(npv), 5e-5)
    expected = ((2.40625, 1.8228, 3.1765), (0.16667, 0.11259, 0.24672))
    for sign, found, wanted in zip("+-", rates.likelihood_ratios(calls, is_positive, patient), expected, strict=True):
        yield Check(f"LR{sign}", source, wanted[0], _value(found), 5e-6)
        yield Check(f"LR{sign}, lower", source, wanted[1], found.low or 0.0, 5e-5)
        yield Check(f"LR{sign}, upper", source, wanted[2], found.high or 0.0, 5e-5)


def _paired_proportions() -> Iterator[Check]:
    source = "Agresti, approval ratings 794/150/86/570"
    statistic, p = paired.mcnemar(150, 86)
    yield Check("McNemar chi-squared", source, 17.3559, statistic, 5e-5)
    yield Check("McNemar p", source, 3.099e-05, p, 5e-9)
    statistic, p = paired.mcnemar(150, 86, corrected=True)
    yield Check("McNemar corrected chi-squared", source, 16.8178, statistic, 5e-5)
    yield Check("McNemar corrected p", source, 4.115e-05, p, 5e-9)
    yield Check("McNemar exact p", source, 3.71594e-05, paired.mcnemar_exact(150, 86), 5e-10)
    yield Check("McNemar mid-p", source, 2.89339e-05, paired.mcnemar_exact(150, 86, mid=True), 5e-10)
    yield Check("McNemar exact p, 11 to 1", "binomial", 0.00634766, paired.mcnemar_exact(11, 1), 5e-9)
    low, high = paired.newcombe(36, 12, 2, 0)
    yield Check("Newcombe method 10, lower", "Newcombe 1998, table 36/12/2/0", 0.05693, low, 5e-6)
    yield Check("Newcombe method 10, upper", "Newcombe 1998, table 36/12/2/0", 0.34043, high, 5e-6)
    low, high = paired.tango(12, 2, 50)
    yield Check("Tango, lower", "Tango 1998, 12 and 2 of 50", 0.06111, low, 5e-6)
    yield Check("Tango, upper", "Tango 1998, 12 and 2 of 50", 0.34471, high, 5e-6)


def _agreement() -> Iterator[Check]:
    yield Check("Fleiss' kappa", "Fleiss' worked example, 14 raters", 0.20993, readers.fleiss_kappa(FLEISS_TABLE), 5e-6)


def _sample_size() -> Iterator[Check]:
    yield Check("power, AUROC 0.73, 41 and 72", "pROC", 0.9897453, planning.auroc_power(0.73, 41, 72), 5e-8)
    ill, healthy = planning.films_for_auroc(0.731368563685637, ratio=1.7, power=0.95)
    yield Check("ill for power 0.95", "pROC", 29.29764, ill, 5e-6)
    yield Check("healthy for power 0.95", "pROC", 49.80600, healthy, 5e-6)
    goals = (
        ((0.057, 0.77), {"c_statistic": 0.025, "slope": 0.15, "intercept": 0.15}, (1599, 934, 897)),
        ((0.1, 0.75), {"c_statistic": 0.025, "slope": 0.1, "intercept": 0.1}, (1028, 1536, 1224)),
    )
    for (prevalence, area), errors, expected in goals:
        found = planning.films_for_validation(prevalence, area, **errors)
        for name, wanted in zip(found, expected, strict=True):
            yield Check(f"{name} at prevalence {prevalence:g}", "sampsizeval", wanted, found[name], 0)
    for missed, wanted in enumerate((59, 93, 124, 153, 181, 208)):
        needed = planning.positives_to_prove(0.95, missed)
        yield Check(f"ill to prove sensitivity 0.95, {missed} missed", "exact binomial", wanted, needed, 0)


def _temperature() -> Iterator[Check]:
    logits, targets = _calibrated_logits()
    base = calibration.fit_temperature(logits, targets)
    for factor in (2.0, 0.5):
        ratio = calibration.fit_temperature(factor * logits, targets) / base
        yield Check(f"temperature of logits × {factor:g}", "algebra", factor, ratio, 1e-9)
    single, truth = logits[:, 1] - logits[:, 0], targets == 1
    slope, intercept = calibration.fit_platt(single, truth)
    moved_slope, moved_intercept = calibration.fit_platt(2 * single + 1, truth)
    yield Check("slope of 2 × logit + 1", "algebra", slope / 2, moved_slope, 1e-9)
    yield Check("intercept of 2 × logit + 1", "algebra", intercept - slope / 2, moved_intercept, 1e-9)


def _conformal() -> Iterator[Check]:
    ninths = np.arange(1, 10) / 10
    yield Check(
        "conformal limit of 0.1 … 0.9", "Angelopoulos & Bates", 0.8, uncertainty.conformal_limit(ninths, 0.2), 0
    )
    expected = ((50, 0.8262, 0.9598), (100, 0.8482, 0.9447), (200, 0.8637, 0.9327), (500, 0.8773, 0.9213))
    for films, low, high in (*expected, (1000, 0.8841, 0.9152)):
        found = uncertainty.coverage_range(films, 0.1)
        yield Check(f"coverage range, {films} films, lower", "Beta distribution", low, found[0], 5e-5)
        yield Check(f"coverage range, {films} films, upper", "Beta distribution", high, found[1], 5e-5)


def _prevalence() -> Iterator[Check]:
    rng = np.random.default_rng(0)
    ill = rng.random(200_000) < 0.1
    signal = rng.normal(size=200_000) + 1.5 * ill
    scores = calibration.sigmoid(1.5 * signal - 1.5**2 / 2)
    # The reference value is 0.10016 for its own random numbers; another stream differs by sampling error.
    yield Check("prevalence by EM, true 0.1", "Saerens 2002", 0.1, shift.prevalence_by_em(scores, 0.5), 3e-3)


def _calibrated_logits() -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2000, 2))
    targets = (rng.random(2000) < calibration.softmax(logits)[:, 1]).astype(np.int64)
    return logits, targets


def _value(found: Estimate) -> float:
    return float("nan") if found.value is None else found.value


# Ten subjects, fourteen raters, five categories (Fleiss 1971, as reprinted in textbooks).
FLEISS_TABLE = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)

_FAMILIES: tuple[Callable[[], Iterator[Check]], ...] = (
    _delong,
    _perfect_separation,
    _wilson,
    _liver_scan,
    _paired_proportions,
    _agreement,
    _sample_size,
    _temperature,
    _conformal,
    _prevalence,
)
