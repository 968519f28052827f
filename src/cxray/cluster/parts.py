"""Results in parts: one Parquet file a block, whole or absent, so that a block done twice still counts once.

A part carries `id`, the number of the film in the list, beside the columns of the predictions table. At the end every
part is read back and checked against the list, film by film, while the one table is put together in the list's order.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from cxray.cluster.film_list import blocks_of
from cxray.errors import DataError
from cxray.rundir import atomic_open, atomic_path, printable
from cxray.tables import Column

PARTS = "parts"


@dataclasses.dataclass(frozen=True)
class Reconciled:
    """The finished table against the list: films in it, films without a result and why the first has none, whether
    any film is labelled, and how often each answer of the input gate was given."""

    films: int
    failed: int
    first_error: str
    has_labels: bool
    gate: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a list of `films` in blocks of `block`, below `folder`."""

    folder: Path
    films: int
    block: int

    @property
    def blocks(self) -> int:
        """How many parts there will be."""
        return blocks_of(self.films, self.block)

    def path(self, block: int) -> Path:
        """Where the part of one block stands when it is whole."""
        return self.folder / PARTS / f"{block:08d}.parquet"

    def numbers(self, block: int) -> range:
        """The numbers of the films of one block."""
        return range(block * self.block, min(self.films, (block + 1) * self.block))

    def films_in(self, blocks: Iterable[int]) -> int:
        """How many films some blocks hold."""
        return sum(len(self.numbers(block)) for block in blocks)

    def missing(self) -> list[int]:
        """Blocks without a part. A part that is not whole, which a failing disk can leave, is removed."""
        return [block for block in range(self.blocks) if not self._is_whole(block)]

    def write(self, block: int, columns: Mapping[str, Column]) -> None:
        """Write one part.

        Raises:
            OutputError: the disk is full, or the like; nothing is left behind.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        numbers = self.numbers(block)
        arrays = [pa.array(np.arange(numbers.start, numbers.stop)), *(_arrow(column) for column in columns.values())]
        with atomic_path(self.path(block)) as temporary:
            pq.write_table(pa.table(arrays, names=["id", *columns]), temporary, compression="zstd")

    def gather(self, out: Path, dead_letters: Path) -> Reconciled:
        """Put the parts together as the table `out`, list its films without a result in `dead_letters`, and reconcile.

        Raises:
            DataError: a film of the list is not there exactly once.
            OutputError: a file cannot be written.
        """
        import pyarrow.parquet as pq

        tally = _Tally()
        with atomic_open(dead_letters) as letters, atomic_path(out) as temporary:
            writer = None
            record = _letters(letters)
            for block in range(self.blocks):
                part = pq.read_table(self.path(block))
                self._check(block, part)
                table = part.drop_columns(["id"])
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
                record.writerows(tally.count(part))
            if writer:
                writer.close()
        return tally.reconciled()

    def _check(self, block: int, part: Any) -> None:
        expected = self.numbers(block)
        found = part.column("id").to_numpy()
        if not np.array_equal(found, np.arange(expected.start, expected.stop)):
            raise DataError(
                f"{self.path(block)} should hold the films {expected.start} to {expected.stop - 1} once each, but "
                f"holds {len(found)} rows, {len(np.unique(found))} of them distinct.",
                "Delete that file and run the command with --resume.",
            )

    def _is_whole(self, block: int) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(block)
        if not path.exists():
            return False
        try:
            whole = bool(pq.read_metadata(path).num_rows == len(self.numbers(block)))
        except (pa.ArrowException, OSError):
            whole = False
        if not whole:
            path.unlink(missing_ok=True)
        return whole


class _Tally:
    def __init__(self) -> None:
        self._films = self._failed = 0
        self._first_error, self._has_labels = "", False
        self._gate: dict[str, int] = {}

    def count(self, part: Any) -> Iterator[list[str]]:
        """Take in one part; its films without a result, as rows of the dead letters."""
        errors, paths = part.column("error").to_pylist(), part.column("path").to_pylist()
        self._films += len(errors)
        self._has_labels = self._has_labels or any(part.column("label").to_pylist())
        for answer in part.column("gate").to_pylist():
            self._gate[answer] = self._gate.get(answer, 0) + 1
        for path, error in zip(paths, errors, strict=True):
            if error:
                self._failed += 1
                self._first_error = self._first_error or error
                yield [path, error]

    def reconciled(self) -> Reconciled:
        return Reconciled(self._films, self._failed, self._first_error, self._has_labels, self._gate)


def write_unfinished(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """List films that have no row at all yet: path and why."""
    with atomic_open(path) as stream:
        _letters(stream).writerows([printable(cell) for cell in row] for row in rows)


def _letters(stream: IO[Any]) -> Any:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "error"])
    return writer


def _arrow(column: Column) -> Any:
    import pyarrow as pa

    if column.dtype.kind == "f":
        # NaN is written as null: an empty cell, as in the table that `predict` writes.
        return pa.array(column, pa.float64(), from_pandas=True)
    return pa.array([printable(str(cell)) for cell in column], pa.string())
