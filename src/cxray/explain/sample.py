"""The films a card is measured on: one film a patient, of the class and not of it, prepared for one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxray.config import InputCard
from cxray.data.prepare import prepare, prepare_file
from cxray.errors import DataError, UnreadableImage
from cxray.records import ImageRecord, PixelImage

# Films of the class, and as many that are not of it.
FILMS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Films for one class of one model.

    `films` uint8 (N, height, width) with the class, `others` (M, height, width) without it, each film of another
    patient. `opacities` are the known disease masks bool (height, width) of `films`, in their order, or empty.
    """

    films: npt.NDArray[np.uint8]
    others: npt.NDArray[np.uint8]
    records: tuple[ImageRecord, ...]
    opacities: tuple[npt.NDArray[np.bool_], ...] = ()


def draw_records(
    records: Sequence[ImageRecord], class_name: str, *, films: int = FILMS, seed: int = 0
) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """At most `films` records with `class_name` and as many known to be without it, one a patient, by chance.

    A film without a known patient stands for itself. Films of unknown label are left out.
    """
    order = np.random.default_rng(seed).permutation(len(records))
    with_class: dict[str, ImageRecord] = {}
    without: dict[str, ImageRecord] = {}
    for position in order:
        record = records[position]
        has = _has(record, class_name)
        if has is None:
            continue
        patient = record.patient or str(record.path)
        if patient not in with_class and patient not in without:
            (with_class if has else without)[patient] = record
    return list(with_class.values())[:films], list(without.values())[:films]


def read_films(
    records: Sequence[ImageRecord], card: InputCard
) -> tuple[npt.NDArray[np.uint8], tuple[ImageRecord, ...]]:
    """Prepare films, uint8 (N, height, width); those that cannot be read are left out, of the records as well."""
    films, kept = [], []
    for record in records:
        try:
            films.append(prepare_file(record.path, card))
        except UnreadableImage:
            continue
        kept.append(record)
    shape = (0, card.height, card.width)
    return (np.stack(films) if films else np.zeros(shape, np.uint8)), tuple(kept)


def read_opacities(records: Sequence[ImageRecord], masks: Path, card: InputCard) -> tuple[npt.NDArray[np.bool_], ...]:
    """The known opacities of films, each (height, width): pictures in `masks` with the films' own names, white where
    disease is, prepared with the same frame as the films.

    Raises:
        DataError: a film has no mask, or it cannot be read.
    """
    found = []
    for record in records:
        path = masks / f"{record.path.stem}.png"
        try:
            with Image.open(path) as picture:
                grey = np.asarray(np.asarray(picture.convert("L")) / 255, dtype=np.float32)
        except OSError as error:
            raise DataError(
                f"There is no readable mask {path} for {record.path.name}.", "Give a PNG for every film of the class."
            ) from error
        found.append(prepare(PixelImage(grey, grey.shape[0], grey.shape[1], bits=8), card, name=str(path)) >= 128)
    return tuple(found)


def _has(record: ImageRecord, class_name: str) -> bool | None:
    if record.findings:
        return record.findings.get(class_name)
    return record.label == class_name if record.label else None
