"""Networks that can be worked out by hand, as ONNX files and as bundles.

The feature map has two channels: the mean grey of each cell (film cut into 7 × 7), and how far that mean exceeds one
half. A bright disc on a dark film is all there is to see, and every map can be calculated on paper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cxray import bundle as bundles
from cxray.config import InputCard
from cxray.data.phantom import golden_film
from cxray.data.prepare import as_model_input, prepare_file
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.runtime.engine import OnnxRuntime

SIDE, CELLS = 56, 7
BRIGHT_GAIN = 60.0


def disc_graph(
    path: Path,
    weights: Sequence[Sequence[float]] = ((0.0, 0.0), (0.0, BRIGHT_GAIN)),
    bias: Sequence[float] = (0.0, -1.0),
    *,
    tail: str = "linear",
) -> Path:
    """Write the network; `weights` (2 features, K). `tail`: "linear", "scaled" (a factor after the sum), "relu" (not
    linear) or "skip" (logits that also need the film)."""
    nodes = [
        helper.make_node("Transpose", ["films"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["mean"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Sub", ["mean", "half"], ["over"]),
        helper.make_node("Relu", ["over"], ["bright"]),
        helper.make_node("Concat", ["mean", "bright"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "keep"], ["seen"], kernel_shape=[1, 1]),
        helper.make_node("Transpose", ["seen"], ["feature_map"], perm=[0, 2, 3, 1]),
        helper.make_node("GlobalAveragePool", ["seen"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    ends = {
        "linear": [helper.make_node("Identity", ["sum"], ["logits"])],
        "scaled": [helper.make_node("Mul", ["sum", "two"], ["logits"])],
        "relu": [helper.make_node("Relu", ["sum"], ["logits"])],
        "skip": [
            helper.make_node("ReduceMean", ["films"], ["all"], axes=[1, 2], keepdims=0),
            helper.make_node("Add", ["sum", "all"], ["logits"]),
        ],
    }
    constants: dict[str, Any] = {
        "half": np.float32(0.5),
        "two": np.float32(2),
        "keep": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1),
        "weights": np.asarray(weights, dtype=np.float32),
        "bias": np.asarray(bias, dtype=np.float32),
    }
    outputs = [("logits", ["n", len(bias)]), ("features", ["n", 2]), ("feature_map", ["n", CELLS, CELLS, 2])]
    graph = helper.make_graph(
        nodes + ends[tail],
        "disc",
        [helper.make_tensor_value_info("films", TensorProto.FLOAT, ["n", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def disc_bundle(folder: Path, classes: Sequence[str] = ("NORMAL", "PNEUMONIA"), **graph: Any) -> Path:
    """A whole bundle around `disc_graph`, with a threshold-free decision and a true golden film."""
    folder.mkdir(parents=True, exist_ok=True)
    disc_graph(folder / bundles.GRAPH, **graph)
    card = InputCard(height=SIDE, width=SIDE)
    Image.fromarray(golden_film(96)).save(folder / bundles.GOLDEN)
    film = as_model_input(prepare_file(folder / bundles.GOLDEN, card)[np.newaxis])
    logits = OnnxRuntime(folder / bundles.GRAPH, 1).run(film)["logits"]
    bundles.save_facts(
        folder,
        {
            "name": "disc",
            "task": "classes",
            "classes": list(classes),
            "positive": classes[-1],
            "input": dataclasses.asdict(card),
            "outputs": list(bundles.OUTPUTS),
            "head": "pooled_linear",
            "thresholds": {},
            "gate": None,
            "golden": {"scores": [float(v) for v in bundles.to_probabilities(logits, "classes")[0]]},
        },
    )
    return folder


def disc_model(folder: Path, **settings: Any) -> OpenedModel:
    """The bundle, opened."""
    return open_bundle(disc_bundle(folder / "bundle", **settings), "onnxruntime")


def disc_film(row: int = 2, column: int = 4, *, grey: int = 40, bright: int = 230) -> np.ndarray:
    """A dark film with one bright cell of the 7 × 7: uint8 (56, 56)."""
    film = np.full((SIDE, SIDE), grey, dtype=np.uint8)
    film[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = bright
    return film
