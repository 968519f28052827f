"""The seam behind which inference engines sit: films in, named arrays out.

ONNX Runtime comes with the base installation; OpenVINO is taken where it is installed and measured to be faster here
(`runtime.choice`). Engines work in batches of one fixed size, because fixed shapes let them plan memory and kernels
once; a smaller last batch is filled up and cut again. Both compute in float32 unless bfloat16 is asked for by name.
Every engine may be asked from several threads at once.
`AnswerTable` is a published fake: a real engine's interface over fixed answers.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxray import extras
from cxray.errors import BundleError, UsageError

Films = npt.NDArray[np.float32]
Answers = Mapping[str, npt.NDArray[np.float32]]
# Providers of ONNX Runtime that compute in float32, fastest first; `onnxruntime:NAME` asks for any other by its name
# (CoreML and DirectML may choose float16 and then miss the golden scores).
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
ENGINES = ("auto", "onnxruntime", "openvino")
PRECISIONS = ("float32", "bfloat16")
# Larger batches are no faster on processors and cost memory.
BATCH = 8


class Engine(Protocol):
    """What prediction needs of an inference engine."""

    name: str

    def run(self, films: Films) -> Answers:
        """Films (N, height, width, 1), 0–1, to `logits` (N, K), `features` (N, F) and `feature_map` (N, h, w, F)."""
        ...


def open_engine(
    graph: Path,
    engine: str = "auto",
    *,
    threads: int = 0,
    runs: int = 1,
    batch: int = BATCH,
    precision: str = "float32",
) -> Engine:
    """Open an ONNX file.

    Args:
        graph: the file.
        engine: "onnxruntime", "openvino", "onnxruntime:PROVIDER" (for example "onnxruntime:CoreML"), or "auto": the
            faster of those that are installed, measured once a machine and graph.
        threads: processor threads of one inference; 0 = all cores that this process may use.
        runs: inferences that will be asked for at once, by as many threads of the caller.
        batch: films in one inference.
        precision: "float32", or "bfloat16" (OpenVINO only), which is faster and moves scores.

    Raises:
        UsageError: no such engine, provider or precision.
        MissingExtra: OpenVINO was asked for and is not installed.
        BundleError: the engine refuses the file.
    """
    kind, _, provider = engine.partition(":")
    if kind not in ENGINES or (provider and kind != "onnxruntime"):
        raise UsageError(f"There is no engine {engine!r}.", f"Choose one of {', '.join(ENGINES)}.")
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision {precision!r}.", f"Choose one of {', '.join(PRECISIONS)}.")
    if precision != "float32" and kind == "onnxruntime":
        raise UsageError(f"ONNX Runtime does not compute in {precision} here.", "Use --engine openvino.")
    threads = threads or usable_cores()
    if kind == "auto":
        from cxray.runtime.choice import fastest

        kind = "openvino" if precision != "float32" else fastest(graph, threads, batch, runs)
    return opener(kind, provider, precision)(graph, threads, batch, runs)


def usable_cores() -> int:
    """Cores that this process may use, which containers and `taskset` make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def opener(kind: str, provider: str = "", precision: str = "float32") -> Callable[[Path, int, int, int], Engine]:
    """How to open a graph with `kind`, one of `ENGINES` but not "auto"."""

    def open_graph(graph: Path, threads: int, batch: int, runs: int) -> Engine:
        try:
            if kind == "openvino":
                return OpenVino(graph, threads, batch, precision, runs)
            return OnnxRuntime(graph, threads, batch, provider)
        except (RuntimeError, ValueError, OSError) as error:
            raise BundleError(
                f"{kind} cannot open {graph}: {str(error).splitlines()[0]}", "Copy the bundle again."
            ) from error

    return open_graph


def in_batches(films: Films, batch: int) -> Iterator[tuple[Films, int]]:
    """Parts of `films` with exactly `batch` films, the last one filled up with black, and how many of each are real."""
    for start in range(0, len(films), batch):
        part = films[start : start + batch]
        real = len(part)
        if real < batch:
            filled = np.zeros((batch, *films.shape[1:]), dtype=np.float32)
            filled[:real] = part
            part = filled
        yield part, real


def joined(parts: list[dict[str, npt.NDArray[np.float32]]]) -> Answers:
    """Answers of several batches, each (batch, …), as one (N, …)."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class OnnxRuntime:
    """ONNX Runtime, on a GPU where the installed build offers CUDA; `provider` asks for one by name."""

    name = "onnxruntime"

    def __init__(self, graph: Path, threads: int, batch: int = BATCH, provider: str = "") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Its arena keeps the largest batch ever seen; a fixed batch keeps it small.
        providers = _choose_providers(onnxruntime.get_available_providers(), provider)
        try:
            self._session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=providers)
        except Exception as error:  # its own exception types share no base but Exception
            raise RuntimeError(str(error)) from error
        self._batch = batch
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, films: Films) -> Answers:
        """See `Engine.run`."""
        parts = [films[start : start + self._batch] for start in range(0, max(1, len(films)), self._batch)]
        return joined(
            [dict(zip(self._outputs, self._session.run(None, {self._input: part}), strict=True)) for part in parts]
        )


def _choose_providers(available: list[str], wanted: str) -> list[str]:
    if not wanted:
        return [name for name in _PROVIDERS if name in available]
    for name in available:
        if name.lower().removesuffix("executionprovider") == wanted.lower().removesuffix("executionprovider"):
            return list(dict.fromkeys([name, "CPUExecutionProvider"]))
    raise UsageError(
        f"This build of ONNX Runtime has no provider {wanted!r}.", f"It offers: {', '.join(sorted(available))}."
    )


class OpenVino:
    """OpenVINO on the processor. Float32 unless asked: its own default would change scores from machine to machine."""

    name = "openvino"

    def __init__(
        self, graph: Path, threads: int, batch: int = BATCH, precision: str = "float32", runs: int = 1
    ) -> None:
        self._openvino = extras.require("openvino", "openvino", "The OpenVINO engine")
        self._core, self._graph, self._batch = self._openvino.Core(), graph, batch
        self._settings = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads * runs,
            "NUM_STREAMS": runs,
        }
        # Requests that are free, by batch. All are made while nothing runs: making one beside a running inference of
        # the same model can block both for good (seen once in some hundred starts, OpenVINO 2026.4).
        self._free: dict[int, queue.SimpleQueue[Any]] = {}
        self._runs, self._compiling = runs, threading.Lock()
        self._core.read_model(str(graph))  # a broken file is refused now, not at the first film

    def run(self, films: Films) -> Answers:
        """See `Engine.run`."""
        # A few films, the case of a server, are not worth a whole batch filled up with black: they go one by one.
        rest = len(films) % self._batch
        whole = len(films) - (rest if rest <= self._batch // 2 else 0)
        parts = [*in_batches(films[:whole], self._batch), *in_batches(films[whole:], 1)]
        return joined([self._run_batch(part, real) for part, real in parts])

    def _run_batch(self, films: Films, real: int) -> dict[str, npt.NDArray[np.float32]]:
        free = self._requests(len(films))
        request = free.get()
        try:
            results = request.infer(films)
            names = [output.get_any_name() for output in request.model_outputs]
            return {name: np.array(results[k])[:real] for k, name in enumerate(names)}
        finally:
            free.put(request)

    def _requests(self, batch: int) -> queue.SimpleQueue[Any]:
        with self._compiling:
            if batch not in self._free:
                model = self._core.read_model(str(self._graph))
                model.reshape([batch, *list(model.inputs[0].get_partial_shape())[1:]])
                compiled = self._core.compile_model(model, "CPU", self._settings)
                free: queue.SimpleQueue[Any] = queue.SimpleQueue()
                for _ in range(self._runs):
                    free.put(compiled.create_infer_request())
                self._free[batch] = free
            return self._free[batch]


class AnswerTable:
    """A fake engine for tests: answers every batch with the rows of fixed arrays, in order, from the start."""

    name = "answers"

    def __init__(self, **answers: npt.NDArray[Any]) -> None:
        self._answers = answers
        self._next = 0

    def run(self, films: Films) -> Answers:
        """The next `len(films)` rows of every array."""
        rows = slice(self._next, self._next + len(films))
        self._next += len(films)
        return {name: np.asarray(array[rows], dtype=np.float32) for name, array in self._answers.items()}
