"""Conformal sets, referral, certificates, sample sizes and reader agreement: promises kept in small worlds."""

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cxray.errors import DataError, UsageError
from cxray.evaluate import plan, planning, readers, uncertainty


def test_conformal_limit_is_infinite_when_too_few_were_seen():
    assert uncertainty.conformal_limit(np.arange(8) / 10, 0.1) == float("inf")
    assert uncertainty.conformal_limit(np.arange(9) / 10, 0.1) == 0.8


def test_conformal_sets_cover_each_class_as_promised():
    rng = np.random.default_rng(0)

    def draw(films):
        truth = (rng.random(films) < 0.2).astype(np.int64)
        chance = 1 / (1 + np.exp(-(rng.normal(size=films) + 1.5 * truth - 2)))
        return np.column_stack([1 - chance, chance]), truth

    scores, truth = draw(4000)
    limits = uncertainty.class_limits(scores, truth, np.arange(4000))
    new, new_truth = draw(20_000)
    sets = uncertainty.prediction_sets(new, limits)
    for number in (0, 1):
        assert sets[new_truth == number, number].mean() == pytest.approx(0.9, abs=0.025)


def test_conformal_fit_takes_one_film_a_patient():
    scores = np.column_stack([np.linspace(0.5, 0.9, 30), 1 - np.linspace(0.5, 0.9, 30)])
    truth = np.zeros(30, dtype=np.int64)
    assert np.isinf(uncertainty.class_limits(scores, truth, np.arange(30) // 5)[0])
    assert np.isfinite(uncertainty.class_limits(scores, truth, np.arange(30))[0])


def test_risk_coverage_of_a_perfect_order():
    wrong = np.arange(10) >= 8
    curve = uncertainty.risk_coverage(-np.arange(10.0), wrong)
    assert curve["risk"][:8].tolist() == [0.0] * 8
    assert (curve["coverage"][-1], curve["risk"][-1]) == (1.0, 0.2)
    worst = uncertainty.area_under_risk_coverage(np.arange(10.0), wrong)
    assert uncertainty.area_under_risk_coverage(-np.arange(10.0), wrong) < worst


def test_equally_sure_films_are_answered_together():
    curve = uncertainty.risk_coverage(np.zeros(4), np.array([True, False, False, False]))
    assert curve["coverage"].tolist() == [1.0]


def test_referral_by_hand():
    calls = np.array([True, False, True, False])
    truth = np.array([True, False, False, True])
    rows = uncertainty.referral(np.array([4.0, 3.0, 2.0, 1.0]), calls, truth)
    half = rows["referred"].tolist().index(0.5)
    assert (rows["answered"][half], rows["missed"][half], rows["false_alarms"][half]) == (2, 0, 0)
    assert (rows["sensitivity"][0], rows["specificity"][0]) == (0.5, 0.5)


def test_certificate_counts_patients_and_needs_59():
    assert uncertainty.certificate(np.ones(58, dtype=bool), np.arange(58)).value < 0.95
    assert uncertainty.certificate(np.ones(59, dtype=bool), np.arange(59)).value >= 0.95
    assert uncertainty.certificate(np.ones(118, dtype=bool), np.arange(118) // 2).value >= 0.95
    one_wrong_film = np.arange(118) > 0
    assert uncertainty.certificate(one_wrong_film, np.arange(118) // 2).value < 0.95
    assert "nothing can be proven" in uncertainty.certificate(np.ones(0, dtype=bool), np.arange(0)).withheld


def test_plan_answers_every_question_and_saves(tmp_path):
    found = plan(prevalence=0.2, auroc=0.85)
    assert all(row["answer"] > 0 for row in found.rows)
    found.save(tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text())["facts"]["prevalence"] == 0.2


def test_planned_sizes_are_the_smallest_that_do():
    needed = planning.films_for_rate_width(0.95, 0.05)
    for films, is_enough in ((needed, True), (needed - 1, False)):
        low, high = planning.wilson(0.95 * films, films)
        assert (high - low <= 0.1) == is_enough
    assert planning.positives_to_prove(0.9, 0) == 29


def test_power_and_size_invert_each_other():
    ill, healthy = planning.films_for_auroc(0.7, ratio=2.0, power=0.8)
    assert planning.auroc_power(0.7, ill, healthy) == pytest.approx(0.8)
    assert planning.difference_detectable(0.01) == pytest.approx(0.028, abs=1e-4)


def test_resolution_grows_with_the_test_set():
    small, large = (planning.resolution(n, n, 0.9, 0.95) for n in (30, 300))
    assert large["auroc_half_width"] < small["auroc_half_width"]
    assert large["largest_provable_sensitivity"] > small["largest_provable_sensitivity"]
    assert large["smallest_auroc_told_from_chance"] < small["smallest_auroc_told_from_chance"]


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"prevalence": 0}, "prevalence must lie between 0 and 1"),
        ({"auroc": 0.5}, "auroc must lie between 0.5 and 1"),
        ({"half_width": 1e-6}, "more than ten million"),
    ],
)
def test_goals_that_cannot_be_met(goal, message):
    with pytest.raises(UsageError, match=message):
        plan(**goal)


def test_cohen_kappa_equals_scikit_learn():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 100)
    second = np.where(rng.random(100) < 0.7, first, rng.integers(0, 3, 100))
    assert readers.cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    assert np.isnan(readers.cohen_kappa(np.zeros(5), np.zeros(5)))


def test_fleiss_needs_the_same_readers_everywhere():
    assert readers.fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1.0
    with pytest.raises(DataError, match="same number of readers"):
        readers.fleiss_kappa(np.array([[3, 0], [1, 3]]))


def test_reader_study_finds_a_planted_gain():
    rng = np.random.default_rng(0)
    truth = rng.random(150) < 0.4
    case = rng.normal(size=150)
    gain = np.array([2.5, 0.8])[:, None, None]
    scores = gain * truth + 0.6 * case + 0.7 * rng.normal(size=(2, 4, 150))
    found = readers.multi_reader(scores, truth, np.arange(150))
    assert found.p < 0.01
    assert 0 < found.low < found.difference < found.high
    assert found.difference == pytest.approx(found.areas[0].mean() - found.areas[1].mean())
    same = readers.multi_reader(np.stack([scores[0], scores[0][::-1]]), truth, np.arange(150))
    assert same.p > 0.5
    with pytest.raises(DataError, match="two modes, two readers"):
        readers.multi_reader(scores[:1], truth, np.arange(150))
