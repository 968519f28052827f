"""Taking out of a film's features what its look predicts of them, within each class.

The look, here, is mean and deviation of the network's own early feature maps, along their main directions: what shows
of the grey values and grain that `looks.py` lends to other films. How features follow it is learned by linear
regression with the classes beside it, so that what distinguishes the classes is not taken out (limma's
removeBatchEffect, Ritchie et al. 2015; Metadata Normalization, Lu et al. 2021, arXiv:2104.09052). The correction is the
same at every place of the feature map, so pooling and class activation stay exact, and it is part of the graph.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from cxray.errors import ConfigError

LOOK, CORRECTION = "look_of_film", "look_correction"
# Of maps that still show grain and grey values more than lungs.
_STRIDES = (2, 4, 8)
# Networks without padding lose a few pixels on the way.
_TOLERANCE = 0.1
# A channel that varies less says nothing, and its noise would be divided by next to nothing.
_SMALLEST_DEVIATION = 1e-3
# Below the square root of a variance.
_TINY = 1e-6

Matrix = npt.NDArray[np.float32]


def early_maps(backbone: keras.Model) -> list[Any]:
    """The last feature map of `backbone` at about a half, a quarter and an eighth of the film's height.

    Raises:
        ConfigError: it has none of one of these sizes.
    """
    height = int(backbone.input.shape[1])
    last: dict[int, Any] = {}
    for layer in backbone.layers:
        shape = layer.output.shape
        padded = isinstance(layer, layers.ZeroPadding2D)  # a margin of zeros is no look
        for stride in _STRIDES:
            if not padded and len(shape) == 4 and abs(shape[1] - height / stride) <= _TOLERANCE * height / stride:
                last[stride] = layer.output
    if len(last) < len(_STRIDES):
        raise ConfigError(
            f"{backbone.name} has no feature map of a half, a quarter or an eighth of {height} pixels to see looks in.",
            "Set model.look_directions=0, or choose another backbone or input.height.",
        )
    return [last[stride] for stride in _STRIDES]


def with_correction(feature_map: Any, maps: list[Any]) -> Any:
    """`feature_map` plus a linear function of the look, which is nothing until the layer `CORRECTION` gets weights."""
    pooled = []
    for early in map(ops.stop_gradient, maps):  # the correction is not learned by gradient, so none shall be computed
        mean = layers.GlobalAveragePooling2D()(early)
        # Not the mean of squares less the squared mean: engines would differ in the digits that are left of it.
        apart = early - layers.Reshape((1, 1, mean.shape[-1]))(mean)
        variance = layers.GlobalAveragePooling2D()(apart * apart)
        pooled += [mean, ops.sqrt(ops.maximum(variance, _TINY))]
    look = layers.Concatenate(name=LOOK)(pooled)
    channels = int(feature_map.shape[-1])
    nothing = layers.Dense(channels, kernel_initializer="zeros", trainable=False, name=CORRECTION)
    return feature_map + layers.Reshape((1, 1, channels))(nothing(look))


def correction(
    looks: Matrix, features: Matrix, truth: npt.NDArray[np.float64], directions: int, *, natural: Matrix
) -> tuple[Matrix, Matrix]:
    """Kernel (L, F) and bias (F,) that, applied to a look and added, take it out of the features.

    Args:
        looks: (n, L).
        features: (n, F) of the same films.
        truth: (n, K), 1 for what a film shows, 0 for what it does not, NaN for what is not known, which counts as the
            mean of what is.
        directions: how many main directions of the look count.
        natural: (m, L), looks of films that nobody changed: their main directions are those of the machines.
    """
    mean, deviation = natural.mean(axis=0, dtype=np.float64), natural.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > _SMALLEST_DEVIATION, 1 / np.maximum(deviation, _SMALLEST_DEVIATION), 0.0)
    standardised = (natural - mean) * scale
    _, axes = np.linalg.eigh(standardised.T @ standardised)
    towards = scale[:, None] * axes[:, ::-1][:, :directions]
    # Filled with 0, what is unknown at one machine only would charge the disease to its look.
    known = np.where(np.isnan(truth), 0.0, truth).sum(axis=0) / np.maximum((~np.isnan(truth)).sum(axis=0), 1)
    design = np.column_stack([(looks - mean) @ towards, np.where(np.isnan(truth), known, truth), np.ones(len(truth))])
    slopes = np.linalg.lstsq(design, features.astype(np.float64), rcond=None)[0][: towards.shape[1]]
    kernel = -towards @ slopes
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)
