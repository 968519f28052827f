"""Occlusion: cover a film place by place and watch the log-odds, first everywhere, then again around the peak.

The first round tiles the film twice, the second tiling shifted by half a patch; a patch is filled from what surrounds
it, so that covering healthy lung does not paint an opacity. Steps between patches are smoothed away, because they say
where the patches lay, not where the evidence lies. The second round covers smaller patches around the strongest place,
which tells where within a patch it lies. Source: Zeiler and Fergus, ECCV 2014; two rounds are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cxray.errors import DataError, UsageError
from cxray.explain.cover import smooth_cover
from cxray.explain.grid import Map, shrink, upsample
from cxray.explain.opened import OpenedModel, log_odds

Mask = npt.NDArray[np.bool_]
# Cells of the map a patch of the first round.
CELLS_PER_PATCH = 8
# Second round: patches a side, their side and the step from one to the next, as shares of a patch of the first round.
_FINE, _FINE_SIDE, _FINE_STEP = 4, 0.8, 0.4
# Width of the smoothing, as a share of the film's side; chosen on synthetic films (benchmarks/README.md).
_SMOOTH, _FINE_SMOOTH = 0.018, 0.0134


def occlude(
    model: OpenedModel, film: npt.NDArray[Any], class_index: int, places: int
) -> tuple[Map, npt.NDArray[np.float64]]:
    """The map of a prepared film and its logits (1, K).

    The map has `CELLS_PER_PATCH` cells a patch and side (at most a cell a pixel); a cell holds the log-odds that are
    lost when its surroundings are covered: positive where the film speaks for the class.

    Raises:
        UsageError: fewer than two places a side, or more than half the film's pixels.
        DataError: the model answered with numbers that are not finite.
    """
    most = min(film.shape) // 2
    if not 2 <= places <= most:
        raise UsageError(f"Occlusion needs 2 to {most} places a side, got {places}.")
    height, width = (min(CELLS_PER_PATCH * places, side) for side in film.shape)
    covers = [*_tiles(places, 0.0, film.shape), *_tiles(places, 0.5, film.shape)]
    logits, lost = _lost(model, film, covers, class_index)
    coarse = upsample(_two_tilings(lost, places), height, width)
    coarse = np.asarray(ndimage.gaussian_filter(coarse, [_SMOOTH * side for side in coarse.shape]), dtype=np.float32)
    if coarse.max() <= 0:
        return coarse, logits
    return _refined(model, film, class_index, coarse, places), logits


def _refined(model: OpenedModel, film: npt.NDArray[Any], class_index: int, coarse: Map, places: int) -> Map:
    """`coarse` with a second look around its peak, in smaller patches; its largest value stays what it is."""
    covers = _around(coarse, film.shape, places)
    _, lost = _lost(model, film, covers, class_index)
    weight = np.sum(covers, axis=0, dtype=np.float32)
    seen = np.asarray(weight > 0)
    mean = np.tensordot(lost.astype(np.float32), np.asarray(covers, dtype=np.float32), 1) / np.maximum(weight, 1)
    fine = shrink(np.where(seen, mean, mean[seen].min()), *coarse.shape)
    fine = np.asarray(ndimage.gaussian_filter(fine, [_FINE_SMOOTH * side for side in fine.shape]), dtype=np.float32)
    inside = shrink(seen, *coarse.shape) > 0.5
    if fine[inside].max() <= 0:
        return coarse
    top = float(coarse.max())
    both = coarse / top + fine / float(fine[inside].max())
    return np.where(inside, both * (top / float(both[inside].max())), coarse).astype(np.float32)


def _lost(
    model: OpenedModel, film: npt.NDArray[Any], covers: Sequence[Mask], class_index: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The film's logits (1, K), and the log-odds lost (covers,) under each cover."""
    films = np.stack([film.astype(np.float32), *(smooth_cover(film, cover) for cover in covers)])
    logits = model.logits(films)
    if not np.isfinite(logits).all():
        raise DataError(f"{model.name} answered with numbers that are not finite; no map can be made of them.")
    odds = log_odds(logits, model.task, class_index)
    return np.asarray(logits[:1], dtype=np.float64), np.asarray(odds[0] - odds[1:], dtype=np.float64)


def _two_tilings(lost: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.float64]:
    """Log-odds lost on half patches (2·places a side): the mean over the patches of both tilings that cover each."""
    values = np.kron(lost[: places**2].reshape(places, places), np.ones((2, 2)))
    shifted = np.kron(lost[places**2 :].reshape(places - 1, places - 1), np.ones((2, 2)))
    values[1:-1, 1:-1] = (values[1:-1, 1:-1] + shifted) / 2
    return np.asarray(values, dtype=np.float64)


def _around(coarse: Map, shape: tuple[int, ...], places: int) -> list[Mask]:
    """The small patches of the second round, centred on the peak of the first; each holds at least a pixel."""
    peak = np.unravel_index(int(np.argmax(coarse)), coarse.shape)
    spans = []
    for place, cells, side in zip(peak, coarse.shape, shape, strict=True):
        patch = side / places
        centre = (float(place) + 0.5) * side / cells
        centres = [centre + (k - (_FINE - 1) / 2) * _FINE_STEP * patch for k in range(_FINE)]
        spans.append([_span(at, _FINE_SIDE * patch, side) for at in centres])
    covers = []
    for rows in spans[0]:
        for columns in spans[1]:
            cover = np.zeros(shape, dtype=bool)
            cover[rows, columns] = True
            covers.append(cover)
    return covers


def _span(centre: float, length: float, side: int) -> slice:
    """Pixels around `centre`, cut at the film's edge but never empty."""
    start = min(max(0, round(centre - length / 2)), side - 1)
    return slice(start, min(side, max(start + 1, round(centre + length / 2))))


def _tiles(places: int, shift: float, shape: tuple[int, ...]) -> list[Mask]:
    """Patches that tile a film, moved by `shift` of a patch; those that would leave the film are left out."""
    count = places if shift == 0 else places - 1
    covers = []
    for row in range(count):
        for column in range(count):
            cover = np.zeros(shape, dtype=bool)
            rows, columns = (
                slice(round((place + shift) * side / places), round((place + 1 + shift) * side / places))
                for place, side in zip((row, column), shape, strict=True)
            )
            cover[rows, columns] = True
            covers.append(cover)
    return covers
