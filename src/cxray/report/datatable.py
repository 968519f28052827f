"""The table behind a figure, on the page itself: whoever cannot see the figure, or doubts it, reads its numbers.

A long table is shown in evenly spaced rows, first and last among them; all rows lie beside the page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from cxray.report import numbers
from cxray.report.questions import Question
from cxray.report.text import clip, printable

MOST_ROWS = 24
_COUNTS = frozenset({"films", "patients", "positive", "negative", "missed", "false_alarms", "answered"})
_NAME_LENGTH = 60


@dataclasses.dataclass(frozen=True)
class DataTable:
    """`rows` hold (row in the whole table, finished cells); `whole` counts the rows of the whole table."""

    name: str
    label: str
    columns: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    whole: int

    @property
    def is_shortened(self) -> bool:
        """Whether rows are left out."""
        return len(self.rows) < self.whole


def data_table(question: Question, name: str) -> DataTable | None:
    """Table `name` of `question` as text; None where there is none."""
    table = question.table(name)
    if table is None:
        return None
    whole = len(next(iter(table.values())))
    shown = np.unique(np.linspace(0, whole - 1, min(whole, MOST_ROWS)).round().astype(int))
    rows = tuple((int(row), tuple(cell_text(column, values[row]) for column, values in table.items())) for row in shown)
    headings = tuple(printable(column.replace("_", " ")).capitalize() for column in table)
    return DataTable(name, question.label, tuple(table), headings, rows, whole)


def cell_text(column: str, value: object) -> str:
    """One cell as it is printed: counts whole, other numbers in three digits, a dash for what is not known."""
    if isinstance(value, str):
        return clip(printable(value), _NAME_LENGTH)
    number = float(value)  # type: ignore[arg-type]
    if np.isnan(number):
        return "–"
    form: Callable[[float], str] = numbers.count if column in _COUNTS else numbers.plain
    return form(number)
