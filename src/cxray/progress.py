"""Progress on stderr: a bar when a person watches, a plain line now and then when not."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_logs: list[Path] = []
_QUIET_SECONDS = 20.0


def track(items: Iterable[T], *, total: int | None, what: str, unit: str = "film") -> Iterator[T]:
    """Pass `items` through and show how far, how fast (units a second) and how long still.

    On a terminal this is a bar. Elsewhere a line is printed every 20 seconds, so that logs stay readable and
    short work stays silent.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, unit=unit, leave=False)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _QUIET_SECONDS:
            last = now
            print(_line(what, unit, done, total, now - started), file=sys.stderr, flush=True)


@contextlib.contextmanager
def counted(*, total: int, what: str, unit: str = "film") -> Iterator[Callable[[int], None]]:
    """As `track`, for work that comes in batches: hands out a function to call with the number of units just done."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit=unit, leave=False) as bar:
            yield bar.update
        return
    started = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _QUIET_SECONDS:
            last = now
            print(_line(what, unit, done, total, now - started), file=sys.stderr, flush=True)

    yield advance


def say(text: str) -> None:
    """One line to stderr: what happens now, for the person who waits; also to the logs that are open."""
    print(text, file=sys.stderr, flush=True)
    for path in _logs:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Let everything that is said also be written to `path`, with the time; an existing log is continued."""
    _logs.append(path)
    try:
        yield
    finally:
        _logs.remove(path)


def _line(what: str, unit: str, done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds
    line = f"{what}: {done}{f' of {total}' if total else ''} {unit}s, {rate:.0f}/s"
    return f"{line}, {(total - done) / rate:.0f} s left" if total else line
