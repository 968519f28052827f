"""Our own decoder plugin for pydicom: JPEG baseline, extended and lossless through imagecodecs (libjpeg-turbo 3).

Without it pydicom decodes lossless JPEG, the commonest compressed radiograph, only through a GPL library or through
GDCM, which damaged files can crash. Grey frames only; the decoded size is compared with Rows and Columns here, because
pydicom would reshape whatever has the right number of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom import uid

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

LABEL = "cxray-imagecodecs"
# Read by pydicom: what each transfer syntax needs.
DECODER_DEPENDENCIES = dict.fromkeys(
    (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1), ("numpy", "imagecodecs")
)


def is_available(transfer_syntax: str) -> bool:
    """Whether this plugin can decode `transfer_syntax`; asked by pydicom."""
    return transfer_syntax in DECODER_DEPENDENCIES


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame; called by pydicom.

    Raises:
        ValueError: the frame is not of one component, or not of the size that the header declares.
    """
    import imagecodecs

    pixels = imagecodecs.jpeg8_decode(frame)
    expected = (runner.rows, runner.columns)
    if pixels.shape != expected:
        raise ValueError(f"expected a grey frame of {expected}, decoded {pixels.shape}")
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return bytearray(pixels.tobytes())
