"""Films whose label surprises: for a person to read again, never to be deleted by a machine.

A probe on the film's grey values and on how its outlines run, place by place, gives every training film a probability
while it has not seen the film's patient. A film is listed when the probe, if it is any good, gives the other label at
least the probability that films of that label have on average ("confident learning", Northcutt, Jiang & Chuang 2021,
J Artif Intell Res 70:1373, equation 2). Test films are not listed: their labels are nobody's to improve with a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.audit.findings import Finding, count_of
from cxray.data.audit.probes import components
from cxray.data.audit.scan import Flags, Floats, Scan, pixel_rows
from cxray.data.audit.shortcuts import Target, probe_held_out
from cxray.tables import Column

_GOOD_PROBE = 0.8
_COMPONENTS = 64
_CELLS = 8


def check_labels(scan: Scan, targets: Sequence[Target], seed: int) -> tuple[list[Finding], dict[str, Column]]:
    """The finding, and the table of all films listed, least likely label first."""
    features = _features(scan) if targets else np.zeros((len(scan), 1))
    rows = [row for target in targets for row in _suspects(scan, features, target, seed)]
    rows.sort(key=lambda row: (row["probability"], row["file"]))
    table: dict[str, Column] = {
        "path": np.array([row["file"] for row in rows], dtype=object),
        "target": np.array([row["target"] for row in rows], dtype=object),
        "has_it_by_label": np.array([int(row["has_it_by_label"]) for row in rows], dtype=np.int64),
        "probability_of_label": np.array([row["probability"] for row in rows], dtype=np.float64).round(5),
    }
    if not rows:
        return [], table
    files = tuple(dict.fromkeys(row["file"] for row in rows))
    finding = Finding(
        "label-suspect",
        "info",
        f"{count_of(len(files), 'training film')} should be read again: a probe that never saw the patient finds the "
        "label very unlikely.",
        {"films": len(files), "most_surprising": rows[:20]},
        "Have a radiologist look at the list (tables/suspects.csv). Many will be right: hard films surprise too.",
        files,
    )
    return [finding], table


def _suspects(scan: Scan, features: Floats, target: Target, seed: int) -> list[dict[str, Any]]:
    quality, scores = probe_held_out(scan, features, target, seed)
    if quality.low < _GOOD_PROBE:
        return []
    own = _probability_of_label(scores, target.is_positive)
    ill = target.is_positive
    usual = {side: float(np.nanmean(own[ill == side])) for side in (True, False)}
    limit = np.where(ill, 1 - usual[False], 1 - usual[True])
    found = np.flatnonzero(np.nan_to_num(own, nan=1.0) <= limit)
    return [
        {
            "file": scan.name(int(index)),
            "target": target.name,
            "has_it_by_label": bool(target.is_positive[index]),
            "probability": float(own[index]),
        }
        for index in found
    ]


def _features(scan: Scan) -> Floats:
    learned = np.asarray(scan.split != "test")
    kinds = (pixel_rows(scan.thumbnails), outlines(scan.thumbnails))
    return np.concatenate([components(kind, learned, _COMPONENTS) for kind in kinds], axis=1)


def outlines(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """How strongly grey changes along four directions in each of 8 x 8 cells, float32 (films, 256); a film's mean is 1
    before the square root.

    Histograms of oriented gradients (Dalal & Triggs 2005, CVPR) in their cheapest form. Shadows differ from healthy
    lungs by such texture wherever they lie, which a probe of grey values alone cannot put into words.
    """
    films = thumbnails.astype(np.float32)
    down, across = np.diff(films, axis=1)[:, :, :-1], np.diff(films, axis=2)[:, :-1]
    half = np.float32(np.sqrt(0.5))
    changes = (down, across, (down + across) * half, (down - across) * half)
    edges = np.linspace(0, films.shape[1] - 1, _CELLS, endpoint=False).astype(np.int64)
    cells = [np.add.reduceat(np.add.reduceat(np.abs(change), edges, axis=1), edges, axis=2) for change in changes]
    energy = np.stack(cells, axis=-1).reshape(len(films), -1)
    return np.asarray(np.sqrt(energy / (energy.mean(axis=1, keepdims=True) + np.float32(1e-6))), dtype=np.float32)


def _probability_of_label(log_odds: Floats, is_positive: Flags) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(np.where(is_positive, log_odds, -log_odds), -500, 500))))
