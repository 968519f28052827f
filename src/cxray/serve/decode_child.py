"""The child process in which strangers' films are decoded: `python -m cxray.serve.decode_child FD MEMORY_BYTES`.

It reads one frame (job and film), answers with one frame, and waits for the next. It holds no secret, no model and
no open file but its line to the service; address space, core dumps, new files and open files are limited before the
first byte is read. What it cannot answer in time is killed from outside.

Job: `card` (height, width, fit) or None, `view_side` (0 = no pixels for the viewer). Answer: `ok`, `code` on refusal,
the facts of the film, and as payload the prepared film uint8 followed by the viewer's pixels, little-endian uint16.
"""

from __future__ import annotations

import io
import resource
import socket
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxray.config import InputCard
from cxray.data.decode import decode_bytes
from cxray.data.dicom import library, read_unwindowed
from cxray.data.prepare import MINIMUM_SIDE_PIXELS, fitted_box, prepare
from cxray.data.raster import MAXIMUM_PIXELS
from cxray.data.sniff import HEAD_BYTES, sniff
from cxray.errors import CxrayError, RefusedFilm, UnreadableImage
from cxray.records import PixelImage
from cxray.serve import wire

# What the service takes from strangers; TIFF and the rest stay with the command line, where files are one's own.
ACCEPTED_KINDS = frozenset({"png", "jpeg", "dicom"})
FULL_RANGE = 65535
OPEN_FILES = 64


def main(arguments: list[str]) -> None:
    """Serve frames until the line closes."""
    line = socket.socket(fileno=int(arguments[0]))
    _limit(int(arguments[1]))
    _send(line, {"ok": True, "ready": True}, b"")
    while True:
        try:
            header, content = _receive(line)
        except wire.BrokenFrame:
            return
        answer, payload = answer_job(header, content)
        del content
        _send(line, answer, payload)


def answer_job(job: dict[str, Any], content: bytes | bytearray) -> tuple[dict[str, Any], bytes]:
    """Decode one film as the job says; a refusal is an answer with `ok` false and a `code` of `problems.KINDS`."""
    try:
        return _decode(job, bytes(content))
    except _Refusal as refusal:
        return {"ok": False, "code": refusal.code, "reason": ""}, b""
    except MemoryError:
        return {"ok": False, "code": "film_too_large", "reason": ""}, b""
    except RefusedFilm as error:
        return {"ok": False, "code": "film_refused", "reason": error.reason}, b""
    except UnreadableImage as error:
        is_memory = isinstance(error.__cause__, MemoryError)
        return {"ok": False, "code": "film_too_large" if is_memory else "damaged_film", "reason": ""}, b""
    except CxrayError:
        return {"ok": False, "code": "film_refused", "reason": ""}, b""
    except Exception as error:  # a decoder's own fault must not take the child's other work with it
        return {"ok": False, "code": "decoder_crashed", "reason": type(error).__name__}, b""


class _Refusal(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _decode(job: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    kind = sniff(content[:HEAD_BYTES])
    _admit(kind, content)
    card = InputCard(**job["card"]) if job["card"] else None
    side = int(job["view_side"])
    image, film, window = None, b"", (0.0, 1.0)
    if card:
        # Scoring lets JPEG be decoded at a reduced scale, as training did; the viewer needs every pixel.
        image = decode_bytes(content, name="the film", at_least=max(card.height, card.width))
        film = prepare(image, card, name="the film").tobytes()
    if side:
        image, window = _whole(kind, content)
    if image is None:
        raise _Refusal("internal")
    view = view_pixels(image, side) if side else np.zeros((0, 0), dtype="<u2")
    facts = {
        "ok": True,
        "kind": kind,
        "width": image.stored_width,
        "height": image.stored_height,
        "bits": image.bits,
        "facts": list(image.facts)[:20],
        "film_bytes": len(film),
        "view_height": view.shape[0],
        "view_width": view.shape[1],
        "window": [round(end * FULL_RANGE) for end in window],
        "place": fitted_box(image, card) if card else (0, 0, 0, 0),
    }
    return facts, film + view.tobytes()


def _whole(kind: str, content: bytes) -> tuple[PixelImage, tuple[float, float]]:
    """The film at full size with no window applied, and the window that it asks for, 0–1."""
    if kind == "dicom":
        return read_unwindowed(content, name="the film")
    return decode_bytes(content, name="the film"), (0.0, 1.0)


def _admit(kind: str, content: bytes) -> None:
    if kind == "empty":
        raise _Refusal("empty_film")
    if kind not in ACCEPTED_KINDS:
        raise _Refusal("unsupported_format")
    if kind == "dicom":
        if not library.is_installed():
            raise _Refusal("dicom_not_installed")
        return
    try:
        with Image.open(io.BytesIO(content), formats=[kind.upper()]) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _Refusal("film_too_large") from None
    except Exception:  # whatever else a header can do to a parser
        raise _Refusal("damaged_film") from None
    if width * height > MAXIMUM_PIXELS:
        raise _Refusal("film_too_large")
    if min(width, height) < MINIMUM_SIDE_PIXELS:
        raise _Refusal("film_too_small")


def view_pixels(image: PixelImage, longest_side: int) -> npt.NDArray[np.uint16]:
    """The film for the viewer: uint16 (height, width), 0–65535 for black to white of the declared range.

    Larger films are shrunk by averaging whole blocks of pixels until no side exceeds `longest_side`.
    """
    block = -(-max(image.pixels.shape) // longest_side)
    pixels = image.pixels
    if block > 1:
        height, width = (side // block * block for side in pixels.shape)
        blocks = pixels[:height, :width].reshape(height // block, block, width // block, block)
        pixels = blocks.mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(np.rint(pixels * np.float32(FULL_RANGE)), dtype="<u2")


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    if sys.platform == "linux":  # macOS accepts the limit and ignores it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _receive(line: socket.socket) -> tuple[dict[str, Any], bytearray]:
    header_bytes, payload_bytes = wire.unpack_lengths(_exactly(line, wire.LENGTHS.size))
    return wire.unpack_header(_exactly(line, header_bytes)), _exactly(line, payload_bytes)


def _exactly(line: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    while filled < count:
        got = line.recv_into(view[filled:])
        if not got:
            raise wire.BrokenFrame("the line was closed")
        filled += got
    return buffer


def _send(line: socket.socket, header: dict[str, Any], payload: bytes) -> None:
    line.sendall(wire.pack(header, len(payload)))
    line.sendall(payload)


if __name__ == "__main__":
    main(sys.argv[1:])
