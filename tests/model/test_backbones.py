"""The table of networks, and what happens when weights are not to be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.config import InputCard, ModelSettings
from cxray.errors import ConfigError
from cxray.model.backbones import BACKBONES, PLAIN_NETWORKS, check_backbone, load_backbone

pytest.importorskip("tensorflow", reason="needs the extra train")
import keras

from cxray.model.build import build_network
from cxray.model.views import stretched


def test_the_table_names_real_applications() -> None:
    for name, backbone in BACKBONES.items():
        assert hasattr(keras.applications, backbone.application), name
        assert backbone.scaling in ("unit", "torch", "caffe", "raw")


@pytest.mark.parametrize("name", ["mobilenet_0.25", "mobilenet_v3_small", "densenet_121", "resnet_50", *PLAIN_NETWORKS])
def test_every_scaling_builds_a_network_with_three_outputs(name: str) -> None:
    network = build_network(ModelSettings(backbone=name, weights="none"), InputCard(64, 64), 3)
    outputs = network.inference()(np.zeros((2, 64, 64, 1), np.float32))
    assert outputs["logits"].shape == (2, 3)
    assert outputs["features"].shape[0] == 2
    assert len(outputs["feature_map"].shape) == 4


@pytest.mark.parametrize("name", ["mobilenet_0.25", "resnet_50", "densenet_121", "mobilenet_v3_small"])
def test_what_the_backbone_sees_is_what_keras_own_preprocessing_gives(name: str) -> None:
    network = build_network(ModelSettings(backbone=name, weights="none"), InputCard(32, 32), 2)
    scaled = keras.Model(network.model.input, network.model.get_layer("scale").output)
    films = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(1, 32, 32, 1)
    modes = {"unit": "tf", "torch": "torch", "caffe": "caffe"}
    expected = np.repeat(films * 255, 3, axis=-1)
    if BACKBONES[name].scaling in modes:
        from keras.src.applications.imagenet_utils import preprocess_input

        expected = preprocess_input(expected.copy(), mode=modes[BACKBONES[name].scaling])
    np.testing.assert_allclose(scaled(films), expected, atol=1e-3)


def test_weights_that_cannot_be_had_cost_one_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = keras.applications.MobileNet

    def offline(weights: str | None = None, **options: object) -> object:
        if weights == "imagenet":
            raise OSError("URL fetch failure on https://example.invalid: no route")
        return original(weights=weights, **options)

    monkeypatch.setattr(keras.applications, "MobileNet", offline)
    _, got = load_backbone("mobilenet_0.25", 64, 64, weights="imagenet")
    assert got == "none"
    warning = capsys.readouterr().err
    assert warning.startswith("Warning: ImageNet weights of mobilenet_0.25 are not in the Keras cache")
    assert "--set model.backbone=small_cnn" in warning


def test_random_layers_are_never_frozen_and_pretrained_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ModelSettings(backbone="mobilenet_0.25", weights="none", frozen_fraction=0.5)
    free = build_network(settings, InputCard(64, 64), 2).model
    assert not free.non_trainable_weights or all("moving" in w.path for w in free.non_trainable_weights)


def test_imagenet_weights_load_at_any_size() -> None:
    if not (Path.home() / ".keras" / "models" / "mobilenet_7_5_224_tf_no_top.h5").is_file():
        pytest.skip("the ImageNet weights of MobileNet 0.75 are not in ~/.keras/models")
    first, got = load_backbone("mobilenet_0.75", 96, 96, weights="imagenet")
    second, _ = load_backbone("mobilenet_0.75", 224, 224, weights="imagenet")
    assert got == "imagenet"
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        ("mobilenet", 64, "no backbone 'mobilenet'. Did you mean"),
        ("xception", 70, "needs films of at least 71 pixels a side, the recipe says 70"),
    ],
)
def test_backbones_that_cannot_be_meant(name: str, side: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_backbone(name, side)
    check_backbone("xception", 71)


def test_averaging_mirror_images_is_the_mean_of_both_views_and_keeps_class_activation_exact() -> None:
    settings = ModelSettings(backbone="small_cnn", weights="none", mirror_average=True)
    network = build_network(settings, InputCard(32, 32), 2)
    films = np.random.default_rng(0).random((5, 32, 32, 1)).astype(np.float32)
    outputs = network.inference().predict(films, verbose=0)
    both = [network.model.predict(view, verbose=0) for view in (films, films[:, :, ::-1])]
    np.testing.assert_allclose(outputs["logits"], (both[0] + both[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(outputs["feature_map"].mean(axis=(1, 2)), outputs["features"], atol=1e-5)
    mirrored = network.inference().predict(films[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(mirrored["logits"], outputs["logits"], atol=1e-5)


def test_averaging_stretched_views_is_the_mean_of_three() -> None:
    settings = ModelSettings(backbone="small_cnn", weights="none", stretch_average=0.44, mirror_average=True)
    network = build_network(settings, InputCard(48, 32), 2)
    films = np.random.default_rng(0).random((3, 48, 32, 1)).astype(np.float32)
    wide, tall = (stretched(films, *by) for by in ((1.2, 1 / 1.2), (1 / 1.2, 1.2)))
    views = [side for view in (films, wide, tall) for side in (view, view[:, :, ::-1])]
    outputs = network.inference().predict(films, verbose=0)
    wanted = np.mean([network.model.predict(np.asarray(view), verbose=0) for view in views], axis=0)
    np.testing.assert_allclose(outputs["logits"], wanted, atol=1e-5)
    np.testing.assert_allclose(outputs["feature_map"].mean(axis=(1, 2)), outputs["features"], atol=1e-5)


def test_a_stretched_film_keeps_frame_and_centre() -> None:
    film = np.zeros((1, 48, 32, 1), np.float32)
    film[:, 12:36, 8:24] = 1.0
    wide = np.asarray(stretched(film, 1.25, 0.75))[0, ..., 0]
    assert wide.shape == (48, 32)
    rows, columns = np.flatnonzero(wide.any(axis=1)), np.flatnonzero(wide.any(axis=0))
    assert (len(rows), len(columns)) == pytest.approx((18, 20), abs=2)
    assert rows.mean() == pytest.approx(23.5, abs=0.6)
    assert columns.mean() == pytest.approx(15.5, abs=0.6)
    assert not np.asarray(stretched(np.ones_like(film), 1.0, 0.5))[:, [0, -1]].any()
