"""Several networks of one recipe, trained from different seeds on the same division and joined into one graph.

The mean of several networks' logits errs less than any of them, because their mistakes differ (Lakshminarayanan et al.
2017, deep ensembles). Here the mean is one network again: every feature map side by side, pooled, and one head whose
weights are the members' weights divided by their number. So calibration, gate, class activation, export and engines
work on it as on a single network; only its cost a film is that of all members.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from cxray import progress
from cxray.config import Recipe
from cxray.model.build import Network, build_network
from cxray.model.checkpoint import Checkpoint
from cxray.model.export import TrainedKeras
from cxray.model.films import LabelledFilms
from cxray.model.fit import Fit, Workplace
from cxray.model.history import Epoch, best_of, mean_history, write_history
from cxray.model.train import fit

Weights = Sequence[npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Member:
    """One finished network: its history, its kept weights, and what the training of it found out."""

    history: tuple[Epoch, ...]
    weights: Weights
    started_from: str
    devices: int
    interrupted: bool = False


def member_seed(recipe: Recipe, place: int) -> int:
    """The seed of the member at `place`, counted from 0; runs of different seeds share no member."""
    return (recipe.train.seed * recipe.train.members + place) % 2**32


def fit_members(
    recipe: Recipe, classes: int, training: LabelledFilms, validation: LabelledFilms, place: Workplace
) -> Fit:
    """Train `recipe.train.members` networks one after the other and join them; `classes` is the number of logits.

    Each member keeps its history and its state in `place.folder/members/<number>`, so that a resumed run trains none
    of them twice. The history of the run is the mean over the members, epoch by epoch. Ctrl-C keeps the members that
    are finished, or the best weights of the first one.

    Raises:
        As `train.fit`.
    """
    finished: list[_Member] = []
    for number in range(recipe.train.members):
        one = _finished(recipe, classes, place, number) or _train(recipe, classes, training, validation, place, number)
        if one.interrupted and finished:
            break
        finished.append(one)
        _publish(place, finished)
        if one.interrupted:
            break
    network = joined([_rebuilt(recipe, classes, one) for one in finished])
    interrupted = len(finished) < recipe.train.members or finished[-1].interrupted
    history = mean_history([one.history for one in finished])
    best = best_of(history, recipe.train.monitor)
    devices, members = finished[0].devices, len(finished)
    return Fit(TrainedKeras(network), tuple(history), best, interrupted, devices, members=members)


def joined(members: Sequence[Network]) -> Network:
    """One network whose logits are the mean of the members' logits; all have pooled linear heads and one input size."""
    first = members[0]
    if len(members) == 1:
        return first
    films = keras.Input(first.model.input_shape[1:], name="films")
    maps = [
        keras.Model(member.model.input, member.model.get_layer("feature_map").output, name=f"member_{number}")(films)
        for number, member in enumerate(members, 1)
    ]
    feature_map = layers.Concatenate(name="feature_map")(maps)
    features = layers.GlobalAveragePooling2D(name="features")(feature_map)
    head = layers.Dense(first.model.output_shape[-1], name="logits", dtype="float32")
    model = keras.Model(films, head(features), name="members")
    parts = [member.model.get_layer("logits").get_weights() for member in members]
    kernel = np.concatenate([kernel for kernel, _ in parts]) / np.float32(len(parts))
    head.set_weights([kernel, np.mean([bias for _, bias in parts], axis=0)])
    return dataclasses.replace(first, model=model)


def _train(
    recipe: Recipe, classes: int, training: LabelledFilms, validation: LabelledFilms, place: Workplace, number: int
) -> _Member:
    seed = member_seed(recipe, number)
    progress.say(f"Network {number + 1} of {recipe.train.members}, seed {seed}.")
    keras.backend.clear_session()  # the graphs of earlier members would stay in memory
    own = _workplace(place, number)
    # A member may not have begun when the run was interrupted.
    own = dataclasses.replace(own, resume=place.resume and own.checkpoint.is_file())
    settings = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed, members=1))
    result = fit(settings, classes, training, validation, own)
    network = cast(TrainedKeras, result.network).network
    weights = network.model.get_weights()
    if not result.interrupted:
        none: Weights = ()
        Checkpoint(own.fingerprint, result.history, weights, none, none, none).save(_kept(own))
        own.checkpoint.unlink(missing_ok=True)
    return _Member(result.history, weights, network.weights, result.devices, result.interrupted)


def _finished(recipe: Recipe, classes: int, place: Workplace, number: int) -> _Member | None:
    """A member that an earlier start of this run has finished."""
    own = _workplace(place, number)
    if not (place.resume and _kept(own).is_file()):
        return None
    kept = Checkpoint.load(_kept(own), own.fingerprint)
    progress.say(f"Network {number + 1} of {recipe.train.members} was finished before.")
    started_from = build_network(recipe.model, recipe.input, classes).weights
    return _Member(kept.history, kept.weights, started_from, 1)


def _rebuilt(recipe: Recipe, classes: int, member: _Member) -> Network:
    bare = build_network(dataclasses.replace(recipe.model, weights="none"), recipe.input, classes)
    bare.model.set_weights(member.weights)
    return dataclasses.replace(bare, weights=member.started_from)


def _publish(place: Workplace, finished: Sequence[_Member]) -> None:
    write_history(place.folder / "history.csv", mean_history([one.history for one in finished]))


def _workplace(place: Workplace, number: int) -> Workplace:
    return dataclasses.replace(
        place,
        folder=place.folder / "members" / str(number + 1),
        fingerprint=f"{place.fingerprint}, member {number + 1}",
    )


def _kept(place: Workplace) -> Path:
    return place.folder / "checkpoint" / "finished.npz"
