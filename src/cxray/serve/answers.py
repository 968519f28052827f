"""What the service answers about films and models, as schemas for its documentation and as plain dictionaries.

The schemas are for OpenAPI and for tests; answers themselves are built as dictionaries, which costs a tenth.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cxray.bundle import INTENDED_USE
from cxray.serve.models import ServedModel
from cxray.serve.service import Scored, gate_verdict, headline

_FILM: dict[str, Any] = {"name": "film-7.png", "kind": "png", "width": 1024, "height": 1024, "bits": 8, "facts": []}
_HEAT_MAP: dict[str, Any] = {
    "class_name": "PNEUMONIA",
    "method": "class_activation",
    "unit": "log-odds",
    "log_odds": 3.9,
    "is_flat": False,
    "maps": "shown",
    "reason": "The maps passed all 3 tests of being true to this model.",
    "scale": 0.4,
    "values": [[0.02, 0.11], [-0.03, 0.4]],
    "film": {"left": 0.0, "top": 0.1, "width": 1.0, "height": 0.8},
    "meaning": "How much each part of the film adds to the log-odds of the class.",
}


class ModelName(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["default"])
    identifier: str = Field(description="First twelve digits of the graph's SHA-256.", examples=["f12de20b4de5"])


class FilmFacts(BaseModel):
    """The film as it was read."""

    name: str
    kind: str = Field(description="png, jpeg or dicom, from the content.")
    width: int = Field(description="Stored width in pixels.")
    height: int = Field(description="Stored height in pixels.")
    bits: int = Field(description="Bits a grey value.")
    facts: list[str] = Field(description="Every liberty that was taken while reading it.")
    model_config = ConfigDict(json_schema_extra={"example": _FILM})


class Gate(BaseModel):
    """Whether the film is like those the model was judged on."""

    verdict: str = Field(description="inside, outside, not_radiograph, or empty when the bundle has no gate.")
    reason: str


class HeatMap(BaseModel):
    """A signed map in log-odds; `values` are rows of cells that tile the prepared film."""

    class_name: str
    method: str
    unit: str
    log_odds: float
    is_flat: bool = Field(description="The cells hardly differ: there is nothing to see.")
    maps: str = Field(description="shown: this kind of map passed its tests on this model; untested: nobody tested it.")
    reason: str = Field(description="Why, in one sentence.")
    scale: float | None = Field(default=None, description="Log-odds of a cell that get full colour, when measured.")
    values: list[list[float]]
    film: dict[str, float] = Field(description="The part of the map on the film: left, top, width, height, 0–1.")
    meaning: str
    model_config = ConfigDict(json_schema_extra={"example": _HEAT_MAP})


class FilmAnswer(BaseModel):
    """Everything about one film."""

    request_id: str
    model: ModelName
    film: FilmFacts
    scores: dict[str, float] = Field(description="Calibrated probability 0–1 of every class or finding.")
    score: float = Field(description="The probability that a worklist is sorted by: of the positive class.")
    predicted: str = Field(description="The most probable class.")
    decision: str = Field(description="The class called at the stored threshold; several findings joined by |.")
    thresholds: dict[str, float] = Field(description="The stored threshold of every class that has one.")
    gate: Gate
    heat_map: HeatMap | None = None
    seconds: dict[str, float] = Field(description="decode, wait and model.")
    intended_use: str
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "request_id": "5f3c2a",
                "model": {"name": "default", "identifier": "f12de20b4de5"},
                "film": _FILM,
                "scores": {"NORMAL": 0.019, "PNEUMONIA": 0.981},
                "score": 0.981,
                "predicted": "PNEUMONIA",
                "decision": "PNEUMONIA",
                "thresholds": {"PNEUMONIA": 0.551},
                "gate": {"verdict": "inside", "reason": ""},
                "heat_map": None,
                "seconds": {"decode": 0.012, "wait": 0.001, "model": 0.006},
                "intended_use": INTENDED_USE,
            }
        }
    )


class ProblemDocument(BaseModel):
    """A refusal (RFC 9457) with a machine-readable `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    next_step: str
    request_id: str
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:cxray:problem:damaged_film",
                "title": "The film cannot be decoded.",
                "status": 422,
                "code": "damaged_film",
                "detail": "The film cannot be decoded.",
                "next_step": "Copy it again from its source.",
                "request_id": "5f3c2a",
            }
        }
    )


class BatchAnswer(BaseModel):
    """One entry a film, in the order sent: an answer, or the problem that this film has."""

    request_id: str
    results: list[FilmAnswer | ProblemDocument]


class ModelFacts(BaseModel):
    """A served model and everything a caller must know about it."""

    name: str
    state: str = Field(description="loading, ready or failed.")
    is_default: bool
    identifier: str = ""
    task: str = ""
    classes: list[str] = []
    positive: str = ""
    thresholds: dict[str, dict[str, Any]] = {}
    calibration: dict[str, Any] = {}
    input: dict[str, Any] = {}
    engine: str = ""
    made: str = ""
    data: dict[str, Any] = {}
    has_gate: bool = False
    intended_use: str = ""
    links: dict[str, str] = {}


def film_answer(
    scored: Scored, model: ServedModel, *, name: str, request_id: str, heat_map: dict[str, Any] | None
) -> dict[str, Any]:
    """A `FilmAnswer`."""
    bundle, film = model.bundle, scored.film
    scores = [float(value) for value in scored.scores]
    score, decision = headline(model, scored.scores)
    return {
        "request_id": request_id,
        "model": {"name": model.name, "identifier": bundle.identifier},
        "film": {
            "name": name,
            "kind": film.kind,
            "width": film.width,
            "height": film.height,
            "bits": film.bits,
            "facts": list(film.facts),
        },
        "scores": dict(zip(bundle.classes, scores, strict=True)),
        "score": score,
        "predicted": bundle.classes[max(range(len(scores)), key=scores.__getitem__)],
        "decision": decision,
        "thresholds": {name: threshold.value for name, threshold in bundle.thresholds.items()},
        "gate": {"verdict": gate_verdict(scored), "reason": scored.verdict.reason if scored.verdict else ""},
        "heat_map": heat_map,
        "seconds": {
            "decode": round(film.seconds, 4),
            "wait": round(scored.row.waited, 4),
            "model": round(scored.row.ran, 4),
        },
        "intended_use": INTENDED_USE,
    }


def model_facts(model: ServedModel, *, is_default: bool) -> dict[str, Any]:
    """A `ModelFacts`; only name and state until the model is ready."""
    known: dict[str, Any] = {"name": model.name, "state": model.state, "is_default": is_default}
    if model.state != "ready":
        return known
    bundle, facts = model.bundle, model.bundle.facts
    base = f"/api/models/{model.name}"
    links = {"self": base, "evidence": f"{base}/evidence", "inference": f"/v2/models/{model.name}"}
    links.update({name: f"{base}/{name}" for name in model.pages})
    return {
        **known,
        "identifier": bundle.identifier,
        "task": bundle.task,
        "classes": list(bundle.classes),
        "positive": bundle.positive,
        "thresholds": {name: threshold.to_dict() for name, threshold in bundle.thresholds.items()},
        "calibration": facts.get("calibration") or {},
        "input": facts.get("input", {}),
        "engine": model.predictor.engine.name,
        "made": facts.get("made", ""),
        "data": facts.get("data", {}),
        "has_gate": model.predictor.gate is not None,
        "intended_use": facts.get("intended_use", INTENDED_USE),
        "links": links,
    }
