"""Everything that is said about one film: score, gate, map with its verdict, films like it, what moves the score.

One value for the command, the report and the page, so that they cannot disagree.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.data.decode import decode_file
from cxray.data.prepare import prepare
from cxray.errors import UsageError
from cxray.explain.acquisition import Effect, acquisition_effects
from cxray.explain.attribution import (
    CLASS_ACTIVATION,
    CONTRAST,
    OCCLUSION,
    Attribution,
    chosen_class,
    class_activation,
    contrast,
    method_of,
    occlusion,
)
from cxray.explain.card import NO_CARD, Card, ClassCard, Verdict, load_card
from cxray.explain.neighbours import Neighbour, nearest
from cxray.explain.opened import OpenedModel
from cxray.runtime.familiar import Reference
from cxray.runtime.gate import Gate
from cxray.runtime.gate import Verdict as GateVerdict

# Side of the film in pictures, pixels.
DISPLAY_PIXELS = 768


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What is said about one film.

    `film` uint8 (height, width) for display, in the model's own frame. `attribution` is None when maps may not be
    shown; `verdict` says why. `scale` is the log-odds of a cell that get full colour, 0 = the film's own maximum.
    `gate` is None where the model has none. `neighbours` is empty with the reason `no_neighbours`.
    """

    path: Path
    film: npt.NDArray[np.uint8]
    model: str
    class_name: str
    score: float
    threshold: float
    decision: str
    gate: GateVerdict | None
    verdict: Verdict
    attribution: Attribution | None
    scale: float
    findings: tuple[str, ...]
    effects: tuple[Effect, ...]
    neighbours: tuple[Neighbour, ...]
    no_neighbours: str

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON-able values, without the picture."""
        found = self.attribution
        return {
            "film": str(self.path),
            "model": self.model,
            "class_name": self.class_name,
            "score": self.score,
            "threshold": self.threshold,
            "decision": self.decision,
            "gate": dataclasses.asdict(self.gate) if self.gate else None,
            "maps": dataclasses.asdict(self.verdict),
            "map": None
            if found is None
            else {
                "method": found.method,
                "unit": "log-odds",
                "is_flat": found.is_flat,
                "log_odds": found.log_odds,
                "values": np.round(found.values.astype(float), 5).tolist(),
            },
            "findings": list(self.findings),
            "effects": [dataclasses.asdict(effect) for effect in self.effects],
            "neighbours": [dataclasses.asdict(one) for one in self.neighbours],
            "no_neighbours": self.no_neighbours,
        }


def explain_file(
    model: OpenedModel, path: Path, *, class_name: str = "", method: str = "", untested: bool = False
) -> Explanation:
    """Explain one film.

    Args:
        model: the opened model.
        path: the film.
        class_name: the class to explain; by default the positive of two, else the one the film scores highest for.
        method: "class_activation", "contrast" or "occlusion"; by default the most precise kind of map that passed its
            tests, else the cheapest.
        untested: show the map even when the card does not allow it; the verdict then still says so.

    Raises:
        UnreadableImage: the film cannot be decoded or is too small.
        UsageError: no such class, or a map that the model does not allow.
        BundleError: the bundle's card or reference films are damaged.
    """
    image = decode_file(path)
    film = prepare(image, model.card, name=str(path))
    outputs = model.run(film[np.newaxis])
    scores = model.probabilities(outputs["logits"])
    index = chosen_class(model, scores[0], class_name)
    card = card_of(model)
    name = model.classes[index]
    kind = method or _best_method(model, card, name)
    verdict = card.verdict(name, kind) if card else NO_CARD
    part = card.of(name, kind) if card else None
    found = map_of(model, film, outputs, index, kind, part) if verdict.may_show or untested else None
    neighbours, no_neighbours = _neighbours(model, outputs, path)
    return Explanation(
        path=path,
        film=prepare(image, display_card(model.card), name=str(path)),
        model=f"{model.name} {model.identifier}",
        class_name=name,
        score=float(scores[0, index]),
        threshold=model.threshold(index),
        decision=_decision(model, scores),
        gate=_gate(model, outputs, film),
        verdict=verdict,
        attribution=found,
        scale=part.scale if part else 0.0,
        findings=tuple(one["sentence"] for one in part.findings()) if part else (),
        effects=tuple(acquisition_effects(model, film, index)),
        neighbours=tuple(neighbours),
        no_neighbours=no_neighbours,
    )


def card_of(model: OpenedModel) -> Card | None:
    """The attribution card in a model's bundle, None without one.

    Raises:
        BundleError: as `load_card`.
    """
    return load_card(model.bundle.folder, model.identifier) if model.bundle else None


def display_card(card: InputCard) -> InputCard:
    """The model's own framing of a film at a size for people."""
    enlarge = DISPLAY_PIXELS / max(card.height, card.width)
    height, width = (max(16, round(side * enlarge)) for side in (card.height, card.width))
    return dataclasses.replace(card, height=height, width=width)


def map_of(
    model: OpenedModel, film: npt.NDArray[np.uint8], outputs: Any, index: int, kind: str, part: ClassCard | None = None
) -> Attribution:
    """The map of one prepared film (height, width) whose `outputs` (1, …) are at hand, by the method `kind`.

    `part` is what the card says of the class; contrast takes its reference from it.

    Raises:
        UsageError: the model does not allow that kind of map, or contrast has no card to take its reference from.
    """
    if kind == OCCLUSION:
        return occlusion(model, film, index)
    found = class_activation(model, outputs, index)[0]
    if kind == CLASS_ACTIVATION:
        return found
    if part is None or not part.reference:
        raise UsageError(
            "Contrast compares with films without the class, which the card holds; this model's card has none.",
            "Make it: cxray explain BUNDLE --card DATA --method contrast",
        )
    return contrast(found, np.array(part.reference))


def _best_method(model: OpenedModel, card: Card | None, class_name: str) -> str:
    """The most precise kind of map that passed: occlusion where it was tested, then contrast, else the cheapest."""
    for kind in (OCCLUSION, CONTRAST, CLASS_ACTIVATION):
        if card and card.verdict(class_name, kind).may_show:
            return kind
    return method_of(model)


def _decision(model: OpenedModel, scores: npt.NDArray[np.float64]) -> str:
    if model.bundle:
        return model.bundle.decide(scores)[0]
    if model.task == "findings":
        return "|".join(name for name, score in zip(model.classes, scores[0], strict=True) if score >= 0.5)
    return model.classes[int(np.argmax(scores[0]))]


def _gate(model: OpenedModel, outputs: Any, film: npt.NDArray[np.uint8]) -> GateVerdict | None:
    gate = Gate.of(model.bundle) if model.bundle else None
    return gate.judge(outputs["features"], film[np.newaxis])[0] if gate and "features" in outputs else None


def _neighbours(model: OpenedModel, outputs: Any, path: Path) -> tuple[list[Neighbour], str]:
    reference = Reference.of(model.bundle) if model.bundle else None
    if reference is None or "features" not in outputs:
        return [], "This model carries no reference films to compare with."
    found = nearest(reference, outputs["features"][0], leave_out=path.name)
    return found, "" if found else "This film has no features to compare."
