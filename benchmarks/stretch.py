"""Does a model read the shape of the film? Validation films, stretched, at the threshold frozen on them unstretched.

    python benchmarks/stretch.py runs/first [runs/second ...]

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
from PIL import Image

from cxray.data.prepare import prepare_file
from cxray.evaluate.ranking import auroc
from cxray.runtime.predict import Predictor
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "stretch.csv"
# Enlargement of width and height; what leaves the frame is cut off, what is missing is black.
STRETCHES = {
    "none": (1.0, 1.0),
    "wider 1.2": (1.2, 1.0),
    "wider 1.35": (1.35, 1.0),
    "taller 1.2": (1.0, 1.2),
    "taller 1.35": (1.0, 1.35),
    "larger 1.35": (1.35, 1.35),
}


def stretched(film: np.ndarray, wide: float, tall: float) -> np.ndarray:
    """A prepared film uint8 (height, width), enlarged about its centre, in the same frame."""
    height, width = film.shape
    size = (round(width * wide), round(height * tall))
    canvas = Image.new("L", (width, height))
    canvas.paste(
        Image.fromarray(film).resize(size, Image.Resampling.BILINEAR), ((width - size[0]) // 2, (height - size[1]) // 2)
    )
    return np.asarray(canvas)


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
    for name, (wide, tall) in STRETCHES.items():
        changed = np.stack([stretched(film, wide, tall) for film in films])
        parts = [predictor.scores(changed[at : at + 16])[:, column] for at in range(0, len(changed), 16)]
        scores = np.concatenate(parts)
        row = {
            "run": run.name,
            "stretch": name,
            "films": len(films),
            "auroc": round(auroc(scores, ill), 4),
            "sensitivity": round(float((scores[ill] >= threshold).mean()), 4),
            "specificity": round(float((scores[~ill] < threshold).mean()), 4),
            **facts(),
        }
        append_row(RESULTS, row)
        print(
            f"{run.name:12s} {name:12s} AUROC {row['auroc']:.4f} "
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
