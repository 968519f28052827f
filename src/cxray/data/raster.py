"""PNG, JPEG, TIFF, BMP and WebP through Pillow, as grey float32 0–1.

Colour becomes grey by ITU-R BT.601 luma (0.299 R + 0.587 G + 0.114 B), which is what Pillow and JPEG use. An alpha
channel is laid over black. 16-bit files keep their depth. EXIF orientation is applied, so that pixels are upright.

Most JPEG films are grey stored as colour. Their luma is taken straight from the decoder, which skips the chroma and is
several times faster; it equals the luma computed from RGB exactly where the film is neutral and within
`LUMA_TOLERANCE_LEVELS` of 255 elsewhere. A film with real colour takes the long way through RGB.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from cxray.errors import UnreadableImage
from cxray.records import PixelImage

KINDS = ("bmp", "jpeg", "png", "tiff", "webp")
# A radiograph has at most some 25 million pixels; what claims more is a mistake or an attack.
MAXIMUM_PIXELS = 64_000_000
LUMA_TOLERANCE_LEVELS = 2
_NEUTRAL_LEVELS = 25  # a tenth of the range
_EXIF_ORIENTATION = 0x0112
_PHOTOMETRIC = 262
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def decode_raster(content: bytes, name: str, at_least: int) -> PixelImage:
    """Decode one raster film; `at_least` as in `decode.decode_bytes`.

    Raises:
        UnreadableImage: cut off, damaged, CMYK, more than one frame, or more than `MAXIMUM_PIXELS` pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[kind.upper() for kind in KINDS]) as image:
            is_neutral = image.format == "JPEG" and image.mode == "RGB" and not _has_hue_in_small(content)
            return _decode_open(image, name, at_least, is_neutral=is_neutral)
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name) from error
    except MemoryError as error:
        raise UnreadableImage(f"{name} does not fit into memory.") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = str(error).split("<")[0].strip() or type(error).__name__
        raise UnreadableImage(
            f"{name} is damaged or cut off: {reason}.", "Copy the file again from its source."
        ) from error


def _decode_open(image: ImageFile, name: str, at_least: int, *, is_neutral: bool) -> PixelImage:
    facts: list[str] = []
    stored = image.size
    _refuse_what_cannot_be_a_film(image, name)
    if is_neutral:
        facts.append(f"colour model {image.mode} turned into grey")
    is_reduced = image.format == "JPEG" and _draft(image, at_least, as_grey=is_neutral or image.mode == "L")
    if is_reduced:
        facts.append(f"JPEG decoded at reduced scale {image.size[0]}x{image.size[1]}")
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    is_white_zero = (
        image.format == "TIFF" and image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    )
    image.load()
    upright: Image.Image = image
    if orientation not in (0, 1):
        upright = ImageOps.exif_transpose(image)  # a no-op for TIFF, which Pillow turns upright while loading
        facts.append(f"EXIF orientation {orientation} applied")
    if not is_reduced:
        stored = upright.size
    elif orientation in (5, 6, 7, 8):
        stored = (stored[1], stored[0])
    pixels, bits = _to_grey(upright, facts)
    if (
        is_white_zero
    ):  # Pillow inverts 8-bit WhiteIsZero films (TIFF 6.0, PhotometricInterpretation 0) but not 16-bit ones
        pixels = 1 - pixels
        facts.append("TIFF WhiteIsZero inverted")
    return PixelImage(pixels, stored_height=stored[1], stored_width=stored[0], bits=bits, facts=tuple(facts))


def _refuse_what_cannot_be_a_film(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAXIMUM_PIXELS:
        raise _too_large(name)
    if image.mode in ("CMYK", "YCCK", "LAB", "HSV"):
        raise UnreadableImage(
            f"{name} uses the print colour model {image.mode}, whose grey values depend on an ink profile.",
            "Export it as greyscale or RGB.",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnreadableImage(f"{name} holds {frames} frames; one film was expected.", "Export one frame.")


def _too_large(name: str) -> UnreadableImage:
    return UnreadableImage(
        f"{name} claims more than {MAXIMUM_PIXELS / 1e6:.0f} million pixels, which no radiograph has.",
        "Export the film at its native size.",
    )


def _out_of_range(kind: str, expected: str) -> UnreadableImage:
    return UnreadableImage(
        f"The film has {kind} pixels outside {expected}, so black and white are not declared.", "Export 8 or 16 bit."
    )


def _draft(image: Image.Image, at_least: int, *, as_grey: bool) -> bool:
    """Tell the JPEG decoder what is wanted; whether the film will be smaller than it is stored."""
    before = image.size
    # Twice the wanted side leaves the final resize real work to do, so that aliasing stays out of both steps.
    wanted = (2 * at_least, 2 * at_least) if at_least else before
    image.draft("L" if as_grey else "RGB", wanted)
    return image.size != before


def _has_hue_in_small(content: bytes) -> bool:
    """Whether a JPEG at an eighth of its size, where it costs almost nothing, shows real colour."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        return _has_hue(np.asarray(image))


def _to_grey(image: Image.Image, facts: list[str]) -> tuple[npt.NDArray[np.float32], int]:
    if image.mode == "L":
        return _scale(np.asarray(image), 8), 8
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        return _scale(np.asarray(image).astype(np.uint16), 16), 16
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _out_of_range("32-bit integer", "0-65535")
        return _scale(values, 16), 16
    if image.mode == "F":
        return _from_float(np.asarray(image), facts), 32
    if image.mode == "1":
        facts.append("1-bit film")
        return np.asarray(image).astype(np.float32), 1
    return _from_colour(image, facts), 8


def _from_colour(image: Image.Image, facts: list[str]) -> npt.NDArray[np.float32]:
    facts.append(f"colour model {image.mode} turned into grey")
    if image.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa"):
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
        _note_hue(rgba[..., :3], facts)
        return np.asarray((rgba[..., :3] @ _LUMA) * rgba[..., 3], dtype=np.float32)
    rgb = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    _note_hue(rgb, facts)
    return np.asarray(rgb @ _LUMA, dtype=np.float32)


def _note_hue(rgb: npt.NDArray[Any], facts: list[str]) -> None:
    if _has_hue(np.rint(rgb[::4, ::4] * 255).astype(np.uint8)):
        facts.append("real colour was lost in it")


def _has_hue(rgb: npt.NDArray[np.uint8]) -> bool:
    """Whether more than a hundredth of the pixels (height, width, 3) are coloured."""
    # Most "colour" films are grey stored three times; JPEG chroma may differ by a few levels without being colour.
    levels = rgb.astype(np.int16)
    return bool(((levels.max(axis=2) - levels.min(axis=2)) > _NEUTRAL_LEVELS).mean() > 0.01)


def _from_float(values: npt.NDArray[Any], facts: list[str]) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise _out_of_range("floating-point", "0-1")
    facts.append("floating-point film")
    return values.astype(np.float32)


def _scale(values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.float32]:
    return values.astype(np.float32) / np.float32(2**bits - 1)
