"""A map over its film: one scale, one colour map, the film always visible.

Warm colours speak for the class, cold ones against; nothing is drawn where a cell adds nothing. Full colour is a fixed
number of log-odds (the model's card gives it), so that two films can be compared and a film without evidence stays
grey. The colour map is `berlin` (Crameri, perceptually uniform, safe for colour-blind eyes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.explain.attribution import Attribution
from cxray.explain.grid import upsample

COLOUR_MAP = "berlin"
_STRONGEST_COVER = 0.72
# Cells below this share of full colour are left to the film.
_FAINTEST = 0.06

Picture = npt.NDArray[np.uint8]


def scale_of(attribution: Attribution, card_scale: float = 0.0) -> float:
    """Log-odds of a cell that get full colour: the card's scale, else the largest of this map; above 0."""
    largest = float(np.abs(attribution.values).max())
    return card_scale if card_scale > 0 else max(largest, 1e-6)


def overlay(film: npt.NDArray[np.uint8], attribution: Attribution, scale: float) -> Picture:
    """The film (height, width) with the map over it: uint8 (height, width, 3).

    A flat map is not drawn at all: the result is the film.
    """
    grey = np.repeat(film[..., np.newaxis], 3, axis=2).astype(np.float32)
    if attribution.is_flat:
        return film_as_rgb(film)
    signed = np.clip(upsample(attribution.values, *film.shape) / scale, -1, 1)
    strength = np.clip((np.abs(signed) - _FAINTEST) / (1 - _FAINTEST), 0, 1)
    cover = (_STRONGEST_COVER * np.sqrt(strength))[..., np.newaxis]
    mixed = grey * (1 - cover) + _colours(signed) * cover
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def film_as_rgb(film: npt.NDArray[np.uint8]) -> Picture:
    """A grey film (height, width) as uint8 (height, width, 3)."""
    return np.repeat(film[..., np.newaxis], 3, axis=2)


def _colours(signed: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOUR_MAP]((signed + 1) / 2)[..., :3] * 255, dtype=np.float32)
