"""The curves of several models on the same films, one under the other in one table with a column `model`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxray.evaluate.benefit import decision_curve
from cxray.evaluate.curves import roc_points
from cxray.evaluate.record import Codes, Flags, Floats

Columns = dict[str, np.ndarray[Any, Any]]


def paired_curves(
    names: Sequence[str], scores: Floats, is_positive: Flags, patient: Codes, level: float
) -> dict[str, Columns]:
    """ROC and decision curve of each model; `scores` has shape (films, models). Nothing without both classes."""
    if is_positive.all() or not is_positive.any():
        return {}
    found: dict[str, list[Columns]] = {"roc": [], "decision_curve": []}
    for column in scores.T:
        found["roc"].append(dict(roc_points(column, is_positive)))
        found["decision_curve"].append(dict(decision_curve(column, is_positive, patient, level=level)))
    return {name: _under_each_other(names, parts) for name, parts in found.items()}


def _under_each_other(names: Sequence[str], parts: Sequence[Columns]) -> Columns:
    lengths = [len(next(iter(part.values()))) for part in parts]
    model = [np.full(length, name, dtype=object) for name, length in zip(names, lengths, strict=True)]
    return {"model": np.concatenate(model), **{key: np.concatenate([part[key] for part in parts]) for key in parts[0]}}
