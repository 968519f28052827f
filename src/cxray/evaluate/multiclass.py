"""Numbers that speak of all classes or findings together: macro averages, Hand & Till's M, accuracy and the full
confusion table. With two exclusive classes there is nothing to add, and both functions return nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cxray.evaluate import clusters
from cxray.evaluate.intervals import proportion, sandwich
from cxray.evaluate.judge import Settings
from cxray.evaluate.operating import OperatingPoint
from cxray.evaluate.paired import benjamini_hochberg, holm
from cxray.evaluate.ranking import auroc_influence, auroc_interval, hand_till
from cxray.evaluate.rates import IMPROPER
from cxray.evaluate.record import Codes, Context, Estimate, Record, withhold
from cxray.evaluate.screening import Task
from cxray.records import Predictions


def overall(
    table: Predictions, questions: list[Task], points: list[OperatingPoint], settings: Settings
) -> list[Record]:
    """Records without a label: `macro_auroc`, and for exclusive classes `hand_till_auroc` and `accuracy`."""
    if len(questions) < 2:
        return []
    patient = clusters.codes(table.patient, len(table))
    known = len(set(table.patient) - {""})
    context = Context("", "", settings.level, len(table), known)
    records = [context.record("macro_auroc", _macro_auroc(table, questions, patient, settings.level))]
    if not table.is_multi_label:
        records += _exclusive(table, questions, points, context)
    return records


def exhibits(table: Predictions) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """`confusion_classes` for more than two exclusive classes: every class by the most probable class, in films."""
    if table.is_multi_label or len(table.classes) < 3:
        return {}
    named = np.array(table.classes, dtype=object)[table.scores.argmax(axis=1)]
    pairs = [(truth, answer) for truth in table.classes for answer in table.classes]
    return {
        "confusion_classes": {
            "truth": np.array([truth for truth, _ in pairs], dtype=object),
            "most_probable": np.array([answer for _, answer in pairs], dtype=object),
            "films": np.array(
                [np.count_nonzero((table.label == truth) & (named == answer)) for truth, answer in pairs]
            ),
        }
    }


def findings(questions: list[Task], settings: Settings) -> dict[str, np.ndarray[Any, Any]]:
    """Every question side by side: AUROC with limits, the p value against chance, adjusted by Holm and by Benjamini and
    Hochberg. Questions without films of both kinds are left out.
    """
    judged = [task for task in questions if task.is_positive.any() and not task.is_positive.all()]
    found = [auroc_interval(task.scores, task.is_positive, task.patient, settings.level) for task in judged]
    p_values = [_against_chance(task) for task in judged]
    return {
        "label": np.array([task.label for task in judged], dtype=object),
        "films": np.array([len(task.scores) for task in judged], dtype=np.int64),
        "positive": np.array([task.is_positive.sum() for task in judged], dtype=np.int64),
        "auroc": np.array([one.value for one in found], dtype=np.float64),
        "low": np.array([one.low for one in found], dtype=np.float64),
        "high": np.array([one.high for one in found], dtype=np.float64),
        "p": np.array(p_values),
        "p_holm": np.array(holm(p_values)),
        "p_false_discovery": np.array(benjamini_hochberg(p_values)),
    }


def _against_chance(task: Task) -> float:
    """The two-sided p value of an AUROC of 0.5; 1 when the films show no variance to judge by."""
    value, influence = auroc_influence(task.scores, task.is_positive)
    return sandwich(value - 0.5, influence, task.patient)[1]


def _macro_auroc(table: Predictions, questions: list[Task], patient: Codes, level: float) -> Estimate:
    """The mean AUROC over the classes that have films of both kinds; one influence value a film joins the variances."""
    influence = np.zeros(len(table))
    values = []
    for task in questions:
        if task.is_positive.any() and not task.is_positive.all():
            value, own = auroc_influence(task.scores, task.is_positive)
            values.append(value)
            influence[task.rows] += own
    if not values:
        return withhold("No class has films of both kinds.")
    mean = float(np.mean(values))
    left_out = len(questions) - len(values)
    note = f"{left_out} classes without films of both kinds are left out." if left_out else ""
    if mean in (0.0, 1.0):
        return Estimate(mean, method="mean over classes").noting(note, "No variance to build an interval from.")
    on_logit = influence / (len(values) * mean * (1 - mean))
    return sandwich(mean, on_logit, patient, level, scale="logit")[0].noting(note)


def _exclusive(
    table: Predictions, questions: list[Task], points: list[OperatingPoint], context: Context
) -> Iterator[Record]:
    truth = np.array([table.classes.index(name) for name in table.label], dtype=np.int64)
    area = hand_till(table.scores, truth)
    if np.isnan(area):
        yield context.record("hand_till_auroc", withhold("Hand and Till's M needs films of at least two classes."))
    else:
        plain = Estimate(area, method="Hand & Till 2001").noting("Given without an interval; see macro_auroc.")
        yield context.record("hand_till_auroc", plain)
    right = np.zeros(len(table), dtype=bool)
    for task, point in zip(questions, points, strict=True):
        right[task.rows] |= point.calls & task.is_positive
    patient = clusters.codes(table.patient, len(table))
    yield context.record("accuracy", proportion(right, patient, context.level).noting(IMPROPER))
