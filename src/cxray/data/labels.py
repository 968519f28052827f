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
_UNCERTAIN = {"-1", "-1.0"}
_RARE_FRACTION = 0.02
_NEAR = 0.8


def finding_columns(table: Mapping[str, Column], wanted: Sequence[str], source: Path) -> list[str]:
    """The columns of a table that hold 0/1 findings, in table order; empty when there is a `label` column.

    A column counts when nine in ten of its filled cells are 0 or 1; a stray value in it is then an error, not a
    reason to ignore the column. `wanted` names them explicitly instead.

    Raises:
        LabelError: a wanted column is missing, a finding holds something other than 0, 1 or nothing, or a column looks
            like a finding with a third value for "uncertain".
    """
    if wanted:
        missing = [name for name in wanted if name not in table]
        if missing:
            raise LabelError(f"{source} has no column {missing[0]!r}{_suggest(missing[0], list(table))}.")
        names = list(wanted)
    elif "label" in table:
        return []
    else:
        candidates = [name for name in table if name not in _RESERVED]
        names = [name for name in candidates if _looks_binary(table[name])]
        _check_no_uncertain([name for name in candidates if name not in names], table, source)
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


def check_class_folders(names: Mapping[str, Path]) -> None:
    """Refuse class folders that differ only in case or blanks, or whose names no table could hold as they are.

    `names` are the classes with a folder of each.

    Raises:
        LabelError: naming the folder, and the one that was probably meant.
    """
    folded: dict[str, str] = {}
    for name in sorted(names):
        twin = folded.setdefault("".join(name.split()).casefold(), name)
        if twin != name:
            raise LabelError(
                f"The class folders {names[twin]} and {names[name]} differ only in case or blanks.",
                "Give both the same name if they are one class, or names that cannot be confused.",
            )
        if name != name.strip():
            raise LabelError(f"The name of the class folder {str(names[name])!r} begins or ends blank.", "Rename it.")
        if not name.isprintable():
            raise LabelError(
                f"The name of the class folder {str(names[name])!r} holds characters that cannot be printed, or is not "
                "UTF-8.",
                "Rename it.",
            )


def _check_no_uncertain(names: Sequence[str], table: Mapping[str, Column], source: Path) -> None:
    """CheXpert writes -1 for "uncertain"; whoever leaves such a column out should have said so."""
    for name in names:
        cells = {str(cell) for cell in table[name]}
        if cells & {"1", "1.0"} and cells & _UNCERTAIN and cells <= {*_BINARY, *_UNCERTAIN}:
            raise LabelError(
                f"{source}: column {name!r} holds 0, 1 and -1; -1 (uncertain) is neither present nor absent.",
                "Write 0, 1 or nothing (unknown) in its place, or choose the columns to learn with --findings.",
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
