"""Is the reading of "one patient" right? The films are asked.

Two films of one patient look more alike than films of two patients of the same kind. So every candidate reading is
put to the test: pairs that it calls one patient against control pairs in which the second film is replaced by another
of the same class, split and family of names. AUROC 0.5 means that the pairs are strangers; the reading merges
different people. Only pairs that the chosen reading does not already join say anything about a candidate.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cxray.data.audit.findings import Finding, count_of
from cxray.data.audit.names import cut_names, readings, stems
from cxray.data.audit.probes import Interval, auroc, components, patient_codes
from cxray.data.audit.scan import Integers, Scan, standard_rows
from cxray.data.identity import Identity

_MOST_PAIRS = 5000
_FEWEST_PAIRS = 30
# At least this clearly above chance before pairs count as the same person.
_SUPPORTED_FROM = 0.55


@dataclasses.dataclass(frozen=True)
class Reading:
    """One answer to "who is one patient", and what the films say.

    `pairs` are pairs of films that only this reading joins (for the chosen one: all pairs it joins). `alike` is the
    AUROC of their similarity against matched controls, None when there are too few; `expected` is the lower limit of
    the same figure for the chosen reading. `crossing` counts its patients with films in more than one split.
    """

    name: str
    patients: int
    pairs: int
    alike: Interval | None
    crossing: int
    expected: float = _SUPPORTED_FROM

    @property
    def verdict(self) -> str:
        """ "supported", "rejected" or "undecided".

        Rejected are pairs that are clearly less alike than films known to show one person.
        """
        if self.alike is None:
            return "undecided"
        if self.alike.low > _SUPPORTED_FROM:
            return "supported"
        return "rejected" if self.alike.high < max(self.expected, _SUPPORTED_FROM) else "undecided"

    def as_json(self) -> dict[str, object]:
        """For the evidence of a finding."""
        return {
            "reading": self.name,
            "verdict": self.verdict,
            "patients": self.patients,
            "pairs": self.pairs,
            "auroc_alike": None if self.alike is None else self.alike.as_json(),
            "patients_in_several_splits": self.crossing,
        }


def check_identity(scan: Scan, identity: Identity, seed: int) -> list[Finding]:
    """Which reading is used, what the films say about it, and which others were rejected."""
    if len(scan) < 2:
        return []
    chosen, others = weigh_readings(scan, seed)
    evidence = {
        "source": identity.source,
        "confidence": identity.confidence,
        "reason": identity.reason,
        "unmatched": identity.unmatched,
        "chosen": chosen.as_json(),
        "others": [reading.as_json() for reading in others],
    }
    findings = [Finding("patient-identity", "info", _say(identity, chosen, others), evidence, _ADVICE)]
    supported = [reading for reading in others if reading.verdict == "supported"]
    if supported and identity.source != "column":
        findings.append(_missed(supported[0], chosen))
    if chosen.verdict == "rejected":
        findings.append(_unlike(chosen, identity))
    return findings


def weigh_readings(scan: Scan, seed: int) -> tuple[Reading, list[Reading]]:
    """The chosen reading and every other that the file names offer, each with the evidence of the films."""
    similarity = _Similarity(scan, seed)
    chosen = np.asarray([str(name) for name in scan.patient], dtype=object)
    chosen_codes = patient_codes(chosen)
    first = similarity.weigh("the reading in use", chosen_codes, None)
    others: list[Reading] = []
    seen = [chosen_codes]
    for name, keys in readings([record.path for record in scan.records]).items():
        codes = _codes(keys)
        if any(_is_same(codes, known) for known in seen):
            continue
        seen.append(codes)
        reading = similarity.weigh(name, codes, chosen_codes)
        if reading.pairs:
            expected = first.alike.low if first.alike else _SUPPORTED_FROM
            others.append(dataclasses.replace(reading, expected=expected))
    return first, sorted(others, key=lambda reading: -(reading.alike.value if reading.alike else 0))


class _Similarity:
    """Cosine similarity of films after what all films share was taken away (mean film, common variation)."""

    def __init__(self, scan: Scan, seed: int) -> None:
        reduced = components(standard_rows(scan.thumbnails), np.ones(len(scan), dtype=bool))
        self._films = reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-9)
        self._scan = scan
        self._seed = seed
        self._stratum, self._members = _strata(scan)

    def weigh(self, name: str, codes: Integers, joined: Integers | None) -> Reading:
        rng = np.random.default_rng(self._seed)
        pairs = _pairs(codes, joined, rng)
        crossing = _crossing(codes, self._scan.split)
        alike = None
        if len(pairs) >= _FEWEST_PAIRS:
            controls = self._controls(pairs, codes, rng)
            usable = controls >= 0
            if usable.sum() >= _FEWEST_PAIRS:
                alike = self._alike(pairs[usable], controls[usable], codes)
        return Reading(name, len(np.unique(codes)), _count_pairs(codes, joined), alike, crossing)

    def _controls(self, pairs: Integers, codes: Integers, rng: np.random.Generator) -> Integers:
        """For the second film of each pair another of its stratum that is nobody's candidate; -1 when there is none."""
        controls = np.full(len(pairs), -1)
        for row, (first, second) in enumerate(pairs):
            members = self._members[self._stratum[second]]
            for drawn in rng.choice(members, size=8):
                if codes[drawn] not in (codes[first], codes[second]):
                    controls[row] = drawn
                    break
        return controls

    def _alike(self, pairs: Integers, controls: Integers, codes: Integers) -> Interval:
        films = self._films
        same = np.einsum("ij,ij->i", films[pairs[:, 0]], films[pairs[:, 1]])
        other = np.einsum("ij,ij->i", films[pairs[:, 0]], films[controls])
        is_same = np.repeat([True, False], len(pairs))
        owner = np.tile(np.unique(codes[pairs[:, 0]], return_inverse=True)[1], 2)
        return auroc(np.concatenate([same, other]), is_same, owner.astype(np.int64), self._seed)


def _strata(scan: Scan) -> tuple[list[tuple[str, ...]], dict[tuple[str, ...], Integers]]:
    families = [part.family for part in cut_names(stems([record.path for record in scan.records]))]
    keys = [
        (family, str(split), str(label)) for family, split, label in zip(families, scan.split, scan.label, strict=True)
    ]
    members: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        members[key].append(index)
    return list(keys), {key: np.array(rows) for key, rows in members.items()}


def _codes(keys: Sequence[str]) -> Integers:
    """Equal keys share a code; a film without a key is alone."""
    named = [key or f"\0{index}" for index, key in enumerate(keys)]
    return patient_codes(np.array(named, dtype=object))


def _is_same(first: Integers, second: Integers) -> bool:
    together = len(np.unique(first * (int(second.max()) + 1) + second))
    return together == len(np.unique(first)) == len(np.unique(second))


def _count_pairs(codes: Integers, joined: Integers | None) -> int:
    every = _pairs_within(np.bincount(codes))
    if joined is None:
        return every
    both = np.unique(codes * (int(joined.max()) + 1) + joined, return_counts=True)[1]
    return every - _pairs_within(both)


def _pairs_within(sizes: npt.NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _pairs(codes: Integers, joined: Integers | None, rng: np.random.Generator) -> Integers:
    """Up to `_MOST_PAIRS` pairs of films that `codes` joins and `joined` does not, shape (pairs, 2)."""
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    pairs: list[tuple[int, int]] = []
    for index in rng.permutation(len(groups)):
        members = groups[index][:40]
        pairs += [(a, b) for a, b in combinations(members, 2) if joined is None or joined[a] != joined[b]]
        if len(pairs) >= _MOST_PAIRS:
            break
    return np.array(pairs[:_MOST_PAIRS], dtype=np.int64).reshape(-1, 2)


def _crossing(codes: Integers, split: npt.NDArray[np.object_]) -> int:
    splits = np.unique(split.astype(str), return_inverse=True)[1]
    owners = np.unique(np.column_stack([codes, splits]), axis=0)[:, 0]
    return int((np.bincount(owners) > 1).sum())


_ADVICE = "If you know better, give a table with a 'patient' column; it always wins over file names."


def _say(identity: Identity, chosen: Reading, others: Sequence[Reading]) -> str:
    films = f"{count_of(chosen.patients, 'patient')} by {identity.reason} (confidence: {identity.confidence}"
    text = f"{films}; films of one patient are {_alike(chosen)})."
    rejected = [reading for reading in others if reading.verdict == "rejected"]
    if rejected:
        worst = max(rejected, key=lambda reading: reading.pairs)
        text += (
            f" Rejected: {worst.name} ({count_of(worst.patients, 'patient')}), whose further pairs are {_alike(worst)}."
        )
    return text


def _alike(reading: Reading) -> str:
    if reading.alike is None:
        return "too few to compare"
    if reading.verdict == "supported":
        return f"more alike than strangers, AUROC {reading.alike.value:.2f}"
    kind = "no more alike than strangers" if reading.verdict == "rejected" else "hardly more alike than strangers"
    return f"{kind}, AUROC {reading.alike.value:.2f}"


def _missed(reading: Reading, chosen: Reading) -> Finding:
    return Finding(
        "patient-identity-missed",
        "warning",
        f"File names seem to hold patients that are not used: {reading.name} joins {reading.pairs:,} further pairs of "
        f"films, and they are {_alike(reading)}.",
        {"candidate": reading.as_json(), "chosen": chosen.as_json()},
        "Check whether these names number patients; if so, give a table with a 'patient' column, so that no patient "
        "stands in two splits.",
    )


def _unlike(chosen: Reading, identity: Identity) -> Finding:
    return Finding(
        "patient-identity-doubtful",
        "warning",
        f"Films said to show one patient (by {identity.reason}) are {_alike(chosen)}.",
        {"chosen": chosen.as_json()},
        "Check the patient column or the reading of the names; it may join different people.",
    )
