"""What a file is, by its first bytes. A name ending is a claim; the content is the fact."""

from __future__ import annotations

from pathlib import Path

HEAD_BYTES = 132

# (offset, magic bytes, kind), tried in this order.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "dicom"),  # first: the 128 bytes before it may hold the beginning of a TIFF (PS3.10, 7.1)
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (0, b"BM", "bmp"),
    (8, b"WEBP", "webp"),
    (0, b"GIF8", "gif"),
    (0, b"\x00\x00\x00\x0cjP  ", "jpeg2000"),
    (0, b"%PDF", "pdf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"PAR1", "parquet"),
    (0, b"\x00\x05\x16\x07", "macos-resource-fork"),
    # A data set that begins with its group length, character set or image type, or with the file's meta group.
    (0, b"\x08\x00\x00\x00", "bare-dicom"),
    (0, b"\x08\x00\x05\x00", "bare-dicom"),
    (0, b"\x08\x00\x08\x00", "bare-dicom"),
    (0, b"\x02\x00\x00\x00", "bare-dicom"),
)

FILM_KINDS = frozenset({"png", "jpeg", "tiff", "bmp", "webp", "dicom", "bare-dicom"})


def sniff(head: bytes) -> str:
    """Name the kind of a file from its first `HEAD_BYTES` bytes: a word such as "png", "empty", "text" or "unknown"."""
    if not head:
        return "empty"
    for offset, magic, kind in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic and not (kind == "webp" and head[:4] != b"RIFF"):
            return kind
    is_text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return "text" if is_text else "unknown"


def sniff_file(path: Path) -> str:
    """`sniff` for a file on disk; "unreadable" when it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return sniff(stream.read(HEAD_BYTES))
    except OSError:
        return "unreadable"
