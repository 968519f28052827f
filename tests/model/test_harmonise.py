"""The look taken out of the features: what it explains goes, what the class explains stays, in numbers and graphs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cxray.config import AugmentSettings, InputCard, ModelSettings, Recipe, TrainSettings, load_recipe
from cxray.errors import ConfigError
from cxray.model.films import LabelledFilms

pytest.importorskip("tensorflow", reason="needs the extra train")
import keras

from cxray.model import interpolate as module
from cxray.model.build import Network, build_network
from cxray.model.harmonise import CORRECTION, LOOK, correction
from cxray.workflow.run_order import check_settings

CARD = InputCard(64, 64)
RECIPE = Recipe(
    input=CARD,
    model=ModelSettings(backbone="mobilenet_0.25", weights="none", look_directions=2),
    train=TrainSettings(epochs=1, pretrained_share=0.25, batch_size=16),
    augment=AugmentSettings(brightness=0.1),
)


def test_what_the_look_explains_goes_and_what_the_class_explains_stays() -> None:
    random = np.random.default_rng(0)
    ill = np.arange(400) % 2
    # The ill met another machine more often, so look and class go together.
    machine = (random.random(400) < 0.2 + 0.6 * ill).astype(float)
    looks = np.column_stack([machine, -2 * machine, np.full(400, 7.0)]) + 0.05 * random.standard_normal((400, 3))
    looks[:, 2] = 7.0  # a channel without any variation
    features = np.column_stack([3 * ill, ill - 5 * machine, 4 * machine]) + 0.05 * random.standard_normal((400, 3))
    kernel, bias = correction(
        looks.astype(np.float32), features.astype(np.float32), np.eye(2)[ill], 1, natural=looks.astype(np.float32)
    )
    left = features + looks @ kernel + bias
    for label in (0, 1):
        of_class = ill == label
        for column in left[of_class].T:
            assert abs(np.corrcoef(column, machine[of_class])[0, 1]) < 0.2
    np.testing.assert_allclose(left[ill == 1].mean(axis=0) - left[ill == 0].mean(axis=0), [3, 1, 0], atol=0.1)
    np.testing.assert_allclose(left.mean(axis=0), features.mean(axis=0), atol=1e-4)
    assert not kernel[2].any()


def _network(seed: int) -> Network:
    keras.utils.set_random_seed(seed)
    return dataclasses.replace(build_network(RECIPE.model, CARD, 2), weights="imagenet")


class Drawn:
    """Films of two classes, of a bright and a dark machine each."""

    def take(self, indices: np.ndarray) -> np.ndarray:
        """uint8 (n, 64, 64)."""
        films = np.random.default_rng(3).integers(0, 100, (64, 64, 64), dtype=np.uint8)
        films[1::2, :, :32] += 60
        films[::3] += 90
        chosen: np.ndarray = films[indices]
        return chosen


def _films(first: int, behind: int) -> LabelledFilms:
    places = np.arange(first, behind)
    return LabelledFilms(Drawn(), places, places % 2, np.ones(len(places), np.float32), CARD)


def test_until_the_head_is_solved_for_nothing_is_taken_out() -> None:
    network = _network(5)
    plain = build_network(dataclasses.replace(RECIPE.model, look_directions=0), CARD, 2)
    plain.model.set_weights([weight.numpy() for weight in network.model.weights if CORRECTION not in weight.path])
    films = np.random.default_rng(0).random((3, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(network.model(films), plain.model(films), atol=1e-5)
    assert network.model.get_layer(CORRECTION).trainable is False


def test_the_graph_takes_out_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network, before = _network(6), _network(5)
    monkeypatch.setattr(module, "build_network", lambda *_: before)
    row = module.interpolate(RECIPE, network, _films(0, 48), _films(48, 64), 3)
    assert row.stage == "interpolated"
    films = Drawn().take(np.arange(48))[..., np.newaxis].astype(np.float32) / 255
    outputs = network.inference().predict(films, verbose=0)
    np.testing.assert_allclose(outputs["feature_map"].mean(axis=(1, 2)), outputs["features"], atol=1e-5)
    look = keras.Model(network.model.input, network.model.get_layer(LOOK).output).predict(films, verbose=0)
    kernel, bias = network.model.get_layer(CORRECTION).get_weights()
    assert np.abs(kernel).max() > 0
    taken = outputs["features"] - (look @ kernel + bias)
    bright = np.arange(48) % 3 == 0
    for label in (0, 1):
        of_class = np.arange(48) % 2 == label
        apart = [
            np.abs(values[of_class & bright].mean(axis=0) - values[of_class & ~bright].mean(axis=0)).sum()
            for values in (taken, outputs["features"])
        ]
        assert apart[1] < 0.5 * apart[0]  # bright and dark films of a class lie nearer together than before


def test_it_belongs_to_a_head_that_is_solved_for() -> None:
    with pytest.raises(ConfigError, match="the head is solved for at the end") as caught:
        check_settings(load_recipe("default", ["model.look_directions=5"]))
    assert caught.value.next_step is not None
    assert "train.pretrained_share" in caught.value.next_step
    check_settings(load_recipe("transport", ["model.look_directions=5"]))
    with pytest.raises(ConfigError, match=r"model\.look_directions must be 0 \(none\) to 100"):
        ModelSettings(look_directions=-1)
