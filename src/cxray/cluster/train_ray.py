"""A training team on a Ray cluster: Ray Train's `TensorflowTrainer` starts the workers and starts them again.

After every epoch all workers report, the chief with its state as the checkpoint; after a death Ray gives the last
registered one back to all of them, so that nobody goes on from another epoch than the rest.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cxray.cluster.session import Cluster
from cxray.errors import ClusterError

STATE = "state.npz"
# work(run, rank, workers, after_epoch=…, state=…)
Work = Callable[..., None]


def check_room(cluster: Cluster, workers: int, *, cpus: int, gpus: int) -> None:
    """Refuse a cluster that could never hold all workers at once: Ray would wait for ever.

    Raises:
        ClusterError: too few processors or GPUs.
    """
    for name, have, each in (("processors", cluster.cpus, cpus), ("GPUs", cluster.gpus, gpus)):
        if have < workers * each:
            raise ClusterError(
                f"{workers} workers with {each} {name} each need {workers * each}; the cluster has {have}.",
                "Use fewer --workers, or add nodes.",
            )


def run_workers(
    work: Work, run: Path, state: Path | None, *, workers: int, needs: dict[str, float], restarts: int
) -> None:
    """Run `work` for every rank until all have ended well; `state` is where they begin, or None.

    `needs` are the resources of one worker ("CPU", "GPU"). After a failure all begin again from the last epoch, at most
    `restarts` times.

    Raises:
        ClusterError: a worker failed once too often; the message has its reason.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    settings = {"work": work, "run": str(run), "state": str(state) if state else "", "workers": workers}
    resources = {name: amount for name, amount in needs.items() if amount}
    storage = run / "checkpoint" / "ray"
    shutil.rmtree(storage, ignore_errors=True)  # an earlier attempt's; what counts is `state`
    trainer = TensorflowTrainer(
        _loop,
        train_loop_config=settings,
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=needs.get("GPU", 0) > 0,
            resources_per_worker=resources,
            placement_strategy="SPREAD",
        ),
        run_config=RunConfig(
            name="team", storage_path=str(storage), failure_config=FailureConfig(max_failures=restarts)
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps what happened in types of its own
        raise ClusterError(
            f"The team of {workers} failed once too often: {_reason(error)}", "The run goes on with --resume."
        ) from error


def _loop(settings: dict[str, Any]) -> None:
    """What Ray runs on every worker."""
    from ray import train

    rank, run = train.get_context().get_world_rank(), Path(settings["run"])
    with _last_state(train, settings["state"]) as state:
        settings["work"](run, rank, settings["workers"], after_epoch=_report, state=state)


@contextlib.contextmanager
def _last_state(train: Any, given: str) -> Iterator[Path | None]:
    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        yield Path(given) if given else None
        return
    with checkpoint.as_directory() as folder:
        yield Path(folder) / STATE


def _report(row: Any, state: Path | None) -> None:
    """Every worker reports every epoch; Ray waits for all of them, and only the chief brings the state."""
    from ray import train

    facts = {"epoch": row.epoch, "loss": row.train_loss}
    if state is None:
        train.report(facts)
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(state, Path(folder) / STATE)
        train.report(facts, checkpoint=train.Checkpoint.from_directory(folder))


def _reason(error: BaseException) -> str:
    """The line of Ray's long story that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if "Error: " in line or "died" in line]
    return (own or lines or [type(error).__name__])[-1][:500]
