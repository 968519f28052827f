"""Made-up predictions tables for the pages: seedable, several films a patient, any class names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cxray.records import Predictions

HOSTILE = "<script>alert(\"1\")</script>' onload='x"
RIGHT_TO_LEFT = "التهاب رئوي"
DOLLARS = "$\\frac{$ & \x07bell \u202ereversed"
LONG_PATH = "/".join(f"folder {number:03d} with a long name" for number in range(40)) + "/film.jpeg"


def two_classes(
    films: int = 300,
    seed: int = 0,
    *,
    names: tuple[str, str] = ("NORMAL", "PNEUMONIA"),
    share: float = 0.6,
    split: str = "test",
    patients: bool = True,
) -> Predictions:
    """A good model of two classes; `share` is the prevalence of the second."""
    rng = np.random.default_rng(seed)
    is_ill = np.arange(films) < round(films * share)
    logits = rng.normal(0, 1.5, films) + np.where(is_ill, 2.4, -1.9)
    scores = 1 / (1 + np.exp(-logits))
    return _table(
        np.column_stack([1 - scores, scores]),
        names,
        [names[int(ill)] for ill in is_ill],
        split=split,
        patients=patients,
    )


def many_classes(names: Sequence[str], films: int = 300, seed: int = 0) -> Predictions:
    """Exclusive classes with a softmax that favours the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(names), films)
    logits = rng.normal(0, 1, (films, len(names)))
    logits[np.arange(films), truth] += 2.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return _table(scores, names, [names[number] for number in truth])


def findings(names: Sequence[str], films: int = 300, seed: int = 0, *, share: float = 0.3) -> Predictions:
    """Several findings a film, some cells unknown."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((films, len(names))) < share).astype(np.float64)
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1.5, truth.shape) + 3 * truth - 1.5)))
    truth[rng.random(truth.shape) < 0.05] = np.nan
    plain = _table(scores, names, [""] * films)
    return dataclasses.replace(plain, findings=truth)


def _table(
    scores: np.ndarray, names: Sequence[str], labels: Sequence[str], *, split: str = "test", patients: bool = True
) -> Predictions:
    rows = len(scores)
    empty = np.full(rows, "", dtype=object)
    named = np.array([f"{split}-patient-{row // 2}" for row in range(rows)], dtype=object)
    return Predictions(
        path=np.array([f"{split}/film-{row}.jpeg" for row in range(rows)], dtype=object),
        classes=tuple(names),
        scores=scores,
        patient=named if patients else empty,
        split=np.full(rows, split, dtype=object),
        label=np.array(list(labels), dtype=object),
        predicted=empty,
        decision=empty,
        gate=empty,
        error=empty,
        findings=None,
        metadata={},
    )
