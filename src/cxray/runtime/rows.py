"""Rows written as they come, so that memory does not grow with the films and a killed run loses almost nothing.

Until the table is whole, its rows stand in a journal, a CSV file beside it called `.NAME.rows`. A chunk of rows is
appended and handed to the system at once; when all are there, the journal becomes the table: renamed for CSV, copied by
row groups for Parquet. After a kill the journal is read back to its last whole row, and work goes on behind it.
Reading, too, is done a block at a time.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cxray.errors import UsageError
from cxray.records import ImageRecord, Predictions
from cxray.rundir import atomic_path, output_error, printable
from cxray.tables import Column

_PARQUET = ".parquet"
_READ_BYTES = 1 << 20


class RowJournal:
    """The growing table of one prediction; a context that leaves the journal in place when it ends by an exception."""

    def __init__(self, out: Path, columns: Mapping[str, Column], *, resume: bool) -> None:
        """Open the journal of the table `out`. `columns` is a table without rows that shows names and types.

        Raises:
            UsageError: `resume`, and the journal belongs to another table.
            OutputError: it cannot be written.
        """
        self.out, self.path = out, journal_of(out)
        self.names = list(columns)
        self.numbers = {name for name, column in columns.items() if column.dtype.kind == "f"}
        self.done, self.failed, self.labelled, self.first_error = 0, 0, False, ""
        self.gate_answers: Counter[str] = Counter()
        try:
            size = self._recover() if resume and self.path.exists() else 0
            self._stream = self.path.open("r+b" if size else "wb")
            self._stream.truncate(size)
            self._stream.seek(size)
            if not size:
                self._write(columns, header=True)
        except OSError as error:
            raise output_error(out, error) from error

    def __enter__(self) -> RowJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def check_paths(self, records: Sequence[ImageRecord], model: str) -> None:
        """Whether the rows that are there are those of the first `records`, scored by `model`.

        Raises:
            UsageError: they are not.
        """
        paths = (printable(str(record.path)) for record in records)
        for row, expected in itertools.zip_longest(self._rows(), itertools.islice(paths, self.done)):
            if row is None or expected is None or row["path"] != expected or row["model"] != model:
                raise UsageError(
                    f"The unfinished table {self.path} belongs to other films or to another model.",
                    "Resume with the command that began it, or leave out --resume to begin anew.",
                )

    def append(self, table: Predictions) -> None:
        """Add the rows of `table` and hand them to the system.

        Raises:
            OutputError: the disk is full, or the like.
        """
        try:
            self._write(table.columns(), header=False)
        except OSError as error:
            raise output_error(self.out, error) from error
        self._count(table.error, table.label, table.gate)

    def close(self) -> None:
        """Turn the journal into the table.

        Raises:
            OutputError: it cannot be written; the journal stays.
        """
        try:
            os.fsync(self._stream.fileno())
            self._stream.close()
            if self.out.suffix.lower() == _PARQUET:
                self._copy_to_parquet()
                self.path.unlink()
            else:
                self.path.replace(self.out)
        except OSError as error:
            raise output_error(self.out, error) from error

    def _count(self, errors: Iterable[str], labels: Iterable[str], gate: Iterable[str]) -> None:
        reasons = list(errors)
        self.done += len(reasons)
        self.failed += sum(map(bool, reasons))
        self.labelled = self.labelled or any(labels)
        self.gate_answers.update(gate)
        self.first_error = self.first_error or next(filter(None, reasons), "")

    def _write(self, columns: Mapping[str, Column], *, header: bool) -> None:
        if list(columns) != self.names:
            raise ValueError(f"rows with the columns {list(columns)} do not fit a table of {self.names}")
        text = io.StringIO()
        # Python's own writer: Arrow would load itself, and pandas with it, for the table of a single film.
        writer = csv.writer(text, lineterminator="\n")
        if header:
            writer.writerow(self.names)
        writer.writerows(zip(*(_cells(column) for column in columns.values()), strict=True))
        self._stream.write(text.getvalue().encode("utf-8"))
        self._stream.flush()

    def _recover(self) -> int:
        """Count what is there; how many bytes of it are whole rows of this table (0 = nothing to go on from)."""
        size = _whole_rows(self.path)
        if not size:
            return 0
        os.truncate(self.path, size)
        with self.path.open(encoding="utf-8", newline="") as stream:
            names = next(csv.reader(stream))
        if names != self.names:
            raise UsageError(
                f"The unfinished table {self.path} has other columns than this one will have.",
                "Resume with the command that began it, or leave out --resume to begin anew.",
            )
        for row in self._rows():
            self._count([row["error"]], [row["label"]], [row["gate"]])
        return size

    def _rows(self) -> Iterator[dict[str, str]]:
        with self.path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)

    def _copy_to_parquet(self) -> None:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        schema = pa.schema([(name, pa.float64() if name in self.numbers else pa.string()) for name in self.names])
        convert = pa.csv.ConvertOptions(column_types=schema, strings_can_be_null=False)
        read = pa.csv.ReadOptions(block_size=_READ_BYTES, use_threads=False)
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        with (
            atomic_path(self.out) as temporary,
            pa.parquet.ParquetWriter(temporary, schema) as writer,
            pa.csv.open_csv(self.path, read_options=read, parse_options=parse, convert_options=convert) as reader,
        ):
            for batch in reader:
                writer.write_batch(batch)


def journal_of(out: Path) -> Path:
    """Where the rows of the table `out` stand until it is whole."""
    return out.with_name(f".{out.name}.rows")


def _cells(column: Column) -> list[str]:
    if column.dtype.kind == "f":
        return ["" if np.isnan(value) else repr(float(value)) for value in column]
    return [printable(str(cell)) for cell in column]


def _whole_rows(path: Path) -> int:
    """Bytes up to the last line end outside quotes: a cut row, and a line end inside a cell, do not count."""
    whole = position = quotes = 0
    with path.open("rb") as stream:
        for line in stream:  # a kill in the middle of a write leaves a last line without its end
            position += len(line)
            quotes += line.count(b'"')
            if line.endswith(b"\n") and quotes % 2 == 0:
                whole = position
    return whole
