"""The only way pixels enter: bytes or a file in, one `PixelImage` out.

Deterministic, no random part, no stretch of the grey values to their own minimum and maximum: 0 is the black and 1
the white of the range that the file declares. The kind is read from the content, never from the name. Each format
has its own room (`raster`, `dicom`), found through one table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cxray.data import raster
from cxray.data.dicom import read as dicom
from cxray.data.sniff import HEAD_BYTES, sniff
from cxray.errors import UnreadableImage
from cxray.records import PixelImage

MAXIMUM_FILE_BYTES = 512 * 1024 * 1024

Decoder = Callable[[bytes, str, int], PixelImage]
_DECODERS: dict[str, Decoder] = {
    **dict.fromkeys(raster.KINDS, raster.decode_raster),
    **dict.fromkeys(dicom.KINDS, dicom.decode_dicom),
}


def decode_file(path: Path, at_least: int = 0) -> PixelImage:
    """Decode one film from disk; see `decode_bytes`.

    Raises:
        UnreadableImage: the file is missing, empty, cut off, no image, of an unsupported kind, or far too large.
    """
    try:
        size = path.stat().st_size
        if size > MAXIMUM_FILE_BYTES:
            raise UnreadableImage(f"{path} is {size / 2**20:.0f} MiB, more than {MAXIMUM_FILE_BYTES >> 20} MiB.")
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {error.strerror or error}.") from error
    return decode_bytes(content, name=str(path), at_least=at_least)


def decode_bytes(content: bytes, *, name: str = "upload", at_least: int = 0) -> PixelImage:
    """Decode one film.

    Args:
        content: the whole file.
        name: how messages call it.
        at_least: the side in pixels that the caller needs; JPEG may then be decoded at 1/2, 1/4 or 1/8 scale as long as
            both sides stay at least twice this long. 0 = full size.

    Raises:
        UnreadableImage: empty, cut off, not an image, an unsupported kind or colour model, or too many pixels.
        RefusedFilm: DICOM that is no frontal chest radiograph.
    """
    kind = sniff(content[:HEAD_BYTES])
    if kind == "empty":
        raise UnreadableImage(f"{name} is empty (0 bytes).", "Copy the file again from its source.")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise UnreadableImage(
            f"{name} is no film: its content is {_ARTICLES.get(kind, kind)}.",
            f"Readable kinds: {', '.join(sorted(_DECODERS))}.",
        )
    return decoder(content, name, at_least)


_ARTICLES = {
    "unknown": "of no known kind",
    "text": "plain text",
    "bare-dicom": "DICOM without its preamble, which dcmtk's dcmconv adds",
}
