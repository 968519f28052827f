"""Recipe `fast` beside the article's own pipeline, on the article's own films; whole processes, imports included.

    python benchmarks/speed_training.py DATA --repeats 2                 # extrapolates the article from 1 and 2 epochs
    python benchmarks/speed_training.py DATA --full                      # all 50 epochs
    python benchmarks/speed_training.py DATA --all-films                 # `fast` on every training film
    python benchmarks/speed_training.py DATA --profile                   # where the seconds of `fast` go

Both draw the same 1,000 + 1,000 films. The article decodes every film in every epoch; its time grows by the same amount
with every epoch, so two short runs give the long one (start-up + 50 × epoch). `--judge` lets both score the official
test at
their end, as the article does, and notes the AUROC: log the decision in docs/experiments.md before that. Appended to
`results/speed_training.csv`; a profile is written to `results/speed_training_profile.txt`: the main thread's calls with
the time spent in and below them, its own waiting for worker threads included.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "speed_training.csv"
ARTICLE_EPOCHS = 50
# The article's draw of films, for another recipe.
DRAW = [
    "--set=split.unit=film",
    "--set=split.films_per_class=1000",
    "--set=split.validation_fraction=0.2",
    "--set=split.use_given_validation=false",
    "--accept=validation-duplicate",
    "--accept=validation-patient-leak",
]


def train(data: Path, out: Path, recipe: str, *more: str) -> tuple[float, Path]:
    """Wall-clock seconds of one training, and its run."""
    command = [sys.executable, "-m", "cxray", "train", str(data), "--out", str(out), "--recipe", recipe, *more]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started, out


def auroc(run: Path, split: str) -> float | None:
    """AUROC that a run's evaluation of a split found; None where there is none."""
    judged = run / "evaluation" / split / "evaluation.json"
    if not judged.is_file():
        return None
    records = json.loads(judged.read_text("utf-8"))["records"]
    return next(round(r["value"], 4) for r in records if r["name"] == "auroc" and not r["slice"])


def article(data: Path, scratch: Path, given: argparse.Namespace) -> dict[str, object]:
    """Seconds of the article's recipe, measured or extrapolated."""
    judge = f"--set=judge_test={'true' if given.judge else 'false'}"
    if given.full:
        seconds, run = train(data, scratch / "article", "article", judge)
        return {"seconds": round(seconds, 1), "how": "measured", "test_auroc": auroc(run, "test")}
    short, _ = train(data, scratch / "short", "article", judge, "--set=train.epochs=1")
    longer, _ = train(data, scratch / "long", "article", judge, "--set=train.epochs=2")
    epoch = longer - short
    whole = short + (ARTICLE_EPOCHS - 1) * epoch
    return {"seconds": round(whole, 1), "how": f"1 epoch {short:.1f} s, 2 epochs {longer:.1f} s", "test_auroc": None}


def profile(data: Path, scratch: Path) -> str:
    """Where the main thread of `fast` spends its time on the article's films, as `pstats` prints it."""
    stored = scratch / "profile"
    command = ["-m", "cxray", "train", str(data), "--out", str(scratch / "run"), "--recipe", "fast", *DRAW]
    environment = {**os.environ, "CXRAY_CACHE": str(scratch / "cache")}
    subprocess.run(
        [sys.executable, "-m", "cProfile", "-o", str(stored), *command],
        check=True,
        capture_output=True,
        env=environment,
    )
    text = io.StringIO()
    pstats.Stats(str(stored), stream=text).strip_dirs().sort_stats("cumulative").print_stats(120)
    kept = [line.rstrip() for line in text.getvalue().splitlines() if str(scratch) not in line]
    known = " ".join(f"{name}={value}" for name, value in facts().items())
    return "\n".join([f"Recipe fast, the article's 2,000 films. {known}", *kept]) + "\n"


def main() -> None:
    """Measure both and append a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--all-films", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    if given.profile:
        with tempfile.TemporaryDirectory() as folder:
            RESULTS.with_name("speed_training_profile.txt").write_text(profile(given.data, Path(folder)))
        return
    judge = [f"--set=judge_test={'true' if given.judge else 'false'}"]
    draw = [] if given.all_films else DRAW
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        runs = [train(given.data, scratch / f"fast-{n}", "fast", *draw, *judge) for n in range(given.repeats)]
        seconds = statistics.median(spent for spent, _ in runs)
        films = "all" if given.all_films else "the article's 2,000"
        how = "measured: " + " ".join(f"{spent:.1f}" for spent, _ in runs)
        rows.append({"recipe": "fast", "films": films, "seconds": round(seconds, 1), "how": how})
        rows[0] |= {"validation_auroc": auroc(runs[0][1], "validation"), "test_auroc": auroc(runs[0][1], "test")}
        if not given.all_films:
            rows.append({"recipe": "article", "films": films, **article(given.data, scratch, given)})
    for row in rows:
        row["times_fast"] = round(float(str(row["seconds"])) / seconds, 1)
        append_row(RESULTS, {**row, **facts()})
        print(row)


if __name__ == "__main__":
    main()
