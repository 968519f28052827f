"""From a trained Keras network to files that others run: the bundle's graph, and four formats on request.

Every file is checked before it counts: the exported network must give the probabilities of the one it was made
from, within `parity.PARITY_TOLERANCE`, on the golden film and on sample films.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from cxray import bundle as bundles
from cxray.bundle import OUTPUTS
from cxray.errors import BundleError
from cxray.model.build import Network
from cxray.model.parity import Parity, Runner, compare
from cxray.rundir import atomic_path


class TrainedKeras:
    """A trained Keras network as `assemble` takes it."""

    def __init__(self, network: Network) -> None:
        self.network, self.weights, self.head = network, network.weights, network.head
        self._inference = network.inference()  # shares the weights, and is traced once

    def predict_logits(self, films: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See `Trained.predict_logits`."""
        return np.asarray(self._inference.predict(films, batch_size=32, verbose=0)["logits"])

    def divide_logits(self, temperature: float) -> None:
        """See `Trained.divide_logits`."""
        layer = self.network.model.get_layer("logits")
        layer.set_weights([weight / np.float32(temperature) for weight in layer.get_weights()])

    def save(self, folder: Path) -> None:
        """Write `model.onnx` (three outputs) and `model.keras` into a bundle folder."""
        _export_onnx(self._inference, folder / bundles.GRAPH)
        with atomic_path(folder / bundles.KERAS, suffix=".keras") as temporary:
            self._inference.save(temporary)

    def versions(self) -> dict[str, str]:
        """See `Trained.versions`."""
        import tensorflow

        return {"keras": keras.__version__, "tensorflow": tensorflow.__version__, "numpy": np.__version__}


def convert(bundle: bundles.Bundle, kind: str, path: Path, films: npt.NDArray[np.uint8]) -> Parity:
    """Write a bundle's network as "keras", "openvino" or "litert" and check it on `films` uint8 (N, height, width).

    Raises:
        BundleError: the bundle carries no Keras network, or the written file differs by more than `PARITY_TOLERANCE`.
    """
    source = bundle.folder / bundles.KERAS
    if not source.is_file():
        raise BundleError(
            f"{bundle.folder} carries no {bundles.KERAS}, only its ONNX graph.", "Train again, or export onnx."
        )
    model = keras.saving.load_model(source, compile=False, safe_mode=True)

    def reference(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(model.predict(batch, verbose=0)["logits"])

    runner = _WRITERS[kind](model, path)
    return compare(kind, path, reference, runner, films, bundle.task)


def _export_onnx(model: keras.Model, path: Path) -> None:
    import onnx

    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "graph.onnx"
        with quiet():
            model(np.zeros((1, *model.input_shape[1:]), dtype=np.float32))  # Keras exports only what was called once
            model.export(str(first), format="onnx", verbose=False)
        graph = onnx.load(str(first))
        names = {output.name for output in graph.graph.output}
        if not names.issuperset(OUTPUTS):
            raise BundleError(f"The exported graph has the outputs {sorted(names)}, but {OUTPUTS} were expected.")
        onnx.checker.check_model(graph)
        onnx.save(graph, str(temporary))


def _write_keras(model: keras.Model, path: Path) -> Runner:
    with atomic_path(path, suffix=".keras") as temporary:
        model.save(temporary)
    again = keras.saving.load_model(path, compile=False, safe_mode=True)
    return lambda batch: np.asarray(again.predict(batch, verbose=0)["logits"])


def _write_openvino(model: keras.Model, path: Path) -> Runner:
    from cxray.extras import require

    openvino = require("openvino", "openvino", "Export to OpenVINO")
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "graph.onnx"
        _export_onnx(model, graph)
        converted = openvino.convert_model(str(graph))
    # Two files, the second named after the first; weights stay float32, or the parity check could not hold.
    openvino.save_model(converted, str(path), compress_to_fp16=False)
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: np.array(compiled(batch)["logits"])


def _write_litert(model: keras.Model, path: Path) -> Runner:
    import tensorflow as tf

    logits = keras.Model(model.input, model.output["logits"])
    with atomic_path(path, suffix=".tflite") as temporary, quiet():
        logits(np.zeros((1, *model.input_shape[1:]), dtype=np.float32))
        logits.export(str(temporary), format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(model_path=str(path))

    def run(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        position = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(position, batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(position, batch)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return run


_WRITERS: dict[str, Callable[[keras.Model, Path], Runner]] = {
    "keras": _write_keras,
    "openvino": _write_openvino,
    "litert": _write_litert,
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep converters from filling the user's screen; their errors still come through as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
