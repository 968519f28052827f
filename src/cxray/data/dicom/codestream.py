"""Compressed frames before they are decoded: which codec, which size, and comments taken out.

A decoder allocates what the code stream claims, not what the DICOM header claims, so a stream of 1.6 kB under a header
of 64 x 64 can ask for 300 MB, and one decoder returns a silent wrong picture. Sizes are read here first, from the
markers of JPEG (ITU-T T.81, B.2.2), JPEG-LS (T.87, C.2.2) and JPEG 2000 (T.800, A.5.1); nothing is decoded.
"""

from __future__ import annotations

import dataclasses
import re
import struct

_JPEG2000_START = b"\xff\x4f\xff\x51"
_TILE_PART, _START_OF_DATA = b"\xff\x90", b"\xff\x93"
# Start-of-frame markers; C4, C8 and CC are tables, F7 is JPEG-LS.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_JPEG2000_COMMENT = 0x64
# Entropy-coded data hold none of these, so behind the first scan each is a segment.
_LATE_TEXT = re.compile(rb"\xff[\xe0-\xef\xfe]")


@dataclasses.dataclass(frozen=True, slots=True)
class CodeStream:
    """What a compressed frame says of itself. `kind`: "jpeg", "jpeg-lossless", "jpeg-ls" or "jpeg-2000"."""

    kind: str
    rows: int
    columns: int
    components: int
    precision_bits: int


def read_code_stream(frame: bytes) -> CodeStream | None:
    """Read kind and size from the markers of a compressed frame; None when it is none of the known kinds."""
    try:
        if frame[:2] == b"\xff\xd8":
            return _read_jpeg(frame)
        # Some writers wrap the stream in the boxes of a JP2 file, which the standard forbids (PS3.5, A.4.4).
        start = frame.find(_JPEG2000_START, 0, 4096)
        return _read_jpeg2000(frame[start:]) if start >= 0 else None
    except (struct.error, IndexError):
        return None


def _read_jpeg(frame: bytes) -> CodeStream | None:
    for marker, at, _ in _segments(frame):
        if marker in _START_OF_FRAME:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, at)
            kind = "jpeg-ls" if marker == 0xF7 else "jpeg-lossless" if marker in _LOSSLESS else "jpeg"
            return CodeStream(kind, rows, columns, components, precision)
    return None


def _read_jpeg2000(frame: bytes) -> CodeStream:
    # SIZ: length, capabilities, then the far corner and the origin of the image on the reference grid.
    right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
    (components,) = struct.unpack_from(">H", frame, 40)
    return CodeStream("jpeg-2000", bottom - top, right - left, components, (frame[42] & 0x7F) + 1)


def _segments(frame: bytes) -> list[tuple[int, int, int]]:
    """Marker, begin and end of the content of every segment before the first scan."""
    found: list[tuple[int, int, int]] = []
    at = 2
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            break
        marker = frame[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack_from(">H", frame, at + 2)[0]
        if length < 2:
            break
        found.append((marker, at + 4, at + 2 + length))
        if marker == _START_OF_SCAN:
            break
        at += 2 + length
    return found


def without_comments(frame: bytes) -> bytes | None:
    """The same code stream without comment and application segments, and without anything behind its end.

    Those segments carry text of any kind, which a de-identified file must not have. Grey frames need none of them.
    None when comments also stand where they cannot be cut out safely: between scans, or in the header of a tile-part.
    """
    stream = read_code_stream(frame)
    if stream is None:
        return None
    try:
        cut = _cut_jpeg2000(frame) if stream.kind == "jpeg-2000" else _cut_jpeg(frame)
    except (struct.error, IndexError):
        return None
    return None if cut is None else _up_to_end(cut)


def _cut_jpeg(frame: bytes) -> bytes | None:
    kept, at = bytearray(), 0
    for marker, begin, end in _segments(frame):
        if marker == _COMMENT or marker in _APPLICATION:
            kept += frame[at : begin - 4]
            at = end
        elif marker == _START_OF_SCAN and _LATE_TEXT.search(frame, end):
            return None
    return bytes(kept + frame[at:])


def _cut_jpeg2000(frame: bytes) -> bytes | None:
    at = frame.find(_JPEG2000_START)
    kept = bytearray(frame[at : at + 2])
    at += 2
    while frame[at : at + 2] != _TILE_PART:
        end = at + 2 + struct.unpack_from(">H", frame, at + 2)[0]
        if frame[at + 1] != _JPEG2000_COMMENT:
            kept += frame[at:end]
        at = end
    return None if _has_comments_in_tile_parts(frame, at) else bytes(kept + frame[at:])


def _has_comments_in_tile_parts(frame: bytes, at: int) -> bool:
    """Walk the headers of all tile-parts from the first one at `at` (T.800, A.4.2)."""
    while frame[at : at + 2] == _TILE_PART:
        (length,) = struct.unpack_from(">I", frame, at + 6)
        inner = at + 12
        while frame[inner : inner + 2] != _START_OF_DATA:
            if frame[inner + 1] == _JPEG2000_COMMENT:
                return True
            inner += 2 + struct.unpack_from(">H", frame, inner + 2)[0]
        if length == 0:  # the last one may reach to the end without saying how far that is
            return False
        at += length
    return False


def _up_to_end(frame: bytes) -> bytes:
    # Entropy-coded bytes never hold this marker: JPEG stuffs a zero behind FF, JPEG 2000 keeps FF90 and above free.
    end = frame.rfind(b"\xff\xd9")
    whole = frame if end < 0 else frame[: end + 2]
    return whole + b"\0" * (len(whole) % 2)
