"""Blocks on all cores of this machine, without Ray: worker processes, each renewed when it dies, none taking another
with it. A worker whose driver is gone ends after its block."""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection

from cxray.cluster.score import MOST_ATTEMPTS, Job, Outcome, Scorer
from cxray.errors import CxrayError

# Spawned, not forked: inference engines have threads, which a fork would not take along.
_processes = multiprocessing.get_context("spawn")


def run(job: Job, blocks: Sequence[int], workers: int) -> Generator[Outcome, None, None]:
    """Score `blocks` with `workers` processes; outcomes as they come, in any order.

    Closing the generator ends the workers at once.
    """
    lines = [_Line(job) for _ in range(workers)]
    free: queue.SimpleQueue[_Line] = queue.SimpleQueue()
    for line in lines:
        free.put(line)

    def score(block: int) -> Outcome:
        line = free.get()
        try:
            return line.score(block)
        finally:
            free.put(line)

    left = iter(blocks)
    waiting: set[Future[Outcome]] = set()
    with ThreadPoolExecutor(workers) as threads:
        try:
            while True:
                while len(waiting) < 2 * workers and (block := next(left, None)) is not None:
                    waiting.add(threads.submit(score, block))
                if not waiting:
                    break
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()
            for line in lines:
                line.close()


class _Line:
    """One worker process at a time; another when it dies."""

    def __init__(self, job: Job) -> None:
        self._job, self._is_closed = job, False
        self._open()

    def score(self, block: int) -> Outcome:
        # The marks end this sooner; the bound here is for a worker that dies before it makes one.
        for _ in range(MOST_ATTEMPTS + 1):
            try:
                self._connection.send(block)
                outcome: Outcome = self._connection.recv()
                return outcome
            except (EOFError, OSError):
                if self._is_closed:
                    return Outcome(block, problem="stopped")
                self._process.join()
                self._open()
        return Outcome(block, problem=f"the worker process ended {MOST_ATTEMPTS + 1} times")

    def close(self) -> None:
        self._is_closed = True
        self._process.terminate()
        self._process.join()

    def _open(self) -> None:
        self._connection, theirs = _processes.Pipe()
        self._process = _processes.Process(target=_serve, args=(theirs, self._job), daemon=True)
        self._process.start()
        theirs.close()  # so that the worker's death ends the line


def _serve(connection: Connection, job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends us
    scorer: Scorer | None = None
    problem = ""
    try:
        scorer = Scorer(job)
    except CxrayError as error:
        problem = str(error)
    try:
        while True:
            block = connection.recv()
            connection.send(scorer.score(block) if scorer else Outcome(block, problem=problem))
    except (EOFError, OSError):
        return
