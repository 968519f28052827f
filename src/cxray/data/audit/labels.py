"""Films whose label surprises: for a person to read again, never to be deleted by a machine.

The probe on whole thumbnails gives every training film a probability while it has not seen the film's patient. A film
is listed when the probe, if it is any good, gives the other label at least the probability that films of that label
have on average ("confident learning", Northcutt, Jiang & Chuang 2021, J Artif Intell Res 70:1373, equation 2). Test
films are not listed: their labels are nobody's to improve with a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxray.data.audit.findings import Finding, count_of
from cxray.data.audit.scan import Flags, Floats, Scan
from cxray.data.audit.shortcuts import Reference
from cxray.tables import Column

_GOOD_PROBE = 0.8


def check_labels(scan: Scan, references: Sequence[Reference]) -> tuple[list[Finding], dict[str, Column]]:
    """The finding, and the table of all films listed, least likely label first."""
    rows = [row for reference in references for row in _suspects(scan, reference)]
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


def _suspects(scan: Scan, reference: Reference) -> list[dict[str, Any]]:
    if reference.probed.held_out.low < _GOOD_PROBE:
        return []
    own = _probability_of_label(reference.scores, reference.target.is_positive)
    ill = reference.target.is_positive
    usual = {side: float(np.nanmean(own[ill == side])) for side in (True, False)}
    limit = np.where(ill, 1 - usual[False], 1 - usual[True])
    found = np.flatnonzero(np.nan_to_num(own, nan=1.0) <= limit)
    return [
        {
            "file": scan.name(int(index)),
            "target": reference.target.name,
            "has_it_by_label": bool(reference.target.is_positive[index]),
            "probability": float(own[index]),
        }
        for index in found
    ]


def _probability_of_label(log_odds: Floats, is_positive: Flags) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(np.where(is_positive, log_odds, -log_odds), -500, 500))))
