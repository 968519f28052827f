"""A pool of decoding children: one film to one child, a deadline for each, a new child for every one that fails.

    decode() ─► wait for a free child ─► frame out ─► frame in ─► Decoded
                                       └► too late, closed or nonsense: kill, start another, refuse the film

A caller that goes away leaves its child to finish within the deadline; nobody reads the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.serve import wire
from cxray.serve.problems import KINDS, Problem

START_SECONDS = 60.0
# Decoders leak now and then; a child is replaced long before that is felt.
FILMS_PER_CHILD = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A film out of its child.

    `film` is the prepared film uint8 (height, width) of the card, None when no card was given; `view` the viewer's
    pixels uint16 (view_height, view_width), little-endian bytes, and `window` the film's own window on them. `width`,
    `height` are the stored size in pixels; `place` is where the film lies in `film`: top, left, height, width.
    """

    kind: str
    width: int
    height: int
    bits: int
    facts: tuple[str, ...]
    film: npt.NDArray[np.uint8] | None
    view: bytes
    view_width: int
    view_height: int
    window: tuple[int, int]
    place: tuple[int, int, int, int]
    seconds: float


@dataclasses.dataclass(eq=False)
class _Child:
    process: subprocess.Popen[bytes]
    line: socket.socket
    films: int = 0


class DecoderPool:
    """`count` children with `memory_bytes` of address space and `seconds` a film each."""

    def __init__(self, count: int, *, seconds: float, memory_bytes: int) -> None:
        self.count, self._seconds, self._memory_bytes = count, seconds, memory_bytes
        self._free: asyncio.Queue[_Child] = asyncio.Queue()
        self._children: set[_Child] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self.restarts = 0

    async def start(self) -> None:
        """Start all children and wait until each answers."""
        await all_of(*(self._add() for _ in range(self.count)))

    async def stop(self) -> None:
        """Kill all children."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._remove(child) for child in list(self._children)))

    @property
    def process_ids(self) -> list[int]:
        """The children's process ids, for tests and measurements."""
        return [child.process.pid for child in self._children]

    async def decode(self, content: bytes, card: InputCard | None, *, view_side: int = 0) -> Decoded:
        """Decode one film.

        Raises:
            Problem: the child refuses the film, stops, or takes too long.
        """
        child = await self._free.get()
        task = asyncio.create_task(self._exchange(child, content, card, view_side))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that a caller who left causes no warning

    async def _exchange(self, child: _Child, content: bytes, card: InputCard | None, view_side: int) -> Decoded:
        started, keep = time.monotonic(), False
        job = {"card": None if card is None else _card_fields(card), "view_side": view_side}
        try:
            async with asyncio.timeout(self._seconds):
                await _send(child.line, job, content)
                header, payload = await _receive(child.line)
            child.films += 1
            keep = child.films < FILMS_PER_CHILD
            return _decoded(header, payload, card, time.monotonic() - started)
        except TimeoutError:
            raise Problem("decode_timeout") from None
        except (wire.BrokenFrame, OSError, KeyError, TypeError, ValueError):
            keep = False
            raise Problem("decoder_crashed") from None
        finally:
            self._give_back(child, keep)

    def _give_back(self, child: _Child, keep: bool) -> None:
        if keep and not self._is_closed:
            self._free.put_nowait(child)
        elif not self._is_closed:
            self.restarts += 1
            task = asyncio.create_task(self._replace(child))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    async def _replace(self, child: _Child) -> None:
        await self._remove(child)
        while not self._is_closed:
            try:
                await self._add()
                return
            except (OSError, wire.BrokenFrame, TimeoutError):  # out of memory or processes: the machine may recover
                await asyncio.sleep(1)

    async def _add(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            command = [sys.executable, "-P", "-m", "cxray.serve.decode_child"]
            process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(self._memory_bytes)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # parsers print values of films there
                env=_environment(),
            )
        child = _Child(process, ours)
        self._children.add(child)
        try:
            async with asyncio.timeout(START_SECONDS):
                await _receive(ours)
        except BaseException:
            await self._remove(child)
            raise
        self._free.put_nowait(child)

    async def _remove(self, child: _Child) -> None:
        self._children.discard(child)
        child.line.close()
        child.process.kill()
        await asyncio.to_thread(child.process.wait)


async def all_of(*work: Coroutine[Any, Any, None]) -> None:
    """Do all at once and return when none is under way any more, not even when one failed or the caller was cancelled.

    Plain `gather` would leave the others, and the children that they are ending, to themselves.

    Raises:
        BaseException: what the first of them that failed raised.
    """
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _environment() -> dict[str, str]:
    """What the child needs to start, and nothing that is secret."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _card_fields(card: InputCard) -> dict[str, Any]:
    return {field.name: getattr(card, field.name) for field in dataclasses.fields(card) if field.init}


def _decoded(header: dict[str, Any], payload: bytearray, card: InputCard | None, seconds: float) -> Decoded:
    if not header["ok"]:
        raise Problem(header["code"] if header["code"] in KINDS else "decoder_crashed", _reason(header["reason"]))
    film_bytes = card.height * card.width if card else 0
    view_width, view_height = int(header["view_width"]), int(header["view_height"])
    if header["film_bytes"] != film_bytes or len(payload) != film_bytes + 2 * view_width * view_height:
        raise ValueError("payload and header of the child disagree")
    film = np.frombuffer(payload, dtype=np.uint8, count=film_bytes).reshape(card.height, card.width) if card else None
    return Decoded(
        kind=str(header["kind"]),
        width=int(header["width"]),
        height=int(header["height"]),
        bits=int(header["bits"]),
        facts=tuple(map(str, header["facts"])),
        film=film,
        view=bytes(memoryview(payload)[film_bytes:]),
        view_width=view_width,
        view_height=view_height,
        window=(int(header["window"][0]), int(header["window"][1])),
        place=_place(header["place"]),
        seconds=seconds,
    )


def _place(sides: Any) -> tuple[int, int, int, int]:
    top, left, height, width = map(int, sides)
    return top, left, height, width


def _reason(code: Any) -> str:
    """A refusal's own code as a sentence; only words of a code's alphabet may pass, whatever the child says."""
    return f"Reason: {code}." if isinstance(code, str) and re.fullmatch(r"[a-z][a-z-]{1,40}", code) else ""


async def _send(line: socket.socket, header: dict[str, Any], payload: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(line, wire.pack(header, len(payload)))
    await loop.sock_sendall(line, payload)


async def _receive(line: socket.socket) -> tuple[dict[str, Any], bytearray]:
    header_bytes, payload_bytes = wire.unpack_lengths(await _exactly(line, wire.LENGTHS.size))
    return wire.unpack_header(await _exactly(line, header_bytes)), await _exactly(line, payload_bytes)


async def _exactly(line: socket.socket, count: int) -> bytearray:
    loop = asyncio.get_running_loop()
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    while filled < count:
        with contextlib.suppress(InterruptedError):
            got = await loop.sock_recv_into(line, view[filled:])
            if not got:
                raise wire.BrokenFrame("the child closed the line")
            filled += got
    return buffer
