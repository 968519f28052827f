"""Published and recomputed values of the dcurves example: discrimination, calibration, CORP, ECE and net benefit."""

from pathlib import Path

import numpy as np
import pytest

from cxray.evaluate import benefit, corp, ranking, reliability


@pytest.fixture(scope="module")
def films():
    table = np.genfromtxt(Path(__file__).with_name("df_binary.csv"), delimiter=",", names=True)
    return table["cancerpredmarker"], table["cancer"] == 1, np.arange(len(table))


def test_discrimination_and_overall_scores(films):
    scores, truth, _ = films
    assert (len(truth), truth.sum()) == (750, 105)
    assert ranking.auroc(scores, truth) == pytest.approx(0.8606275378368402, abs=1e-9)
    assert reliability.brier(*films).value == pytest.approx(0.0849290978, abs=1e-9)
    assert reliability.scaled_brier(*films).value == pytest.approx(0.2946088, abs=5e-8)


def test_calibration_of_an_in_sample_model_is_perfect(films):
    slope, intercept = reliability.recalibration(*films)
    assert (slope.value, intercept.value) == pytest.approx((1.0, 0.0), abs=1e-6)
    assert reliability.calibration_intercept(*films).value == pytest.approx(0.0, abs=1e-6)
    assert reliability.observed_expected_ratio(*films).value == pytest.approx(1.0, abs=1e-6)
    assert reliability.spiegelhalter(*films[:2]) == pytest.approx((-0.12976, 0.89675), abs=5e-6)


def test_corp_decomposition(films):
    parts = corp.decompose(*films[:2])
    assert parts.miscalibration == pytest.approx(0.004946826, abs=5e-10)
    assert parts.discrimination == pytest.approx(0.040417728, abs=5e-10)
    assert parts.uncertainty == pytest.approx(0.1204, abs=1e-12)


@pytest.mark.parametrize(
    ("equal_mass", "expected"),
    [(False, (0.00842, 0.02186, 0.03334, 0.03478)), (True, (0.02302, 0.02987, 0.03276, 0.03773))],
)
def test_binned_error_depends_on_the_bins(films, equal_mass, expected):
    found = [reliability.binned_error(*films[:2], bins, equal_mass=equal_mass) for bins in (5, 10, 15, 20)]
    assert found == pytest.approx(expected, abs=5.1e-6)


def test_net_benefit_and_interventions_avoided(films):
    thresholds = np.array([0.05, 0.10, 0.15, 0.20, 0.25, 0.35])
    curve = benefit.decision_curve(*films, thresholds=thresholds)
    expected = [0.1055439, 0.0874074, 0.0792157, 0.0673333, 0.0640000, 0.0501538]
    assert curve["net_benefit"] == pytest.approx(expected, abs=5.1e-8)
    assert curve["treat_all"][4] == pytest.approx(-0.1466667, abs=5.1e-8)
    assert curve["interventions_avoided"][3] == pytest.approx(56.93, abs=5.1e-3)
    single = benefit.net_benefit(films[0] >= 0.25, films[1], films[2], 0.25)
    assert single.value == pytest.approx(0.064, abs=1e-9)


def test_treat_all_at_threshold_zero_is_the_prevalence(films):
    curve = benefit.decision_curve(*films, thresholds=np.array([1e-12]))
    assert curve["treat_all"][0] == pytest.approx(0.140, abs=1e-9)


def test_case_control_study_restated_at_the_prevalence_of_patients():
    table = np.genfromtxt(Path(__file__).with_name("df_case_control.csv"), delimiter=",", names=True)
    truth, patient = table["casecontrol"] == 1, np.arange(len(table))
    options = {"threshold_probability": 0.25, "prevalence": 0.15}
    calls = table["cancerpredmarker"] >= 0.25
    found = benefit.net_benefit_at_prevalence(calls, truth, patient, **options)
    assert found.value == pytest.approx(0.01495671, abs=5.1e-9)
    everyone = np.ones(len(truth), dtype=bool)
    assert benefit.net_benefit_at_prevalence(everyone, truth, patient, **options).value == pytest.approx(-0.13333333)


def test_restating_at_the_tables_own_prevalence_changes_nothing(films):
    scores, truth, patient = films
    calls = scores >= 0.25
    restated = benefit.net_benefit_at_prevalence(
        calls, truth, patient, threshold_probability=0.25, prevalence=truth.mean()
    )
    assert restated.value == pytest.approx(benefit.net_benefit(calls, truth, patient, 0.25).value)
