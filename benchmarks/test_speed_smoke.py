"""A small set for pytest-benchmark: every fast path still runs; nothing is asserted about time.

pytest benchmarks --benchmark-disable-gc          # times
pytest benchmarks --benchmark-disable             # smoke, as in CI
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxray.config import InputCard
from cxray.data.decode import decode_bytes
from cxray.data.phantom import golden_film
from cxray.data.prepare import prepare
from cxray.model.mobilenet import LAST_BLOCK, STRIDES
from cxray.model.probe_graph import write_graph
from cxray.model.probe_head import Head, Problem, solve
from cxray.runtime.engine import BATCH, open_engine

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark")
GENERATOR = np.random.default_rng(0)


def random_weights() -> dict[str, dict[str, Any]]:
    """A MobileNet of width 0.25 with random weights, as `read_weights` would give it."""

    def layer(kernel: tuple[int, ...], channels: int) -> list[dict[str, Any]]:
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        scale = {"gamma": ones, "beta": zeros, "moving_mean": zeros, "moving_variance": ones}
        return [{"kernel": (0.1 * GENERATOR.normal(size=kernel)).astype(np.float32)}, scale]

    widths = [8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256]
    weights: dict[str, dict[str, Any]] = {}
    weights["conv1"], weights["conv1_bn"] = layer((3, 3, 3, 8), 8)
    for block in range(1, LAST_BLOCK + 1):
        inputs, outputs = widths[block - 1], widths[block]
        weights[f"conv_dw_{block}"], weights[f"conv_dw_{block}_bn"] = layer((3, 3, inputs, 1), inputs)
        weights[f"conv_pw_{block}"], weights[f"conv_pw_{block}_bn"] = layer((1, 1, inputs, outputs), outputs)
    assert len(widths) == len(STRIDES) + 1
    return weights


@pytest.mark.parametrize(("kind", "side"), [("jpeg", 224), ("jpeg", 1024), ("png", 224), ("png", 1024)])
def test_decoding_and_preparing(benchmark: Any, kind: str, side: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(golden_film(side)).convert("RGB").save(stream, format=kind)
    card = InputCard()
    film = benchmark(lambda: prepare(decode_bytes(stream.getvalue(), at_least=224), card))
    assert film.shape == (224, 224)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_batch_of_films(benchmark: Any, engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    head = Head(GENERATOR.normal(size=(640, 2)), np.zeros(2))
    write_graph(tmp_path / "model.onnx", random_weights(), InputCard(96, 96), head)
    opened = open_engine(tmp_path / "model.onnx", engine)
    answers = benchmark(opened.run, np.full((BATCH, 96, 96, 1), 0.5, np.float32))
    assert answers["logits"].shape == (BATCH, 2)


def test_a_linear_head(benchmark: Any) -> None:
    features = GENERATOR.normal(size=(400, 200)).astype(np.float32)
    truth = (features[:, 0] > 0).astype(np.int64)
    problem = Problem.of(features, truth, np.ones(400, np.float32), 2, balanced=True)
    head = benchmark(lambda: solve(problem, 0.1, problem.start()))
    assert ((head.logits(features)[:, 1] > 0) == truth).mean() > 0.9
