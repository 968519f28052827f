"""Whether a file that somebody else will run is the network it was made from. No TensorFlow.

An exported network must give the probabilities of the original within `PARITY_TOLERANCE` on sample films, one at a
time, as a server would ask.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxray.bundle import to_probabilities
from cxray.data.prepare import as_model_input
from cxray.errors import BundleError
from cxray.runtime.engine import OnnxRuntime

PARITY_TOLERANCE = 1e-4

Runner = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far an exported file is from the network: the largest difference in probability over `films` films."""

    format: str
    path: Path
    films: int
    largest_difference: float


def check_graph(reference: Runner, graph: Path, films: npt.NDArray[np.uint8], task: str) -> Parity:
    """Compare an ONNX graph with the network's own logits on prepared films uint8 (N, height, width).

    Raises:
        BundleError: they differ by more than `PARITY_TOLERANCE` in probability.
    """
    engine = OnnxRuntime(graph, threads=os.cpu_count() or 1)
    return compare("onnx", graph, reference, lambda batch: np.asarray(engine.run(batch)["logits"]), films, task)


def compare(
    kind: str, path: Path, reference: Runner, exported: Runner, films: npt.NDArray[np.uint8], task: str
) -> Parity:
    """Compare two functions from films to logits on prepared films (N, height, width).

    `kind` and `path` name the exported one in messages.

    Raises:
        BundleError: they differ by more than `PARITY_TOLERANCE` in probability.
    """
    batch = as_model_input(films)
    expected = to_probabilities(np.asarray(reference(batch)), task)
    got = np.concatenate([to_probabilities(np.asarray(exported(batch[k : k + 1])), task) for k in range(len(batch))])
    difference = float(np.abs(expected - got).max())
    if not difference <= PARITY_TOLERANCE:
        raise BundleError(
            f"The {kind} export {path} differs from the network by {difference:.2g} in probability; at most "
            f"{PARITY_TOLERANCE:g} is accepted.",
            "Do not use it; report the versions shown by `cxray --version`.",
        )
    return Parity(kind, path, len(films), difference)
