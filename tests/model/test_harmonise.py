"""The look taken out of the features: what it explains goes, what the class explains stays, in numbers and graphs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cxray.bundle import GRAPH, KERAS
from cxray.config import AugmentSettings, InputCard, ModelSettings, Recipe, TrainSettings, load_recipe
from cxray.errors import ConfigError
from cxray.model.films import LabelledFilms

pytest.importorskip("tensorflow", reason="needs the extra train")
import keras

from cxray.model import interpolate as module
from cxray.model.backbones import load_backbone
from cxray.model.build import Network, build_network
from cxray.model.ensemble import joined
from cxray.model.export import TrainedKeras
from cxray.model.harmonise import CORRECTION, LOOK, correction, early_maps
from cxray.model.parity import check_graph
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


def test_a_finding_that_is_unknown_at_one_machine_is_not_charged_to_its_look() -> None:
    random = np.random.default_rng(1)
    ill, machine = random.integers(0, 2, 600), random.integers(0, 2, 600)
    truth = np.where(machine == 1, np.nan, ill.astype(float))[:, None]
    looks = (machine[:, None] + 0.05 * random.standard_normal((600, 1))).astype(np.float32)
    features = (3.0 * ill[:, None] + 0.05 * random.standard_normal((600, 1))).astype(np.float32)
    kernel, bias = correction(looks, features, truth, 1, natural=looks)
    left = features + looks @ kernel + bias
    assert abs(left[(machine == 1) & (ill == 1)].mean() - left[(machine == 0) & (ill == 1)].mean()) < 0.3
    unknown = np.full((600, 1), np.nan)
    assert np.isfinite(correction(looks, features, unknown, 5, natural=looks)[0]).all()


def test_the_main_directions_are_those_of_natural_films() -> None:
    random = np.random.default_rng(2)
    natural = np.column_stack([random.standard_normal(300), 0.01 * random.standard_normal(300)]).astype(np.float32)
    changed = natural[:, ::-1] + 5.0
    looks = np.concatenate([natural, changed]).astype(np.float32)
    features = looks[:, :1] * 2
    kernel, bias = correction(looks, features, np.zeros((600, 1)), 2, natural=natural)
    np.testing.assert_allclose(natural.mean(axis=0) @ kernel + bias, 0, atol=1e-4)  # the average film stays as it is


@pytest.mark.parametrize(("name", "side"), [("mobilenet_0.75", 100), ("densenet_121", 225), ("xception", 130)])
def test_there_are_three_early_maps_without_margins_of_zeros(name: str, side: int) -> None:
    backbone, _ = load_backbone(name, side, side, weights="none")
    found = early_maps(backbone)
    assert [one.shape[1] for one in found] == pytest.approx([side / 2, side / 4, side / 8], rel=0.1)
    padded = {id(layer.output) for layer in backbone.layers if isinstance(layer, keras.layers.ZeroPadding2D)}
    assert not padded & {id(one) for one in found}


def test_a_network_without_early_maps_is_refused() -> None:
    entry = keras.Input((64, 64, 3))
    flat = keras.Model(entry, keras.layers.Conv2D(4, 3, strides=32)(entry), name="flat")
    with pytest.raises(ConfigError, match="flat has no feature map"):
        early_maps(flat)


def _network(seed: int) -> Network:
    """Kernels large enough for a signal to survive untrained normalisation."""
    keras.utils.set_random_seed(seed)
    network = build_network(RECIPE.model, CARD, 2)
    for weight in network.model.weights:
        if len(weight.shape) == 4:
            weight.assign(3.0 * weight)
    return dataclasses.replace(network, weights="imagenet")


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
    held_out = Drawn().take(np.arange(48, 64))[..., np.newaxis].astype(np.float32) / 255
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
        np.arange(48, 64) % 2, TrainedKeras(network).predict_logits(held_out)
    )
    assert row.validation_loss == pytest.approx(float(loss), abs=1e-3)
    assert row.train_accuracy > 0.9  # the head was solved for on what the graph gives
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


def test_joined_saved_and_loaded_it_stays_the_same(tmp_path: Path) -> None:
    network = _network(7)
    random = np.random.default_rng(0)
    for weight in network.model.get_layer(CORRECTION).weights:
        weight.assign(0.1 * random.standard_normal(weight.shape))
    together = joined([dataclasses.replace(network, stretch_average=0.16), _network(8)])
    films = random.random((3, 64, 64, 1)).astype(np.float32)
    trained = TrainedKeras(together)
    trained.save(tmp_path)
    again = keras.saving.load_model(tmp_path / KERAS, compile=False, safe_mode=True)
    np.testing.assert_allclose(again.predict(films, verbose=0)["logits"], trained.predict_logits(films), atol=1e-6)
    parity = check_graph(trained.predict_logits, tmp_path / GRAPH, (255 * films[..., 0]).astype(np.uint8), "classes")
    assert parity.largest_difference < 1e-5


def test_it_belongs_to_a_head_that_is_solved_for() -> None:
    with pytest.raises(ConfigError, match="the head is solved for at the end") as caught:
        check_settings(load_recipe("default", ["model.look_directions=5"]))
    assert caught.value.next_step is not None
    assert "train.pretrained_share" in caught.value.next_step
    check_settings(load_recipe("transport", ["model.look_directions=5"]))
    with pytest.raises(ConfigError, match="starts from random ones") as caught:
        check_settings(load_recipe("default", ["model.look_directions=5", "model.weights=none"]))
    assert "model.look_directions=0" in str(caught.value.next_step)
    for recipe, setting in (("fast", "model.look_directions=5"), ("article", "model.stretch_average=0.1")):
        with pytest.raises(ConfigError, match="sees each film once|Several views"):
            check_settings(load_recipe(recipe, [setting]))
    with pytest.raises(ConfigError, match=r"model\.look_directions must be 0 \(none\) to 100"):
        ModelSettings(look_directions=-1)
