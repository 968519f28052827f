"""Tables on disk: CSV and Parquet in, CSV and Parquet out, every value a string until somebody gives it a type.

Reading as text keeps a patient called "0012" from becoming the number 12.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError
from cxray.rundir import atomic_open, printable

Column = npt.NDArray[Any]
_ROWS_AT_ONCE = 4096
_BYTES_AT_ONCE = 1 << 18
TABLE_SUFFIXES = (".csv", ".parquet", ".tsv")


def is_table(path: Path) -> bool:
    """Whether the name of `path` says CSV, TSV or Parquet."""
    return path.suffix.lower() in TABLE_SUFFIXES


def read_table(path: Path, *, may_be_empty: bool = False) -> dict[str, Column]:
    """Read a CSV, TSV or Parquet file; one without rows is a mistake, unless it `may_be_empty`.

    Returns:
        Column name to object array of `str`, shape (rows,); a missing value is "". Order of columns kept.

    Raises:
        DataError: no such file, not a table, no header, no rows, or a name given to two columns.
    """
    with _readable(path):
        columns = _columns(path, _read_arrow(path))
    if not may_be_empty and not len(next(iter(columns.values()), ())):
        raise DataError(f"{path} has a header but no rows.", "Check that the right file was given.")
    return columns


def stream_table(path: Path) -> Iterator[dict[str, Column]]:
    """As `read_table`, a block of rows at a time, so that memory does not grow with the table.

    Raises:
        DataError: as `read_table`.
    """
    rows = 0
    with _readable(path):
        blocks = _arrow_blocks(path)
    while True:
        with _readable(path):
            block = next(blocks, None)
            if block is None:
                break
            columns = _columns(path, block)
        rows += block.num_rows
        yield columns
    if not rows:
        raise DataError(f"{path} has a header but no rows.", "Check that the right file was given.")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise DataError(f"There is no table at {path}.", "Check the path.")
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # pyarrow raises a dozen unrelated types for a broken file
        raise DataError(f"{path} cannot be read as a table: {_first_line(error)}", "Open it and repair it.") from error


def _columns(path: Path, table: Any) -> dict[str, Column]:
    """The columns of an Arrow table or record batch as text."""
    names = [name.strip() for name in table.schema.names]
    duplicated = sorted({name for name in names if names.count(name) > 1})
    if duplicated:
        raise DataError(f"{path} names the column {duplicated[0]!r} twice.", "Rename one of them.")
    return {name: _as_text(table.column(index)) for index, name in enumerate(names)}


def write_table(path: Path, columns: Mapping[str, Column]) -> None:
    """Write equally long columns as CSV or, when the name ends in `.parquet`, as Parquet; whole or not at all."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table({name: pa.array(_plain(column)) for name, column in columns.items()})
    with atomic_open(path, "wb") as stream:
        if path.suffix.lower() == ".parquet":
            pa.parquet.write_table(table, stream)
        else:
            pa.csv.write_csv(table, stream, pa.csv.WriteOptions(quoting_style="needed"))


def as_numbers(column: Column, *, name: str, source: Path | str) -> npt.NDArray[np.float64]:
    """Turn a text column (N,) into float64 (N,); an empty cell becomes NaN.

    Raises:
        DataError: a cell is neither empty nor a number; the message gives its row, counted as in a spreadsheet.
    """
    try:
        return np.where(column == "", "nan", column).astype(np.float64)
    except ValueError:
        for row, cell in enumerate(column):
            if cell and not _is_number(str(cell)):
                raise DataError(
                    f"{source}, row {row + 2}: column {name!r} holds {str(cell)[:40]!r} where a number was expected.",
                    "Correct that cell, or leave it empty if the value is unknown.",
                ) from None
        raise


def _read_arrow(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if path.suffix.lower() == ".parquet":
        return pa.parquet.read_table(path)
    return pa.csv.read_csv(path, **_csv_options(path))


def _arrow_blocks(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if path.suffix.lower() == ".parquet":
        return iter(pa.parquet.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, use_threads=False))
    read = pa.csv.ReadOptions(block_size=_BYTES_AT_ONCE, use_threads=False)
    return iter(pa.csv.open_csv(path, read_options=read, **_csv_options(path)))


def _csv_options(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.csv

    parse = pa.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    header = pa.csv.open_csv(path, parse_options=parse).schema.names
    # A null column type cannot hold the text that appears further down, so every column is declared text.
    convert = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in header},
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    return {"parse_options": parse, "convert_options": convert}


def _as_text(column: Any) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    text = pc.fill_null(column.cast(pa.string()), "")
    return np.asarray(pc.utf8_trim_whitespace(text).to_numpy(zero_copy_only=False), dtype=object)


def _plain(column: Column) -> Any:
    # Floats are written with repr precision by Arrow; NaN is an empty cell, because "nan" is text to most readers.
    if column.dtype.kind == "f":
        return [None if np.isnan(value) else float(value) for value in column]
    return [printable(cell) if isinstance(cell, str) else cell for cell in column.tolist()]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def text_column(cells: Iterable[str]) -> Column:
    """Strings as a column: object (n,), whatever their lengths."""
    return np.array(list(cells), dtype=object)
