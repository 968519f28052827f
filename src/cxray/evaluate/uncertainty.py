"""When to say "cannot tell", what a proof needs, and what referral buys.

Three tools: split-conformal sets per class (a set that holds the truth with a stated chance, fitted on validation
films), the risk-coverage curve (how errors fall when the least sure films go to a person), and exact certificates
("sensitivity of at least 95 % is proven"). Patients, not films, are the units of every promise.

Sources: Angelopoulos & Bates 2023 (Foundations and Trends in ML 16:494); Vovk 2012 (class-conditional validity);
Dunn, Wasserman & Ramdas 2023 (one film a patient keeps exchangeability); Geifman & El-Yaniv 2017 (risk-coverage).
"""

from __future__ import annotations

import math

import numpy as np

from cxray.evaluate import clusters
from cxray.evaluate.calibration import logit
from cxray.evaluate.intervals import exact_lower_bound
from cxray.evaluate.record import Codes, Estimate, Flags, Floats, withhold

_SHARES_REFERRED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
_MOST_POINTS = 1000


def conformal_limit(nonconformity: Floats, miss_rate: float) -> float:
    """The ceil((n+1)(1-miss_rate))-th smallest value: larger than a new one with chance at least 1 - miss_rate.

    `nonconformity` (n,) is small for films that fit their class. Infinity when n is too small for the promise.
    """
    n = nonconformity.size
    # Rounding guards against 10 × 0.8 coming out as 8.000000000000002 and taking the next rank.
    rank = math.ceil(round((n + 1) * (1 - miss_rate), 9))
    return float("inf") if rank > n else float(np.sort(nonconformity)[rank - 1])


def class_limits(scores: Floats, truth: Codes, patient: Codes, *, miss_rate: float = 0.1, seed: int = 0) -> Floats:
    """The conformal limit of each class on 1 - score of that class, (classes,), from validation films.

    `scores` has shape (films, classes), `truth` holds class numbers (films,). One film a patient and class is drawn, so
    that patients stay exchangeable. A class with too few patients gets infinity: it is then never ruled out.
    """
    order = np.random.default_rng(seed).permutation(len(truth))
    limits = np.empty(scores.shape[1])
    for number in range(scores.shape[1]):
        films = order[truth[order] == number]
        one_each = films[np.unique(patient[films], return_index=True)[1]]
        limits[number] = conformal_limit(1 - scores[one_each, number], miss_rate)
    return limits


def prediction_sets(scores: Floats, limits: Floats) -> Flags:
    """Which classes cannot be ruled out, bool (films, classes): one is an answer, none or several "cannot tell"."""
    return np.asarray(1 - scores <= limits, dtype=bool)


def coverage_range(films: int, miss_rate: float, level: float = 0.9) -> tuple[float, float]:
    """Where the realised coverage of a conformal set lies with chance `level`, given the films it was fitted on.

    Source: Angelopoulos & Bates 2023, section 3.2: Beta(n+1-l, l) with l = floor((n+1) × miss_rate).
    """
    from scipy.special import betaincinv

    missed = math.floor((films + 1) * miss_rate)
    tail = (1 - level) / 2
    low, high = betaincinv(films + 1 - missed, missed, [tail, 1 - tail])
    return float(low), float(high)


def confidence(scores: Floats, threshold: float) -> Floats:
    """How far each score lies from the threshold on the logit scale, in the direction of its own call (films,)."""
    return np.abs(logit(scores) - logit(threshold))


def risk_coverage(sureness: Floats, is_wrong: Flags) -> dict[str, Floats]:
    """`coverage` (share of films answered, surest first) against `risk` (share of those that are wrong).

    Films of equal sureness are answered together.
    """
    order = np.argsort(-sureness, kind="stable")
    wrong = np.cumsum(is_wrong[order], dtype=np.float64)
    answered = np.arange(1, order.size + 1, dtype=np.float64)
    last = np.append(np.diff(sureness[order]) != 0, True)
    coverage, risk = answered[last] / order.size, wrong[last] / answered[last]
    if coverage.size > _MOST_POINTS:
        kept = np.linspace(0, coverage.size - 1, _MOST_POINTS).round().astype(np.int64)
        coverage, risk = coverage[kept], risk[kept]
    return {"coverage": coverage, "risk": risk}


def area_under_risk_coverage(sureness: Floats, is_wrong: Flags) -> float:
    """AURC: the mean risk over all coverages; smaller is better. Ties are broken by the order of the films."""
    order = np.argsort(-sureness, kind="stable")
    return float((np.cumsum(is_wrong[order]) / np.arange(1, order.size + 1)).mean())


def referral(sureness: Floats, calls: Flags, is_positive: Flags) -> dict[str, Floats]:
    """What happens when the least sure films go to a person: one row for each share referred.

    Columns: `referred` (share), `answered` (films), `missed` and `false_alarms` among them, `sensitivity` and
    `specificity` among them (NaN when a class has no film left).
    """
    order = np.argsort(-sureness, kind="stable")
    rows = []
    for share in _SHARES_REFERRED:
        kept = order[: max(1, round((1 - share) * order.size))]
        ill, called = is_positive[kept], calls[kept]
        missed, alarms = int(np.count_nonzero(ill & ~called)), int(np.count_nonzero(~ill & called))
        rows.append((share, kept.size, missed, alarms, _share(missed, ill), _share(alarms, ~ill)))
    names = ("referred", "answered", "missed", "false_alarms", "sensitivity", "specificity")
    return dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))


def certificate(right: Flags, patient: Codes, *, confidence_level: float = 0.95) -> Estimate:
    """The largest rate that is proven: the exact one-sided lower bound, each patient counted once.

    `right` (films of one class) says whether the call was right; a patient counts as right when all films are.
    """
    if right.size == 0:
        return withhold("No film of this class, so nothing can be proven.")
    wrong = clusters.totals((~right).astype(np.float64), patient)
    patients, failures = wrong.size, int(np.count_nonzero(wrong))
    value = exact_lower_bound(patients - failures, patients, confidence_level)
    return Estimate(value, method=f"one-sided exact bound, confidence {confidence_level:g}").noting(
        f"{patients} patients, {failures} of them with at least one wrong call."
    )


def _share(wrong: int, films: Flags) -> float:
    return 1 - wrong / films.sum() if films.any() else float("nan")
