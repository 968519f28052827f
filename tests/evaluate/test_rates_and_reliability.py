"""Rates, likelihood ratios, proper scores and calibration statistics, against definitions and scikit-learn."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, f1_score, log_loss, matthews_corrcoef

from cxray.evaluate import benefit, corp, rates, reliability, spline
from cxray.evaluate.resample import PatientBootstrap


@pytest.fixture
def films():
    rng = np.random.default_rng(8)
    scores = expit(1.5 * rng.normal(size=600))
    return scores, rng.random(600) < scores, np.arange(600) // 2


def test_point_values_equal_scikit_learn(films):
    scores, truth, patient = films
    calls = scores >= 0.4
    draws = PatientBootstrap(patient, np.zeros_like(patient), draws=200)
    f1, mcc = rates.f1_and_mcc(calls, truth, draws)
    assert (f1.value, mcc.value) == pytest.approx((f1_score(truth, calls), matthews_corrcoef(truth, calls)))
    assert f1.low < f1.value < f1.high
    assert reliability.brier(scores, truth, patient).value == pytest.approx(brier_score_loss(truth, scores))
    assert reliability.log_loss(scores, truth, patient).value == pytest.approx(log_loss(truth, scores))


@pytest.mark.parametrize("all_right", [True, False])
def test_perfect_and_hopeless_calls_keep_width(all_right):
    truth = np.arange(40) < 20
    calls = truth if all_right else ~truth
    patient = np.arange(40)
    for measure in (
        rates.sensitivity,
        rates.specificity,
        rates.ppv,
        rates.npv,
        rates.accuracy,
        rates.balanced_accuracy,
    ):
        found = measure(calls, truth, patient)
        assert found.value == float(all_right)
        assert 0.05 < found.high - found.low < 0.35
    for ratio in rates.likelihood_ratios(calls, truth, patient):
        assert "half a film" in " ".join(ratio.assumptions)
    for found in rates.at_prevalence(calls, truth, patient, 0.1):
        assert 0 < found.low < found.value < found.high < 1


def test_predictive_values_at_the_tables_own_prevalence_are_its_own(films):
    scores, truth, patient = films
    calls = scores >= 0.4
    for found, own in zip(
        rates.at_prevalence(calls, truth, patient, truth.mean()),
        (rates.ppv(calls, truth, patient), rates.npv(calls, truth, patient)),
        strict=True,
    ):
        assert found.value == pytest.approx(own.value)


def test_absent_calls_and_classes_are_withheld():
    truth, nobody = np.arange(10) < 5, np.zeros(10, dtype=bool)
    patient = np.arange(10)
    assert "No film was called positive" in rates.ppv(nobody, truth, patient).withheld
    assert "No film was called negative" in rates.npv(~nobody, truth, patient).withheld
    assert "No ill film" in rates.sensitivity(nobody, nobody, patient).withheld
    assert "No healthy film" in rates.specificity(nobody, ~nobody, patient).withheld
    assert rates.likelihood_ratios(nobody, nobody, patient)[0].withheld
    draws = PatientBootstrap(patient, np.zeros(10, dtype=np.int64), 20)
    f1, mcc = rates.f1_and_mcc(nobody, truth, draws)
    assert (f1.value, f1.low) == (0.0, None)
    assert "both calls" in mcc.withheld
    assert "F1 needs" in rates.f1_and_mcc(nobody, nobody, draws)[0].withheld


def test_recalibration_undoes_a_known_distortion(films):
    scores, truth, patient = films
    slope, intercept = reliability.recalibration(scores, truth, patient)
    bent = expit(2 * logit(scores) + 1)
    bent_slope, bent_intercept = reliability.recalibration(bent, truth, patient)
    assert bent_slope.value == pytest.approx(slope.value / 2, abs=1e-6)
    assert bent_intercept.value == pytest.approx(intercept.value - slope.value / 2, abs=1e-6)
    moved = reliability.calibration_intercept(expit(logit(scores) + 1), truth, patient).value
    assert moved == pytest.approx(reliability.calibration_intercept(scores, truth, patient).value - 1, abs=1e-6)
    assert slope.low < 1 < slope.high


def test_clustered_errors_do_not_shrink_with_copies(films):
    scores, truth, _ = films
    once = reliability.recalibration(scores, truth, np.arange(600))[0]
    twice = reliability.recalibration(np.tile(scores, 2), np.tile(truth, 2), np.tile(np.arange(600), 2))[0]
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-9)


def test_separated_films_have_no_slope():
    scores, truth = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    slope, intercept = reliability.recalibration(scores, truth, np.arange(4))
    assert "perfect separation" in slope.withheld
    assert intercept.value is None


def test_all_scores_equal_have_no_slope_but_an_intercept():
    truth = np.arange(20) < 5
    slope, _ = reliability.recalibration(np.full(20, 0.5), truth, np.arange(20))
    assert "equal scores" in slope.withheld
    intercept = reliability.calibration_intercept(np.full(20, 0.5), truth, np.arange(20))
    assert intercept.value == pytest.approx(logit(0.25))


def test_impossible_outcome_withholds_the_log_loss_only_when_it_happened():
    scores = np.array([0.0, 1.0, 0.5])
    assert reliability.log_loss(scores, np.array([False, True, True]), np.arange(3)).value == pytest.approx(
        np.log(2) / 3
    )
    assert "infinite" in reliability.log_loss(scores, np.array([True, True, True]), np.arange(3)).withheld


def test_scaled_brier_of_the_prevalence_is_zero():
    truth = np.arange(100) < 30
    assert reliability.scaled_brier(np.full(100, 0.3), truth, np.arange(100)).value == pytest.approx(0, abs=1e-12)
    assert reliability.scaled_brier(np.full(5, 0.3), np.ones(5, dtype=bool), np.arange(5)).withheld


def test_corp_parts_add_up_to_brier(films):
    scores, truth, _ = films
    parts = corp.decompose(scores, truth)
    assert parts.brier == pytest.approx(parts.miscalibration - parts.discrimination + parts.uncertainty, abs=1e-15)
    again = corp.decompose(corp.recalibrate(scores, truth), truth)
    assert again.miscalibration == pytest.approx(0, abs=1e-15)


def test_consistency_band_holds_a_calibrated_curve_and_widens_with_clusters(films):
    scores, truth, _ = films
    alone = corp.consistency_band(scores, np.arange(600))
    curve = corp.curve(scores, truth)
    inside = np.interp(alone["score"], curve["score"], curve["observed"])
    assert ((inside >= alone["low"]) & (inside <= alone["high"])).mean() > 0.85
    together = corp.consistency_band(scores, np.arange(600) // 10)
    assert (together["high"] - together["low"]).mean() > 1.3 * (alone["high"] - alone["low"]).mean()


def test_integrated_index_of_calibrated_scores_is_within_the_noise(films):
    scores, truth, patient = films
    right = spline.integrated_index(scores, truth, patient)["ici"]
    wrong = spline.integrated_index(scores**3, truth, patient)["ici"]
    noise = [float(found.assumptions[0].split("up to ")[1].split(" ")[0]) for found in (right, wrong)]
    assert right.value < noise[0]
    assert wrong.value > 2 * noise[1]


def test_smooth_curve_is_withheld_without_spread():
    truth = np.arange(50) < 20
    assert "too few different scores" in spline.integrated_index(np.full(50, 0.4), truth, np.arange(50))["ici"].withheld
    assert spline.points(np.full(50, 0.4), truth)["score"].size == 0


def test_decision_curve_by_hand():
    scores, truth = np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False])
    curve = benefit.decision_curve(scores, truth, np.arange(4), thresholds=np.array([0.2, 0.5]))
    assert curve["net_benefit"] == pytest.approx([2 / 4 - 1 / 4 * 0.25, 1 / 4 - 1 / 4])
    assert curve["treat_all"] == pytest.approx([0.5 - 0.5 * 0.25, 0.5 - 0.5])
    assert curve["interventions_avoided"] == pytest.approx([25.0, 0.0])


@pytest.mark.parametrize("equal_mass", [False, True])
def test_binned_error_of_one_bin_is_the_gap_of_the_means(films, equal_mass):
    scores, truth, _ = films
    found = reliability.binned_error(scores, truth, 1, equal_mass=equal_mass)
    assert found == pytest.approx(abs(scores.mean() - truth.mean()))
