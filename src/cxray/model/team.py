"""One training by several equal workers: each runs the whole loop on its own part of every batch.

The chief (worker 0) alone writes: history, TensorBoard, and the state after every epoch. A worker that dies takes the
others with it within seconds; all start again from the last state, which is exact, so the end is the same.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cxray import progress
from cxray.config import Recipe
from cxray.errors import ConfigError
from cxray.model.build import Network, build_network
from cxray.model.checkpoint import Checkpoint
from cxray.model.export import TrainedKeras
from cxray.model.films import LabelledFilms
from cxray.model.fit import Fit, Workplace, describe_epoch
from cxray.model.history import Epoch, best_of, write_history
from cxray.model.interpolate import check_interpolation, interpolate
from cxray.model.multiworker import (
    ClipsTheSum,
    MultiWorkerModel,
    build_metrics,
    check_settings,
    check_versions,
    synchronize,
)
from cxray.model.share import Share
from cxray.model.train import Loop

# Called on every worker after every epoch, with the stored state on the chief and None elsewhere.
AfterEpoch = Callable[[Epoch, Path | None], None]


@dataclasses.dataclass(frozen=True)
class Member:
    """One worker's place in the team: its share of every batch, and whom it tells about every epoch.

    `state` is the checkpoint to go on from, the same for all workers, or None.
    """

    share: Share
    after_epoch: AfterEpoch
    state: Path | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes for all."""
        return self.share.rank == 0


def fit_member(
    recipe: Recipe, classes: int, training: LabelledFilms, validation: LabelledFilms, place: Workplace, member: Member
) -> None:
    """One worker's whole training; the chief leaves the state after every epoch in `place.checkpoint`.

    `TF_CONFIG` must name all workers, and no TensorFlow operation may have run in this process.

    Raises:
        MissingExtra, ConfigError, UsageError: what several workers would not train as one does.
    """
    check_versions()
    check_settings(recipe, member.share.workers)
    strategy = _join(recipe.train.seed)
    with strategy.scope():
        network = build_network(recipe.model, recipe.input, classes)
        _check_weights(recipe, network)
        check_interpolation(recipe, network)
        synchronize(network.model)
        model = MultiWorkerModel(network.model.inputs, network.model.outputs, name=network.model.name)
        loop = _TeamLoop(recipe, dataclasses.replace(network, model=model), training, validation, place)
        loop.strategy, loop.member, loop.share = strategy, member, member.share
        loop.compile()
        if member.state is not None:
            loop.restore(Checkpoint.load(member.state, place.fingerprint))
        loop.run()


def collect(
    recipe: Recipe,
    classes: int,
    training: LabelledFilms,
    validation: LabelledFilms,
    place: Workplace,
    workers: int,
    *,
    interrupted: bool = False,
) -> Fit:
    """The network that the workers trained, on one device, from the chief's last state.

    The way back to the pre-trained weights, where the recipe wants it, is taken here, unless the training was
    `interrupted`: it takes two passes over the films and no gradient.

    Raises:
        UsageError: the state belongs to another run.
    """
    state = Checkpoint.load(place.checkpoint, place.fingerprint)
    network = build_network(dataclasses.replace(recipe.model, weights="none"), recipe.input, classes)
    network.model.set_weights(list(state.best))
    network = dataclasses.replace(network, weights=recipe.model.weights if _is_pretrained(network) else "none")
    history, best = list(state.history), best_of(state.history, recipe.train.monitor)
    if recipe.train.pretrained_share and not interrupted:
        best = interpolate(recipe, network, training, validation, len(history))
        history.append(best)
        write_history(place.folder / "history.csv", history)
        progress.say(describe_epoch(best))
    return Fit(TrainedKeras(network), tuple(history), best, interrupted, devices=workers)


class _TeamLoop(Loop):
    """The loop of one worker."""

    network_class = MultiWorkerModel
    strategy: Any
    member: Member

    def compile(self) -> None:
        """As the single loop, with everything built that `fit` could not build by itself."""
        super().compile()
        self.steps_per_epoch = self.share.steps(len(self.training), self.recipe.train.batch_size)
        build_metrics(self.model, self.training.targets)

    def _optimizer_class(self, kind: type[Any]) -> type[Any]:
        return type(kind.__name__, (ClipsTheSum, kind), {})

    def _pass_over(self, model: keras.Model, batches: Any, epoch: int, callbacks: list[Any]) -> dict[str, float]:
        if model is not self.model:
            build_metrics(model, self.training.targets)
        ours = self.strategy.distribute_datasets_from_function(lambda _context: batches)
        return super()._pass_over(model, ours, epoch, callbacks)

    def _publish(self, row: Epoch) -> None:
        if self.member.is_chief:
            super()._publish(row)

    def _save(self) -> None:
        if self.member.is_chief:
            super()._save()
        self.member.after_epoch(self.history[-1], self.place.checkpoint if self.member.is_chief else None)


def _join(seed: int) -> Any:
    """Join the other workers; this must come before any other use of TensorFlow."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return strategy


def _is_pretrained(network: Network) -> bool:
    return network.model.name not in ("small_cnn", "article_cnn")


def _check_weights(recipe: Recipe, network: Network) -> None:
    """A node without the pre-trained file would start, and freeze layers, differently from the others."""
    if recipe.model.weights == "imagenet" and network.weights == "none" and _is_pretrained(network):
        raise ConfigError(
            f"{platform.node()} has no ImageNet weights of {recipe.model.backbone}.",
            "Copy ~/.keras/models to every node, or --set model.weights=none.",
        )
