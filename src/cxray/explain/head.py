"""The linear head of a graph, read from the graph itself.

Class activation (Zhou et al. 2016) needs the matrix that turns pooled features into logits. The part of the graph
between `features` and `logits` is cut out and asked what it does to the unit vectors; that gives the matrix whatever
operators the exporter chose. A part that is not linear, or that needs more than the features, is refused.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import BundleError

FEATURES, LOGITS, FEATURE_MAP = "features", "logits", "feature_map"
# Relative to the largest logit; float32 rounding stays two orders below.
TOLERANCE = 1e-3


class NoLinearHead(BundleError):
    """The graph's logits are no linear function of its globally averaged feature map."""


@dataclasses.dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = features @ `weights` + `bias`: float64 (F, K) and (K,)."""

    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def logits(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Features (N, F) to logits (N, K)."""
        return np.asarray(features, dtype=np.float64) @ self.weights + self.bias


def read_head(graph: Path) -> LinearHead:
    """The linear head of an ONNX file with the outputs `features` and `logits`.

    Raises:
        NoLinearHead: an output is missing, the logits need more than the features, or the part between is not linear.
    """
    stat = graph.stat()
    return _read_head(graph, stat.st_mtime_ns, stat.st_size)


def check_pooling(head: LinearHead, outputs: dict[str, npt.NDArray[Any]]) -> None:
    """Check on real outputs that `features` is the mean of `feature_map` and that `head` gives `logits`.

    Args:
        head: what `read_head` gave.
        outputs: logits (N, K), features (N, F), feature_map (N, h, w, F).

    Raises:
        NoLinearHead: it is not, so a map made from the head would not add up to the score.
    """
    feature_map, features, logits = (np.asarray(outputs[name]) for name in (FEATURE_MAP, FEATURES, LOGITS))
    if feature_map.ndim != 4 or feature_map.shape[-1] != features.shape[-1]:
        raise NoLinearHead(
            f"Its features {features.shape[1:]} are not the averaged feature map {feature_map.shape[1:]}: the head is "
            "not a pooled one."
        )
    pooled = feature_map.mean(axis=(1, 2), dtype=np.float64)
    if not _close(head.logits(pooled), logits):
        raise NoLinearHead("The averaged feature map does not reproduce its logits: the head is not a pooled one.")


@functools.lru_cache(maxsize=8)
def _read_head(graph: Path, _modified: int, _size: int) -> LinearHead:
    run, features = _cut_out(graph)
    rng = np.random.default_rng(0)
    probes = np.concatenate([np.zeros((1, features)), np.eye(features), rng.normal(size=(8, features))])
    answers = run(probes.astype(np.float32)).astype(np.float64)
    head = LinearHead(weights=answers[1 : features + 1] - answers[0], bias=answers[0])
    if not _close(head.logits(probes[features + 1 :]), answers[features + 1 :]):
        raise NoLinearHead("What lies between its features and its logits is not linear.")
    return head


def _cut_out(graph: Path) -> tuple[Any, int]:
    """A function from features (N, F) to logits (N, K), and F."""
    import onnx
    import onnxruntime
    from onnx.utils import Extractor

    try:
        model = onnx.load_model_from_string(graph.read_bytes())
        published = {output.name: output for output in model.graph.output}
        width = published[FEATURES].type.tensor_type.shape.dim[-1].dim_value
        part = Extractor(model).extract_model([FEATURES], [LOGITS])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except KeyError:
        raise NoLinearHead("Its graph does not publish `features`.") from None
    except Exception as error:  # onnx and onnxruntime raise many kinds here, and each means the same
        raise NoLinearHead(f"Its logits cannot be computed from its features: {str(error).splitlines()[0]}") from error
    if width <= 0:
        raise NoLinearHead("Its graph does not say how many features it has.")
    return lambda features: session.run([LOGITS], {FEATURES: features})[0], width


def _close(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> bool:
    return bool(np.abs(ours - theirs).max() <= TOLERANCE * max(1.0, float(np.abs(theirs).max())))
