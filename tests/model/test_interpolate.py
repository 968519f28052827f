"""Part of the way back to the pre-trained weights: what is averaged, what is solved for anew, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from cxray.config import AugmentSettings, InputCard, ModelSettings, Recipe, TrainSettings, load_recipe
from cxray.errors import ConfigError
from cxray.model.films import LabelledFilms
from cxray.model.fit import Workplace
from cxray.model.history import Epoch, read_history

pytest.importorskip("tensorflow", reason="needs the extra train")
import keras

from cxray.model import interpolate as module
from cxray.model import team
from cxray.model import train as training_loop
from cxray.model.build import Network, build_network
from cxray.model.checkpoint import Checkpoint
from cxray.model.export import TrainedKeras
from cxray.workflow.run_order import check_settings

CARD = InputCard(32, 32)
RECIPE = Recipe(
    input=CARD,
    model=ModelSettings(backbone="small_cnn", weights="none"),
    train=TrainSettings(epochs=1, pretrained_share=0.25, batch_size=16),
    augment=AugmentSettings(brightness=0.1),
)


class Drawn:
    """Films of two classes: the second has a bright left half."""

    def take(self, indices: np.ndarray) -> np.ndarray:
        """uint8 (n, 32, 32)."""
        films = np.random.default_rng(3).integers(0, 120, (64, 32, 32), dtype=np.uint8)
        films[1::2, :, :16] += 90
        chosen: np.ndarray = films[indices]
        return chosen


def films(first: int, behind: int) -> LabelledFilms:
    places = np.arange(first, behind)
    return LabelledFilms(Drawn(), places, places % 2, np.ones(len(places), np.float32), CARD)


def _random(seed: int) -> Network:
    """Kernels large enough for a signal to survive untrained normalisation."""
    keras.utils.set_random_seed(seed)
    network = build_network(RECIPE.model, CARD, 2)
    network.model.set_weights([4 * weight if weight.ndim == 4 else weight for weight in network.model.get_weights()])
    return network


@pytest.fixture
def pretrained(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network whose random weights stand in for pre-trained ones."""
    network = dataclasses.replace(_random(5), weights="imagenet")
    monkeypatch.setattr(module, "build_network", lambda *_: network)
    return network


def test_weights_are_averaged_and_the_head_is_solved_for_anew(pretrained: Network) -> None:
    network = _random(6)
    tuned = network.model.get_weights()
    row = module.interpolate(RECIPE, network, films(0, 48), films(48, 64), 7)
    for old, new, now in zip(pretrained.model.get_weights(), tuned, network.model.get_weights()[:-2], strict=False):
        np.testing.assert_allclose(now, 0.25 * old + 0.75 * new, atol=1e-6)
    assert not np.allclose(
        network.model.get_weights()[-2], 0.25 * pretrained.model.get_weights()[-2] + 0.75 * tuned[-2]
    )
    assert (row.epoch, row.stage) == (8, "interpolated")
    assert row.validation_auroc == 1.0  # a bright half shows in any features
    held_out = Drawn().take(np.arange(48, 64))[..., None]
    logits = TrainedKeras(network).predict_logits(np.asarray(held_out / 255, dtype=np.float32))
    assert np.mean(logits.argmax(axis=1) == np.arange(48, 64) % 2) == pytest.approx(row.validation_accuracy)


def test_a_run_ends_with_it_and_resumes_to_the_same_network(
    pretrained: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training_loop, "check_interpolation", lambda *_: None)
    place = Workplace(tmp_path, "of a test")
    first = training_loop.fit(RECIPE, 2, films(0, 48), films(48, 64), place)
    assert [row.stage for row in read_history(tmp_path / "history.csv")] == ["all", "interpolated"]
    assert first.best == first.history[-1]
    again = training_loop.fit(RECIPE, 2, films(0, 48), films(48, 64), dataclasses.replace(place, resume=True))
    for one, other in zip(
        *(cast(TrainedKeras, fit.network).network.model.get_weights() for fit in (first, again)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_there_must_be_something_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'small_cnn' started from random ones") as caught:
        training_loop.fit(RECIPE, 2, films(0, 48), films(48, 64), Workplace(tmp_path, "of a test"))
    assert caught.value.next_step is not None
    assert "train.pretrained_share=0" in caught.value.next_step
    for wrong in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=r"train\.pretrained_share must be 0 up to but not including 1"):
            TrainSettings(pretrained_share=wrong)
    with pytest.raises(ConfigError, match="for a linear probe"):
        load_recipe("fast", ["train.pretrained_share=0.2"])
    for none_there in (RECIPE, load_recipe("transport", ["model.weights=none"])):
        with pytest.raises(ConfigError, match="starts from random ones"):
            check_settings(none_there)


def test_what_several_workers_trained_goes_back_on_one_machine(pretrained: Network, tmp_path: Path) -> None:
    place = Workplace(tmp_path, "of a test")
    tuned = _random(6).model.get_weights()
    epoch = Epoch(1, "all", 0.5, 0.8, 0.5, 0.8, 0.9, 1e-3, 1.0, 10.0)
    Checkpoint(place.fingerprint, (epoch,), tuned, (), (), tuned).save(place.checkpoint)
    halves = films(0, 48), films(48, 64)
    whole = team.collect(RECIPE, 2, *halves, place, 2)
    assert [row.stage for row in whole.history] == ["all", "interpolated"]
    assert [row.stage for row in read_history(tmp_path / "history.csv")] == ["all", "interpolated"]
    assert whole.best == whole.history[-1]
    now = cast(TrainedKeras, whole.network).network.model.get_weights()
    np.testing.assert_allclose(now[0], 0.25 * pretrained.model.get_weights()[0] + 0.75 * tuned[0], atol=1e-6)
    broken_off = team.collect(RECIPE, 2, *halves, place, 2, interrupted=True)
    assert broken_off.interrupted
    for kept, before in zip(cast(TrainedKeras, broken_off.network).network.model.get_weights(), tuned, strict=True):
        np.testing.assert_array_equal(kept, before)
