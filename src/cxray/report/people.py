"""What happens to 1,000 people: sensitivity and specificity restated in whole people, at the judge's prevalences.

No new number is made: the records are multiplied by a thousand and rounded, because people understand counts better
than percentages (Gigerenzer & Hoffrage 1995, Psychological Review 102:684). The predictive value beside each picture
comes with its interval from the judge's own table.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cxray.report.questions import Columns, Question

# Value, lower and upper limit.
Limits = tuple[float, float, float]

PEOPLE = 1000
COLUMNS = 50
DEFAULT_PREVALENCE = 0.1


@dataclasses.dataclass(frozen=True)
class Row:
    """A run of equal symbols within the picture, in cells: one rectangle."""

    kind: str
    x: int
    y: int
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Thousand:
    """A thousand people at one prevalence (0–1): whole counts, the predictive values with limits, and the picture.

    `ppv` and `npv` are None where the judge withheld them.
    """

    prevalence: float
    found: int
    missed: int
    alarms: int
    cleared: int
    ppv: Limits | None
    npv: Limits | None
    rows: tuple[Row, ...]


def thousands(question: Question) -> list[Thousand]:
    """One picture for each prevalence of the judge's `predictive_values` table; none without sensitivity and
    specificity.
    """
    table, point = question.table("predictive_values"), question.operating_point
    if table is None or point is None:
        return []
    found = []
    for row, prevalence in enumerate(table["prevalence"]):
        ppv, npv = (_limits(table, name, row) for name in ("ppv", "npv"))
        found.append(_thousand(float(prevalence), *point, ppv=ppv, npv=npv))
    return found


def default_step(steps: list[Thousand]) -> int:
    """Which picture is shown first: the one nearest to a prevalence of 10%."""
    return min(range(len(steps)), key=lambda step: abs(steps[step].prevalence - DEFAULT_PREVALENCE), default=0)


def _limits(table: Columns, name: str, row: int) -> Limits | None:
    cells = [table[column][row] for column in (name, f"{name}_low", f"{name}_high")]
    if any(cell is None or np.isnan(cell) for cell in cells):
        return None
    return float(cells[0]), float(cells[1]), float(cells[2])


def _thousand(
    prevalence: float, sensitivity: float, specificity: float, *, ppv: Limits | None, npv: Limits | None
) -> Thousand:
    ill = round(PEOPLE * prevalence)
    found, cleared = round(ill * sensitivity), round((PEOPLE - ill) * specificity)
    counts = {"found": found, "missed": ill - found, "alarms": PEOPLE - ill - cleared, "cleared": cleared}
    return Thousand(prevalence, **counts, ppv=ppv, npv=npv, rows=_picture(counts))


def _picture(counts: dict[str, int]) -> tuple[Row, ...]:
    """Symbols in reading order, a kind after the other; a kind fills at most a part row, whole rows and a part row."""
    rows: list[Row] = []
    start = 0
    for kind, number in counts.items():
        end = start + number
        while start < end:
            y, x = divmod(start, COLUMNS)
            if x == 0 and end - start >= COLUMNS:
                height = (end - start) // COLUMNS
                rows.append(Row(kind, 0, y, COLUMNS, height))
                start += height * COLUMNS
            else:
                width = min(COLUMNS - x, end - start)
                rows.append(Row(kind, x, y, width, 1))
                start += width
    return tuple(rows)
