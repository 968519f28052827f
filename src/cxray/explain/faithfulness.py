"""Does a map tell the truth about its model? Measures for one film each; `measures.py` joins them over films.

Every measure has a null: what a map that knows nothing would get on the same film. The null map is the film's own map,
moved around the film and mirrored by chance, so it has the same values and the same blobs in other places.

Sources: deletion and insertion, Petsiuk et al. (RISE), BMVC 2018; repeatability and the comparison of maps by rank
correlation, Arun et al., Radiology: Artificial Intelligence 2021; pointing game, Zhang et al., IJCV 2018; hit rate and
overlap on chest films, Saporta et al., Nature Machine Intelligence 2022.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage, stats

from cxray.explain.attribution import Attribution
from cxray.explain.cover import smooth_cover
from cxray.explain.grid import Map, upsample
from cxray.explain.opened import OpenedModel

Film = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
# Cells a side in which films are covered, and steps from nothing to everything covered.
CELLS, STEPS = 7, 7
# Shifts of the film, as shares of its side, that must not move the evidence on the patient.
SHIFTS = ((0.03, 0.0), (-0.03, 0.0), (0.0, 0.03), (0.0, -0.03))
# The pointing game's tolerance: 15 pixels on the photographs of about 500 pixels for which it was proposed.
TOLERANCE_SHARE = 0.03


@dataclasses.dataclass(frozen=True, slots=True)
class Areas:
    """Mean log-odds of the class while the film is covered (`deletion`, lower is better) or uncovered (`insertion`,
    higher is better) in the order of a map, strongest evidence first.

    Log-odds, because a probability near 1 hardly moves whatever is covered.
    """

    deletion: float
    insertion: float


def deletion_insertion(model: OpenedModel, film: Film, maps: Sequence[Map], class_index: int) -> list[Areas]:
    """Deletion and insertion areas of several maps of one prepared film.

    The film is covered in `CELLS` × `CELLS` cells, in `STEPS` equal steps, by a smooth continuation of what is left:
    a blurred or grey film would itself look like disease.
    """
    pictures = []
    for values in maps:
        rank = _cell_ranks(values)
        for step in range(1, STEPS):
            strongest = _enlarge(rank < round(step * CELLS * CELLS / STEPS), film.shape)
            pictures += [smooth_cover(film, strongest), smooth_cover(film, ~strongest)]
    odds = model.log_odds(np.stack(pictures), class_index).reshape(len(maps), STEPS - 1, 2)
    return [Areas(float(curve[:, 0].mean()), float(curve[:, 1].mean())) for curve in odds]


def null_map(values: Map, rng: np.random.Generator) -> Map:
    """The map moved around the film and mirrored by chance: same values, other places."""
    height, width = values.shape
    moved = np.roll(values, (int(rng.integers(height)), int(rng.integers(width))), axis=(0, 1))
    flipped = moved[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
    turned = flipped.T if height == width and rng.random() < 0.5 else flipped
    return np.ascontiguousarray(turned)


def similarity(first: Map, second: Map) -> float:
    """Spearman's rank correlation of two maps of one size, -1 to 1; NaN for a flat map."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.spearmanr(first.ravel(), second.ravel()).statistic)


def shift_similarity(film: Film, make: Callable[[Film], list[Map]]) -> float:
    """How alike the maps of one film stay when the film is moved by `SHIFTS` (and the map back): mean rank correlation.

    `make` turns films (N, height, width) into maps. The part that a shift brings in repeats the film's edge and is
    left out of the comparison.
    """
    height, width = film.shape
    steps = [(round(down * height), round(right * width)) for down, right in SHIFTS]
    films = np.stack([film, *(_shifted(film, step) for step in steps)])
    original, *others = [upsample(values, height, width) for values in make(films)]
    alike = [_compare_shifted(original, other, step) for other, step in zip(others, steps, strict=True)]
    return float(np.mean(alike))


def share_inside(values: Map, inside: Mask) -> float:
    """Share of the evidence for the class (the map's positive part) that lies in `inside`, 0–1; NaN without any."""
    evidence = np.maximum(upsample(values, *inside.shape), 0)
    total = float(evidence.sum())
    return float(evidence[inside].sum()) / total if total > 0 else float("nan")


def points_at(attribution: Attribution | Map, opacity: Mask, *, tolerance: bool = False) -> bool:
    """The pointing game: whether the strongest evidence lies in the known `opacity` (height, width).

    With `tolerance`, within `TOLERANCE_SHARE` of the film's side of it. A flat map points nowhere.
    """
    values = attribution.values if isinstance(attribution, Attribution) else attribution
    if np.ptp(values) == 0 or (isinstance(attribution, Attribution) and attribution.is_flat):
        return False
    large = upsample(values, *opacity.shape)
    row, column = np.unravel_index(int(np.argmax(large)), large.shape)
    if not tolerance:
        return bool(opacity[row, column])
    distance = ndimage.distance_transform_edt(~opacity) if opacity.any() else np.full(opacity.shape, np.inf)
    return bool(distance[row, column] <= TOLERANCE_SHARE * min(opacity.shape))


def overlap(values: Map, opacity: Mask) -> float:
    """Intersection over union of the known opacity and the equally large area of strongest evidence, 0–1."""
    large = upsample(values, *opacity.shape)
    size = int(opacity.sum())
    if size == 0 or np.ptp(large) == 0:
        return float("nan")
    strongest = np.zeros(opacity.size, dtype=bool)
    strongest[np.argpartition(-large.ravel(), size - 1)[:size]] = True
    shared = int((strongest.reshape(opacity.shape) & opacity).sum())
    return shared / (2 * size - shared)


def _cell_ranks(values: Map) -> npt.NDArray[np.int64]:
    """Rank of each of CELLS × CELLS cells, 0 for the strongest evidence; ties by place."""
    cells = values
    if values.shape != (CELLS, CELLS):
        resample = Image.Resampling.BOX if min(values.shape) > CELLS else Image.Resampling.BILINEAR
        small = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
        cells = np.asarray(small.resize((CELLS, CELLS), resample))
    ranks = np.empty(CELLS * CELLS, dtype=np.int64)
    ranks[np.argsort(-cells.ravel(), kind="stable")] = np.arange(CELLS * CELLS)
    return ranks.reshape(CELLS, CELLS)


def _enlarge(cells: Mask, shape: tuple[int, ...]) -> Mask:
    rows = np.arange(shape[0]) * CELLS // shape[0]
    columns = np.arange(shape[1]) * CELLS // shape[1]
    return np.asarray(cells[np.ix_(rows, columns)])


def _shifted(film: Film, step: tuple[int, int]) -> Film:
    return np.asarray(ndimage.shift(film, step, order=0, mode="nearest"))


def _compare_shifted(original: Map, moved: Map, step: tuple[int, int]) -> float:
    height, width = original.shape
    down, right = step
    rows = slice(max(0, -down), height - max(0, down))
    columns = slice(max(0, -right), width - max(0, right))
    back = moved[
        slice(max(0, down), height - max(0, -down)),
        slice(max(0, right), width - max(0, -right)),
    ]
    return similarity(original[rows, columns], back)
