"""Readers beside the model: same films, the difference worked out by hand, and tables that do not belong together."""

import numpy as np
import pytest

from cxray.errors import DataError
from cxray.evaluate import evaluate
from cxray.evaluate.beside_readers import with_readers
from cxray.evaluate.paired import paired_difference
from cxray.evaluate.ranking import auroc_interval, paired_test
from cxray.evaluate.reading import Marks
from tests.report.predictions import two_classes

TABLE = two_classes(films=200)
SOURCE = {"source": "marks.csv", "sha256": "ab" * 32}


def _marks(mark, *, films=TABLE.path, readers=("Ann", "Bob"), **columns):
    """Marks of every reader on every film; `mark(reader, row)` gives the cell."""
    rows = [(path, reader, mark(reader, row)) for row, path in enumerate(films) for reader in readers]
    table = {name: np.array([row[place] for row in rows], dtype=object) for place, name in enumerate(("path", "reader", "mark"))}  # fmt: skip  # noqa: E501
    return Marks.of({**table, **{name: np.array(cells, dtype=object) for name, cells in columns.items()}})


def _wrong_every(step):
    other = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    return lambda reader, row: other[TABLE.label[row]] if reader == "Bob" and row % step == 0 else TABLE.label[row]


def test_words_are_compared_by_paired_rates():
    judged = with_readers(evaluate(TABLE, threshold=0.5), TABLE, _marks(_wrong_every(5)), SOURCE)
    table = judged.tables["readers"]
    rows = [(str(table["reader"][k]), str(table["measure"][k])) for k in range(4)]
    assert rows == [("Ann", "sensitivity"), ("Ann", "specificity"), ("Bob", "sensitivity"), ("Bob", "specificity")]
    assert table["reader_value"][0] == table["reader_value"][1] == 1.0
    ill = TABLE.label == "PNEUMONIA"
    assert table["reader_value"][2] == pytest.approx(1 - np.mean(np.arange(200)[ill] % 5 == 0))
    assert table["model_value"][0] == judged.record("sensitivity").value
    right = TABLE.scores[ill, 1] >= 0.5
    patient = np.unique(TABLE.patient[ill], return_inverse=True)[1]
    difference, _ = paired_difference(right, np.ones(ill.sum(), dtype=bool), patient)
    assert (table["difference"][0], table["difference_low"][0]) == pytest.approx((difference.value, difference.low))
    kappa = judged.tables["reader_agreement"]
    assert list(kappa["measure"]) == ["fleiss_kappa", "cohen_kappa"]
    assert judged.facts["readers"] == {
        **SOURCE, "readers": 2, "modes": ["reading"], "cases": 200, "cases_matched": 200, "cases_left_out": 0
    }  # fmt: skip


def test_numbers_are_compared_by_auroc():
    noise = np.random.default_rng(0).normal(size=200)
    ill = TABLE.label == "PNEUMONIA"
    scores = noise + 1.5 * ill
    judged = with_readers(evaluate(TABLE, threshold=0.5), TABLE, _marks(lambda _, row: f"{scores[row]:.6f}"), SOURCE)
    table = judged.tables["readers"]
    patient = np.unique(TABLE.patient, return_inverse=True)[1]
    assert list(table["measure"]) == ["auroc", "auroc"]
    assert table["reader_value"][0] == pytest.approx(auroc_interval(scores, ill, patient).value)
    difference, _ = paired_test(np.column_stack([TABLE.scores[:, 1], scores]), ill, patient)
    assert table["difference"][0] == pytest.approx(difference.value)


def test_some_films_are_enough_and_folders_may_differ():
    some = np.array([f"/elsewhere/{path}" for path in TABLE.path[:40]], dtype=object)
    marks = _marks(lambda _, row: TABLE.label[row], films=some)
    judged = with_readers(evaluate(TABLE, threshold=0.5), TABLE, marks, SOURCE)
    assert judged.tables["readers"]["films"].tolist() == [40, 0, 40, 0]
    assert judged.tables["readers"]["withheld"][1] != ""


def test_words_without_a_threshold_are_not_compared():
    judged = evaluate(TABLE, threshold=0.5)
    loose = {**judged.facts, "thresholds": {"PNEUMONIA": {"value": None}}}
    found = with_readers(type(judged)(judged.records, judged.tables, loose), TABLE, _marks(_wrong_every(5)), SOURCE)
    assert "readers" not in found.tables and "reader_agreement" in found.tables


def test_marks_of_other_films_are_refused():
    strangers = np.array(["a.png", "b.png"], dtype=object)
    with pytest.raises(DataError, match=r"None of the 2 marked cases is a film of the judged table; the first is a\."):
        with_readers(evaluate(TABLE, threshold=0.5), TABLE, _marks(lambda *_: "NORMAL", films=strangers), SOURCE)


def test_a_contradicting_truth_is_refused():
    wrong = np.repeat(np.where(TABLE.label == "NORMAL", "PNEUMONIA", "NORMAL"), 2)
    with pytest.raises(DataError, match="is labelled 'NORMAL' by the table of marks and 'PNEUMONIA' by the judged"):
        with_readers(evaluate(TABLE, threshold=0.5), TABLE, _marks(lambda *_: "NORMAL", label=wrong), SOURCE)
