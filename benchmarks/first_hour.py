"""From an empty machine to the first report: the first of the README's two commands on a fresh clone, timed.

    python benchmarks/first_hour.py                  # adds a row to results/first_hour.csv
    python benchmarks/first_hour.py --quiet          # says that nothing else ran, so that the seconds count
    python benchmarks/first_hour.py --try            # the same, only printed

Nothing is at hand beforehand but git, Python with pip, and a network: the clone is new, pip's cache is an empty
folder, and so are the caches of cxray and Keras. All seconds are wall time; downloads are part of `install`.
Needs 5 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from machine import append_row, facts

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "first_hour.csv"
# What the demo says when a station begins, as "2/5 Auditing the films."
STATIONS = ("draw", "audit", "train", "predict", "judge")
BAR_SECONDS = 300


def empty_machine(scratch: Path, python: str) -> dict[str, str]:
    """An environment in which every cache is an empty folder and no virtual environment is active."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    path = [folder for folder in kept["PATH"].split(":") if folder != f"{os.environ.get('VIRTUAL_ENV')}/bin"]
    caches = {"PIP_CACHE_DIR": "pip", "CXRAY_CACHE": "films", "CXRAY_STATE": "state", "KERAS_HOME": "keras"}
    empty = {name: str(scratch / "caches" / folder) for name, folder in caches.items()}
    return {**kept, **empty, "PATH": ":".join(path), "PYTHON": python}


def timed(words: list[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Wall seconds of one command; a failure raises."""
    started = time.monotonic()
    subprocess.run(words, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def demo(clone: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Wall seconds of each station of `sh scripts/demo`, and of what comes before the first."""
    marks = [("start", time.monotonic())]
    command = ["sh", "scripts/demo"]
    with subprocess.Popen(
        command, cwd=clone, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        for line in running.stdout or ():
            station = re.match(r"([1-5])/5 ", line)
            if station:
                marks.append((STATIONS[int(station.group(1)) - 1], time.monotonic()))
    marks.append(("end", time.monotonic()))
    if running.returncode or not (clone / "demo-run" / "judged" / "report.html").is_file():
        raise SystemExit(f"sh scripts/demo ended with {running.returncode} and left no report.")
    return {name: after - began for (name, began), (_, after) in itertools.pairwise(marks)}


def first_report(scratch: Path, python: str) -> dict[str, object]:
    """One row: seconds of every step and of all, packages and megabytes that were installed."""
    environment, clone = empty_machine(scratch, python), scratch / "cxray"
    seconds = {"clone": timed(["git", "clone", "--quiet", str(ROOT), str(clone)], scratch, environment)}
    seconds["install"] = timed(["sh", "scripts/setup", "train", "serve"], clone, environment)
    seconds |= demo(clone, environment)
    files = [path for path in (clone / ".venv").rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        **{f"{name}_seconds": round(value, 1) for name, value in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 1),
        "bar_seconds": BAR_SECONDS,
        "packages": len(list((clone / ".venv").glob("lib/python*/site-packages/*.dist-info"))),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6),
    }


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="python3", help="The Python of the empty machine.")
    parser.add_argument("--quiet", action="store_true", help="Say that nothing else ran, so that wall time counts.")
    parser.add_argument("--try", dest="is_tried", action="store_true", help="Print the row and keep nothing.")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="first-hour-"))
    try:
        row = first_report(scratch, options.python)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(row)
    if not options.is_tried:
        append_row(RESULTS, {**facts(), **row, "machine_to_itself": options.quiet})


if __name__ == "__main__":
    main()
