"""Rows as they come: a kill costs at most a row, foreign journals are refused, Parquet equals CSV."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cxray.errors import UsageError
from cxray.records import ImageRecord, Predictions
from cxray.runtime.predict import Answer, as_table
from cxray.runtime.rows import RowJournal, journal_of
from cxray.tables import read_table

CELLS = ["plain", 'with "quotes", a comma', "two\nlines", "", "ä – ö"]


def rows(start: int, stop: int) -> Predictions:
    count = stop - start
    text = np.array([CELLS[n % len(CELLS)] for n in range(start, stop)], dtype=object)
    empty = np.full(count, "", dtype=object)
    scores = np.random.default_rng(7).random((1000, 2))[start:stop]
    scores[:, 1] = 1 - scores[:, 0]
    if start <= 3 < stop:
        scores[3 - start] = np.nan
    error = np.array(["cannot be read" if n == 3 else "" for n in range(start, stop)], dtype=object)
    return Predictions(
        path=np.array([f"film {n}.png" for n in range(start, stop)], dtype=object), classes=("A", "B"), scores=scores,
        label=text, patient=empty, split=empty, predicted=empty, decision=empty, gate=empty, error=error,
        metadata={"model": np.full(count, "abc", dtype=object), "threshold": np.full(count, 0.25)},
    )  # fmt: skip


RECORDS = [ImageRecord(Path(f"film {n}.png")) for n in range(20)]


def open_journal(out: Path, *, resume: bool = False) -> RowJournal:
    return RowJournal(out, rows(0, 0).columns(), resume=resume)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_the_table_equals_one_that_is_written_at_once(tmp_path: Path, name: str) -> None:
    with open_journal(tmp_path / name) as journal:
        journal.append(rows(0, 7))
        journal.append(rows(7, 20))
        assert not (tmp_path / name).exists()
        journal.close()
    rows(0, 20).write(tmp_path / f"once-{name}")
    ours, once = read_table(tmp_path / name), read_table(tmp_path / f"once-{name}")
    assert list(ours) == list(once)
    for column in ours:
        assert ours[column].tolist() == once[column].tolist(), column
    assert not journal_of(tmp_path / name).exists()
    assert (journal.done, journal.failed, journal.labelled, journal.first_error) == (20, 1, True, "cannot be read")


@pytest.mark.parametrize("cut", [1, 30, 61, 100, 150, 400])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_journal_cut_anywhere_is_continued_to_the_same_table(tmp_path: Path, name: str, cut: int) -> None:
    with open_journal(tmp_path / name) as journal:
        journal.append(rows(0, 9))
    path = journal_of(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-cut])
    with open_journal(tmp_path / name, resume=True) as journal:
        assert 0 <= journal.done < 9
        journal.check_paths(RECORDS, "abc")
        journal.append(rows(journal.done, 20))
        journal.close()
    assert journal.failed == 1
    rows(0, 20).write(tmp_path / "once.csv")
    ours, once = Predictions.read(tmp_path / name), Predictions.read(tmp_path / "once.csv")
    np.testing.assert_array_equal(ours.scores, once.scores)
    assert ours.label.tolist() == once.label.tolist()


def test_without_resume_an_old_journal_is_overwritten(tmp_path: Path) -> None:
    for _ in range(2):
        with open_journal(tmp_path / "t.csv") as journal:
            journal.append(rows(0, 5))
    assert len(read_table(journal_of(tmp_path / "t.csv").rename(tmp_path / "x.csv"))["path"]) == 5


def test_a_journal_of_other_films_model_or_columns_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    with open_journal(out) as journal:
        journal.append(rows(0, 5))
    before = journal_of(out).read_bytes()
    with open_journal(out, resume=True) as journal:
        journal.check_paths(RECORDS, "abc")
        for records, model in ((RECORDS[1:], "abc"), (RECORDS, "abd"), (RECORDS[:4], "abc")):
            with pytest.raises(UsageError, match="belongs to other films or to another model"):
                journal.check_paths(records, model)
    other = dataclasses.replace(rows(0, 0), metadata={})
    with pytest.raises(UsageError, match="has other columns"):
        RowJournal(out, other.columns(), resume=True)
    assert journal_of(out).read_bytes() == before


def test_chunks_have_the_columns_of_all_records(tiny_run: Path) -> None:
    from cxray.bundle import load_bundle

    bundle = load_bundle(tiny_run)
    record = ImageRecord(Path("a.png"), metadata={"site": "x"})
    answer = Answer(record, np.array([0.25, 0.75]))
    assert "site" in as_table(bundle, [answer]).metadata
    names = list(as_table(bundle, [], ("site", "age")).columns())
    assert names == list(as_table(bundle, [answer], ("site", "age")).columns())
    assert names[-2:] == ["site", "age"]
