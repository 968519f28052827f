"""What a finished network looks at besides the film itself: its mirror image, and the film stretched either way.

The mean over several views errs less than one of them, and films whose own aspect ratio was lost in a resize have no
right shape. Pooling is linear and so is the head: the logits of the mean feature map are the mean of the views' logits,
and class activation on it stays exact.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops


def mean_feature_map(one_view: keras.Model, films: Any, *, mirrored: bool, stretch: float) -> Any:
    """The mean of `one_view` (films to feature map) over the views of films (N, height, width, 1).

    Maps of mirror images are mirrored back. Those of stretched films stay as they are: at a `stretch` of 0.16 nothing
    lies further from its place than a thirteenth of its distance from the centre.
    """
    views = [films]
    if stretch:
        aside = math.sqrt(1 + stretch)
        views += [stretched(films, aside, 1 / aside), stretched(films, 1 / aside, aside)]
    maps = [one_view(view) for view in views]
    if mirrored:
        maps += [ops.flip(one_view(ops.flip(view, axis=2)), axis=2) for view in views]
    return sum(maps[1:], maps[0]) / len(maps)


def stretched(films: Any, wide: float, tall: float) -> Any:
    """Films (N, height, width, 1), width and height multiplied about the centre in the same frame, black outside.

    Bilinear resampling is linear along each side, so two layers of fixed weights do it: every engine agrees on those,
    and no two on the sizes and corners of a resize.
    """
    height, width = films.shape[1:3]
    rows = layers.Reshape((height, width))(films)
    across = layers.Permute((2, 1))(_resampled(rows, wide))
    return layers.Reshape((height, width, 1))(layers.Permute((2, 1))(_resampled(across, tall)))


def _resampled(rows: Any, factor: float) -> Any:
    """Rows (N, lines, pixels), each stretched by `factor` about its centre."""
    pixels = rows.shape[-1]
    layer = layers.Dense(pixels, use_bias=False, trainable=False)
    layer.build(rows.shape)
    layer.set_weights([_bilinear(pixels, factor)])
    return layer(rows)


def _bilinear(pixels: int, factor: float) -> npt.NDArray[np.float32]:
    """The matrix (pixels from, pixels to) of a stretch about the centre; nothing lies outside of the film."""
    middle = (pixels - 1) / 2
    wanted = (np.arange(pixels) - middle) / factor + middle
    distance = np.abs(np.arange(pixels)[:, None] - wanted[None, :])
    return np.asarray(np.maximum(0.0, 1.0 - distance), dtype=np.float32)
