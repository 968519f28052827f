"""Two workers beside one process: how far apart the networks end, also with a worker killed; needs `[train,cluster]`.

    python benchmarks/cluster_train.py [--only CASE …]

The training is small (40 films of noise, 32 pixels, two or three epochs): exactness is measured, not speed. The control
is one process that gets the two halves of every batch in the other order: the same mathematics, other rounding. What
batch normalisation makes of rounding errors is seen there, and in one process whose variance is taken as Keras's own
synchronised layer takes it. Appended to `results/cluster_train.csv`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import append_row, facts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.cluster.events import two_nodes_at
from tests.cluster.member import folder_for, largest_differences, work

from cxray.cluster.train_pool import run_team

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
PLAIN = ("model.backbone=article_cnn", "train.clip_norm=0.05")
SGD = ("model.backbone=article_cnn", "train.optimizer=sgd", "train.learning_rate=0.01", "train.epochs=3")
NORMALISED = ("train.optimizer=sgd", "train.learning_rate=0.01")
FROZEN = ("train.frozen_epochs=1", "model.backbone=small_cnn", "train.optimizer=sgd", "train.learning_rate=0.01")
ALONE = """
import sys
from pathlib import Path
import tensorflow as tf
import cxray.model.train as training
from tests.cluster.member import materials
if sys.argv[2] == "swapped":
    straight = training.training_batches
    def halves(*columns):
        return tuple(tf.concat([c[tf.shape(c)[0] // 2:], c[:tf.shape(c)[0] // 2]], 0) for c in columns)
    training.training_batches = lambda *a, **k: straight(*a, **k).map(halves)
if sys.argv[2] == "formula":
    import keras
    build = training.build_network
    def synchronised(*arguments):
        network = build(*arguments)
        for layer in network.model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        return network
    training.build_network = synchronised
training.fit(*materials(Path(sys.argv[1])))
"""


def alone(folder: Path, order: str = "straight") -> None:
    """The training by one process."""
    subprocess.run([sys.executable, "-c", ALONE, str(folder), order], cwd=ROOT, check=True, capture_output=True)


def swapped(folder: Path) -> None:
    """One process, the halves of every batch in the other order."""
    alone(folder, "swapped")


def formula(folder: Path) -> None:
    """One process with the variance as Keras's own synchronised layer takes it."""
    alone(folder, "formula")


def pool(folder: Path) -> None:
    """Two processes of this machine."""
    run_team([sys.executable, "-m", "tests.cluster.member", str(folder)], 2, folder, restarts=1)


def pool_killed(folder: Path) -> None:
    """The same; worker 1 is killed when it has finished an epoch."""
    (folder / "kill-after").write_text("2")
    pool(folder)


def ray(folder: Path) -> None:
    """Two workers on two nodes of Ray on this machine."""
    with tempfile.TemporaryDirectory() as home, two_nodes_at(Path(home), PYTHONPATH=str(ROOT)) as nodes:
        from cxray.cluster.session import connected
        from cxray.cluster.train_ray import run_workers

        with connected(nodes.address, feature="This benchmark"):
            run_workers(work, folder, None, workers=2, needs={"CPU": 1.0}, restarts=1)


def ray_killed(folder: Path) -> None:
    """The same; worker 1 is killed when it has finished an epoch."""
    (folder / "kill-after").write_text("2")
    ray(folder)


CASES: dict[str, tuple[tuple[str, ...], Callable[[Path], None]]] = {
    "Adam, clipping, average, augmentation": (PLAIN, pool),
    "SGD, a worker killed": (SGD, pool_killed),
    "SGD, Ray": (SGD, ray),
    "SGD, Ray, a worker killed": (SGD, ray_killed),
    "batch normalisation": (NORMALISED, pool),
    "batch normalisation, control": (NORMALISED, swapped),
    "batch normalisation, formula of Keras": (NORMALISED, formula),
    "frozen stage, batch normalisation": (FROZEN, pool),
    "frozen stage, control": (FROZEN, swapped),
}


def main() -> None:
    """Run the cases and write one row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.chdir(ROOT)
    references: dict[tuple[str, ...], Path] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, name in enumerate(given.only):
            settings, way = CASES[name]
            if settings not in references:
                references[settings] = folder_for(Path(scratch) / f"one-{number}", *settings)
                alone(references[settings])
            folder = folder_for(Path(scratch) / f"two-{number}", *settings)
            started = time.perf_counter()
            way(folder)
            seconds = time.perf_counter() - started
            gaps = {part: f"{gap:.1e}" for part, gap in largest_differences(references[settings], folder).items()}
            print(name, gaps, f"{seconds:.0f} s", flush=True)
            row = {"case": name, **gaps, "seconds": round(seconds, 1), "settings": " ".join(settings), **facts()}
            append_row(RESULTS / "cluster_train.csv", dict(row))


if __name__ == "__main__":
    main()
