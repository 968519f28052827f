"""How often the audit finds a planted fault, and how often it cries wolf on clean films.

    python benchmarks/audit_power.py --seeds 40 --pools 2

Pools of phantom patients are drawn once, clean and with each shortcut at full strength. Every run divides a pool anew
into train and test; a shortcut of dose p takes each film from the shortcut's pool with probability p, which is what
phantoms of that strength are. Copies are re-encoded films put into the other split; imagehash's 64-bit pHash looks at
the same films.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageOps

from cxray.data.audit.duplicates import find_pairs
from cxray.data.audit.scan import Scan, scan_films
from cxray.data.audit.shift import check_shift
from cxray.data.audit.shortcuts import check_shortcuts, targets_of
from cxray.data.audit.summary import check_all
from cxray.data.intake import Intake, read_dataset
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from machine import facts

RESULTS = Path(__file__).parent / "results" / "audit_power.csv"
SIZE_PX, PATIENTS = 128, 200
DOSES = (0.5, 0.7, 0.9)
EXPECTED = {
    "marker": {"shortcut-corners", "shortcut-border"},
    "border": {"shortcut-border"},
    "exposure": {"shortcut-intensity"},
    "noise": {"shortcut-file-bytes", "shortcut-intensity"},
    "text": {"shortcut-corners", "shortcut-border"},
}
Row = tuple[str, str, int, int]


def pool(folder: Path, seed: int, shortcut: str = "") -> tuple[Intake, Scan]:
    """One pool of phantoms, drawn and scanned."""
    plan = PhantomPlan(size_px=SIZE_PX, shortcut=shortcut, shortcut_strength=1.0 if shortcut else 0.0)
    target = write_phantom_folder(folder / f"{shortcut or 'clean'}-{seed}", plan, PATIENTS, seed=seed)
    intake = read_dataset(target)
    return intake, scan_films(intake, target)


def divided(scan: Scan, seed: int, test_share: float = 0.25) -> Scan:
    """The same films with patients divided anew within each class."""
    rng = np.random.default_rng(seed)
    test: set[str] = set()
    for label in sorted(set(scan.label)):
        patients = sorted(set(scan.patient[scan.label == label]))
        test |= set(rng.permutation(patients)[: round(test_share * len(patients))])
    return with_split(
        scan, np.array(["test" if patient in test else "train" for patient in scan.patient], dtype=object)
    )


def with_split(scan: Scan, split: np.ndarray) -> Scan:
    """The scan with another division."""
    records = tuple(dataclasses.replace(record, split=part) for record, part in zip(scan.records, split, strict=True))
    return dataclasses.replace(scan, records=records, split=split)


def mixed(clean: Scan, planted: Scan, dose: float, seed: int) -> Scan:
    """Each film from `planted` with probability `dose`, else from `clean`; both hold the same films in one order."""
    chosen = np.random.default_rng([seed, 1]).random(len(clean)) < dose
    columns = {}
    for field in dataclasses.fields(Scan):
        value = getattr(clean, field.name)
        if isinstance(value, np.ndarray):
            shape = (-1,) + (1,) * (value.ndim - 1)
            columns[field.name] = np.where(chosen.reshape(shape), getattr(planted, field.name), value)
    return dataclasses.replace(clean, **columns)


def in_order(scan: Scan) -> Scan:
    """The scan sorted by film name, so that pools with other divisions can be mixed."""
    order = np.argsort([record.path.name for record in scan.records])
    arrays = {
        f.name: getattr(scan, f.name)[order]
        for f in dataclasses.fields(Scan)
        if isinstance(getattr(scan, f.name), np.ndarray)
    }
    return dataclasses.replace(scan, records=tuple(scan.records[i] for i in order), **arrays)


def clean_runs(pools: list[tuple[Intake, Scan]], seeds: int) -> Iterator[Row]:
    """False alarms: runs with any warning, and how often each code raised one."""
    codes: Counter[str] = Counter()
    alarmed = 0
    for seed in range(seeds):
        intake, scan = pools[seed % len(pools)]
        found, _ = check_all(divided(scan, seed), intake, seed=seed)
        loud = {finding.code for finding in found if finding.severity != "info"}
        codes.update(loud)
        alarmed += bool(loud)
    yield "false alarm", "any warning or error", alarmed, seeds
    yield from (("false alarm", code, count, seeds) for code, count in sorted(codes.items()))


def shortcut_runs(clean: list[Scan], folder: Path, seeds: int) -> Iterator[Row]:
    """Power: the right code as a warning."""
    for shortcut, wanted in EXPECTED.items():
        planted = [in_order(pool(folder, seed, shortcut)[1]) for seed in range(len(clean))]
        for dose in DOSES:
            hits = 0
            for seed in range(seeds):
                which = seed % len(clean)
                scan = divided(mixed(clean[which], planted[which], dose, seed), seed)
                found, _ = check_shortcuts(scan, targets_of(scan), seed)
                hits += any(one.code in wanted and one.severity == "warning" for one in found)
            yield f"shortcut {shortcut}", f"dose {dose:g}", hits, seeds


def shift_runs(clean: list[Scan], seeds: int) -> Iterator[Row]:
    """Power: normal test films shown brighter by a share of white."""
    for dose in (0.04, 0.08, 0.16):
        hits = 0
        for seed in range(seeds):
            scan = divided(clean[seed % len(clean)], seed)
            thumbnails = scan.thumbnails.astype(np.int64)
            thumbnails[(scan.split == "test") & (scan.label == "NORMAL")] += round(255 * dose)
            scan = dataclasses.replace(scan, thumbnails=np.clip(thumbnails, 0, 255).astype(np.uint8))
            found = {one.code: one for one in check_shift(scan, seed)}
            hits += "class-shift" in found and found["class-shift"].evidence["worst"] == "NORMAL"
        yield "shift of NORMAL", f"brighter by {dose:g}", hits, seeds


def as_jpeg(film: Image.Image, quality: int) -> Image.Image:
    """The film as JPEG of that quality gives it back."""
    stream = io.BytesIO()
    film.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 75": lambda film: as_jpeg(film, 75),
    "JPEG quality 30": lambda film: as_jpeg(film, 30),
    "half the size": lambda film: film.resize((SIZE_PX // 2, SIZE_PX // 2)),
    "three quarters of the size, JPEG 75": lambda film: as_jpeg(film.resize((SIZE_PX * 3 // 4, SIZE_PX * 3 // 4)), 75),
    "mirrored": ImageOps.mirror,
    "gamma 1.3": lambda film: film.point(lambda grey: 255 * (grey / 255) ** 1.3),
    "cropped by 2 %": lambda film: ImageOps.crop(film, SIZE_PX // 50),
    "turned by 2 degrees": lambda film: film.rotate(2),
}


def duplicate_runs(intake: Intake, root: Path, copies: int) -> Iterator[Row]:
    """Recall of planted copies by kind of change, and false pairs, for the audit and for imagehash's pHash."""
    rng = np.random.default_rng(0)
    films = [record.path for record in intake.records if record.split == "train"]
    origin: dict[str, tuple[str, str]] = {}
    for change, how in CHANGES.items():
        for number, index in enumerate(rng.choice(len(films), copies, replace=False)):
            target = root / "test" / films[index].parent.name / f"copy{len(origin):03d}-{number}.png"
            with Image.open(films[index]) as film:
                how(film).save(target)
            origin[target.name] = (films[index].name, change)
    scan = scan_films(read_dataset(root), root)
    names = [record.path.name for record in scan.records]
    ours = {frozenset((names[pair.first], names[pair.second])) for pair in find_pairs(scan)}
    yield from _recall("audit", ours, origin, copies)
    hashes = [imagehash.phash(Image.open(record.path)).hash.ravel() for record in scan.records]
    for distance in (4, 8):
        bits = np.stack(hashes).astype(np.int64)
        apart = (bits[:, None] != bits[None]).sum(axis=2)
        near = {frozenset((names[i], names[j])) for i, j in np.argwhere(np.triu(apart <= distance, 1))}
        yield from _recall(f"pHash, distance {distance}", near, origin, copies)


def _recall(method: str, pairs: set[frozenset[str]], origin: dict[str, tuple[str, str]], copies: int) -> Iterator[Row]:
    for change in CHANGES:
        hits = sum(frozenset((copy, film)) in pairs for copy, (film, kind) in origin.items() if kind == change)
        yield f"copies, {method}", change, hits, copies
    # Two copies of one film are a true pair as well.
    source = {name: film for name, (film, _) in origin.items()}
    false = sum(len({source.get(name, name) for name in pair}) == 2 for pair in pairs)
    yield f"copies, {method}", "false pairs among all pairs found", false, len(pairs)


def main() -> None:
    """Run everything, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--pools", type=int, default=2)
    options = parser.parse_args()
    rows: list[Row] = []

    def note(found: Iterator[Row]) -> None:
        for row in found:
            print(f"{row[0]:<28}{row[1]:<40}{row[2]:>6} of {row[3]}", flush=True)
            rows.append(row)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pools = [pool(folder, seed) for seed in range(options.pools)]
        clean = [in_order(scan) for _, scan in pools]
        note(clean_runs(pools, options.seeds))
        note(shift_runs(clean, options.seeds))
        note(duplicate_runs(pools[0][0], folder / "clean-0", 20))
        note(shortcut_runs(clean, folder, options.seeds))
    RESULTS.parent.mkdir(exist_ok=True)
    known = facts()
    with RESULTS.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["what", "dose", "found", "of", *known])
        writer.writerows([*row, *known.values()] for row in rows)


if __name__ == "__main__":
    main()
