"""Part of the way back to the pre-trained weights: what fine-tuning forgot is often what another hospital needs.

Every weight of the backbone, statistics of batch normalisation included, becomes a mean of its fine-tuned and its
pre-trained value (Wortsman et al. 2022, WiSE-FT, arXiv:2109.01903). The linear head fits neither end then, so it is
solved for anew, by the L2-regularised logistic regression of recipe `fast`, on two views of every training film: as it
is, and changed as in training. With `model.look_directions` the look is taken out of the features first.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from cxray.config import Recipe
from cxray.errors import ConfigError
from cxray.model.batches import plain_batches, training_batches
from cxray.model.build import Network, build_network
from cxray.model.films import LabelledFilms
from cxray.model.harmonise import CORRECTION, LOOK, correction
from cxray.model.history import Epoch
from cxray.model.looks import looks_to_borrow
from cxray.model.probe_head import Problem, history_row, solve

STAGE = "interpolated"
# λ of mean loss + λ/2 |w|² on standardised features: between those that a probe chooses among, whose choice matters
# little here because the backbone knows the films already.
PENALTY = 0.1
_BATCH = 64


def check_interpolation(recipe: Recipe, network: Network) -> None:
    """Refuse a recipe that wants to go back to weights that never were.

    Raises:
        ConfigError: the network did not start from pre-trained weights.
    """
    if recipe.train.pretrained_share and network.weights == "none":
        raise ConfigError(
            f"train.pretrained_share={recipe.train.pretrained_share:g} averages with pre-trained weights, and backbone "
            f"{recipe.model.backbone!r} started from random ones.",
            "Set train.pretrained_share=0, or take a pre-trained backbone with model.weights=imagenet.",
        )


def interpolate(
    recipe: Recipe, network: Network, training: LabelledFilms, validation: LabelledFilms, epochs_before: int
) -> Epoch:
    """Give `network` the interpolated weights, the correction for the look and a new head; the row says how it does.

    Its `train_*` are of both views of the training films, without dropout.
    """
    started = time.perf_counter()
    _average_weights(recipe, network.model)
    problem = _prepare_head(recipe, network.model, training)
    head = solve(problem, PENALTY, problem.start())
    rate = len(problem.features) / (time.perf_counter() - started)
    network.model.get_layer("logits").set_weights([head.weights.astype(np.float32), head.bias.astype(np.float32)])
    held_out = _seen(network.model, plain_batches(validation, batch_size=_BATCH))
    plain = Problem.plain(held_out.features, validation.targets, problem.outputs)
    return history_row(head, problem, plain, epoch=epochs_before + 1, stage=STAGE, started=started, rate=rate)


def _average_weights(recipe: Recipe, model: keras.Model) -> None:
    pretrained = build_network(recipe.model, recipe.input, model.output_shape[-1])
    # Once more: where several workers trained, this machine may not have the weights that they started from.
    check_interpolation(recipe, pretrained)
    before = pretrained.model.get_weights()
    share = np.float32(recipe.train.pretrained_share)
    model.set_weights(
        [
            share * old + (1 - share) * new if np.issubdtype(new.dtype, np.floating) else new
            for old, new in zip(before, model.get_weights(), strict=True)
        ]
    )


def _prepare_head(recipe: Recipe, model: keras.Model, training: LabelledFilms) -> Problem:
    """What the head shall be solved for; the look is taken out of the features first, where the recipe says so."""
    settings, outputs = recipe.train, model.output_shape[-1]
    # The epoch after the last one: films as the network has not seen them changed yet.
    changed = training_batches(
        training, recipe.augment, batch_size=_BATCH, seed=settings.seed, epoch=settings.epochs,
        looks=looks_to_borrow(training, recipe.augment, settings.seed),
    )  # fmt: skip
    with_look = bool(recipe.model.look_directions)
    views = [_seen(model, batches, with_look) for batches in (plain_batches(training, batch_size=_BATCH), changed)]
    both = _Seen(*(np.concatenate(columns) for columns in zip(*(vars(view).values() for view in views), strict=True)))
    features = both.features
    if with_look:
        truth = both.targets if both.targets.ndim == 2 else np.eye(outputs)[both.targets]
        kernel, bias = correction(both.looks, features, truth, recipe.model.look_directions, natural=views[0].looks)
        model.get_layer(CORRECTION).set_weights([kernel, bias])
        features = features + both.looks @ kernel + bias
    return Problem.of(features, both.targets, both.weights, outputs, settings.class_weights == "balanced")


@dataclasses.dataclass(frozen=True, eq=False)
class _Seen:
    """Pooled features (n, F) and looks (n, L) of films, with their targets and weights, in one order."""

    features: npt.NDArray[np.float32]
    looks: npt.NDArray[np.float32]
    targets: npt.NDArray[Any]
    weights: npt.NDArray[np.float32]


def _seen(model: keras.Model, batches: Any, with_look: bool = False) -> _Seen:
    """What the network makes of the films of `batches`; L is 0 unless `with_look`."""
    features = model.get_layer("features").output
    seeing = keras.Model(model.input, [features, model.get_layer(LOOK).output if with_look else features[:, :0]])
    rows = [(*seeing.predict_on_batch(films), targets.numpy(), weights.numpy()) for films, targets, weights in batches]
    return _Seen(*(np.concatenate(columns) for columns in zip(*rows, strict=True)))
