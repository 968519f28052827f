"""MobileNet (Howard et al. 2017, arXiv:1704.04861) as an ONNX graph, straight from Keras' weights file. No TensorFlow.

Batch normalisation is folded into the convolutions, and because radiographs are grey, the first kernel is summed over
its three colour channels. Films are float32 (N, height, width, 1), 0–1, as everywhere; feature maps leave as
(N, h, w, F). The graph gives the numbers of `keras.applications.MobileNet` within float32 rounding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import ConfigError

Weights = Mapping[str, Mapping[str, npt.NDArray[np.float32]]]
# Stride of each depthwise block; the channel counts come with the weights.
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
LAST_BLOCK = len(STRIDES)
_EPSILON = np.float32(1e-3)  # of Keras' batch normalisation layers in this network
_NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")


def read_weights(path: Path) -> Weights:
    """Read `mobilenet_*_no_top.h5`: layer name to weight name to array, both as Keras calls them.

    Raises:
        ConfigError: the file is not such a file.
    """
    import h5py

    try:
        with h5py.File(path) as stored:
            layers = {name: _layer(stored[name]) for name in stored}
        weights = {name: layer for name, layer in layers.items() if layer}
        _check(weights)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} does not hold the weights of a MobileNet without its top: {error}.",
            "Delete the file; the next training fetches it again.",
        ) from error
    return weights


def _layer(group: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Arrays of one layer by their last name: `conv1/conv1/kernel:0` is the `kernel` of conv1."""
    found: dict[str, npt.NDArray[np.float32]] = {}

    def visit(name: str, entry: Any) -> None:
        if hasattr(entry, "shape"):
            short = name.rpartition("/")[2].partition(":")[0].removeprefix("depthwise_")
            found[short] = np.asarray(entry[()], dtype=np.float32)

    group.visititems(visit)
    return found


def _check(weights: Weights) -> None:
    channels = 1
    for name in _convolutions():
        kernel, scale = weights[name]["kernel"], weights[f"{name}_bn"]
        is_depthwise = name.startswith("conv_dw")
        outputs = kernel.shape[2] if is_depthwise else kernel.shape[3]
        expected = {"conv1": (3, 3, 3, outputs)}.get(
            name, (3, 3, channels, 1) if is_depthwise else (1, 1, channels, outputs)
        )
        if kernel.shape != expected or any(scale[part].shape != (outputs,) for part in _NORMALISATION):
            raise ValueError(f"layer {name} has the shape {kernel.shape}, expected {expected}")
        channels = outputs


def _convolutions() -> list[str]:
    blocks = range(1, LAST_BLOCK + 1)
    return ["conv1", *(name for block in blocks for name in (f"conv_dw_{block}", f"conv_pw_{block}"))]


@dataclasses.dataclass
class GraphParts:
    """ONNX nodes and constants while a graph is built; `add` returns the name of what the node computes."""

    nodes: list[Any] = dataclasses.field(default_factory=list)
    constants: list[Any] = dataclasses.field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append a node; its output is called `output`, or by its place."""
        from onnx import helper

        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Store an array (any shape) under `name`, once; returns the name."""
        from onnx import numpy_helper

        if all(known.name != name for known in self.constants):
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, value: float) -> str:
        """A float32 constant."""
        return self.constant(f"scalar_{value:g}", np.array(value, dtype=np.float32))


def add_backbone(parts: GraphParts, films: str, weights: Weights, blocks: Sequence[int]) -> list[str]:
    """Add the network on `films`, the name of a tensor (N, height, width, 1), 0–1.

    Returns:
        The names of the feature maps (N, F, h, w) after each of `blocks` (1 to 13), rectified as Keras leaves them.
    """
    planes = parts.add("Transpose", [films], perm=[0, 3, 1, 2])
    # Grey 0–1 to −1–1, as the weights expect. It stays outside the kernel, because padding is 0 after this scaling.
    planes = parts.add("Sub", [parts.add("Mul", [planes, parts.scalar(2.0)]), parts.scalar(1.0)])
    now = _convolve(parts, planes, weights, "conv1", strides=[2, 2], auto_pad="SAME_UPPER")
    maps = {}
    for block in range(1, max(blocks) + 1):
        stride = STRIDES[block - 1]
        padding = [1, 1, 1, 1] if stride == 1 else [0, 0, 1, 1]
        now = _convolve(parts, now, weights, f"conv_dw_{block}", strides=[stride, stride], pads=padding)
        now = _convolve(parts, now, weights, f"conv_pw_{block}", strides=[1, 1])
        maps[block] = now
    return [maps[block] for block in blocks]


def _convolve(parts: GraphParts, tensor: str, weights: Weights, name: str, **attributes: Any) -> str:
    kernel, bias = _folded(weights, name)
    groups = kernel.shape[0] if name.startswith("conv_dw") else 1
    inputs = [tensor, parts.constant(f"{name}_kernel", kernel), parts.constant(f"{name}_bias", bias)]
    convolved = parts.add("Conv", inputs, group=groups, kernel_shape=list(kernel.shape[2:]), **attributes)
    return parts.add("Clip", [convolved, parts.scalar(0.0), parts.scalar(6.0)])


def _folded(weights: Weights, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel (outputs, inputs, 3 or 1, 3 or 1) and bias (outputs,) of a convolution with its batch normalisation."""
    kernel = weights[name]["kernel"].astype(np.float64)
    gamma, beta, mean, variance = (weights[f"{name}_bn"][part].astype(np.float64) for part in _NORMALISATION)
    scale = gamma / np.sqrt(variance + _EPSILON)
    if name == "conv1":
        kernel = kernel.sum(axis=2, keepdims=True)
    # Keras: (height, width, inputs, outputs), depthwise (height, width, channels, 1). ONNX: outputs first.
    order = (2, 3, 0, 1) if name.startswith("conv_dw") else (3, 2, 0, 1)
    folded = kernel.transpose(order) * scale[:, None, None, None]
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


def channels_of(weights: Weights, block: int) -> int:
    """Channels of the feature map after `block`."""
    return int(weights[f"conv_pw_{block}"]["kernel"].shape[3])
