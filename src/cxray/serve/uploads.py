"""Reading request bodies: bounded while they arrive, kept in memory, never on disk.

A film comes as the raw body or as form field `file`; several films as form fields `file` (or `files`). A body that is
compressed with gzip or deflate is inflated up to the same ceiling.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import zlib
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cxray.serve.problems import Problem

FORM = "multipart/form-data"
FILE_FIELDS = ("file", "files")
FILM_TYPES = ("image/png", "image/jpeg", "application/dicom", "application/octet-stream", "")
MAXIMUM_NAME_CHARACTERS = 200
DISCARD_BYTES, DISCARD_SECONDS = 8 * 1024 * 1024, 2.0


@dataclasses.dataclass(frozen=True)
class Upload:
    """One film as it arrived; `name` is what the client calls it, for the client's own answer only."""

    name: str
    content: bytes


class _InMemoryForm(MultiPartParser):
    spool_max_size = sys.maxsize  # the default spills films of patients into temporary files


def declared_size(request: Request, ceiling: int) -> int:
    """How many bytes to reserve for a body: its declared length, the ceiling when it is chunked or compressed.

    Raises:
        Problem: the declared length is above the ceiling, or is no number.
    """
    text = request.headers.get("content-length")
    if text is None or request.headers.get("content-encoding"):
        return ceiling
    if not text.isascii() or not text.isdigit():
        raise Problem("bad_request")
    if int(text) > ceiling:
        raise Problem("upload_too_large")
    return int(text)


async def read_body(request: Request, ceiling: int) -> bytes:
    """The whole body, inflated when it is compressed.

    Raises:
        Problem: longer than `ceiling`, badly compressed, or the client left.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Problem("unsupported_encoding")
    parts = [part async for part in _bounded(request, ceiling)]
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    return content if encoding == "identity" else _inflate(content, encoding, ceiling)


async def read_films(request: Request, ceiling: int, *, at_most: int) -> list[Upload]:
    """The films of a request, in order.

    Raises:
        Problem: none, too many, too large, or a content type that can hold none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        films = await _read_form(request, ceiling, at_most)
    elif kind in FILM_TYPES:
        content = await read_body(request, ceiling)
        films = [Upload(request.query_params.get("name", ""), content)] if content or kind else []
    else:
        raise Problem("unsupported_format", "The content type is none of PNG, JPEG, DICOM or a form.")
    if not films:
        raise Problem("no_film")
    return films


async def discard_body(request: Request) -> None:
    """Read a refused body to its end, within bounds, so that the refusal reaches a client that is still sending."""
    with contextlib.suppress(Problem, ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(DISCARD_SECONDS):
            async for _ in _bounded(request, DISCARD_BYTES):
                pass


async def _read_form(request: Request, ceiling: int, at_most: int) -> list[Upload]:
    try:
        parser = _InMemoryForm(request.headers, _bounded(request, ceiling), max_files=at_most, max_fields=20)
        form = await parser.parse()
    except MultiPartException as error:
        too_many = error.message.startswith("Too many files")
        raise Problem("too_many_films" if too_many else "bad_request") from None
    except (KeyError, ValueError, AssertionError):  # a form without a boundary, a header that is none
        raise Problem("bad_request") from None
    try:
        fields = [value for field, value in form.multi_items() if field in FILE_FIELDS]
        return [
            Upload((field.filename or "")[:MAXIMUM_NAME_CHARACTERS], await field.read())
            for field in fields
            if isinstance(field, UploadFile)
        ]
    finally:
        await form.close()


async def _bounded(request: Request, ceiling: int) -> AsyncGenerator[bytes, None]:
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > ceiling:
                raise Problem("upload_too_large")
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise Problem("client_gone") from None


def _inflate(content: bytes, encoding: str, ceiling: int) -> bytes:
    for window_bits in (31,) if encoding == "gzip" else (15, -15):  # deflate comes with and without a zlib header
        inflater = zlib.decompressobj(window_bits)
        try:
            inflated = inflater.decompress(content, ceiling + 1)
        except zlib.error:
            continue
        if len(inflated) > ceiling:
            raise Problem("upload_too_large")
        if inflater.eof:
            return inflated
    raise Problem("bad_request", "The body is not compressed as its header says.")
