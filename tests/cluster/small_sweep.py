"""`cxray cluster sweep` and `cluster train` made small, and the process that is at work on a trial.

For tests and for `benchmarks/cluster_sweep.py`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

SETTINGS = (
    "input.height=32", "input.width=32", "train.epochs=2", "train.batch_size=16", "split.validation_fraction=0.3",
    "split.minimum_validation_films=5", "decision.stress=false",
)  # fmt: skip


def command(kind: str, films: Path, out: Path, address: str, *options: str) -> list[str]:
    """The command line; `kind` is "sweep" or "train"."""
    settings = [f"--set={setting}" for setting in SETTINGS]
    start = [sys.executable, "-m", "cxray", "cluster", kind, str(films), "--out", str(out), "--recipe", "demo"]
    return [*start, *settings, "--address", address, *options]


def somebody_at_work(out: Path, sweep: subprocess.Popen[bytes]) -> int:
    """The process that trains a trial whose first epoch is stored."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and sweep.poll() is None:
        for state in out.glob("trials/*/run/checkpoint/state.npz"):
            lock = state.parents[2] / ".lock"
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if any(fd.resolve() == lock.resolve() for fd in (process / "fd").iterdir()):
                        return int(process.name)
                except OSError:
                    continue
        time.sleep(0.1)
    raise AssertionError("no trial was caught at work")
