"""`cxray cluster train`: one training by several workers, on nodes of a Ray cluster or as processes of this machine.

    audit, division, films (as `cxray train`) ─► the team trains ─► the chief's last state ─► bundle, judgement, report

The run's folder is that of `cxray train` and must lie where every node sees it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cxray import progress, rundir
from cxray.cluster.nodes import check_nodes
from cxray.cluster.session import POOL, choose_address, connected
from cxray.cluster.train_pool import python_module, run_team
from cxray.config import Recipe
from cxray.errors import UsageError
from cxray.tables import read_table
from cxray.workflow.cluster_worker import CHIEF_LOG, NODE_MODULES, TEAM, work
from cxray.workflow.run_order import Order, command_line, load_settings
from cxray.workflow.train import Run, carry_out

RESTARTS = 2
_FOLLOW_SECONDS = 0.5
_FIXED = ("path", "label", "patient", "split")


@dataclasses.dataclass(frozen=True)
class Team:
    """Who trains: how many workers, where ("pool" = processes of this machine), and with what each."""

    workers: int
    address: str = ""
    cpus: int = 1
    gpus: int = 0
    restarts: int = RESTARTS


def train(
    data: Path,
    out: Path,
    team: Team,
    *,
    recipe: str = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    findings: Sequence[str] = (),
    accept: Sequence[str] = (),
) -> Run:
    """Train a classifier on `data` by `team.workers` workers and leave in `out` what `cxray train` leaves.

    Two workers give the network of one on the same batches, up to rounding and the units that dropout leaves out.
    After a worker's death all go on from the last finished epoch, at most `team.restarts` times.

    Raises:
        MissingExtra: TensorFlow or Ray is not installed, or a version that was not proven.
        ConfigError, DataError, LabelError, SplitError: as `cxray train`, or settings that workers cannot share.
        ClusterError: the cluster cannot be reached, is too small, or the workers failed once too often.
        OutputError: the run cannot be written.
    """
    address = choose_address(team.address)
    settings = load_settings(recipe, overrides, seed, accept)
    _check(settings, team)
    data, out = data.absolute(), out.absolute()
    command = command_line(
        f"cluster train --workers {team.workers}", data, out, recipe, overrides, seed=seed, findings=findings,
        accept=accept,
    )  # fmt: skip
    order = Order(data, out, settings, command, tuple(findings), resume=resume, overwrite=overwrite)
    if address == POOL:
        return carry_out(order, _team_fit(_in_processes, team))
    with connected(address, feature="Training on a cluster", cpus=team.workers * team.cpus) as cluster:
        from cxray.cluster.train_ray import check_room, run_workers

        check_room(cluster, team.workers, cpus=team.cpus, gpus=team.gpus)

        def on_ray(run: Path, state: Path | None, team: Team) -> None:
            check_nodes(cluster, modules=NODE_MODULES, extra="cluster,train", folder=run)
            needs = {"CPU": float(team.cpus), "GPU": float(team.gpus)}
            run_workers(work, run, state, workers=team.workers, needs=needs, restarts=team.restarts)

        return carry_out(order, _team_fit(on_ray, team))


def _check(settings: Recipe, team: Team) -> None:
    if team.workers < 2:
        raise UsageError(f"A team needs at least 2 workers, got {team.workers}.", "One trains with `cxray train`.")
    from cxray.model.multiworker import check_settings, check_versions

    check_versions()
    check_settings(settings, team.workers)


def _team_fit(engine: Callable[[Path, Path | None, Team], None], team: Team) -> Any:
    """A way of training for `workflow.train`: `engine` runs the workers, this process collects what they made."""

    def fit(settings: Recipe, classes: int, training: Any, validation: Any, place: Any) -> Any:
        from cxray.model.team import collect

        state = _prepare(place, settings, team)
        interrupted = False
        with _following(place.folder / CHIEF_LOG):
            try:
                engine(place.folder, state, team)
            except KeyboardInterrupt:
                if not place.checkpoint.is_file():
                    raise
                interrupted = True
                progress.say("Interrupted: keeping the best weights so far.")
        return collect(settings, classes, training, validation, place, team.workers, interrupted=interrupted)

    return fit


def _in_processes(run: Path, _state: Path | None, team: Team) -> None:
    # A worker reads the state itself, because after a restart it is a later one.
    command = python_module("cxray.workflow.cluster_worker", run)
    run_team(command, team.workers, run / TEAM.parent, restarts=team.restarts)


def _prepare(place: Any, settings: Recipe, team: Team) -> Path | None:
    """Write what the workers need to know; returns the state to go on from, one that nobody writes to."""
    columns = read_table(place.folder / "splits.csv")
    findings = [name for name in columns if name not in _FIXED]
    progress.say(f"{team.workers} workers, each {settings.train.batch_size // team.workers} films of every batch.")
    rundir.write_json(place.folder / TEAM, {"fingerprint": place.fingerprint, "findings": findings})
    if not place.checkpoint.is_file():
        return None
    start = place.checkpoint.with_name("start.npz")
    rundir.write_bytes(start, place.checkpoint.read_bytes())
    return Path(start)


@contextlib.contextmanager
def _following(log: Path) -> Iterator[None]:
    """Say here what the chief says, while the block runs."""
    over = threading.Event()
    place = log.stat().st_size if log.is_file() else 0

    def pass_on(place: int) -> int:
        if not log.is_file():
            return place
        with log.open("rb") as stream:
            stream.seek(place)
            whole, _, _ = stream.read().rpartition(b"\n")
        for line in whole.decode("utf-8", "replace").splitlines():
            progress.say(line.partition(" ")[2])  # without the chief's own time
        return place + len(whole) + bool(whole)

    def follow(place: int) -> None:
        while not over.wait(_FOLLOW_SECONDS):
            place = pass_on(place)
        pass_on(place)

    thread = threading.Thread(target=follow, args=(place,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
