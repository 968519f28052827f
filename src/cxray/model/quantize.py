"""A bundle's graph in 8-bit integers: smaller and, on processors with such instructions, faster; scores move.

Static quantisation (ONNX Runtime, QDQ form, a scale for each channel): the range of every tensor is taken from
calibration films, which must be films like those to be scored. The last layer stays float32, because a rounding there
goes straight into the score. No TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxray.data.prepare import as_model_input
from cxray.errors import BundleError
from cxray.rundir import atomic_path

CALIBRATION_FILMS = 100


def quantize(graph: Path, target: Path, films: npt.NDArray[np.uint8]) -> None:
    """Write `graph` in int8 to `target`, with ranges from prepared films uint8 (N, height, width).

    Raises:
        BundleError: the graph cannot be quantised.
    """
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        """Hands out one film at a time, as the calibration asks for it."""

        def __init__(self) -> None:
            self._films: Iterator[npt.NDArray[np.uint8]] = iter(films)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            film = next(self._films, None)
            return None if film is None else {"films": as_model_input(film[np.newaxis])}

    with tempfile.TemporaryDirectory() as scratch, atomic_path(target, suffix=".onnx") as temporary, _quiet():
        prepared = Path(scratch) / "prepared.onnx"
        try:
            quantization.shape_inference.quant_pre_process(graph, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                temporary,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                nodes_to_exclude=_last_layer(prepared),
            )
        except Exception as error:  # its own exceptions, those of onnx, ValueError, RuntimeError, ...
            raise BundleError(f"{graph} cannot be quantised: {str(error).splitlines()[0]}.") from error


def _last_layer(graph: Path) -> list[str]:
    """Names of the nodes between the pooled features and the logits."""
    import onnx

    nodes = onnx.load(str(graph)).graph.node
    maker = {output: node for node in nodes for output in node.output}
    found: list[str] = []
    waiting = ["logits"]
    while waiting:
        name = waiting.pop()
        if name in maker and name != "features":
            found.append(maker[name].name)
            waiting += list(maker[name].input)
            if maker[name].op_type in ("Gemm", "MatMul"):
                break
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
