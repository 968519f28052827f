"""Sweeps of six trials, undisturbed and with one trial killed, on this machine and on two nodes of Ray.

    python benchmarks/cluster_sweep.py [--where pool ray] [--killed 0 1] [--parallel 2] [--beside SWEEP]

Three seeds, two folds, recipe `demo` made small on 60 synthetic films; the trial that is killed has stored its first
epoch. Counted are results, and how far the held-out scores are from those of the first sweep, or of an undisturbed one
from before (`--beside`). Appended to `results/cluster_sweep.csv`. Needs `[train,cluster]`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from machine import append_row, facts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.cluster.events import two_nodes_at
from tests.cluster.small_sweep import command, somebody_at_work

from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.records import Predictions

RESULTS = Path(__file__).parent / "results"
TRIALS = 6


@contextlib.contextmanager
def place(where: str) -> Iterator[str]:
    """The address to work at."""
    if where == "pool":
        yield "pool"
        return
    with tempfile.TemporaryDirectory() as home, two_nodes_at(Path(home)) as nodes:
        yield nodes.address


def run(films: Path, out: Path, address: str, parallel: int, *, kill: bool) -> float:
    """Run one sweep, with a trial killed or not; returns its wall seconds."""
    started = time.perf_counter()
    words = command("sweep", films, out, address, "--seeds=3", "--folds=2", f"--parallel={parallel}")
    said = out.with_suffix(".log")
    with said.open("wb") as stream, subprocess.Popen(words, stdout=stream, stderr=stream) as process:
        if kill:
            os.kill(somebody_at_work(out, process), signal.SIGKILL)
        if process.wait() != 0:
            raise SystemExit(f"the sweep in {out} failed: {said.read_text()[-2000:]}")
    return time.perf_counter() - started


def largest_difference(first: Path, second: Path) -> float:
    """Between the held-out scores of two sweeps of the same question."""
    gaps = []
    for path in sorted((first / "predictions").glob("*.csv")):
        ours, theirs = Predictions.read(path), Predictions.read(second / "predictions" / path.name)
        gaps.append(float(np.abs(ours.scores - theirs.scores).max()))
    return max(gaps)


def main() -> None:
    """Measure and write one row a sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", nargs="*", choices=["pool", "ray"], default=["pool", "ray"])
    parser.add_argument("--killed", nargs="*", type=int, choices=[0, 1], default=[0, 1])
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--beside", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        films = write_phantom_folder(Path(scratch) / "films", PhantomPlan(size_px=64), 40, seed=1)
        reference: Path | None = given.beside
        for where in given.where:
            for kill in map(bool, given.killed):
                out = Path(scratch) / f"{where}-{kill}"
                with place(where) as address:
                    seconds = run(films, out, address, given.parallel, kill=kill)
                reference = reference or out
                results = len(list((out / "trials").glob("*/result.json")))
                gap = largest_difference(reference, out)
                row = {"where": where, "killed": int(kill), "trials": TRIALS, "results": results,
                       "largest_score_difference": f"{gap:.1e}", "seconds": round(seconds, 1), **facts()}  # fmt: skip
                print(row, flush=True)
                append_row(RESULTS / "cluster_sweep.csv", dict(row))


if __name__ == "__main__":
    main()
