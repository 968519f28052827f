"""`cxray cluster predict` on two nodes of Ray on one machine beside its own local pool; needs the extra `cluster`.

    python benchmarks/cluster_predict.py overhead BUNDLE FILMS --sizes 512 2048 --repeats 2
    python benchmarks/cluster_predict.py memory BUNDLE FILM --rows 10000 100000
    python benchmarks/cluster_predict.py faults BUNDLE FILMS --films 2000

`overhead`: wall time of whole commands, pool and Ray in alternation, two workers each, the cluster already up; two
sizes give the fixed cost and the cost a film. `memory`: the largest memory of the driver process alone, by rows of the
table of films. `faults`: what is killed, how long it takes, and whether every film is there once with the undisturbed
scores. The films are links with names of their own to FILMS. Appended to `results/cluster_*.csv`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import append_row, facts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.cluster import events

from cxray.records import Predictions

RESULTS = Path(__file__).parent / "results"
SUFFIXES = (".jpeg", ".jpg", ".png", ".dcm")
BLOCK = 64
# Runs the command line in this very process and says how large it ever was.
DRIVER = """
import re, sys
from cxray.cli import main
try:
    main(sys.argv[1:])
except SystemExit as leaving:
    print("exit", leaving.code)
print("peak", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
"""


def linked(films: Path, folder: Path, count: int) -> Path:
    """`count` links with names of their own to the films of a folder, or to one film."""
    originals = sorted(p for p in films.rglob("*") if p.suffix.lower() in SUFFIXES) if films.is_dir() else [films]
    folder.mkdir(parents=True)
    for number in range(count):
        original = originals[number % len(originals)].resolve()
        (folder / f"film-{number:06d}{original.suffix.lower()}").symlink_to(original)
    return folder


def timed(command: list[str]) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - started


def measure_overhead(given: argparse.Namespace, scratch: Path) -> None:
    seconds: dict[tuple[str, int], list[float]] = {}
    with cluster(scratch) as nodes:
        places = {"pool": "pool", "ray": nodes.address}
        for repeat in range(given.repeats):
            for size in given.sizes:
                films = scratch / f"films-{size}"
                if not films.exists():
                    linked(given.films, films, size)
                for name, address in places.items():
                    out = scratch / f"{name}-{size}-{repeat}"
                    options = ("--address", address, "--workers", 2, "--block", given.block)
                    spent = timed(events.predict_command(given.bundle, films, out, *options))
                    seconds.setdefault((name, size), []).append(spent)
                    print(f"{name}, {size} films: {spent:.1f} s", flush=True)
    small, large = min(given.sizes), max(given.sizes)
    for name in places:
        best = {size: min(seconds[name, size]) for size in given.sizes}
        per_film = (best[large] - best[small]) / (large - small)
        row: dict[str, Any] = {
            "place": name,
            "repeats": given.repeats,
            "films": f"{small} and {large}",
            "block": given.block,
        }
        row |= {"seconds_small": round(best[small], 2), "seconds_large": round(best[large], 2)}
        row |= {"ms_per_film": round(1000 * per_film, 2), "fixed_seconds": round(best[small] - small * per_film, 2)}
        append_row(RESULTS / "cluster_overhead.csv", {**facts(), **row})
        print(row, flush=True)


def measure_memory(given: argparse.Namespace, scratch: Path) -> None:
    with cluster(scratch) as nodes:
        for rows in given.rows:
            films = linked(given.films, scratch / f"films-{rows}", rows)
            table = scratch / f"{rows}.csv"
            lines = (f"{film},site-{number % 7}\n" for number, film in enumerate(sorted(films.iterdir())))
            table.write_text("path,site\n" + "".join(lines))
            for name, address in {"pool": "pool", "ray": nodes.address}.items():
                command = events.predict_command(given.bundle, table, scratch / f"{name}-{rows}", "--address", address)
                started = time.perf_counter()
                ran = subprocess.run([sys.executable, "-c", DRIVER, *command[3:]], capture_output=True, text=True)
                found = dict(re.findall(r"^(exit|peak) (\d+)$", ran.stdout, re.MULTILINE))
                if found.get("exit") != "0":
                    raise SystemExit(ran.stdout + ran.stderr)
                row = {"place": name, "rows": rows, "driver_peak_mb": round(int(found["peak"]) / 1024)}
                row["seconds"] = round(time.perf_counter() - started)
                append_row(RESULTS / "cluster_memory.csv", {**facts(), **row})
                print(row, flush=True)


def measure_faults(given: argparse.Namespace, scratch: Path) -> None:
    films = linked(given.films, scratch / "films", given.count)
    with cluster(scratch) as nodes:
        started = time.perf_counter()
        subprocess.run(events.predict_command(given.bundle, films, scratch / "pool", "--block", BLOCK), check=True)
        expected = Predictions.read(scratch / "pool" / "predictions.parquet")
        note_fault("none, local pool", scratch / "pool", expected, 0, time.perf_counter() - started)
        for name, address, event, resumes in happenings(nodes):
            out = scratch / re.sub(r"\W+", "-", name)
            command = events.predict_command(given.bundle, films, out, "--block", BLOCK, "--address", address)
            started = time.perf_counter()
            events.disturbed(command, out, event)
            kept = events.parts_in(out) * BLOCK if resumes else 0
            if resumes:
                again = events.predict_command(given.bundle, films, out, "--block", BLOCK, "--address", nodes.address)
                subprocess.run([*again, "--resume"], capture_output=True, check=True)
            note_fault(name, out, expected, kept, time.perf_counter() - started)


def happenings(nodes: Any) -> Iterator[tuple[str, str, Callable[[int], None], bool]]:
    """What happens, where the command runs, how it is done, and whether the command must be given again."""
    yield "none, two nodes", nodes.address, lambda _: None, False
    yield "an actor killed", nodes.address, events.kill_an_actor, False
    third = nodes.add_node(**events.NODE)
    yield "a node of three removed", nodes.address, lambda _: nodes.remove_node(third, allow_graceful=False), False
    yield "command and whole cluster killed, resumed on another", "local", events.kill_command_and_its_cluster, True
    yield "command of the pool killed, resumed on two nodes", "pool", events.kill_the_command, True


def note_fault(name: str, out: Path, expected: Predictions, kept: int, seconds: float) -> None:
    table = Predictions.read(out / "predictions.parquet")
    row: dict[str, Any] = {"event": name, "films": len(expected), "kept_before": kept, "rows": len(table)}
    row |= {"distinct": len(set(table.path)), "missing": len(set(expected.path) - set(table.path))}
    row |= {"scores_bit_identical": table.scores.tobytes() == expected.scores.tobytes(), "seconds": round(seconds)}
    append_row(RESULTS / "cluster_faults.csv", {**facts(), **row})
    print(row, flush=True)


@contextlib.contextmanager
def cluster(scratch: Path) -> Iterator[Any]:
    """Two nodes on this machine; the state and cache of cxray stay in `scratch`."""
    (scratch / "home").mkdir()
    with events.two_nodes_at(scratch / "home", CXRAY_CACHE=str(scratch / "cache"), OMP_NUM_THREADS="1") as nodes:
        yield nodes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    for name, action in (("overhead", measure_overhead), ("memory", measure_memory), ("faults", measure_faults)):
        kind = kinds.add_parser(name)
        kind.set_defaults(action=action)
        kind.add_argument("bundle", type=Path)
        kind.add_argument("films", type=Path)
        kind.add_argument("--sizes", type=int, nargs="+", default=[512, 2048])
        kind.add_argument("--block", type=int, default=128)
        kind.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
        kind.add_argument("--repeats", type=int, default=2)
        kind.add_argument("--films", dest="count", type=int, default=2000)
    given = parser.parse_args()
    given.bundle, given.films = given.bundle.resolve(), given.films.resolve()
    with tempfile.TemporaryDirectory(prefix="cxray-cluster-") as folder:
        os.environ.setdefault("CXRAY_STATE", str(Path(folder) / "state"))
        given.action(given, Path(folder))


if __name__ == "__main__":
    main()
