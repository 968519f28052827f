"""The seam behind which inference engines sit: films in, named arrays out.

ONNX Runtime comes with the base installation; OpenVINO is taken where it is installed, because it is faster on most
processors. Both run in float32 here. `AnswerTable` is a published fake: a real engine's interface over fixed answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxray import extras
from cxray.errors import BundleError, UsageError

Films = npt.NDArray[np.float32]
# Providers that compute in float32; CoreML, for one, may choose float16 and miss the golden scores.
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
ENGINES = ("auto", "onnxruntime", "openvino")


class Engine(Protocol):
    """What prediction needs of an inference engine."""

    name: str

    def run(self, films: Films) -> Mapping[str, npt.NDArray[np.float32]]:
        """Films (N, height, width, 1), 0–1, to `logits` (N, K), `features` (N, F) and `feature_map` (N, h, w, F)."""
        ...


def open_engine(graph: Path, engine: str = "auto", *, threads: int = 0) -> Engine:
    """Open an ONNX file.

    Args:
        graph: the file.
        engine: "onnxruntime", "openvino", or "auto": OpenVINO where it is installed, else ONNX Runtime.
        threads: processor threads of one inference; 0 = all cores.

    Raises:
        UsageError: no such engine.
        MissingExtra: OpenVINO was asked for and is not installed.
        BundleError: the engine refuses the file.
    """
    if engine not in ENGINES:
        raise UsageError(f"There is no engine {engine!r}.", f"Choose one of {', '.join(ENGINES)}.")
    if engine == "auto":
        engine = "openvino" if extras.is_available("openvino") else "onnxruntime"
    opener: Callable[[Path, int], Engine] = OpenVino if engine == "openvino" else OnnxRuntime
    try:
        return opener(graph, threads or os.cpu_count() or 1)
    except (RuntimeError, ValueError, OSError) as error:
        raise BundleError(
            f"{engine} cannot open {graph}: {str(error).splitlines()[0]}", "Copy the bundle again."
        ) from error


class OnnxRuntime:
    """ONNX Runtime, on a GPU where the installed build offers CUDA."""

    name = "onnxruntime"

    def __init__(self, graph: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                graph.read_bytes(),
                options,
                providers=[p for p in _PROVIDERS if p in onnxruntime.get_available_providers()],
            )
        except Exception as error:  # its own exception types share no base but Exception
            raise RuntimeError(str(error)) from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, films: Films) -> Mapping[str, npt.NDArray[np.float32]]:
        """See `Engine.run`."""
        return dict(zip(self._outputs, self._session.run(None, {self._input: films}), strict=True))


class OpenVino:
    """OpenVINO on the processor, float32: its own default of bfloat16 would change scores from machine to machine."""

    name = "openvino"

    def __init__(self, graph: Path, threads: int) -> None:
        openvino = extras.require("openvino", "openvino", "The OpenVINO engine")
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._model = openvino.Core().compile_model(str(graph), "CPU", settings)
        self._outputs = [output.get_any_name() for output in self._model.outputs]

    def run(self, films: Films) -> Mapping[str, npt.NDArray[np.float32]]:
        """See `Engine.run`."""
        results = self._model(films)
        return {name: np.array(results[k]) for k, name in enumerate(self._outputs)}


class AnswerTable:
    """A fake engine for tests: answers every batch with the rows of fixed arrays, in order, from the start."""

    name = "answers"

    def __init__(self, **answers: npt.NDArray[Any]) -> None:
        self._answers = answers
        self._next = 0

    def run(self, films: Films) -> Mapping[str, npt.NDArray[np.float32]]:
        """The next `len(films)` rows of every array."""
        rows = slice(self._next, self._next + len(films))
        self._next += len(films)
        return {name: np.asarray(array[rows], dtype=np.float32) for name, array in self._answers.items()}
