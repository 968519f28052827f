"""People and model on the same films: each reader's result beside the model's, and how far the readers agree.

The marks are those of `reading` (one row a mark). Words are compared by sensitivity and specificity at the threshold in
use, numbers by AUROC; each difference is model minus reader, paired film by film and clustered by patient
(`paired.paired_difference`, `ranking.paired_test`). Marks need no truth of their own: the judged table's label counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cxray.errors import DataError
from cxray.evaluate import clusters, rates
from cxray.evaluate.evaluation import Evaluation, stack
from cxray.evaluate.floor import match_paths
from cxray.evaluate.paired import holm, paired_difference
from cxray.evaluate.ranking import auroc_interval, paired_test
from cxray.evaluate.reading import Marks, ReaderJudgement, judge_readers
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags, Floats, numbers, withhold
from cxray.evaluate.screening import Task, screen, tasks
from cxray.records import Predictions

Columns = dict[str, np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class _Row:
    """One measure of one reader in one mode beside the model's; `p` is adjusted later."""

    mode: str
    reader: str
    measure: str
    films: int
    own: Estimate
    model: Estimate
    difference: Estimate
    p: float


def with_readers(
    evaluation: Evaluation, predictions: Predictions, marks: Marks, described: Mapping[str, Any]
) -> Evaluation:
    """`evaluation` with the fact `readers` and the tables `readers` and `reader_agreement`.

    `predictions` is the judged table, `described` what is known of the table of marks (source, hash). Cases are
    recognised by the end of their path. Table `readers`: `mode`, `reader`, `measure`, `films`, `reader_value`, `low`,
    `high`, `model_value`, `difference` (model minus reader) with its limits, `p_holm`, `withheld`. Table
    `reader_agreement`: `between`, `measure`, `value`, `low`, `high`, `withheld`.

    Raises:
        DataError: no marked case is a judged film, or a case's own label contradicts the table.
    """
    table = screen(predictions).table
    place = match_paths(marks.case, table.path)
    if not (place >= 0).any():
        raise DataError(
            f"None of the {len(marks.case)} marked cases is a film of the judged table; the first is {marks.case[0]}.",
            "Name the cases in the column `path` as the predictions table names its films.",
        )
    _check_truth(marks, table, place)
    level = float(evaluation.facts.get("level", LEVEL))
    thresholds = evaluation.facts.get("thresholds") or {}
    parts: list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]] = []
    for task in tasks(table, str(evaluation.facts.get("positive") or "")):
        cut = (thresholds.get(task.label) or {}).get("value")
        rows = list(_beside(task, marks, place, cut, level))
        parts += [(task.label, _columns(rows))] if rows else []
    agreement = judge_readers(_unlabelled(marks), level=level, seed=int(evaluation.facts.get("seed") or 0))
    facts = {
        **described,
        "readers": len(marks.readers),
        "modes": list(marks.modes),
        "cases": len(marks.case),
        "cases_matched": int((place >= 0).sum()),
        "cases_left_out": len(marks.left_out),
    }
    tables = dict(evaluation.tables) | ({"readers": stack(parts)} if parts else {})
    said = _agreement(agreement)
    if len(said["between"]):
        labels = [task.label for task in tasks(table, str(evaluation.facts.get("positive") or ""))]
        tables["reader_agreement"] = stack([(label, said) for label in labels])
    return dataclasses.replace(evaluation, tables=tables, facts={**evaluation.facts, "readers": facts})


def _check_truth(marks: Marks, table: Predictions, place: Codes) -> None:
    for case, truth, row in zip(marks.case, marks.truth, place, strict=True):
        if row >= 0 and truth and table.label[row] and truth != table.label[row]:
            raise DataError(
                f"{case} is labelled {truth!r} by the table of marks and {table.label[row]!r} by the judged table.",
                "Correct one of them, or leave the label out of the marks.",
            )


def _unlabelled(marks: Marks) -> Marks:
    """The marks without truth: only the agreement of the readers is asked."""
    return dataclasses.replace(marks, truth=np.full(len(marks.case), "", dtype=object))


def _beside(task: Task, marks: Marks, place: Codes, cut: float | None, level: float) -> Iterator[_Row]:
    """Every reader and mode beside the model on the films of `task` that were marked."""
    of_task = {int(row): position for position, row in enumerate(task.rows)}
    pairs = [(case, of_task[int(row)]) for case, row in enumerate(place) if int(row) in of_task]
    if not pairs:
        return
    cases, films = (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True))
    inside = _at(task, films)
    given = marks.numbers()
    for mode, mode_name in enumerate(marks.modes):
        for reader, name in enumerate(marks.readers):
            if given is not None:
                yield _ranked(inside, given[mode, reader, cases], (mode_name, name), level)
            elif cut is not None:
                calls = np.asarray(marks.mark[mode, reader, cases] == task.label, dtype=bool)
                yield from _decided(inside, calls, inside.scores >= cut, (mode_name, name), level)


def _at(task: Task, films: Codes) -> Task:
    """The question put to the films at these positions, in this order."""
    patient = clusters.codes(task.patient[films], len(films))
    return dataclasses.replace(
        task, scores=task.scores[films], is_positive=task.is_positive[films], patient=patient, rows=task.rows[films]
    )


def _ranked(task: Task, scores: Floats, who: tuple[str, str], level: float) -> _Row:
    own = auroc_interval(scores, task.is_positive, task.patient, level)
    model = auroc_interval(task.scores, task.is_positive, task.patient, level)
    if own.value is None:
        return _Row(*who, "auroc", len(scores), own, model, withhold(own.withheld), 1.0)
    both = np.column_stack([task.scores, scores])
    return _Row(*who, "auroc", len(scores), own, model, *paired_test(both, task.is_positive, task.patient, level))


def _decided(task: Task, calls: Flags, model: Flags, who: tuple[str, str], level: float) -> Iterator[_Row]:
    for measure, rate, films in (
        ("sensitivity", rates.sensitivity, task.is_positive),
        ("specificity", rates.specificity, ~task.is_positive),
    ):
        own, its = (rate(one, task.is_positive, task.patient, level) for one in (calls, model))
        patient = clusters.codes(task.patient[films], int(films.sum()))
        first, second = ((one == task.is_positive)[films] for one in (model, calls))
        yield _Row(*who, measure, int(films.sum()), own, its, *paired_difference(first, second, patient, level))


def _columns(rows: list[_Row]) -> Columns:
    adjusted = holm([row.p for row in rows])
    words = {name: [getattr(row, name) for row in rows] for name in ("mode", "reader", "measure")}
    return {
        **{name: np.array(values, dtype=object) for name, values in words.items()},
        "films": np.array([row.films for row in rows], dtype=np.int64),
        "reader_value": numbers([row.own.value for row in rows]),
        "low": numbers([row.own.low for row in rows]),
        "high": numbers([row.own.high for row in rows]),
        "model_value": numbers([row.model.value for row in rows]),
        "difference": numbers([row.difference.value for row in rows]),
        "difference_low": numbers([row.difference.low for row in rows]),
        "difference_high": numbers([row.difference.high for row in rows]),
        "p_holm": np.array(adjusted, dtype=np.float64),
        "withheld": np.array([row.own.withheld or row.difference.withheld for row in rows], dtype=object),
    }


def _agreement(judged: ReaderJudgement) -> Columns:
    found = [record for record in judged.records if record.name in ("fleiss_kappa", "cohen_kappa")]
    return {
        "between": np.array([record.slice.removeprefix("mode=") for record in found], dtype=object),
        "measure": np.array([record.name for record in found], dtype=object),
        "value": numbers([record.value for record in found]),
        "low": numbers([record.low for record in found]),
        "high": numbers([record.high for record in found]),
        "withheld": np.array([record.withheld for record in found], dtype=object),
    }
