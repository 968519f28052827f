"""Blocks on a Ray cluster: Ray Data hands block numbers, not films, to a pool of actors that hold the engine.

Films are read where they are scored, and results are written there, so that the driver sees a few numbers a block and
its memory does not grow with the films. What Ray repeats after an actor or a node died is one block; blocks that were
written are never repeated, because a part that exists is an answer.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from cxray import progress
from cxray.cluster.score import MOST_ATTEMPTS, Job, Outcome, Scorer
from cxray.errors import ClusterError

# An actor begins again for every block that kills it; blocks bound their attempts themselves (`score.MOST_ATTEMPTS`).
MOST_RESTARTS = 1000
# A block that waits behind one that kills the actor loses a try of Ray's without being begun.
MOST_TRIES = 3 * MOST_ATTEMPTS
_KINDS = {"problem": object, "node": object}


def run(job: Job, blocks: Sequence[int], workers: int) -> Generator[Outcome, None, None]:
    """Score `blocks` with at most `workers` actors of one processor; outcomes as they come, in any order.

    Blocks that a node could not write, its disk being full, are done once more on nodes that can: such a node fails
    fast, and would otherwise draw one block after the other.

    Raises:
        ClusterError: Ray gave up.
    """
    import ray
    import ray.data

    _be_quiet(ray)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # what a lost block costs is found out by looking at the parts
    left, shunned = list(blocks), set[str]()
    while left:
        full, unwritten = set[str](), list[Outcome]()
        for outcome, node in _pass(ray, job, left, workers, shunned):
            if outcome.unwritten:
                full.add(node)
                unwritten.append(outcome)
            else:
                yield outcome
        if not _nodes(ray) - shunned - full:
            yield from unwritten
            return
        if unwritten:
            progress.say(f"{len(unwritten)} blocks are left to other nodes, the first because: {unwritten[0].problem}")
        left, shunned = [outcome.block for outcome in unwritten], shunned | full


def _pass(ray: Any, job: Job, blocks: Sequence[int], workers: int, shunned: set[str]) -> Iterator[tuple[Outcome, str]]:
    """Each block once, with the node that did it; `shunned` nodes get none."""
    source = ray.data.from_items([{"block": block} for block in blocks], override_num_blocks=len(blocks))
    try:
        for row in _with_actors(ray, source, job, min(workers, len(blocks)), shunned).iter_rows():
            block, films, failed = (int(row[name]) for name in ("block", "films", "failed"))
            yield Outcome(block, films, failed, str(row["problem"]), bool(row["unwritten"])), str(row["node"])
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"The cluster stopped working on the films: {_first_line(error)}",
            "What was scored is kept; see that the cluster is well (`ray status`) and go on with --resume.",
        ) from error


def _nodes(ray: Any) -> set[str]:
    """The nodes that could do a block."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}


def _with_actors(ray: Any, dataset: Any, job: Job, workers: int, shunned: set[str]) -> Any:
    # Two blocks an actor, so that it need not wait for the driver between them, which looks ten times a second only.
    pool = ray.data.ActorPoolStrategy(
        min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
    )
    bounds: dict[str, Any] = {"max_restarts": MOST_RESTARTS, "max_task_retries": MOST_TRIES}
    if shunned:
        bounds["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(shunned))})"}
    with warnings.catch_warnings():
        # Ray 2.60 announces that these will be named otherwise in 2.64 and does not know the other names yet.
        warnings.simplefilter("ignore", DeprecationWarning)
        return dataset.map_batches(
            BlockActor, fn_constructor_kwargs={"job": job}, batch_size=1, num_cpus=1, compute=pool, **bounds
        )


class BlockActor:
    """What Ray Data calls: a batch of one block number to its outcome."""

    def __init__(self, job: Job) -> None:
        import ray

        self._scorer = Scorer(job)
        self._node = ray.get_runtime_context().get_node_id()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`block` (1,) to the fields of its outcome and `node`, each (1,)."""
        outcomes = [self._scorer.score(int(block)) for block in batch["block"]]
        rows = [{**dataclasses.asdict(outcome), "node": self._node} for outcome in outcomes]
        return {name: np.array([row[name] for row in rows], dtype=_KINDS.get(name)) for name in rows[0]}


def _be_quiet(ray: Any) -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
