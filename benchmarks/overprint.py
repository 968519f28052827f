"""Films that carry their tube voltage in print ("KV59"): one machine's, and in train all of them are ill.

    python benchmarks/overprint.py ../shared/data/kermany224 best=best-test.csv --picture marks.png

The mark stands in the lower right corner in small white capitals. It is found by normalised cross-correlation of that
corner with the letters of one named film. Above the limit lie marks only (`--picture` draws those corners, to be looked
at); some marks of other sizes lie below it and are missed. Counted by split and label, and for each table of
`cxray predict`, made at its bundle's threshold: how many healthy test films with and without the mark are called ill,
and AUROC with and without marked films. Appended to `results/overprint.csv`. Tables of the official test are openings:
see `docs/experiments.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxray.evaluate.intervals import wilson
from cxray.evaluate.ranking import auroc
from cxray.records import Predictions
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "overprint.csv"
# The letters "KV" of this film, at 224 pixels, and the corner in which they are looked for.
SAMPLE = Path("test") / "NORMAL" / "NORMAL2-IM-0232-0001.jpeg"
LETTERS = (slice(212, 223), slice(207, 216))
CORNER = (slice(200, 224), slice(190, 224))
LIMIT = 0.7
# Keeps noise in a black corner from correlating: squared grey levels, small beside those of print.
FLOOR = 50.0
Film = npt.NDArray[np.float64]


def read(path: Path) -> Film:
    """A film as grey values 0–255 at 224 pixels a side."""
    with Image.open(path) as film:
        return np.asarray(film.convert("L").resize((224, 224)), dtype=np.float64)


def likeness(film: Film, letters: Film) -> float:
    """The highest normalised cross-correlation of `letters` with the film's lower right corner, -1 to 1."""
    windows = np.lib.stride_tricks.sliding_window_view(film[CORNER], letters.shape)
    centred = windows - windows.mean(axis=(2, 3), keepdims=True)
    own = letters - letters.mean()
    spread = np.sqrt((centred**2).sum(axis=(2, 3))) * np.sqrt((own**2).sum()) + FLOOR
    return float(((centred * own).sum(axis=(2, 3)) / spread).max())


def marked(data: Path) -> list[Path]:
    """The films that carry the mark, by path."""
    letters = read(data / SAMPLE)[LETTERS]
    films = [path for split in ("train", "test") for path in sorted((data / split).rglob("*.jpeg"))]
    return [path for path in films if likeness(read(path), letters) > LIMIT]


def count(data: Path, found: list[Path]) -> None:
    """A row for each split and label: how many films carry the mark."""
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            films = len(list((data / split / label).glob("*.jpeg")))
            hits = sum(path.parent == data / split / label for path in found)
            row = {"measure": "marked films", "of": f"{split} {label}", "hits": hits, "films": films}
            append_row(RESULTS, {**row, **facts()})
            print(row)


def judge(
    name: str, table: Predictions, found: list[Path], positive: str, *, what: str = "the mark", results: Path = RESULTS
) -> None:
    """Rows for a model: false alarms among healthy films with and without `what`, AUROC on all films and without it."""
    stems = {path.stem for path in found}
    has_mark = np.array([Path(path).stem in stems for path in table.path])
    is_healthy = np.asarray(table.label != positive)
    called = np.asarray(table.decision == positive)
    for words, chosen in ((f"with {what}", has_mark), ("without it", ~has_mark)):
        hits, films = int((called & is_healthy & chosen).sum()), int((is_healthy & chosen).sum())
        low, high = wilson(hits, films)
        row = {"measure": "healthy called ill", "of": f"{name}, {words}", "hits": hits, "films": films}
        append_row(results, {**row, "low": round(low, 4), "high": round(high, 4), **facts()})
        print(row, f"{low:.3f} to {high:.3f}")
    column = table.scores[:, table.classes.index(positive)]
    for words, chosen in (("all films", np.ones_like(has_mark)), (f"films without {what}", ~has_mark)):
        row = {"measure": "auroc", "of": f"{name}, {words}", "films": int(chosen.sum())}
        area = round(auroc(column[chosen], ~is_healthy[chosen]), 4)
        append_row(results, {**row, "auroc": area, **facts()})
        print(row, area)


def draw(found: list[Path], picture: Path) -> None:
    """All corners above the limit, twelve a row, to be checked by eye."""
    across, (height, width) = 12, (24, 34)
    sheet = Image.new("L", (across * width * 2, -(-len(found) // across) * height * 2))
    for place, path in enumerate(found):
        corner = Image.fromarray(read(path)[CORNER].astype(np.uint8)).resize((width * 2 - 2, height * 2 - 2))
        sheet.paste(corner, (place % across * width * 2, place // across * height * 2))
    sheet.save(picture)


def main() -> None:
    """Find the mark, count it, and judge each table given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*", metavar="NAME=TABLE")
    parser.add_argument("--positive", default="PNEUMONIA")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    found = marked(given.data)
    count(given.data, found)
    for model in given.models:
        name, _, path = model.partition("=")
        judge(name, Predictions.read(Path(path)), found, given.positive)
    if given.picture:
        draw(found, given.picture)


if __name__ == "__main__":
    main()
