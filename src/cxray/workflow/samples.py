"""A few films of each class, side by side: the first thing to look at before believing any number."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxray.data.cache import PreparedFilms
from cxray.records import ImageRecord
from cxray.report import figures

FILMS_PER_CLASS = 6


def sample_sheet(records: Sequence[ImageRecord], prepared: PreparedFilms, indices: npt.NDArray[np.int64]) -> bytes:
    """A PNG contact sheet: `FILMS_PER_CLASS` films of every class or finding, spread evenly over the list."""
    chosen: list[int] = []
    captions: list[str] = []
    names = [record.label or next((n for n, v in record.findings.items() if v), "no finding") for record in records]
    for name in sorted(set(names)):
        positions = [position for position, other in enumerate(names) if other == name]
        step = max(1, len(positions) // FILMS_PER_CLASS)
        for position in positions[::step][:FILMS_PER_CLASS]:
            chosen.append(position)
            captions.append(name)
    films = prepared.take(indices[np.array(chosen)])
    stream = io.BytesIO()
    figures.contact_sheet(list(films), captions).savefig(stream, format="png")
    return stream.getvalue()
