"""What every benchmark needs: the facts that belong beside a measurement, and one way to write it down."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("numpy", "onnxruntime", "openvino", "keras", "tensorflow", "scikit-learn", "pillow")


def processor() -> str:
    """The processor's own name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit that is measured, with "+" when the tree differs from it."""
    run = ["git", "-C", str(Path(__file__).parent)]
    head = subprocess.run([*run, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
    dirty = subprocess.run([*run, "status", "--porcelain", "src"], capture_output=True, text=True, check=True)
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def facts() -> dict[str, str]:
    """One flat row: date, commit, processor, cores, Python and library versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **versions,
    }


def append_row(path: Path, row: dict[str, object]) -> None:
    """Add a row to a CSV of results; a new column is added to the rows before it as an empty cell."""
    rows: list[dict[str, object]] = []
    if path.exists():
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    rows.append(row)
    names = list(dict.fromkeys(name for entry in rows for name in entry))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
