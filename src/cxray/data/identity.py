"""Who is one patient: from a column, DICOM tags, file names, else every film for itself — with the reading stated.

A family of grammars belongs to one source of films. The family that explains most names is used when it explains at
least nine in ten; its confidence says how well the reading is supported by evidence from that source.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cxray.data.dicom.patients import TaggedPatients
from cxray.records import ImageRecord

MINIMUM_COVERAGE = 0.9


@dataclasses.dataclass(frozen=True)
class Grammar:
    """One family of names.

    Each pattern is matched against the path in POSIX form; its named groups that start with `id` are joined with
    "-" to the patient.
    """

    family: str
    patterns: tuple[re.Pattern[str], ...]
    confidence: str
    reason: str


def _patterns(*texts: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(rf"(?:^|/){text}\.[A-Za-z0-9]+$", re.IGNORECASE) for text in texts)


GRAMMARS: tuple[Grammar, ...] = (
    Grammar(
        "kermany",
        _patterns(
            # Number and aetiology together: person12_virus and person12_bacteria are different children. Film counters
            # are disjoint and their films are no more alike than those of strangers; the bare number would merge them.
            r"(?P<id0>person\d+)_(?P<id1>virus|bacteria)_\d+(?:_\d+)?",
            # NORMAL2-IM-0095 and IM-0095 are different children, so the prefix stays; further numbers count films.
            r"(?P<id0>(?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?",
            # The same films as first published: class, a study number, a film counter.
            r"(?P<id0>(?:NORMAL|BACTERIA|VIRUS)-\d+)-\d+",
        ),
        "high",
        "number and aetiology (person12_virus), or the IM- series number with its prefix",
    ),
    Grammar(
        "nih",
        _patterns(r"(?P<id0>\d{8})_\d{3}"),
        "high",
        "ChestX-ray14: eight digits before the film counter",
    ),
    Grammar(
        "chexpert",
        _patterns(r"(?P<id0>patient\d{5})/study\d+/view\d+_[a-z]+"),
        "high",
        "CheXpert: the patient folder",
    ),
    Grammar("mimic", _patterns(r"(?P<id0>p\d{8})/s\d{8}/[0-9a-f-]+"), "high", "MIMIC-CXR: the patient folder"),
    Grammar("phantom", _patterns(r"(?P<id0>phantom-p\d+)-f\d+"), "high", "cxray's own synthetic films"),
    Grammar(
        "generic",
        # The last such word: what stands above the films, as in subject12_study/, names the study.
        _patterns(r"(?:.*/)?(?P<id0>(?:patient|pat|subject|sub|pid)[-_ ]?\d+)[-_ ].*"),
        "assumed",
        "a word such as patient or subject followed by a number",
    ),
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """How patients were told apart.

    `source`: "column", "dicom", a grammar family, or "none" (every film counts as a patient of its own). `confidence`:
    "given", "high", "assumed" or "none". `unmatched` counts films that the reading does not explain.
    """

    source: str
    confidence: str
    reason: str
    n_patients: int
    unmatched: int = 0


def assign_patients(
    records: Sequence[ImageRecord], tagged: TaggedPatients | None = None
) -> tuple[list[ImageRecord], Identity]:
    """Give every record a patient and say how; `tagged` are the patients that DICOM headers name.

    A record that already names a patient keeps it. A film that no reading explains becomes its own patient, called
    by its path, so that grouping never merges strangers by accident.
    """
    if any(record.patient for record in records):
        missing = sum(not record.patient for record in records)
        named = name_patients(records, None)
        return named, Identity("column", "given", "the patient column", _count(named), missing)
    if tagged and tagged.by_path:
        return _from_tags(records, tagged)
    vote = GrammarVote()
    vote.count(record.path for record in records)
    grammar = vote.winner()
    named = name_patients(records, grammar)
    unmatched = len(records) - (vote.explained[grammar.family] if grammar else 0)
    if grammar is None:
        return named, Identity("none", "none", "no patient column and no known file names", _count(named), unmatched)
    return named, Identity(grammar.family, grammar.confidence, grammar.reason, _count(named), unmatched)


def _from_tags(records: Sequence[ImageRecord], tagged: TaggedPatients) -> tuple[list[ImageRecord], Identity]:
    # Films of another kind beside them are read by their names, as they would be alone.
    rest = [record for record in records if record.path not in tagged.by_path]
    named_rest, reading = assign_patients(rest)
    others = {record.path: record.patient for record in named_rest}
    named = [dataclasses.replace(r, patient=tagged.by_path.get(r.path) or others[r.path]) for r in records]
    reason = "PatientID of the DICOM header, as a keyed hash"
    if tagged.by_study:
        reason += f"; for {tagged.by_study} films without a usable one, the study"
    confidence = "assumed" if tagged.by_study else "high"
    unmatched = reading.unmatched if reading.source != "none" else len(rest)
    return named, Identity("dicom", confidence, reason, _count(named), unmatched)


def read_patient(path: Path, grammar: Grammar) -> str | None:
    """The patient that `grammar` reads from `path`, or None where it does not apply. Case is folded."""
    text = path.as_posix()
    for pattern in grammar.patterns:
        found = pattern.search(text)
        if found:
            groups = found.groupdict()
            return "-".join(groups[name] for name in sorted(groups)).lower()
    return None


class GrammarVote:
    """Which family of names explains at least nine films in ten; films are counted as they pass by.

    `explained` maps a family to the number of films whose names it reads.
    """

    def __init__(self) -> None:
        self.films = 0
        self.explained = dict.fromkeys((grammar.family for grammar in GRAMMARS), 0)
        self._first: dict[str, str] = {}
        self._reads_one = dict.fromkeys(self.explained, True)

    def count(self, paths: Iterable[Path]) -> None:
        """Add films."""
        for path in paths:
            self.films += 1
            for grammar in GRAMMARS:
                patient = read_patient(path, grammar)
                if patient is not None:
                    self.explained[grammar.family] += 1
                    self._reads_one[grammar.family] &= self._first.setdefault(grammar.family, patient) == patient

    def winner(self) -> Grammar | None:
        """The first family, in the order of `GRAMMARS`, that explains enough; None when no family does."""
        enough = MINIMUM_COVERAGE * self.films
        fit = [g for g in GRAMMARS if self.films and self.explained[g.family] >= enough]
        # A word that names the same patient on every film is more likely the name of a folder above them.
        doubtful = {g.family for g in fit if g.confidence == "assumed" and self.films > 1 and self._reads_one[g.family]}
        return next((g for g in fit if g.family not in doubtful), None)


def name_patients(records: Iterable[ImageRecord], grammar: Grammar | None) -> list[ImageRecord]:
    """Records with a patient each: their own, the one that `grammar` reads, or the film alone."""
    return [
        record
        if record.patient
        else dataclasses.replace(
            record, patient=(grammar and read_patient(record.path, grammar)) or _alone(record.path)
        )
        for record in records
    ]


def _alone(path: Path) -> str:
    return f"film:{path.as_posix()}"


def _count(records: Sequence[ImageRecord]) -> int:
    return len({record.patient for record in records})
