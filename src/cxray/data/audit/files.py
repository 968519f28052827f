"""Films one by one: what cannot be read, what is no film, what was stored in an odd way.

Each check is one small function from the scan to a finding or None; `check_files` lists them. Rules that compare a
film with the rest use medians, so that a few odd films do not move what is normal.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.audit.findings import Finding, count_of, percent
from cxray.data.audit.scan import Flags, Floats, Integers, Scan, relative_name, standard_rows
from cxray.data.intake import Intake

# Standard deviation of grey values 0–1 under which nothing can be seen; the faintest films of real sets have 0.1.
_BLANK_SPREAD = 0.015
_TINY_SIDE_PIXELS = 64
_ODD_ASPECT_FACTOR = 2.0
_INVERTED_CORRELATION = -0.3
_BLACK_MARGIN = 0.1
# The strangest of 5,840 films of children lies 4.4 spreads below the median, of clean phantoms 3.7.
_UNUSUAL_SPREADS = 5.0
# What intake passes over and why it deserves more than a note.
_LOST_FILMS = ("film outside any class folder", "link that leads nowhere", "folder that may not be read")
_NESTED = "nested copy of the archive"


def check_files(scan: Scan, intake: Intake) -> list[Finding]:
    """All findings about single files and films."""
    found = [check_unreadable(scan), _stray(intake.passed_over), _nested(intake.passed_over)]
    if len(scan):
        checks = (_blank, _tiny, _inverted, _unusual, _colour, _odd_aspect, _black_border, _text)
        found += [check(scan) for check in checks]
    return [finding for finding in found if finding is not None]


def per_class(scan: Scan, chosen: Flags) -> dict[str, Any]:
    """Films and share of `chosen`, bool (films,), in every split and class."""
    table: dict[str, Any] = {}
    for split in scan.splits():
        for label in sorted(set(scan.label)):
            group = (scan.split == split) & (scan.label == label)
            if group.any():
                name = "/".join(part for part in (str(split), str(label)) if part) or "all"
                table[name] = {"films": int(chosen[group].sum()), "share": float(chosen[group].mean())}
    return table


def check_unreadable(scan: Scan) -> Finding | None:
    """Films that cannot be read: an error when they are more than one in twenty."""
    if not scan.unreadable:
        return None
    total = len(scan) + len(scan.unreadable)
    reasons = {relative_name(record.path, scan.root): reason for record, reason in scan.unreadable[:100]}
    return Finding(
        "unreadable-film",
        "error" if len(scan.unreadable) > 0.05 * total else "warning",
        f"{count_of(len(scan.unreadable), 'film')} of {total:,} cannot be read.",
        {"films": len(scan.unreadable), "of": total, "reasons": reasons},
        "Copy them again from their source, or remove them; training and prediction leave them out.",
        tuple(relative_name(record.path, scan.root) for record, _ in scan.unreadable),
    )


def _stray(passed_over: Mapping[str, int]) -> Finding | None:
    counted = {reason: count for reason, count in passed_over.items() if reason != _NESTED}
    if not counted:
        return None
    lost = {reason: count for reason, count in counted.items() if reason in _LOST_FILMS}
    told = "; ".join(f"{count:,} × {reason}" for reason, count in counted.items())
    return Finding(
        "stray-files",
        "warning" if lost else "info",
        f"Passed over: {told}.",
        {"reasons": counted},
        "Move films into their class folder and mend links." if lost else "Nothing has to be done; they are not used.",
    )


def _nested(passed_over: Mapping[str, int]) -> Finding | None:
    copies = passed_over.get(_NESTED, 0)
    if not copies:
        return None
    return Finding(
        "nested-copies",
        "warning",
        f"The folder holds itself again: {count_of(copies, 'nested data set')}, left out here.",
        {"copies": copies},
        "Delete the inner copies: tools that search folders through would count every film several times.",
    )


def _blank(scan: Scan) -> Finding | None:
    return _listed(
        scan,
        _is_blank(scan),
        _Rule(
            "blank-film",
            "warning",
            "{films} show nothing: all pixels have nearly the same grey.",
            "Remove them, or export them again.",
        ),
        evidence={"standard_deviation_below": _BLANK_SPREAD},
    )


def _is_blank(scan: Scan) -> Flags:
    return np.asarray(scan.grey[:, 1] < _BLANK_SPREAD)


def _tiny(scan: Scan) -> Finding | None:
    shortest = np.minimum(scan.height, scan.width)
    return _listed(
        scan,
        shortest < _TINY_SIDE_PIXELS,
        _Rule(
            "tiny-film",
            "warning",
            "{films} have a side shorter than " + f"{_TINY_SIDE_PIXELS} pixels.",
            "Export them at their native size; this small, consolidations cannot be told from ribs.",
        ),
        evidence={"smallest_side_pixels": shortest.min(), "median_side_pixels": np.median(shortest)},
    )


def _inverted(scan: Scan) -> Finding | None:
    correlation = _with_median_film(scan)
    is_inverted = (correlation < _INVERTED_CORRELATION) & ~_is_blank(scan)
    return _listed(
        scan,
        is_inverted,
        _Rule(
            "inverted-film",
            "warning",
            "{films} look like negatives of the others: bones dark, air bright.",
            "Invert them, or export them with the photometric interpretation applied.",
        ),
        evidence={"correlation_with_median_film": correlation[is_inverted], "threshold": _INVERTED_CORRELATION},
    )


def _with_median_film(scan: Scan) -> Floats:
    films = standard_rows(scan.thumbnails)
    # A median of at most some thousand films is as good as one of all, and keeps memory flat.
    step = max(1, len(films) // 2000)
    median = np.median(films[::step], axis=0)
    return np.asarray(films @ median / max(float(np.linalg.norm(median)), 1e-9), dtype=np.float64)


def _unusual(scan: Scan) -> Finding | None:
    if len(scan) < 100:
        return None  # too few films to know what is usual
    # Fisher's transform makes correlations near 1 comparable with those near 0.
    likeness = np.arctanh(np.clip(_likeness_to_nearest(standard_rows(scan.thumbnails)), -0.999, 0.9999))
    middle = np.median(likeness)
    spread = 1.4826 * np.median(np.abs(likeness - middle))
    far = (middle - likeness) / max(float(spread), 1e-9)
    is_unusual = (far > _UNUSUAL_SPREADS) & ~_is_blank(scan)
    return _listed(
        scan,
        is_unusual,
        _Rule(
            "unusual-film",
            "info",
            "{films} look unlike all others: another view, another part of the body, or no radiograph.",
            "Look at them.",
        ),
        evidence={"distance_in_spreads": np.sort(far[is_unusual])[::-1], "threshold": _UNUSUAL_SPREADS},
        order=np.argsort(-far, kind="stable"),
    )


def _likeness_to_nearest(films: npt.NDArray[np.float32]) -> Floats:
    """Highest correlation of each film with any of at most a thousand others spread over the set."""
    others = np.arange(0, len(films), -(-len(films) // 1000))
    correlation = films @ films[others].T
    correlation[others, np.arange(len(others))] = -1  # a film is always like itself
    return np.asarray(correlation.max(axis=1), dtype=np.float64)


def _colour(scan: Scan) -> Finding | None:
    if scan.has_hue.any():
        return _listed(
            scan,
            scan.has_hue,
            _Rule(
                "colour-film",
                "warning",
                "{films} hold real colour, which a radiograph has not: a photograph, a screen shot, an overlay.",
                "Look at them; export the films themselves.",
            ),
            evidence={"colour_models": dict(Counter(scan.model))},
        )
    models = Counter(scan.model)
    if len(models) < 2:
        return None
    rarest = scan.model == min(models, key=lambda model: models[model])
    return _listed(
        scan,
        rarest,
        _Rule(
            "colour-film",
            "info",
            "{films} are stored in another colour model than the rest, without being coloured.",
            "Nothing has to be done: all films are read as grey. Software that tells them apart may learn it.",
        ),
        evidence={"colour_models": dict(models)},
    )


def _odd_aspect(scan: Scan) -> Finding | None:
    aspect = np.log(scan.width / scan.height)
    usual = float(np.exp(np.median(aspect)))
    return _listed(
        scan,
        np.abs(aspect - np.median(aspect)) > np.log(_ODD_ASPECT_FACTOR),
        _Rule(
            "odd-aspect",
            "warning",
            "{films} are more than twice as wide or as tall, for their size, as is usual here.",
            "Look at them: strips, double films or lateral views do not belong among frontal ones.",
        ),
        evidence={"usual_width_over_height": usual, "factor": _ODD_ASPECT_FACTOR},
    )


def _black_border(scan: Scan) -> Finding | None:
    widest = scan.margins.max(axis=1)
    return _listed(
        scan,
        (widest >= _BLACK_MARGIN) & ~_is_blank(scan),
        _Rule(
            "black-border",
            "info",
            "{films} have a black margin of a tenth of the side or more.",
            "Crop the margins; whether they go with a class is answered by shortcut-border.",
        ),
        evidence={"from_share_of_side": _BLACK_MARGIN},
        order=np.argsort(-widest, kind="stable"),
    )


def _text(scan: Scan) -> Finding | None:
    return _listed(
        scan,
        scan.text_lines > 0,
        _Rule(
            "burned-in-text",
            "info",
            "{films} seem to carry a line of burned-in text.",
            "Look at them: text may name the patient, and a model may read it.",
        ),
        evidence={"lines": int(scan.text_lines.sum())},
        order=np.argsort(-scan.text_lines, kind="stable"),
    )


@dataclasses.dataclass(frozen=True)
class _Rule:
    code: str
    severity: str
    title: str
    advice: str


def _listed(
    scan: Scan, chosen: Flags, rule: _Rule, *, evidence: Mapping[str, Any], order: Integers | None = None
) -> Finding | None:
    """A finding about the films `chosen`, bool (films,), or None when there are none; `order` puts the worst first."""
    if not chosen.any():
        return None
    indices = np.flatnonzero(chosen) if order is None else order[chosen[order]]
    counted = f"{count_of(int(chosen.sum()), 'film')} ({percent(float(chosen.mean()))})"
    facts = {"films": int(chosen.sum()), "share": float(chosen.mean()), "by_class": per_class(scan, chosen), **evidence}
    return Finding(rule.code, rule.severity, rule.title.format(films=counted), facts, rule.advice, scan.names(indices))
