"""When more machines stop helping: the arithmetic, not a measurement; writes `results/cluster_model.csv`.

    python benchmarks/cluster_model.py

Scoring: hours = max(films × seconds / (nodes × cores), films × bytes / min(nodes × link, archive)). Reading overlaps
computing, the load is even, inference runs on processors. Training: a step takes batch / rate + 2 (N - 1) / N ×
gradient bytes / link, nothing overlaps, which is pessimistic; one GPU a node, each node's batch stays as it is.

The seconds a film and bytes are those of synthetic 12-bit films and DenseNet121 on one core of the machine of all
figures here; real files vary by half. The rates of a GPU are assumptions.
"""

from __future__ import annotations

import csv
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "cluster_model.csv"
FILMS, CORES = 10_000_000, 16
TEN_GIGABIT = 1.1e9  # bytes a second that a 10 GbE link carries
NODES = (1, 2, 4, 8, 16, 32)
OVERHEAD = 1.07  # what the cluster costs a film
# Film: processor seconds for decoding, resizing and inference; bytes of the file.
CASES = {
    "uncompressed 2000 x 2000, network of 224": (0.04, 8.0e6),
    "uncompressed 2000 x 2000, network of 512": (0.20, 8.0e6),
    "JPEG 2000 1024 x 1024, network of 224": (0.13, 0.8e6),
    "JPEG 2000 2000 x 2000, network of 224": (0.40, 3.0e6),
    "JPEG 2000 3000 x 2500, network of 512": (0.88, 5.7e6),
}
LINKS = {"1 GbE": 0.118e9, "10 GbE": 1.1e9, "25 GbE": 2.75e9, "100 GbE": 11e9}
GRADIENT_BYTES, BATCH, TRAINING_FILMS = 28.2e6, 64, 377_000
RATES = {224: 1000.0, 512: 190.0}  # films a second of one GPU, assumed


def scoring_hours(seconds: float, size: float, nodes: int) -> float:
    """Hours for `FILMS` films of `seconds` on one core and `size` bytes."""
    computing = FILMS * seconds * OVERHEAD / (nodes * CORES)
    reading = FILMS * size / min(nodes * TEN_GIGABIT, TEN_GIGABIT)
    return max(computing, reading) / 3600


def nodes_that_saturate(seconds: float, size: float) -> float:
    """Nodes at which the archive's link is full: more do nothing."""
    return seconds * OVERHEAD * TEN_GIGABIT / (size * CORES)


def step_seconds(rate: float, link: float, nodes: int) -> float:
    """One step of data-parallel training with ring all-reduce."""
    return BATCH / rate + 2 * (nodes - 1) / nodes * GRADIENT_BYTES / link


def main() -> None:
    rows: list[dict[str, object]] = []
    for case, (seconds, size) in CASES.items():
        row: dict[str, object] = {"model": "scoring, hours for 10,000,000 films", "case": case}
        row |= {f"{n} nodes": round(scoring_hours(seconds, size, n)) for n in NODES}
        rows.append({**row, "saturates at nodes": round(nodes_that_saturate(seconds, size), 1)})
    for side, rate in RATES.items():
        for name, link in LINKS.items():
            row = {"model": "training, minutes an epoch of 377,000 films", "case": f"{side} pixels, {name}"}
            for n in NODES:
                steps = TRAINING_FILMS / (BATCH * n)
                row[f"{n} nodes"] = round(steps * step_seconds(rate, link, n) / 60, 1)
            rows.append(
                {**row, "efficiency at 16": f"{step_seconds(rate, link, 1) / step_seconds(rate, link, 16):.0%}"}
            )
    names = list(dict.fromkeys(name for row in rows for name in row))
    with RESULT.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(" | ".join(str(row.get(name, "")) for name in names))


if __name__ == "__main__":
    main()
