"""Does a model read the shape of the film? Validation films, changed, at the threshold frozen on them unchanged.

    python benchmarks/stress.py runs/first [runs/second ...]

The films of `kermany224` lost their aspect ratio when a third party made them square, and healthy and ill children were
filmed in different formats. A model that learnt the format keeps its AUROC under a uniform stretch and loses its
threshold. Only validation films of each run are read; the official test stays closed. Run it in the folder that the
paths of `splits.csv` start from.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from cxray.data.prepare import prepare_file
from cxray.runtime.predict import Predictor
from cxray.runtime.stress import stress
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "stress.csv"


def validation_films(run: Path, predictor: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """Prepared validation films uint8 (n, height, width) of a run, and whether each is of the positive class."""
    with (run / "splits.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "validation"]
    films = np.stack([prepare_file(Path(row["path"]), predictor.bundle.card) for row in rows])
    return films, np.array([row["label"] == predictor.bundle.positive for row in rows])


def measure(run: Path) -> None:
    """Measure one run under every stretch and append the rows."""
    predictor = Predictor.open(run)
    films, ill = validation_films(run, predictor)
    column = predictor.bundle.classes.index(predictor.bundle.positive)
    threshold = predictor.bundle.thresholds[predictor.bundle.positive].value

    def score(changed: np.ndarray) -> np.ndarray:
        return np.concatenate([predictor.scores(changed[at : at + 16])[:, column] for at in range(0, len(changed), 16)])

    for found in stress(score, films, ill, threshold):
        numbers = {name: round(getattr(found, name), 4) for name in ("auroc", "sensitivity", "specificity")}
        row = {"run": run.name, "treatment": found.treatment, "films": found.films, **numbers, **facts()}
        append_row(RESULTS, row)
        print(
            f"{run.name:12s} {found.treatment:20s} AUROC {row['auroc']:.4f} "
            f"sensitivity {row['sensitivity']:.3f} specificity {row['specificity']:.3f}"
        )


def main() -> None:
    """Measure every run given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    for run in parser.parse_args().runs:
        measure(run)


if __name__ == "__main__":
    main()
