"""The facts that belong beside every measurement: machine, versions, commit."""

from __future__ import annotations

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
