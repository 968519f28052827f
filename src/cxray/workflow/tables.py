"""Predictions tables of any tool, read the way every judging command reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cxray.errors import UsageError
from cxray.evaluate.foreign import read_foreign
from cxray.records import Predictions


@dataclasses.dataclass(frozen=True)
class Naming:
    """How a table of another tool is called here: `columns` as `ours=theirs`, `labels` as `theirs=class`."""

    columns: Sequence[str] = ()
    labels: Sequence[str] = ()

    def read(self, path: Path) -> Predictions:
        """Read a predictions table under these names.

        Raises:
            UsageError: an entry is not a pair, or names no column.
            DataError: not a predictions table; the message suggests columns that look like scores.
        """
        columns = _pairs(self.columns, "--column", "ours=theirs", "--column path=image_id")
        labels = _pairs(self.labels, "--label", "theirs=class", "--label 1=PNEUMONIA --label 0=NORMAL")
        return read_foreign(path, columns, labels=labels)


def _pairs(entries: Sequence[str], option: str, form: str, example: str) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        first, separator, second = entry.partition("=")
        if not separator or not first.strip() or not second.strip():
            raise UsageError(f"{option} {entry!r} is not of the form {form}.", f"Example: {example}")
        if first.strip() in pairs:
            raise UsageError(f"{option} names {first.strip()!r} twice.", "Keep one of them.")
        pairs[first.strip()] = second.strip()
    return pairs
