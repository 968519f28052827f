"""A validation that warns: what becomes of the frozen threshold when films look as another machine would make them.

Random validation films come from the same machines and formats as the training films, so they cannot show what a change
of either does. Here they are changed on purpose, in ways that leave the diagnosis as it is: stretched (an aspect ratio
lost in a resize), enlarged, bent in exposure, their borders blackened. A model whose AUROC holds while its
sensitivity or specificity collapses has learnt the format together with the disease.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxray.evaluate.ranking import auroc

Film = npt.NDArray[np.uint8]

# A rate that falls by more than this is named in words.
ALARM = 0.10
UNCHANGED = "unchanged"
_BORDER = 1 / 16


def enlarged(film: Film, wide: float, tall: float) -> Film:
    """A prepared film uint8 (height, width), its width and height multiplied about the centre, in the same frame."""
    height, width = film.shape
    size = (round(width * wide), round(height * tall))
    canvas = Image.new("L", (width, height))
    resized = Image.fromarray(film).resize(size, Image.Resampling.BILINEAR)
    canvas.paste(resized, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(canvas)


def _bent(film: Film, gamma: float) -> Film:
    return np.asarray(np.rint(255 * (film / 255) ** gamma), dtype=np.uint8)


def _without_border(film: Film) -> Film:
    rows, columns = round(film.shape[0] * _BORDER), round(film.shape[1] * _BORDER)
    kept = np.zeros_like(film)
    kept[rows:-rows, columns:-columns] = film[rows:-rows, columns:-columns]
    return kept


TREATMENTS: Mapping[str, Callable[[Film], Film]] = {
    UNCHANGED: lambda film: film,
    "a third wider": lambda film: enlarged(film, 4 / 3, 1.0),
    "a third taller": lambda film: enlarged(film, 1.0, 4 / 3),
    "a third larger": lambda film: enlarged(film, 4 / 3, 4 / 3),
    "lighter (gamma 0.6)": lambda film: _bent(film, 0.6),
    "darker (gamma 1.6)": lambda film: _bent(film, 1.6),
    "border blackened": _without_border,
}


@dataclasses.dataclass(frozen=True)
class Stressed:
    """AUROC, sensitivity and specificity (fractions) of one class under one treatment, on `films` films."""

    treatment: str
    auroc: float
    sensitivity: float
    specificity: float
    films: int


def stress(
    score: Callable[[Film], npt.NDArray[Any]], films: Film, is_positive: npt.NDArray[np.bool_], threshold: float
) -> list[Stressed]:
    """Judge a model on films uint8 (n, height, width) under every treatment; the first row is without any.

    Args:
        score: prepared films to the scores (n,) of the positive class.
        films: validation films of both classes.
        is_positive: bool (n,).
        threshold: the frozen operating point; it is not chosen anew.
    """
    rows = []
    for name, treatment in TREATMENTS.items():
        scores = np.asarray(score(np.stack([treatment(film) for film in films])), dtype=np.float64)
        rows.append(
            Stressed(
                name,
                auroc(scores, is_positive),
                float((scores[is_positive] >= threshold).mean()),
                float((scores[~is_positive] < threshold).mean()),
                len(films),
            )
        )
    return rows


def stress_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """`warnings` of rows as a bundle stores them."""
    return warnings([Stressed(**row) for row in rows])


def warnings(rows: Sequence[Stressed]) -> list[str]:
    """A sentence for each treatment under which sensitivity or specificity falls by more than `ALARM`."""
    if not rows:
        return []
    usual, said = rows[0], []
    for row in rows[1:]:
        for rate in ("sensitivity", "specificity"):
            before, after = getattr(usual, rate), getattr(row, rate)
            if before - after > ALARM:
                said.append(
                    f"{row.films:,} validation films {_phrase(row.treatment)}: {rate} at the frozen threshold falls "
                    f"from {before:.2f} to {after:.2f}. The threshold will not hold where films look like that."
                )
    return said


def _phrase(treatment: str) -> str:
    return "with the " + treatment if treatment.startswith("border") else "made " + treatment
