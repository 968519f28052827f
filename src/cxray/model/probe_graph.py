"""The ONNX graphs of a linear probe: frozen backbone to pooled features, and the bundle's graph with its head.

The feature map is (N, h, w, F) on the grid of the last block; earlier maps, twice as fine, are averaged 2 × 2 onto it,
which leaves their global mean as it is. So `features` is exactly the mean of `feature_map`, and `logits` are linear in
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cxray import __version__
from cxray.config import InputCard
from cxray.model.mobilenet import LAST_BLOCK, GraphParts, Weights, add_backbone, channels_of
from cxray.model.probe_head import Head
from cxray.rundir import atomic_path

# Blocks whose maps the head sees: the last of the finer grid, and both of the coarse one.
BLOCKS = (11, 12, LAST_BLOCK)
_OPSET, _IR_VERSION = 17, 8


def feature_channels(weights: Weights) -> int:
    """F."""
    return sum(channels_of(weights, block) for block in BLOCKS)


def write_feature_graph(path: Path, weights: Weights, card: InputCard) -> None:
    """Write the graph from films to `features` (N, F) alone."""
    parts = GraphParts()
    pooled = [parts.add("GlobalAveragePool", [m]) for m in add_backbone(parts, "films", weights, BLOCKS)]
    parts.add("Flatten", [parts.add("Concat", pooled, axis=1)], output="features", axis=1)
    write_model(path, parts, card, {"features": ["N", feature_channels(weights)]})


def write_graph(path: Path, weights: Weights, card: InputCard, head: Head) -> None:
    """Write the bundle's graph: films to `logits`, `features` and `feature_map`."""
    parts = GraphParts()
    fine, *coarse = add_backbone(parts, "films", weights, BLOCKS)
    averaged = parts.add("AveragePool", [fine], kernel_shape=[2, 2], strides=[2, 2])
    joined = parts.add("Concat", [averaged, *coarse], axis=1)
    parts.add("Transpose", [joined], output="feature_map", perm=[0, 2, 3, 1])
    parts.add("Flatten", [parts.add("GlobalAveragePool", [joined])], output="features", axis=1)
    tables = [("head_weights", head.weights), ("head_bias", head.bias)]
    names = [parts.constant(name, table.astype(np.float32)) for name, table in tables]
    parts.add("Gemm", ["features", *names], output="logits")
    channels = feature_channels(weights)
    outputs: dict[str, list[Any]] = {
        "logits": ["N", head.bias.size],
        "features": ["N", channels],
        "feature_map": ["N", card.height // 32, card.width // 32, channels],
    }
    write_model(path, parts, card, outputs)


def write_model(path: Path, parts: GraphParts, card: InputCard, outputs: dict[str, list[Any]]) -> None:
    """Write `parts` as a graph from `films` (N, height, width, 1) to `outputs`, names with their shapes."""
    import onnx
    from onnx import TensorProto, helper

    films = helper.make_tensor_value_info("films", TensorProto.FLOAT, ["N", card.height, card.width, 1])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(parts.nodes, "cxray", [films], given, parts.constants)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="cxray")
    model.producer_version = __version__
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
