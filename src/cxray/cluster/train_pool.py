"""A training team on this machine, without Ray: one process a worker, found through TF_CONFIG on the loopback.

When a worker dies, the others cannot go on: all are ended and started again, and the last state is where they begin.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cxray import progress
from cxray.errors import ClusterError, CxrayError

_POLL_SECONDS = 0.2
# A survivor notices a dead peer within seconds; whoever has not left by then is ended.
_GRACE_SECONDS = 10.0
# Exit codes of sentences for the user (`cxray.errors`): starting again would end the same way.
REFUSALS = range(2, 10)


@dataclasses.dataclass(frozen=True)
class Failed:
    """The worker that failed first, its exit code and the last lines it wrote."""

    rank: int
    code: int
    words: str


def run_team(command: Sequence[str], workers: int, logs: Path, *, restarts: int) -> None:
    """Run `command RANK WORKERS` for every rank until all have ended well; start again at most `restarts` times.

    Each worker writes to `logs/worker-RANK.log`.

    Raises:
        ClusterError: a worker refused, or failed once too often; the message has its last words.
    """
    for attempt in range(restarts + 1):
        failed = _attempt(command, workers, logs)
        if failed is None:
            return
        if failed.code in REFUSALS or attempt == restarts:
            raise ClusterError(
                f"Worker {failed.rank} of {workers} ended with code {failed.code}: {failed.words}",
                f"What it wrote: {logs / f'worker-{failed.rank}.log'}. The run goes on with --resume.",
            )
        progress.say(f"Worker {failed.rank} ended with code {failed.code}: all start again from the last epoch.")


def _attempt(command: Sequence[str], workers: int, logs: Path) -> Failed | None:
    addresses = _free_addresses(workers)
    with contextlib.ExitStack() as stack:
        processes = []
        for rank in range(workers):
            log = stack.enter_context((logs / f"worker-{rank}.log").open("ab"))
            environment = {**os.environ, "TF_CONFIG": _tf_config(addresses, rank), "KERAS_BACKEND": "tensorflow"}
            processes.append(
                subprocess.Popen([*command, str(rank), str(workers)], stdout=log, stderr=log, env=environment)
            )
        stack.callback(end, processes)
        first = _first_failure(processes)
    if first is None:
        return None
    return Failed(first, processes[first].returncode, last_words(logs / f"worker-{first}.log"))


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all to end well (None), or for the first that does not."""
    while True:
        codes = [process.poll() for process in processes]
        # Killed by a signal comes first: the others only fail because of it.
        for rank, code in sorted(enumerate(codes), key=lambda pair: (pair[1] or 0) >= 0):
            if code not in (None, 0):
                return rank
        if all(code == 0 for code in codes):
            return None
        time.sleep(_POLL_SECONDS)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes that still run, kindly first."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def _tf_config(addresses: Sequence[str], rank: int) -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}})


def last_words(log: Path) -> str:
    """The line of a log that says best why its process ended."""
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["it wrote nothing"])[-1][:500]


def python_module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of ours with this interpreter."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def exit_code_of(work: Callable[[], object]) -> int:
    """Do what a process of ours was started for; an error of the user's is one line on stderr and its own exit code."""
    try:
        work()
    except CxrayError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0
