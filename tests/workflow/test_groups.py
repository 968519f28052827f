"""Groups nobody named: words in file names and columns with a few values, and nothing where there is nothing."""

import dataclasses

import numpy as np
import pytest

from cxray.evaluate import evaluate
from cxray.workflow.groups import NAMES, grouped, name_strata
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
