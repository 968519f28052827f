"""A simple estimate of the lung fields: where on a film lungs are seen as lungs.

A pair of drawn lung outlines is moved and stretched until it best divides dark from bright (the largest correlation of
a few thousand placements with the film's local darkness), then adjusted to the film's own edges within a narrow band.
The outlines keep their form, so an opacity inside a lung stays inside the estimate. Built for upright frontal films;
its agreement with the known lung fields of synthetic films is in `benchmarks/README.md`. It is meant for shares and
averages over many films, not for measuring one lung.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
# Side of the small grid on which the placement is searched.
_SIDE = 48
# Outlines in the unit square of both lungs together (x to the right, y down, -1 to 1): apex, outer wall, angle,
# diaphragm, mediastinal border. The patient's left lung, on the right of the film, leaves room for the heart.
_RIGHT_LUNG = (
    (-0.42, -1.0), (-0.66, -0.88), (-0.82, -0.55), (-0.92, -0.1), (-0.98, 0.4), (-1.0, 0.95), (-0.8, 0.8),
    (-0.55, 0.72), (-0.28, 0.74), (-0.3, 0.3), (-0.24, 0.0), (-0.17, -0.4), (-0.17, -0.75), (-0.26, -0.94),
)  # fmt: skip
_LEFT_LUNG = (
    (0.42, -1.0), (0.66, -0.88), (0.82, -0.55), (0.92, -0.1), (0.98, 0.4), (1.0, 1.0), (0.82, 0.84),
    (0.63, 0.76), (0.58, 0.5), (0.44, 0.15), (0.3, -0.15), (0.2, -0.4), (0.17, -0.75), (0.26, -0.94),
)  # fmt: skip
_CENTRES = np.linspace(-0.15, 0.15, 7)
_HALF_WIDTHS = np.linspace(0.5, 0.95, 8)
_TOPS = np.linspace(-0.95, -0.3, 9)
_BOTTOMS = np.linspace(0.15, 0.95, 9)
_LEAST_HEIGHT = 0.7


def lung_field(film: npt.NDArray[np.uint8]) -> Mask:
    """The estimated lung fields of a prepared film, white = dense: bool (height, width).

    There is always an answer; on something that is no frontal chest film it means nothing.
    """
    small = np.asarray(
        Image.fromarray(np.ascontiguousarray(film)).resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32
    )
    darkness = _local_darkness(small)
    templates, outlines = _placements()
    best = int(np.argmax(templates @ darkness.ravel()))
    adjusted = _adjusted(outlines[best].reshape(_SIDE, _SIDE), small)
    soft = Image.fromarray(adjusted.astype(np.float32))
    large = soft.resize((film.shape[1], film.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(large) > 0.5


def dice(first: Mask, second: Mask) -> float:
    """Overlap of two masks, 2·|A∩B| / (|A|+|B|) (Dice 1945); NaN when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else float("nan")


def _local_darkness(small: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How much darker than its surroundings each cell is, in standard deviations, 0 in the air beside the patient."""
    air = _air(small)
    body = (~air).astype(np.float32)
    reach = _SIDE / 6
    surroundings = ndimage.gaussian_filter(small * body, reach) / np.maximum(ndimage.gaussian_filter(body, reach), 1e-3)
    dark = (surroundings - ndimage.gaussian_filter(small, 0.7)) * body
    dark -= dark[~air].mean() if (~air).any() else 0
    return np.asarray(np.clip(dark / max(float(dark.std()), 1e-3), -2, 2) * body, dtype=np.float32)


def _air(small: npt.NDArray[np.float32]) -> Mask:
    """Nearly black cells that reach the edge of the film: air beside the patient, shutters, padding."""
    black = small < 0.35 * np.median(small)
    labels, _ = ndimage.label(black)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, edge[edge > 0])


def _adjusted(outline: Mask, small: npt.NDArray[np.float32]) -> Mask:
    """The outline moved to the film's own edges : dark cells within two join it, bright ones at its rim leave."""
    core = ndimage.binary_erosion(outline)
    reach = ndimage.binary_dilation(outline, iterations=2)
    ring = reach & ~outline
    if not core.any() or not ring.any():
        return outline
    local = ndimage.gaussian_filter(small, 0.6)
    inside, outside = np.median(local[core]), np.median(local[ring])
    dark = local < (inside + outside) / 2
    joined = core | (reach & dark & ~_air(small))
    return np.asarray(ndimage.binary_opening(ndimage.binary_closing(joined), iterations=1) | core)


@functools.cache
def _placements() -> tuple[npt.NDArray[np.float32], Mask]:
    """Templates float32 (M, cells) of unit length, +inside and -around, and their outlines bool (M, cells)."""
    templates, outlines = [], []
    for centre, half_width, top, bottom in itertools.product(_CENTRES, _HALF_WIDTHS, _TOPS, _BOTTOMS):
        is_within = abs(centre) + half_width <= 1.02
        if bottom - top < _LEAST_HEIGHT or not is_within:
            continue
        outline = _drawn(centre, half_width, top, bottom)
        around = ndimage.binary_dilation(outline, iterations=4) & ~outline
        template = outline / outline.sum() - around / around.sum()
        templates.append((template / np.linalg.norm(template)).ravel())
        outlines.append(outline.ravel())
    return np.array(templates, dtype=np.float32), np.array(outlines)


def _drawn(centre: float, half_width: float, top: float, bottom: float) -> Mask:
    canvas = Image.new("L", (_SIDE, _SIDE))
    draw = ImageDraw.Draw(canvas)
    for lung in (_RIGHT_LUNG, _LEFT_LUNG):
        points = [
            ((1 + centre + x * half_width) * _SIDE / 2, (1 + (top + bottom) / 2 + y * (bottom - top) / 2) * _SIDE / 2)
            for x, y in lung
        ]
        draw.polygon(points, fill=1)
    return np.asarray(canvas, dtype=bool)
