"""Reading films one by one in a child process with a deadline: for blocks in which a worker died before.

The film that ends its child, or takes too long, gets a sentence instead of a result; all others of its block are
scored as ever. A child costs its start (half a second) and the way of each film through a pipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cxray.config import InputCard
from cxray.errors import UnreadableImage
from cxray.runtime.predict import ReadyFilm

START_SECONDS = 60.0


class ChildReader:
    """Reads films in a child; a context that ends it."""

    def __init__(self, film_seconds: float) -> None:
        self._film_seconds = film_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> ChildReader:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._end()

    def read(self, path: Path, card: InputCard) -> ReadyFilm:
        """As `read_located`.

        Raises:
            UnreadableImage: also when the film ends the child or takes longer than `film_seconds`.
        """
        is_new = self._child is None
        child = self._child or self._start()
        fields = {field.name: getattr(card, field.name) for field in dataclasses.fields(card) if field.init}
        deadline = time.monotonic() + self._film_seconds + (START_SECONDS if is_new else 0)
        try:
            self._ask(child, json.dumps({"path": str(path), "card": fields}).encode() + b"\n")
            header = json.loads(self._line(child, deadline))
            film = self._exactly(child, card.height * card.width, deadline) if header["ok"] else b""
        except TimeoutError as error:
            self._end()
            raise UnreadableImage(
                f"{path}: reading it took longer than {self._film_seconds:g} seconds and was ended.",
                "Take the film out, or raise --film-seconds.",
            ) from error
        except (EOFError, ValueError) as error:
            code = self._end()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise UnreadableImage(
                f"{path}: reading it ended the process ({how}).", "Take the film out, or repair it."
            ) from error
        if not header["ok"]:
            raise UnreadableImage(header["error"])
        pixels = np.frombuffer(film, dtype=np.uint8).reshape(card.height, card.width)
        return ReadyFilm(pixels, tuple(header["facts"]))

    def _start(self) -> subprocess.Popen[bytes]:
        self._buffer.clear()
        command = [sys.executable, "-P", "-m", "cxray.cluster.decode_child"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        )
        return self._child

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.5)  # one that died by itself says how
        child.kill()
        code = child.wait()
        for stream in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        return code

    def _ask(self, child: subprocess.Popen[bytes], request: bytes) -> None:
        stream: Any = child.stdin
        try:
            stream.write(request)
            stream.flush()
        except OSError as error:
            raise EOFError from error

    def _line(self, child: subprocess.Popen[bytes], deadline: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._more(child, deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _exactly(self, child: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
        while len(self._buffer) < count:
            self._more(child, deadline)
        content = bytes(self._buffer[:count])
        del self._buffer[:count]
        return content

    def _more(self, child: subprocess.Popen[bytes], deadline: float) -> None:
        stream: Any = child.stdout
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        chunk = os.read(stream.fileno(), 1 << 20)
        if not chunk:
            raise EOFError
        self._buffer += chunk


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
