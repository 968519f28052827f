"""Groups nobody named: words in file names and columns with a few values, and nothing where there is nothing."""

import dataclasses

import numpy as np
import pytest

from cxray.evaluate import evaluate
from cxray.tables import write_table
from cxray.workflow.groups import AUDITED, NAMES, grouped, name_strata, with_audit_groups
from tests.report.predictions import two_classes

TABLE = two_classes(films=200)


def _named(name):
    return [name(row, label) for row, label in enumerate(TABLE.label)]


def test_words_in_file_names_are_strata():
    kind = {"NORMAL": ("IM", "NORMAL2-IM"), "PNEUMONIA": ("person{}_virus", "person{}_bacteria")}
    names = _named(lambda row, label: kind[label][row % 2].format(row) + f"-{row:04d}.jpeg")
    strata = name_strata(names, TABLE.label)
    assert sorted(set(strata)) == ["bacteria", "im", "normal2", "virus"]
    assert (strata == "virus").sum() == 60


@pytest.mark.parametrize(
    "name",
    [
        lambda row, label: f"{label}/{label.lower()}-{row}.png",  # the word is the class
        lambda row, label: f"phantom-p{row:04d}-f2.png",  # counters only
        lambda row, label: f"{row * 7919 % 1000003:x}abcdef.png",  # hashes
        lambda row, label: f"row {row}",  # no names at all
        lambda row, label: f"scan{'-old' if row < 9 else ''}-{row}.png",  # one film fewer than a group needs
    ],
)
def test_names_without_strata(name):
    assert name_strata(_named(name), TABLE.label) is None


def test_one_film_more_makes_a_group():
    names = _named(lambda row, label: f"scan{'-old' if 120 <= row < 130 else ''}-{row}.png")
    assert (name_strata(names, TABLE.label) == "old").sum() == 10


def test_columns_with_few_values_are_groups():
    metadata = {
        "sex": np.array(["F", "M"], dtype=object)[np.arange(200) % 2],
        "age": np.array([str(value) for value in range(200)], dtype=object),
        "serial": np.array([f"s{value}" for value in range(200)], dtype=object),
        "truth": TABLE.label,
        "model": np.array(["a", "b"], dtype=object)[np.arange(200) % 2],
        "constant": np.full(200, "same", dtype=object),
        "rare": np.array(["x"] * 9 + ["y"] * 191, dtype=object),
    }
    gate = np.array(["inside", "outside"], dtype=object)[(np.arange(200) % 4 == 0).astype(int)]
    found = grouped(dataclasses.replace(TABLE, metadata=metadata, gate=gate))
    assert found.columns == ("gate", "sex", "age")
    assert evaluate(found.table, threshold=0.5, slices=found.columns).tables["slices"] is not None


def test_the_strata_become_a_column_of_the_table():
    names = np.array([f"{'ap' if row % 2 else 'pa'}-{row}.png" for row in range(200)], dtype=object)
    found = grouped(dataclasses.replace(TABLE, path=names))
    assert found.columns == (NAMES,)
    assert set(found.table.metadata[NAMES]) == {"ap", "pa"}
    assert found.found == [{"column": NAMES, "why": "words in which the file names differ"}]
    assert NAMES not in TABLE.metadata


def test_the_groups_that_an_audit_names_are_judged_apart_and_first(tmp_path):
    gate = np.array(["inside", "outside"], dtype=object)[(np.arange(200) % 4 == 0).astype(int)]
    table = dataclasses.replace(
        TABLE, gate=gate, path=np.array([f"/data/films/{n}.png" for n in range(200)], dtype=object)
    )
    names = ["print 1"] * 40 + ["size 9"] * 20
    films = [f"films/{film}.png" for film in (*range(40), *range(30, 50))]
    columns = {"path": np.array(films, dtype=object), "group": np.array(names, dtype=object)}
    write_table(tmp_path / "tables" / "groups.csv", columns)
    known = with_audit_groups(table, tmp_path)
    cells = known.metadata[AUDITED]
    assert list(cells[[0, 35, 45, 60]]) == ["print 1", "print 1 + size 9", "size 9", "in no such group"]
    found = grouped(known)
    assert found.columns == (AUDITED, "gate")
    assert found.found[0]["why"] == "groups that the audit names, because they lack a class"
    judged = evaluate(found.table, threshold=0.5, slices=found.columns).tables["slices"]["slice"]
    assert {"print 1", "in no such group"} <= {str(cell).partition("=")[2] for cell in judged}


def test_an_audit_without_groups_of_these_films_changes_nothing(tmp_path):
    assert with_audit_groups(TABLE, tmp_path) is TABLE
    columns = {"path": np.array(["other/x.png"], dtype=object), "group": np.array(["print 1"], dtype=object)}
    write_table(tmp_path / "tables" / "groups.csv", columns)
    assert with_audit_groups(TABLE, tmp_path) is TABLE
    none = {"path": np.array([], dtype=object), "group": np.array([], dtype=object)}
    write_table(tmp_path / "tables" / "groups.csv", none)  # as an audit leaves it that finds no such group
    assert with_audit_groups(TABLE, tmp_path) is TABLE
