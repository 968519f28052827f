"""Makers of predictions tables with known structure, as fixtures, so that a test states what it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cxray.records import Predictions

CLASSES = ("NORMAL", "PNEUMONIA", "OTHER", "FOURTH")


def _text(values: Any) -> np.ndarray:
    """An object column of strings, as `tables.read_table` gives."""
    return np.array([str(value) for value in values], dtype=object)


def _make_table(
    films: int = 200, *, classes: int = 2, seed: int = 0, split: str = "test", **changes: Any
) -> Predictions:
    """Films of patients with one to several films each; softmax scores that rank fairly well."""
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, films * 2 // 3, films)
    truth = rng.integers(0, classes, films)[owner]
    logits = rng.normal(size=(films, classes)) + 0.5 * rng.normal(size=(films, classes))[owner]
    logits[np.arange(films), truth] += 1.5
    powers = np.exp(logits)
    empty = np.full(films, "", dtype=object)
    columns: dict[str, Any] = {
        "path": _text(f"{split}/{row}.png" for row in range(films)),
        "classes": CLASSES[:classes],
        "scores": powers / powers.sum(axis=1, keepdims=True),
        "label": _text(CLASSES[number] for number in truth),
        "patient": _text(f"{split}-{number}" for number in owner),
        "split": np.full(films, split, dtype=object),
        "predicted": empty,
        "decision": empty,
        "gate": empty,
        "error": empty,
        "metadata": {"site": _text("AB"[row % 2] for row in range(films)), "age": _text(range(films))},
    }
    return Predictions(**{**columns, **changes})


def _with_scores(table: Predictions, positive: np.ndarray, **changes: Any) -> Predictions:
    """The two-class table with other scores of the second class."""
    scores = np.column_stack([1 - positive, positive])
    kept = {name: getattr(table, name) for name in ("path", "classes", "label", "patient", "split")}
    rest = {name: getattr(table, name) for name in ("predicted", "decision", "gate", "error", "metadata")}
    return Predictions(**{**kept, **rest, "scores": scores, **changes})


@pytest.fixture(scope="session")
def text() -> Callable[[Any], np.ndarray]:
    return _text


@pytest.fixture(scope="session")
def make_table() -> Callable[..., Predictions]:
    return _make_table


@pytest.fixture(scope="session")
def with_scores() -> Callable[..., Predictions]:
    return _with_scores
