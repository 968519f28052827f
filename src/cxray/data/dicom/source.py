"""From a file or bytes to a pydicom data set, with a ceiling on everything that a stranger's file may claim.

Only the elements that were asked for are kept; a deflated file is inflated up to a limit; parser errors become
`UnreadableImage` without the parser's own words, which quote values. Elements are read one by one through `value`,
because a single malformed one must not cost the film.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cxray.data.dicom import library
from cxray.errors import UnreadableImage

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_COPY_AGAIN = "Copy or export the file again from its source."
# 64 million pixels of 16 bit, and room for a header.
MAXIMUM_INFLATED_BYTES = 160 * 1024 * 1024
_PREAMBLE_BYTES = 132
_META_BYTES = 64 * 1024
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1\0"
# Explicit VR little endian: these keep a 4-byte length behind two reserved bytes (PS3.5, 7.1.2).
_LONG_LENGTH = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}


def open_dicom(
    source: Path | bytes, *, name: str, keywords: Sequence[str] | None = None, pixels: bool = False
) -> FileDataset:
    """Read a DICOM file.

    Args:
        source: the path, of which only the header is read unless `pixels`, or the whole file.
        name: how messages call it.
        keywords: keep only these top-level elements (and the character set); None keeps all.
        pixels: read PixelData too.

    Raises:
        UnreadableImage: missing, no DICOM Part 10 file, cut off, or inflating beyond all measure.
        MissingExtra: the extra `dicom` is not installed.
    """
    library.load()
    from pydicom import dcmread

    try:
        with _open(source) as stream:
            readable = _inflated(stream, name)
            tags: Any = None if keywords is None else [*keywords, *(["PixelData"] if pixels else [])]
            found = dcmread(readable, stop_before_pixels=not pixels, specific_tags=tags)
    except (UnreadableImage, KeyboardInterrupt):
        raise
    except OSError as error:
        raise UnreadableImage(f"{name} cannot be read: {error.strerror or 'it ends too early'}.") from None
    except MemoryError:
        raise UnreadableImage(f"{name} does not fit into memory.") from None
    except Exception as error:  # pydicom raises many kinds; its words may quote the patient
        raise damaged(name, error) from None
    if pixels and keywords and not len(found):
        # pydicom gives an empty data set when the file ends inside an element, as compressed pixels do.
        raise UnreadableImage(f"{name} is cut off: it ends in the middle of an element.", _COPY_AGAIN)
    return found


def damaged(name: str, error: Exception) -> UnreadableImage:
    """The sentence for a file that its parser gave up on; `error` gives its kind only."""
    return UnreadableImage(
        f"{name} is damaged or is not DICOM: its header cannot be read ({type(error).__name__}).",
        _COPY_AGAIN,
    )


def value(dataset: Any, keyword: str) -> Any:
    """The value of one element, None where it is absent, empty or malformed."""
    try:
        found = dataset.get(keyword)
        if found is None or found == "" or (hasattr(found, "__len__") and len(found) == 0):
            return None
        return found
    except Exception:
        return None


def is_malformed(dataset: Any, keyword: str) -> bool:
    """Whether the element is there but its value cannot be understood."""
    try:
        dataset.get(keyword)
    except Exception:
        return True
    return False


def text(dataset: Any, keyword: str) -> str:
    """A short text element without padding, "" when there is none; several values are joined by a backslash."""
    found = value(dataset, keyword)
    if found is None:
        return ""
    parts = found if isinstance(found, Sequence) and not isinstance(found, (str, bytes)) else [found]
    return "\\".join(str(part).strip(" \0") for part in parts)


def integer(dataset: Any, keyword: str, default: int = 0) -> int:
    """A whole number, `default` when absent or malformed; the first one where there are several."""
    numbers = decimals(dataset, keyword)
    return int(numbers[0]) if numbers else default


def decimals(dataset: Any, keyword: str) -> tuple[float, ...]:
    """All numbers of an element, () when absent; a part that is no finite number makes the whole element absent."""
    found = value(dataset, keyword)
    if found is None:
        return ()
    parts = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return numbers if all(abs(number) < float("inf") for number in numbers) else ()


def items(dataset: Any, keyword: str) -> list[Any]:
    """The items of a sequence, [] when absent."""
    found = value(dataset, keyword)
    return list(found) if isinstance(found, Sequence) and not isinstance(found, (str, bytes)) else []


def _open(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _inflated(stream: BinaryIO, name: str) -> BinaryIO:
    """The stream itself, or the explicit little endian twin of a deflated one.

    pydicom would inflate without a limit, and 70 kB can hold 70 MB.
    """
    head = stream.read(_META_BYTES)
    if head[128:_PREAMBLE_BYTES] != b"DICM":
        raise UnreadableImage(
            f"{name} is no DICOM file: the letters DICM are missing at byte 128.",
            "Export it again as a DICOM Part 10 file.",
        )
    syntax, end = _transfer_syntax(head)
    if syntax != _DEFLATED:
        stream.seek(0)
        return stream
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(head[end:] + stream.read(), MAXIMUM_INFLATED_BYTES + 1)
    if len(content) > MAXIMUM_INFLATED_BYTES:
        raise UnreadableImage(f"{name} inflates to more than {MAXIMUM_INFLATED_BYTES >> 20} MiB.")
    if not inflater.eof:
        raise UnreadableImage(f"{name} is cut off: its deflated data end too early.", "Copy the file again.")
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(_EXPLICIT_LITTLE)) + _EXPLICIT_LITTLE
    return io.BytesIO(bytes(128) + b"DICM" + meta + content)


def _transfer_syntax(head: bytes) -> tuple[bytes, int]:
    """The transfer syntax of the file meta group and the offset behind that group (PS3.10, 7.1)."""
    syntax, at = b"", _PREAMBLE_BYTES
    while head[at : at + 2] == b"\x02\x00" and at + 12 <= len(head):
        is_long = head[at + 4 : at + 6] in _LONG_LENGTH
        begin = at + (12 if is_long else 8)
        length = int(struct.unpack_from("<I" if is_long else "<H", head, begin - (4 if is_long else 2))[0])
        if head[at + 2 : at + 4] == b"\x10\x00":
            syntax = head[begin : begin + length].rstrip(b"\0 ")
        at = begin + length
    return syntax, at
