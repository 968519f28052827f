"""The head's solver against scikit-learn, with unknown findings, weights and constant features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cxray.model.films import film_weights
from cxray.model.probe_head import Head, Problem, solve

GENERATOR = np.random.default_rng(5)
FEATURES = (GENERATOR.normal(size=(300, 12)) * GENERATOR.uniform(0.5, 20, 12) + 3).astype(np.float32)
TRUTH = (FEATURES[:, 0] / 20 + GENERATOR.normal(size=300) > 0).astype(np.int64)


def standardised(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(axis=0)) / features.std(axis=0)


@pytest.mark.parametrize("penalty", [1.0, 0.03])
def test_two_classes_agree_with_scikit_learn(penalty: float) -> None:
    weights = film_weights(TRUTH, 2, balanced=True)
    problem = Problem.of(FEATURES, TRUTH, weights, 2, balanced=True)
    head = solve(problem, penalty, problem.start())
    # Two softmax weight vectors ±w/2 carry half of |w|², so a binary model has half the penalty.
    reference = LogisticRegression(C=2 / (penalty * len(TRUTH)), class_weight="balanced", tol=1e-8, max_iter=1000)
    reference.fit(standardised(FEATURES), TRUTH)
    expected = reference.decision_function(standardised(FEATURES))
    got = head.logits(FEATURES)
    np.testing.assert_allclose(got[:, 1] - got[:, 0], expected, atol=0.02 * np.abs(expected).max())


def test_unknown_findings_do_not_count_and_known_ones_are_learned_alone() -> None:
    targets = np.stack([TRUTH, 1 - TRUTH], axis=1).astype(np.float32)
    unknown = targets.copy()
    unknown[::2, 1] = np.nan
    flipped = unknown.copy()
    ones = np.ones(len(TRUTH), np.float32)
    problem = Problem.of(FEATURES, unknown, ones, 2, balanced=False)
    assert problem.cell_weights.sum() == pytest.approx(1)
    assert (problem.cell_weights[::2, 1] == 0).all()
    head = solve(problem, 0.01, problem.start())
    logits = head.logits(FEATURES)
    assert ((logits[:, 0] > 0) == TRUTH).mean() > 0.7
    assert ((logits[:, 1] > 0) == (1 - TRUTH)).mean() > 0.7
    assert problem.loss(head) < problem.loss(problem.start()) == pytest.approx(np.log(2))
    assert np.isnan(flipped[0, 1])


def test_a_constant_feature_and_one_class_alone_give_finite_logits() -> None:
    constant = FEATURES.copy()
    constant[:, 3] = 7
    problem = Problem.of(constant, np.zeros(len(TRUTH), np.int64), np.ones(len(TRUTH), np.float32), 2, balanced=True)
    logits = solve(problem, 0.01, problem.start()).logits(constant)
    assert np.isfinite(logits).all() and (logits[:, 0] > logits[:, 1]).all()


def test_a_temperature_divides_logits() -> None:
    head = Head(np.ones((2, 3)), np.arange(3.0))
    films = np.ones((1, 2), np.float32)
    np.testing.assert_allclose(head.divided(4.0).logits(films), head.logits(films) / 4)
