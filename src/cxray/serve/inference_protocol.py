"""The Open Inference Protocol V2, /v2/…: prepared films as tensors in, scores and logits out.

For programs that prepare films themselves, by the bundle's input card. Any client of the protocol works, Triton's among
them. Errors are `{"error": "code: sentence"}`, because clients read nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from cxray import __version__
from cxray.serve.connection import deadline_of, while_connected
from cxray.serve.models import ServedModel
from cxray.serve.problems import Problem
from cxray.serve.service import Service
from cxray.serve.tensors import HEADER_LENGTH, pack_response, read_tensor, split_request, wanted_outputs
from cxray.serve.uploads import declared_size, read_body

router = APIRouter(prefix="/v2")
VERSION = "1"
INPUT = "films"
OUTPUTS = {"scores": "FP64", "logits": "FP32"}
_ERROR = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": "Refused.", "content": _ERROR} for status in (400, 401, 403, 404, 413, 415, 429, 503)
}
_EXAMPLE = {
    "inputs": [{"name": INPUT, "shape": [1, 224, 224, 1], "datatype": "FP32", "data": [0.0, 0.5, 1.0]}],
    "outputs": [{"name": "scores"}],
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["inputs"]}, "example": _EXAMPLE},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("", responses=_REFUSALS, summary="Server metadata")
async def server_metadata() -> dict[str, Any]:
    """Name, version and extensions."""
    return {"name": "cxray", "version": __version__, "extensions": ["binary_tensor_data", "model_repository"]}


@router.get("/health/live", summary="Is the process alive?")
async def health_live() -> dict[str, bool]:
    """Yes, if this is answered at all."""
    return {"live": True}


@router.get("/health/ready", responses=_REFUSALS, summary="May tensors be sent?")
async def health_ready(request: Request) -> dict[str, bool]:
    """As /api/ready."""
    if not _service(request).is_ready:
        raise Problem("not_ready")
    return {"ready": True}


@router.post("/repository/index", responses=_REFUSALS, summary="Served models")
async def repository_index(request: Request) -> list[dict[str, str]]:
    """Extension model_repository: names and states. Models are never loaded or unloaded by request."""
    states = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}
    return [{"name": m.name, "version": VERSION, "state": states[m.state]} for m in _service(request).models]


@router.get("/models/{name}", responses=_REFUSALS, summary="Model metadata")
@router.get("/models/{name}/versions/{version}", responses=_REFUSALS, summary="Model metadata")
async def metadata(request: Request, name: str, version: str = VERSION) -> dict[str, Any]:
    """Tensors, and under `parameters` labels, thresholds, model hash and intended use."""
    model = _model(request, name, version)
    _service(request).require_ready(model)
    bundle = model.bundle
    classes = len(bundle.classes)
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *_shape(model)]}],
        "outputs": [{"name": n, "datatype": datatype, "shape": [-1, classes]} for n, datatype in OUTPUTS.items()],
        "parameters": {
            "labels": list(bundle.classes),
            "positive": bundle.positive,
            "thresholds": {n: threshold.value for n, threshold in bundle.thresholds.items()},
            "sha256": bundle.facts["files"]["model.onnx"],
            "input": "grey, 0 = black to 1 = white, prepared by the bundle's input card",
            "intended_use": bundle.facts.get("intended_use", ""),
        },
    }


@router.get("/models/{name}/ready", responses=_REFUSALS, summary="Is the model ready?")
@router.get("/models/{name}/versions/{version}/ready", responses=_REFUSALS, summary="Is the model ready?")
async def model_ready(request: Request, name: str, version: str = VERSION) -> dict[str, Any]:
    """Whether it got its golden scores."""
    model = _model(request, name, version)
    _service(request).require_ready(model)
    return {"name": model.name, "ready": True}


@router.post("/models/{name}/infer", responses=_REFUSALS, openapi_extra=_BODY, summary="Infer")
@router.post("/models/{name}/versions/{version}/infer", responses=_REFUSALS, openapi_extra=_BODY, summary="Infer")
async def infer(request: Request, name: str, version: str = VERSION) -> Response:
    """Scores and logits of films FP32 [N, height, width, 1], 0–1; each film of a request is batched with all others."""
    service, model = _service(request), _model(request, name, version)
    service.require_ready(model)
    limits = service.limits
    client = request.client.host if request.client else ""
    try:
        async with asyncio.timeout(deadline_of(request, limits.deadline_seconds)):
            with service.admission.place(client, films=1, size_bytes=declared_size(request, limits.upload_bytes)):
                body = await read_body(request, limits.upload_bytes)
                header, raw = split_request(body, request.headers.get(HEADER_LENGTH))
                films = read_tensor(header, raw, name=INPUT, shape=_shape(model))
                if len(films) > limits.films_per_request:
                    raise Problem("too_many_films", f"At most {limits.films_per_request} films a request.")
                wanted = wanted_outputs(header, list(OUTPUTS))
                with service.admission.place(client, films=len(films) - 1, size_bytes=0):
                    rows = await while_connected(request, _run_all(service, model, films))
    except TimeoutError:
        raise Problem("deadline_exceeded") from None
    return _answer(header, model, {n: np.stack([row[n] for row in rows]) for n in wanted}, wanted)


async def _run_all(service: Service, model: ServedModel, films: Any) -> list[Any]:
    rows = await asyncio.gather(*(service.run(model, film) for film in films))
    return [row.outputs for row in rows]


def _answer(header: dict[str, Any], model: ServedModel, arrays: dict[str, Any], wanted: dict[str, bool]) -> Response:
    described: dict[str, Any] = {"model_name": model.name, "model_version": VERSION}
    if isinstance(header.get("id"), str):
        described["id"] = header["id"]
    body, headers = pack_response(described, {n: (OUTPUTS[n], array) for n, array in arrays.items()}, wanted)
    return Response(body, headers=headers)


def _shape(model: ServedModel) -> tuple[int, int, int]:
    return (model.bundle.card.height, model.bundle.card.width, 1)


def _model(request: Request, name: str, version: str) -> ServedModel:
    if version != VERSION:
        raise Problem("unknown_model", f"There is only version {VERSION}.")
    return _service(request).models.find(name)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
