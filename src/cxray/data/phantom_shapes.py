"""Drawing primitives of the phantom: soft steps, tubes of bone, splatted lines and pixel lettering.

All fields are float32 of shape (height, width). Lengths are in film units: the square film reaches from -1 to 1 in
x (the patient's right is at negative x, on the left of the film as always) and from -1 (top) to 1 in y.
Thickness is in units of one chest depth. Nothing here draws random numbers.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[Any]
"""float32 in fact; declared loosely, because NumPy's stubs forget the precision in mixed arithmetic."""

# Five columns by seven rows, most significant bit on the left: the letters that side markers and burned-in text use.
_GLYPHS = {
    "A": "0e 11 11 1f 11 11 11",
    "E": "1f 10 10 1e 10 10 1f",
    "L": "10 10 10 10 10 10 1f",
    "P": "1e 11 11 1e 10 10 10",
    "R": "1e 11 11 1e 14 12 11",
    "T": "1f 04 04 04 04 04 04",
    "X": "11 11 0a 04 0a 11 11",
    "1": "04 0c 04 04 04 04 0e",
    "4": "02 06 0a 12 1f 02 02",
    "7": "1f 01 02 04 08 08 08",
    " ": "00 00 00 00 00 00 00",
}


@functools.lru_cache(maxsize=8)
def film_grid(size_px: int) -> tuple[Field, Field]:
    """Pixel centres as x of shape (1, size) and y of shape (size, 1), read-only, -1 to 1."""
    line = ((np.arange(size_px, dtype=np.float32) + 0.5) * (2.0 / size_px) - 1.0).astype(np.float32)
    line.flags.writeable = False
    return line[None, :], line[:, None]


def soft_step(field: Field, width: float) -> Field:
    """0 where `field` is below -width/2, 1 above width/2, a smooth cubic between."""
    t = np.clip(field * (1.0 / width) + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def dome(squared: Field) -> Field:
    """Path length through a unit ball at squared distance `squared` from its centre: √(1 - r²), 0 outside."""
    return np.sqrt(np.maximum(1.0 - squared, 0.0))


_TUBE_STEPS = 1024


@functools.cache
def _tube_table() -> Field:
    squared = np.linspace(0.0, 1.0, _TUBE_STEPS, dtype=np.float32) ** 2
    return dome(squared) - np.float32(0.62) * dome(squared * np.float32(1.7))


def bone_tube(ratio: Field) -> Field:
    """Path length through a tube of dense shell and light marrow at `ratio` = distance / radius; about 0–0.7.

    The edges come out brighter than the middle, as cortical bone does on a film. Looked up in a table for speed.
    """
    nearest = (np.abs(ratio) * np.float32(_TUBE_STEPS - 1)).astype(np.intp)
    return _tube_table().take(nearest, mode="clip")


def splat(points: Field, weights: Field, *, size_px: int, sigma: float) -> Field:
    """Sum of Gaussian blobs: `points` (N, 2) as x, y in film units, each with the mass `weights` (N,) of peak × px².

    Masses are shared between the four nearest pixels, then blurred by `sigma` (film units); points outside are left
    out.
    """
    position = (points + 1.0) * (size_px / 2.0) - 0.5
    corner = np.floor(position).astype(np.int64)
    x_share, y_share = (position - corner).T
    column, row = corner.T
    kept = (column >= 0) & (row >= 0) & (column < size_px - 1) & (row < size_px - 1)
    start = (row * size_px + column)[kept]
    x_share, y_share, weights = x_share[kept], y_share[kept], weights[kept]
    below, above = weights * y_share, weights * (1.0 - y_share)
    mass = np.concatenate([above * (1 - x_share), above * x_share, below * (1 - x_share), below * x_share])
    cells = np.concatenate([start, start + 1, start + size_px, start + size_px + 1])
    canvas = np.bincount(cells, weights=mass, minlength=size_px * size_px).astype(np.float32)
    canvas = canvas.reshape(size_px, size_px)
    sigma_px = sigma * size_px / 2.0
    # Sharing a point between four pixels spreads it by about a third of a pixel already.
    return blur(canvas, sigma_px) if sigma_px > 0.4 else canvas


def line_mass(thickness: Field, *, spacing: Field, size_px: int, sigma: float) -> Field:
    """Mass for `splat` of points `spacing` apart (film units), so that the drawn line is `thickness` at its middle."""
    pixels = size_px / 2.0
    per_point: Field = thickness * math.sqrt(2 * math.pi) * (sigma * pixels) * (spacing * pixels)
    return per_point


def blur(field: Field, sigma_px: float) -> Field:
    """Gaussian blur, edges repeated."""
    blurred: Field = ndimage.gaussian_filter(field, sigma_px, mode="nearest", truncate=3.0)
    return blurred


def wide_blur(field: Field, sigma_px: float) -> Field:
    """Gaussian blur by many pixels at a fraction of the cost: shrunk, blurred and enlarged again (square fields)."""
    size = field.shape[0]
    step = max(1, round(sigma_px / 3.0))
    starts = np.arange(0, size, step)
    length = np.diff(np.append(starts, size)).astype(np.float32)
    sums = np.add.reduceat(np.add.reduceat(field, starts, axis=0), starts, axis=1)
    small = blur(sums / (length[:, None] * length), sigma_px / step)
    place = (np.arange(size, dtype=np.float32) - (step - 1) / 2.0) / step
    place = np.clip(place, 0.0, len(starts) - 1.0)
    first = np.minimum(place.astype(np.intp), max(len(starts) - 2, 0))
    second = np.minimum(first + 1, len(starts) - 1)
    share = place - first.astype(np.float32)
    rows: Field = small[first] + share[:, None] * (small[second] - small[first])
    left = rows[:, first]
    enlarged: Field = left + share * (rows[:, second] - left)
    return enlarged


def lettering(text: str, *, scale: int) -> Field:
    """`text` as pixels, 1 on strokes and 0 elsewhere; each stroke is `scale` pixels wide."""
    rows = [[int(row, 16) for row in _GLYPHS[letter].split()] for letter in text]
    bits = [[[(row >> (4 - k)) & 1 for k in range(5)] + [0] for row in glyph] for glyph in rows]
    return np.kron(np.concatenate(bits, axis=1), np.ones((scale, scale))).astype(np.float32)
