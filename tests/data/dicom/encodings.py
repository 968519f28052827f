"""The same film in sixteen encodings, with the largest error in stored values that each may make."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate

from tests.data.dicom.films import Pixels, bytes_of, chest, film

SIZE = (240, 220)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """`encode` turns a native film into bytes; `bits` are stored; `error` is the largest allowed, in stored values."""

    encode: Callable[[FileDataset], bytes]
    bits: int = 12
    error: int = 0

    def film(self, seed: int = 0) -> tuple[Pixels, bytes]:
        """Stored values and the encoded file."""
        pixels = chest(*SIZE, bits=self.bits, seed=seed)
        if self.bits == 8:
            pixels = pixels.astype(np.uint8)
        return pixels, self.encode(film(pixels, bits=self.bits))


def _native(syntax: uid.UID) -> Callable[[FileDataset], bytes]:
    def encode(dataset: FileDataset) -> bytes:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == uid.ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        # A data set made for one byte order may not be written in the other; a copy of its elements may.
        copy = Dataset()
        copy.update(dataset)
        copy.file_meta, copy.preamble = dataset.file_meta, dataset.preamble
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copy.save_as(
                stream, implicit_vr=syntax == uid.ImplicitVRLittleEndian,
                little_endian=syntax != uid.ExplicitVRBigEndian, enforce_file_format=True,
            )  # fmt: skip
        return stream.getvalue()

    return encode


def _by_pydicom(syntax: uid.UID, **options: Any) -> Callable[[FileDataset], bytes]:
    def encode(dataset: FileDataset) -> bytes:
        dataset.compress(syntax, generate_instance_uid=False, **options)
        return bytes_of(dataset)

    return encode


def with_frame(dataset: FileDataset, syntax: uid.UID, frame: bytes) -> bytes:
    """The film with its pixels replaced by one compressed frame."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return bytes_of(dataset)


def _by_imagecodecs(syntax: uid.UID, codec: str, **options: Any) -> Callable[[FileDataset], bytes]:
    def encode(dataset: FileDataset) -> bytes:
        dtype = "<u2" if dataset.BitsAllocated == 16 else "u1"
        pixels = np.frombuffer(dataset.PixelData, dtype).reshape(dataset.Rows, dataset.Columns)
        return with_frame(dataset, syntax, getattr(imagecodecs, codec)(pixels, **options))

    return encode


ENCODINGS: dict[str, Encoding] = {
    "implicit little endian": Encoding(_native(uid.ImplicitVRLittleEndian)),
    "explicit little endian": Encoding(_native(uid.ExplicitVRLittleEndian)),
    "explicit big endian": Encoding(_native(uid.ExplicitVRBigEndian)),
    "deflated": Encoding(_native(uid.DeflatedExplicitVRLittleEndian)),
    "RLE": Encoding(_by_pydicom(uid.RLELossless, encoding_plugin="pydicom")),
    "RLE, 8 bit": Encoding(_by_pydicom(uid.RLELossless, encoding_plugin="pydicom"), bits=8),
    "JPEG baseline": Encoding(_by_imagecodecs(uid.JPEGBaseline8Bit, "jpeg8_encode", level=95), bits=8, error=8),
    "JPEG extended": Encoding(
        _by_imagecodecs(uid.JPEGExtended12Bit, "jpeg8_encode", level=95, bitspersample=12), error=16
    ),
    "JPEG lossless": Encoding(
        _by_imagecodecs(uid.JPEGLossless, "jpeg8_encode", lossless=True, predictor=4, bitspersample=12)
    ),
    "JPEG lossless SV1": Encoding(
        _by_imagecodecs(uid.JPEGLosslessSV1, "jpeg8_encode", lossless=True, predictor=1, bitspersample=16), bits=16
    ),
    "JPEG-LS": Encoding(_by_pydicom(uid.JPEGLSLossless, encoding_plugin="pyjpegls")),
    "JPEG-LS near-lossless": Encoding(
        _by_pydicom(uid.JPEGLSNearLossless, encoding_plugin="pyjpegls", jls_error=2), error=2
    ),
    "JPEG 2000 lossless": Encoding(_by_pydicom(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg")),
    "JPEG 2000": Encoding(_by_pydicom(uid.JPEG2000, encoding_plugin="pylibjpeg", j2k_psnr=[60]), error=32),
    "HTJ2K lossless": Encoding(_by_imagecodecs(uid.HTJ2KLossless, "htj2k_encode")),
    "16 bit": Encoding(_native(uid.ExplicitVRLittleEndian), bits=16),
}
