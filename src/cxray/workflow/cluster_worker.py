"""One worker of a training on several machines: it finds everything it needs in the run's folder.

    config.toml, splits.csv, checkpoint/team.json ─► films of train and validation ─► its part of every batch

Run as `python -m cxray.workflow.cluster_worker RUN RANK WORKERS` on one machine, or called inside a Ray worker.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cxray import progress
from cxray.cluster.train_pool import exit_code_of
from cxray.config import recipe_from_toml
from cxray.data.intake import read_dataset
from cxray.data.split import Division
from cxray.errors import DataError, OutputError
from cxray.workflow.run_films import RunFilms

TEAM = Path("checkpoint") / "team.json"
# Of the extra "train", those that load in no time: where they are, TensorFlow was installed as well.
NODE_MODULES = ("h5py", "onnx", "tqdm")
CHIEF_LOG = Path("checkpoint") / "chief.log"


def work(run: Path, rank: int, workers: int, *, after_epoch: Any = None, state: Path | None = None) -> None:
    """Train as worker `rank` of `workers`, from `state` on if there is one.

    `after_epoch` is called after every epoch with the epoch and, on worker 0, the file of the state.

    Raises:
        OutputError: the run's folder cannot be seen from here.
        DataError: this machine sees other films than the one that started the run.
    """
    if not (run / TEAM).is_file():
        raise OutputError(
            f"{_here()} does not see {run}.", "Put --out on storage that all nodes share, under the same path."
        )
    if rank:
        _train(run, rank, workers, after_epoch, state)
        return
    with progress.logged_to(run / CHIEF_LOG):
        _train(run, rank, workers, after_epoch, state)


def _train(run: Path, rank: int, workers: int, after_epoch: Any, state: Path | None) -> None:
    team = json.loads((run / TEAM).read_text("utf-8"))
    settings = recipe_from_toml((run / "config.toml").read_text("utf-8"), str(run / "config.toml"))
    intake = read_dataset(run / "splits.csv", findings=team["findings"])
    films = RunFilms.prepare(Division(intake.records, ()), settings)
    if films.run_fingerprint(settings) != team["fingerprint"]:
        raise DataError(
            f"{_here()} sees other films than the machine that started the run.",
            "Put DATA on storage that all nodes share, under the same path.",
        )
    from cxray.model.fit import Workplace
    from cxray.model.share import Share
    from cxray.model.team import Member, fit_member

    place = Workplace(run, team["fingerprint"], resume=state is not None)
    member = Member(Share(rank, workers), after_epoch or (lambda _row, _state: None), state)
    training, validation = (films.labelled(split, settings, intake) for split in ("train", "validation"))
    fit_member(settings, len(intake.classes), training, validation, place, member)


def _here() -> str:
    import platform

    return platform.node()


def main(run: Path, rank: int, workers: int) -> None:
    """Work as the command line says, from the last state on if there is one."""
    state = run / "checkpoint" / "state.npz"
    work(run, rank, workers, state=state if state.is_file() else None)


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
