"""How a recipe's threshold travels to a contiguous block of patients, measured inside train only.

    python benchmarks/block_holdout.py DATA --recipe fast --set augment.zoom_fraction=0.25

The official test is a contiguous block of identifiers, not a random sample, and a random validation split does not warn
of what that does to specificity. Here the lowest fifth of the identifiers of each series in train plays the test: the
model is trained on the rest, its threshold frozen on a random patient-grouped validation, and both are judged on the
block. The official test films are not opened.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from machine import append_row, facts
from road import measures

RESULTS = Path(__file__).parent / "results" / "block_holdout.csv"
BLOCK = 0.2


def write_table(data: Path, table: Path) -> None:
    """The training films as a table whose lowest fifth of identifiers, series by series, is called test."""
    series: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in sorted((data / "train").rglob("*.jpeg")):
        number = int(re.findall(r"\d+", path.name.removeprefix("NORMAL2-"))[0])
        name = "NORMAL2" if path.name.startswith("NORMAL2") else re.sub(r"[\d.-].*", "", path.name)
        aetiology = "virus" if "virus" in path.name else "bacteria" if "bacteria" in path.name else ""
        series[name + aetiology].append((number, path))
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for rows in series.values():
            edge = sorted(number for number, _ in rows)[int(BLOCK * len(rows))]
            for number, path in rows:
                writer.writerow([path.resolve(), path.parent.name, "test" if number < edge else "train"])


def run(*arguments: object) -> None:
    """Run one cxray command."""
    subprocess.run([sys.executable, "-m", "cxray", *map(str, arguments)], check=True)


def main() -> None:
    """Measure one recipe and append a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_table(given.data, folder / "films.csv")
        changes = [f"--set={change}" for change in given.set]
        run(
            "train",
            folder / "films.csv",
            "--out",
            folder / "run",
            "--recipe",
            given.recipe,
            "--seed",
            given.seed,
            *changes,
        )
        block = folder / "block.csv"
        run("predict", folder / "run", folder / "films.csv", "--split", "test", "--out", block)
        run("evaluate", block, "--out", folder / "judged")
        with (folder / "run" / "history.csv").open(newline="") as stream:
            best = max(csv.DictReader(stream), key=lambda row: float(row["validation_auroc"]))
        row = {
            "recipe": given.recipe,
            "seed": given.seed,
            "changes": " ".join(given.set),
            "validation_auroc": round(float(best["validation_auroc"]), 4),
            **measures(folder / "judged"),
            **facts(),
        }
    append_row(RESULTS, row)
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
