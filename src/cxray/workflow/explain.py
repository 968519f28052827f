"""`cxray explain`: test a model's maps, and show one film with what its score rests on. Starts without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxray import progress, rundir
from cxray.config import InputCard
from cxray.data.intake import read_inputs
from cxray.data.prepare import prepare_file
from cxray.errors import BundleError, DataError, UnreadableImage, UsageError
from cxray.explain.attribution import CONTRAST, method_of, reference_map
from cxray.explain.battery import run_battery
from cxray.explain.card import NAME, Card, ClassCard, load_card, new_card, save_card
from cxray.explain.explanation import Explanation, explain_file
from cxray.explain.foreign import open_foreign, read_foreign_card
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.explain.picture import as_png, draw
from cxray.explain.sample import FILMS, Sample, draw_records, read_films, read_opacities
from cxray.records import ImageRecord

THUMBNAIL_PIXELS = 224


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
    earlier = load_card(path.parent, model.identifier) if path.name == NAME and _is_card_of(path, model) else None
    card = measure_card(model, request, others).with_earlier(earlier)
    save_card(card, path)
    return card, path


def _is_card_of(path: Path, model: OpenedModel) -> bool:
    """Whether a sound card of this very graph lies there; anything else is replaced."""
    try:
        return load_card(path.parent, model.identifier) is not None
    except BundleError:
        return False


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
    reference = reference_map(model, rest, class_index) if method == CONTRAST else np.zeros((0, 0))
    cells = tuple(tuple(round(float(cell), 6) for cell in row) for row in reference)
    return ClassCard(name, method, tuple(measures), scale, cells)


@dataclasses.dataclass(frozen=True)
class Shown:
    """A written picture and what it says."""

    path: Path
    explanation: Explanation


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a person wants to see: the class and the kind of map ("" = what suits), maps that were not tested or failed
    (`untested`), and the folder `films` where pictures of films like this one may be found."""

    class_name: str = ""
    method: str = ""
    untested: bool = False
    films: Path | None = None


def open_model(path: Path, engine: str = "auto", *, threads: int = 0, input_card: Path | None = None) -> OpenedModel:
    """Open a bundle, or an ONNX file from elsewhere with its input card.

    Raises:
        UsageError: an ONNX file without a card, or a card beside a bundle.
        BundleError, ConfigError: it cannot be opened, or the card is wrong.
    """
    if path.suffix.lower() == ".onnx":
        if input_card is None:
            raise UsageError(
                f"{path} is an ONNX file; what it expects of a film must be told.",
                "Give --input CARD.toml; docs/explaining.md shows one.",
            )
        return open_foreign(path, read_foreign_card(input_card), engine, threads=threads)
    if input_card is not None:
        raise UsageError("--input is for ONNX files from elsewhere; a bundle brings its own.", "Leave out --input.")
    return open_bundle(path, engine, threads=threads)


def explain_film(model: OpenedModel, image: Path, out: Path, wish: Wish | None = None) -> Shown:
    """Write the picture of one film.

    Raises:
        UsageError: `out` is no PNG, or the wish cannot be meant for this model.
        UnreadableImage: the film cannot be read.
        OutputError: the picture cannot be written.
    """
    wish = wish or Wish()
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UsageError(f"--out {out} must be a file that ends in .png.", "Example: --out explained.png")
    rundir.check_writable(out)
    found = explain_file(model, image, class_name=wish.class_name, method=wish.method, untested=wish.untested)
    pictures = _thumbnails(found, wish.films) if wish.films else {}
    rundir.write_bytes(out, as_png(draw(found, pictures)))
    return Shown(out, found)


def _thumbnails(found: Explanation, folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Films like the explained one, by file name, as far as they lie under `folder`."""
    wanted = {one.film for one in found.neighbours}
    pictures = {}
    for path in sorted(folder.rglob("*")):
        if path.name in wanted and path.name not in pictures:
            try:
                pictures[path.name] = prepare_file(path, InputCard(THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            except UnreadableImage:
                continue
    return pictures
