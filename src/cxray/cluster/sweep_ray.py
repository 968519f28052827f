"""A sweep on a Ray cluster: Ray Tune runs the trials, as many at once as the nodes hold, and starts dead ones again.

Tune asks the same `Proposals` (Optuna) that the process pool asks, and a trial is the same function on the same folder,
so results do not depend on where a sweep ran.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxray.cluster.session import Cluster
from cxray.cluster.sweep import Trial
from cxray.cluster.sweep_search import Proposals
from cxray.errors import ClusterError


def run_on_ray(
    work: Callable[[Path], Any],
    proposals: Proposals,
    begin: Callable[[Trial], None],
    folder_of: Callable[[Trial], Path],
    value_of: Callable[[Trial], float | None],
    *,
    needs: dict[str, float],
    restarts: int,
) -> dict[str, str]:
    """Run `work(folder)` for every trial; returns why trials have no result, by key.

    `needs` are the resources of one trial ("CPU", "GPU"); a trial that dies is started again at most `restarts` times.

    Raises:
        ClusterError: Ray gave up as a whole.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own progress would stand between ours
    from ray import tune

    from cxray.cluster.sweep_tune import search_at

    desk = Desk(proposals, begin, folder_of, value_of)
    trials = desk.waiting()
    if trials == 0:
        return {}
    storage = folder_of(desk.first()).parent.parent / ".ray"
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trainable, work=work), {n: a for n, a in needs.items() if a}),
        tune_config=tune.TuneConfig(search_alg=search_at(desk), num_samples=trials),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=restarts),
            verbose=0,
        ),
    )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            tuner.fit()
    except Exception as error:  # Ray wraps what happened in types of its own
        raise ClusterError(f"The sweep stopped: {error}", "Run the same command with --resume.") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)  # what counts lies in the trials' own folders
    return desk.failures


class Desk:
    """Hands trials that still have to run to Tune, and takes their results back."""

    def __init__(
        self,
        proposals: Proposals,
        begin: Callable[[Trial], None],
        folder_of: Callable[[Trial], Path],
        value_of: Callable[[Trial], float | None],
    ) -> None:
        self.proposals, self.begin, self.folder_of, self.value_of = proposals, begin, folder_of, value_of
        self.given: dict[str, Trial] = {}
        self.failures: dict[str, str] = {}
        self._held: Trial | None = None
        self._finished = self._skip_finished()

    def waiting(self) -> int:
        """How many trials may still have to run; an upper bound, because finished ones may follow."""
        return 0 if self._held is None else self.proposals.plan.trials - self._finished

    def first(self) -> Trial:
        """The next trial to run."""
        assert self._held is not None
        return self._held

    def take(self, number: str) -> dict[str, str] | None:
        """The next trial for Tune's trial `number`, as its configuration; None when there is no more."""
        trial = self._held
        if trial is None:
            return None
        self._skip_finished()
        self.begin(trial)
        self.given[number] = trial
        return {"folder": str(self.folder_of(trial))}

    def give_back(self, number: str, *, is_error: bool) -> None:
        """Tune's trial `number` has ended."""
        trial = self.given.pop(number)
        value = self.value_of(trial)
        if value is None:
            self.failures[trial.key] = "failed once too often" if is_error else "ended without a result"
        self.proposals.done(trial, value)

    def _skip_finished(self) -> int:
        """Move on to the next trial without a result; returns how many had one."""
        count = 0
        while (trial := self.proposals.next()) is not None:
            value = self.value_of(trial)
            if value is None:
                break
            self.proposals.done(trial, value)
            count += 1
        self._held = trial
        return count


def _trainable(config: dict[str, str], work: Callable[[Path], Any]) -> dict[str, Any]:
    """What Ray runs for every trial."""
    work(Path(config["folder"]))
    return {"done": 1}


def check_room(cluster: Cluster, needs: dict[str, float]) -> None:
    """Refuse a cluster no node of which could ever hold one trial: Ray would wait for ever.

    Raises:
        ClusterError: too few processors or GPUs on every node.
    """
    nodes = cluster.nodes
    if not any(node.cpus >= needs.get("CPU", 0) and node.gpus >= needs.get("GPU", 0) for node in nodes):
        sizes = ", ".join(f"{node.host}: {node.cpus} processors, {node.gpus} GPUs" for node in nodes)
        raise ClusterError(
            f"No node can hold one trial with {needs.get('CPU', 0):g} processors and {needs.get('GPU', 0):g} GPUs "
            f"({sizes}).",
            "Ask for less with --cpus or --gpus.",
        )
