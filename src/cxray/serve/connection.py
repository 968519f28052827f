"""Working for a client that may leave or run out of patience: work stops when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from cxray.serve.problems import Problem

T = TypeVar("T")
DEADLINE_HEADER = "x-deadline-seconds"


def deadline_of(request: Request, longest_seconds: float) -> float:
    """Seconds this request may take: the client's `X-Deadline-Seconds`, at most the service's own limit.

    Raises:
        Problem: not a number above 0.
    """
    text = request.headers.get(DEADLINE_HEADER)
    if text is None:
        return longest_seconds
    try:
        seconds = float(text)
    except ValueError:
        raise Problem("bad_deadline") from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise Problem("bad_deadline")
    return min(seconds, longest_seconds)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client closes the connection. The body must have been read.

    Raises:
        Problem: `client_gone`, and whatever `work` raises.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem("client_gone")
        return task.result()
    finally:
        for unfinished in (task, watch):
            if not unfinished.done():
                unfinished.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
