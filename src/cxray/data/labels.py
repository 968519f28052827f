"""Labels in tables: which columns they are, and whether they can be meant.

A typing error in a label silently makes a new class, so near misses are refused with the row that holds them.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cxray.errors import LabelError
from cxray.tables import Column

_RESERVED = {"path", "label", "patient", "split", "predicted", "decision", "gate", "error"}
_BINARY = {"0": False, "1": True, "0.0": False, "1.0": True, "": None}
_RARE_FRACTION = 0.02
_NEAR = 0.8


def finding_columns(table: Mapping[str, Column], wanted: Sequence[str], source: Path) -> list[str]:
    """The columns of a table that hold 0/1 findings, in table order; empty when there is a `label` column.

    A column counts when nine in ten of its filled cells are 0 or 1; a stray value in it is then an error, not a
    reason to ignore the column. `wanted` names them explicitly instead.

    Raises:
        LabelError: a wanted column is missing, or a finding holds something other than 0, 1 or nothing.
    """
    if wanted:
        missing = [name for name in wanted if name not in table]
        if missing:
            raise LabelError(f"{source} has no column {missing[0]!r}{_suggest(missing[0], list(table))}.")
        names = list(wanted)
    elif "label" in table:
        return []
    else:
        names = [name for name in table if name not in _RESERVED and _looks_binary(table[name])]
    for name in names:
        _check_binary(table[name], name, source)
    return names


def read_findings(table: Mapping[str, Column], names: Sequence[str]) -> list[dict[str, bool | None]]:
    """One mapping a row: finding to True, False or None (unknown)."""
    return [{name: _BINARY[str(table[name][row])] for name in names} for row in range(len(table[names[0]]))]


def check_class_labels(labels: Column, source: Path) -> None:
    """Refuse labels that differ only in spelling.

    Two labels that agree up to case and blanks are always an error. A label on at most 2 % of the films that is
    nearly the same word as a frequent one is taken for a typing error.

    Raises:
        LabelError: naming row, label and the label that was probably meant.
    """
    counts = Counter(str(label) for label in labels if label)
    folded: dict[str, str] = {}
    for label, count in counts.most_common():
        twin = folded.setdefault("".join(label.split()).casefold(), label)
        rare = count <= max(1, _RARE_FRACTION * len(labels))
        if twin == label and rare:
            frequent = [other for other in counts if counts[other] > 5 * count]
            near = difflib.get_close_matches(label.casefold(), [f.casefold() for f in frequent], n=1, cutoff=_NEAR)
            twin = next((f for f in frequent if near and f.casefold() == near[0]), label)
        if twin != label:
            row = int(np.flatnonzero(labels == label)[0]) + 2
            raise LabelError(
                f"{source}, row {row}: label {label!r} ({count} films) looks like a misspelt {twin!r} "
                f"({counts[twin]} films).",
                "Correct the table; if it is a class of its own, give it a name that cannot be confused.",
            )


def _looks_binary(column: Column) -> bool:
    filled = [str(cell) for cell in column if cell != ""]
    return bool(filled) and sum(cell in _BINARY for cell in filled) >= 0.9 * len(filled)


def _check_binary(column: Column, name: str, source: Path) -> None:
    for row, cell in enumerate(column):
        if str(cell) not in _BINARY:
            raise LabelError(
                f"{source}, row {row + 2}: finding {name!r} holds {str(cell)[:40]!r}; 0, 1 or nothing was expected.",
                "Correct that cell; leave it empty if the finding is unknown.",
            )


def _suggest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
