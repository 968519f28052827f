"""Micro-batching: films that wait while the engine is busy go into its next run together.

    submit() ─► waiting line ─► up to `batch` films ─► one engine run in the model thread ─► each caller's row

The engine never idles to fill a batch, so one lonely film pays no waiting time, and under load batches grow by
themselves. A caller that went away or ran out of time takes its film with it. The line is bounded by the places that
`admission` gives out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.serve.problems import Problem

Run = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[Any]]]
log = logging.getLogger("cxray.serve")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One film's row of every output of the run, and the seconds it waited and ran in a batch of `films`."""

    outputs: Mapping[str, npt.NDArray[Any]]
    waited: float
    ran: float
    films: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Waiting:
    film: npt.NDArray[np.float32]
    answer: asyncio.Future[Row]
    since: float


class BatchQueue:
    """The waiting line of one model; `run` is called in `executor` with float32 films (N, height, width, 1)."""

    def __init__(self, run: Run, executor: Executor, *, batch: int, seen: Callable[[int], None]) -> None:
        self._run, self._executor, self._batch, self._seen = run, executor, batch, seen
        self._line: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._line)

    def start(self) -> None:
        """Begin to work."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop working; films still in line are refused."""
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for item in self._line:
            if not item.answer.done():
                item.answer.set_exception(Problem("draining"))
        self._line.clear()

    async def submit(self, film: npt.NDArray[np.float32]) -> Row:
        """Wait for the row of one film, float32 (height, width, 1).

        Raises:
            Problem: the engine failed.
        """
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._line.append(_Waiting(film, answer, time.monotonic()))
        self._wake.set()
        return await answer

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                await self._answer(batch)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._line and len(batch) < self._batch:
            item = self._line.popleft()
            if not item.answer.done():  # done here means cancelled: nobody waits for it any more
                batch.append(item)
        # Engines prepare themselves anew for every size they have not seen; with powers of two there are few of them.
        while len(batch) & (len(batch) - 1):
            self._line.appendleft(batch.pop())
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        started = time.monotonic()
        films = np.stack([item.film for item in batch])
        try:
            outputs = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, films)
        except Exception:
            log.exception("the engine failed on a batch of %d films", len(batch))
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(Problem("model_failed"))
            return
        ran = time.monotonic() - started
        self._seen(len(batch))
        for k, item in enumerate(batch):
            if not item.answer.done():
                row = {name: array[k] for name, array in outputs.items()}
                item.answer.set_result(Row(row, started - item.since, ran, len(batch)))
