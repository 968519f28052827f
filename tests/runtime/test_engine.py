"""The seam: two engines, one answer; and the fake that stands in for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.data.prepare import as_model_input
from cxray.errors import BundleError, UsageError
from cxray.runtime.engine import AnswerTable, open_engine

FILMS = as_model_input(np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engines_give_three_outputs_for_any_batch(tiny_run: Path, name: str) -> None:
    if name == "openvino":
        pytest.importorskip("openvino", reason="needs the extra openvino")
    engine = open_engine(tiny_run / "bundle" / "model.onnx", name)
    answers = engine.run(FILMS)
    assert set(answers) == {"logits", "features", "feature_map"}
    assert answers["logits"].shape == (5, 2)
    assert answers["features"].shape == (5, 128)
    np.testing.assert_allclose(answers["feature_map"].mean(axis=(1, 2)), answers["features"], atol=1e-4)
    np.testing.assert_allclose(engine.run(FILMS[:1])["logits"], answers["logits"][:1], atol=1e-4)


def test_engines_agree(tiny_run: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    graph = tiny_run / "bundle" / "model.onnx"
    first, second = (open_engine(graph, name).run(FILMS)["logits"] for name in ("onnxruntime", "openvino"))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_unknown_engines_and_broken_graphs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no engine 'tensorrt'"):
        open_engine(tmp_path / "x.onnx", "tensorrt")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="onnxruntime cannot open"):
        open_engine(tmp_path / "x.onnx", "onnxruntime")


def test_the_fake_answers_in_order() -> None:
    engine = AnswerTable(logits=np.arange(10).reshape(5, 2))
    assert engine.run(FILMS[:2])["logits"].tolist() == [[0, 1], [2, 3]]
    assert engine.run(FILMS[:3])["logits"].tolist() == [[4, 5], [6, 7], [8, 9]]
