"""Running the service until it is told to stop: SIGTERM or Ctrl-C lets films under way finish, then leaves.

While it drains, /api/ready answers 503 and new films are refused with `draining`, so that a load balancer moves on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from cxray import extras
from cxray.errors import CxrayError, UsageError
from cxray.serve.settings import Settings

log = logging.getLogger("cxray.serve")


def serve(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    `on_ready` is called with the address once every model got its golden scores.

    Raises:
        MissingExtra: the extra `serve` is not installed.
        UsageError: the address cannot be used, or a decoder that strangers' films can crash is installed.
        BundleError: a bundle is damaged or misses its golden scores.
    """
    _log_to_stderr()
    server = make_server(settings, on_ready=on_ready)
    try:
        server.run()
    except SystemExit as error:  # uvicorn leaves so when the address is taken
        raise UsageError(
            f"{settings.host} port {settings.port} cannot be used (taken, or not allowed).", "Choose another --port."
        ) from error
    if server.failure:
        raise server.failure


def make_server(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> Any:
    """A uvicorn server around the service, not yet running; `should_exit = True` ends it as a signal would.

    Raises:
        MissingExtra, UsageError: as `serve`.
    """
    uvicorn = require_serving_libraries()
    from cxray.data.dicom import refuse_unsafe_decoders
    from cxray.serve.app import build_app

    refuse_unsafe_decoders()
    app, service = build_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host.strip("[]"),
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
        timeout_graceful_shutdown=settings.limits.drain_seconds,
        timeout_keep_alive=75,
        backlog=512,
    )
    return _server_class(uvicorn)(config, service, on_ready)


def require_serving_libraries() -> Any:
    """uvicorn, once everything that serving needs is known to be there.

    Raises:
        MissingExtra: the extra `serve` is not installed.
    """
    for module in ("fastapi", "prometheus_client", "python_multipart"):
        extras.require(module, "serve", "The HTTP service")
    return extras.require("uvicorn", "serve", "The HTTP service")


def _server_class(uvicorn: Any) -> Any:
    class Server(uvicorn.Server):  # type: ignore[misc]
        """uvicorn's server that tells the service about its start and its end."""

        def __init__(self, config: Any, service: Any, on_ready: Callable[[str], None] | None) -> None:
            super().__init__(config)
            self.service, self.on_ready = service, on_ready
            self.failure: CxrayError | None = None

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.servers:
                self._ready = asyncio.create_task(self._when_ready())

        async def _when_ready(self) -> None:
            try:
                await self.service.loading
            except asyncio.CancelledError:
                return
            self.failure = next((model.failure for model in self.service.models if model.failure), None)
            if self.failure:
                self.should_exit = True
            elif self.on_ready:
                self.on_ready(_address(self.servers[0].sockets[0].getsockname()))

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            # Not the base class's way, which raises the signal again afterwards: an orderly end is exit code 0.
            log.info("stopping: films under way are finished first")
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = self.service.is_draining = True

    return Server


def _address(name: tuple[Any, ...]) -> str:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"


def _log_to_stderr() -> None:
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
