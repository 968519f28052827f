"""How fast commands start: `--help`, and one film from a cold process beside the same with TensorFlow; peak memory.

    python benchmarks/speed_start.py BUNDLE FILM --repeats 5
    python benchmarks/speed_start.py BUNDLE FILM --memory 1000 20000

Wall-clock seconds and peak resident memory (MB, `ru_maxrss` of the child) of whole processes, ways in turn. Appended to
`results/speed_start.csv`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "speed_start.csv"
TENSORFLOW = """
import sys, keras, numpy as np
from PIL import Image
model = keras.saving.load_model(sys.argv[1], compile=False)
height, width = model.input_shape[1:3]
film = np.asarray(Image.open(sys.argv[2]).convert("L").resize((width, height)), dtype="float32")[None, :, :, None] / 255
print(model.predict(film, verbose=0)["logits"])
"""


def run(command: list[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak memory in MB of one process."""
    started = time.perf_counter()
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def cold(given: argparse.Namespace, scratch: Path) -> dict[str, list[str]]:
    """What is started, by name."""
    cxray = [sys.executable, "-m", "cxray"]
    found = {
        "cxray --help": [*cxray, "--help"],
        "cxray predict, one film": [
            *cxray,
            "predict",
            str(given.bundle),
            str(given.film),
            "--out",
            str(scratch / "p.csv"),
        ],
    }
    if (given.bundle / "model.keras").is_file():
        script = [sys.executable, "-c", TENSORFLOW, str(given.bundle / "model.keras"), str(given.film)]
        found["TensorFlow script, one film"] = script
    return found


def many(given: argparse.Namespace, scratch: Path) -> dict[str, list[str]]:
    """Predictions of many files."""
    found = {}
    for count in given.memory:
        folder = scratch / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:06d}{given.film.suffix}").symlink_to(given.film.resolve())
        out = ["--out", str(scratch / f"{count}.csv")]
        found[f"cxray predict, {count} films"] = [
            *[sys.executable, "-m", "cxray", "predict", str(given.bundle), str(folder)], *out
        ]  # fmt: skip
    return found


def main() -> None:
    """Measure and append one row a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("film", type=Path)
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        ways = many(given, scratch) if given.memory else cold(given, scratch)
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(given.repeats):
            for name, command in ways.items():
                measured[name].append(run(command))
    finally:
        shutil.rmtree(scratch)
    for name, values in measured.items():
        row = {
            "way": name,
            "seconds_median": round(statistics.median(seconds for seconds, _ in values), 3),
            "peak_megabytes": round(statistics.median(memory for _, memory in values), 1),
            "seconds_all": " ".join(f"{seconds:.3f}" for seconds, _ in values),
            **facts(),
        }
        append_row(RESULTS, row)
        print({key: row[key] for key in list(row)[:4]})


if __name__ == "__main__":
    main()
