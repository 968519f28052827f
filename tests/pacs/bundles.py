"""A bundle whose answers are known: it finds what is bright, where it is bright.

The graph averages 8 x 8 blocks of a 64 x 64 film; its one feature is the share of brightness above one half. A film
with a large bright patch is called ILL with certainty, any other is not, and the class activation lies on the patch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cxray.bundle import GOLDEN, GRAPH, load_bundle, save_facts
from cxray.data.phantom import golden_film
from cxray.data.prepare import as_model_input
from cxray.evaluate.thresholds import Threshold
from cxray.explain.attribution import CLASS_ACTIVATION
from cxray.explain.card import NAME, Card, ClassCard, save_card
from cxray.explain.measures import Measure
from cxray.runtime.engine import OnnxRuntime

SIDE, BLOCK = 64, 8
THRESHOLD = 0.5


def write_bundle(folder: Path, **facts: Any) -> Path:
    """Write the bundle into `folder`; `facts` replace entries of its description."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(), str(folder / GRAPH))
    golden = golden_film(SIDE)
    Image.fromarray(golden).save(folder / GOLDEN)
    logits = OnnxRuntime(folder / GRAPH, 1).run(as_model_input(golden[np.newaxis]))["logits"]
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    card = {"height": SIDE, "width": SIDE, "fit": "pad", "version": 1, "layout": "NHWC", "dtype": "float32"}
    point = Threshold(THRESHOLD, "fixed", "validation", "0" * 64)
    described = {
        "name": "bright", "made": "2026-01-01T00:00:00+00:00", "task": "classes", "classes": ["WELL", "ILL"],
        "positive": "ILL", "input": {**card, "range": [0, 1]}, "thresholds": {"ILL": point.to_dict()}, "gate": None,
        "golden": {"logits": logits[0].tolist(), "scores": scores[0].tolist(), "tolerance": 1e-4},
        "intended_use": "Tests only.", "versions": {},
    }  # fmt: skip
    save_facts(folder, {**described, **facts})
    judge_maps(folder, passed=True)
    return folder


def judge_maps(folder: Path, *, passed: bool) -> None:
    """Lay a card into the bundle that says whether the maps of ILL passed their one test."""
    test = Measure("deletion", "Deletion", 0.1, 0.05, 0.2, None, "lower limit above 0", passed, True, 40, "mean")
    part = ClassCard("ILL", CLASS_ACTIVATION, (test,), 0.0)
    save_card(Card(load_bundle(folder).identifier, "40 films", "2026-01-01", (part,)), folder / NAME)


def redescribe(folder: Path, **facts: Any) -> None:
    """Change entries of a written description."""
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def _graph() -> onnx.ModelProto:
    weights = {
        "half": np.float32([0.5]),
        "weights": np.float32([[-40.0, 40.0]]),
        "bias": np.float32([1.0, -1.0]),
        "axes": np.array([1, 2], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["films"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels"], ["pooled"], kernel_shape=[BLOCK, BLOCK], strides=[BLOCK, BLOCK]),
        helper.make_node("Sub", ["pooled", "half"], ["above"]),
        helper.make_node("Relu", ["above"], ["bright"]),
        helper.make_node("Transpose", ["bright"], ["feature_map"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["feature_map", "axes"], ["features"], keepdims=0),
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    shapes = {"logits": ["N", 2], "features": ["N", 1], "feature_map": ["N", SIDE // BLOCK, SIDE // BLOCK, 1]}
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("films", TensorProto.FLOAT, ["N", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
