"""Several networks joined into one: its logits are the mean of theirs, and a resumed run trains none of them twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from cxray.config import InputCard, ModelSettings, load_recipe
from cxray.errors import ConfigError
from cxray.model import ensemble, interpolate
from cxray.model import train as training_loop
from cxray.model.build import build_network
from cxray.model.ensemble import fit_members, joined, member_seed
from cxray.model.films import LabelledFilms
from cxray.model.fit import Workplace
from cxray.model.history import read_history
from cxray.model.multiworker import check_settings
from cxray.workflow.run_order import check_settings as check_run

CARD = InputCard(height=48, width=32)


class _Drawn:
    """Films whose left or right half is bright."""

    def take(self, indices: Any) -> Any:
        films = np.random.default_rng(5).integers(0, 90, size=(40, 48, 32)).astype(np.uint8)
        films[::2, :, :16] += 100
        films[1::2, :, 16:] += 100
        return films[indices]


def _films(indices: Any) -> LabelledFilms:
    targets = (np.arange(40) % 2)[indices].astype(np.int64)
    return LabelledFilms(_Drawn(), indices, targets, np.ones(len(indices), dtype=np.float32), CARD)


def _recipe(members: int = 3) -> Any:
    recipe = load_recipe(
        "demo",
        [f"train.members={members}", "train.epochs=2", "train.batch_size=8", "input.height=48", "input.width=32"],
    )
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, ema_momentum=0.0))


@pytest.mark.parametrize("mirrored", [False, True])
def test_joined_logits_are_the_mean(mirrored: bool) -> None:
    settings = ModelSettings(backbone="small_cnn", weights="none", mirror_average=mirrored)
    members = [build_network(settings, CARD, 2) for _ in range(3)]
    for number, member in enumerate(members):
        head = member.model.get_layer("logits")
        head.set_weights([head.get_weights()[0], np.array([number, -number], dtype=np.float32)])
    films = np.random.default_rng(0).random((4, 48, 32, 1)).astype(np.float32)
    together = joined(members)
    outputs = together.inference().predict(films, verbose=0)
    alone = [member.inference().predict(films, verbose=0) for member in members]
    assert together.head == members[0].head
    np.testing.assert_allclose(outputs["logits"], np.mean([one["logits"] for one in alone], axis=0), atol=1e-5)
    np.testing.assert_allclose(outputs["features"], np.concatenate([o["features"] for o in alone], axis=1), atol=1e-5)
    np.testing.assert_allclose(outputs["feature_map"].mean(axis=(1, 2)), outputs["features"], atol=1e-5)


def test_members_are_trained_once_and_kept_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = _films(np.arange(32)), _films(np.arange(32, 40))
    whole = fit_members(_recipe(), 2, training, validation, Workplace(tmp_path / "whole", "films"))
    assert not whole.interrupted and whole.members == 3
    assert len(read_history(tmp_path / "whole" / "history.csv")) == 2

    killed = Workplace(tmp_path / "killed", "films")
    real = ensemble.fit
    with monkeypatch.context() as patch:
        patch.setattr(
            ensemble, "fit", lambda *a: real(*a) if a[0].train.seed < 1 else (_ for _ in ()).throw(MemoryError)
        )
        with pytest.raises(MemoryError):
            fit_members(_recipe(), 2, training, validation, killed)
    trained: list[int] = []
    monkeypatch.setattr(ensemble, "fit", lambda *a: (trained.append(a[0].train.seed), real(*a))[1])
    again = fit_members(_recipe(), 2, training, validation, dataclasses.replace(killed, resume=True))
    assert trained == [1, 2]
    films = np.random.default_rng(1).random((4, 48, 32, 1)).astype(np.float32)
    np.testing.assert_array_equal(again.network.predict_logits(films), whole.network.predict_logits(films))
    assert [row.validation_loss for row in again.history] == [row.validation_loss for row in whole.history]


def test_every_member_ends_with_its_share_of_the_pretrained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (training_loop, interpolate):  # random weights stand in for ImageNet's
        monkeypatch.setattr(module, "check_interpolation", lambda *_: None)
    recipe = _recipe(members=2)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=1, pretrained_share=0.2))
    place = Workplace(tmp_path, "films")
    found = fit_members(recipe, 2, _films(np.arange(32)), _films(np.arange(32, 40)), place)
    assert [row.stage for row in found.history] == ["all", "interpolated"]
    assert found.best is not None and found.best.stage == "interpolated"
    for number in ("1", "2"):
        assert [row.stage for row in read_history(tmp_path / "members" / number / "history.csv")] == [
            "all",
            "interpolated",
        ]


def test_ctrl_c_keeps_the_members_that_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ensemble.fit
    stop = 1

    def interrupted(*arguments: Any) -> Any:
        return dataclasses.replace(real(*arguments), interrupted=arguments[0].train.seed == stop)

    monkeypatch.setattr(ensemble, "fit", interrupted)
    training, validation = _films(np.arange(32)), _films(np.arange(32, 40))
    result = fit_members(_recipe(), 2, training, validation, Workplace(tmp_path / "one", "films"))
    assert result.interrupted and result.members == 1
    assert result.network.network.model.get_layer("logits").get_weights()[0].shape == (128, 2)  # one network of 128
    stop = 0
    first = fit_members(_recipe(), 2, training, validation, Workplace(tmp_path / "none", "films"))
    assert first.interrupted


def test_runs_of_different_seeds_share_no_member() -> None:
    recipes = [load_recipe("best", seed=seed) for seed in (0, 1, 2)]
    seeds = [member_seed(recipe, place) for recipe in recipes for place in range(recipe.train.members)]
    assert len(set(seeds)) == len(seeds) == 3 * recipes[0].train.members


def test_members_are_refused_where_they_would_be_ignored() -> None:
    with pytest.raises(ConfigError, match="train.members=1"):
        check_settings(load_recipe("best"), 2)
    with pytest.raises(ConfigError, match=r"train\.members must be 1"):
        load_recipe("fast", ["train.members=2"])
    with pytest.raises(ConfigError, match="article_cnn cannot"):
        check_run(load_recipe("article", ["train.members=2"]))
