"""AUROC: against scikit-learn, against itself under clustering, and at the boundary."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxray.evaluate import ranking


@pytest.fixture
def films():
    rng = np.random.default_rng(1)
    is_positive = rng.random(300) < 0.4
    return np.round(rng.normal(size=300) + is_positive, 1), is_positive, np.arange(300)


def test_value_equals_scikit_learn_with_ties(films):
    scores, is_positive, _ = films
    assert ranking.auroc(scores, is_positive) == pytest.approx(roc_auc_score(is_positive, scores), abs=1e-12)


def test_variance_equals_the_pairwise_definition(films):
    scores, is_positive, patient = films
    wins = (scores[is_positive][:, None] > scores[~is_positive]) + 0.5 * (
        scores[is_positive][:, None] == scores[~is_positive]
    )
    expected = wins.mean(axis=1).var(ddof=1) / wins.shape[0] + wins.mean(axis=0).var(ddof=1) / wins.shape[1]
    _, covariance = ranking.delong_covariance(scores[:, None], is_positive, patient)
    assert covariance[0, 0] == pytest.approx(expected, abs=1e-14)


def test_a_second_copy_of_every_film_adds_no_information(films):
    scores, is_positive, patient = films
    once = ranking.delong_covariance(scores[:, None], is_positive, patient)[1][0, 0]
    doubled = np.tile(scores, 2)[:, None], np.tile(is_positive, 2)
    clustered = ranking.delong_covariance(*doubled, np.tile(patient, 2))[1][0, 0]
    naive = ranking.delong_covariance(*doubled, np.arange(600))[1][0, 0]
    assert clustered == pytest.approx(once, abs=1e-15)
    assert naive == pytest.approx(once / 2, rel=0.02)


def test_patients_with_films_of_both_classes_use_the_cross_term(films):
    scores, is_positive, _ = films
    patient = np.zeros(300, dtype=np.int64)
    patient[is_positive] = np.arange(is_positive.sum())
    patient[~is_positive] = np.arange((~is_positive).sum())
    value, influence = ranking.auroc_influence(scores, is_positive)
    sums = np.bincount(patient, weights=influence)
    covariance = ranking.delong_covariance(scores[:, None], is_positive, patient)[1][0, 0]
    assert covariance == pytest.approx(float(sums @ sums), rel=0.02)
    assert value == pytest.approx(ranking.auroc(scores, is_positive))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_perfect_separation_has_width(value):
    is_positive = np.arange(60) < 30
    scores = is_positive * 1.0 if value else ~is_positive * 1.0
    found = ranking.auroc_interval(scores, is_positive, np.arange(60))
    assert found.value == value
    assert 0.02 < found.high - found.low < 0.2
    assert found.method.startswith("score interval")


@pytest.mark.parametrize(("positives", "method"), [(9, "score"), (10, "DeLong")])
def test_tiny_class_switches_the_method(positives, method):
    rng = np.random.default_rng(3)
    is_positive = np.arange(100) < positives
    found = ranking.auroc_interval(rng.normal(size=100) + is_positive, is_positive, np.arange(100))
    assert found.method.startswith(method)


def test_one_class_is_withheld():
    found = ranking.auroc_interval(np.arange(5.0), np.ones(5, dtype=bool), np.arange(5))
    assert found.value is None
    assert "both classes" in found.withheld


def test_all_scores_equal_is_half_with_width():
    found = ranking.auroc_interval(np.full(40, 0.3), np.arange(40) < 20, np.arange(40))
    assert found.value == 0.5
    assert found.high - found.low > 0.2


def test_identical_models_do_not_differ(films):
    scores, is_positive, patient = films
    found, p = ranking.paired_test(np.column_stack([scores, scores]), is_positive, patient)
    assert (found.value, p) == (0.0, 1.0)


def test_hand_till_with_two_classes_is_auroc(films):
    scores, is_positive, _ = films
    chance = 1 / (1 + np.exp(-scores))
    both = np.column_stack([1 - chance, chance])
    expected = ranking.auroc(chance, is_positive)
    assert ranking.hand_till(both, is_positive.astype(np.int64)) == pytest.approx(expected)
    assert np.isnan(ranking.hand_till(both, np.zeros(300, dtype=np.int64)))


def test_hand_till_equals_scikit_learn():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 200)
    scores = rng.dirichlet(np.ones(4), 200) + 0.5 * np.eye(4)[truth]
    scores /= scores.sum(axis=1, keepdims=True)
    expected = roc_auc_score(truth, scores, multi_class="ovo", average="macro")
    assert ranking.hand_till(scores, truth) == pytest.approx(expected, abs=1e-12)
