"""What was found in a model's training data, as it travels with its predictions: one word a finding.

Training writes the outcome of its audit into the bundle; every predictions table of that bundle carries it in the
column `training_audit`, so that a judgement knows of it although it sees no model and no film. A cell is "clean", or
words such as "accepted:patient-leak" (an error that somebody chose to live with) and "warning:shortcut-border".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxray.records import Predictions

COLUMN = "training_audit"
_ACCEPTED, _WARNING, _CLEAN = "accepted:", "warning:", "clean"
# Warnings that can explain a good result; others (another batch, another mix) say what to expect elsewhere.
_FLATTERING = ("shortcut-", "one-class-group", "duplicate-", "near-duplicate", "patient-leak", "known-films")


def as_cell(audit: Any) -> str:
    """The cell for what a bundle says under "audit"; "" when it says nothing, as bundles of older versions."""
    if not isinstance(audit, Mapping):
        return ""
    words = [f"{_ACCEPTED}{row['code']}" for row in audit.get("accepted", ())]
    words += [f"{_WARNING}{row['code']}" for row in audit.get("warnings", ())]
    return " ".join(words) or _CLEAN


def of_table(table: Predictions) -> dict[str, Any] | None:
    """What the cells of a table say, joined over its films; None when the table does not know.

    `errors` counts accepted errors, `accepted` names them, `warnings` names what can flatter a result.
    """
    cells = {str(cell) for cell in table.metadata.get(COLUMN, ())} - {""}
    if not cells:
        return None
    words = sorted({word for cell in cells for word in cell.split()})
    return summary(
        [word.removeprefix(_ACCEPTED) for word in words if word.startswith(_ACCEPTED)],
        [word.removeprefix(_WARNING) for word in words if word.startswith(_WARNING)],
        "the training data",
    )


def summary(accepted: list[str], warnings: list[str], source: str) -> dict[str, Any]:
    """Facts for a judgement: the errors and the flattering warnings of an audit, and where they were told."""
    flattering = [code for code in warnings if code.startswith(_FLATTERING)]
    return {"errors": len(accepted), "accepted": accepted, "warnings": flattering, "source": source}
