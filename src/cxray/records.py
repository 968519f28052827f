"""The nouns that cross borders between rooms, and nothing else: a treaty.

`ImageRecord` says where a film is and what is known about it; `PixelImage` is a decoded film; `Predictions` is the
table between any model and the judge. Invariants are checked on construction, so nobody checks them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError
from cxray.tables import Column, as_numbers, read_table, write_table

SPLITS = ("train", "validation", "test")
SCORE_PREFIX = "score_"
GATE_ANSWERS = ("", "inside", "outside", "not_radiograph")


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    """One film: where it is and what is known about it.

    `label` is the class name, "" when unknown. `findings` is used instead for multi-label data: finding name to
    True, False or None (unknown). `patient` and `split` are "" when unknown; `metadata` keeps further columns.
    """

    path: Path
    label: str = ""
    findings: Mapping[str, bool | None] = dataclasses.field(default_factory=dict)
    patient: str = ""
    split: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split and self.split not in SPLITS:
            raise DataError(f"{self.path}: split {self.split!r} is none of {', '.join(SPLITS)}.")
        if self.label and self.findings:
            raise DataError(f"{self.path} has both one class ({self.label!r}) and a list of findings.")


@dataclasses.dataclass(frozen=True, slots=True)
class PixelImage:
    """A decoded film.

    `pixels` is float32, shape (height, width), 0 = black to 1 = white of the *declared* range, upright, one channel.
    `stored_height` and `stored_width` are the size in the file, in pixels, after orientation was applied, which is
    larger than `pixels` when a JPEG was decoded at a reduced scale. `facts` names every liberty taken.
    """

    pixels: npt.NDArray[np.float32]
    stored_height: int
    stored_width: int
    bits: int
    facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.float32 or self.pixels.size == 0:
            raise DataError(
                "A film must be a non-empty float32 array (height, width), "
                f"got {self.pixels.dtype} {self.pixels.shape}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions table: N films, K classes (or K findings), one row a film.

    `scores` is float64 (N, K), probabilities 0–1 in the order of `classes`, NaN where `error` says why there is no
    result. The text columns are object arrays (N,), "" = unknown: `path`, `patient`, `split`, `label`, `predicted`
    (most probable class), `decision` (at the stored threshold), `gate`, `error`. `findings` is None for exclusive
    classes; for multi-label data it is float64 (N, K) with 1, 0 or NaN (unknown). `metadata` keeps further columns.
    """

    path: Column
    classes: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    label: Column
    patient: Column
    split: Column
    predicted: Column
    decision: Column
    gate: Column
    error: Column
    findings: npt.NDArray[np.float64] | None = None
    metadata: Mapping[str, Column] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.path), len(self.classes))
        if self.scores.shape != shape or (self.findings is not None and self.findings.shape != shape):
            raise DataError(f"Scores must have one row a film and one column a class {shape}, got {self.scores.shape}.")
        known = self.scores[~np.isnan(self.scores)]
        if known.size and (known.min() < 0 or known.max() > 1):
            strange = np.any((self.scores < 0) | (self.scores > 1), axis=1).reshape(-1)
            raise DataError(
                f"Scores must be probabilities between 0 and 1, but reach from {known.min():g} to {known.max():g}; "
                f"{strange.sum()} of {len(strange)} films are concerned, the first is {self.path[strange][0]}.",
                "Apply a sigmoid or softmax before saving them; leave the cell empty where there is no result.",
            )

    def __len__(self) -> int:
        return len(self.path)

    @property
    def is_multi_label(self) -> bool:
        """Whether films may carry several findings at once."""
        return self.findings is not None

    def select(self, rows: npt.NDArray[Any]) -> Predictions:
        """The table reduced to `rows`, a boolean mask (N,) or integer positions (any number,)."""
        changes: dict[str, Any] = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if field.name not in ("classes", "findings", "metadata")
        }
        findings = None if self.findings is None else self.findings[rows]
        metadata = {name: column[rows] for name, column in self.metadata.items()}
        return dataclasses.replace(self, findings=findings, metadata=metadata, **changes)

    def columns(self) -> dict[str, Column]:
        """The table in the order of the file contract: `path, patient, split, label, score_<CLASS>…, …`."""
        text = {name: getattr(self, name) for name in ("path", "patient", "split", "label")}
        scores = {SCORE_PREFIX + name: self.scores[:, k] for k, name in enumerate(self.classes)}
        answers = {name: getattr(self, name) for name in ("predicted", "decision", "gate", "error")}
        findings = {}
        if self.findings is not None:
            findings = {name: _finding_cells(self.findings[:, k]) for k, name in enumerate(self.classes)}
        return {**text, **findings, **scores, **answers, **self.metadata}

    def write(self, path: Path) -> None:
        """Write the table as CSV or Parquet, by the name's ending; whole or not at all."""
        write_table(path, self.columns())

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read a predictions table.

        Raises:
            DataError: not a table, no `score_<CLASS>` column, or a score that is not a probability.
        """
        return cls.from_columns(read_table(path), source=path)

    @classmethod
    def from_columns(cls, table: Mapping[str, Column], *, source: Path | str = "the table") -> Predictions:
        """Build from text columns as `tables.read_table` gives them; absent optional columns become unknown.

        Raises:
            DataError: as `read`.
        """
        table = dict(table)
        names = [name for name in table if name.startswith(SCORE_PREFIX) and name != SCORE_PREFIX]
        if not names:
            raise DataError(
                f"{source} has no score_<CLASS> column; its columns are: {', '.join(list(table)[:12])}.",
                "Rename the probability columns to score_<CLASS>, for example score_PNEUMONIA.",
            )
        classes = tuple(name.removeprefix(SCORE_PREFIX) for name in names)
        scores = np.column_stack([as_numbers(table.pop(n), name=n, source=source) for n in names])
        rows = len(scores)
        findings = None
        if len(set(classes) & set(table)) == len(classes):
            findings = np.column_stack([as_numbers(table.pop(c), name=c, source=source) for c in classes])
        empty = np.full(rows, "", dtype=object)
        fixed = ("label", "patient", "split", "predicted", "decision", "gate", "error")
        text = {name: table.pop(name, empty) for name in fixed}
        path = table.pop("path", np.array([f"row {i + 1}" for i in range(rows)], dtype=object))
        return cls(path=path, classes=classes, scores=scores, findings=findings, metadata=table, **text)


def _finding_cells(truth: npt.NDArray[np.float64]) -> Column:
    return np.array(["" if np.isnan(value) else str(int(value)) for value in truth], dtype=object)
