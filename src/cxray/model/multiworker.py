"""What Keras needs to train one network in several processes (MultiWorkerMirroredStrategy), and what it must not do.

Gradients of all workers are summed before every step. What would go wrong in silence is mended here (synchronised batch
normalisation, clipping of the summed gradient) or refused (automatic sharding, other backends). Stock `fit` of Keras 3
cannot run under this strategy at all (keras#20585); `MultiWorkerFit` bridges the gap with private names of Keras, so
the version that it was proven with is checked.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cxray.config import Recipe
from cxray.errors import ConfigError, MissingExtra, UsageError

PROVEN_KERAS = "3.15"


class MultiWorkerFit:
    """Put before `keras.Model` in the bases: lets `fit` run under MultiWorkerMirroredStrategy.

    Metrics and loss must have been built (`build_metrics`), because Keras's own way of doing that during `fit` cannot
    reduce a structure of distributed values; scalar results become vectors, which the strategy can average.
    """

    def _maybe_symbolic_build(self, **_kwargs: Any) -> None:
        return None

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on this worker's part."""
        return {name: tf.reshape(value, (1,)) for name, value in super().train_step(data).items()}  # type: ignore[misc]

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation on this worker's part."""
        return {name: tf.reshape(value, (1,)) for name, value in super().test_step(data).items()}  # type: ignore[misc]


class MultiWorkerModel(MultiWorkerFit, keras.Model):
    """A functional model that several workers can fit."""

    def fit(self, x: Any = None, **options: Any) -> Any:
        """As `keras.Model.fit`, for batches from `distribute_datasets_from_function`.

        Raises:
            UsageError: a combination that would train wrongly without a word.
        """
        check_fit(self, x, self.distribute_strategy.num_replicas_in_sync, options.get("steps_per_epoch"))
        return super().fit(x, **options)


class ClipsTheSum:
    """Put before an optimiser in the bases: `global_clipnorm` limits the sum of the workers' gradients.

    Keras limits each worker's gradient before they are summed, which gives another step than one process takes.
    """

    global_clipnorm: float | None

    def _clip_gradients(self, gradients: Any) -> Any:
        return gradients

    def _all_reduce_sum_gradients(self, pairs: Any) -> Any:
        summed = super()._all_reduce_sum_gradients(pairs)  # type: ignore[misc]
        if not self.global_clipnorm:
            return summed
        gradients, _ = tf.clip_by_global_norm([gradient for gradient, _ in summed], self.global_clipnorm)
        return list(zip(gradients, [variable for _, variable in summed], strict=True))


def check_versions() -> None:
    """Refuse versions with which the private names were not proven to work.

    Raises:
        MissingExtra: another Keras, or another backend than TensorFlow.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise MissingExtra(
            f"Keras runs on {backend} here, where every worker would train a network of its own: its `fit` does not "
            "average gradients between processes.",
            "Set KERAS_BACKEND=tensorflow on every node.",
        )
    if not keras.__version__.startswith(f"{PROVEN_KERAS}."):
        raise MissingExtra(
            f"Training with several workers was proven with Keras {PROVEN_KERAS}; {keras.__version__} is installed.",
            f"pip install 'keras=={PROVEN_KERAS}.*' on every node, or train on one machine with `cxray train`.",
        )


def check_settings(recipe: Recipe, workers: int) -> None:
    """Refuse recipes that several workers cannot follow exactly.

    Raises:
        ConfigError: a linear probe, several networks, smaller films at first, borders exchanged between films, or a
            batch that cannot be shared evenly.
    """
    if recipe.train.method != "gradient":
        raise ConfigError(
            f"train.method={recipe.train.method!r} takes seconds on one machine and has no gradient to share.",
            "Use `cxray train`, or a recipe with train.method=gradient.",
        )
    if recipe.train.members > 1:
        raise ConfigError(
            f"{recipe.train.members} networks in one run (train.members) are for one machine.",
            "Add --set train.members=1.",
        )
    if recipe.train.small_epochs:
        raise ConfigError(
            "Beginning on smaller films (train.small_epochs) is for one machine.", "Add --set train.small_epochs=0."
        )
    if recipe.augment.border_exchange_fraction:
        raise ConfigError(
            "Borders are exchanged within a whole batch (augment.border_exchange_fraction), which only one machine has "
            "at hand.",
            "Add --set augment.border_exchange_fraction=0.",
        )
    if recipe.train.batch_size % workers:
        raise ConfigError(
            f"train.batch_size={recipe.train.batch_size} cannot be shared evenly by {workers} workers.",
            f"Example: --set train.batch_size={-(-recipe.train.batch_size // workers) * workers}",
        )


def check_fit(model: keras.Model, batches: Any, replicas: int, steps: int | None) -> None:
    """Refuse what would train wrongly without a word; one replica can do no harm.

    Raises:
        UsageError: automatic sharding, no number of steps, batch normalisation over a part of the batch, or clipping
            before the sum.
    """
    if replicas == 1:
        return
    if isinstance(batches, tf.data.Dataset):
        policy = batches.options().experimental_distribute.auto_shard_policy
        harm = (
            "would be cut again by Keras, and half of the films would never be seen"
            if policy == tf.data.experimental.AutoShardPolicy.OFF
            else "would be decoded whole by every worker"
        )
        raise UsageError(
            f"A plain dataset with automatic sharding {policy.name} {harm}.",
            "Hand over batches from strategy.distribute_datasets_from_function, one part a worker.",
        )
    if steps is None:
        raise UsageError(
            "Without steps_per_epoch every epoch would end with one more step, on no film at all.",
            "Say how many batches an epoch has.",
        )
    _check_layers(model)


def _check_layers(model: keras.Model) -> None:
    plain = [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and not layer.synchronized
    ]
    if plain:
        raise UsageError(
            f"Layer {plain[0]} would normalise each worker's part by itself, and its statistics would drift apart.",
            "Call `synchronize` before compiling.",
        )
    optimizer = model.optimizer
    clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(optimizer, name, None)]
    if clips and not (clips == ["global_clipnorm"] and isinstance(optimizer, ClipsTheSum)):
        raise UsageError(
            f"{clips[0]} would clip each worker's gradient before the sum, and another network would come out.",
            "Use train.clip_norm, which clips the sum.",
        )


def synchronize(model: keras.Model) -> None:
    """Let every batch normalisation use the statistics of the whole batch, as exactly as one process computes them."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
            layer._moments = functools.partial(_moments_of_all, layer._reduction_axes)


def _moments_of_all(axes: list[int], inputs: Any, _mask: Any) -> tuple[Any, Any]:
    """Mean and variance over the equal parts of all workers: first the mean of all, then the squared distances from it.

    Keras's own takes the squared mean from the mean of squares: a variance that is small beside the mean loses digits.
    """
    workers = tf.distribute.get_replica_context()
    if workers is None:  # while the network is built, nothing is computed
        return tf.nn.moments(inputs, axes)  # type: ignore[no-any-return]

    def of_all(values: Any) -> Any:
        return workers.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(values, axes, keepdims=True))

    mean = of_all(inputs)
    # The distances sum to nothing, so that the variance does not change with the mean.
    variance = of_all(tf.math.squared_difference(inputs, tf.stop_gradient(mean)))
    return tf.squeeze(mean, axes), tf.squeeze(variance, axes)


def build_metrics(model: keras.Model, targets: Any) -> None:
    """Build loss and metrics of a compiled model once, from two empty films with targets like `targets`."""
    films = np.zeros((2, *model.input_shape[1:]), np.float32)
    truth = np.zeros((2, *targets.shape[1:]), targets.dtype)
    model._symbolic_build(data_batch=(films, truth, np.ones(2, np.float32)))
