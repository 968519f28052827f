"""The training loop: frozen stage, fine-tuning, judgement by validation patients, exact resumption.

Order of one epoch: shuffled and augmented batches → optimiser steps (the average follows) → validation with the
averaged weights → history row → checkpoint. The network leaves with the weights of the best epoch. The test films
are not known here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cxray import progress
from cxray.config import Recipe
from cxray.model.average import WeightAverage
from cxray.model.batches import own_part, plain_batches, training_batches
from cxray.model.build import Network, build_network
from cxray.model.checkpoint import Checkpoint
from cxray.model.export import TrainedKeras
from cxray.model.films import LabelledFilms
from cxray.model.fit import Fit, Workplace, describe_epoch
from cxray.model.history import Epoch, best_of, is_better, write_history
from cxray.model.interpolate import check_interpolation, interpolate
from cxray.model.looks import looks_to_borrow
from cxray.model.losses import loss_for
from cxray.model.measures import accuracy, mean_auroc
from cxray.model.progress_bar import EpochBar
from cxray.model.share import WHOLE, Share
from cxray.model.small_twin import SmallTwin

VALIDATION_BATCH = 64


def prepare_tensorflow(seed: int) -> Any:
    """Seed everything, ask for repeatable kernels, and choose the devices.

    Returns:
        A distribution strategy: mirrored over all GPUs when more than one is visible (Keras on TensorFlow
        distributes through `tf.distribute`), else the default of one device.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def fit(recipe: Recipe, classes: int, training: LabelledFilms, validation: LabelledFilms, place: Workplace) -> Fit:
    """Train a network as `recipe` says; `classes` is the number of logits.

    Ctrl-C ends the training early and keeps the best weights so far.

    Raises:
        ConfigError: unknown backbone.
        UsageError: `place.resume` with a checkpoint of another run.
        KeyboardInterrupt: interrupted before the first epoch was finished, so there is nothing to keep.
    """
    strategy = prepare_tensorflow(recipe.train.seed)
    with strategy.scope():
        network = build_network(recipe.model, recipe.input, classes)
        check_interpolation(recipe, network)
        loop = Loop(recipe, network, training, validation, place)
        loop.compile()
    if place.resume and place.checkpoint.is_file():
        loop.restore(Checkpoint.load(place.checkpoint, place.fingerprint))
    elif place.resume:
        progress.say("No epoch had finished yet: starting from the beginning.")
    interrupted = False
    try:
        with strategy.scope():  # the frozen stage makes a network and an optimiser of its own
            loop.run()
    except KeyboardInterrupt:
        if not loop.history:
            raise
        interrupted = True
        progress.say(f"Interrupted: keeping the weights of epoch {(loop.best or loop.history[-1]).epoch}.")
    network = _on_one_device(network, recipe, classes, strategy)
    network.model.set_weights(loop.best_weights)
    if recipe.train.pretrained_share and not interrupted:
        loop.conclude(interpolate(recipe, network, training, validation, len(loop.history)))
    return Fit(TrainedKeras(network), tuple(loop.history), loop.best, interrupted, strategy.num_replicas_in_sync)


def _on_one_device(network: Network, recipe: Recipe, classes: int, strategy: Any) -> Network:
    """The same network outside the distribution: a mirrored one answers a batch once per device."""
    if strategy.num_replicas_in_sync == 1:
        return network
    single = build_network(dataclasses.replace(recipe.model, weights="none"), recipe.input, classes)
    return dataclasses.replace(single, weights=network.weights)


class Loop:
    """The state of one fit; the methods are its steps in order. `multiworker` has a sibling for several machines."""

    share: Share = WHOLE
    network_class: type[keras.Model] = keras.Model
    steps_per_epoch: int | None = None  # as many as there are batches

    def __init__(
        self, recipe: Recipe, network: Network, training: LabelledFilms, validation: LabelledFilms, place: Workplace
    ) -> None:
        self.recipe, self.network, self.place = recipe, network, place
        self.training, self.validation = training, validation
        self.model = network.model
        self.history: list[Epoch] = []
        self.best: Epoch | None = None
        self.best_weights: list[npt.NDArray[Any]] = self.model.get_weights()
        self.average = WeightAverage(self.model, recipe.train.ema_momentum)
        self.looks = looks_to_borrow(training, recipe.augment, recipe.train.seed)
        self.losses = loss_for(
            training.targets,
            self.model.output_shape[-1],
            smoothing=recipe.train.label_smoothing,
            balanced=recipe.train.class_weights == "balanced",
        )
        self.plain_loss = loss_for(training.targets, self.model.output_shape[-1], smoothing=0.0, balanced=False)
        self.twin = SmallTwin(recipe, self.model.output_shape[-1]) if recipe.train.small_epochs else None

    def compile(self) -> None:
        """Attach optimiser, loss and metric for the stage that trains everything."""
        for model in (self.model, *([self.twin.model] if self.twin else [])):
            model.compile(optimizer=self._optimizer(), loss=self.losses, metrics=self._metrics(), jit_compile=False)
            model.optimizer.build(model.trainable_variables)

    def run(self) -> None:
        """Both stages, from wherever the history ends."""
        settings = self.recipe.train
        if not self.history and settings.frozen_epochs and self.network.head == "pooled_linear":
            self._frozen_stage()
        done = sum(epoch.stage == "all" for epoch in self.history)
        for epoch in range(done, settings.epochs):
            if self._out_of_patience():
                progress.say(f"Stopped early: no improvement for {settings.patience} epochs.")
                break
            self._reseed_dropout(epoch)
            self._one_epoch(epoch)
            self._save()

    def conclude(self, row: Epoch) -> None:
        """Add what was done to the network after its last epoch; it leaves as `row` says, whatever was best before."""
        self.history.append(row)
        self.best = row
        self._publish(row)

    def restore(self, state: Checkpoint) -> None:
        """Continue where `state` ends."""
        self.history = list(state.history)
        self.best = best_of(self.history, self.recipe.train.monitor)
        self.model.set_weights(state.weights)
        for variable, value in zip(self.model.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        self.average.restore(list(state.average))
        self.best_weights = list(state.best)
        progress.say(f"Resuming after {len(self.history)} finished epochs.")

    def _optimizer(self) -> keras.optimizers.Optimizer:
        settings = self.recipe.train
        steps = -(-len(self.training) // settings.batch_size)
        rate: Any = settings.learning_rate
        if settings.schedule == "cosine":
            warmup = round(settings.warmup_epochs * steps)
            rate = keras.optimizers.schedules.CosineDecay(
                settings.learning_rate / 100 if warmup else settings.learning_rate,
                decay_steps=max(1, settings.epochs * steps - warmup),
                warmup_target=settings.learning_rate if warmup else None,
                warmup_steps=warmup,
            )
        decay = settings.weight_decay or None
        limits = {"weight_decay": decay, "global_clipnorm": settings.clip_norm or None}
        if settings.optimizer == "sgd":
            return self._optimizer_class(keras.optimizers.SGD)(rate, momentum=0.9, nesterov=True, **limits)
        return self._optimizer_class(keras.optimizers.Adam)(rate, **limits)

    def _optimizer_class(self, kind: type[Any]) -> type[Any]:
        return kind

    def _metrics(self) -> list[Any]:
        exclusive = self.training.targets.ndim == 1
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")] if exclusive else []

    def _one_epoch(self, epoch: int) -> None:
        settings = self.recipe.train
        batches = training_batches(
            self.training, self.recipe.augment, batch_size=settings.batch_size, seed=settings.seed, epoch=epoch,
            share=self.share, looks=self.looks,
        )  # fmt: skip
        started = time.perf_counter()
        bar = EpochBar(epoch, settings.epochs, len(self.training), settings.batch_size, self.best)
        if self.twin is not None and epoch < settings.small_epochs:
            with self.twin.standing_in(self.model, self.average):
                logs = self._pass_over(self.twin.model, self.twin.reduced(batches), epoch, [self.twin.average, bar])
        else:
            logs = self._pass_over(self.model, batches, epoch, [self.average, bar])
        trained_seconds = time.perf_counter() - started
        with self.average.applied():
            logits = self.model.predict(plain_batches(self.validation, batch_size=VALIDATION_BATCH), verbose=0)
            self._record("all", logs, logits, started, len(self.training) / trained_seconds)

    def _pass_over(self, model: keras.Model, batches: Any, epoch: int, callbacks: list[Any]) -> dict[str, float]:
        result = model.fit(
            batches, initial_epoch=epoch, epochs=epoch + 1, steps_per_epoch=self.steps_per_epoch, shuffle=False,
            verbose=0, callbacks=callbacks,
        )  # fmt: skip
        return {name: float(values[-1]) for name, values in result.history.items()}

    def _frozen_stage(self) -> None:
        """Train the head alone on features that are computed once, without augmentation."""
        progress.say("Frozen stage: computing features of the untouched backbone.")
        settings = self.recipe.train
        features_of = keras.Model(self.model.input, self.model.get_layer("features").output)
        features = [
            features_of.predict(plain_batches(films, batch_size=VALIDATION_BATCH), verbose=0)
            for films in (self.training, self.validation)
        ]
        entry = keras.Input(features[0].shape[1:])
        head = self.network_class(entry, self.model.get_layer("logits")(self.model.get_layer("dropout")(entry)))
        head.compile(
            keras.optimizers.Adam(settings.frozen_learning_rate),
            self.losses,
            metrics=self._metrics(),
            jit_compile=False,
        )
        data = tf.data.Dataset.from_tensor_slices((features[0], self.training.targets, self.training.weights))
        for epoch in range(settings.frozen_epochs):
            self._reseed_dropout(-1 - epoch)
            started = time.perf_counter()
            shuffled = data.shuffle(len(self.training), seed=settings.seed % 2**31 + epoch).batch(settings.batch_size)
            logs = self._pass_over(head, own_part(shuffled, self.share), epoch, [])
            seconds = time.perf_counter() - started
            logits = head.predict(features[1], batch_size=1024, verbose=0)
            self._record("frozen", logs, logits, started, len(self.training) / seconds)
        self.model.set_weights(self.best_weights)
        self.average = WeightAverage(self.model, settings.ema_momentum)
        self._save()

    def _record(
        self, stage: str, logs: dict[str, float], logits: npt.NDArray[np.float32], started: float, rate: float
    ) -> None:
        targets = self.validation.targets
        learning_rate = self.recipe.train.frozen_learning_rate
        if stage == "all":
            learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = Epoch(
            epoch=len(self.history) + 1,
            stage=stage,
            train_loss=logs["loss"],
            train_accuracy=logs.get("accuracy", float("nan")),
            validation_loss=self._plain_loss(targets, logits),
            validation_accuracy=accuracy(logits, targets),
            validation_auroc=mean_auroc(logits, targets),
            learning_rate=learning_rate,
            seconds=time.perf_counter() - started,
            films_per_second=rate,
        )
        self.history.append(row)
        improved = is_better(row, self.best, self.recipe.train.monitor)
        if improved or self.best is None:  # as long as the measure is undefined, the latest weights are the best known
            self.best_weights = self.model.get_weights()
        self.best = row if improved else self.best
        self._publish(row)

    def _plain_loss(self, targets: npt.NDArray[Any], logits: npt.NDArray[np.float32]) -> float:
        # Inside a distribution Keras divides a loss by the number of replicas, for the sum that follows in training.
        replicas = int(tf.distribute.get_strategy().num_replicas_in_sync)
        return float(keras.ops.convert_to_numpy(self.plain_loss(targets, logits))) * float(replicas)

    def _publish(self, row: Epoch) -> None:
        write_history(self.place.folder / "history.csv", self.history)
        progress.say(describe_epoch(row))
        if self.place.tensorboard:
            writer = tf.summary.create_file_writer(str(self.place.folder / "tensorboard"))
            with contextlib.closing(writer), writer.as_default(step=row.epoch):
                for name, value in dataclasses.asdict(row).items():
                    if isinstance(value, float):
                        tf.summary.scalar(name, value)

    def _save(self) -> None:
        self._state().save(self.place.checkpoint)

    def _state(self) -> Checkpoint:
        return Checkpoint(
            fingerprint=self.place.fingerprint,
            history=tuple(self.history),
            weights=self.model.get_weights(),
            optimizer=[variable.numpy() for variable in self.model.optimizer.variables],
            average=self.average.state(),
            best=self.best_weights,
        )

    def _reseed_dropout(self, epoch: int) -> None:
        # Dropout draws from a counter that starts anew in every process; a function of (seed, epoch) resumes exactly.
        # Another worker drops other units.
        other = [self.share.rank] if self.share.rank else []
        generator = np.random.default_rng([self.recipe.train.seed, 7, epoch % 2**32, *other])
        layers = [*self.model._flatten_layers(), *(self.twin.model._flatten_layers() if self.twin else ())]
        for layer in layers:
            state = getattr(getattr(layer, "seed_generator", None), "state", None)
            if state is not None:
                state.assign(generator.integers(0, 2**31, size=state.shape).astype("uint32"))

    def _out_of_patience(self) -> bool:
        patience = self.recipe.train.patience
        return bool(patience and self.best and len(self.history) - self.best.epoch >= patience)
