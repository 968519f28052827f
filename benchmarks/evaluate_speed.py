"""How fast are clustered bootstrap intervals, and how much memory do they take?

One run, one machine, one table: AUROC, average precision, Brier score, sensitivity, specificity, PPV and NPV with
95 % limits from patient resamples. Side by side:

- `cxray`: `PatientBootstrap.rankings_and_sums`, all draws;
- `scikit-learn loop`: the plain way, resampling patients and calling scikit-learn's metrics for each draw; measured for
  a few draws and multiplied, because all of them would take hours (the column `measured_draws` says how many);
- `confidenceinterval`: its bootstrap, which knows no patients, one call a measure, also measured for a few draws.

    python benchmarks/evaluate_speed.py --rows 1000000 --draws 2000 --peer-draws 10 --out evaluate_speed.csv

Each method runs in a process of its own, so that its peak memory is its own. Single-threaded by design.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from machine import facts

THRESHOLD = 0.4
FILMS_A_PATIENT = 3


def make_table(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and patient codes: about three films a patient, one truth a patient, correlated scores."""
    rng = np.random.default_rng(0)
    patients = max(2, rows // FILMS_A_PATIENT)
    patient = np.sort(np.concatenate([np.arange(patients), rng.integers(0, patients, rows - patients)]))
    truth = (rng.random(patients) < 0.3)[patient]
    signal = rng.normal(size=rows) + rng.normal(size=patients)[patient] + 2 * truth
    return 1 / (1 + np.exp(1.5 - signal)), truth, patient


def run_cxray(rows: int, draws: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """Every draw of every measure with our own bootstrap."""
    from cxray.evaluate.intervals import percentile
    from cxray.evaluate.resample import PatientBootstrap

    scores, truth, patient = make_table(rows)
    started = time.perf_counter()
    calls = scores >= THRESHOLD
    ones = np.ones(rows)
    columns = (calls & truth, calls & ~truth, ~calls & truth, ~calls & ~truth, (scores - truth) ** 2, ones)
    values = np.column_stack(columns).astype(np.float64)
    bootstrap = PatientBootstrap(patient, truth.astype(np.int64), draws=draws)
    areas, precisions, sums = bootstrap.rankings_and_sums(scores, truth, values)
    hits, alarms, misses, cleared, losses, films = sums.T
    measures = {
        "auroc": areas,
        "average_precision": precisions,
        "brier": losses / films,
        "sensitivity": hits / (hits + misses),
        "specificity": cleared / (cleared + alarms),
        "ppv": hits / (hits + alarms),
        "npv": cleared / (cleared + misses),
    }
    limits = {name: percentile(values) for name, values in measures.items()}
    return time.perf_counter() - started, limits


def run_loop(rows: int, draws: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """The plain loop: draw patients, gather their films, call scikit-learn."""
    from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_auc_score

    scores, truth, patient = make_table(rows)
    started = time.perf_counter()
    bounds = np.searchsorted(patient, np.arange(patient[-1] + 2))
    films = [np.arange(first, last) for first, last in pairwise(bounds)]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        chosen = np.concatenate([films[number] for number in rng.integers(0, len(films), len(films))])
        drawn, outcome = scores[chosen], truth[chosen]
        cleared, alarms, misses, hits = confusion_matrix(outcome, drawn >= THRESHOLD).ravel()
        found.append(
            (
                roc_auc_score(outcome, drawn),
                average_precision_score(outcome, drawn),
                brier_score_loss(outcome, drawn),
                hits / (hits + misses),
                cleared / (cleared + alarms),
                hits / (hits + alarms),
                cleared / (cleared + misses),
            )
        )
    names = ("auroc", "average_precision", "brier", "sensitivity", "specificity", "ppv", "npv")
    limits = np.quantile(np.array(found), [0.025, 0.975], axis=0)
    return time.perf_counter() - started, dict(zip(names, map(tuple, limits.T), strict=True))


def run_package(rows: int, draws: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """`confidenceinterval` with its bootstrap where a measure has one; films are taken as independent."""
    import confidenceinterval as package

    scores, truth, _ = make_table(rows)
    outcome, calls = truth.astype(int).tolist(), (scores >= THRESHOLD).astype(int).tolist()
    started = time.perf_counter()
    options = {"confidence_level": 0.95, "method": "bootstrap_percentile", "n_resamples": draws}
    limits = {"auroc": package.roc_auc_score(outcome, scores.tolist(), **options)[1]}
    for name, measure in (
        ("sensitivity", package.tpr_score),
        ("specificity", package.tnr_score),
        ("ppv", package.ppv_score),
        ("npv", package.npv_score),
    ):
        limits[name] = measure(outcome, calls, **options)[1]
    return time.perf_counter() - started, limits


METHODS: dict[str, Callable[[int, int], tuple[float, dict[str, tuple[float, float]]]]] = {
    "cxray": run_cxray,
    "scikit-learn loop": run_loop,
    "confidenceinterval": run_package,
}


def measure(method: str, rows: int, draws: int) -> tuple[float, float, dict[str, list[float]], str]:
    """Run one method in a fresh process: seconds, peak memory in MB (NaN both when it fails), limits and the error."""
    command = [sys.executable, __file__, "--one", method, "--rows", str(rows), "--draws", str(draws)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads})
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        return float("nan"), float("nan"), {}, lines[-1]
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    return found["seconds"], found["peak_mb"], found["limits"], ""


def versions() -> str:
    """Python and the packages that matter, for the CSV."""
    found = [f"python {platform.python_version()}"]
    for name in ("numpy", "scipy", "scikit-learn", "confidenceinterval"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def main() -> None:
    """Measure all methods and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--peer-draws", type=int, default=10)
    parser.add_argument("--out", default="evaluate_speed.csv")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        seconds, limits = METHODS[options.one](options.rows, options.draws)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "limits": limits}, default=float))
        return
    # A tenth and a hundredth of the rows show how the cost grows.
    sizes = {"cxray": (options.rows // 100, options.rows // 10, options.rows)}
    rows, machine = [], facts()
    for method in METHODS:
        for size in sizes.get(method, (options.rows,)):
            draws = options.draws if method == "cxray" else options.peer_draws
            seconds, peak_mb, limits, error = measure(method, size, draws)
            line = {
                "method": method,
                "rows": size,
                "draws": options.draws,
                "measured_draws": draws,
                "seconds_for_all_draws": f"{seconds * options.draws / draws:.2f}",
                "peak_mb": f"{peak_mb:.0f}",
                "measures": len(limits),
                "auroc_low": limits.get("auroc", ["", ""])[0],
                "auroc_high": limits.get("auroc", ["", ""])[1],
                "error": error,
                "versions": versions(),
                **{name: machine[name] for name in ("date", "commit", "processor", "cores")},
            }
            print(line, file=sys.stderr)
            rows.append(line)
    with open(options.out, "w", newline="", encoding="utf-8") as stream:  # noqa: PTH123
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
