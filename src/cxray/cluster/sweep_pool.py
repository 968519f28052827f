"""A sweep on this machine, without Ray: one process a trial, a few at a time.

A trial that dies is started again and goes on from its own checkpoint. A trial that refuses (its settings or films
cannot be used) is not. Either way the others go on.
"""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from cxray import progress
from cxray.cluster.sweep import Trial
from cxray.cluster.sweep_search import Proposals
from cxray.cluster.train_pool import REFUSALS, end, last_words

_POLL_SECONDS = 0.2

# The folder of a trial -> its value, or None when it has no result yet.
Value = Callable[[Trial], float | None]


@dataclasses.dataclass
class _Running:
    trial: Trial
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    starts: int


class SweepPool:
    """Runs `command FOLDER` for every trial; `folder_of` names a trial's folder, `value_of` reads what it reached."""

    def __init__(
        self, command: Sequence[str], folder_of: Callable[[Trial], Path], value_of: Value, *, restarts: int
    ) -> None:
        self.command, self.folder_of, self.value_of, self.restarts = command, folder_of, value_of, restarts
        self.running: list[_Running] = []
        self.failures: dict[str, str] = {}

    def run(self, proposals: Proposals, parallel: int, begin: Callable[[Trial], None]) -> dict[str, str]:
        """Run all trials, `parallel` at a time; returns why trials have no result, by key.

        `begin` is called before a trial's first start.
        """
        try:
            while True:
                while len(self.running) < parallel and (trial := proposals.next()) is not None:
                    self._take(trial, proposals, begin)
                if not self.running:
                    return self.failures
                self._look(proposals)
                time.sleep(_POLL_SECONDS)
        finally:
            end([one.process for one in self.running])
            for one in self.running:
                one.log.close()

    def _take(self, trial: Trial, proposals: Proposals, begin: Callable[[Trial], None]) -> None:
        value = self.value_of(trial)
        if value is not None:
            proposals.done(trial, value)
            return
        begin(trial)
        self.running.append(self._start(trial, 1))

    def _start(self, trial: Trial, starts: int) -> _Running:
        folder = self.folder_of(trial)
        log = (folder / "log.txt").open("ab")
        process = subprocess.Popen([*self.command, str(folder)], stdout=log, stderr=log, start_new_session=True)
        return _Running(trial, process, log, starts)

    def _look(self, proposals: Proposals) -> None:
        for one in [one for one in self.running if one.process.poll() is not None]:
            self.running.remove(one)
            one.log.close()
            code = one.process.returncode
            value = self.value_of(one.trial)
            if code == 0 and value is not None:
                proposals.done(one.trial, value)
            elif code in REFUSALS or one.starts > self.restarts:
                self._give_up(one, code, proposals)
            else:
                progress.say(f"{one.trial.key} ended with code {code}: it goes on from its last epoch.")
                self.running.append(self._start(one.trial, one.starts + 1))

    def _give_up(self, one: _Running, code: int, proposals: Proposals) -> None:
        words = last_words(self.folder_of(one.trial) / "log.txt")
        self.failures[one.trial.key] = f"ended with code {code} after {one.starts} starts: {words}"
        progress.say(f"{one.trial.key} {self.failures[one.trial.key]}")
        proposals.done(one.trial, None)
