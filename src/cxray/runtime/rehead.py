"""A graph with another linear head: everything up to the pooled features stays, bit for bit.

Works on any graph that publishes `features` and `logits`; the operators between the two are cut away and one Gemm
takes their place. What they did is read as a matrix by the caller (`explain.head.read_head`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxray.bundle import OUTPUTS
from cxray.errors import BundleError
from cxray.rundir import atomic_path

_LOGITS, _FEATURES, _MAP = OUTPUTS


def write_with_head(
    source: Path, target: Path, weights: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> None:
    """Copy the ONNX file `source` to `target` with logits = features @ `weights` (F, K) + `bias` (K,).

    Raises:
        BundleError: the graph does not publish its features, or gives another number of them.
    """
    import onnx
    from onnx import helper, numpy_helper
    from onnx.utils import Extractor

    model = onnx.load_model_from_string(source.read_bytes())
    published = {output.name: output for output in model.graph.output}
    missing = {_LOGITS, _FEATURES} - set(published)
    width = 0 if missing else published[_FEATURES].type.tensor_type.shape.dim[-1].dim_value
    if missing or width != len(weights):
        raise BundleError(
            f"{source} has no head that could be exchanged: it publishes {', '.join(published)}"
            + (f" with {width} features, not {len(weights)}." if not missing else "."),
            "Adapt with --method threshold, or train again.",
        )
    kept = [name for name in (_FEATURES, _MAP) if name in published]
    body = Extractor(model).extract_model([model.graph.input[0].name], kept)
    names = ("adapted_head_weights", "adapted_head_bias")
    for name, values in zip(names, (weights, bias), strict=True):
        body.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    body.graph.node.append(helper.make_node("Gemm", [_FEATURES, *names], [_LOGITS], name="adapted_head"))
    rest = list(body.graph.output)
    del body.graph.output[:]
    body.graph.output.extend([published[_LOGITS], *rest])
    onnx.checker.check_model(body)
    with atomic_path(target) as temporary:
        onnx.save(body, str(temporary))
