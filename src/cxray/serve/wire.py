"""Frames between the service and a decoding child: lengths, a JSON header, raw bytes. Nothing is ever unpickled.

    8 bytes  length of the header, length of the payload (two big-endian unsigned 32-bit integers)
    header   JSON object, at most `MAXIMUM_HEADER_BYTES`
    payload  raw bytes, at most `MAXIMUM_PAYLOAD_BYTES`

The child may be under the control of a hostile film, so the reader trusts no length.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

LENGTHS = struct.Struct(">II")
MAXIMUM_HEADER_BYTES = 64 * 1024
MAXIMUM_PAYLOAD_BYTES = 256 * 1024 * 1024


class BrokenFrame(Exception):
    """The other side closed the line or sent what is no frame."""


def pack(header: Mapping[str, Any], payload_bytes: int) -> bytes:
    """The lengths and the header of a frame; the payload follows separately, uncopied."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), payload_bytes) + text


def unpack_lengths(head: bytes | bytearray) -> tuple[int, int]:
    """Lengths of header and payload.

    Raises:
        BrokenFrame: a length beyond the ceilings.
    """
    header_bytes, payload_bytes = LENGTHS.unpack(head)
    if header_bytes > MAXIMUM_HEADER_BYTES or payload_bytes > MAXIMUM_PAYLOAD_BYTES:
        raise BrokenFrame(f"a frame of {header_bytes} + {payload_bytes} bytes")
    return header_bytes, payload_bytes


def unpack_header(text: bytes | bytearray) -> dict[str, Any]:
    """The header.

    Raises:
        BrokenFrame: no JSON object.
    """
    try:
        header = json.loads(text)
    except ValueError as error:
        raise BrokenFrame("a header that is no JSON") from error
    if not isinstance(header, dict):
        raise BrokenFrame("a header that is no object")
    return header
