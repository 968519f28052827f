"""How often the audit finds a planted fault, and how often it cries wolf on clean films.

    python benchmarks/audit_power.py --folder /tmp/stocks

What the table of results already holds is left out; delete it to measure anew.

A stock of 800 phantom patients (two films each, 128 pixels a side) is drawn once. For each seed 200 of its patients
are taken by chance, half of each class, a quarter of them for test, and laid out as a folder of links. On clean
folders the whole audit looks; else one fault of `cxray.data.phantom_faults` is planted at one dose, and the part of
the audit that looks for it is run. Wrong labels can be told only where the disease can be seen and learned, so for
them 600 patients come from a stock of difficulty 0. Shortcuts that are part of the exposure are drawn as a second
stock with `PhantomPlan.shortcut` at full strength, of which the dose is a share.

"Found" means that a finding with the right code and at least the wanted severity names what was planted: of copies,
moved patients and negatives at least nine of ten films, of foreign pictures and wrong labels at least half, else the
trait or the split.
"""

from __future__ import annotations

import argparse
import collections
import csv
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cxray.data.audit import audit, scan
from cxray.data.audit.duplicates import check_duplicates, find_pairs
from cxray.data.audit.files import check_files
from cxray.data.audit.findings import SEVERITIES, Finding
from cxray.data.audit.groups import check_groups
from cxray.data.audit.labels import check_labels
from cxray.data.audit.leaks import check_leaks
from cxray.data.audit.scan import Scan
from cxray.data.audit.shift import check_shift
from cxray.data.audit.shortcuts import check_shortcuts, targets_of
from cxray.data.intake import Intake, read_dataset
from cxray.data.phantom import DISEASED, NORMAL, PhantomPlan, write_phantom_folder
from cxray.data.phantom_faults import FAULTS, Planted, plant
from cxray.rundir import is_complete
from machine import facts

RESULTS = Path(__file__).parent / "results" / "audit_power.csv"
SIZE_PX, STOCK, PATIENTS, TEST_SHARE = 128, 800, 200, 0.25


@dataclasses.dataclass(frozen=True)
class Detector:
    """What has to be found: any of these codes, with at least this severity; `names` says by which films."""

    codes: tuple[str, ...]
    severity: str
    names: Callable[[Finding, Planted], bool]
    look: Callable[[Scan, Intake, int], list[Finding]]


def names_films(finding: Finding, planted: Planted) -> bool:
    """At least nine of ten planted films, or their sources, are named."""
    told = set(finding.files)
    named = sum(film in told for film in planted.films)
    return named >= 0.9 * len(planted.films)


def names_half(finding: Finding, planted: Planted) -> bool:
    """At least half of the planted films are named."""
    return len(set(finding.files) & set(planted.films)) >= 0.5 * len(planted.films)


def anything(finding: Finding, planted: Planted) -> bool:
    """The code says it all."""
    return True


def names_normal(finding: Finding, planted: Planted) -> bool:
    """The class that was shifted is called the worst."""
    return finding.evidence["worst"] == NORMAL


def look_at_copies(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part of the audit that finds copies."""
    return check_duplicates(scan, find_pairs(scan))


def look_at_shortcuts(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part that probes shortcuts."""
    return check_shortcuts(scan, targets_of(scan), seed)[0]


def look_at_labels(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part that lists films to be read again."""
    return check_labels(scan, targets_of(scan), seed)[0]


def look_at_leaks(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part that judges the division."""
    return check_leaks(scan, intake.identity)


def look_at_shift(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part that compares train with test."""
    return check_shift(scan, seed)


def look_at_groups(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part that looks for groups that lack a class."""
    return check_groups(scan, targets_of(scan), seed)[0]


def look_at_files(scan: Scan, intake: Intake, seed: int) -> list[Finding]:
    """The part that looks at single films."""
    return check_files(scan, intake)


COPY = Detector(("duplicate-across-splits",), "error", names_films, look_at_copies)
DETECTORS: dict[str, tuple[Detector, tuple[float, ...]]] = {
    "patient-overlap": (Detector(("patient-leak",), "error", names_films, look_at_leaks), (0.02, 0.1)),
    **{name: (COPY, (0.02,)) for name in FAULTS if name.startswith("copy-")},
    "marker": (
        Detector(("shortcut-corners", "shortcut-border"), "warning", anything, look_at_shortcuts),
        (0.4, 0.6, 0.8),
    ),
    "size": (Detector(("shortcut-size",), "warning", anything, look_at_shortcuts), (0.4, 0.6, 0.8)),
    "quality": (Detector(("shortcut-file-bytes",), "warning", anything, look_at_shortcuts), (0.4, 0.6, 0.8)),
    "shift": (Detector(("class-shift",), "warning", names_normal, look_at_shift), (0.08, 0.16, 0.24)),
    "label-flips": (Detector(("label-suspect",), "info", names_half, look_at_labels), (0.01, 0.03)),
    "tiny-validation": (Detector(("validation-too-small",), "warning", anything, look_at_leaks), (4, 8, 12)),
    "print": (Detector(("one-class-group",), "warning", names_films, look_at_groups), (0.3, 0.4, 0.5)),
    "inverted": (Detector(("inverted-film",), "warning", names_films, look_at_files), (0.01, 0.05)),
    "foreign": (Detector(("unusual-film", "colour-film"), "info", names_half, look_at_files), (0.01, 0.05)),
}
DRAWN = {
    "marker": ("shortcut-corners", "shortcut-border"),
    "border": ("shortcut-border",),
    "exposure": ("shortcut-intensity",),
    "noise": ("shortcut-file-bytes", "shortcut-intensity"),
    "text": ("shortcut-corners", "shortcut-border"),
}
DRAWN_DOSES = (0.5, 0.7, 0.9)
Row = tuple[str, str, str, int, int]


def remember_looks() -> None:
    """Look at each file once in this process: the same films come back in every round."""
    look, seen = scan._look, {}

    def remembered(record: Any) -> Any:
        digest = hashlib.sha256(record.path.read_bytes()).digest()
        if digest not in seen:
            seen[digest] = look(record)
        return seen[digest]

    scan._look = remembered


def stock(
    folder: Path, patients: int, seed: int, shortcut: str = "", difficulty: float = 0.4
) -> dict[str, list[list[Path]]]:
    """Films of each patient by class; drawn unless they are there already."""
    strength = 1.0 if shortcut else 0.0
    plan = PhantomPlan(size_px=SIZE_PX, difficulty=difficulty, shortcut=shortcut, shortcut_strength=strength)
    if not is_complete(folder):
        write_phantom_folder(folder, plan, patients, seed=seed, test_fraction=0)
    found: dict[str, dict[str, list[Path]]] = {NORMAL: {}, DISEASED: {}}
    for path in sorted(folder.glob("train/*/*.png")):
        found[path.parent.name].setdefault(path.stem.rpartition("-f")[0], []).append(path)
    return {label: list(films.values()) for label, films in found.items()}


def lay_out(folder: Path, films: dict[str, list[list[Path]]], seed: int, wanted: int = PATIENTS) -> Path:
    """A clean data set of that many patients drawn from the stock, as hard links."""
    rng = np.random.default_rng([seed, 7])
    for label, patients in films.items():
        chosen = rng.permutation(len(patients))[: wanted // 2]
        for place, index in enumerate(chosen):
            split = "test" if place < TEST_SHARE * len(chosen) else "train"
            target = folder / split / label
            target.mkdir(parents=True, exist_ok=True)
            for path in patients[index]:
                os.link(path, target / path.name)
    return folder


def found_in(folder: Path, detector: Detector, planted: Planted, seed: int) -> bool:
    """Whether the audit names the fault: its part that looks for it, on the folder as it lies."""
    intake = read_dataset(folder)
    findings = detector.look(scan.scan_films(intake, folder), intake, seed)
    limit = SEVERITIES.index(detector.severity)
    return any(
        finding.code in detector.codes
        and SEVERITIES.index(finding.severity) <= limit
        and detector.names(finding, planted)
        for finding in findings
    )


def clean_rounds(films: dict[str, list[list[Path]]], root: Path, seeds: int) -> Iterator[Row]:
    """False alarms: rounds with any warning or error, and what they were."""
    codes: collections.Counter[str] = collections.Counter()
    alarmed = 0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(dir=root) as name:
            result = audit(lay_out(Path(name), films, seed), seed=seed)
        loud = {finding.code for finding in result.findings if finding.severity != "info"}
        codes.update(loud)
        alarmed += bool(loud)
        if seed % 10 == 9 or seed == seeds - 1:
            yield "clean", "", "any warning or error", alarmed, seed + 1
    yield from (("clean", "", code, count, seeds) for code, count in sorted(codes.items()))


def fault_rounds(
    films: dict[str, list[list[Path]]], root: Path, seeds: int, faults: Sequence[str], patients: int = PATIENTS
) -> Iterator[Row]:
    """Power at each dose."""
    for fault in faults:
        detector, doses = DETECTORS[fault]
        for dose in doses:
            if is_measured(fault, f"{dose:g}", seeds):
                continue

            def one(seed: int, fault: str = fault, dose: float = dose, detector: Detector = detector) -> bool:
                with tempfile.TemporaryDirectory(dir=root) as name:
                    folder = lay_out(Path(name), films, seed, patients)
                    planted = plant(folder, fault, dose, seed=seed)
                    return found_in(folder, detector, planted, seed)

            with ThreadPoolExecutor(2) as pool:
                hits = sum(pool.map(one, range(seeds)))
            yield fault, f"{dose:g}", " or ".join(detector.codes), hits, seeds


def is_measured(fault: str, dose: str, seeds: int) -> bool:
    """Whether the table of results has this already, so that an interrupted benchmark goes on where it was."""
    if not RESULTS.exists():
        return False
    with RESULTS.open(newline="") as stream:
        return any((r["fault"], r["dose"], r["of"]) == (fault, dose, str(seeds)) for r in csv.DictReader(stream))


def drawn_rounds(root: Path, seeds: int) -> Iterator[Row]:
    """Power for shortcuts that phantoms are drawn with: each film from the stock with the shortcut by the dose."""
    plain = stock(root / "drawn-plain", PATIENTS + 50, seed=90_001)
    for shortcut, codes in DRAWN.items():
        marked = stock(root / f"drawn-{shortcut}", PATIENTS + 50, seed=90_001, shortcut=shortcut)
        for dose in DRAWN_DOSES:
            if is_measured(f"drawn {shortcut}", f"{dose:g}", seeds):
                continue
            hits = 0
            for seed in range(seeds):
                rng = np.random.default_rng([seed, 11])
                mixed = {
                    label: [
                        [there if rng.random() < dose else here for here, there in zip(one, other, strict=True)]
                        for one, other in zip(plain[label], marked[label], strict=True)
                    ]
                    for label in plain
                }
                with tempfile.TemporaryDirectory(dir=root) as name:
                    folder = lay_out(Path(name), mixed, seed)
                    hits += found_in(folder, Detector(codes, "warning", anything, look_at_shortcuts), Planted(()), seed)
            yield f"drawn {shortcut}", f"{dose:g}", " or ".join(codes), hits, seeds


def main() -> None:
    """Run everything, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--folder", type=Path, required=True, help="where the stocks are drawn, and kept")
    parser.add_argument("--only", default="", help="clean, drawn, or names of faults, with commas")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else ["clean", *DETECTORS, "drawn"]
    remember_looks()

    def note(found: Iterator[Row]) -> None:
        for row in found:
            print(f"{row[0]:<18}{row[1]:>6}  {row[2]:<44}{row[3]:>4} of {row[4]}", flush=True)
            store([row])

    root = options.folder
    root.mkdir(parents=True, exist_ok=True)
    films = stock(root / "stock", STOCK, seed=90_000)
    if "clean" in wanted:
        note(clean_rounds(films, root, options.seeds))
    plain = [fault for fault in wanted if fault in DETECTORS and fault != "label-flips"]
    note(fault_rounds(films, root, options.seeds, plain))
    if "label-flips" in wanted:
        visible = stock(root / "stock-large", 700, seed=90_003, difficulty=0.0)
        note(fault_rounds(visible, root, options.seeds, ["label-flips"], patients=600))
    if "drawn" in wanted:
        note(drawn_rounds(root, options.seeds))


def store(rows: Sequence[Row]) -> None:
    """Put the rows into the table of results; earlier ones of the same faults, doses and findings are replaced."""
    names = ("fault", "dose", "finding", "found", "of")
    kept: list[dict[str, Any]] = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as stream:
            new = {row[:3] for row in rows}
            kept = [r for r in csv.DictReader(stream) if (r["fault"], r["dose"], r["finding"]) not in new]
    known = facts()
    kept += [dict(zip(names, row, strict=True)) | known for row in rows]
    with RESULTS.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*names, *known], lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(kept, key=lambda row: (row["fault"] != "clean", row["fault"].startswith("drawn"))))


if __name__ == "__main__":
    main()
