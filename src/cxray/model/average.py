"""Exponential moving average of the weights (Polyak and Juditsky 1992), including batch normalisation's statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


class WeightAverage(keras.callbacks.Callback):
    """Follows the weights of a model step by step.

    The momentum starts low, min(momentum, (1 + t) / (10 + t)), so that the average forgets where it began. With
    momentum 0 it is the weights themselves and costs nothing.
    """

    def __init__(self, network: keras.Model, momentum: float) -> None:
        super().__init__()
        self.network, self.momentum = network, momentum
        self.averages = [tf.Variable(weight.value, trainable=False) for weight in network.weights] if momentum else []
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._follow = tf.function(self._follow_eagerly)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the average towards the weights."""
        if self.momentum:
            self._follow()

    def _follow_eagerly(self) -> None:
        self.steps.assign_add(1)
        step = tf.cast(self.steps, tf.float32)
        momentum = tf.minimum(self.momentum, (1.0 + step) / (10.0 + step))
        for average, weight in zip(self.averages, self.network.weights, strict=True):
            if average.dtype.is_floating:
                average.assign(average * momentum + (1.0 - momentum) * weight.value)
            else:  # counters, as in a Normalization layer, have no average
                average.assign(weight.value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network carry its averaged weights for a while."""
        if not self.momentum:
            yield
            return
        current = [weight.numpy() for weight in self.network.weights]
        self.network.set_weights([average.numpy() for average in self.averages])
        try:
            yield
        finally:
            self.network.set_weights(current)

    def state(self) -> list[npt.NDArray[Any]]:
        """Everything needed to go on later: the number of steps (), then every average in the shape of its weight."""
        return [self.steps.numpy(), *(average.numpy() for average in self.averages)]

    def restore(self, state: list[npt.NDArray[Any]]) -> None:
        """Go on from what `state` gave; see `state`."""
        self.steps.assign(int(np.asarray(state[0])))
        for average, value in zip(self.averages, state[1:], strict=True):
            average.assign(value)
