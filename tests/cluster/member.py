"""A small training that one process or two can do: `python -m tests.cluster.member OUT RANK WORKERS`.

`OUT/settings.txt` holds overrides of recipe demo, one a line. The films are noise: 40 to learn from, 12 to validate on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import config
from cxray.config import Recipe
from cxray.model.films import LabelledFilms
from cxray.model.fit import Workplace

SIDE = 32
SETTINGS = ("input.height=32", "input.width=32", "train.epochs=2", "model.dropout=0.0", "train.batch_size=16")


class Counted:
    """Films in memory that count how often each was asked for."""

    def __init__(self, films: int, seed: int) -> None:
        self.films = np.random.default_rng(seed).integers(0, 256, (films, SIDE, SIDE), dtype=np.uint8)
        self.taken = np.zeros(films, dtype=np.int64)

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (n, SIDE, SIDE)."""
        self.taken[indices] += 1
        return self.films[indices]


def films(count: int, seed: int, recipe: Recipe) -> LabelledFilms:
    """Noise with alternating classes and weights that differ from film to film."""
    targets = (np.arange(count) % 2).astype(np.int64)
    weights = np.linspace(0.5, 1.5, count, dtype=np.float32)
    return LabelledFilms(Counted(count, seed), np.arange(count), targets, weights, recipe.input)


def materials(out: Path) -> tuple[Recipe, int, LabelledFilms, LabelledFilms, Workplace]:
    """What both ways of training take."""
    recipe = config.load_recipe("demo", [*SETTINGS, *(out / "settings.txt").read_text().split()])
    return recipe, 2, films(40, 0, recipe), films(12, 1, recipe), Workplace(out, "noise")


def folder_for(out: Path, *settings: str) -> Path:
    """A new folder that asks for `settings`."""
    out.mkdir()
    (out / "settings.txt").write_text("\n".join(settings))
    return out


def work(out: Path, rank: int, workers: int, *, after_epoch: Any = None, state: Path | None = None) -> None:
    """Train as one of several, as `cluster_worker.work` does for a run.

    The file `kill-after` lets worker 1 kill itself once, after that many epochs.
    """
    from cxray.model.share import Share
    from cxray.model.team import Member, fit_member

    def after(row: Any, stored: Path | None) -> None:
        if after_epoch is not None:
            after_epoch(row, stored)
        order = out / "kill-after"
        if rank == 1 and order.is_file() and int(order.read_text()) == row.epoch:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    training = materials(out)
    fit_member(*training, Member(Share(rank, workers), after, state))
    np.save(out / f"taken-{rank}.npy", training[2].source.taken)  # type: ignore[attr-defined]


def largest_differences(first: Path, second: Path) -> dict[str, float]:
    """The largest absolute difference of each part of two last states: weights, optimizer, average, best."""
    ours, theirs = (np.load(folder / "checkpoint" / "state.npz") for folder in (first, second))
    assert ours.files == theirs.files
    found: dict[str, float] = {}
    for name in ours.files:
        if name != "facts":
            gap = np.abs(ours[name].astype(np.float64) - theirs[name].astype(np.float64)).max(initial=0.0)
            part = name.partition("_")[0]
            found[part] = max(found.get(part, 0.0), float(gap))
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    stored = folder / "checkpoint" / "state.npz"
    work(folder, int(sys.argv[2]), int(sys.argv[3]), state=stored if stored.is_file() else None)
