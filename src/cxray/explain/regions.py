"""Which parts of a film a model lives on, asked by changing the film, not by trusting a map.

`cover_lungs` removes the lungs: a model that still knows the answer did not need them. `swap_frames` exchanges the
outermost strip of two films (shutters, markers, padding; the estimated lungs stay): what a model reads there moves
with the strip.

Sources: covering the lungs after Maguolo and Nanni, Information Fusion 2021, and Sourget et al., "Mask of truth",
2024; exchanging parts of films of two classes as in counterfactual image composition.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cxray.explain.cover import smooth_cover
from cxray.explain.lungs import lung_field
from cxray.explain.opened import OpenedModel

Films = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
# Width of the frame, as a share of the side: side markers sit 5 to 10 % from the edge.
FRAME_SHARE = 0.12
# The lung field is widened by this share of the side before it is covered, so that its rim does not tell.
_LUNG_MARGIN_SHARE = 0.03


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSwap:
    """Log-odds of pairs of films, first of each pair of the class and second not: float64 (pairs,) each.

    `moved` is how far the log-odds came from the film's own towards the other class when only the frame was exchanged,
    averaged over both directions, so that the seam of the exchange cancels; `gap` is the whole difference of the pair.
    """

    moved: npt.NDArray[np.float64]
    gap: npt.NDArray[np.float64]


def cover_lungs(film: npt.NDArray[np.uint8], field: Mask | None = None) -> npt.NDArray[np.float32]:
    """A prepared film with its lung fields (estimated unless given) replaced by a continuation of the surroundings."""
    field = lung_field(film) if field is None else field
    margin = max(1, round(_LUNG_MARGIN_SHARE * min(film.shape)))
    return smooth_cover(film, ndimage.binary_dilation(field, iterations=margin))


def swap_frames(model: OpenedModel, films: Films, others: Films, class_index: int) -> FrameSwap:
    """Exchange the frames of prepared films (pairs, height, width) of the class with those of `others` outside it."""
    mixed = [_exchange(film, other) for film, other in zip(films, others, strict=True)]
    own, foreign = model.log_odds(films, class_index), model.log_odds(others, class_index)
    with_other = model.log_odds(np.stack([pair[0] for pair in mixed]), class_index)
    with_own = model.log_odds(np.stack([pair[1] for pair in mixed]), class_index)
    return FrameSwap(moved=((own - with_other) + (with_own - foreign)) / 2, gap=own - foreign)


def frame(shape: tuple[int, ...]) -> Mask:
    """The outermost `FRAME_SHARE` of a film, bool."""
    width = max(1, round(FRAME_SHARE * min(shape)))
    outer = np.ones(shape, dtype=bool)
    outer[width:-width, width:-width] = False
    return outer


def _exchange(film: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> tuple[Any, Any]:
    strip = frame(film.shape) & ~(lung_field(film) | lung_field(other))
    return np.where(strip, other, film), np.where(strip, film, other)
