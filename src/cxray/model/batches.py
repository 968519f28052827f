"""tf.data pipelines over prepared films.

Order and augmentation depend on (seed, epoch) only, so any epoch can be made again without the ones before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cxray.config import AugmentSettings
from cxray.model.augment import augment
from cxray.model.films import LabelledFilms
from cxray.model.looks import Looks
from cxray.model.share import WHOLE, Share


def training_batches(
    films: LabelledFilms,
    settings: AugmentSettings,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    share: Share = WHOLE,
    looks: Looks | None = None,
) -> tf.data.Dataset:
    """One epoch of shuffled, augmented (films, targets, weights); the last, smaller batch is kept.

    Films borrow from `looks`, which `looks_to_borrow` makes once for all epochs. With a `share`, one worker's part of
    each of these batches, and no other film is read.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(films))
    dataset = _read(films, order, batch_size, share)
    # A hash of both, because a product of a large seed would not fit into 32 bits.
    epoch_key = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)

    def change(step: Any, batch: Any, targets: Any, weights: Any) -> Any:
        key = tf.stack([tf.constant(epoch_key, tf.int32), tf.cast(step, tf.int32)])
        return augment(batch, settings, key, share, looks), targets, weights

    return dataset.enumerate().map(lambda step, item: change(step, *item), num_parallel_calls=2).prefetch(4)


def plain_batches(films: LabelledFilms, *, batch_size: int) -> tf.data.Dataset:
    """The films in order, without any random part."""
    return _read(films, np.arange(len(films)), batch_size).prefetch(2)


def _read(films: LabelledFilms, order: npt.NDArray[np.int64], batch_size: int, share: Share = WHOLE) -> tf.data.Dataset:
    card, target_shape = films.card, films.targets.shape[1:]

    def load(positions: npt.NDArray[np.int64]) -> Any:
        return films.source.take(films.indices[positions]), films.targets[positions], films.weights[positions]

    def read(positions: Any) -> Any:
        kinds = (tf.uint8, tf.as_dtype(films.targets.dtype), tf.float32)
        pixels, targets, weights = tf.numpy_function(load, [positions], kinds)
        pixels = tf.ensure_shape(pixels, (None, card.height, card.width))[..., tf.newaxis]
        # The same division as data.prepare.as_model_input, on tensors.
        scaled = tf.cast(pixels, tf.float32) / 255.0
        return scaled, tf.ensure_shape(targets, (None, *target_shape)), tf.ensure_shape(weights, (None,))

    positions = tf.data.Dataset.from_tensor_slices(share.even(order, batch_size)).batch(batch_size)
    return own_part(positions, share).map(read, num_parallel_calls=1)


def own_part(batches: tf.data.Dataset, share: Share) -> tf.data.Dataset:
    """One worker's part of every batch; a batch with fewer rows than workers is left out."""
    if share.workers == 1:
        return batches

    def cut(*columns: Any) -> Any:
        first, behind = share.bounds(tf.shape(columns[0])[0])
        parts = tuple(column[first:behind] for column in columns)
        return parts if len(parts) > 1 else parts[0]

    return batches.filter(lambda *columns: tf.shape(columns[0])[0] >= share.workers).map(cut)
