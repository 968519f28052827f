"""What can be predicted without a look at the lungs' own pattern: the floor that every model must clear.

Each shortcut is a handful of numbers from which the class should hardly be readable. A probe on them is cross-validated
by patient on train and validation films, and carried to the test films. A shortcut is a warning when even the lower
limit of its AUROC is high; how high is too high depends on what disease itself may do to these numbers.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.audit.findings import Finding, percent
from cxray.data.audit.leaks import classes_of
from cxray.data.audit.probes import (
    Interval,
    auroc,
    components,
    curved,
    fit,
    has_enough,
    held_out_scores,
    patient_codes,
)
from cxray.data.audit.scan import Flags, Floats, Integers, Scan, pixel_rows
from cxray.data.audit.shift import strata_of
from cxray.tables import Column

_NOTED_FROM = 0.6
_SENSITIVITY = 0.95
_MOST_TARGETS = 20
_MOST_CATEGORIES = 15
_WHOLE_FILM_COMPONENTS = 128
WHOLE_FILM = "whole thumbnail"


@dataclasses.dataclass(frozen=True)
class Shortcut:
    """One shortcut: its code, what a person calls it, from which lower limit of AUROC it is a warning, what to do.

    `features` gives float64 (films, features), or None when it does not vary.
    """

    code: str
    name: str
    warn_from: float
    advice: str
    features: Callable[[Scan], Floats | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Probed:
    """One shortcut on one target: AUROC by cross-validation, and on the test films (None without a test split).

    `scores` are log odds (films,): held out by patient for films it learned from, carried over for test films, NaN for
    films without the target.
    """

    shortcut: str
    target: str
    held_out: Interval
    transported: Interval | None
    scores: Floats

    def as_json(self) -> dict[str, Any]:
        """For the evidence of a finding."""
        moved = None if self.transported is None else self.transported.as_json()
        return {"target": self.target, "cross_validated": self.held_out.as_json(), "test": moved}


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A yes-or-no question: `known` bool (films,) says where it has an answer, `is_positive` which."""

    name: str
    known: Flags
    is_positive: Flags


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """The probe on whole thumbnails, for comparison: `scores` are held-out log odds (films,), NaN in test films and
    where the target is unknown."""

    target: Target
    probed: Probed
    scores: Floats
    transported_scores: Floats


def targets_of(scan: Scan) -> list[Target]:
    """The questions worth probing: one for two classes, one a class or finding for more; each with enough patients."""
    members = classes_of(scan)
    if scan.is_multi_label:
        known = {n: np.array([r.findings.get(n) is not None for r in scan.records], dtype=bool) for n in members}
        questions = [Target(name, known[name], member) for name, member in members.items()]
    else:
        labelled = np.asarray(scan.label != "")
        names = list(members)[1:] if len(members) == 2 else list(members)
        questions = [Target(name, labelled, members[name]) for name in names]
    patient = patient_codes(scan.patient)
    learned = np.asarray(scan.split != "test")
    usable = [q for q in questions if has_enough(q.is_positive[q.known & learned], patient[q.known & learned])]
    return sorted(usable, key=lambda q: -int(q.is_positive.sum()))[:_MOST_TARGETS]


def check_shortcuts(scan: Scan, targets: Sequence[Target], seed: int) -> tuple[list[Finding], list[Probed]]:
    """A finding for every shortcut that is open, the floor, and the full table of probes."""
    findings: list[Finding] = []
    table: list[Probed] = []
    for shortcut in SHORTCUTS:
        features = shortcut.features(scan) if targets else None
        if features is None:
            continue
        probed = [probe(scan, features, shortcut.name, target, seed)[0] for target in targets]
        table += probed
        finding = _open(shortcut, max(probed, key=lambda one: one.held_out.low))
        findings += [finding] if finding else []
    if table:
        findings.append(_floor(table))
    return findings, table


def look_at_whole_films(scan: Scan, targets: Sequence[Target], seed: int) -> list[Reference]:
    """The same probe on whole thumbnails: not a shortcut, but what a network of no depth already knows."""
    if not targets:
        return []
    reduced = _reduced(scan, scan.thumbnails, _WHOLE_FILM_COMPONENTS)
    return [_reference(scan, reduced, target, seed) for target in targets]


def _reference(scan: Scan, reduced: Floats, target: Target, seed: int) -> Reference:
    probed, scores, moved = probe(scan, reduced, WHOLE_FILM, target, seed)
    return Reference(target, probed, scores, moved)


def probe(scan: Scan, features: Floats, name: str, target: Target, seed: int) -> tuple[Probed, Floats, Floats]:
    """Probe one target; also the held-out scores of learned films and those of test films, NaN elsewhere (films,)."""
    patient, truth = patient_codes(scan.patient), target.is_positive
    held_out, scores = probe_held_out(scan, features, target, seed)
    learned, tested = ~np.isnan(scores), target.known & np.asarray(scan.split == "test")
    moved = np.full(len(scan), np.nan)
    transported = None
    if truth[tested].any() and not truth[tested].all():
        moved[tested] = fit(features[learned], truth[learned]).decision_function(features[tested])
        transported = auroc(moved[tested], truth[tested], _dense(patient[tested]), seed)
    return Probed(name, target.name, held_out, transported, np.where(learned, scores, moved)), scores, moved


def probe_held_out(scan: Scan, features: Floats, target: Target, seed: int) -> tuple[Interval, Floats]:
    """AUROC by cross-validation, and the held-out log odds of films outside test, NaN elsewhere (films,)."""
    learned = target.known & np.asarray(scan.split != "test")
    codes, truth = _dense(patient_codes(scan.patient)[learned]), target.is_positive[learned]
    scores = np.full(len(scan), np.nan)
    scores[learned] = held_out_scores(features[learned], truth, codes, seed)
    return auroc(scores[learned], truth, codes, seed), scores


def check_transport(scan: Scan, references: Sequence[Reference]) -> list[Finding]:
    """Does a threshold chosen on train keep its promise on test? Shown on the thumbnail probe, binary data only."""
    if len(references) != 1 or references[0].probed.transported is None:
        return []
    reference = references[0]
    ill = reference.target.is_positive
    learned, tested = ~np.isnan(reference.scores), ~np.isnan(reference.transported_scores)
    threshold = float(np.quantile(reference.scores[learned & ill], 1 - _SENSITIVITY))
    before = _rates(reference.scores, learned, ill, threshold)
    after = _rates(reference.transported_scores, tested, ill, threshold)
    patients = len(set(scan.patient[tested & ~ill]))
    change = after["specificity"] - before["specificity"]
    # Three standard errors of a rate of one half are the widest that chance explains.
    if abs(change) < max(0.1, 1.5 / max(patients, 1) ** 0.5):
        return []
    evidence = {
        "threshold_log_odds": threshold,
        "train_cross_validated": before,
        "test": after,
        "auroc": reference.probed.as_json(),
        "test_auroc_by_stratum": _by_stratum(scan, reference, tested),
    }
    return [
        Finding(
            "threshold-shift",
            "warning",
            f"A threshold for {percent(_SENSITIVITY)} sensitivity does not carry over: a simple probe's specificity is "
            f"{before['specificity']:.2f} in train and {after['specificity']:.2f} in test.",
            evidence,
            "Expect the same of networks. Do not choose the threshold on test; recalibrate where it will be used.",
        )
    ]


def _rates(scores: Floats, rows: Flags, ill: Flags, threshold: float) -> dict[str, float]:
    called = scores >= threshold
    return {
        "sensitivity": float(called[rows & ill].mean()),
        "specificity": float((~called[rows & ~ill]).mean()),
    }


def _by_stratum(scan: Scan, reference: Reference, tested: Flags) -> dict[str, Any]:
    """AUROC of each stratum named by files against all films of the other class, in test."""
    ill = reference.target.is_positive
    found: dict[str, Any] = {}
    for strata in strata_of(scan).values():
        for word, stratum in strata.items():
            is_ill = bool(ill[stratum].all())
            rows = tested & (stratum | (~ill if is_ill else ill))
            if has_enough(ill[rows], patient_codes(scan.patient[rows])):
                codes = patient_codes(scan.patient[rows])
                found[word] = auroc(reference.transported_scores[rows], ill[rows], codes, 0).as_json()
    return found


def probes_table(probed: Sequence[Probed]) -> dict[str, Column]:
    """One row a probe."""
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    columns: dict[str, Column] = {
        "probe": np.array([one.shortcut for one in probed], dtype=object),
        "target": np.array([one.target for one in probed], dtype=object),
    }
    for title, pick in (("cross_validated", "held_out"), ("test", "transported")):
        intervals = [getattr(one, pick) or nothing for one in probed]
        for part in ("value", "low", "high"):
            name = f"auroc_{title}" + ("" if part == "value" else f"_{part}")
            columns[name] = np.array([getattr(interval, part) for interval in intervals]).round(4)
    return columns


def scores_table(scan: Scan, probed: Sequence[Probed]) -> dict[str, Column]:
    """What every probe says about every film that has the target, one row a film and target, in log odds.

    A judgement sets these beside a model's scores, so they are given film by film; a film of the test split is scored
    by the probe of all other films, any other film by one that has seen no film of its patient.
    """
    names = list(dict.fromkeys(one.shortcut for one in probed))
    films = np.array(scan.names(range(len(scan))), dtype=object)
    parts: dict[str, list[Column]] = {column: [] for column in ("path", "split", "label", "target", *names)}
    for target in dict.fromkeys(one.target for one in probed):
        scores = {one.shortcut: one.scores for one in probed if one.target == target}
        rows = np.flatnonzero(~np.isnan(next(iter(scores.values()))))
        for column, values in (("path", films), ("split", scan.split), ("label", scan.label)):
            parts[column].append(np.asarray(values, dtype=object)[rows])
        parts["target"].append(np.full(len(rows), target, dtype=object))
        for name in names:
            parts[name].append(scores[name][rows].round(4) if name in scores else np.full(len(rows), np.nan))
    renamed = {name: f"score_{name}" if name in names else name for name in parts}
    return {renamed[name]: np.concatenate([np.zeros(0, dtype=object), *part]) for name, part in parts.items()}


def _open(shortcut: Shortcut, worst: Probed) -> Finding | None:
    if worst.held_out.low < _NOTED_FROM:
        return None
    moved = "" if worst.transported is None else f", {worst.transported.value:.2f} in test"
    return Finding(
        shortcut.code,
        "warning" if worst.held_out.low >= shortcut.warn_from else "info",
        f"{worst.target} can be told from {shortcut.name} alone: AUROC {worst.held_out} by patient{moved}.",
        {"worst": worst.as_json(), "warning_from_lower_limit": shortcut.warn_from},
        shortcut.advice,
    )


def _floor(table: Sequence[Probed]) -> Finding:
    best = max(table, key=lambda one: (one.transported or one.held_out).value)
    measured = "test" if best.transported else "cross-validation"
    value = best.transported or best.held_out
    return Finding(
        "shortcut-floor",
        "info",
        f"A model has to beat AUROC {value} in {measured}: so well {best.shortcut} alone tells {best.target}.",
        {
            "best": {"probe": best.shortcut, **best.as_json()},
            "probes": [{"probe": one.shortcut, **one.as_json()} for one in table],
        },
        "A model is worth what it adds to this floor: report both.",
    )


def _dense(codes: Integers) -> Integers:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _ring(scan: Scan) -> Floats:
    inside = np.zeros(scan.thumbnails.shape[1:], dtype=bool)
    inside[1:-1, 1:-1] = True
    return _reduced(scan, scan.thumbnails[:, ~inside])


def _corners(scan: Scan) -> Floats:
    side = np.r_[0:5, 27:32]
    return _reduced(scan, scan.thumbnails[:, side[:, None], side[None, :]])


def _reduced(scan: Scan, pixels: npt.NDArray[np.uint8], most: int = 48) -> Floats:
    """Pixels, uint8 (films, …), as components of the films that may be learned from; labels play no part in them."""
    return components(pixel_rows(pixels), np.asarray(scan.split != "test"), most)


def _size(scan: Scan) -> Floats | None:
    height, width = np.log(scan.height), np.log(scan.width)
    return _varying(np.column_stack([height, width, width - height]))


def _file_bytes(scan: Scan) -> Floats | None:
    return _varying(np.log(np.maximum(scan.file_bytes, 1))[:, None])


def _intensity(scan: Scan) -> Floats:
    return curved(scan.grey)


def _varying(features: Floats) -> Floats | None:
    varies = features.std(axis=0) > 1e-9
    return curved(features[:, varies]) if varies.any() else None


def facts_beside(scan: Scan) -> dict[str, Column]:
    """What the file and the table say beside the pixels: a name for each column, and its cells as text (films,)."""
    columns = {
        "format": scan.kind.astype(object),
        "colour model": scan.model,
        "bits": np.array([str(bits) for bits in scan.bits], dtype=object),
    }
    for name in dict.fromkeys(name for record in scan.records for name in record.metadata):
        columns[name] = np.array([record.metadata.get(name, "") for record in scan.records], dtype=object)
    return columns


def _metadata(scan: Scan) -> Floats | None:
    encoded = [_encode(column) for column in facts_beside(scan).values()]
    joined = np.concatenate([np.zeros((len(scan), 0)), *encoded], axis=1)
    varies = joined.std(axis=0) > 0 if len(scan) else np.zeros(0, dtype=bool)
    return joined[:, varies] if varies.any() else None


def _encode(column: Column) -> Floats:
    """A text column as numbers: numeric cells as they are (missing: the median, with a flag), else one flag a value."""
    filled = column[column != ""]
    numbers = np.array([_number(cell) for cell in column])
    if filled.size and np.isfinite(numbers).sum() >= 0.9 * filled.size and len(set(filled)) > 2:
        missing = ~np.isfinite(numbers)
        median = float(np.median(numbers[~missing]))
        return np.column_stack([np.where(missing, median, numbers), missing])
    counts = Counter(str(cell) for cell in column)
    if len(counts) > 0.5 * len(column):
        return np.zeros((len(column), 0))  # a name for every film is no metadata
    return np.array(
        [[cell == value for value, _ in counts.most_common(_MOST_CATEGORIES)] for cell in column], dtype=float
    )


def _number(cell: object) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return float("nan")


_KEEP_THE_LUNGS = (
    "Crop or mask the outside of the lungs and test again; show heat maps; mix the sources within classes."
)

SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut("shortcut-border", "the outer 1/32 frame", 0.7, _KEEP_THE_LUNGS, _ring),
    Shortcut("shortcut-corners", "the four corners", 0.7, _KEEP_THE_LUNGS, _corners),
    Shortcut(
        "shortcut-size",
        "the size of the film in pixels",
        0.7,
        "Bring all films to one size with padding, not stretching, and ask why classes differ in size.",
        _size,
    ),
    Shortcut(
        "shortcut-file-bytes",
        "the file size",
        0.75,
        "Disease changes it a little; else ask whether the classes were encoded by other software or at other quality.",
        _file_bytes,
    ),
    Shortcut(
        "shortcut-intensity",
        "brightness and contrast",
        0.75,
        "Disease changes them a little; else ask whether the classes came from other machines; vary both in training.",
        _intensity,
    ),
    Shortcut(
        "shortcut-metadata",
        "what stands in the file and the table",
        0.7,
        "Compare like with like (age, view, machine), or report figures within these groups.",
        _metadata,
    ),
)
