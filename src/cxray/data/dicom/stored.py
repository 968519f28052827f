"""One frame's stored values, decoded by the decoder that is named for its transfer syntax and by no other.

Before a compressed frame is decoded, its own kind and size are compared with the header; afterwards the shape is
compared once more, and bits outside BitsStored (old overlays, sign extension) are cut off.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.dicom.codestream import read_code_stream
from cxray.data.dicom.header import FilmHeader
from cxray.data.dicom.source import integer, value
from cxray.errors import UnreadableImage

JPEG_DECODER = "cxray-imagecodecs"
_CORRECTIONS = ("correct_unused_bits", "apply_j2k_sign_correction", "apply_jls_sign_correction")


@dataclasses.dataclass(frozen=True)
class Codec:
    """How a transfer syntax is decoded: pydicom's plugin label, and the kinds of code stream that it may hold."""

    plugin: str
    kinds: tuple[str, ...] = ()


_JPEG, _JPEG_LS = Codec(JPEG_DECODER, ("jpeg", "jpeg-lossless")), Codec("pyjpegls", ("jpeg-ls",))
_JPEG_2000 = Codec("pylibjpeg", ("jpeg-2000",))
_NATIVE = Codec("")
CODECS: dict[str, Codec] = {
    "1.2.840.10008.1.2": _NATIVE,
    "1.2.840.10008.1.2.1": _NATIVE,
    "1.2.840.10008.1.2.1.99": _NATIVE,
    "1.2.840.10008.1.2.2": _NATIVE,
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": _JPEG,
    "1.2.840.10008.1.2.4.70": _JPEG,
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,
    "1.2.840.10008.1.2.4.90": _JPEG_2000,
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _JPEG_2000,
    "1.2.840.10008.1.2.4.202": _JPEG_2000,
    "1.2.840.10008.1.2.4.203": _JPEG_2000,
    "1.2.840.10008.1.2.5": Codec("pydicom"),
}


def stored_patterns(dataset: Any, header: FilmHeader, facts: list[str], *, name: str) -> npt.NDArray[np.uint16]:
    """The bit patterns of the only frame, uint16 (rows, columns), each below 2 ** BitsStored.

    Raises:
        UnreadableImage: an unknown transfer syntax, contradictory bits, missing or truncated pixels, a code stream of
            another kind or size than the header declares, or one that cannot be decoded.
    """
    codec = CODECS.get(header.transfer_syntax_uid)
    if codec is None:
        raise UnreadableImage(
            f"{name} uses a transfer syntax that is not read here.",
            "Convert it to explicit VR little endian, for example with dcmtk's dcmconv or dcmdjpeg.",
        )
    _check_bits(dataset, header, name)
    if value(dataset, "PixelData") is None:
        raise UnreadableImage(f"{name} holds no pixel data.", "Export the film with its pixels.")
    if codec.plugin:
        _check_code_stream(_frame(dataset, name), codec, header, name)
    else:
        _check_length(dataset, header, facts, name)
    return _only_stored_bits(_decode(dataset, codec, header, name), dataset, header, facts)


def _check_bits(dataset: Any, header: FilmHeader, name: str) -> None:
    high = integer(dataset, "HighBit", header.bits_stored - 1)
    is_sound = header.bits_allocated in (8, 16) and 1 <= header.bits_stored <= high + 1 <= header.bits_allocated
    if header.rows < 1 or header.columns < 1 or not is_sound:
        raise UnreadableImage(
            f"{name} contradicts itself: {header.columns} x {header.rows} pixels of {header.bits_stored} bits, highest "
            f"bit {high}, in {header.bits_allocated} bits.",
            "Export the film again.",
        )


def _check_length(dataset: Any, header: FilmHeader, facts: list[str], name: str) -> None:
    expected = header.rows * header.columns * header.bits_allocated // 8
    found = len(dataset.PixelData)
    if found < expected:
        raise UnreadableImage(
            f"{name} is cut off: {expected} bytes of pixels were expected, {found} are there.", "Copy the file again."
        )
    if found > expected + expected % 2:
        facts.append(f"{found - expected} bytes behind the pixels ignored")


def _frame(dataset: Any, name: str) -> bytes:
    from pydicom.encaps import get_frame

    try:
        return get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception as error:
        raise _undecodable(name, error) from None


def _check_code_stream(frame: bytes, codec: Codec, header: FilmHeader, name: str) -> None:
    if not codec.kinds:  # RLE has no size of its own
        return
    stream = read_code_stream(frame)
    if stream is None or stream.kind not in codec.kinds:
        found = "nothing that is known" if stream is None else stream.kind
        raise UnreadableImage(
            f"{name} declares {' or '.join(codec.kinds)} pixels, but holds {found}.", "Export the film again."
        )
    if (stream.rows, stream.columns, stream.components) != (header.rows, header.columns, 1):
        raise UnreadableImage(
            f"{name} declares {header.columns} x {header.rows} grey pixels, but its code stream holds "
            f"{stream.columns} x {stream.rows} with {stream.components} components.",
            "Export the film again.",
        )
    if stream.precision_bits > 16:
        raise UnreadableImage(f"{name} holds samples of {stream.precision_bits} bits; at most 16 are read.")


def _decode(dataset: Any, codec: Codec, header: FilmHeader, name: str) -> npt.NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    try:
        _complete(dataset, header)
        decoder = get_decoder(UID(header.transfer_syntax_uid))
        # Unused bits are cut off below, where it is noticed; that also mends the sign of JPEG 2000 and JPEG-LS.
        as_stored: Any = dict.fromkeys(_CORRECTIONS, False)
        pixels: npt.NDArray[Any]
        pixels, _ = decoder.as_array(dataset, index=0, raw=True, decoding_plugin=codec.plugin, **as_stored)
    except MemoryError:
        raise UnreadableImage(f"{name} does not fit into memory.") from None
    except Exception as error:
        raise _undecodable(name, error) from None
    if pixels.shape != (header.rows, header.columns) or pixels.dtype.kind not in "iu":
        raise UnreadableImage(f"{name} decodes to {pixels.shape} instead of {(header.rows, header.columns)} pixels.")
    return pixels


def _complete(dataset: Any, header: FilmHeader) -> None:
    """Give the decoder what it insists on, as `FilmHeader` understood it."""
    dataset.PhotometricInterpretation = header.photometric_interpretation
    dataset.SamplesPerPixel, dataset.NumberOfFrames = 1, 1
    dataset.BitsStored = header.bits_stored
    dataset.PixelRepresentation = integer(dataset, "PixelRepresentation")


def _undecodable(name: str, error: Exception) -> UnreadableImage:
    return UnreadableImage(
        f"{name} is damaged: its pixels cannot be decoded ({type(error).__name__}).",
        "Copy the file again from its source.",
    )


def _only_stored_bits(
    pixels: npt.NDArray[Any], dataset: Any, header: FilmHeader, facts: list[str]
) -> npt.NDArray[np.uint16]:
    """Cut every sample down to BitsStored bits below HighBit (PS3.5, 8.1.1)."""
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    patterns: npt.NDArray[np.uint16] = native.view(f"u{native.dtype.itemsize}").astype(np.uint16, copy=False)
    shift = integer(dataset, "HighBit", header.bits_stored - 1) + 1 - header.bits_stored
    if shift:
        facts.append(f"stored bits begin at bit {shift}")
        patterns = np.right_shift(patterns, np.uint16(shift))
    mask = np.uint16((1 << header.bits_stored) - 1)
    is_signed = integer(dataset, "PixelRepresentation") == 1
    if not is_signed and header.bits_stored < 16 and int(patterns.max()) > int(mask):
        facts.append("bits above BitsStored cut off")
    return np.bitwise_and(patterns, mask)
