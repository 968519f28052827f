"""Small pictures of films for a page: decoded by the one pixel path, bounded in number and size."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from cxray.config import InputCard
from cxray.data.cache import WORKERS
from cxray.data.decode import decode_file
from cxray.data.prepare import MINIMUM_SIDE_PIXELS, prepare
from cxray.errors import UnreadableImage

PICTURE_SIDE = 144
# A page grows by a third when pictures become text; this keeps it near 4 MB.
PICTURE_BYTES = 2_600_000


def thumbnails(
    paths: Mapping[str, Path], *, side: int = PICTURE_SIDE, most_bytes: int = PICTURE_BYTES
) -> dict[str, bytes]:
    """PNGs of the films that can be read, by the names given, in order, until `most_bytes` is reached.

    `side` is the length in pixels of the longer side. A film that cannot be read is left out.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = dict(zip(paths, pool.map(lambda path: small_png(path, side), paths.values()), strict=True))
    sizes = itertools.accumulate(len(png) for png in drawn.values())
    return {name: png for (name, png), size in zip(drawn.items(), sizes, strict=True) if png and size <= most_bytes}


def small_png(path: Path, side: int = PICTURE_SIDE) -> bytes:
    """The film with its longer side at `side` pixels; empty when it cannot be read."""
    try:
        film = decode_file(path, at_least=side)
        scale = side / max(film.stored_height, film.stored_width)
        height, width = (
            max(MINIMUM_SIDE_PIXELS, round(length * scale)) for length in (film.stored_height, film.stored_width)
        )
        pixels = prepare(film, InputCard(height=height, width=width, fit="stretch"), name=str(path))
    except UnreadableImage:
        return b""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
