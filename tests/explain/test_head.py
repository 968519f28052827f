"""The head is read from the graph, whatever operators it is made of, and refused where it is not linear or pooled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.explain.head import NoLinearHead, check_pooling, read_head
from cxray.explain.opened import open_bundle
from tests.explain.graphs import BRIGHT_GAIN, disc_bundle, disc_graph


def test_weights_and_bias_are_the_graphs(tmp_path: Path) -> None:
    head = read_head(disc_graph(tmp_path / "m.onnx"))
    np.testing.assert_allclose(head.weights, [[0, 0], [0, BRIGHT_GAIN]], atol=1e-5)
    np.testing.assert_allclose(head.bias, [0, -1], atol=1e-6)


def test_a_factor_behind_the_last_layer_belongs_to_the_head(tmp_path: Path) -> None:
    head = read_head(disc_graph(tmp_path / "m.onnx", tail="scaled"))
    np.testing.assert_allclose(head.weights[1, 1], 2 * BRIGHT_GAIN, rtol=1e-6)
    np.testing.assert_allclose(head.bias, [0, -2], atol=1e-6)


def test_a_head_that_is_not_linear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoLinearHead, match="not linear"):
        read_head(disc_graph(tmp_path / "m.onnx", tail="relu"))


def test_logits_that_need_more_than_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoLinearHead, match="cannot be computed from its features"):
        read_head(disc_graph(tmp_path / "m.onnx", tail="skip"))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph at all")
    with pytest.raises(NoLinearHead):
        read_head(tmp_path / "m.onnx")


def test_features_that_are_not_the_averaged_map_are_refused(tmp_path: Path) -> None:
    head = read_head(disc_graph(tmp_path / "m.onnx"))
    feature_map = np.random.default_rng(0).random((1, 7, 7, 2))
    features = feature_map.mean(axis=(1, 2))
    good = {"feature_map": feature_map, "features": features, "logits": head.logits(features)}
    check_pooling(head, good)
    with pytest.raises(NoLinearHead, match="does not reproduce its logits"):
        check_pooling(head, {**good, "logits": good["logits"] + 0.1})
    with pytest.raises(NoLinearHead, match="not a pooled one"):
        check_pooling(head, {**good, "features": np.zeros((1, 5))})


def test_a_bundle_without_a_linear_head_says_why(tmp_path: Path) -> None:
    opened = open_bundle(disc_bundle(tmp_path / "b", tail="relu"), "onnxruntime")
    assert opened.head is None
    assert "not linear" in opened.no_head
