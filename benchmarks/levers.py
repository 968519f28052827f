"""Levers one by one: recipe `fast` with one setting changed, on validation patients and on films of another hospital.

    python benchmarks/levers.py DATA EXTERNAL --out /tmp/levers

The official test is not looked at. EXTERNAL holds labelled films of another hospital that serve development. Each
variant is a whole `cxray train` and `cxray predict`; `validation_*` are of the penalty that the run chose, `taller_*`
and `border_*` of validation films a third taller and with blackened borders at the frozen threshold, `difference` is
the paired gain in external AUROC over the recipe as it is, with DeLong's 95 % interval over patients. Appended to
`results/levers.csv`; a variant that is there for this commit is left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cxray.evaluate.clusters import codes
from cxray.evaluate.ranking import auroc, paired_test
from cxray.records import Predictions
from machine import append_row, commit, facts

RESULTS = Path(__file__).parent / "results" / "levers.csv"
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "films windowed": ("input.intensity=window",),
    "films equalised": ("input.intensity=equalise",),
    "no stretched view": ("augment.aspect_fraction=0", "augment.zoom_fraction=0"),
    "mirrored view": ("augment.flip=true",),
    "224 pixels": ("input.height=224", "input.width=224"),
    "128 pixels": ("input.height=128", "input.width=128"),
    "stronger stretch": ("augment.aspect_fraction=1.2", "augment.zoom_fraction=0.4"),
    "windowed, stronger stretch": (
        "input.intensity=window",
        "augment.aspect_fraction=1.2",
        "augment.zoom_fraction=0.4",
    ),
}


def cxray(*arguments: object) -> None:
    """Run one command; its output goes where ours goes."""
    subprocess.run([sys.executable, "-m", "cxray", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def measured(run: Path, films: Path, positive: str) -> tuple[dict[str, Any], Predictions]:
    """What a run promises, what stress makes of it, and the table of the other hospital's films."""
    table = Predictions.read(run / "predictions" / "validation.csv")
    ill = np.asarray(table.label == positive)
    row: dict[str, Any] = {"validation_auroc": round(auroc(table.scores[:, table.classes.index(positive)], ill), 4)}
    for stress in json.loads((run / "run.json").read_text("utf-8"))["stress"]:
        for word in ("taller", "border"):
            if word in stress["treatment"]:
                row |= {f"{word}_{name}": round(stress[name], 3) for name in ("auroc", "sensitivity", "specificity")}
    external = run.with_suffix(".csv")
    if not external.exists():
        cxray("predict", run / "bundle", films, "--out", external)
    return row, Predictions.read(external)


def gain(table: Predictions, base: Predictions, positive: str) -> dict[str, Any]:
    """External AUROC and its paired difference from `base`."""
    ill = np.asarray(table.label == positive)
    column = table.classes.index(positive)
    row: dict[str, Any] = {"external_auroc": round(auroc(table.scores[:, column], ill), 3)}
    if table is not base:
        both = np.column_stack([table.scores[:, column], base.scores[:, column]])
        found, _ = paired_test(both, ill, codes(table.patient, len(table)))
        row |= {"difference": round(found.value, 3), "low": round(found.low, 3), "high": round(found.high, 3)}
    return row


def done() -> set[str]:
    """Variants that this commit has measured."""
    if not RESULTS.exists():
        return set()
    with RESULTS.open(newline="") as stream:
        return {row["lever"] for row in csv.DictReader(stream) if row["commit"] == commit()}


def main() -> None:
    """Train, score and store every variant that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("external", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--positive", default="PNEUMONIA")
    given = parser.parse_args()
    base: Predictions | None = None
    for name, changes in VARIANTS.items():
        run = given.out / name.replace(" ", "-").replace(",", "")
        if not (run / "manifest.json").exists():
            sets = [f"--set={change}" for change in changes]
            cxray("train", given.data, "--out", run, "--recipe", "fast", *sets, "--overwrite")
        row, table = measured(run, given.external, given.positive)
        base = base or table
        row |= gain(table, base, given.positive)
        print(name, row, flush=True)
        if name not in done():
            empty = dict.fromkeys(("difference", "low", "high"), "")
            append_row(RESULTS, {"lever": name, "changes": " ".join(changes), **empty, **row, **facts()})


if __name__ == "__main__":
    main()
