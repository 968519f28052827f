"""Where the line between positive and negative lies, and who drew it.

In this order: a policy applied to a validation table; the table's own decisions (with a numeric `threshold` column when
present), frozen by the model's bundle; a threshold given by the user; the most probable class, with a warning. The
judged table itself never decides.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from cxray.errors import DataError, SealedTestError, UsageError
from cxray.evaluate import thresholds
from cxray.evaluate.record import Flags
from cxray.evaluate.screening import Screened, Task, fingerprint, screen, tasks
from cxray.records import Predictions

VALIDATION = "chosen on the validation table"
FROZEN = "frozen by the model's bundle"
GIVEN = "given by the user"
MOST_PROBABLE = "most probable class"
_FINDING_SEPARATOR = re.compile(r"[;|,]")


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoint:
    """What is called positive in one task: `calls` bool (films,), and `facts`, JSON-able, about the threshold.

    `threshold` is a number on the scale of the scores, or None when the decisions follow no single one.
    """

    calls: Flags
    origin: str
    threshold: float | None
    facts: dict[str, Any]


def operating_points(
    questions: list[Task],
    judged: Screened,
    *,
    validation: Predictions | None,
    policy: thresholds.Policy | str,
    threshold: float | None,
) -> tuple[list[OperatingPoint], list[str]]:
    """One operating point a question, and warnings.

    Raises:
        SealedTestError: the validation table is the judged table, or holds test films.
        UsageError: a threshold outside 0–1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"A threshold must lie between 0 and 1, got {threshold:g}.")
    warnings: list[str] = []
    if not judged.table.is_multi_label and len(questions) > 1:
        # One threshold a class could call a film two exclusive classes, or none.
        return _most_probable(questions, judged.table, warnings), warnings
    if validation is not None:
        return _from_validation(questions, judged, validation, policy, warnings), warnings
    if threshold is not None:  # what was typed now wins over what was stored then
        return [_at(task, threshold, GIVEN) for task in questions], warnings
    frozen = _frozen(questions, judged.table, warnings)
    if frozen is not None:
        return frozen, warnings
    warnings.append(
        "No threshold was frozen or given, so 0.5 (the most probable class) is used; "
        "give a validation table to choose one."
    )
    return [_at(task, 0.5, MOST_PROBABLE) for task in questions], warnings


def _from_validation(
    questions: list[Task],
    judged: Screened,
    validation: Predictions,
    policy: thresholds.Policy | str,
    warnings: list[str],
) -> list[OperatingPoint]:
    seen = screen(validation)
    if seen.table.classes != judged.table.classes:
        raise UsageError(
            f"The validation table has the classes {', '.join(seen.table.classes)}, "
            f"the judged table has {', '.join(judged.table.classes)}.",
            "Give tables of one model.",
        )
    _refuse_the_same_films(judged.table, seen.table, warnings)
    splits = set(seen.table.split)
    split = "test" if "test" in splits else "+".join(sorted(name or "unstated" for name in splits))
    digest = fingerprint(validation)
    positive = questions[0].label if len(questions) == 1 else ""
    points = []
    for task, source in zip(questions, tasks(seen.table, positive), strict=True):
        try:
            chosen = thresholds.choose(policy, source.scores, source.is_positive, split, digest, source.patient)
        except DataError as error:
            if positive:
                raise
            # One finding that the validation films cannot serve must not cost the judgement of all others.
            warnings.append(f"{task.label}: 0.5 is used as threshold. {error.message}")
            points.append(_at(task, 0.5, MOST_PROBABLE))
            continue
        point = _at(task, chosen.value, VALIDATION)
        points.append(dataclasses.replace(point, facts={**point.facts, **chosen.to_dict()}))
    return points


def _refuse_the_same_films(judged: Predictions, validation: Predictions, warnings: list[str]) -> None:
    shared = len(set(judged.path) & set(validation.path))
    named = not str(judged.path[0]).startswith("row ")
    if fingerprint(judged) == fingerprint(validation) or (named and shared == len(judged)):
        raise SealedTestError(
            "The validation table holds the very films that are judged.",
            "Choose the threshold on other patients' films.",
        )
    if named and shared:
        warnings.append(
            f"{shared} judged films are also in the validation table; the results look better than they are."
        )
    patients = (set(judged.patient) & set(validation.patient)) - {""}
    if patients:
        warnings.append(f"{len(patients)} patients are in both the judged and the validation table.")


def _frozen(questions: list[Task], table: Predictions, warnings: list[str]) -> list[OperatingPoint] | None:
    decided = table.decision != ""
    if not decided.any():
        return _frozen_numbers(questions, table, warnings)
    calls = _decisions(table)
    # With several findings an empty cell is an answer: nothing was found.
    if calls is None or not (decided.all() or table.is_multi_label):
        warnings.append("The decision column is incomplete or names other classes, so it is not used.")
        return _frozen_numbers(questions, table, warnings)
    points = []
    for task in questions:
        called = calls[task.rows, table.classes.index(task.label)]
        number = _stored_number(table, task.label)
        implied = _implied_threshold(task, called) if number is None else number
        if implied is not None and np.any((task.scores >= implied) != called):
            warnings.append(f"{task.label}: some decisions do not follow from the stored threshold {implied:g}.")
        points.append(_point(called, FROZEN, implied))
    return points


def _frozen_numbers(questions: list[Task], table: Predictions, warnings: list[str]) -> list[OperatingPoint] | None:
    numbers = [_stored_number(table, task.label) for task in questions]
    if any(number is None for number in numbers):
        return None
    return [_at(task, number, FROZEN) for task, number in zip(questions, numbers, strict=True) if number is not None]


def _decisions(table: Predictions) -> Flags | None:
    """Which classes each film was decided to show, (films, classes); None when the column names something else."""
    classes = np.array(table.classes, dtype=object)
    if not table.is_multi_label:
        if len(classes) == 1:
            return np.asarray(table.decision[:, None] == classes, dtype=bool)
        return (
            np.asarray(table.decision[:, None] == classes, dtype=bool)
            if np.isin(table.decision, classes).all()
            else None
        )
    calls = np.zeros((len(table), len(classes)), dtype=bool)
    known = {name: number for number, name in enumerate(classes)}
    for row, cell in enumerate(table.decision):
        for name in filter(None, map(str.strip, _FINDING_SEPARATOR.split(cell))):
            if name not in known:
                return None
            calls[row, known[name]] = True
    return calls


def _stored_number(table: Predictions, label: str) -> float | None:
    for name in (f"threshold_{label}", "threshold"):
        values = set(table.metadata.get(name, ())) - {""}
        if len(values) == 1:
            try:
                return float(values.pop())
            except ValueError:
                return None
    return None


def _implied_threshold(task: Task, calls: Flags) -> float | None:
    """The number that reproduces the decisions, midway between their neighbours; None when no number does."""
    if calls.all() or not calls.any():
        return None
    highest_negative, lowest_positive = task.scores[~calls].max(), task.scores[calls].min()
    if highest_negative >= lowest_positive:
        return None
    return float((highest_negative + lowest_positive) / 2)


def _most_probable(questions: list[Task], table: Predictions, warnings: list[str]) -> list[OperatingPoint]:
    calls = _decisions(table) if (table.decision != "").all() else None
    origin = FROZEN
    if calls is None:
        origin = MOST_PROBABLE
        calls = table.scores.argmax(axis=1)[:, None] == np.arange(len(table.classes))
    if origin == MOST_PROBABLE:
        warnings.append("Each film is given its most probable class; no decision was frozen with the model.")
    return [_point(calls[task.rows, table.classes.index(task.label)], origin, None) for task in questions]


def _at(task: Task, threshold: float, origin: str) -> OperatingPoint:
    return _point(task.scores >= threshold, origin, threshold)


def _point(calls: Flags, origin: str, threshold: float | None) -> OperatingPoint:
    facts = {"value": threshold, "origin": origin, "policy": None, "split": None, "table_sha256": None}
    return OperatingPoint(np.asarray(calls, dtype=bool), origin, threshold, facts)
