"""Covering parts of a film so that the cover itself says as little as possible.

A grey patch on a dark lung looks like an opacity. `smooth_cover` therefore continues the surroundings into the covered
part (normalised convolution, Knutsson and Westin, CVPR 1993), computed on a small grid because the result is smooth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
_GRID = 32
# Reach of the surroundings, in cells of the small grid: wide enough to bridge a lung.
_REACH_CELLS = (1.5, 4.0, 12.0)
_LEAST_WEIGHT = 0.02


def smooth_cover(film: npt.NDArray[Any], cover: Mask) -> npt.NDArray[np.float32]:
    """`film` (height, width) with the pixels of `cover` replaced by a smooth continuation of all others.

    A film that is covered whole becomes its own mean. Values keep their unit; the result is float32.
    """
    film = film.astype(np.float32)
    if not cover.any():
        return film
    if cover.all():
        return np.full_like(film, film.mean())
    return np.where(cover, _continued(film, ~cover), film)


def _continued(film: npt.NDArray[np.float32], keep: Mask) -> npt.NDArray[np.float32]:
    shape = (min(_GRID, film.shape[0]), min(_GRID, film.shape[1]))
    seen = _shrink(keep.astype(np.float32), shape)
    light = _shrink(np.where(keep, film, np.float32(0)), shape)
    filled = np.full(shape, film[keep].mean(), dtype=np.float32)
    # From far to near: the nearest surroundings that are seen at all win.
    for reach in sorted(_REACH_CELLS, reverse=True):
        weight = ndimage.gaussian_filter(seen, reach, mode="nearest")
        mean = ndimage.gaussian_filter(light, reach, mode="nearest") / np.maximum(weight, 1e-6)
        trust = np.clip(weight / _LEAST_WEIGHT - 1, 0, 1)
        filled += (mean - filled) * trust
    small = Image.fromarray(filled)
    return np.asarray(small.resize((film.shape[1], film.shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def _shrink(values: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    small = Image.fromarray(np.ascontiguousarray(values)).resize(shape[::-1], Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)
