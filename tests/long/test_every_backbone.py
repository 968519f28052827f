"""Every network of the table reaches the end: built, exported, and answering as Keras does. Too slow for every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("tensorflow", reason="needs the extra train")

from cxray.bundle import OUTPUTS
from cxray.config import InputCard, ModelSettings
from cxray.model.backbones import BACKBONES, PLAIN_NETWORKS
from cxray.model.build import build_network
from cxray.model.export import _export_onnx


@pytest.mark.parametrize("name", [*BACKBONES, *PLAIN_NETWORKS])
def test_the_exported_graph_answers_as_the_network(name: str, tmp_path: Path) -> None:
    network = build_network(ModelSettings(backbone=name, weights="none"), InputCard(96, 96), 2).inference()
    _export_onnx(network, tmp_path / "graph.onnx")
    films = np.random.default_rng(0).random((2, 96, 96, 1), dtype=np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    got = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"films": films}), strict=True))
    expected = network(films)
    for output in OUTPUTS:
        np.testing.assert_allclose(got[output], np.asarray(expected[output]), atol=1e-3, err_msg=output)
