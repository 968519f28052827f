"""Taking out of a film's features what its look predicts of them, within each class.

The look is mean and deviation of the network's own early feature maps, along their main directions. How features follow
it is learned by linear regression with the classes beside it, so that what distinguishes the classes is not taken out
(limma's removeBatchEffect, Ritchie et al. 2015; Metadata Normalization, Lu et al. 2021, arXiv:2104.09052). The
correction is the same at every place of the feature map, so pooling and class activation stay exact, and it is part of
the graph: two small layers that no engine has trouble with.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

LOOK, CORRECTION = "look_of_film", "look_correction"
# Halvings of the film after which its maps still show grain and grey values more than lungs.
_STRIDES = (2, 4, 8)
# A channel that varies less says nothing, and its noise would be divided by next to nothing.
_SMALLEST_DEVIATION = 1e-3
# Below the square root of a variance.
_TINY = 1e-6

Matrix = npt.NDArray[np.float32]


def early_maps(backbone: keras.Model) -> list[Any]:
    """The last feature map of `backbone` at a half, a quarter and an eighth of the film's side."""
    side = int(backbone.input.shape[1])
    last: dict[int, Any] = {}
    for layer in backbone.layers:
        shape = layer.output.shape
        if len(shape) == 4:
            last[int(shape[1])] = layer.output
    return [last[-(-side // stride)] for stride in _STRIDES if -(-side // stride) in last]


def with_correction(feature_map: Any, maps: list[Any]) -> Any:
    """`feature_map` plus a linear function of the look, which is nothing until the layer `CORRECTION` gets weights."""
    pooled = []
    for early in maps:
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
        truth: (n, K), 1 for what a film shows and 0 for what it does not or is not known to show.
        directions: how many main directions of the look count.
        natural: (m, L), looks of films that nobody changed: their main directions are those of the machines.
    """
    mean, deviation = natural.mean(axis=0, dtype=np.float64), natural.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > _SMALLEST_DEVIATION, 1 / np.maximum(deviation, _SMALLEST_DEVIATION), 0.0)
    standardised = (natural - mean) * scale
    _, axes = np.linalg.eigh(standardised.T @ standardised)
    towards = scale[:, None] * axes[:, ::-1][:, :directions]
    design = np.column_stack([(looks - mean) @ towards, truth, np.ones(len(truth))])
    slopes = np.linalg.lstsq(design, features.astype(np.float64), rcond=None)[0][:directions]
    kernel = -towards @ slopes
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)
