"""The gate before training: an audit of the films for whatever would make the run's figures wrong.

Looked for are leaks (patients or copies of a film on two sides, as the films were given and as training divides them),
copies with contradicting labels, too many unreadable films, and shortcuts. An error stops the run unless its code was
accepted; what was accepted goes into the bundle and from there into every report.

Test films are opened here, and nowhere else before the bundle is closed, only to be recognised: their digests and the
small films by which copies are found are compared with those of the films to be learned from. They can take a film out
of training; they can never add or change one. Shortcuts are probed on training and validation films alone.
"""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray.config import Recipe
from cxray.data.audit.duplicates import Pair, check_duplicates, find_pairs, groups_of
from cxray.data.audit.files import check_unreadable
from cxray.data.audit.findings import Finding, count_of, visible
from cxray.data.audit.leaks import check_leaks, check_patients
from cxray.data.audit.scan import Scan, scan_films
from cxray.data.audit.shortcuts import check_shortcuts, targets_of
from cxray.data.intake import Intake
from cxray.data.split import Division
from cxray.errors import ConfigError, DataError
from cxray.tables import is_table

ACCEPTABLE = (
    "duplicate-across-splits",
    "duplicate-contradicting-labels",
    "patient-leak",
    "unreadable-film",
    "validation-duplicate",
    "validation-patient-leak",
)
"""Codes of the errors that can stop training, which are those that `--accept` takes."""

_SHOWN = 4
_RANK = {"train": 0, "validation": 1, "test": 2}


@dataclasses.dataclass(frozen=True)
class Passed:
    """What the gate let through: the division, without films that are copies of films that judge, and what the bundle
    and the run say about the audit (JSON values)."""

    division: Division
    facts: dict[str, Any]


def check_codes(codes: Sequence[str]) -> None:
    """Refuse codes that name no error of this gate.

    Raises:
        ConfigError: naming the nearest known code.
    """
    for code in codes:
        if code not in ACCEPTABLE:
            near = difflib.get_close_matches(code, ACCEPTABLE, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{code!r} is no error that training could accept.{hint}", f"Known codes: {', '.join(ACCEPTABLE)}."
            )


def pass_gate(intake: Intake, data: Path, division: Division, settings: Recipe) -> Passed:
    """Audit the films that are about to be trained on.

    Raises:
        DataError: there is an error that `settings.accept` does not name; the message says which, on which films.
    """
    started = time.monotonic()
    intake = _concerned(intake, division)
    given = scan_films(intake, data.parent if is_table(data) else data)
    used = _as_divided(given, division)
    pairs = find_pairs(given)
    found = _as_given(given, pairs, intake)
    if settings.split.unit == "film":
        found += _as_drawn(given, used, pairs, intake)
    errors = [finding for finding in found if finding.severity == "error"]
    _refuse([error for error in errors if error.code not in settings.accept], data)
    found += _shortcuts(used, settings.train.seed)
    kept = {"train", "validation"} if settings.split.unit == "film" else set()
    aside = [used.records[film].path for film in _copies_of_judges(used, pairs, kept)]
    facts = {
        "films": len(given),
        "accepted": [_risk(error) for error in errors],
        "warnings": [{"code": f.code, "title": f.title} for f in found if f.severity == "warning"],
        "copies_set_aside": len(aside),
        "seconds": round(time.monotonic() - started, 1),
    }
    return Passed(_without(division, set(aside), _sentences(facts)), facts)


def _concerned(intake: Intake, division: Division) -> Intake:
    """Without films that the run leaves unused, which can harm nobody and would cost the reading, unless their patient
    stands in two splits of the data as given."""
    splits: dict[str, set[str]] = {}
    for record in intake.records:
        splits.setdefault(record.patient, set()).add(record.split)
    used = {record.path for record in division.records if record.split}
    records = [record for record in intake.records if record.path in used or len(splits[record.patient]) > 1]
    return dataclasses.replace(intake, records=type(intake.records)(records))


def _as_divided(scan: Scan, division: Division) -> Scan:
    """The scan with the splits that training uses; "" marks films left unused."""
    split_of = {record.path: record.split for record in division.records}
    return scan.with_splits([split_of[record.path] for record in scan.records])


def _as_given(scan: Scan, pairs: Sequence[Pair], intake: Intake) -> list[Finding]:
    # An unreadable test film is no obstacle to training, which never scores it.
    unreadable = tuple(entry for entry in scan.unreadable if entry[0].split != "test")
    found = [check_unreadable(dataclasses.replace(scan, unreadable=unreadable))]
    found += [*check_leaks(scan, intake.identity), *check_duplicates(scan, pairs)]
    return [finding for finding in found if finding is not None]


def _as_drawn(given: Scan, used: Scan, pairs: Sequence[Pair], intake: Intake) -> list[Finding]:
    """What a validation split drawn film by film leaks; such a draw is a choice of the recipe, not of the data."""
    drawn = (given.split != "validation") & (used.split == "validation")
    if not drawn.any():
        return []
    between = np.flatnonzero((used.split == "train") | drawn)
    place = {int(film): position for position, film in enumerate(between)}
    inside = [
        dataclasses.replace(pair, first=place[pair.first], second=place[pair.second])
        for pair in pairs
        if pair.first in place and pair.second in place
    ]
    division = used.select(between)
    copies = [f for f in check_duplicates(division, inside) if f.code == "duplicate-across-splits"]
    patients = [finding for finding in [check_patients(division, intake.identity)] if finding is not None]
    advice = "Divide by patient (split.unit = patient), or read the validation figures as flattering."
    return [
        *(dataclasses.replace(f, code="validation-duplicate", severity="error", advice=advice) for f in copies),
        *(dataclasses.replace(f, code="validation-patient-leak", severity="error", advice=advice) for f in patients),
    ]


def _shortcuts(used: Scan, seed: int) -> list[Finding]:
    learned = used.select(np.flatnonzero((used.split == "train") | (used.split == "validation")))
    return check_shortcuts(learned, targets_of(learned), seed)[0]


def _copies_of_judges(used: Scan, pairs: Sequence[Pair], kept: set[str]) -> list[int]:
    """Films that must not be learned from because a copy of them judges; crossings between `kept` splits stay."""
    aside: list[int] = []
    # Groups and not pairs: of many copies of one film, each is paired with the first alone.
    for group in groups_of([pair for pair in pairs if pair.kind != "near"]):
        splits = {film: str(used.split[film]) for film in group if used.split[film]}
        judge = max(splits.values(), key=_RANK.__getitem__, default="")
        aside += [film for film, split in splits.items() if split != judge and {split, judge} != kept]
    return sorted(aside)


def _without(division: Division, aside: set[Path], notes: Sequence[str]) -> Division:
    records = tuple(dataclasses.replace(r, split="") if r.path in aside else r for r in division.records)
    return Division(records, (*division.notes, *notes))


def _sentences(facts: dict[str, Any]) -> list[str]:
    films, seconds = count_of(facts["films"], "film"), facts["seconds"]
    codes = ", ".join(row["code"] for row in facts["accepted"])
    result = f"errors that were accepted: {codes}" if codes else "no leak, nor another error"
    notes = [f"Audit before training, {films} in {seconds:g} s: {result}."]
    notes += [f"Accepted risk {row['code']}: {row['title']}" for row in facts["accepted"]]
    if facts["copies_set_aside"]:
        copies = count_of(facts["copies_set_aside"], "film")
        notes.append(f"{copies} set aside: copies of films of validation or test.")
    warned = ", ".join(row["code"] for row in facts["warnings"])
    return [*notes, f"The audit warns of {warned}; `cxray audit` shows them."] if warned else notes


def _risk(error: Finding) -> dict[str, Any]:
    return {"code": error.code, "title": error.title, "films": len(error.files), "examples": list(error.files[:_SHOWN])}


def _refuse(errors: Sequence[Finding], data: Path) -> None:
    if not errors:
        return
    told = "\n".join(_told(error) for error in errors)
    options = " ".join(f"--accept {error.code}" for error in errors)
    raise DataError(
        f"Training was refused: figures from {data} would be wrong.\n{told}",
        f"Mend the data; `cxray audit {data} --out audit` shows the films side by side. To train all the same, add "
        f"{options}: the bundle and every report will name the risk.",
    )


def _told(error: Finding) -> str:
    lines = [f"  {error.code}: {error.title}", *(f"    {name}" for name in error.files[:_SHOWN])]
    more = len(error.files) - _SHOWN
    lines += [f"    and {more:,} more"] if more > 0 else []
    return "\n".join(visible(line) for line in [*lines, f"    → {error.advice}"])
