"""Levers one by one: a recipe with a setting changed, on validation patients and on films of another hospital.

    python benchmarks/levers.py DATA EXTERNAL --out /tmp/levers [--recipe default | --recipe transport]

The official test is not looked at. EXTERNAL holds labelled films of another hospital that serve development. Each
variant is a whole `cxray train` and `cxray predict`; `validation_*` are of the penalty that the run chose, `taller_*`
and `border_*` of validation films a third taller and with blackened borders at the frozen threshold, `difference` is
the paired gain in external AUROC over the recipe as it is, with DeLong's 95 % interval over patients. `default` is
tried on films of 160 pixels, where a training takes half as long (nine minutes), `transport` is measured as it is.
Appended to `results/levers.csv`, `levers_default.csv` or `levers_transport.csv`; a variant that is there for this
commit is left out, a finished run is not repeated.
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

RESULTS = Path(__file__).parent / "results"
FAST: dict[str, tuple[str, ...]] = {
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
BORDERS, EQUALISED = "augment.border_fraction=0.15", "input.intensity=equalise"
DEFAULT: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "borders blackened": (BORDERS,),
    "borders, drawn towards equalised": (BORDERS, "augment.equalise_fraction=1"),
    "borders, equalised": (BORDERS, EQUALISED),
    "borders, a fifth pre-trained": (BORDERS, "train.pretrained_share=0.2"),
    "borders, two fifths pre-trained": (BORDERS, "train.pretrained_share=0.4"),
    "borders, equalised, a fifth pre-trained": (BORDERS, EQUALISED, "train.pretrained_share=0.2"),
    "borders, equalised, two fifths pre-trained": (BORDERS, EQUALISED, "train.pretrained_share=0.4"),
}
# Recipe -> what every variant has in common, the variants, and the table.
LEVERS = {
    "fast": ((), FAST, "levers.csv"),
    "default": (("input.height=160", "input.width=160"), DEFAULT, "levers_default.csv"),
    "transport": ((), {"as it is": ()}, "levers_transport.csv"),
}


def cxray(*arguments: object) -> None:
    """Run one command; its output goes where ours goes."""
    subprocess.run([sys.executable, "-m", "cxray", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def measured(run: Path, films: Path, positive: str) -> tuple[dict[str, Any], Predictions]:
    """How long a run took, what it promises, what stress makes of it, and the table of the other hospital's films."""
    facts_of_run = json.loads((run / "run.json").read_text("utf-8"))
    table = Predictions.read(run / "predictions" / "validation.csv")
    ill = np.asarray(table.label == positive)
    found = auroc(table.scores[:, table.classes.index(positive)], ill)
    row: dict[str, Any] = {"minutes": round(facts_of_run["seconds"] / 60, 1), "validation_auroc": round(found, 4)}
    for stress in facts_of_run["stress"]:
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


def done(results: Path) -> set[str]:
    """Variants that this commit has measured."""
    if not results.exists():
        return set()
    with results.open(newline="") as stream:
        return {row["lever"] for row in csv.DictReader(stream) if row["commit"] == commit()}


def main() -> None:
    """Train, score and store every variant that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("external", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--positive", default="PNEUMONIA")
    parser.add_argument("--recipe", choices=LEVERS, default="fast")
    given = parser.parse_args()
    base: Predictions | None = None
    common, variants, table_name = LEVERS[given.recipe]
    results = RESULTS / table_name
    for name, changes in variants.items():
        run = given.out / name.replace(" ", "-").replace(",", "")
        if not (run / "manifest.json").exists():
            sets = [f"--set={change}" for change in (*common, *changes)]
            cxray("train", given.data, "--out", run, "--recipe", given.recipe, *sets, "--overwrite")
        row, table = measured(run, given.external, given.positive)
        base = base or table
        row |= gain(table, base, given.positive)
        print(name, row, flush=True)
        if name not in done(results):
            empty = dict.fromkeys(("difference", "low", "high"), "")
            append_row(results, {"lever": name, "changes": " ".join(changes), **empty, **row, **facts()})


if __name__ == "__main__":
    main()
