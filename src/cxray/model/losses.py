"""The loss of each task."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from cxray.model.films import positive_weights


class SmoothedCategoricalCrossentropy(keras.losses.Loss):
    """Cross-entropy on integer targets (N,) and logits (N, K) with label smoothing (Szegedy et al. 2016, section 7)."""

    def __init__(self, classes: int, smoothing: float) -> None:
        super().__init__(name="smoothed_categorical_crossentropy")
        self.classes, self.smoothing = classes, smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss per film, (N,)."""
        targets = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self.classes)
        return keras.losses.categorical_crossentropy(targets, y_pred, from_logits=True, label_smoothing=self.smoothing)


class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Sigmoid cross-entropy on findings (N, K) with logits (N, K); NaN targets are unknown and do not count.

    `positive_weights` (K,) multiply the loss of films that have the finding. The result is the mean over a film's
    known findings, 0 for a film without any.
    """

    def __init__(self, positive_weights: npt.NDArray[np.float32], smoothing: float = 0.0) -> None:
        super().__init__(name="masked_binary_crossentropy")
        self.positive_weights, self.smoothing = positive_weights, smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss per film, (N,)."""
        known = ops.logical_not(ops.isnan(y_true))
        present = ops.where(known, y_true, ops.zeros_like(y_true))
        targets = present * (1 - self.smoothing) + 0.5 * self.smoothing
        # max(x, 0) - x z + log(1 + exp(-|x|)): stable for large logits of either sign.
        loss = ops.maximum(y_pred, 0) - y_pred * targets + ops.log1p(ops.exp(-ops.abs(y_pred)))
        weighted = loss * (1 + present * (self.positive_weights - 1))
        counted = ops.sum(ops.where(known, weighted, ops.zeros_like(weighted)), axis=-1)
        return counted / ops.maximum(ops.sum(ops.cast(known, "float32"), axis=-1), 1)


def loss_for(targets: npt.NDArray[Any], classes: int, *, smoothing: float, balanced: bool) -> keras.losses.Loss:
    """The loss for exclusive classes (integer targets) or findings (float targets with NaN)."""
    if targets.ndim == 2:
        return MaskedBinaryCrossentropy(positive_weights(targets) if balanced else np.ones(classes, "f4"), smoothing)
    if smoothing:
        return SmoothedCategoricalCrossentropy(classes, smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
