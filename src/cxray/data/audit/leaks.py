"""How the films were divided: patients on two sides, a validation split that says nothing, blocks, not samples."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from cxray.config import SplitSettings
from cxray.data.audit.findings import Finding, count_of, percent
from cxray.data.audit.names import NameParts, cut_names
from cxray.data.audit.probes import patient_codes
from cxray.data.audit.scan import Scan, relative_name
from cxray.data.identity import Identity
from cxray.data.split import validation_films_wanted

_Z95 = 1.959964
_HELD_OUT = 0.15
# A block is a matter of course in a handful of patients; these two keep random splits from being called blocks.
_FEWEST_PATIENTS = 40
_BLOCK_Z = 5.0
_BLOCK_RUNS = 0.5


def check_leaks(scan: Scan, identity: Identity) -> list[Finding]:
    """All findings about the division into splits."""
    found = [
        _counts(scan),
        check_patients(scan, identity),
        _siblings(scan),
        _validation_too_small(scan),
        _test_too_small(scan),
        _contiguous(scan, identity),
    ]
    return [finding for finding in found if finding is not None]


def classes_of(scan: Scan) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Class or finding to bool (films,): which films have it."""
    if scan.is_multi_label:
        return {
            name: np.array([record.findings.get(name) is True for record in scan.records], dtype=bool)
            for name in scan.classes
        }
    return {name: np.asarray(scan.label == name) for name in scan.classes}


def _counts(scan: Scan) -> Finding:
    members = classes_of(scan)
    table: dict[str, Any] = {}
    for split in scan.splits():
        inside = scan.split == split
        row = {name: _films_and_patients(scan, inside & member) for name, member in members.items()}
        table[split or "all"] = {**_films_and_patients(scan, inside), "classes": row}
    told = "; ".join(f"{split} {row['films']:,} films of {row['patients']:,} patients" for split, row in table.items())
    largest = max((int(size) for size in np.bincount(patient_codes(scan.patient))), default=0) if len(scan) else 0
    return Finding(
        "counts",
        "info",
        f"{told}; at most {count_of(largest, 'film')} of one patient.",
        {"splits": table, "most_films_of_one_patient": largest, "always_most_frequent_class": _baseline(table)},
        "Report patients beside films: films of one patient are not independent.",
    )


def _films_and_patients(scan: Scan, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    return {"films": int(chosen.sum()), "patients": len(set(scan.patient[chosen]))}


def _baseline(table: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy of always naming the most frequent class, per split."""
    return {
        split: max((one["films"] for one in row["classes"].values()), default=0) / max(row["films"], 1)
        for split, row in table.items()
    }


def check_patients(scan: Scan, identity: Identity) -> Finding | None:
    """Patients with films in more than one split."""
    splits: dict[str, set[str]] = defaultdict(set)
    for patient, split in zip(scan.patient, scan.split, strict=True):
        if split:
            splits[str(patient)].add(str(split))
    leaking = {patient: tuple(sorted(found)) for patient, found in splits.items() if len(found) > 1}
    if not leaking:
        return None
    films = [index for index, patient in enumerate(scan.patient) if patient in leaking]
    crossings: dict[str, int] = defaultdict(int)
    for found in leaking.values():
        crossings[" and ".join(found)] += 1
    told = ", ".join(f"{number:,} in {pair}" for pair, number in sorted(crossings.items()))
    sealed = {str(p) for p in scan.patient[scan.split == "test"]}
    tested = int(sum(scan.split[i] == "test" for i in films))
    return Finding(
        "patient-leak",
        # A reading of names that is only assumed cannot prove a leak.
        "warning" if identity.confidence == "assumed" else "error",
        f"{count_of(len(leaking), 'patient')} have films in more than one split ({told}).",
        {
            "patients": len(leaking),
            "crossings": dict(crossings),
            "films": len(films),
            "test_films_concerned": tested,
            "share_of_test_patients": len(sealed & set(leaking)) / len(sealed) if sealed else None,
            "examples": sorted(leaking)[:20],
        },
        "Move all films of a patient to one side; train sets such films aside, but a test that was seen stays seen.",
        scan.names(films),
    )


def _siblings(scan: Scan) -> Finding | None:
    """What a film-by-film split of the training films would leak: expected, without drawing one."""
    learned = scan.split != "test"
    sizes = np.bincount(patient_codes(scan.patient[learned])) if learned.any() else np.zeros(0, dtype=np.int64)
    if not (sizes > 1).any():
        return None
    # A held-out film has a sibling in train unless all its siblings are held out too.
    share = float((sizes * (1 - _HELD_OUT ** (sizes - 1.0))).sum() / sizes.sum())
    return Finding(
        "sibling-films",
        "info",
        f"If the training films were divided film by film, {percent(share)} of the held-out films would have a film of "
        "the same patient in train.",
        {"held_out_share": _HELD_OUT, "films_with_sibling_in_train": share, "largest_patient": int(sizes.max())},
        "Divide by patient, as cxray does.",
    )


def _smallest_class(scan: Scan, split: str) -> tuple[str, int]:
    inside = scan.split == split
    counts = {name: int((inside & member).sum()) for name, member in classes_of(scan).items()}
    name = min(counts, key=lambda one: counts[one])
    return name, counts[name]


def _validation_too_small(scan: Scan) -> Finding | None:
    given = int((scan.split == "validation").sum())
    if not given:
        return None
    name, films = _smallest_class(scan, "validation")
    needed = SplitSettings().minimum_validation_films
    if films >= needed:
        return None
    # Wilson's lower limit when all are right: n / (n + z²).
    lower = given / (given + _Z95**2)
    return Finding(
        "validation-too-small",
        "warning",
        f"The validation split has {count_of(given, 'film')}, {films} of them {name}: even if all were right, accuracy "
        f"could be as low as {percent(lower)}.",
        {
            "films": given,
            "smallest_class": name,
            "films_of_it": films,
            "needed": needed,
            "wilson_lower_limit_all_right": lower,
            "points_per_film": 100 / given,
        },
        "Draw a new validation split from train, patient by patient; train does so by itself."
        if _is_redrawn(scan)
        else "Add films. Train keeps this split, because a drawn one would be no larger: read its figures with their "
        "intervals.",
        tuple(relative_name(r.path, scan.root) for r in scan.records if r.split == "validation"),
    )


def _is_redrawn(scan: Scan) -> bool:
    """Whether training draws a validation split in place of the given one."""
    given, learned = scan.split == "validation", scan.split != "test"
    return any(
        int((given & member).sum()) < validation_films_wanted(int((learned & member).sum()), SplitSettings())
        for member in classes_of(scan).values()
    )


def _test_too_small(scan: Scan) -> Finding | None:
    if not (scan.split == "test").any():
        return None
    name, films = _smallest_class(scan, "test")
    if films >= 50:
        return None
    half_width = _Z95 * (0.09 / max(films, 1)) ** 0.5  # at a rate of 90 %
    return Finding(
        "test-too-small",
        "info",
        f"The test split has {count_of(films, 'film')} of {name}: a rate of 90 % among them is known to about "
        f"± {min(half_width, 1) * 100:.0f} points only.",
        {"smallest_class": name, "films_of_it": films, "half_width_at_90_percent": half_width},
        "Add test patients of this class, and always quote intervals.",
    )


@dataclasses.dataclass(frozen=True)
class _Line:
    """Patients of one family of names in the order of their numbers, and who of them is held out."""

    family: str
    numbers: tuple[int, ...]
    held_out: tuple[bool, ...]

    @property
    def runs(self) -> int:
        return 1 + sum(a != b for a, b in zip(self.held_out, self.held_out[1:], strict=False))

    def expectation(self) -> tuple[float, float]:
        """Mean and variance of the number of runs in a random order (Wald & Wolfowitz 1940)."""
        all_of, out = len(self.held_out), sum(self.held_out)
        product = 2.0 * out * (all_of - out)
        return product / all_of + 1, product * (product - all_of) / (all_of**2 * (all_of - 1.0))

    def as_json(self) -> dict[str, Any]:
        out = [number for number, is_out in zip(self.numbers, self.held_out, strict=True) if is_out]
        rest = [number for number, is_out in zip(self.numbers, self.held_out, strict=True) if not is_out]
        expected = self.expectation()[0]
        return {
            "names": self.family,
            "patients": len(self.numbers),
            "held_out_numbers": [min(out), max(out)],
            "other_numbers": [min(rest), max(rest)],
            "runs": self.runs,
            "runs_expected_at_random": expected,
        }


def _contiguous(scan: Scan, identity: Identity) -> Finding | None:
    held_out = "test" if "test" in scan.split else "validation"
    lines = _numbered_lines(scan, identity, held_out)
    if not lines or sum(len(line.numbers) for line in lines) < _FEWEST_PATIENTS:
        return None
    runs = sum(line.runs for line in lines)
    moments = [line.expectation() for line in lines]
    expected, variance = sum(m for m, _ in moments), sum(v for _, v in moments)
    z = (expected - runs) / max(variance, 1e-9) ** 0.5
    if z < _BLOCK_Z or runs > _BLOCK_RUNS * expected:
        return None
    return Finding(
        "contiguous-split",
        "warning",
        f"The {held_out} split is a block of consecutive patient numbers, not a random sample: {runs} runs, where "
        f"a random draw would give about {expected:.0f}.",
        {
            "split": held_out,
            "runs": runs,
            "runs_expected_at_random": expected,
            "z": z,
            "families": [line.as_json() for line in sorted(lines, key=lambda line: -len(line.numbers))],
        },
        "Call it a test on another batch (another time, another scanner), and expect figures to differ.",
    )


def _numbered_lines(scan: Scan, identity: Identity, held_out: str) -> list[_Line]:
    """Families of names that have numbered patients on both sides."""
    first = np.unique(scan.patient.astype(str), return_index=True)[1]
    texts = [_numbered_text(scan, int(index), identity) for index in first]
    families: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for index, parts in zip(first, cut_names(texts), strict=True):
        if parts.number is not None:
            families[_family(parts)].append((parts.number, bool(scan.split[index] == held_out)))
    lines = []
    for family, patients in families.items():
        patients.sort()
        numbers, flags = zip(*patients, strict=True)
        if len(set(flags)) == 2 and len(set(numbers)) > 0.5 * len(numbers):
            lines.append(_Line(family, numbers, flags))
    return lines


def _numbered_text(scan: Scan, index: int, identity: Identity) -> str:
    if identity.source == "column":
        return str(scan.patient[index])
    return scan.records[index].path.stem


def _family(parts: NameParts) -> str:
    return parts.family or "numbers"
