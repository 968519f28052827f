"""Tensors of the Open Inference Protocol V2: JSON numbers and the binary tensor extension, both ways.

A request is a JSON object, followed by raw little-endian tensors when the header `Inference-Header-Content-Length` says
where the object ends. Source: KServe, "Open Inference Protocol" V2, and its extension `binary_tensor_data`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.serve.problems import Problem

HEADER_LENGTH = "Inference-Header-Content-Length"
DATATYPES: dict[str, npt.DTypeLike] = {"FP32": "<f4", "FP64": "<f8"}


def split_request(body: bytes, header_length: str | None) -> tuple[dict[str, Any], memoryview]:
    """The JSON object of a request and the raw bytes after it.

    Raises:
        Problem: a length that is none, or no JSON object.
    """
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > length:
            raise _bad(f"{HEADER_LENGTH} is not a length within the body.")
        length = int(header_length)
    try:
        request = json.loads(body[:length])
    except (ValueError, RecursionError):
        raise _bad("The request is no JSON object.") from None
    if not isinstance(request, dict):
        raise _bad("The request is no JSON object.")
    return request, memoryview(body)[length:]


def read_tensor(
    request: Mapping[str, Any], raw: memoryview, *, name: str, shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """The one FP32 input tensor called `name`, float32 (N, *shape).

    Raises:
        Problem: another name, type or shape, too few or too many numbers, or numbers that are not finite.
    """
    inputs = request.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise _bad("Exactly one input tensor is expected.")
    tensor = inputs[0]
    if tensor.get("name") != name or tensor.get("datatype") != "FP32":
        raise _bad(f"The input must be called {name!r} and have datatype FP32.")
    given: Any = tensor.get("shape")
    if not _is_shape(given, shape):
        raise _bad(f"The shape must be [N, {', '.join(map(str, shape))}].")
    values = _values(tensor, raw)
    if values.size != math.prod(given):
        raise _bad("Shape and number of values disagree.")
    if not np.isfinite(values).all():
        raise _bad("Every value must be finite.")
    return values.reshape(given)


def _is_shape(given: Any, shape: Sequence[int]) -> bool:
    is_list = isinstance(given, list) and all(type(side) is int for side in given)
    return is_list and len(given) == len(shape) + 1 and given[0] > 0 and list(given[1:]) == list(shape)


def _values(tensor: Mapping[str, Any], raw: memoryview) -> npt.NDArray[np.float32]:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        if len(raw):
            raise _bad("There is binary data that no tensor claims.")
        try:
            with np.errstate(over="ignore"):
                return np.asarray(tensor.get("data"), dtype=np.float32).ravel()
        except (ValueError, TypeError, OverflowError):
            raise _bad("The data are not numbers.") from None
    if type(size) is not int or size != len(raw) or size % 4:
        raise _bad("binary_data_size is not the length of the binary data.")
    return np.frombuffer(raw, dtype="<f4")


def pack_response(
    header: dict[str, Any], tensors: Mapping[str, tuple[str, npt.NDArray[Any]]], binary: Mapping[str, bool]
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a response; `tensors`: name to datatype and array (any shape); `binary`: which go raw."""
    raw: list[bytes] = []
    outputs = []
    for name, (datatype, array) in tensors.items():
        described: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
        if binary[name]:
            raw.append(array.astype(DATATYPES[datatype]).tobytes())
            described["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            described["data"] = array.ravel().tolist()
        outputs.append(described)
    text = json.dumps({**header, "outputs": outputs}).encode()
    if not raw:
        return text, {"Content-Type": "application/json"}
    return b"".join([text, *raw]), {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}


def wanted_outputs(request: Mapping[str, Any], known: Sequence[str]) -> dict[str, bool]:
    """The outputs that a request asks for, in its order, and whether each goes as binary data.

    Raises:
        Problem: an output that there is not, or outputs that are no list of objects.
    """
    parameters = request.get("parameters")
    default = bool(parameters.get("binary_data_output", False)) if isinstance(parameters, dict) else False
    asked = request.get("outputs")
    if not asked:
        return dict.fromkeys(known, default)
    if not isinstance(asked, list) or not all(isinstance(entry, dict) for entry in asked):
        raise _bad("outputs must be a list of objects.")
    wanted: dict[str, bool] = {}
    for entry in asked:
        if entry.get("name") not in known:
            raise _bad(f"There is no such output; there are: {', '.join(known)}.")
        own = entry.get("parameters")
        wanted[entry["name"]] = bool(own.get("binary_data", default)) if isinstance(own, dict) else default
    return wanted


def _bad(detail: str) -> Problem:
    return Problem("bad_request", detail)
