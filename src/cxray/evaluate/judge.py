"""All records and exhibits of one yes/no question.

A thin list of what is reported, in order; the statistics live in `ranking`, `rates`, `reliability`, `corp` and
`benefit`. A number that one film class, equal scores or too few patients make meaningless arrives here already
withheld.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from cxray.evaluate import benefit, corp, curves, rates, reliability, spline
from cxray.evaluate.intervals import proportion
from cxray.evaluate.operating import OperatingPoint
from cxray.evaluate.ranking import auroc_interval
from cxray.evaluate.record import LEVEL, Context, Estimate, Flags, Record, withhold
from cxray.evaluate.resample import DRAWS, PatientBootstrap
from cxray.evaluate.screening import Task
from cxray.evaluate.tipping import tipping_points
from cxray.evaluate.uncertainty import area_under_risk_coverage, certificate, confidence, referral, risk_coverage

Columns = dict[str, np.ndarray[Any, Any]]

# Below this many films in either class a number is given, but marked.
FEW = 30
_PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LISTED_ERRORS = 50
_LEAST_SPECIFICITY = 0.9
_ONE_CLASS = "This needs films of both classes, but all films are {}."


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """`level` of every interval (0–1), bootstrap `draws` and `seed`, and the prevalences (0–1) asked for."""

    level: float = LEVEL
    draws: int = DRAWS
    seed: int = 0
    prevalence: tuple[float, ...] = ()


def judge(task: Task, point: OperatingPoint, settings: Settings, slice_name: str = "") -> list[Record]:
    """Every record of one question, for all its films or, when `slice_name` is given, for that slice."""
    if not len(task.scores):
        context = Context(task.label, slice_name, settings.level)
        return [context.record("auroc", withhold("No film of this question can be judged."))]
    bench = _Bench(task, settings, slice_name)
    calls = point.calls
    decided = (*_decisions(bench, calls), *_proofs(bench, calls), *_sureness(bench, point))
    return [*_counts(bench), *_discrimination(bench), *decided, *_probabilities(bench, point)]


def exhibits(task: Task, point: OperatingPoint, settings: Settings) -> dict[str, Columns]:
    """Every curve and table of one question, as columns; those that need both classes are absent without them."""
    found: dict[str, Columns] = {
        "score_histogram": dict(curves.score_histogram(task.scores, task.is_positive)),
        "confusion": _confusion(task, point.calls),
        "errors": _errors(task, point.calls),
    }
    if point.threshold is not None and len(task.scores):
        sureness = confidence(task.scores, point.threshold)
        found["risk_coverage"] = dict(risk_coverage(sureness, point.calls != task.is_positive))
        found["referral"] = dict(referral(sureness, point.calls, task.is_positive))
    if len(task.scores) and task.is_positive.any() and not task.is_positive.all():
        found |= _curves(task, settings)
        found["predictive_values"] = _predictive_values(task, point.calls, settings)
        found["operating_points"] = _operating_points(task, settings)
        found["tipping"] = tipping_points(task, point.calls, settings.level)
    return found


@dataclasses.dataclass(frozen=True)
class _Bench:
    """One task with its settings; makes records that know their counts."""

    task: Task
    settings: Settings
    slice_name: str

    def record(self, name: str, found: Estimate, films: Flags | None = None) -> Record:
        task = self.task
        context = Context(
            label=task.label,
            slice=self.slice_name,
            level=self.settings.level,
            n_images=len(task.scores) if films is None else int(np.count_nonzero(films)),
            n_patients=task.patients_among(films),
            assumptions=self._assumptions(),
        )
        return context.record(name, found)

    def bootstrap(self) -> PatientBootstrap:
        # All patients are one stratum: average precision and F1 depend on the prevalence, which is itself uncertain;
        # drawing within class made their limits too narrow in simulation (tests/long).
        group = np.zeros_like(self.task.patient)
        return PatientBootstrap(self.task.patient, group, self.settings.draws, self.settings.seed)

    @property
    def missing_class(self) -> str:
        if self.task.is_positive.all():
            return f"{self.task.label}"
        return "" if self.task.is_positive.any() else f"not {self.task.label}"

    def _assumptions(self) -> tuple[str, ...]:
        ill = int(self.task.is_positive.sum())
        notes = []
        if not self.task.has_patients:
            notes.append("Patients unknown: films are taken as independent.")
        smaller = min(ill, len(self.task.scores) - ill)
        if smaller < FEW:
            notes.append(f"Only {smaller} films in the smaller class.")
        return tuple(notes)


def _counts(bench: _Bench) -> Iterator[Record]:
    task = bench.task
    yield bench.record("prevalence", proportion(task.is_positive, task.patient, bench.settings.level))


def _discrimination(bench: _Bench) -> Iterator[Record]:
    task, level = bench.task, bench.settings.level
    yield bench.record("auroc", auroc_interval(task.scores, task.is_positive, task.patient, level))
    if bench.missing_class:
        for name in ("average_precision", "partial_auroc"):
            yield bench.record(name, withhold(_ONE_CLASS.format(bench.missing_class)))
        return
    bootstrap = bench.bootstrap()
    given = (task.scores, task.is_positive)
    found = bootstrap.interval(curves.average_precision(*given), bootstrap.rankings(*given)[1], level)
    yield bench.record(
        "average_precision", found.noting(f"Chance level is the prevalence, {task.is_positive.mean():.3f}.")
    )
    areas = curves.standardised_area(bootstrap.partial_areas(*given, _LEAST_SPECIFICITY), _LEAST_SPECIFICITY)
    found = bootstrap.interval(curves.partial_auroc(*given, _LEAST_SPECIFICITY), areas, level)
    yield bench.record("partial_auroc", found.noting("Specificity 0.9 to 1, McClish standardised: chance is 0.5."))


def _decisions(bench: _Bench, calls: Flags) -> Iterator[Record]:
    task, level = bench.task, bench.settings.level
    ill = task.is_positive
    simple: tuple[tuple[str, Callable[..., Estimate], Flags | None], ...] = (
        ("sensitivity", rates.sensitivity, ill),
        ("specificity", rates.specificity, ~ill),
        ("ppv", rates.ppv, calls),
        ("npv", rates.npv, ~calls),
        ("accuracy", rates.accuracy, None),
        ("balanced_accuracy", rates.balanced_accuracy, None),
    )
    for name, measure, films in simple:
        yield bench.record(name, measure(calls, ill, task.patient, level), films)
    up, down = rates.likelihood_ratios(calls, ill, task.patient, level)
    yield bench.record("likelihood_ratio_positive", up)
    yield bench.record("likelihood_ratio_negative", down)
    for name, found in zip(("f1", "mcc"), rates.f1_and_mcc(calls, ill, bench.bootstrap(), level), strict=True):
        yield bench.record(name, found)
    for prevalence in bench.settings.prevalence:
        values = rates.at_prevalence(calls, ill, task.patient, prevalence, level)
        for name, value in zip(("ppv", "npv"), values, strict=True):
            yield bench.record(f"{name}_at_prevalence_{prevalence:g}", value)


def _probabilities(bench: _Bench, point: OperatingPoint) -> Iterator[Record]:
    task, level = bench.task, bench.settings.level
    given = (task.scores, task.is_positive, task.patient, level)
    yield bench.record("brier", reliability.brier(*given))
    yield bench.record("scaled_brier", reliability.scaled_brier(*given))
    yield bench.record("log_loss", reliability.log_loss(*given))
    slope, intercept = reliability.recalibration(*given)
    yield bench.record("calibration_slope", slope)
    yield bench.record("calibration_intercept", reliability.calibration_intercept(*given))
    yield bench.record("recalibration_intercept", intercept)
    yield bench.record("observed_expected_ratio", reliability.observed_expected_ratio(*given))
    index = spline.integrated_index(task.scores, task.is_positive, task.patient, seed=bench.settings.seed)
    for name, found in index.items():
        yield bench.record(name, found)
    parts = corp.decompose(task.scores, task.is_positive)
    for name in ("miscalibration", "discrimination", "uncertainty"):
        plain = Estimate(getattr(parts, name), method="CORP decomposition of the Brier score")
        yield bench.record(f"brier_{name}", plain.noting("Given without an interval."))
    error = reliability.binned_error(task.scores, task.is_positive)
    flagged = Estimate(error, method="10 bins of equal width").noting("Depends on the bins; see the calibration slope.")
    yield bench.record("expected_calibration_error", flagged)
    harm = _threshold_probability(point)
    if harm is None:
        yield bench.record("net_benefit", withhold("Net benefit needs one threshold strictly between 0 and 1."))
    else:
        yield bench.record("net_benefit", benefit.net_benefit(point.calls, *given[1:3], harm, level))
        for prevalence in bench.settings.prevalence:
            moved = benefit.net_benefit_at_prevalence(
                point.calls, *given[1:3], threshold_probability=harm, prevalence=prevalence, level=level
            )
            yield bench.record(f"net_benefit_at_prevalence_{prevalence:g}", moved)


def _proofs(bench: _Bench, calls: Flags) -> Iterator[Record]:
    task = bench.task
    for name, films in (("sensitivity_proven", task.is_positive), ("specificity_proven", ~task.is_positive)):
        right = (calls == task.is_positive)[films]
        yield bench.record(name, certificate(right, task.patient[films], confidence_level=bench.settings.level), films)


def _sureness(bench: _Bench, point: OperatingPoint) -> Iterator[Record]:
    task = bench.task
    if point.threshold is None:
        yield bench.record("area_under_risk_coverage", withhold("Sureness needs one numeric threshold."))
        return
    wrong = point.calls != task.is_positive
    area = area_under_risk_coverage(confidence(task.scores, point.threshold), wrong)
    plain = Estimate(area, method="distance from the threshold on the logit scale")
    yield bench.record("area_under_risk_coverage", plain.noting("Given without an interval."))


def _threshold_probability(point: OperatingPoint) -> float | None:
    return point.threshold if point.threshold is not None and 0 < point.threshold < 1 else None


def _curves(task: Task, settings: Settings) -> dict[str, Columns]:
    given = (task.scores, task.is_positive)
    return {
        "roc": dict(curves.roc_points(*given)),
        "roc_band": dict(curves.roc_band(*given, task.patient, settings.level)),
        "precision_recall": dict(curves.precision_recall_points(*given)),
        "calibration": dict(corp.curve(*given)),
        "calibration_band": dict(
            corp.consistency_band(task.scores, task.patient, level=settings.level, seed=settings.seed)
        ),
        "calibration_smooth": dict(spline.points(*given)),
        "decision_curve": dict(benefit.decision_curve(*given, task.patient, level=settings.level)),
    }


def _confusion(task: Task, calls: Flags) -> Columns:
    """Films and patients in the four cells; a patient with films in two cells counts in both."""
    cells = [
        (truth, call, (task.is_positive == truth) & (calls == call))
        for truth in (True, False)
        for call in (True, False)
    ]
    return {
        "truth": np.array(["positive" if truth else "negative" for truth, _, _ in cells], dtype=object),
        "decision": np.array(["positive" if call else "negative" for _, call, _ in cells], dtype=object),
        "films": np.array([np.count_nonzero(films) for _, _, films in cells]),
        "patients": np.array([task.patients_among(films) for _, _, films in cells]),
    }


def _errors(task: Task, calls: Flags) -> Columns:
    """The worst errors first: missed ill films by falling confidence, then false alarms. `row` is the screened row."""
    missed = np.flatnonzero(task.is_positive & ~calls)
    alarms = np.flatnonzero(~task.is_positive & calls)
    missed = missed[np.argsort(task.scores[missed], kind="stable")][:_LISTED_ERRORS]
    alarms = alarms[np.argsort(-task.scores[alarms], kind="stable")][:_LISTED_ERRORS]
    chosen = np.concatenate([missed, alarms])
    return {
        "row": task.rows[chosen],
        "kind": np.array(["missed"] * len(missed) + ["false alarm"] * len(alarms), dtype=object),
        "score": task.scores[chosen],
    }


def _predictive_values(task: Task, calls: Flags, settings: Settings) -> Columns:
    """PPV and NPV with limits over prevalences, for a reader's own ward."""
    found = [rates.at_prevalence(calls, task.is_positive, task.patient, p, settings.level) for p in _PREVALENCES]
    columns: Columns = {"prevalence": np.array(_PREVALENCES)}
    for place, name in enumerate(("ppv", "npv")):
        columns[name] = np.array([pair[place].value for pair in found])
        columns[f"{name}_low"] = np.array([pair[place].low for pair in found])
        columns[f"{name}_high"] = np.array([pair[place].high for pair in found])
    return columns


def _operating_points(task: Task, settings: Settings) -> Columns:
    """What other thresholds would give on these films: described here, never chosen here."""
    wanted = [("sensitivity", goal) for goal in (0.9, 0.95, 0.99)] + [
        ("specificity", goal) for goal in (0.9, 0.95, 0.99)
    ]
    points = curves.roc_points(task.scores, task.is_positive)
    rows = []
    for fixed, goal in wanted:
        reached = np.flatnonzero(points[fixed] >= goal - 1e-12)
        cut = points["threshold"][reached[0] if fixed == "sensitivity" else reached[-1]]
        calls = task.scores >= cut
        measure = partial(rates.specificity if fixed == "sensitivity" else rates.sensitivity, calls, task.is_positive)
        rows.append((fixed, goal, cut, measure(task.patient, settings.level)))
    return {
        "fixed": np.array([row[0] for row in rows], dtype=object),
        "at_least": np.array([row[1] for row in rows]),
        "threshold": np.array([row[2] for row in rows]),
        "other_rate": np.array([row[3].value for row in rows]),
        "low": np.array([row[3].low for row in rows]),
        "high": np.array([row[3].high for row in rows]),
    }
