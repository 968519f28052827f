"""What a validation table adds to a judgement: conformal sets, the carried threshold, shift of scores and prevalence.

Fitted on validation patients, read off on the judged ones. Records and exhibits only; the methods live in `uncertainty`
and `shift`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cxray.evaluate import clusters, shift
from cxray.evaluate.intervals import proportion
from cxray.evaluate.judge import Settings
from cxray.evaluate.operating import OperatingPoint
from cxray.evaluate.record import Codes, Context, Estimate, Flags, Floats, Record, withhold
from cxray.evaluate.screening import Screened, Task, tasks
from cxray.evaluate.uncertainty import class_limits, coverage_range, prediction_sets
from cxray.records import Predictions

Columns = dict[str, np.ndarray[Any, Any]]
Parts = dict[str, list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]]]

# The share of films whose true class the conformal set may miss.
MISS_RATE = 0.1


def transfer(
    judged: Screened, validation: Screened, questions: list[Task], points: list[OperatingPoint], settings: Settings
) -> tuple[list[Record], Parts]:
    """Every record and, by exhibit, every labelled table that needs both a validation and a judged table."""
    records: list[Record] = []
    exhibits: Parts = {}
    sources = tasks(validation.table, questions[0].label if len(questions) == 1 else "")
    for source, task, point in zip(sources, questions, points, strict=True):
        if not (_has_both(source) and _has_both(task)):
            continue
        records += _shift_records(source, task, point, settings)
        curve = shift.repair_curve(task, seed=settings.seed)
        exhibits.setdefault("repair", []).append((task.label, dict(curve)))
        context = Context(task.label, "", settings.level, len(task.scores), task.patients_among())
        records.append(context.record("local_patients_to_repair", shift.patients_to_repair(task, curve)))
        if point.threshold is not None:
            carried = shift.transport(source, task, point.threshold, settings.level)
            exhibits.setdefault("transport", []).append((task.label, carried))
    if not judged.table.is_multi_label and len(judged.table.classes) > 1:
        found, table = _conformal(judged.table, validation.table, settings)
        records += found
        exhibits["conformal"] = [("", table)]
    return records, exhibits


def _has_both(task: Task) -> bool:
    return bool(task.is_positive.any() and not task.is_positive.all())


def _shift_records(source: Task, task: Task, point: OperatingPoint, settings: Settings) -> Iterator[Record]:
    films = len(task.scores)
    context = Context(task.label, "", settings.level, films, task.patients_among())
    for is_ill, found in shift.score_shift(source, task, settings.level).items():
        note = "Chance that a judged film scores higher than a validation film of the same class; 0.5 is no shift."
        yield context.record(f"score_shift_{'positive' if is_ill else 'negative'}", found.noting(note))
    trained_at = float(source.is_positive.mean())
    estimated = shift.prevalence_interval(
        task.scores, trained_at, task.patient, level=settings.level, seed=settings.seed
    )
    yield context.record("prevalence_by_em", estimated.noting(f"True share here: {task.is_positive.mean():.3f}."))
    if point.threshold is not None:
        share = shift.prevalence_by_calls(source, source.scores >= point.threshold, point.calls)
        found = (
            withhold("The validation calls carry no information.") if share is None else Estimate(share, method="BBSE")
        )
        yield context.record("prevalence_by_calls", found)


def _conformal(judged: Predictions, validation: Predictions, settings: Settings) -> tuple[list[Record], Columns]:
    truth, patient = _class_numbers(judged), clusters.codes(judged.patient, len(judged))
    own_truth, own_patient = _class_numbers(validation), clusters.codes(validation.patient, len(validation))
    limits = class_limits(validation.scores, own_truth, own_patient, miss_rate=MISS_RATE, seed=settings.seed)
    sets = prediction_sets(judged.scores, limits)
    sizes = sets.sum(axis=1)
    records = []
    rows = []
    for number, name in enumerate(judged.classes):
        films = truth == number
        fitted_on = clusters.count(own_patient[own_truth == number])
        found = proportion(sets[films, number], patient[films], settings.level)
        if fitted_on:
            low, high = coverage_range(fitted_on, MISS_RATE)
            found = found.noting(
                f"Promised {1 - MISS_RATE:g}; {fitted_on} validation patients allow {low:.3f} to {high:.3f}."
            )
        context = Context(name, "", settings.level, int(films.sum()), _named(judged, films))
        records.append(context.record("conformal_coverage", found))
        rows.append((name, limits[number], fitted_on, found, _shares(sizes[films])))
    context = Context("", "", settings.level, len(judged), _named(judged, np.ones(len(judged), dtype=bool)))
    answered = proportion(sizes == 1, patient, settings.level)
    records.append(context.record("conformal_answered", answered.noting('The other films get "cannot tell".')))
    return records, _conformal_columns(rows)


def _conformal_columns(rows: list[tuple[str, float, int, Estimate, tuple[float, float, float]]]) -> Columns:
    def numbers(values: list[float | None]) -> Floats:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return {
        "class": np.array([row[0] for row in rows], dtype=object),
        # A limit of 1 rules nothing out, which is what infinity means here.
        "limit": np.minimum([row[1] for row in rows], 1.0),
        "validation_patients": np.array([row[2] for row in rows]),
        "coverage": numbers([row[3].value for row in rows]),
        "low": numbers([row[3].low for row in rows]),
        "high": numbers([row[3].high for row in rows]),
        "empty_set": np.array([row[4][0] for row in rows]),
        "one_class": np.array([row[4][1] for row in rows]),
        "several_classes": np.array([row[4][2] for row in rows]),
    }


def _shares(sizes: Codes) -> tuple[float, float, float]:
    if not sizes.size:
        return float("nan"), float("nan"), float("nan")
    return float((sizes == 0).mean()), float((sizes == 1).mean()), float((sizes > 1).mean())


def _class_numbers(table: Predictions) -> Codes:
    place = {name: number for number, name in enumerate(table.classes)}
    return np.array([place[name] for name in table.label], dtype=np.int64)


def _named(table: Predictions, films: Flags) -> int:
    return len(set(table.patient[films]) - {""})
