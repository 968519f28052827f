"""How many films does a claim need, and what can a given test set resolve?

Everything counts patients: with several films a patient, multiply by the design effect that an evaluation reports.

Sources: Obuchowski & McClish 1997 (power of one AUROC, as in pROC's `power.roc.test`); Pavlou et al. 2021 (Statistical
Methods in Medical Research 30:2187, precision of c statistic, calibration slope and intercept, as in `sampsizeval`);
exact binomial bounds for proofs; Riley et al. 2021 for the idea of planning by precision.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, owens_t

from cxray.errors import UsageError
from cxray.evaluate.calibration import sigmoid
from cxray.evaluate.intervals import exact_lower_bound, normal_quantile, wilson
from cxray.evaluate.ranking import score_interval
from cxray.evaluate.record import LEVEL
from cxray.rundir import write_json

_MOST = 10_000_000
_MISSES_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sample sizes for stated goals: `rows` of question, answer and source; `facts` holds the goals."""

    rows: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        """Write `plan.json` into `folder`, whole or not at all."""
        write_json(
            folder / "plan.json", {"schema": 1, "facts": dict(self.facts), "rows": [dict(row) for row in self.rows]}
        )


def plan(
    *,
    prevalence: float = 0.5,
    auroc: float = 0.9,
    sensitivity: float = 0.95,
    half_width: float = 0.05,
    power: float = 0.9,
    level: float = LEVEL,
) -> Plan:
    """Sample sizes for a test set with a share `prevalence` of ill patients and an expected `auroc`.

    `sensitivity` is the rate to prove, `half_width` the wanted half-width of intervals of AUROC and of sensitivity,
    `power` the chance to show that the AUROC is above 0.5. All lie in 0–1.

    Raises:
        UsageError: a goal outside its range.
    """
    _check_goals(prevalence, auroc, sensitivity, half_width, power, level)
    ratio = (1 - prevalence) / prevalence
    ill, healthy = films_for_auroc(auroc, ratio=ratio, power=power, level=level)
    rows: list[Mapping[str, Any]] = [
        _row("ill patients to show an AUROC above 0.5", math.ceil(ill), "Obuchowski & McClish 1997"),
        _row("healthy patients beside them", math.ceil(healthy), "Obuchowski & McClish 1997"),
        _row(
            f"patients for an AUROC known to ± {half_width:g}",
            films_for_auroc_width(auroc, prevalence, half_width, level),
            "score interval, Hanley & McNeil 1982",
        ),
        _row(
            f"ill patients for a sensitivity of {sensitivity:g} known to ± {half_width:g}",
            films_for_rate_width(sensitivity, half_width, level),
            "Wilson",
        ),
    ]
    rows += _proof_rows(sensitivity) + _validation_rows(prevalence, auroc, half_width / normal_quantile(level))
    facts = {
        "prevalence": prevalence,
        "auroc": auroc,
        "sensitivity": sensitivity,
        "half_width": half_width,
        "power": power,
        "level": level,
        "unit": "patients; multiply by the design effect when each has several films",
    }
    return Plan(tuple(rows), facts)


def auroc_power(area: float, ill: float, healthy: float, level: float = LEVEL) -> float:
    """The chance that a two-sided test finds an AUROC of `area` to differ from 0.5."""
    ratio = healthy / ill
    reach = math.sqrt(ill) * abs(area - 0.5) - normal_quantile(level) * math.sqrt(0.0792 * (1 + 1 / ratio))
    return float(ndtr(reach / math.sqrt(_obuchowski_variance(area, ratio))))


def films_for_auroc(area: float, *, ratio: float, power: float = 0.9, level: float = LEVEL) -> tuple[float, float]:
    """Ill and healthy patients (`ratio` healthy for each ill) for that power; not rounded."""
    reach = normal_quantile(level) * math.sqrt(0.0792 * (1 + 1 / ratio))
    reach += float(ndtri(power)) * math.sqrt(_obuchowski_variance(area, ratio))
    ill = (reach / (area - 0.5)) ** 2
    return ill, ill * ratio


def films_for_auroc_width(area: float, prevalence: float, half_width: float, level: float = LEVEL) -> int:
    """Patients so that the score interval of an AUROC of `area` is at most 2 × `half_width` wide."""

    def is_enough(patients: int) -> bool:
        ill = max(1, round(patients * prevalence))
        low, high = score_interval(area, ill, max(1, patients - ill), level)
        return high - low <= 2 * half_width

    return _smallest(is_enough, 2)


def films_for_rate_width(rate: float, half_width: float, level: float = LEVEL) -> int:
    """Patients of one class so that Wilson's interval of `rate` is at most 2 × `half_width` wide."""

    def is_enough(patients: int) -> bool:
        low, high = wilson(rate * patients, patients, level)
        return high - low <= 2 * half_width

    return _smallest(is_enough, 1)


def positives_to_prove(rate: float, missed: int, confidence: float = 0.95) -> int:
    """Ill patients needed so that `missed` misses still prove a sensitivity of at least `rate`.

    The bound is exact and one-sided: 59 patients without a miss prove 95 %.
    """
    return _smallest(lambda n: exact_lower_bound(n - missed, n, confidence) >= rate, missed + 1)


def films_for_validation(
    prevalence: float, area: float, *, c_statistic: float, slope: float, intercept: float
) -> dict[str, int]:
    """Patients for wanted standard errors of the c statistic, the calibration slope and the calibration intercept.

    Takes the linear predictor to be normal, with mean and variance that follow from prevalence and AUROC.
    """
    spread = prevalence * (1 - prevalence)
    # Variance of the c statistic under normality, with Owen's T (Pavlou et al. 2021, equation 7).
    own = area - 2 * float(owens_t(ndtri(area), 1 / math.sqrt(3))) - area**2
    distance = 2 * float(ndtri(area)) ** 2
    middle = 0.5 * (2 * prevalence - 1) * distance + math.log(prevalence / (1 - prevalence))
    deviation = math.sqrt(distance * (1 + spread * distance))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    logits, weights = middle + deviation * nodes, weights / weights.sum()
    mass = weights * sigmoid(logits) * (1 - sigmoid(logits))
    zero, one, two = (float((mass * logits**power).sum()) for power in range(3))
    return {
        "c_statistic": math.ceil(own / (spread * c_statistic**2)),
        "slope": math.ceil(zero / (slope**2 * (zero * two - one**2))),
        "intercept": math.ceil(1 / (intercept**2 * zero)),
    }


def resolution(ill: int, healthy: int, area: float, rate: float, level: float = LEVEL) -> dict[str, float]:
    """What a test set of `ill` and `healthy` patients can tell at an AUROC of `area` and a sensitivity of `rate`.

    Half-widths of their intervals, the smallest AUROC that would be told from 0.5 in 9 of 10 studies, and the largest
    sensitivity it could prove if nothing were missed.
    """
    low, high = score_interval(area, ill, healthy, level)
    rate_low, rate_high = wilson(rate * ill, ill, level)
    grid = np.linspace(0.5, 0.999, 500)[1:]
    power = np.array([auroc_power(candidate, ill, healthy, level) for candidate in grid])
    told = grid[power >= 0.9]
    return {
        "auroc_half_width": (high - low) / 2,
        "sensitivity_half_width": (rate_high - rate_low) / 2,
        "smallest_auroc_told_from_chance": float(told[0]) if told.size else 1.0,
        "largest_provable_sensitivity": exact_lower_bound(ill, ill),
    }


def difference_detectable(standard_error: float, *, power: float = 0.8, level: float = LEVEL) -> float:
    """The smallest true difference found with that power when the difference has `standard_error`."""
    return (normal_quantile(level) + float(ndtri(power))) * standard_error


def _obuchowski_variance(area: float, ratio: float) -> float:
    # 1.414, not the square root of 2, is the constant of the paper and of pROC.
    point = float(ndtri(area)) * 1.414
    return 0.0099 * math.exp(-point * point / 2) * ((5 * point * point + 8) + (point * point + 8) / ratio)


def _smallest(is_enough: Any, start: int) -> int:
    """The smallest whole number from `start` on that is enough, by doubling and halving."""
    high = start
    while not is_enough(high):
        high *= 2
        if high > _MOST:
            raise UsageError("This goal needs more than ten million patients.", "Ask for less precision.")
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return high


def _proof_rows(sensitivity: float) -> list[Mapping[str, Any]]:
    asked = f"ill patients to prove a sensitivity of {sensitivity:g} with"
    return [
        _row(f"{asked} {missed} missed", positives_to_prove(sensitivity, missed), "exact")
        for missed in range(_MISSES_SHOWN)
    ]


def _validation_rows(prevalence: float, area: float, standard_error: float) -> list[Mapping[str, Any]]:
    errors = {"c_statistic": standard_error, "slope": 0.15, "intercept": 0.15}
    found = films_for_validation(prevalence, area, **errors)
    return [
        _row(f"patients for the {name} (standard error {errors[name]:.3g})", needed, "Pavlou et al. 2021")
        for name, needed in found.items()
    ]


def _row(question: str, answer: int, source: str) -> Mapping[str, Any]:
    return {"question": question, "answer": answer, "source": source}


def _check_goals(
    prevalence: float, auroc: float, sensitivity: float, half_width: float, power: float, level: float
) -> None:
    reaches = {
        "prevalence": (prevalence, 0.0, 1.0),
        "auroc": (auroc, 0.5, 1.0),
        "sensitivity": (sensitivity, 0.0, 1.0),
        "half_width": (half_width, 0.0, 0.5),
        "power": (power, 0.0, 1.0),
        "level": (level, 0.5, 1.0),
    }
    for name, (value, low, high) in reaches.items():
        if not low < value < high:
            raise UsageError(f"The {name} must lie between {low:g} and {high:g}, got {value:g}.")
