"""Class activation from the graph is Grad-CAM of the Keras network: within 1e-4 of each map's largest value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.explain.attribution import class_activation
from cxray.explain.opened import open_bundle

FILMS = 50


@pytest.mark.train
def test_maps_equal_grad_cam_by_gradients(tiny_run: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="needs the extra train")
    import keras

    model = open_bundle(tiny_run / "bundle", "onnxruntime")
    rng = np.random.default_rng(0)
    films = np.stack([np.kron(rng.integers(0, 256, (8, 8)), np.ones((8, 8))) for _ in range(FILMS)]).astype(np.uint8)
    ours = class_activation(model, model.run(films), 1)
    network = keras.models.load_model(tiny_run / "bundle" / "model.keras", compile=False)
    body = keras.Model(network.input, network.get_layer("feature_map").output)
    head = keras.Model(network.get_layer("feature_map").output, network.get_layer("logits").output)
    feature_map = body(films[..., np.newaxis].astype(np.float32) / 255)
    with tf.GradientTape() as tape:
        tape.watch(feature_map)
        logits = head(feature_map)
        score = logits[:, 1] - logits[:, 0]
    weights = tf.reduce_mean(tape.gradient(score, feature_map), axis=(1, 2))
    theirs = tf.einsum("nhwf,nf->nhw", feature_map, weights).numpy()  # before Grad-CAM's cut at 0, so more is compared
    values = np.stack([one.values for one in ours])
    largest = np.abs(theirs).max(axis=(1, 2))
    # The small network learns little in its few steps; maps of a film may be all but 0.
    assert (np.abs(values - theirs).max(axis=(1, 2)) <= 1e-4 * largest + 1e-7).all()
    assert np.isfinite(theirs).all()
