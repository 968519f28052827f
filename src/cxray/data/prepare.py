"""The only way pixels become a model's input: fit, resize, round to 8 bit, and what the card says of grey values.

The result is uint8, because that is what the cache stores; `as_model_input` divides by 255. Training, evaluation and
serving therefore see the same 256 grey levels, and a cache hit equals a miss byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxray.config import InputCard
from cxray.data.decode import decode_file
from cxray.errors import UnreadableImage
from cxray.records import PixelImage

# A film smaller than this shows no lungs; stretching it up would only hide that.
MINIMUM_SIDE_PIXELS = 16
_WINDOW = (0.01, 0.99)


def prepare(image: PixelImage, card: InputCard, *, name: str = "the film") -> npt.NDArray[np.uint8]:
    """Turn a decoded film into uint8 (card.height, card.width).

    Shrinking and enlarging use Pillow's antialiased triangle filter on float32; with `fit="pad"` the film is
    centred and the rest is 0 (black).

    Raises:
        UnreadableImage: a stored side is shorter than `MINIMUM_SIDE_PIXELS`.
    """
    shortest = min(image.stored_height, image.stored_width)
    if shortest < MINIMUM_SIDE_PIXELS:
        raise UnreadableImage(
            f"{name} is {image.stored_width} x {image.stored_height} pixels; at least {MINIMUM_SIDE_PIXELS} a side are "
            "needed to be a film.",
            "Remove it, or export it at its native size.",
        )
    top, left, height, width = fitted_box(image, card)
    resized = _resize(image.pixels, height, width)
    canvas = np.zeros((card.height, card.width), dtype=np.uint8)
    film = _to_uint8(resized)
    canvas[top : top + height, left : left + width] = _INTENSITIES[card.intensity](film)
    return canvas


def prepare_file(path: Path, card: InputCard) -> npt.NDArray[np.uint8]:
    """Decode and prepare one film from disk, at reduced JPEG scale where that is enough: uint8 (height, width).

    Raises:
        UnreadableImage: as `decode_file` and `prepare`.
    """
    return prepare(decode_file(path, at_least=max(card.height, card.width)), card, name=str(path))


def as_model_input(films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """uint8 (N, height, width) to float32 (N, height, width, 1), 0–1: what every graph takes."""
    return np.asarray(films[..., np.newaxis], dtype=np.float32) / np.float32(255)


def equalised(film: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey values, uint8 of any shape, replaced by their rank among all but the black ones: 1–255, black stays 0.

    Films that differ by a rising curve of grey alone become equal, but for values that rounding to 8 bit had merged.
    """
    table = np.maximum(np.rint(255 * _share_up_to(film)), 1).astype(np.uint8)
    table[0] = 0
    return np.asarray(table[film])


def windowed(film: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey values, uint8 of any shape, stretched so that the 1st percentile becomes 0 and the 99th 255; black does not
    count. A film of one grey stays as it is.
    """
    low, high = np.searchsorted(_share_up_to(film), _WINDOW)
    if high <= low:
        return film
    table = np.rint(np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
    return np.asarray(table[film])


def _share_up_to(film: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """For each grey value 0–255 the share of the film's pixels up to it, black ones left out: float64 (256,)."""
    counts = np.bincount(film.ravel(), minlength=256)
    counts[0] = 0  # collimation and padding would take most of the range
    return np.asarray(np.cumsum(counts) / max(int(counts.sum()), 1))


_INTENSITIES: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    "as_is": lambda film: film,
    "window": windowed,
    "equalise": equalised,
}


def fitted_box(image: PixelImage, card: InputCard) -> tuple[int, int, int, int]:
    """Where the film lies in its prepared picture: top, left, height and width in pixels of the picture."""
    height, width = _fitted_size(image, card)
    return (card.height - height) // 2, (card.width - width) // 2, height, width


def _fitted_size(image: PixelImage, card: InputCard) -> tuple[int, int]:
    if card.fit == "stretch":
        return card.height, card.width
    # The stored size, not the decoded one: JPEG's reduced scale rounds up and would bend the aspect ratio.
    scale = min(card.height / image.stored_height, card.width / image.stored_width)
    return max(1, round(image.stored_height * scale)), max(1, round(image.stored_width * scale))


def _resize(pixels: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[Any]:
    if pixels.shape == (height, width):
        return pixels
    film = Image.fromarray(pixels)
    return np.asarray(film.resize((width, height), Image.Resampling.BILINEAR))


def _to_uint8(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), dtype=np.uint8)
