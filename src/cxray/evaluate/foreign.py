"""Tables of other tools: rename their columns to ours, or say which of their columns might be meant.

A mapping goes from our name to theirs: `{"path": "image_id", "label": "truth", "score_PNEUMONIA": "prob"}`. `labels`
translates their words for the classes: `{"1": "PNEUMONIA", "0": "NORMAL"}`. Columns that are not named keep their
names, so they stay available as slices.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cxray.errors import DataError, UsageError
from cxray.records import SCORE_PREFIX, Predictions
from cxray.tables import Column, read_table

OUR_COLUMNS = ("path", "patient", "split", "label", "predicted", "decision", "gate", "error")
# What other tools call the same things; only used to word a suggestion, never to rename on our own.
_ALIASES = {
    "path": ("image", "image_id", "imageid", "file", "filename", "file_name", "id", "uid", "sopinstanceuid", "img"),
    "patient": ("patient_id", "patientid", "subject", "subject_id", "person", "case_id", "mrn"),
    "label": ("truth", "target", "y", "y_true", "ytrue", "class", "ground_truth", "gt", "outcome", "diagnosis"),
    "split": ("fold", "subset", "partition", "set"),
}
_MOST_SUGGESTED = 6


def read_foreign(
    path: Path, mapping: Mapping[str, str] | None = None, *, labels: Mapping[str, str] | None = None
) -> Predictions:
    """Read a predictions table of any tool.

    Raises:
        UsageError: the mapping names a column that the table does not have, or one of our names that does not exist.
        DataError: no score column is left after renaming; the message lists columns that look like scores.
    """
    return rename(read_table(path), mapping or {}, labels=labels or {}, source=path)


def rename(
    table: Mapping[str, Column],
    mapping: Mapping[str, str],
    *,
    labels: Mapping[str, str] | None = None,
    source: Path | str = "the table",
) -> Predictions:
    """Build predictions from text columns after renaming; see `read_foreign`.

    Raises:
        UsageError: a column that is to be renamed is missing, or its new name is taken.
        DataError: as `Predictions.from_columns`.
    """
    renamed = dict(table)
    for ours, theirs in mapping.items():
        _check_our_name(ours, table)
        if theirs not in renamed:
            raise UsageError(
                f"{source} has no column {theirs!r}, which was to be read as {ours!r}."
                f"{_did_you_mean(theirs, list(table))}",
                f"Its columns are: {', '.join(list(table)[:12])}.",
            )
        if ours in renamed and ours != theirs:
            raise UsageError(f"{source} already has a column {ours!r}.", f"Leave {ours!r} out of the mapping.")
        renamed[ours] = renamed.pop(theirs)
    _check_scores(renamed, source)
    if labels:
        renamed["label"] = _translated(renamed, labels, source)
    return Predictions.from_columns(renamed, source=source)


def _check_our_name(ours: str, table: Mapping[str, Column]) -> None:
    if ours in OUR_COLUMNS or (ours.startswith(SCORE_PREFIX) and ours != SCORE_PREFIX):
        return
    if ours in table:
        raise UsageError(
            f"{ours!r} is the table's own name; a mapping is written as our name, then the table's.",
            "Turn the pair around, for example label=truth.",
        )
    raise UsageError(
        f"There is no column {ours!r} in a predictions table.{_did_you_mean(ours, list(OUR_COLUMNS))}",
        f"Our names are: {', '.join(OUR_COLUMNS)} and score_<CLASS>.",
    )


def _check_scores(table: Mapping[str, Column], source: Path | str) -> None:
    if any(name.startswith(SCORE_PREFIX) and name != SCORE_PREFIX for name in table):
        return
    candidates = [name for name, column in table.items() if _looks_like_scores(column)]
    hints = [f"score_<CLASS>={name}" for name in candidates[:_MOST_SUGGESTED]]
    for ours, aliases in _ALIASES.items():
        near = [name for name in table if name.lower() in aliases]
        if ours not in table and near:
            hints.append(f"{ours}={near[0]}")
    found = f"Columns that could be meant: {', '.join(hints)}." if hints else "No column holds numbers between 0 and 1."
    raise DataError(
        f"{source} has no score_<CLASS> column; its columns are: {', '.join(list(table)[:12])}. {found}",
        "Say which column is which with a mapping, for example score_PNEUMONIA=prob.",
    )


def _looks_like_scores(column: Column) -> bool:
    """Whether most cells are numbers between 0 and 1 that are not all 0 or 1."""
    try:
        numbers = np.where(column == "", "nan", column).astype(np.float64)
    except ValueError:
        return False
    known = numbers[~np.isnan(numbers)]
    return bool(known.size and known.min() >= 0 and known.max() <= 1 and not np.isin(known, (0, 1)).all())


def _translated(table: Mapping[str, Column], labels: Mapping[str, str], source: Path | str) -> Column:
    if "label" not in table:
        raise UsageError(f"{source} has no label column to translate.", "Map it, for example label=truth.")
    return np.array([labels.get(str(cell), str(cell)) for cell in table["label"]], dtype=object)


def _did_you_mean(name: str, names: list[str]) -> str:
    lowered = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f" Did you mean {lowered[close[0]]!r}?" if close else ""
