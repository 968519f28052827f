"""Maps: how much each part of a film adds to the log-odds of a class.

`class_activation` reads the answer from the graph's last feature map and linear head, at no cost beyond the
prediction; its cells add up to the score exactly. `contrast` subtracts the mean map of films without the class, so
that what lights up on every film is gone; it adds up just as well, from the mean of those films on. `occlusion` needs
nothing but scores: it covers one place after the other and watches the score. All are signed and in log-odds, so a
film without evidence has a pale map instead of a map stretched to full colour.

Sources: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016 (class activation; for a
pooled linear head it is Grad-CAM of Selvaraju et al., ICCV 2017, times the number of cells and before its cut at 0);
Zeiler and Fergus, ECCV 2014 (occlusion).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError, UsageError
from cxray.explain.grid import Map, upsample
from cxray.explain.occlude import occlude
from cxray.explain.opened import OpenedModel, log_odds

CLASS_ACTIVATION, CONTRAST, OCCLUSION = "class_activation", "contrast", "occlusion"
# Patches a side: with the second, shifted tiling and the second look around the peak 77 films.
OCCLUSION_PLACES = 6
# A map whose cells differ by less than this in all cannot change a probability by more than about one point.
FLAT_LOG_ODDS = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Attribution:
    """One map of one film for one class.

    `values` float32 (h, w): what each cell adds to the log-odds, negative where it speaks against the class; the
    cells tile the prepared film. For class activation and contrast with two classes or findings, `values.sum() + bias`
    is `log_odds`; `bias` is NaN where no such sum exists. `is_flat`: the cells hardly differ, there is nothing to see.
    """

    values: Map
    method: str
    class_name: str
    score: float
    log_odds: float
    bias: float

    @property
    def is_flat(self) -> bool:
        """Whether the map says nothing about places: its cells, or for occlusion any two of them, hardly differ."""
        if self.method == OCCLUSION:
            return float(np.ptp(self.values)) < FLAT_LOG_ODDS
        return float(np.abs(self.values - self.values.mean()).sum()) < FLAT_LOG_ODDS

    def peak(self, height: int, width: int) -> tuple[int, int]:
        """Row and column, in a film of `height` × `width`, of the strongest evidence for the class."""
        large = upsample(self.values, height, width)
        row, column = np.unravel_index(int(np.argmax(large)), large.shape)
        return int(row), int(column)


def class_activation(
    model: OpenedModel, outputs: Mapping[str, npt.NDArray[Any]], class_index: int
) -> list[Attribution]:
    """Class activation maps from outputs that are at hand: logits (N, K), features (N, F), feature_map (N, h, w, F).

    For more than two exclusive classes a map shows the gradient of the log-odds at the film's own scores (Grad-CAM);
    its cells then add up to a local, not to an exact, account.

    Raises:
        UsageError: the model has no pooled linear head.
        DataError: the outputs hold numbers that are not finite.
    """
    if model.head is None:
        raise UsageError(
            f"{model.name} has no class activation: {model.no_head}", "Use occlusion, which needs only scores."
        )
    logits = np.asarray(outputs["logits"], dtype=np.float64)
    feature_map = np.asarray(outputs["feature_map"])
    if not (np.isfinite(logits).all() and np.isfinite(feature_map).all()):
        raise DataError(f"{model.name} answered with numbers that are not finite; no map can be made of them.")
    directions, biases = _directions(model, logits, class_index)
    cells = feature_map.shape[1] * feature_map.shape[2]
    values = np.einsum("nhwf,nf->nhw", feature_map, directions.astype(np.float32), optimize=True) / cells
    return _attributions(model, values, logits, biases, class_index)


def occlusion(
    model: OpenedModel, film: npt.NDArray[Any], class_index: int, *, places: int = OCCLUSION_PLACES
) -> Attribution:
    """Cover a prepared film (height, width) patch by patch and watch the log-odds; see `occlude`.

    Raises:
        UsageError, DataError: as `occlude.occlude`.
    """
    values, logits = occlude(model, film, class_index, places)
    return _attributions(model, values[np.newaxis], logits, np.full(1, np.nan), class_index, method=OCCLUSION)[0]


def reference_map(model: OpenedModel, others: npt.NDArray[Any], class_index: int) -> Map:
    """The mean class activation map (h, w) of prepared films (N, height, width) without the class.

    Raises:
        UsageError: the model has no pooled linear head, or there is no such film.
        DataError: as `class_activation`.
    """
    if not len(others):
        raise UsageError("Contrast needs films without the class, but there is none.", "Add films of other classes.")
    maps = class_activation(model, model.run(others), class_index)
    return np.asarray(np.mean([one.values for one in maps], axis=0), dtype=np.float32)


def contrast(one: Attribution, reference: npt.NDArray[Any]) -> Attribution:
    """A class activation map less the `reference` map (h, w) of films without the class.

    Its cells add up from the mean log-odds of those films, `bias`, to the film's own. Raises ValueError for a
    reference of another size.
    """
    if one.values.shape != np.shape(reference):
        raise ValueError(f"A reference of {np.shape(reference)} cells does not fit a map of {one.values.shape}.")
    values = np.asarray(one.values - np.asarray(reference), dtype=np.float32)
    return dataclasses.replace(one, values=values, method=CONTRAST, bias=one.bias + float(np.sum(reference)))


def explain_films(
    model: OpenedModel,
    films: npt.NDArray[Any],
    class_index: int,
    *,
    method: str = "",
    reference: npt.NDArray[Any] | None = None,
) -> list[Attribution]:
    """Maps of prepared films (N, height, width) by `method`, by default the model's own (`method_of`); contrast needs
    its `reference`."""
    method = method or method_of(model)
    if method == OCCLUSION:
        return [occlusion(model, film, class_index) for film in films]
    maps = class_activation(model, model.run(films), class_index)
    if method == CLASS_ACTIVATION or reference is None:
        return maps
    return [contrast(one, reference) for one in maps]


def method_of(model: OpenedModel) -> str:
    """The cheapest kind of map that `model` allows: class activation, or occlusion without a pooled linear head."""
    return OCCLUSION if model.head is None else CLASS_ACTIVATION


def chosen_class(model: OpenedModel, scores: npt.NDArray[np.float64], wanted: str = "") -> int:
    """The class a map is made for: `wanted`, else the positive class of two, else the one the film scores highest for.

    `scores` are the film's probabilities (classes,). With several findings the highest is the one furthest above its
    threshold.

    Raises:
        UsageError: the model has no class `wanted`.
    """
    if wanted:
        return model.class_index(wanted)
    if model.task == "classes" and len(model.classes) == 2:
        return model.class_index(model.positive) if model.positive else 1
    if model.task == "findings":
        margins = [score - model.threshold(k) for k, score in enumerate(scores)]
        return int(np.argmax(margins))
    return int(np.argmax(scores))


def _directions(
    model: OpenedModel, logits: npt.NDArray[np.float64], class_index: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Gradient (N, F) of the log-odds by the pooled features, and the bias (N,) that completes the sum."""
    assert model.head is not None
    weights, bias = model.head.weights, model.head.bias
    films = len(logits)
    if model.task != "classes":
        return np.tile(weights[:, class_index], (films, 1)), np.full(films, bias[class_index])
    others = [k for k in range(len(model.classes)) if k != class_index]
    spread = logits[:, others] - logits[:, others].max(axis=1, keepdims=True)
    shares = np.exp(spread) / np.exp(spread).sum(axis=1, keepdims=True)
    directions = weights[:, class_index] - shares @ weights[:, others].T
    if len(others) == 1:
        return directions, np.full(films, bias[class_index] - bias[others[0]])
    return directions, np.full(films, np.nan)


def _attributions(
    model: OpenedModel,
    values: npt.NDArray[Any],
    logits: npt.NDArray[np.float64],
    biases: Sequence[float] | npt.NDArray[np.float64],
    class_index: int,
    *,
    method: str = CLASS_ACTIVATION,
) -> list[Attribution]:
    scores = model.probabilities(logits)[:, class_index]
    odds = log_odds(logits, model.task, class_index)
    return [
        Attribution(np.asarray(cells, np.float32), method, model.classes[class_index], float(p), float(z), float(b))
        for cells, p, z, b in zip(values, scores, odds, biases, strict=True)
    ]
