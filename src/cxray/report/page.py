"""The page of one evaluation: `report.html` and `figures/*.svg` beside `evaluation.json` and `tables/`.

A newcomer's scroll first, the expert's level behind a switch below it; both speak from the same records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxray.evaluate.evaluation import Evaluation
from cxray.report.gallery import Pictures
from cxray.report.judgement import judgement
from cxray.report.lungs import lungs
from cxray.report.pages import write_page
from cxray.tables import Column

REPORT = "report.html"
FIGURES = "figures"
# The folder of the model card beside the page, and what it holds.
CARD = "card"
BESIDE = (
    (f"{CARD}/card.html", "Model card"),
    (f"{CARD}/README.md", "Model card for the Hugging Face Hub"),
    (f"{CARD}/checklists.html", "Filled reporting checklists (TRIPOD+AI, STARD-AI, CLAIM, PROBAST+AI)"),
)


def write_evaluation_report(
    evaluation: Evaluation,
    folder: Path,
    *,
    command: str = "",
    films: Mapping[str, bytes] | None = None,
    maps: Mapping[str, bytes] | None = None,
) -> Path:
    """Write `folder/report.html` and `folder/figures/*.svg` and `.png`; returns the page's path.

    `evaluation.save(folder)` is the caller's: the page links to the files that it writes. `command` is the literal
    command that makes the judgement again, shown when given. `films` and `maps` are PNG bytes by the path in the judged
    table: pictures of the films in `gallery.films_wanted(evaluation)`, and maps of where their scores come from, shown
    beside them when the facts say that such maps may be trusted.

    Raises:
        OutputError: the folder cannot be written.
    """
    sources = lungs(evaluation)
    pictures = Pictures(films or {}, (maps or {}) if sources.shows_maps else {})
    judged = judgement(evaluation, folder=folder / FIGURES, pictures=pictures)
    return write_page(
        folder / REPORT,
        "evaluation.html.j2",
        judged=judged,
        lungs=sources,
        has_pictures=bool(films),
        beside=[(name, text) for name, text in BESIDE if (folder / name).is_file()],
        tables=table_list(evaluation.tables),
        command=command,
    )


def table_list(tables: Mapping[str, Mapping[str, Column]]) -> Sequence[Mapping[str, Any]]:
    """Name, rows and columns of every table that lies beside the page."""
    return [
        {"name": name, "rows": len(next(iter(columns.values()), ())), "columns": ", ".join(columns)}
        for name, columns in sorted(tables.items())
    ]
