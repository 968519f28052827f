"""A recipe from films to judgement, as a user types it: train, predict the official test, evaluate.

    python benchmarks/road.py DATA --recipe default --out runs/default

Times are wall-clock seconds of whole processes, imports included. The result is appended to `results/road.csv`. It
opens the official test films: log the decision in docs/experiments.md before running it.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "road.csv"
MEASURES = ("auroc", "accuracy", "sensitivity", "specificity", "ppv", "npv")


def run(*arguments: object) -> float:
    """Run one cxray command; wall-clock seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cxray", *map(str, arguments)], check=True)
    return time.perf_counter() - started


def last_epoch(history: Path) -> dict[str, float]:
    """Training and validation accuracy at the end of training."""
    with history.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: round(float(rows[-1][name]), 4) for name in ("train_accuracy", "validation_accuracy")} | {
        "epochs": len(rows)
    }


def measures(judged: Path) -> dict[str, float]:
    """Point and interval of the main measures of the positive class."""
    document = json.loads((judged / "evaluation.json").read_text("utf-8"))
    row = {"threshold": round(document["facts"]["threshold"]["value"], 6)}
    for record in document["records"]:
        if record["name"] in MEASURES and not record["slice"] and not record["withheld"]:
            row |= {record["name"]: round(record["value"], 4)}
            row |= {
                f"{record['name']}_low": round(record["low"], 4),
                f"{record['name']}_high": round(record["high"], 4),
            }
    return row


def main() -> None:
    """Measure one recipe and append a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--keep", action="store_true", help="the run exists already; only predict and evaluate")
    given = parser.parse_args()
    if given.keep:
        train_seconds = json.loads((given.out / "run.json").read_text("utf-8"))["seconds"]
    else:
        changes = [f"--set={change}" for change in given.set]
        train_seconds = run(
            "train", given.data, "--out", given.out, "--recipe", given.recipe, "--seed", given.seed, *changes
        )
    table, judged = given.out.with_name(f"{given.out.name}-test.csv"), given.out.with_name(f"{given.out.name}-judged")
    predict_seconds = run("predict", given.out / "bundle", given.data / "test", "--out", table)
    evaluate_seconds = run("evaluate", table, "--out", judged, "--overwrite")
    row = {
        "recipe": given.recipe,
        "seed": given.seed,
        "changes": " ".join(given.set),
        "train_seconds": round(train_seconds, 1),
        "predict_seconds": round(predict_seconds, 1),
        "evaluate_seconds": round(evaluate_seconds, 1),
        **last_epoch(given.out / "history.csv"),
        **measures(judged),
        **facts(),
    }
    append_row(RESULTS, row)
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
