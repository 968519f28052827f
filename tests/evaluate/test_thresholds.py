"""Thresholds: each policy against brute force, the sealed test set, and what happens between two scores."""

import json
import math

import numpy as np
import pytest

from cxray.errors import DataError, SealedTestError, UsageError
from cxray.evaluate.thresholds import Policy, Threshold, choose

SHA = "0" * 64


@pytest.fixture
def films():
    rng = np.random.default_rng(4)
    is_positive = rng.random(300) < 0.4
    scores = 1 / (1 + np.exp(-(rng.normal(size=300) + 1.5 * is_positive - 0.7)))
    return np.round(scores, 2), is_positive


def rates(scores, is_positive, threshold):
    calls = scores >= threshold
    return calls[is_positive].mean(), (~calls[~is_positive]).mean()


def brute(scores, is_positive, merit):
    candidates = [*np.unique(scores), 1.1]
    return max(merit(*rates(scores, is_positive, cut)) for cut in candidates)


def test_youden_reaches_the_best_sum(films):
    chosen = choose("youden", *films, "validation", SHA)
    assert sum(rates(*films, chosen.value)) == pytest.approx(brute(*films, lambda first, second: first + second))


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95, 0.99])
def test_target_sensitivity_buys_the_most_specificity(films, target):
    chosen = choose(f"target_sensitivity:{target}", *films, "validation", SHA)
    sensitivity, specificity = rates(*films, chosen.value)
    assert sensitivity >= target
    assert specificity == pytest.approx(brute(*films, lambda first, second: second if first >= target else -1))
    assert (chosen.sensitivity, chosen.specificity) == pytest.approx((sensitivity, specificity))


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95, 0.99])
def test_target_specificity_buys_the_most_sensitivity(films, target):
    chosen = choose(f"target_specificity:{target}", *films, "validation", SHA)
    sensitivity, specificity = rates(*films, chosen.value)
    assert specificity >= target
    assert sensitivity == pytest.approx(brute(*films, lambda first, second: first if second >= target else -1))


def test_target_ppv_holds_from_the_threshold_on(films):
    scores, is_positive = films
    chosen = choose("target_ppv:0.8", scores, is_positive, "validation", SHA)
    assert is_positive[scores >= chosen.value].mean() >= 0.8
    below = scores[scores < chosen.value].max()
    assert is_positive[scores >= below].mean() < 0.8


@pytest.mark.parametrize(("policy", "miss", "alarm"), [("cost_ratio:5", 5, 1), ("net_benefit:0.2", 4, 1)])
def test_cost_policies_reach_the_least_cost(films, policy, miss, alarm):
    scores, is_positive = films
    ill, healthy = is_positive.sum(), (~is_positive).sum()

    def gain(sensitivity, specificity):
        return -(miss * (1 - sensitivity) * ill + alarm * (1 - specificity) * healthy)

    chosen = choose(policy, scores, is_positive, "validation", SHA)
    assert gain(*rates(scores, is_positive, chosen.value)) == pytest.approx(brute(scores, is_positive, gain))


def test_separable_classes_get_the_middle_of_the_gap_on_the_logit_scale():
    scores = np.array([0.01, 0.02, 0.1, 0.9, 0.97, 0.99])
    is_positive = np.arange(6) >= 3
    for policy in ("youden", "target_sensitivity:0.99", "target_specificity:0.99", "cost_ratio:3"):
        chosen = choose(policy, scores, is_positive, "validation", SHA)
        assert chosen.value == pytest.approx(0.5)


def test_a_target_is_taken_at_its_word_even_where_more_would_cost_nothing():
    scores = np.array([0.01, 0.02, 0.1, 0.9, 0.97, 0.99])
    is_positive = np.arange(6) >= 3
    sensitive = choose("target_sensitivity:0.6", scores, is_positive, "validation", SHA)
    assert rates(scores, is_positive, sensitive.value) == (pytest.approx(2 / 3), 1.0)
    specific = choose("target_specificity:0.6", scores, is_positive, "validation", SHA)
    assert rates(scores, is_positive, specific.value) == (1.0, pytest.approx(2 / 3))


def test_scores_saturated_in_float32_still_give_a_threshold_that_separates():
    scores = np.array([0.0, 0.0, 1e-12, 1.0, 1.0, 1 - 1e-12])
    chosen = choose("youden", scores, np.arange(6) >= 3, "validation", SHA)
    assert rates(scores, np.arange(6) >= 3, chosen.value) == (1.0, 1.0)


def test_choosing_on_test_films_is_an_error_for_every_policy(films):
    for policy in ("youden", "target_sensitivity:0.95", "guaranteed_sensitivity:0.9"):
        for split in ("test", "test+validation"):
            with pytest.raises(SealedTestError, match=rf"split is '{split}'".replace("+", r"\+")):
                choose(policy, *films, split, SHA)


@pytest.mark.parametrize(("positives", "misses"), [(59, 0), (92, 0), (93, 1), (124, 2), (153, 3)])
def test_guarantee_allows_exactly_the_proven_misses(positives, misses):
    scores = np.concatenate([np.linspace(0.2, 0.9, positives), np.full(20, 0.01)])
    is_positive = np.arange(scores.size) < positives
    chosen = choose("guaranteed_sensitivity:0.95", scores, is_positive, "validation", SHA)
    assert (scores[is_positive] < chosen.value).sum() == misses


def test_guarantee_is_refused_when_too_few_positives():
    scores = np.concatenate([np.linspace(0.2, 0.9, 58), np.full(20, 0.01)])
    with pytest.raises(DataError, match="58 positive patients cannot prove"):
        choose("guaranteed_sensitivity:0.95", scores, np.arange(78) < 58, "validation", SHA)


def test_guarantee_counts_patients_not_films():
    scores = np.concatenate([np.linspace(0.2, 0.9, 100), np.full(20, 0.01)])
    patient = np.concatenate([np.repeat(np.arange(50), 2), 50 + np.arange(20)])
    with pytest.raises(DataError, match="50 positive patients"):
        choose("guaranteed_sensitivity:0.95", scores, np.arange(120) < 100, "validation", SHA, patient)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "no threshold policy 'best'"),
        ("target_sensitivity", "needs a target between 0 and 1"),
        ("target_sensitivity:1", "needs a target between 0 and 1"),
        ("target_sensitivity:95", "needs a target between 0 and 1"),
        ("cost_ratio:0", "needs a target above 0"),
        ("youden:0.5", "takes no target"),
        ("target_ppv:high", "must be a number"),
    ],
)
def test_policy_that_cannot_be_meant(text, message):
    with pytest.raises(UsageError, match=message):
        Policy.parse(text)


def test_policy_prints_as_it_is_read():
    for text in ("youden", "target_sensitivity:0.95", "cost_ratio:5"):
        assert str(Policy.parse(text)) == text
    assert Policy.parse("target-sensitivity: 0.9") == Policy("target_sensitivity", 0.9)


def test_threshold_survives_json_and_says_when_films_were_few(films):
    chosen = choose("youden", *films, "validation", SHA)
    assert Threshold.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    assert chosen.table_sha256 == SHA
    few = choose("youden", np.linspace(0, 1, 20), np.arange(20) >= 10, "validation", SHA)
    assert "only 10 positive films" in few.note
    with pytest.raises(DataError, match="lacks a part"):
        Threshold.from_dict({"value": 0.5})


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(number):
    with pytest.raises(DataError, match="1 of 3 scores are not finite"):
        choose("youden", np.array([0.1, 0.9, number]), np.array([False, True, True]), "validation", SHA)


def test_one_class_is_refused():
    with pytest.raises(DataError, match="all 3 are negative"):
        choose("youden", np.array([0.1, 0.2, 0.3]), np.zeros(3, dtype=bool), "validation", SHA)


def test_ppv_that_no_threshold_reaches():
    with pytest.raises(DataError, match=r"No threshold reaches a PPV of 0\.9"):
        choose("target_ppv:0.9", np.array([0.9, 0.1]), np.array([False, True]), "validation", SHA)
