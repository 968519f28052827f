"""Curves and the patient bootstrap, against scikit-learn with weights and copies, and scipy's bootstrap."""

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from cxray.evaluate import curves
from cxray.evaluate.intervals import percentile
from cxray.evaluate.resample import PatientBootstrap, _Ranks, bootstrap_difference


@pytest.fixture(params=[1, 6], ids=["tied", "distinct"])
def films(request):
    rng = np.random.default_rng(2)
    is_positive = rng.random(400) < 0.4
    scores = np.clip(np.round(0.4 + 0.2 * rng.normal(size=400) + 0.15 * is_positive, request.param), 0, 1)
    return scores, is_positive


def test_average_precision_and_partial_area_equal_scikit_learn(films):
    scores, is_positive = films
    assert curves.average_precision(scores, is_positive) == pytest.approx(average_precision_score(is_positive, scores))
    for limit in (0.1, 0.25):
        expected = roc_auc_score(is_positive, scores, max_fpr=limit)
        assert curves.partial_auroc(scores, is_positive, 1 - limit) == pytest.approx(expected, abs=1e-12)


def test_points_lie_on_the_curves_of_scikit_learn(films):
    scores, is_positive = films
    points = curves.roc_points(scores, is_positive)
    false_alarms, sensitivity, _ = roc_curve(is_positive, scores)
    area = auc(1 - points["specificity"], points["sensitivity"])
    assert area == pytest.approx(auc(false_alarms, sensitivity), abs=1e-12)
    precision, recall, _ = precision_recall_curve(is_positive, scores)
    ours = curves.precision_recall_points(scores, is_positive)
    known = set(zip(np.round(recall, 12), np.round(precision, 12), strict=True))
    assert set(zip(np.round(ours["recall"], 12), np.round(ours["precision"], 12), strict=True)) <= known


def test_each_threshold_gives_the_rates_beside_it(films):
    scores, is_positive = films
    points = curves.roc_points(scores, is_positive)
    for threshold, sensitivity, specificity in zip(*points.values(), strict=True):
        calls = scores >= threshold
        assert (calls[is_positive].mean(), (~calls[~is_positive]).mean()) == pytest.approx((sensitivity, specificity))


def test_long_curves_are_thinned_but_keep_their_ends():
    rng = np.random.default_rng(0)
    scores, is_positive = rng.random(20_000), rng.random(20_000) < 0.5
    points = curves.roc_points(scores, is_positive)
    assert len(points["threshold"]) == curves.MOST_POINTS
    assert (points["sensitivity"][0], points["sensitivity"][-1]) == (0.0, 1.0)


def test_weights_do_what_copies_do(films):
    scores, is_positive = films
    weights = np.random.default_rng(0).integers(0, 4, (3, 400)).astype(np.uint8)
    ranks = _Ranks.of(scores, is_positive, np.arange(400))
    areas, precisions = ranks.measure(weights)
    partial = curves.standardised_area(ranks.partial_area(weights, 0.1), 0.9)
    for row, copies in enumerate(weights):
        truth, drawn = np.repeat(is_positive, copies), np.repeat(scores, copies)
        assert areas[row] == pytest.approx(roc_auc_score(truth, drawn), abs=1e-12)
        assert precisions[row] == pytest.approx(average_precision_score(truth, drawn), abs=1e-12)
        assert partial[row] == pytest.approx(roc_auc_score(truth, drawn, max_fpr=0.1), abs=1e-12)


def test_draws_are_patients_within_strata_and_repeatable():
    patient = np.repeat(np.arange(40), 3)
    group = np.repeat(np.arange(40) % 4 == 0, 3).astype(np.int64)
    draws = PatientBootstrap(patient, group, draws=50, seed=4)
    weights = np.concatenate(list(draws.blocks()))
    assert weights.shape == (50, 40)
    assert (weights[:, ::4].sum(axis=1) == 10).all()
    assert (weights.sum(axis=1) == 40).all()
    again = np.concatenate(list(PatientBootstrap(patient, group, draws=50, seed=4).blocks()))
    assert np.array_equal(weights, again)
    other = np.concatenate(list(PatientBootstrap(patient, group, draws=50, seed=5).blocks()))
    assert not np.array_equal(weights, other)


def test_one_run_gives_what_separate_runs_give(films):
    scores, is_positive = films
    draws = PatientBootstrap(np.arange(400) // 2, np.zeros(400, dtype=np.int64), draws=20)
    values = np.column_stack([scores, is_positive]).astype(float)
    together = draws.rankings_and_sums(scores, is_positive, values)
    for ours, expected in zip(together, (*draws.rankings(scores, is_positive), draws.sums(values)), strict=True):
        assert np.array_equal(ours, expected)


def test_interval_agrees_with_scipy_when_films_are_independent(films):
    scores, is_positive = films
    draws = PatientBootstrap(np.arange(400), np.zeros(400, dtype=np.int64), draws=2000)
    ours = percentile(draws.rankings(scores, is_positive)[0])
    theirs = bootstrap(
        (scores, is_positive),
        lambda drawn, truth: roc_auc_score(truth, drawn),
        paired=True,
        vectorized=False,
        n_resamples=400,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_bootstrap_difference_of_any_measure_equals_the_built_in_one(films):
    scores, is_positive = films
    pair = np.column_stack([scores, np.roll(scores, 1)])
    draws = PatientBootstrap(np.arange(400) // 2, np.zeros(400, dtype=np.int64), draws=5)
    found = bootstrap_difference(curves.average_precision, pair, is_positive, draws)
    first, second = (draws.rankings(column, is_positive)[1] for column in pair.T)
    assert found == pytest.approx(first - second, abs=1e-12)
