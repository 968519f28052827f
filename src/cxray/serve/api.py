"""Our own routes, /api/…: films in, answers out; models, their evidence and report; samples; health and metrics.

Every route takes the film as the raw body or as form field `file`. The order of refusals is cheap first: ready, place,
length, then the body, then the film.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from cxray.serve import answers
from cxray.serve.connection import deadline_of, while_connected
from cxray.serve.models import ServedModel
from cxray.serve.problems import MEDIA_TYPE, Problem
from cxray.serve.samples import find_samples
from cxray.serve.service import Service
from cxray.serve.uploads import Upload, declared_size, read_films

router = APIRouter(prefix="/api")

# Reports are whole pages with their own script and style; the sandbox keeps them from everything of this service.
SANDBOX = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; font-src data:"
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ONE_FORM = {
    "schema": {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
}
_MANY_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
    }
}
FILM_BODY = {
    "requestBody": {
        "required": True,
        "description": "The film: PNG, JPEG or DICOM, as the body itself or as form field `file`.",
        "content": {
            "image/png": _BINARY,
            "image/jpeg": _BINARY,
            "application/dicom": _BINARY,
            "application/octet-stream": _BINARY,
            "multipart/form-data": _ONE_FORM,
        },
    }
}
FILMS_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": _MANY_FORM}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of refusals for a route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    passing = {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}}
    return {
        status: {
            "description": "Refused; `code` says why.",
            "content": content,
            **(passing if status in (429, 503) else {}),
        }
        for status in statuses
    }


FILM_PROBLEMS = problems(400, 401, 403, 404, 413, 415, 422, 429, 503)
_MODEL = Query("", description="Name of the model; empty = the default.")


@router.post(
    "/predict",
    response_model=answers.FilmAnswer,
    responses=FILM_PROBLEMS,
    openapi_extra=FILM_BODY,
    summary="Score one film",
)
async def predict(
    request: Request,
    model: str = _MODEL,
    heat_map: bool = Query(False, description="Also draw a heat map."),
    class_name: str = Query("", description="The class of the heat map; empty = the positive class."),
) -> Response:
    """Calibrated scores, the decision at the stored threshold, the gate's verdict and, when asked for, a heat map."""
    service, served = _entry(request, model)
    async with _one_film(request, service) as upload:
        scored = await while_connected(request, service.score(upload, served, request_id=_id(request)))
        drawn = await service.heat_map(scored, served, class_name) if heat_map else None
    answer = answers.film_answer(scored, served, name=upload.name, request_id=_id(request), heat_map=drawn)
    return JSONResponse(answer)


@router.post(
    "/predict/batch",
    response_model=answers.BatchAnswer,
    responses=FILM_PROBLEMS,
    openapi_extra=FILMS_BODY,
    summary="Score several films",
)
async def predict_batch(request: Request, model: str = _MODEL) -> Response:
    """One entry a film, in the order sent; a film that is refused spoils no other."""
    service, served = _entry(request, model)
    limits = service.limits
    async with _place(request, service, films=1):
        uploads = await read_films(request, limits.upload_bytes, at_most=limits.films_per_request)
        # The one place held so far is for reading; the others are taken now that their number is known.
        with service.admission.place(_client(request), films=len(uploads) - 1, size_bytes=0):
            results = await while_connected(request, _score_all(request, service, served, uploads))
    return JSONResponse({"request_id": _id(request), "results": results})


@router.post(
    "/view",
    response_class=Response,
    responses={
        200: {
            "description": "Rows of little-endian unsigned 16-bit grey values; header `X-Film` is a JSON object.",
            "content": {"application/octet-stream": _BINARY},
        },
        **FILM_PROBLEMS,
    },
    openapi_extra=FILM_BODY,
    summary="Pixels of one film for a viewer",
)
async def view(request: Request) -> Response:
    """The film's own pixels, 0 = black to 65535 = white of its declared range, with no window applied."""
    service = _service(request)
    if service.is_draining:
        raise Problem("draining")
    async with _one_film(request, service) as upload:
        work = service.decoders.decode(upload.content, None, view_side=service.limits.view_side_pixels)
        film = await while_connected(request, work)
    facts = {
        "kind": film.kind,
        "width": film.view_width,
        "height": film.view_height,
        "stored_width": film.width,
        "stored_height": film.height,
        "bits": film.bits,
        "window": film.window,
        "facts": film.facts,
    }
    return Response(film.view, media_type="application/octet-stream", headers={"X-Film": json.dumps(facts)})


@router.get("/models", response_model=list[answers.ModelFacts], responses=problems(401, 403), summary="Served models")
async def models(request: Request) -> Response:
    """All models, the default first."""
    listed = [answers.model_facts(m, is_default=k == 0) for k, m in enumerate(_service(request).models)]
    return JSONResponse(listed)


@router.get(
    "/models/{name}",
    response_model=answers.ModelFacts,
    responses=problems(401, 403, 404),
    summary="One model",
)
async def model_by_name(request: Request, name: str) -> Response:
    """Labels, thresholds and where they come from, calibration, training data, intended use."""
    found = _service(request).models
    return JSONResponse(answers.model_facts(found.find(name), is_default=name == found.names[0]))


@router.get(
    "/models/{name}/evidence", responses=problems(401, 403, 404, 503), summary="Validation counts at every threshold"
)
async def evidence(request: Request, name: str) -> dict[str, Any] | None:
    """How many validation films with and without the finding reach each threshold; null when they are not at hand."""
    service = _service(request)
    model = service.models.find(name)
    service.require_ready(model)
    return model.evidence.curve() if model.evidence else None


@router.get(
    "/models/{name}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}, **problems(401, 403, 404, 503)},
    summary="How the model was made and judged",
)
async def report(request: Request, name: str) -> Response:
    """The report of the run in which the bundle lies, as a page that can reach nothing else."""
    return _page(request, name, "report")


@router.get(
    "/models/{name}/card",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}, **problems(401, 403, 404, 503)},
    summary="The model card",
)
async def card(request: Request, name: str) -> Response:
    """The model card that `cxray card` wrote into the run, as a page that can reach nothing else."""
    return _page(request, name, "card")


@router.get("/samples", responses=problems(401, 403), summary="Films to try the page with")
async def samples(request: Request) -> list[str]:
    """Names of the sample films; always synthetic or supplied by the operator."""
    return sorted(find_samples(_service(request).settings.samples))


@router.get(
    "/samples/{name}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": _BINARY}}, **problems(401, 403, 404)},
    summary="One sample film",
)
async def sample(request: Request, name: str) -> Response:
    """The file itself."""
    found = find_samples(_service(request).settings.samples).get(name)
    if found is None:
        raise Problem("not_found")
    return FileResponse(found, media_type="application/octet-stream")


@router.get("/live", summary="Is the process alive?")
async def live() -> dict[str, bool]:
    """Yes, if this is answered at all."""
    return {"live": True}


@router.get("/ready", responses=problems(503), summary="May films be sent?")
async def ready(request: Request) -> dict[str, bool]:
    """Every model got its golden scores on its engine, the decoders are up, and the service is not shutting down."""
    service = _service(request)
    if not service.is_ready:
        raise Problem("draining" if service.is_draining else "not_ready")
    return {"ready": True}


async def _score_all(request: Request, service: Service, model: ServedModel, uploads: list[Upload]) -> list[Any]:
    async def one(upload: Upload) -> dict[str, Any]:
        try:
            scored = await service.score(upload, model, request_id=_id(request))
        except Problem as problem:
            return {**problem.document(_id(request)), "name": upload.name}
        return answers.film_answer(scored, model, name=upload.name, request_id=_id(request), heat_map=None)

    return list(await asyncio.gather(*(one(upload) for upload in uploads)))


@contextlib.asynccontextmanager
async def _one_film(request: Request, service: Service) -> AsyncIterator[Upload]:
    async with _place(request, service, films=1):
        started = time.monotonic()
        uploads = await read_films(request, service.limits.upload_bytes, at_most=1)
        service.metrics.stage_done("read", time.monotonic() - started)
        yield uploads[0]


@contextlib.asynccontextmanager
async def _place(request: Request, service: Service, *, films: int) -> AsyncIterator[None]:
    """A place, memory for the body, and a deadline; a body that was refused unread is discarded."""
    deadline = deadline_of(request, service.limits.deadline_seconds)
    size = declared_size(request, service.limits.upload_bytes)
    try:
        with service.admission.place(_client(request), films=films, size_bytes=size):
            async with asyncio.timeout(deadline):
                yield
    except TimeoutError:
        raise Problem("deadline_exceeded") from None


def _entry(request: Request, model: str) -> tuple[Service, ServedModel]:
    service = _service(request)
    served = service.models.find(model)
    service.require_ready(served)
    return service, served


def _page(request: Request, name: str, page: str) -> Response:
    service = _service(request)
    model = service.models.find(name)
    service.require_ready(model)
    if page not in model.pages:
        raise Problem("no_report")
    return FileResponse(model.pages[page], media_type="text/html", headers={"Content-Security-Policy": SANDBOX})


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _id(request: Request) -> str:
    return str(request.state.request_id)
