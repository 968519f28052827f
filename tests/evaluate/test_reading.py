"""Readers' marks: a full design, agreement with limits, and decisions beside the truth."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cxray.errors import DataError, UsageError
from cxray.evaluate.reading import Marks, judge_readers
from cxray.evaluate.selfcheck import FLEISS_TABLE


def table(rows, names=("path", "reader", "mark", "label")):
    return {name: np.array([row[place] for row in rows], dtype=object) for place, name in enumerate(names)}


def words(cases=80, flip=0.2, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        truth = "ILL" if case % 2 else "OK"
        for reader in "AB":
            wrong = rng.random() < flip
            mark = {"ILL": "OK", "OK": "ILL"}[truth] if wrong else truth
            rows.append((f"c{case}", reader, mark, truth))
    return rows


def test_kappa_equals_scikit_learn_and_its_limits_hold_it():
    marks = Marks.of(table(words()))
    found = judge_readers(marks).record("cohen_kappa", slice="mode=reading, A with B")
    assert found.value == pytest.approx(cohen_kappa_score(marks.mark[0, 0], marks.mark[0, 1]))
    assert found.low < found.value < found.high
    assert found.n_images == 80


def test_fleiss_kappa_of_the_textbook_table():
    rows = []
    for subject, counts in enumerate(FLEISS_TABLE):
        marks = np.repeat(np.arange(5), counts)
        rows += [(f"s{subject}", f"r{rater:02d}", f"category {mark}", "") for rater, mark in enumerate(marks)]
    found = judge_readers(Marks.of(table(rows))).record("fleiss_kappa", slice="mode=reading")
    assert found.value == pytest.approx(0.20993, abs=5e-6)


def test_decisions_beside_the_truth():
    rows = words()
    found = judge_readers(Marks.of(table(rows)), positive="ILL")
    right = [mark == truth for _, reader, mark, truth in rows if reader == "A" and truth == "ILL"]
    record = found.record("sensitivity", slice="mode=reading, reader=A")
    assert record.value == pytest.approx(np.mean(right))
    assert record.n_images == len(right)


def test_perfect_agreement_has_no_interval_and_one_word_no_kappa():
    same = [(case, reader, truth, truth) for case, _, _, truth in words(flip=0) for reader in "AB"]
    same = list(dict.fromkeys(same))
    found = judge_readers(Marks.of(table(same))).record("cohen_kappa", slice="mode=reading, A with B")
    assert (found.value, found.low) == (1.0, None)
    one = [(case, reader, "OK", truth) for case, reader, _, truth in words()]
    assert (
        "one and the same word"
        in judge_readers(Marks.of(table(one))).record("fleiss_kappa", slice="mode=reading").withheld
    )


def test_cases_that_are_not_complete_are_left_out_and_counted():
    rows = [*words()[:-1], ("extra", "A", "OK", "OK")]
    marks = Marks.of(table(rows))
    assert marks.left_out == ("c79", "extra")
    assert "2 cases were not marked" in judge_readers(marks).facts["warnings"][0]


def test_all_limits_stay_where_a_measure_can_be():
    rng = np.random.default_rng(1)
    rows = [
        (f"c{case}", reader, f"{rng.normal() + 0.5 * (case % 2):.3f}", "ILL" if case % 2 else "OK", mode)
        for case in range(24)
        for reader in "AB"
        for mode in ("first", "second")
    ]
    found = judge_readers(Marks.of(table(rows, ("path", "reader", "mark", "label", "mode"))), positive="ILL")
    for record in found.records:
        if record.low is not None:
            assert -1 <= record.low <= record.value <= record.high <= 1
            assert record.low < record.high


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([("a", "A")], ("path", "reader"), "no column 'mark'"),
        ([("", "A", "1")], ("path", "reader", "mark"), "'path' is empty"),
        ([("a", "", "1")], ("path", "reader", "mark"), "'reader' is empty"),
        ([("a", "A", "1"), ("a", "A", "2")], ("path", "reader", "mark"), "marks a twice"),
        ([("a", "A", "1"), ("b", "B", "2")], ("path", "reader", "mark"), "No case"),
        (
            [("a", "A", "1", "ILL"), ("a", "B", "1", "OK")],
            ("path", "reader", "mark", "label"),
            "gives a the label 'ILL' and 'OK'",
        ),
    ],
)
def test_tables_that_cannot_be_used(rows, names, message):
    with pytest.raises(DataError, match=message):
        Marks.of(table(rows, names))


def test_options_that_cannot_be_meant():
    marks = Marks.of(table(words()))
    with pytest.raises(UsageError, match="no label 'TB'"):
        judge_readers(marks, positive="TB")
    with pytest.raises(UsageError, match="between 0.5 and 1"):
        judge_readers(marks, level=95)
    many = [(f"c{case}", "A", f"word {case}", "") for case in range(30)]
    with pytest.raises(DataError, match="30 different marks, not all of them numbers: 'word 0' and 29 more"):
        judge_readers(Marks.of(table(many)))
    numbers = [(f"c{case}", "A", "ill" if case == 7 else str(case), "") for case in range(30)]
    with pytest.raises(DataError, match="30 different marks, not all of them numbers: 'ill'"):
        judge_readers(Marks.of(table(numbers)))
    numbers[7] = ("c7", "A", "7", "")
    with pytest.raises(DataError, match="30 different numbers, and the table has no truth with two labels"):
        Marks.of(table(numbers)).check_truth()
