"""Losses against plain numpy, and what unknown findings do to them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the extra train")
from cxray.model.films import film_weights, positive_weights
from cxray.model.losses import (
    MaskedBinaryCrossentropy,
    SmoothedCategoricalCrossentropy,
    loss_for,
)

LOGITS = np.array([[2.0, -1.0, 0.5], [-30.0, 40.0, 0.0]], dtype=np.float32)


def binary(logit: float, target: float) -> float:
    return float(np.logaddexp(0, -logit) * target + np.logaddexp(0, logit) * (1 - target))


def test_masked_loss_is_the_mean_over_known_findings() -> None:
    targets = np.array([[1, 0, np.nan], [np.nan, 1, np.nan]], dtype=np.float32)
    per_film = MaskedBinaryCrossentropy(np.ones(3, np.float32)).call(targets, LOGITS)
    expected = [(binary(2, 1) + binary(-1, 0)) / 2, binary(40, 1)]
    np.testing.assert_allclose(per_film, expected, rtol=1e-6)


def test_a_film_without_any_known_finding_costs_nothing_and_has_a_finite_gradient() -> None:
    import tensorflow as tf

    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        targets = np.full((2, 3), np.nan, np.float32)
        loss = MaskedBinaryCrossentropy(np.ones(3, np.float32))(targets, logits)
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros((2, 3)))


def test_positive_weights_balance_each_finding() -> None:
    targets = np.array([[1, 0, np.nan], [0, 0, np.nan], [0, 1, 1], [0, np.nan, 1]], dtype=np.float32)
    np.testing.assert_allclose(positive_weights(targets), [3, 2, 1])
    weighted = MaskedBinaryCrossentropy(np.array([3, 2, 1], np.float32)).call(targets[:1], LOGITS[:1])
    np.testing.assert_allclose(weighted, [(3 * binary(2, 1) + binary(-1, 0)) / 2], rtol=1e-6)


def test_film_weights_make_every_class_weigh_the_same() -> None:
    targets = np.array([0, 0, 0, 1])
    weights = film_weights(targets, 2, balanced=True)
    assert weights[targets == 0].sum() == pytest.approx(weights[targets == 1].sum())
    assert weights.sum() == pytest.approx(4)
    assert film_weights(targets, 2, balanced=False).tolist() == [1, 1, 1, 1]


def test_the_article_gets_sparse_categorical_crossentropy() -> None:
    loss = loss_for(np.array([0, 1]), 2, smoothing=0.0, balanced=False)
    assert type(loss).__name__ == "SparseCategoricalCrossentropy"
    assert float(loss(np.array([1]), np.array([[0.0, 0.0]]))) == pytest.approx(np.log(2))


def test_smoothing_mixes_in_the_uniform_distribution() -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    log_softmax = logits[0] - np.logaddexp(2, 0)
    expected = -(0.95 * log_softmax[0] + 0.05 * log_softmax[1])
    assert float(SmoothedCategoricalCrossentropy(2, 0.1)(np.array([0]), logits)) == pytest.approx(expected, rel=1e-6)
