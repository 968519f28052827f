"""Part of the way back to the pre-trained weights: what fine-tuning forgot is often what another hospital needs.

Every weight of the backbone, statistics of batch normalisation included, becomes a mean of its fine-tuned and its
pre-trained value (Wortsman et al. 2022, WiSE-FT, arXiv:2109.01903). The linear head fits neither end then, so it is
solved for anew, by the L2-regularised logistic regression of recipe `fast`, on two views of every training film: as it
is, and changed as in training.
"""

from __future__ import annotations

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
    """Give `network` the interpolated weights and a new head; the row of history says how it does.

    Its `train_*` are of both views of the training films, without dropout.
    """
    started = time.perf_counter()
    _average_weights(recipe, network.model)
    problem = _problem(recipe, network.model, training)
    head = solve(problem, PENALTY, problem.start())
    rate = len(problem.features) / (time.perf_counter() - started)
    network.model.get_layer("logits").set_weights([head.weights.astype(np.float32), head.bias.astype(np.float32)])
    held_out, *_ = _features(_looking(network.model), plain_batches(validation, batch_size=_BATCH))
    plain = Problem.plain(held_out, validation.targets, problem.outputs)
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


def _problem(recipe: Recipe, model: keras.Model, training: LabelledFilms) -> Problem:
    settings, look = recipe.train, _looking(model)
    # The epoch after the last one: films as the network has not seen them changed yet.
    changed = training_batches(
        training, recipe.augment, batch_size=_BATCH, seed=settings.seed, epoch=settings.epochs,
        looks=looks_to_borrow(training, recipe.augment, settings.seed),
    )  # fmt: skip
    views = [_features(look, plain_batches(training, batch_size=_BATCH)), _features(look, changed)]
    features, targets, weights = (np.concatenate(columns) for columns in zip(*views, strict=True))
    return Problem.of(features, targets, weights, model.output_shape[-1], settings.class_weights == "balanced")


def _looking(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.get_layer("features").output)


def _features(
    look: keras.Model, batches: Any
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Pooled features (n, F), targets and weights of the films, in the order of `batches`."""
    rows = [(look.predict_on_batch(films), targets.numpy(), weights.numpy()) for films, targets, weights in batches]
    features, targets, weights = (np.concatenate(columns) for columns in zip(*rows, strict=True))
    return features, targets, weights
