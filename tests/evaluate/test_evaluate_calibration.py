"""Calibration maps: against scikit-learn and scipy, and the algebra of scaled logits."""

import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import softmax as scipy_softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from cxray.errors import DataError
from cxray.evaluate import calibration
from cxray.evaluate.calibration import Calibration


@pytest.fixture
def films():
    rng = np.random.default_rng(6)
    logits = 2 * rng.normal(size=500)
    return logits, rng.random(500) < expit(0.7 * logits - 0.3)


def test_sigmoid_and_softmax_equal_scipy_and_do_not_overflow():
    values = np.array([[-1000.0, 0.0, 1000.0], [1.0, 2.0, 3.0]])
    assert calibration.sigmoid(values) == pytest.approx(expit(values))
    assert calibration.softmax(values) == pytest.approx(scipy_softmax(values, axis=1))


def test_logit_undoes_sigmoid_and_survives_zero_and_one():
    values = np.linspace(-15, 15, 31)
    assert calibration.logit(calibration.sigmoid(values)) == pytest.approx(values, abs=1e-6)
    assert np.isfinite(calibration.logit([0.0, 1.0])).all()


def test_platt_equals_unpenalised_logistic_regression(films):
    logits, truth = films
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], truth)
    assert calibration.fit_platt(logits, truth) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-5)


def test_platt_of_separated_films_stays_finite():
    slope, intercept = calibration.fit_platt(np.arange(6.0) - 2.5, np.arange(6) > 2)
    assert 0.1 < slope < 10
    assert abs(intercept) < 1e-6


def test_isotonic_equals_scikit_learn(films):
    logits, truth = films
    knots, chances = calibration.fit_isotonic(logits, truth)
    expected = IsotonicRegression().fit(logits, truth).predict(logits)
    assert np.interp(logits, knots, chances) == pytest.approx(expected, abs=1e-12)


def test_temperature_is_where_the_loss_is_least():
    rng = np.random.default_rng(1)
    logits = 3 * rng.normal(size=(300, 3))
    targets = np.array([rng.choice(3, p=chances) for chances in calibration.softmax(logits / 1.7)])

    def loss(temperature):
        return -np.log(calibration.softmax(logits / temperature)[np.arange(300), targets]).mean()

    found = calibration.fit_temperature(logits, targets)
    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


def test_two_classes_softmax_and_one_sigmoid_agree(films):
    logits, truth = films
    both = np.column_stack([np.zeros_like(logits), logits])
    expected = calibration.fit_temperature_sigmoid(logits, truth)
    assert calibration.fit_temperature(both, truth.astype(int)) == pytest.approx(expected, abs=1e-9)


def test_unknown_truth_is_left_out(films):
    logits, truth = films
    masked = truth.astype(float)
    masked[::3] = np.nan
    kept = np.arange(500) % 3 != 0
    assert calibration.fit_temperature_sigmoid(logits, masked) == calibration.fit_temperature_sigmoid(
        logits[kept], truth[kept]
    )


def test_separated_and_random_logits_end_at_the_stated_range():
    targets = np.arange(40) % 2
    sure = np.column_stack([-10.0 * targets, 10.0 * targets])
    assert calibration.fit_temperature(sure, targets) == calibration.TEMPERATURE_RANGE[0]
    assert calibration.fit_temperature(sure, 1 - targets) == calibration.TEMPERATURE_RANGE[1]


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros(3), np.zeros(3, int), "Expected logits"),
        (np.zeros((0, 2)), np.zeros(0, int), "Expected logits"),
        (np.array([[0.0, np.nan]]), np.zeros(1, int), "finite"),
        (np.zeros((2, 2)), np.array([0, 2]), "0 to 1"),
    ],
)
def test_temperature_refuses_what_it_cannot_use(logits, targets, message):
    with pytest.raises(DataError, match=message):
        calibration.fit_temperature(logits, targets)


@pytest.mark.parametrize(
    ("kind", "parameters", "exclusive"),
    [
        ("identity", (), True),
        ("temperature", (2.0,), True),
        ("temperature", (2.0,), False),
        ("platt", (0.5, 0.1), False),
        ("isotonic", (-1.0, 1.0, 0.2, 0.9), False),
    ],
)
def test_map_survives_json_and_gives_probabilities(kind, parameters, exclusive):
    given = Calibration(kind, parameters, "abc")
    assert Calibration.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    chances = given.apply(np.array([[-2.0, 0.0], [1.0, 3.0]]), exclusive=exclusive)
    assert ((chances >= 0) & (chances <= 1)).all()
    if exclusive:
        assert chances.sum(axis=1) == pytest.approx(1)


def test_map_refuses_wrong_use():
    with pytest.raises(DataError, match="cannot have 2 parameters"):
        Calibration("temperature", (1.0, 2.0))
    with pytest.raises(DataError, match="one finding"):
        Calibration("platt", (1.0, 0.0)).apply(np.zeros((1, 2)), exclusive=True)
