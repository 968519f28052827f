"""How the audit's time and memory grow with the number of films.

    python benchmarks/audit_scale.py draw --folder /tmp/scale --films 30000
    python benchmarks/audit_scale.py measure --folder /tmp/scale --films 3000 10000 30000

Each film is a synthetic one of its own, 128 pixels a side, JPEG of quality 90, two to a patient, a quarter of the
patients in test. Each size is audited by a process of its own; `cpu_seconds` counts the processor time of all its
threads, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

from cxray.data.phantom import PhantomPlan, phantom_patients
from machine import facts

RESULTS = Path(__file__).parent / "results" / "audit_scale.csv"
SIDE, GROUP = 128, 250
MEASURED = """
import json, resource, sys, time
from pathlib import Path
started = time.perf_counter()
from cxray.data.audit.summary import check_all
from cxray.data.audit.scan import scan_films
from cxray.data.intake import read_dataset
folder = Path(sys.argv[1])
intake = read_dataset(folder)
scan = scan_films(intake, folder)
looked = time.perf_counter()
found, _ = check_all(scan, intake, seed=0)
ended = time.perf_counter()
used = resource.getrusage(resource.RUSAGE_SELF)
cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
print(json.dumps([looked - started, ended - looked, cpu, peak, sorted(f.code for f in found if f.severity != "info")]))
"""


def draw(folder: Path, films: int) -> None:
    """Write the films, whole groups of patients at a time; a group that is there is left alone."""
    groups = range(-(-films // (2 * GROUP)))
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw_group, [folder] * len(groups), groups))


def draw_group(folder: Path, group: int) -> None:
    """Write one group of patients."""
    if (folder / f".group-{group}").exists():
        return
    plan = PhantomPlan(size_px=SIDE, films_per_patient=2)
    for place, pictures in enumerate(phantom_patients(plan, GROUP, seed=7_000 + group)):
        patient = GROUP * group + place
        for number, film in enumerate(pictures):
            split = "test" if patient % 8 in (0, 1) else "train"
            path = folder / split / film.label / f"phantom-p{patient:06d}-f{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(film.as_bytes()).save(path, quality=90)
    (folder / f".group-{group}").touch()


def measure(folder: Path, films: int) -> dict[str, object]:
    """Audit the first films in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        for path in folder.glob("*/*/*.jpg"):
            patient, film = path.stem.removeprefix("phantom-p").split("-f")
            if int(patient) * 2 + int(film) < films:
                target = Path(name) / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, target)
        done = subprocess.run([sys.executable, "-c", MEASURED, name], capture_output=True, text=True, check=True)
    looking, checking, cpu, peak, loud = json.loads(done.stdout.splitlines()[-1])
    row = {"films": films, "seconds_looking": f"{looking:.1f}", "seconds_checking": f"{checking:.1f}"}
    row["seconds"] = f"{looking + checking:.1f}"
    return {**row, "cpu_seconds": f"{cpu:.1f}", "peak_mb": f"{peak:.0f}", "warnings": " ".join(loud)}


def main() -> None:
    """Draw, or measure and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["draw", "measure"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--films", type=int, nargs="+", required=True)
    options = parser.parse_args()
    if options.what == "draw":
        draw(options.folder, max(options.films))
        return
    known = facts()
    rows: list[dict[str, object]] = []
    for films in options.films:
        rows.append({**measure(options.folder, films), **known})
        print({name: rows[-1][name] for name in list(rows[-1])[:7]}, flush=True)
        with RESULTS.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
