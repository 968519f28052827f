"""A map is a small grid over a film; how it is enlarged to the film, in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Map = npt.NDArray[np.float32]


def upsample(values: npt.NDArray[Any], height: int, width: int) -> Map:
    """A map (h, w) enlarged to (height, width), bilinear between the centres of its cells."""
    small = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def shrink(values: npt.NDArray[Any], height: int, width: int) -> Map:
    """A map (h, w) made smaller: the mean of what falls into each of (height, width) cells."""
    large = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(large.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
