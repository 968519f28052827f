"""Progressive resizing: the first epochs on smaller films, which cost less and already show where opacities are.

A convolutional network with a pooled head has the same weights at any film size, but a Keras graph has one size. So a
twin is built for the smaller films; before each of its epochs it takes over weights, optimiser and average, and
hands them back afterwards. Between epochs only the network itself has a state, so checkpoints know nothing of twins.
Growing films during training: Howard 2018 (fast.ai), Tan and Le 2021 (arXiv:2104.00298).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from cxray.config import InputCard, Recipe
from cxray.errors import ConfigError
from cxray.model.average import WeightAverage
from cxray.model.build import build_network

# Strides of all backbones multiply to this; other sides would be padded differently on each border.
_GRID_PIXELS = 32


def small_card(recipe: Recipe) -> InputCard:
    """The input card of the first epochs: both sides times `train.small_fraction`, in multiples of 32 pixels.

    Raises:
        ConfigError: that is no smaller than the input itself.
    """
    card, fraction = recipe.input, recipe.train.small_fraction
    height, width = (max(1, round(side * fraction / _GRID_PIXELS)) * _GRID_PIXELS for side in (card.height, card.width))
    if height >= card.height or width >= card.width:
        raise ConfigError(
            f"train.small_fraction {fraction:g} makes films of {height} x {width} pixels out of {card.height} x "
            f"{card.width}: not smaller.",
            "Lower it, or set train.small_epochs = 0.",
        )
    return dataclasses.replace(card, height=height, width=width)


class SmallTwin:
    """A network for smaller films that stands in for another one, an epoch at a time."""

    def __init__(self, recipe: Recipe, outputs: int) -> None:
        """Build the twin of the network that `recipe` describes, which must have a pooled head.

        Raises:
            ConfigError: see `small_card`.
        """
        self.card = small_card(recipe)
        self.model = build_network(recipe.model, self.card, outputs).model
        self.average = WeightAverage(self.model, recipe.train.ema_momentum)

    @contextlib.contextmanager
    def standing_in(self, model: keras.Model, average: WeightAverage) -> Iterator[None]:
        """Take over the state of `model` (compiled alike) and its average; give it back when the block ends well."""
        _copy(model, self.model)
        self.average.restore(average.state())
        yield
        _copy(self.model, model)
        average.restore(self.average.state())

    def reduced(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches, their films float32 (n, height, width, 1) resized with an antialiased triangle filter."""
        size = (self.card.height, self.card.width)

        def change(films: Any, *rest: Any) -> Any:
            return tf.image.resize(films, size, antialias=True), *rest

        return batches.map(change, num_parallel_calls=2).prefetch(4)


def _copy(source: keras.Model, target: keras.Model) -> None:
    target.set_weights(source.get_weights())
    for variable, value in zip(target.optimizer.variables, source.optimizer.variables, strict=True):
        variable.assign(value.numpy())
