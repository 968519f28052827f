"""The tipping point of label noise: exact where it can be counted by hand, and never where nothing is claimed."""

import numpy as np
import pytest

from cxray.evaluate import rates
from cxray.evaluate.judge import Settings, exhibits
from cxray.evaluate.operating import GIVEN, OperatingPoint
from cxray.evaluate.screening import Task
from cxray.evaluate.tipping import GOALS, fewest, tipping_points


def _task(scores, truth, patient=None):
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=bool)
    patient = np.arange(len(scores)) if patient is None else np.asarray(patient)
    return Task("ill", scores, truth, patient, np.arange(len(scores)), patient is not None)


@pytest.fixture
def task():
    rng = np.random.default_rng(3)
    truth = np.arange(300) < 180
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1, 300) + np.where(truth, 2.2, -2.2))))
    return _task(scores, truth)


def test_the_number_given_breaks_the_claim_and_one_fewer_does_not(task):
    calls = task.scores >= 0.5
    table = tipping_points(task, calls)
    row = table["measure"].tolist().index("sensitivity")
    films, goal = int(table["films"][row]), table["at_least"][row]
    order = np.argsort(-task.scores, kind="stable")
    order = order[(~task.is_positive & ~calls)[order]]
    for number, still_holds in ((films - 1, True), (films, False)):
        truth = task.is_positive.copy()
        truth[order[:number]] = True
        assert bool(rates.sensitivity(calls, truth, task.patient).low >= goal) == still_holds
    assert table["share"][row] == films / len(order)
    assert table["turned"][row] == "without the finding, called negative"


def test_the_claim_is_the_strongest_round_one_that_the_interval_supports(task):
    table = tipping_points(task, task.scores >= 0.5)
    for goal, low in zip(table["at_least"], table["low"], strict=True):
        assert goal <= low
        assert not [other for other in GOALS if goal < other <= low]


def test_specificity_is_hurt_by_found_films_that_are_healthy(task):
    table = tipping_points(task, task.scores >= 0.5)
    row = table["measure"].tolist().index("specificity")
    assert table["turned"][row] == "with the finding, called positive"
    assert table["films"][row] >= 1


def test_auroc_uses_the_class_that_needs_fewer(task):
    table = tipping_points(task, task.scores >= 0.5)
    row = table["measure"].tolist().index("auroc")
    assert table["turned"][row] == "without the finding, lowest scores"  # 120 films are fewer than 180


def test_a_better_model_needs_more_wrong_labels():
    truth = np.arange(400) < 200
    weak = _task(
        np.where(truth, 0.6, 0.4) + np.linspace(-0.25, 0.25, 400)[np.random.default_rng(0).permutation(400)], truth
    )
    strong = _task(np.where(truth, 0.9, 0.1) + np.linspace(-0.05, 0.05, 400), truth)
    films = [tipping_points(t, t.scores >= 0.5)["films"][2] for t in (weak, strong)]
    goals = [tipping_points(t, t.scores >= 0.5)["at_least"][2] for t in (weak, strong)]
    assert goals[0] < goals[1] or films[0] < films[1]


def test_more_films_of_the_same_patients_do_not_make_a_claim_sturdier(task):
    calls = task.scores >= 0.5
    twice = _task(np.repeat(task.scores, 2), np.repeat(task.is_positive, 2), np.repeat(np.arange(300), 2))
    once, doubled = tipping_points(task, calls), tipping_points(twice, np.repeat(calls, 2))
    assert np.all(doubled["share"] <= once["share"] + 0.02)


def test_a_claim_that_does_not_hold_cannot_be_overturned():
    rng = np.random.default_rng(0)
    task = _task(rng.random(60), np.arange(60) < 30)
    table = tipping_points(task, task.scores >= 0.9)
    assert table["withheld"][0] == "Not even the weakest claim, at least 0.5, is supported by the lower limit."
    assert np.isnan(table["films"][0])


def test_one_class_gives_reasons_instead_of_numbers():
    task = _task(np.linspace(0.5, 0.9, 40), np.ones(40, dtype=bool))
    table = tipping_points(task, task.scores >= 0.4)
    assert "No healthy film" in table["withheld"][1]
    assert "both classes" in table["withheld"][2]
    assert table["withheld"][0] == "No number of such label errors would bring it down."


@pytest.mark.parametrize(("breaks_at", "expected"), [(1, 1), (2, 2), (7, 7), (64, 64), (100, 100), (101, None)])
def test_the_search_finds_the_first_number_that_breaks(breaks_at, expected):
    assert fewest(np.arange(100), lambda turned: turned.sum() < breaks_at, 100) == expected


def test_no_candidate_breaks_nothing():
    assert fewest(np.array([], dtype=np.int64), lambda turned: True, 10) is None


def test_it_is_one_of_the_exhibits(task):
    point = OperatingPoint(task.scores >= 0.5, GIVEN, 0.5, {})
    assert set(exhibits(task, point, Settings())["tipping"]) == {
        "measure", "at_least", "low", "films", "share", "turned", "withheld",
    }  # fmt: skip
