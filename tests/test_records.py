"""The nouns that cross borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.errors import DataError
from cxray.records import ImageRecord, PixelImage, Predictions
from cxray.tables import read_table

TABLE = "path,patient,split,label,score_A,score_B,predicted,decision,gate,error,site\n"


def write(tmp_path: Path, rows: str, header: str = TABLE) -> Path:
    path = tmp_path / "p.csv"
    path.write_text(header + rows)
    return path


def test_a_table_round_trip_keeps_every_column_and_the_order(tmp_path: Path) -> None:
    source = write(tmp_path, "a.png,p1,test,A,0.25,0.75,B,A,,,x\nb.png,p2,test,B,,,,,,broken,y\n")
    table = Predictions.read(source)
    assert table.classes == ("A", "B")
    assert np.isnan(table.scores[1]).all()
    assert table.error.tolist() == ["", "broken"]
    assert table.metadata["site"].tolist() == ["x", "y"]
    table.write(tmp_path / "again.csv")
    assert list(read_table(tmp_path / "again.csv")) == TABLE.strip().split(",")
    again = Predictions.read(tmp_path / "again.csv")
    np.testing.assert_array_equal(again.scores, table.scores)


def test_findings_are_recognised_by_a_column_for_every_score(tmp_path: Path) -> None:
    header = "path,Effusion,Edema,score_Effusion,score_Edema\n"
    table = Predictions.read(write(tmp_path, "a,1,,0.9,0.1\nb,0,1,0.2,0.3\n", header))
    assert table.is_multi_label
    assert table.findings is not None
    np.testing.assert_array_equal(table.findings, [[1, np.nan], [0, 1]])


def test_a_minimal_table_gets_row_names(tmp_path: Path) -> None:
    table = Predictions.read(write(tmp_path, "A,0.1\nB,0.2\n", "label,score_A\n"))
    assert table.path.tolist() == ["row 1", "row 2"]
    assert table.patient.tolist() == ["", ""]


def test_selecting_rows_keeps_all_columns_together(tmp_path: Path) -> None:
    table = Predictions.read(write(tmp_path, "a,p1,test,A,0.25,0.75,B,A,,,x\nb,p2,test,B,0.5,0.5,A,A,,,y\n"))
    second = table.select(np.array([False, True]))
    assert (second.path.tolist(), second.metadata["site"].tolist(), len(second)) == (["b"], ["y"], 1)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("path,probability\n", "a,0.5\n", r"has no score_<CLASS> column; its columns are: path, probability"),
        ("path,score_A\n", "a,1.5\n", "must be probabilities between 0 and 1, but reach from 1.5 to 1.5"),
        ("path,score_A\n", "a,-0.001\n", "must be probabilities between 0 and 1"),
        ("path,score_A\n", "a,inf\n", "must be probabilities between 0 and 1"),
        ("path,score_A\n", "a,x\n", "row 2: column 'score_A' holds 'x'"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path: Path, header: str, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Predictions.read(write(tmp_path, rows, header))


def test_records_refuse_what_contradicts_itself() -> None:
    with pytest.raises(DataError, match="split 'tset' is none of"):
        ImageRecord(Path("a"), split="tset")
    with pytest.raises(DataError, match="both one class"):
        ImageRecord(Path("a"), label="A", findings={"B": True})
    with pytest.raises(DataError, match="non-empty float32 array"):
        PixelImage(np.zeros((4, 4), dtype=np.uint8), 4, 4, 8)  # type: ignore[arg-type]
