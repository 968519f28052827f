"""The door: request id, host, origin, token, security headers, problem documents, metrics and one log line a request.

Pure ASGI, outside every route, so that nothing is answered without it. The log holds method, route, status, code,
seconds and request id: no file name, no query, no address of a person.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxray.serve.metrics import Metrics
from cxray.serve.problems import MEDIA_TYPE, Problem
from cxray.serve.settings import Settings
from cxray.serve.uploads import discard_body

log = logging.getLogger("cxray.serve")
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Asked by load balancers and browsers before anybody can present a token; none of them shows data of a film.
OPEN_PATHS = re.compile(r"/(|favicon\.ico|assets/[\w.-]+|api/live|api/ready|v2/health/(live|ready))")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Wraps the application; `settings.token` and `settings.allowed_hosts` decide who gets in."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._token = settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        try:
            self._admit(scope["path"], Headers(scope=scope))
            await self._app(scope, receive, visit.send)
        except Problem as problem:
            await discard_body(Request(scope, receive))
            await problem_response(scope, problem)(scope, receive, visit.send)
        except Exception:
            log.exception("request %s failed", visit.request_id)
            if not visit.status:
                await problem_response(scope, Problem("internal"))(scope, receive, visit.send)
        finally:
            self._record(scope, visit)

    def _admit(self, path: str, headers: Headers) -> None:
        if not self._is_known_host(headers.get("host", "")):
            raise Problem("host_not_allowed")
        if _is_cross_site(headers):
            raise Problem("cross_site")
        if self._token and not OPEN_PATHS.fullmatch(path) and not self._is_authorized(headers):
            raise Problem("unauthorized")

    def _is_known_host(self, host: str) -> bool:
        # On loopback a foreign name means DNS rebinding: a page elsewhere that pretends to be this machine.
        if not self._settings.is_local and not self._settings.allowed_hosts:
            return True
        return re.sub(r":\d+$", "", host).lower() in (*self._settings.allowed_hosts, *LOCAL_NAMES)

    def _is_authorized(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._token) and scheme.lower() == "bearer"

    def _record(self, scope: Scope, visit: _Visit) -> None:
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.monotonic() - visit.started
        code = visit.code
        self._metrics.request_done(route, visit.status, code, seconds)
        log.info("%s %s %s %d %s %.3f s", visit.request_id, scope["method"], route, visit.status, code or "-", seconds)


class _Visit:
    """One request on its way out: adds headers, remembers status and code."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.started, self.status, self._scope, self._send = time.monotonic(), 0, scope, send
        scope.setdefault("state", {})["request_id"] = self.request_id

    @property
    def code(self) -> str:
        return str(self._scope["state"].get("problem", ""))

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self.request_id
        await self._send(message)


def problem_response(scope: Scope, problem: Problem) -> Response:
    """A refusal as a problem document; on the inference protocol's routes as that protocol wants it."""
    state = scope.setdefault("state", {})
    state["problem"] = problem.code
    limits = getattr(getattr(scope.get("app"), "state", None), "limits", None)
    headers = problem.headers(limits.retry_after_seconds if limits else 1)
    if scope["path"].startswith("/v2"):
        body: dict[str, Any] = {"error": f"{problem.code}: {problem.detail or problem.kind.title}"}
        return JSONResponse(body, problem.kind.status, headers)
    document = problem.document(state.get("request_id", ""))
    return JSONResponse(document, problem.kind.status, headers, media_type=MEDIA_TYPE)


def _is_cross_site(headers: Headers) -> bool:
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return True
    origin = headers.get("origin", "")
    return bool(origin) and origin != "null" and origin.partition("://")[2].lower() != headers.get("host", "").lower()
