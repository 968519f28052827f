"""What a film costs: time against film size, number of files, batch and cores, with a fitted line, and a forecast.

    python benchmarks/speed_cost.py BUNDLE --picture docs/images/cost-of-a-film.png

Synthetic films are written once in several sizes as PNG and JPEG, then scored in whole streams within one process, on
one and on two cores. Seconds a film are fitted as a + b × megapixels for each format, both cores. The forecast adds
nothing
but multiplication. Appended to `results/speed_cost.csv`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "speed_cost.csv"
SIDES = (224, 512, 1024, 1536, 2048)
WORKER = """
import json, os, sys, time
cores = int(sys.argv[4])
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
from pathlib import Path
from cxray.records import ImageRecord
from cxray.runtime.engine import open_engine
from cxray.runtime.predict import Predictor
from cxray.bundle import load_bundle
bundle = load_bundle(Path(sys.argv[1]))
engine = open_engine(bundle.graph, sys.argv[5], threads=1, runs=cores, batch=int(sys.argv[6]))
predictor = Predictor(bundle, engine, runs=cores)
films = [ImageRecord(Path(sys.argv[2]))] * int(sys.argv[3])
list(predictor.stream(films[:16]))
started = time.perf_counter()
list(predictor.stream(films))
print(json.dumps((time.perf_counter() - started) / len(films)))
"""


def write_films(folder: Path) -> dict[tuple[str, int], Path]:
    """One synthetic film of each size and format."""
    from PIL import Image

    from cxray.data.phantom import golden_film

    films = {}
    for side in SIDES:
        image = Image.fromarray(golden_film(side))
        for kind in ("png", "jpeg"):
            films[kind, side] = folder / f"{side}.{kind}"
            image.save(films[kind, side])
    return films


def seconds_a_film(bundle: Path, film: Path, count: int, cores: int, batch: int = 8) -> float:
    """Measured in a process of its own, which may use `cores` cores."""
    arguments = [str(bundle), str(film), str(count), str(cores), "auto", str(batch)]
    result = subprocess.run([sys.executable, "-c", WORKER, *arguments], check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout))


def measure(bundle: Path, folder: Path, repeats: int) -> list[dict[str, object]]:
    """All rows of the cost model; the least of the repeats, which a busy machine disturbs least."""
    films = write_films(folder)
    plans: list[tuple[str, int, int, int, int]] = []
    for kind, side in films:
        plans += [(kind, side, 96 if side > 1024 else 160, cores, 8) for cores in (1, 2)]
    plans += [("jpeg", 224, count, 2, 8) for count in (40, 640)]
    plans += [("jpeg", 224, 160, 2, batch) for batch in (1, 4, 16, 32)]
    rows: list[dict[str, object]] = []
    best = {plan: float("inf") for plan in plans}
    for _ in range(repeats):
        for plan in plans:
            kind, side, count, cores, batch = plan
            best[plan] = min(best[plan], seconds_a_film(bundle, films[kind, side], count, cores, batch))
    for (kind, side, count, cores, batch), seconds in best.items():
        row = {"format": kind, "side_pixels": side, "files": count, "cores_used": cores, "batch": batch}
        rows.append({**row, "milliseconds_a_film": round(1000 * seconds, 3)})
    return rows


def alike(rows: list[dict[str, object]], kind: str, cores: int) -> list[dict[str, object]]:
    """The rows that differ in film size alone."""
    wanted = {"format": kind, "cores_used": cores, "batch": 8}
    return [r for r in rows if all(r[name] == value for name, value in wanted.items()) and r["files"] in (96, 160)]


def fit(rows: list[dict[str, object]], kind: str, cores: int) -> tuple[float, float]:
    """Milliseconds a film, and milliseconds a megapixel."""
    import numpy as np

    chosen = alike(rows, kind, cores)
    megapixels = [int(str(r["side_pixels"])) ** 2 / 1e6 for r in chosen]
    slope, start = np.polyfit(megapixels, [float(str(r["milliseconds_a_film"])) for r in chosen], 1)
    return float(start), float(slope)


def draw(rows: list[dict[str, object]], picture: Path) -> None:
    """Points and fitted lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for kind, colour in (("png", "#b3541e"), ("jpeg", "#1f5f8b")):
        for cores, mark in ((1, "o"), (2, "s")):
            start, slope = fit(rows, kind, cores)
            chosen = alike(rows, kind, cores)
            sizes = [int(str(r["side_pixels"])) ** 2 / 1e6 for r in chosen]
            axes.plot(
                sizes,
                [float(str(r["milliseconds_a_film"])) for r in chosen],
                mark,
                color=colour,
                fillstyle="full" if cores == 2 else "none",
            )
            label = f"{kind.upper()}, {cores} core{'s' * (cores > 1)}: {start:.1f} ms + {slope:.1f} ms a megapixel"
            axes.plot(
                [0, 4.3], [start, start + 4.3 * slope], color=colour, linestyle="-" if cores == 2 else "--", label=label
            )
    axes.set_xlabel("Megapixels of the film")
    axes.set_ylabel("Milliseconds a film")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


def main() -> None:
    """Measure, fit, draw, forecast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given.bundle, Path(folder), given.repeats)
    known = facts()
    for row in rows:
        append_row(RESULTS, {**row, **known})
        print(row)
    draw(rows, given.picture)
    for kind, side in (("jpeg", 224), ("jpeg", 2048), ("png", 1024)):
        start, slope = fit(rows, kind, 2)
        each = (start + slope * side**2 / 1e6) / 1000
        print(kind, side, " ".join(f"{count:.0e}: {count * each / 3600:.2f} h" for count in (1e5, 1e6, 1e7)))


if __name__ == "__main__":
    main()
