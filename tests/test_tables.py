"""Tables in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.errors import DataError
from cxray.tables import as_numbers, read_table, stream_table, write_table


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_survives_a_round_trip(tmp_path: Path, suffix: str) -> None:
    names = np.array(["0012", 'with "quotes", commas', "line\nbreak", "Ärzte ☢ 胸", ""], dtype=object)
    numbers = np.array([0.1 + 0.2, 1e-300, np.nan, 1.0, 0.0])
    write_table(tmp_path / f"t{suffix}", {"name": names, "value": numbers})
    table = read_table(tmp_path / f"t{suffix}")
    assert table["name"].tolist() == names.tolist()
    np.testing.assert_array_equal(as_numbers(table["value"], name="value", source="t"), numbers)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_in_blocks_is_the_table(tmp_path: Path, suffix: str) -> None:
    rows = 40_000 if suffix != ".parquet" else 5000
    cells = np.array([f"{row:020d}" if row % 3 else "" for row in range(rows)], dtype=object)
    path = tmp_path / f"t{suffix}"
    write_table(tmp_path / "t.parquet", {"a": cells, "b": cells[::-1]})
    if suffix != ".parquet":
        separator = "\t" if suffix == ".tsv" else ","
        lines = (separator.join(row) for row in zip(cells, cells[::-1], strict=True))
        path.write_text(separator.join("ab") + "\n" + "\n".join(lines) + "\n")
    blocks = list(stream_table(path))
    assert len(blocks) > 1
    for name, column in read_table(path).items():
        assert np.concatenate([block[name] for block in blocks]).tolist() == column.tolist()
    path.write_text("a,b\n")
    with pytest.raises(DataError, match="has a header but no rows" if suffix != ".parquet" else "cannot be read"):
        list(stream_table(path))


def test_a_parquet_of_numbers_and_booleans_becomes_text(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    pa.parquet.write_table(pa.table({"n": [1, None], "b": [True, False]}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table["n"].tolist() == ["1", ""]
    assert table["b"].tolist() == ["1", "0"]


def test_a_byte_order_mark_and_blanks_do_not_change_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffpath , label\na.png, X \n", encoding="utf-8")
    assert {k: v.tolist() for k, v in read_table(tmp_path / "t.csv").items()} == {"path": ["a.png"], "label": ["X"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as a table"),
        ("a,b\n", "has a header but no rows"),
        ("a,a\n1,2\n", "names the column 'a' twice"),
        ("a,b\n1\n", "cannot be read as a table"),
    ],
)
def test_broken_tables_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv")


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no table at"):
        read_table(tmp_path / "none.csv")


def test_a_cell_that_is_no_number_is_named_with_its_row() -> None:
    column = np.array(["0.5", "high"], dtype=object)
    with pytest.raises(DataError, match=r"t\.csv, row 3: column 'score_A' holds 'high'"):
        as_numbers(column, name="score_A", source="t.csv")
