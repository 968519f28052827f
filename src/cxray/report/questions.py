"""An `Evaluation` as a page needs it: question by question, by name, and without trouble when something is absent.

The judge keeps adding records and tables. A page asks for them by name; what is not there is not shown, and what was
withheld says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.record import Record

Columns = dict[str, npt.NDArray[Any]]

CELLS = {
    "found": ("positive", "positive"),
    "missed": ("positive", "negative"),
    "alarms": ("negative", "positive"),
    "cleared": ("negative", "negative"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """One yes/no question of an evaluation: does a film show `label`? `number` counts the questions from 0.

    `other` is the name of the only other class, "" when "without the finding" is all that can be said.
    """

    evaluation: Evaluation
    label: str
    number: int
    other: str = ""

    def record(self, name: str, slice_name: str = "") -> Record | None:
        """The record, or None when the judge made none."""
        return find_record(self.evaluation, name, self.label, slice_name)

    def value(self, name: str) -> float | None:
        """The value of a record, None when it is absent or withheld."""
        record = self.record(name)
        return record.value if record else None

    def table(self, name: str) -> Columns | None:
        """The rows of a table that belong to this question; None when there is no table or no row."""
        return rows_of(self.evaluation, name, self.label)

    def films(self, cell: str) -> int | None:
        """Films in one cell of the confusion table: "found", "missed", "alarms" or "cleared"; None when not judged."""
        return self._cell(cell, "films")

    def patients(self, cell: str) -> int | None:
        """Patients with a film in that cell; 0 when patients are unknown."""
        return self._cell(cell, "patients")

    @property
    def ill(self) -> int:
        """Films with the finding."""
        return (self.films("found") or 0) + (self.films("missed") or 0)

    @property
    def healthy(self) -> int:
        """Films without the finding."""
        return (self.films("alarms") or 0) + (self.films("cleared") or 0)

    @property
    def threshold(self) -> Mapping[str, Any]:
        """What is known about the operating point: `value`, `origin`, `policy` …; empty when nothing is."""
        known = self.evaluation.facts.get("thresholds") or {}
        return known.get(self.label) or {}

    @property
    def operating_point(self) -> tuple[float, float] | None:
        """Sensitivity and specificity at the threshold in use, when both are known."""
        sensitivity, specificity = self.value("sensitivity"), self.value("specificity")
        return None if sensitivity is None or specificity is None else (sensitivity, specificity)

    def _cell(self, cell: str, column: str) -> int | None:
        table = self.table("confusion")
        if table is None:
            return None
        truth, decision = CELLS[cell]
        row = np.flatnonzero((table["truth"] == truth) & (table["decision"] == decision))
        return int(table[column][row[0]]) if row.size == 1 else None


def questions_of(evaluation: Evaluation) -> list[Question]:
    """Every question of an evaluation, in the judge's order."""
    facts = evaluation.facts
    # Every question has an AUROC, be it withheld; other records may speak of a class that is nobody's question.
    labels = [record.label for record in evaluation.records if record.name == "auroc" and not record.slice]
    classes = [str(name) for name in facts.get("classes", ())]
    exclusive_pair = len(classes) == 2 and not facts.get("multi_label")
    other = {label: name for label in labels for name in classes if exclusive_pair and name != label}
    return [Question(evaluation, label, number, other.get(label, "")) for number, label in enumerate(labels)]


def overall_records(evaluation: Evaluation) -> list[Record]:
    """Records that belong to no single question: of all classes together, or of a class that is not asked for."""
    asked = {question.label for question in questions_of(evaluation)}
    return [record for record in evaluation.records if record.label not in asked and not record.slice]


def slices_of(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Every (slice, label) that was judged apart, in order."""
    return list(dict.fromkeys((record.slice, record.label) for record in evaluation.records if record.slice))


def find_record(evaluation: Evaluation, name: str, label: str, slice_name: str = "") -> Record | None:
    """The record of that name, class and slice, or None."""
    for record in evaluation.records:
        if record.name == name and record.label == label and record.slice == slice_name:
            return record
    return None


def rows_of(evaluation: Evaluation, name: str, label: str) -> Columns | None:
    """The rows of table `name` whose `label` is `label`; None when the table is absent or has no such row."""
    table = evaluation.tables.get(name)
    if table is None or "label" not in table:
        return None
    rows = np.asarray(table["label"]) == label
    if not rows.any():
        return None
    return {key: np.asarray(column)[rows] for key, column in table.items() if key != "label"}
