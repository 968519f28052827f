"""What becomes of a frozen threshold: validation patients, the official test, and films of another hospital.

    python benchmarks/threshold_transport.py default=runs/default:default-test.csv:default-nih.csv \\
        fast=runs/fast:fast-test.csv:fast-nih.csv --picture docs/images/threshold-transport.png

A model is named with its run and one or two tables of `cxray predict` for labelled films: the official test, then films
of another hospital. Decisions are those in the tables, made at the threshold that the bundle carries; nothing is chosen
here. One row a model and set, appended to `results/threshold_transport.csv`, with Wilson's 95 % intervals. The picture
shows the newest rows of every model measured so far.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from cxray.evaluate.intervals import wilson
from cxray.evaluate.ranking import auroc
from cxray.records import Predictions
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "threshold_transport.csv"
SETS = ("validation", "official test", "another hospital")
COLOURS = ("#1f5f8b", "#b3541e", "#5b7f2b", "#7a4b94", "#555555")
MARKS = ("o", "s", "^")


def rates(model: str, name: str, table: Predictions, positive: str) -> dict[str, Any]:
    """Sensitivity, specificity and AUROC of the decisions and scores in a table."""
    ill = np.asarray(table.label == positive)
    called = np.asarray(table.decision == positive)
    column = table.scores[:, table.classes.index(positive)]
    row: dict[str, Any] = {"model": model, "films": name, "ill": int(ill.sum()), "healthy": int((~ill).sum())}
    for measure, hits in (("sensitivity", called[ill]), ("specificity", ~called[~ill])):
        low, high = wilson(int(hits.sum()), len(hits))
        row |= {
            measure: round(float(hits.mean()), 4),
            f"{measure}_low": round(low, 4),
            f"{measure}_high": round(high, 4),
        }
    return {**row, "auroc": round(auroc(column, ill), 4)}


def draw(rows: list[dict[str, Any]], picture: Path) -> None:
    """One line a model, from its promise on validation patients to what came of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for model, colour in zip(dict.fromkeys(row["model"] for row in rows), itertools.cycle(COLOURS), strict=False):
        own = [row for row in rows if row["model"] == model]
        axes.plot([r["specificity"] for r in own], [r["sensitivity"] for r in own], color=colour, label=model, lw=1.2)
        for row in own:
            x, y = row["specificity"], row["sensitivity"]
            spread = [[[x - row["specificity_low"]], [row["specificity_high"] - x]]]
            spread.append([[y - row["sensitivity_low"]], [row["sensitivity_high"] - y]])
            axes.errorbar(x, y, xerr=spread[0], yerr=spread[1], color=colour, elinewidth=0.6, alpha=0.6)
            axes.plot(x, y, MARKS[SETS.index(row["films"])], color=colour, markersize=7)
    for name, mark in zip(SETS, MARKS, strict=True):
        axes.plot([], [], mark, color="0.3", label=name)
    axes.plot([0, 1], [1, 0], ":", color="0.6", lw=1)
    axes.annotate("chance", (0.07, 0.95), color="0.5", fontsize=8)
    axes.set(xlabel="Specificity at the frozen threshold", ylabel="Sensitivity", xlim=(0, 1.02), ylim=(0, 1.03))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(picture)


def newest() -> list[dict[str, Any]]:
    """The last rows of each model and set, models in the order of their best specificity on the official test."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with RESULTS.open(newline="") as stream:
        for row in csv.DictReader(stream):
            numbers = {name: float(row[name]) for name in row if name.startswith(("sensitivity", "specificity"))}
            found[row["model"], row["films"]] = {**row, **numbers}
    order = {model: -row["specificity"] for (model, films), row in found.items() if films == SETS[1]}
    return sorted(found.values(), key=lambda row: (order[row["model"]], row["model"], SETS.index(row["films"])))


def main() -> None:
    """Read, count, draw and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=RUN:TEST[:EXTERNAL]")
    parser.add_argument("--positive", default="PNEUMONIA")
    parser.add_argument("--picture", type=Path, required=True)
    given = parser.parse_args()
    rows = []
    for model in given.models:
        name, _, paths = model.partition("=")
        run, *tables = (Path(path) for path in paths.split(":"))
        for place, path in zip(SETS, [run / "predictions" / "validation.csv", *tables], strict=False):
            rows.append(rates(name, place, Predictions.read(path), given.positive))
    known = facts()
    for row in rows:
        append_row(RESULTS, {**row, **known})
        print(row)
    draw(newest(), given.picture)


if __name__ == "__main__":
    main()
