"""The child process in which a film is read that may have ended a worker: `python -m cxray.cluster.decode_child`.

A line of JSON comes in on stdin (`path`; `height`, `width`, `fit` and `version` of the input card), a line of JSON goes
out on stdout (`ok`, then `facts`, or `error`), followed by the prepared film as height × width bytes. What it cannot
answer in time is killed from outside.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO

from cxray.cluster.locations import read_located
from cxray.config import InputCard
from cxray.errors import UnreadableImage


def main() -> None:
    """Answer requests until stdin closes."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # decoders that print must not reach our line
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _answer(Path(request["path"]), InputCard(**request["card"]), out)


def _answer(path: Path, card: InputCard, out: IO[bytes]) -> None:
    try:
        ready = read_located(path, card)
    except UnreadableImage as error:
        _send(out, {"ok": False, "error": str(error)}, b"")
    else:
        _send(out, {"ok": True, "facts": list(ready.facts)}, ready.film.tobytes())


def _send(out: IO[bytes], header: dict[str, object], film: bytes) -> None:
    out.write(json.dumps(header).encode() + b"\n" + film)
    out.flush()


if __name__ == "__main__":
    main()
