"""The DICOM door of the one pixel path: a file in, one `PixelImage` out.

    header -> admission -> one frame by a named decoder -> grey table -> borders

No stretch to the film's own grey values. Every liberty taken is one of the image's `facts`. No element that
describes the patient is even read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from cxray.data.dicom import borders, grey, header
from cxray.data.dicom.admission import check_admission
from cxray.data.dicom.source import open_dicom
from cxray.data.dicom.stored import stored_patterns
from cxray.errors import MissingExtra, UnreadableImage
from cxray.records import PixelImage

KINDS = ("dicom",)
_KEYWORDS = tuple(dict.fromkeys((*header.KEYWORDS, *grey.KEYWORDS, *borders.KEYWORDS)))


def read_dicom(source: Path | bytes, *, name: str = "", accept: Collection[str] | None = None) -> PixelImage:
    """Read one chest radiograph.

    Args:
        source: path or the whole file.
        name: how messages call it; the path by default.
        accept: reason codes to waive (see `admission`); None takes those of the environment.

    Raises:
        RefusedFilm: no frontal chest radiograph for presentation; `reason` says which rule.
        UnreadableImage: damaged, truncated, contradictory, or of an unread transfer syntax.
        MissingExtra: the extra `dicom` is not installed.
    """
    return _read(source, name, accept, _windowed)[0]


def read_unwindowed(source: Path | bytes, *, name: str = "") -> tuple[PixelImage, tuple[float, float]]:
    """Read one chest radiograph for a viewer: the whole declared range, and the film's own window on it.

    Returns:
        The film, 0 = black to 1 = white of the declared range after the modality step, and the two ends of the window
        that the file asks for (0 and 1 when it asks for none). A VOI LUT cannot be said in two numbers and is left out.

    Raises:
        RefusedFilm, UnreadableImage, MissingExtra: as `read_dicom`.
    """
    return _read(source, name, None, grey.full_range_table)


def _read(
    source: Path | bytes, name: str, accept: Collection[str] | None, table_of: Callable[..., Any]
) -> tuple[PixelImage, tuple[float, float]]:
    called = name or (str(source) if isinstance(source, Path) else "the upload")
    dataset = open_dicom(source, name=called, keywords=_KEYWORDS, pixels=True)
    film = header.read_header(dataset)
    facts = list(check_admission(film, name=called, accept=accept))
    if film.burned_in_annotation == "YES":
        facts.append("burned-in annotation declared")
    patterns = stored_patterns(dataset, film, facts, name=called)
    table, window = table_of(dataset, facts, name=called)
    pixels = table[patterns]
    borders.blacken_borders(pixels, patterns, dataset, facts)
    image = PixelImage(
        np.ascontiguousarray(pixels),
        stored_height=film.rows,
        stored_width=film.columns,
        bits=film.bits_stored,
        facts=tuple(facts),
    )
    return image, window


def _windowed(dataset: Any, facts: list[str], *, name: str) -> tuple[Any, tuple[float, float]]:
    return grey.grey_table(dataset, facts, name=name), (0.0, 1.0)


def decode_dicom(content: bytes, name: str, at_least: int) -> PixelImage:
    """`read_dicom` for the table of decoders; `at_least` is of no use here, DICOM is decoded at full size.

    Raises:
        UnreadableImage: as `read_dicom`; also when the extra is missing, so that one stray file stops no bulk work.
    """
    try:
        return read_dicom(content, name=name)
    except MissingExtra as error:
        raise UnreadableImage(f"{name} is DICOM. {error.message}", error.next_step) from None


def pixel_bytes(content: bytes) -> int:
    """How many bytes the stored pixels take, compressed or not, without the header.

    Raises:
        UnreadableImage: as `open_dicom`.
    """
    return len(open_dicom(content, name="the film", keywords=(), pixels=True).get("PixelData") or b"")
