"""Predictions that did not come from cxray: a logistic regression on thumbnails, in scikit-learn alone.

    cd FOLDER_THAT_HOLDS_THE_FILMS
    python foreign_predictions.py kermany other-tool.csv
    cxray evaluate other-tool.csv --out other-judged --column path=image --column label=truth \
        --column score_PNEUMONIA=probability --label 1=PNEUMONIA --label 0=NORMAL

The table has the columns that such a script writes: `image`, `truth` (0 or 1) and `probability`. It is made to show
what `cxray evaluate` makes of it; nothing is tuned, and the test films are only scored.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE = 32
CLASSES = ("NORMAL", "PNEUMONIA")


def thumbnails(folder: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Paths, grey thumbnails (films, SIDE * SIDE) and truth (films,) of a folder with one subfolder a class."""
    paths, rows, truth = [], [], []
    for number, name in enumerate(CLASSES):
        for path in sorted((folder / name).iterdir()):
            with Image.open(path) as film:
                film.draft("L", (SIDE * 2, SIDE * 2))
                rows.append(np.asarray(film.convert("L").resize((SIDE, SIDE)), dtype=np.float32).ravel() / 255)
            paths.append(path)
            truth.append(number)
    return paths, np.array(rows), np.array(truth)


def main() -> None:
    """Fit on `train`, score `test`, write the table."""
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    _, films, truth = thumbnails(data / "train")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)).fit(films, truth)
    paths, films, truth = thumbnails(data / "test")
    scores = model.predict_proba(films)[:, 1]
    with out.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "truth", "probability"])
        table.writerows(zip(paths, truth, [f"{score:.6f}" for score in scores], strict=True))
    print(f"{len(paths)} films scored: {out}")


if __name__ == "__main__":
    main()
