"""The films of one run: prepared, split by split, and with what shall be learned about them.

Test films are not among them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import progress
from cxray.config import Recipe
from cxray.data.cache import PreparedFilms, prepare_all
from cxray.data.intake import Intake
from cxray.data.split import Division
from cxray.errors import DataError
from cxray.records import ImageRecord


@dataclasses.dataclass(frozen=True, eq=False)
class RunFilms:
    """Training and validation films that can be read, and those that cannot."""

    records: Mapping[str, list[ImageRecord]]
    indices: Mapping[str, npt.NDArray[np.int64]]
    prepared: PreparedFilms
    unreadable: list[tuple[str, str]]
    ordered: list[ImageRecord]

    @classmethod
    def prepare(cls, division: Division, settings: Recipe) -> RunFilms:
        """Prepare the films of `division`, from the cache where possible.

        Raises:
            DataError: no film of a split can be read.
        """
        ordered = [*division.of("train"), *division.of("validation")]
        prepared = prepare_all(ordered, settings.input)
        unreadable = [(str(ordered[index].path), reason) for index, reason in sorted(prepared.errors.items())]
        if unreadable:
            progress.say(f"Warning: {len(unreadable)} films cannot be read and are left out, for example:")
            progress.say(f"  {unreadable[0][1]}")
        readable = np.flatnonzero(prepared.row_of >= 0)
        split_of = np.array([record.split for record in ordered])
        indices = {split: readable[split_of[readable] == split] for split in ("train", "validation")}
        records = {split: [ordered[index] for index in rows] for split, rows in indices.items()}
        for split, rows in records.items():
            if not rows:
                raise DataError(f"No film of the {split} split can be read.", "See the reasons above.")
        return cls(records, indices, prepared, unreadable, ordered)

    def labelled(self, split: str, settings: Recipe, intake: Intake) -> Any:
        """The films of "train" or "validation" as `model.films.LabelledFilms`."""
        from cxray.model.films import DecodedFilms, LabelledFilms, film_weights

        records = self.records[split]
        targets = _targets(records, intake)
        balanced = split == "train" and settings.train.class_weights == "balanced"
        source: Any = self.prepared if settings.train.cache else DecodedFilms(self.ordered, settings.input)
        weights = film_weights(targets, len(intake.classes), balanced=balanced)
        return LabelledFilms(source, self.indices[split], targets, weights, settings.input)

    def run_fingerprint(self, settings: Recipe) -> str:
        """SHA-256 over settings and films: two runs with the same value end with the same network."""
        return hashlib.sha256((settings.fingerprint() + self.fingerprint()).encode()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over the readable films, their labels and splits."""
        lines = [
            f"{self.prepared.digests[index]} {record.split} {record.label} {sorted(record.findings.items())}"
            for split, rows in self.indices.items()
            for index, record in zip(rows, self.records[split], strict=True)
        ]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _targets(records: Sequence[ImageRecord], intake: Intake) -> npt.NDArray[Any]:
    """int64 (n,) class numbers, or float32 (n, K) findings with NaN for unknown."""
    if not intake.is_multi_label:
        return np.array([intake.classes.index(record.label) for record in records], dtype=np.int64)
    rows = [[record.findings.get(name) for name in intake.classes] for record in records]
    return np.array([[np.nan if cell is None else float(cell) for cell in row] for row in rows], dtype=np.float32)
