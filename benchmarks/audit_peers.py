"""Who finds copies of films, who cries wolf, and how long it takes: the audit, cleanvision and imagehash side by side.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install cleanvision imagehash
    python benchmarks/audit_peers.py --peers /tmp/peers/bin/python [--real DATA]

Phantom patients with two films each, 128 pixels a side, of whose test films a share gets a copy in train for every
kind of change that `cxray.data.phantom_faults` knows. A pair that is reported is true when both films come from one
exposure. imagehash has no search of its own: its 64-bit pHash is used as its guide shows, at distance 0, 4 and 8;
cleanvision is used as it comes (`find_issues` for exact and near duplicates). With `--real`, all three also look at the
training films of a data set, of which only equal files are known to be copies. Each tool runs in a process of its own;
the time is that of the process, imports included.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.data.phantom_faults import FAULTS, plant
from cxray.rundir import file_sha256
from machine import facts

RESULTS = Path(__file__).parent / "results" / "audit_peers.csv"
COPIES = [name for name in FAULTS if name.startswith("copy-")]
SEED = 5

OURS = """
import json, sys
from pathlib import Path
from cxray.data.audit.duplicates import find_pairs
from cxray.data.audit.scan import scan_films
from cxray.data.intake import read_dataset
root = Path(sys.argv[1])
scan = scan_films(read_dataset(root), root)
print(json.dumps([[scan.name(p.first), scan.name(p.second)] for p in find_pairs(scan) if p.kind != "near"]))
"""
CLEANVISION = """
import contextlib, io, itertools, json, os, sys
with contextlib.redirect_stdout(io.StringIO()):
    from cleanvision import Imagelab
    lab = Imagelab(data_path=sys.argv[1])
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}})
pairs = set()
for kind in ("exact_duplicates", "near_duplicates"):
    for group in lab.info[kind]["sets"]:
        names = sorted(os.path.relpath(str(name), sys.argv[1]) for name in group)
        pairs |= set(itertools.combinations(names, 2))
print(json.dumps(sorted(pairs)))
"""
IMAGEHASH = """
import json, sys
from pathlib import Path
import imagehash, numpy as np
from PIL import Image
root, limit = Path(sys.argv[1]), int(sys.argv[2])
paths = sorted(path for path in root.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg"))
bits = []
for path in paths:
    with Image.open(path) as film:
        bits.append(imagehash.phash(film).hash.ravel())
bits = np.stack(bits).astype(np.float32)
names = [path.relative_to(root).as_posix() for path in paths]
pairs = []
for i in range(len(bits)):
    apart = np.abs(bits[i + 1 :] - bits[i]).sum(axis=1)
    pairs += [[names[i], names[i + 1 + int(j)]] for j in np.flatnonzero(apart <= limit)]
print(json.dumps(pairs))
"""


def tools(peers: str) -> dict[str, list[str]]:
    """Name to command, without the folder."""
    return {
        "cxray audit": [sys.executable, "-c", OURS],
        "cleanvision": [peers, "-c", CLEANVISION],
        "imagehash pHash, distance 0": [peers, "-c", IMAGEHASH],
        "imagehash pHash, distance 4": [peers, "-c", IMAGEHASH],
        "imagehash pHash, distance 8": [peers, "-c", IMAGEHASH],
    }


def run(command: list[str], folder: Path, name: str) -> tuple[set[frozenset[str]], float]:
    """The pairs that a tool reports, and its seconds."""
    limit = [name.rpartition(" ")[2]] if "distance" in name else []
    started = time.perf_counter()
    done = subprocess.run([*command, str(folder), *limit], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    return {frozenset(pair) for pair in json.loads(done.stdout.splitlines()[-1])}, seconds


def planted(folder: Path, patients: int, share: float) -> tuple[dict[str, str], dict[str, list[frozenset[str]]]]:
    """Film to exposure, and the planted pairs of each kind of copy."""
    write_phantom_folder(folder, PhantomPlan(size_px=128), patients, seed=SEED)
    origin = {path.relative_to(folder).as_posix(): "" for path in folder.glob("*/*/*.png")}
    origin = {name: name for name in origin}
    kinds: dict[str, list[frozenset[str]]] = {}
    for number, fault in enumerate(COPIES):
        found = plant(folder, fault, share, seed=number)
        kinds[fault] = []
        for film, source in zip(found.films, found.sources, strict=True):
            path = folder / film
            moved = path.rename(path.with_name(f"copied{number}-{path.name}"))
            name = moved.relative_to(folder).as_posix()
            origin[name] = source
            kinds[fault].append(frozenset((name, source)))
    for extra in ("truth.csv", "manifest.json"):
        (folder / extra).unlink(missing_ok=True)
    return origin, kinds


def compare(peers: str, folder: Path, patients: int, share: float) -> list[dict[str, Any]]:
    """Recall by kind of change, precision and time on the planted set."""
    origin, kinds = planted(folder, patients, share)
    rows = []
    for name, command in tools(peers).items():
        pairs, seconds = run(command, folder, name)
        true = {pair for pair in pairs if len({origin[film] for film in pair}) == 1}
        row = {"films": len(origin), "tool": name, "pairs": len(pairs), "true_pairs": len(true)}
        row["precision"] = f"{len(true) / len(pairs):.3f}" if pairs else ""
        for fault, wanted in kinds.items():
            row[f"recall_{fault.removeprefix('copy-')}"] = f"{sum(p in pairs for p in wanted) / len(wanted):.2f}"
        everything = [pair for wanted in kinds.values() for pair in wanted]
        row["recall"] = f"{sum(pair in pairs for pair in everything) / len(everything):.3f}"
        rows.append({"set": "planted phantoms", **row, "seconds": f"{seconds:.1f}"})
        print(rows[-1], flush=True)
    return rows


def compare_real(peers: str, folder: Path) -> list[dict[str, Any]]:
    """Pairs that are equal files and others, and time, on the training films of a real set."""
    digests = {path.relative_to(folder).as_posix(): file_sha256(path) for path in folder.glob("*/*") if path.is_file()}
    groups: dict[str, list[str]] = {}
    for name, digest in digests.items():
        groups.setdefault(digest, []).append(name)
    equal = {frozenset(pair) for names in groups.values() for pair in itertools.combinations(names, 2)}
    rows = []
    for name, command in tools(peers).items():
        pairs, seconds = run(command, folder, name)
        row = {"films": len(digests), "tool": name, "pairs": len(pairs), "true_pairs": len(pairs & equal)}
        row["precision"] = f"{len(pairs & equal) / len(pairs):.3f}" if pairs else ""
        row["recall"] = f"{len(pairs & equal) / len(equal):.3f}"
        rows.append({"set": "real training films, equal files", **row, "seconds": f"{seconds:.1f}"})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run all tools, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="Python that has cleanvision and imagehash")
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--share", type=float, default=0.2, help="of the test films, copied in each way")
    parser.add_argument("--real", type=Path, help="folder of class folders with real films")
    options = parser.parse_args()
    command = "import importlib.metadata as m; print(m.version('cleanvision'), m.version('imagehash'))"
    versions = subprocess.run([options.peers, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    with tempfile.TemporaryDirectory() as name:
        rows = compare(options.peers, Path(name) / "films", options.patients, options.share)
    if options.real:
        rows += compare_real(options.peers, options.real)
    known = {**facts(), "cleanvision": versions[0], "imagehash": versions[1]}
    names = list(dict.fromkeys(key for row in rows for key in row))
    with RESULTS.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*names, *known], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | known for row in rows)


if __name__ == "__main__":
    main()
