"""Progressive resizing: a twin for smaller films that leaves its state with the network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cxray.config import InputCard, ModelSettings, Recipe, TrainSettings
from cxray.errors import ConfigError

pytest.importorskip("tensorflow", reason="needs the extra train")
import keras
import tensorflow as tf

from cxray.model.average import WeightAverage
from cxray.model.build import build_network
from cxray.model.history import read_history
from cxray.model.small_twin import SmallTwin, small_card
from cxray.workflow.predict import predict
from cxray.workflow.train import train
from tests.runtime_fixtures import SETTINGS

RECIPE = Recipe(
    input=InputCard(64, 64),
    model=ModelSettings(backbone="small_cnn", weights="none"),
    train=TrainSettings(small_epochs=1, small_fraction=0.5, ema_momentum=0.9),
)


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)
    return model


def test_the_network_goes_on_where_its_twin_stopped() -> None:
    keras.utils.set_random_seed(0)
    model = compiled(build_network(RECIPE.model, RECIPE.input, 2).model)
    average, twin = WeightAverage(model, 0.9), SmallTwin(RECIPE, 2)
    compiled(twin.model)
    before = [weight.copy() for weight in model.get_weights()]
    films = np.random.default_rng(0).random((8, 64, 64, 1), dtype=np.float32)
    batches = tf.data.Dataset.from_tensor_slices((films, np.arange(8) % 2, np.ones(8, np.float32))).batch(4)
    with twin.standing_in(model, average):
        assert all(np.array_equal(a, b) for a, b in zip(before, twin.model.get_weights(), strict=True))
        twin.model.fit(twin.reduced(batches), verbose=0, callbacks=[twin.average])
    assert int(model.optimizer.iterations) == 2
    assert int(average.state()[0]) == 2
    for own, lent in zip(model.get_weights(), twin.model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, lent)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.fit(batches, verbose=0, callbacks=[average])
    assert int(model.optimizer.iterations) == 4


def test_reduced_films_keep_their_mean_grey() -> None:
    twin = SmallTwin(RECIPE, 2)
    films = np.random.default_rng(1).random((3, 64, 64, 1), dtype=np.float32)
    ((small, targets),) = list(twin.reduced(tf.data.Dataset.from_tensors((films, np.zeros(3)))))
    assert small.shape == (3, 32, 32, 1) and targets.shape == (3,)
    np.testing.assert_allclose(small.numpy().mean(axis=(1, 2, 3)), films.mean(axis=(1, 2, 3)), atol=0.01)


@pytest.mark.parametrize(("fraction", "side"), [(0.7, 160), (0.5, 128), (0.29, 64), (0.05, 32)])
def test_small_sides_are_multiples_of_32(fraction: float, side: int) -> None:
    recipe = dataclasses.replace(
        RECIPE, input=InputCard(), train=TrainSettings(small_epochs=1, small_fraction=fraction)
    )
    card = small_card(recipe)
    assert (card.height, card.width) == (side, side)


def test_what_cannot_begin_small_is_refused(phantom_films: Path, tmp_path: Path) -> None:
    barely = dataclasses.replace(RECIPE, train=TrainSettings(small_epochs=1, small_fraction=0.9))
    with pytest.raises(ConfigError, match="makes films of 64 x 64 pixels out of 64 x 64: not smaller"):
        small_card(barely)
    with pytest.raises(ConfigError, match="article_cnn fits one size of film"):
        train(phantom_films, tmp_path / "run", recipe="article", overrides=["train.small_epochs=1"])
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="train.small_epochs"):
        TrainSettings(epochs=2, small_epochs=3)


def test_a_run_that_begins_small_ends_in_a_whole_bundle(phantom_films: Path, tmp_path: Path) -> None:
    small = ["train.small_epochs=2", "train.small_fraction=0.5"]
    train(phantom_films, tmp_path / "run", recipe="demo", overrides=[*SETTINGS, *small])
    assert [row.stage for row in read_history(tmp_path / "run" / "history.csv")] == ["all"] * 3
    scored = predict(tmp_path / "run", [phantom_films / "test"], tmp_path / "test.csv").table
    assert np.isfinite(scored.scores).all()
