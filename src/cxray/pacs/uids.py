"""Unique identifiers derived from what they stand for, so that a second run makes the same ones.

A UID is `2.25.` and a UUID as one decimal number (PS3.5, B.2). The UUID is taken from SHA-256 over the parts, with the
version and variant bits of RFC 9562 (version 8, free form), so the same film, model and kind of result always give the
same UID and a PACS sees a repeated delivery as the object that it already has.
"""

from __future__ import annotations

import hashlib
import re
import uuid

# PS3.5, 9.1: components of digits without leading zeros, joined by dots, at most 64 characters.
_GRAMMAR = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
MAXIMUM_CHARACTERS = 64


def derive_uid(*parts: str) -> str:
    """A UID that depends on every part and on their order; parts may hold any text."""
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode("utf-8")).digest()
    return f"2.25.{uuid.UUID(bytes=_as_version_8(digest[:16])).int}"


def is_uid(text: str) -> bool:
    """Whether `text` follows the grammar of the standard; anything else is never used."""
    return len(text) <= MAXIMUM_CHARACTERS and _GRAMMAR.fullmatch(text) is not None


def _as_version_8(digest: bytes) -> bytes:
    octets = bytearray(digest)
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    return bytes(octets)
