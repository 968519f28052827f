"""The network built from Keras' weights file gives Keras' numbers, for every width and odd sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxray.config import InputCard
from cxray.errors import ConfigError
from cxray.model import weights as weights_module
from cxray.model.mobilenet import LAST_BLOCK, GraphParts, add_backbone, channels_of, read_weights
from cxray.model.probe_graph import BLOCKS, feature_channels, write_feature_graph, write_graph
from cxray.model.probe_head import Head
from cxray.runtime.engine import OnnxRuntime

h5py = pytest.importorskip("h5py", reason="needs the extra fast")
FILMS = np.random.default_rng(3).random((3, 96, 64, 1), dtype=np.float32)
CARD = InputCard(96, 64)
REAL = weights_module.cache_folder() / weights_module.FILES["mobilenet_0.75"]


def keras_network(alpha: float, weights: str | None) -> Any:
    pytest.importorskip("tensorflow", reason="compares with Keras")
    import keras

    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNet(alpha=alpha, weights=weights, include_top=False, input_shape=(224, 224, 3))
    if weights is None:
        for layer in model.layers:  # normalisation of a fresh network does nothing, and would hide a wrong fold
            if layer.name.endswith("_bn"):
                layer.set_weights([w + 0.3 * np.random.default_rng(2).random(w.shape) for w in layer.get_weights()])
    smaller = keras.applications.MobileNet(alpha=alpha, weights=None, include_top=False, input_shape=(96, 64, 3))
    smaller.set_weights(model.get_weights())
    return smaller


def store(model: Any, path: Path) -> Path:
    """The layout of Keras' published files: a group a layer, in it a group of the same name, in it the arrays."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            group = file.create_group(layer.name)
            for weight in layer.weights:
                name = "depthwise_kernel" if "dw" in layer.name and weight.name == "kernel" else weight.name
                group.create_dataset(f"{layer.name}/{name}:0", data=weight.numpy())
    return path


@pytest.mark.parametrize("alpha", [0.25, 0.5])
def test_every_map_is_that_of_keras(alpha: float, tmp_path: Path) -> None:
    import keras

    model = keras_network(alpha, None)
    weights = read_weights(store(model, tmp_path / "w.h5"))
    wanted = keras.Model(model.input, [model.get_layer(f"conv_pw_{block}_relu").output for block in BLOCKS])
    expected = wanted.predict(np.repeat(FILMS, 3, axis=-1) * 2 - 1, verbose=0)
    head = Head(np.random.default_rng(0).normal(size=(feature_channels(weights), 2)), np.array([0.5, -1.0]))
    write_graph(tmp_path / "model.onnx", weights, CARD, head)
    got = OnnxRuntime(tmp_path / "model.onnx", threads=1).run(FILMS)
    fine = expected[0].reshape(3, 3, 2, 2, 2, -1).mean(axis=(2, 4))
    np.testing.assert_allclose(got["feature_map"], np.concatenate([fine, *expected[1:]], axis=-1), atol=1e-4)
    pooled = np.concatenate([m.mean(axis=(1, 2)) for m in expected], axis=-1)
    np.testing.assert_allclose(got["features"], pooled, atol=1e-4)
    np.testing.assert_allclose(got["logits"], pooled @ head.weights + head.bias, atol=1e-3)
    write_feature_graph(tmp_path / "features.onnx", weights, CARD)
    alone = OnnxRuntime(tmp_path / "features.onnx", threads=1).run(FILMS)
    np.testing.assert_allclose(alone["features"], got["features"], atol=1e-5)


@pytest.mark.skipif(not REAL.is_file(), reason=f"the ImageNet weights are not at {REAL}")
def test_the_real_weights_agree_with_keras(tmp_path: Path) -> None:
    model = keras_network(0.75, "imagenet")
    parts, weights = GraphParts(), weights_module.load_imagenet("mobilenet_0.75")
    add_backbone(parts, "films", weights, [LAST_BLOCK])
    assert channels_of(weights, LAST_BLOCK) == 768
    write_feature_graph(tmp_path / "features.onnx", weights, CARD)
    got = OnnxRuntime(tmp_path / "features.onnx", threads=1).run(FILMS)["features"][:, -768:]
    expected = model.predict(np.repeat(FILMS, 3, axis=-1) * 2 - 1, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("conv1/conv1/kernel:0", data=np.zeros((5, 5, 3, 8), np.float32))
    for name in ("cut.h5", "other.h5"):
        with pytest.raises(ConfigError, match=f"{name} does not hold the weights of a MobileNet"):
            read_weights(tmp_path / name)


def test_weights_are_fetched_once_and_a_failure_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "server"
    served.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(weights_module, "ADDRESS", served.as_uri() + "/")
    with pytest.raises(ConfigError, match=r"mobilenet_2_5_224_tf_no_top.h5 are not in .* cannot be fetched"):
        weights_module.load_imagenet("mobilenet_0.25")
    assert not list((tmp_path / "home").rglob("*.h5"))
    store(keras_network(0.25, None), served / "mobilenet_2_5_224_tf_no_top.h5")
    first = weights_module.load_imagenet("mobilenet_0.25")
    (served / "mobilenet_2_5_224_tf_no_top.h5").unlink()
    again = weights_module.load_imagenet("mobilenet_0.25")
    np.testing.assert_array_equal(first["conv1"]["kernel"], again["conv1"]["kernel"])
