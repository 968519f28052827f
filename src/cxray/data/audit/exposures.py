"""Are two films the same exposure? Their fine detail decides, wherever it lies.

The anatomy of two patients is alike; the grain, the vessels and the letters of two exposures are not. So films are
reduced to what a blur takes away, and one is laid over the other at a few sizes and all small shifts: a copy that was
re-encoded, resized, brightened or cropped by up to some 2 % still fits in one of these places. A film that was turned
or mirrored is laid straight first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

from cxray.config import InputCard

CARD = InputCard(height=128, width=128, fit="stretch")
"""How films are prepared to be compared here."""

_SCALES = (0.96, 0.98, 1.02, 1.04)
# A copy cropped by 2 % keeps 0.53 at the wrong size; 9 in 10 strangers stay below this and need no other size.
_PROMISING = 0.35
_BLUR_SIGMA = 2.0
_MARGIN = 8  # the outermost pixels hold frames that many different films share
_SHIFT = 8  # pixels of 128, either way
_SIDE = CARD.height - 2 * _MARGIN
_WINDOW = _SIDE - 2 * _SHIFT
_SHAPE = (CARD.height, CARD.width)

Detail = npt.NDArray[np.float32]


def detail_correlation(one: npt.NDArray[np.uint8], two: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Correlation (-1 to 1) of the fine detail of two films: as they lie, and the highest over all places.

    Both are uint8 (128, 128), prepared with `CARD`. The places are shifts of up to 8 pixels and, where the film's own
    size is promising, `_SCALES`.
    """
    window = _detail(one)[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    window = window - window.mean()
    length = float(np.linalg.norm(window))
    if length == 0:
        return 0.0, 0.0
    spectrum = np.conj(fft.rfft2(window / length, _SHAPE))
    as_it_is = _over_shifts(spectrum, _detail(two))
    in_place, anywhere = float(as_it_is[_SHIFT, _SHIFT]), float(as_it_is.max())
    if anywhere >= _PROMISING:
        others = (_over_shifts(spectrum, _detail(_scaled(two, scale))) for scale in _SCALES)
        anywhere = max(anywhere, *(float(shifts.max()) for shifts in others))
    return in_place, anywhere


def laid_straight(
    film: npt.NDArray[np.uint8], degrees: float, *, is_mirrored: bool, width_over_height: float = 1.0
) -> npt.NDArray[np.uint8]:
    """A film, uint8 (side, side), mirrored left to right if so wished, then turned counter-clockwise.

    `width_over_height` is that of the stored film, which was stretched to a square: it is turned as it was stored.
    """
    if is_mirrored:
        film = film[:, ::-1]
    quarters = round(degrees / 90)
    film = np.ascontiguousarray(np.rot90(film, quarters % 4))
    rest = degrees - 90 * quarters
    if rest == 0:
        return film
    aspect = 1 / width_over_height if quarters % 2 else width_over_height
    cosine, sine, middle = np.cos(np.radians(rest)), np.sin(np.radians(rest)), len(film) / 2
    # Of the turned film's point the point to take it from, as PIL wants it; both from the middle.
    a, b, d, e = cosine, -sine / aspect, sine * aspect, cosine
    box = (a, b, middle - (a + b) * middle, d, e, middle - (d + e) * middle)
    turned = Image.fromarray(film).transform(film.shape, Image.Transform.AFFINE, box, Image.Resampling.BICUBIC)
    return np.asarray(turned)


def _over_shifts(spectrum: npt.NDArray[np.complex64], detail: Detail) -> Detail:
    """Correlation of the window behind `spectrum` with every window of its size in `detail`, (17, 17)."""
    places = slice(0, 2 * _SHIFT + 1)
    products = fft.irfft2(fft.rfft2(detail, _SHAPE) * spectrum, _SHAPE)[places, places]
    middle = slice(_WINDOW // 2, _WINDOW // 2 + 2 * _SHIFT + 1)
    mean, square = (ndimage.uniform_filter(field, _WINDOW)[middle, middle] for field in (detail, detail * detail))
    spread = _WINDOW * np.sqrt(np.maximum(square - mean * mean, 1e-6))
    return np.asarray(products / spread, dtype=np.float32)


def _scaled(film: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """The film enlarged about its middle by `scale`, same number of pixels."""
    if scale == 1.0:
        return film
    height, width = film.shape
    half_width, half_height = width / 2 / scale, height / 2 / scale
    box = (width / 2 - half_width, height / 2 - half_height, width / 2 + half_width, height / 2 + half_height)
    enlarged = Image.fromarray(film).transform((width, height), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return np.asarray(enlarged)


def _detail(film: npt.NDArray[np.uint8]) -> Detail:
    """What a blur takes away, float32 (112, 112), strong edges cut."""
    grey = film.astype(np.float32)
    detail = (grey - ndimage.gaussian_filter(grey, _BLUR_SIGMA))[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    # Markers and collimator edges are as strong as everything else together, and alike on different films.
    limit = 3 * max(1.4826 * float(np.median(np.abs(detail))), 0.5)
    return np.asarray(np.clip(detail, -limit, limit), dtype=np.float32)
