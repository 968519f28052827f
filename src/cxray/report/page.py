"""The page of one evaluation: `report.html` and `figures/*.svg` beside `evaluation.json` and `tables/`.

A newcomer's scroll first, the expert's level behind a switch below it; both speak from the same records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxray.evaluate.evaluation import Evaluation
from cxray.report.judgement import judgement
from cxray.report.pages import write_page
from cxray.tables import Column

REPORT = "report.html"
FIGURES = "figures"


def write_evaluation_report(evaluation: Evaluation, folder: Path, *, command: str = "") -> Path:
    """Write `folder/report.html` and `folder/figures/*.svg`; returns the page's path.

    `evaluation.save(folder)` is the caller's: the page links to the files that it writes. `command` is the literal
    command that makes the judgement again, shown when given.

    Raises:
        OutputError: the folder cannot be written.
    """
    judged = judgement(evaluation, folder=folder / FIGURES)
    return write_page(
        folder / REPORT,
        "evaluation.html.j2",
        judged=judged,
        tables=table_list(evaluation.tables),
        command=command,
    )


def table_list(tables: Mapping[str, Mapping[str, Column]]) -> Sequence[Mapping[str, Any]]:
    """Name, rows and columns of every table that lies beside the page."""
    return [
        {"name": name, "rows": len(next(iter(columns.values()), ())), "columns": ", ".join(columns)}
        for name, columns in sorted(tables.items())
    ]
