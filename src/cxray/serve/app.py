"""The application: routes, refusals and life cycle around one `Service`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from cxray import __version__
from cxray.serve import api, inference_protocol, page
from cxray.serve.answers import ProblemDocument
from cxray.serve.guard import Guard, problem_response
from cxray.serve.problems import OF_STATUS, Problem
from cxray.serve.service import Service
from cxray.serve.settings import Settings
from cxray.serve.uploads import discard_body

DESCRIPTION = (
    "Scores chest radiographs with verified bundles. Research use only; not a medical device.\n\n"
    "Films come as PNG, JPEG or DICOM and are never stored. Every refusal is a problem document with a `code`; with "
    "`Retry-After` where waiting helps. Programs that prepare films themselves use the Open Inference Protocol, /v2."
)


def build_app(settings: Settings) -> tuple[ASGIApp, Service]:
    """The guarded application and its service; the models load in the background once the application has started."""
    service = Service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(service.start())
        service.loading = loading
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await service.stop()

    app = FastAPI(
        title="cxray",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # both documentation pages load scripts from other sites
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service, app.state.limits = service, settings.limits
    app.include_router(api.router)
    app.include_router(inference_protocol.router)
    app.include_router(page.router)
    app.add_api_route("/metrics", _metrics, response_class=Response, summary="Prometheus metrics", responses=_TEXT)
    app.add_exception_handler(Problem, _refuse)
    app.add_exception_handler(HTTPException, _refuse_status)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(Exception, _refuse_fault)
    _document(app, settings)
    return Guard(app, settings, service.metrics), service


_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


async def _metrics(request: Request) -> Response:
    """Outcomes, queue, batch sizes, seconds of every stage, refusals, scores and their shift."""
    service: Service = request.app.state.service
    text = service.metrics.text(
        under_way=service.admission.films, waiting=service.models.waiting, restarts=service.decoders.restarts
    )
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    if error.code != "client_gone":
        await discard_body(request)
    return problem_response(request.scope, error)


async def _refuse_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _refuse(request, Problem(OF_STATUS.get(error.status_code, "bad_request")))


async def _refuse_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = {str(part) for entry in error.errors() for part in entry["loc"][-1:]}
    return await _refuse(request, Problem("bad_request", f"Not valid: {', '.join(sorted(fields))[:200]}."))


async def _refuse_fault(request: Request, error: Exception) -> Response:
    # Our own mistake: the guard logs it with its request id, and the client learns nothing about it but that.
    return problem_response(request.scope, Problem("internal"))


def _document(app: FastAPI, settings: Settings) -> None:
    """Complete the OpenAPI description: the schema of refusals and, with a token, how to send it."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {}).setdefault("ProblemDocument", ProblemDocument.model_json_schema())
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        for path in schema["paths"].values():
            for operation in path.values():
                refusal = operation["responses"].get("422", {})
                if "HTTPValidationError" in str(refusal):
                    operation["responses"]["400"] = {"description": "Not valid.", "content": _PROBLEM_CONTENT}
                    del operation["responses"]["422"]
        if settings.token:
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
