"""`cxray explain`: test a model's maps, and show one film with what its score rests on. Starts without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cxray import progress, rundir
from cxray.data.intake import read_inputs
from cxray.errors import DataError
from cxray.explain.attribution import method_of
from cxray.explain.battery import run_battery
from cxray.explain.card import NAME, Card, ClassCard, new_card, save_card
from cxray.explain.opened import OpenedModel
from cxray.explain.sample import FILMS, Sample, draw_records, read_films, read_opacities
from cxray.records import ImageRecord


@dataclasses.dataclass(frozen=True)
class CardRequest:
    """What a card is measured on.

    `data`: labelled films (folder or table); validation films are taken where they are marked. `masks`: folder of PNG
    masks of the known opacities, or None; `<data>-masks` is found by itself. `films` a class and as many without it.
    `class_names`: the classes to test; by default the positive one of two, else all.
    `method`: the kind of maps, by default the cheapest that the model allows.
    """

    data: Path
    masks: Path | None = None
    films: int = FILMS
    class_names: tuple[str, ...] = ()
    method: str = ""
    seed: int = 0


def measure_card(model: OpenedModel, request: CardRequest, others: Sequence[OpenedModel] = ()) -> Card:
    """Measure the attribution card of `model`; `others` are bundles of the same classes trained with other seeds.

    Raises:
        DataError: no labelled films of the model's classes, or a mask is missing.
        UsageError: a class that the model or one of `others` does not have.
    """
    records, described = _records(model, request)
    names = request.class_names or _default_classes(model)
    masks = request.masks or _masks_beside(request.data)
    parts = []
    for name in names:
        progress.say(f"Testing the maps for {name}.")
        parts.append(_class_card(model, name, records, masks, request, others))
    return new_card(model.identifier, described, parts)


def write_card(
    model: OpenedModel, request: CardRequest, out: Path, others: Sequence[OpenedModel] = ()
) -> tuple[Card, Path]:
    """Measure the card and write it to `out`, a file or the folder that shall hold `attribution.json`.

    Raises:
        OutputError: it cannot be written; checked before the work.
    """
    path = out / NAME if out.is_dir() or not out.suffix else out
    rundir.check_writable(path)
    card = measure_card(model, request, others)
    save_card(card, path)
    return card, path


def _records(model: OpenedModel, request: CardRequest) -> tuple[list[ImageRecord], str]:
    """Labelled films to measure on, validation films first, and the words that say what they are."""
    findings = model.classes if model.task == "findings" else ()
    intake = read_inputs([request.data], model.classes, findings=findings)
    labelled = [record for record in intake.records if record.findings or record.label in model.classes]
    for split in ("validation", "train", "test", ""):
        chosen = [record for record in labelled if record.split == split]
        if chosen:
            word = f"{split} films" if split else "films"
            return chosen, f"{word} of {request.data.name}"
    raise DataError(
        f"{request.data} holds no films labelled {' or '.join(model.classes)}.",
        "Give class folders or a table with labels, for example the run's predictions/validation.csv.",
    )


def _default_classes(model: OpenedModel) -> tuple[str, ...]:
    if model.task == "classes" and len(model.classes) == 2:
        return (model.positive or model.classes[1],)
    return model.classes


def _masks_beside(data: Path) -> Path | None:
    folder = data.with_name(f"{data.name}-masks")
    return folder if folder.is_dir() else None


def _class_card(
    model: OpenedModel,
    name: str,
    records: Sequence[ImageRecord],
    masks: Path | None,
    request: CardRequest,
    others: Sequence[OpenedModel],
) -> ClassCard:
    class_index = model.class_index(name)
    with_class, without = draw_records(records, name, films=request.films, seed=request.seed)
    films, kept = read_films(with_class, model.card)
    rest, _ = read_films(without, model.card)
    opacities = read_opacities(kept, masks, model.card) if masks else ()
    twins = [(other, read_films(kept, other.card)[0]) for other in others if other.class_index(name) >= 0]
    sample = Sample(films, rest, kept, opacities)
    method = request.method or method_of(model)
    measures, scale = run_battery(model, sample, class_index, method=method, others=twins)
    return ClassCard(name, method, tuple(measures), scale)
