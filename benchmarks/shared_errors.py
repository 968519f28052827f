"""Do unlike networks fail on the same healthy films? What an average of them could and could not mend.

    python benchmarks/shared_errors.py best:5=best-test.csv transport=transport-test.csv

A model is named with its number of networks (1 when left out) and a table of `cxray predict` for the same labelled
films; films are matched by the stem of their file name, because a film may have been prepared beforehand. For each
model: AUROC, and how many of its highest healthy films (as many as the first model has false alarms) are among those of
the first. The last row is the mean of all logits, every network counting once. Appended to `results/shared_errors.csv`.
Reading a table of the official test is an opening: write the decision into `docs/experiments.md` first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxray.evaluate.calibration import logit
from cxray.evaluate.ranking import auroc
from cxray.records import Predictions
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "shared_errors.csv"
Floats = npt.NDArray[np.float64]


def logits_by_film(table: Predictions, positive: str) -> dict[str, float]:
    """The logit of the positive class for each film, keyed by the stem of its file name."""
    scores = logit(table.scores[:, table.classes.index(positive)])
    found = {Path(path).stem: float(score) for path, score in zip(table.path, scores, strict=True)}
    if len(found) != len(scores):
        raise SystemExit("Two films of one table have the same file name; they cannot be told apart between tables.")
    return found


def highest(scores: Floats, is_ill: npt.NDArray[np.bool_], count: int) -> set[int]:
    """Positions of the `count` healthy films that look most ill."""
    healthy = np.flatnonzero(~is_ill)
    return set(healthy[np.argsort(scores[healthy])[::-1][:count]].tolist())


def main() -> None:
    """Compare the models named and append a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME[:NETWORKS]=TABLE")
    parser.add_argument("--positive", default="PNEUMONIA")
    given = parser.parse_args()
    found: dict[str, tuple[int, dict[str, float]]] = {}
    first: Predictions | None = None
    for model in given.models:
        name, _, path = model.partition("=")
        label, _, networks = name.partition(":")
        table = Predictions.read(Path(path))
        first = first or table
        found[label] = (int(networks or 1), logits_by_film(table, given.positive))
    assert first is not None  # argparse asks for at least one
    films = [Path(path).stem for path in first.path]
    is_ill = np.asarray(first.label == given.positive)
    columns = {name: np.array([by_film[film] for film in films]) for name, (_, by_film) in found.items()}
    networks_of = {name: networks for name, (networks, _) in found.items()}
    columns["mean of all"] = np.average(list(columns.values()), axis=0, weights=list(networks_of.values()))
    networks_of["mean of all"] = sum(networks_of.values())
    count = int((np.asarray(first.decision == given.positive) & ~is_ill).sum())
    reference = highest(next(iter(columns.values())), is_ill, count)
    everywhere = set.intersection(*(highest(column, is_ill, count) for column in columns.values()))
    for name, column in columns.items():
        row = {
            "model": name,
            "networks": networks_of[name],
            "auroc": round(auroc(column, is_ill), 4),
            "highest_healthy": count,
            "shared_with_first": len(highest(column, is_ill, count) & reference),
            "shared_by_all": len(everywhere),
        }
        append_row(RESULTS, {**row, **facts()})
        print(row)
    print("Shared by all:", " ".join(sorted(films[place] for place in everywhere)))


if __name__ == "__main__":
    main()
