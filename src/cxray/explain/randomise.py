"""Randomisation tests: a map that stays the same when the model forgets what it learned shows the film, not the model.

Source: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018. Weights are not redrawn but shuffled within
their own tensor, so that their distribution, and with it the scale of what flows through the network, stays.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cxray.errors import UsageError
from cxray.explain.head import LinearHead
from cxray.explain.opened import OpenedModel
from cxray.runtime.engine import open_engine

# Shares of the network's weight tensors that are shuffled, counted from the score towards the film.
CASCADE = (0.25, 0.5, 0.75, 1.0)
# Networks from elsewhere may insist on single films.
_BATCH = 1
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def with_random_head(model: OpenedModel, rng: np.random.Generator) -> OpenedModel:
    """The same model, explained through a head whose weights are shuffled among the features.

    Raises:
        UsageError: the model has no linear head.
    """
    if model.head is None:
        raise UsageError(f"{model.name} has no linear head to shuffle.", "Use `with_random_weights`.")
    shuffled = np.stack([rng.permutation(column) for column in model.head.weights.T], axis=1)
    return dataclasses.replace(model, head=LinearHead(shuffled, model.head.bias))


def with_random_weights(model: OpenedModel, share: float, rng: np.random.Generator) -> OpenedModel:
    """The model with `share` of its weight tensors shuffled, from the score towards the film; the head is one of them.

    Raises:
        UsageError: the graph has no weights that could be shuffled.
    """
    import onnx

    proto = onnx.load_model_from_string(model.graph.read_bytes())
    names = _weight_names(proto)
    if not names:
        raise UsageError(f"{model.graph} holds no weights that could be shuffled.")
    chosen = set(names[: max(1, round(share * len(names)))])
    for tensor in proto.graph.initializer:
        if tensor.name in chosen:
            _shuffle(tensor, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / model.graph.name
        path.write_bytes(proto.SerializeToString())
        # ONNX Runtime keeps the graph in memory; OpenVINO would want the file again for another size of batch.
        engine = model.adapted(open_engine(path, "onnxruntime", batch=_BATCH))
    shuffled = dataclasses.replace(model, engine=engine)
    return with_random_head(shuffled, rng) if model.head else shuffled


def _weight_names(proto: Any) -> list[str]:
    """Names of the weight tensors (two axes or more) of layers, the ones nearest to the score first."""
    weights = {tensor.name for tensor in proto.graph.initializer if len(tensor.dims) >= 2}
    used = [name for node in proto.graph.node if node.op_type in _WEIGHTED for name in node.input if name in weights]
    return list(dict.fromkeys(reversed(used)))


def _shuffle(tensor: Any, rng: np.random.Generator) -> None:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    shuffled = rng.permutation(values.ravel()).reshape(values.shape)
    tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
