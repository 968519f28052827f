"""A few films of each class, side by side: the first thing to look at before believing any number."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cxray.data.cache import PreparedFilms
from cxray.records import ImageRecord
from cxray.report import figures

FILMS_PER_CLASS = 6
Item = TypeVar("Item")


def sample_sheet(records: Sequence[ImageRecord], prepared: PreparedFilms, indices: npt.NDArray[np.int64]) -> bytes:
    """A PNG contact sheet: `FILMS_PER_CLASS` films of every class or finding, spread evenly over the list.

    `indices` (N,) are the places of the records' films in `prepared`.
    """
    chosen: list[int] = []
    captions: list[str] = []
    names = [class_of(record) for record in records]
    for name in sorted(set(names)):
        positions = [position for position, other in enumerate(names) if other == name]
        for position in evenly(positions, FILMS_PER_CLASS):
            chosen.append(position)
            captions.append(name)
    films = prepared.take(indices[np.array(chosen)])
    stream = io.BytesIO()
    figures.contact_sheet(list(films), captions).savefig(stream, format="png")
    return stream.getvalue()


def class_of(record: ImageRecord) -> str:
    """The class of a film, or its first finding, or "no finding"."""
    return record.label or next((name for name, has_it in record.findings.items() if has_it), "no finding")


def evenly(items: Sequence[Item], most: int) -> Sequence[Item]:
    """At most `most` of `items`, spread over them."""
    return items[:: max(1, len(items) // most)][:most]
