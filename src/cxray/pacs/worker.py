"""The worker: takes jobs from the queue, assesses films, delivers results. It may be killed at any instant.

Results are written to the outbox before they are delivered and are delivered from there, so a second try sends the
same bytes. When the PACS cannot be reached the films go on being assessed and the results wait; only a PACS that
looks at a result and refuses it, or a film that breaks the worker, uses up attempts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from cxray import rundir
from cxray.pacs.assess import SkippedFilm
from cxray.pacs.delivery import Rejected, Target, Unreachable
from cxray.pacs.identity import KINDS
from cxray.pacs.journal import Journal
from cxray.pacs.queue import Job, Queue
from cxray.pacs.reading import Maker, Reading
from cxray.pacs.results import build_results
from cxray.pacs.state import State

_SCORE_EDGES = tuple(k / 10 for k in range(1, 11))


class Judge(Protocol):
    """What the worker needs of a model: see `assess.Assessor`."""

    @property
    def maker(self) -> Maker:
        """Who reports, and under which version of everything that decides."""
        ...

    def assess(self, path: Path) -> tuple[Dataset, Reading]:
        """The header of a film and what the model makes of it; see `assess.Assessor.assess`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """How stubborn the worker is. Waits double from `first_wait_seconds` to `longest_wait_seconds`."""

    attempts: int = 5
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 300.0
    give_up_hours: float = 72.0

    def wait_seconds(self, attempt: int) -> float:
        """How long to wait after attempt number `attempt` (from 1)."""
        return float(min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** (min(attempt, 40) - 1)))


@dataclasses.dataclass(eq=False)
class Worker:
    """One pass is `step`; the node calls it until it is told to stop."""

    state: State
    queue: Queue
    judge: Judge
    target: Target
    journal: Journal
    retry: Retry = dataclasses.field(default_factory=Retry)
    kinds: tuple[str, ...] = KINDS
    keep_films: bool = False
    _silent_until: float = 0.0
    _failures: int = 0

    def step(self) -> bool:
        """Do the next due thing; False when there was none."""
        may_send = time.time() >= self._silent_until
        job = self.queue.claim("ready", "waiting") if may_send else self.queue.claim("waiting")
        if job is None:
            return False
        if job.state == "working":
            self._assess(job)
        else:
            self._deliver(job)
        return True

    def _assess(self, job: Job) -> None:
        if job.attempts > self.retry.attempts:
            self._bury(job, "worker-died")  # each earlier attempt ended without a word
            return
        started = time.monotonic()
        try:
            film, reading = self.judge.assess(self.state.spooled(job.key))
            results = build_results(film, reading, self.judge.maker, kinds=self.kinds)
            self._write(job.key, results)
        except SkippedFilm as error:
            self.state.forget(job.key)
            counts = {("skipped", error.reason): 1.0}
            self.queue.move("skip", job, outcome="skipped", reason=error.reason, counts=counts)
            self.journal.note("skipped", film=job.key, reason=error.reason)
        except OSError as error:
            self.journal.fault(error, film=job.key)
            self._put_off(job, "disk")
        except Exception as error:  # one film must not stop the others; its text may quote the patient
            self.journal.fault(error, film=job.key)
            self._put_off(job, "fault")
        else:
            self._built(job, reading, time.monotonic() - started)

    def _built(self, job: Job, reading: Reading, seconds: float) -> None:
        reason = reading.refusal.reason if reading.refusal else ""
        counts = {("assessed", reading.outcome): 1.0, ("seconds", "assess"): seconds, ("steps", "assess"): 1.0}
        if reason:
            counts["refused", reason] = 1.0
        for finding in reading.findings:
            edge = next(edge for edge in _SCORE_EDGES if finding.probability <= edge)
            counts["scores", f"{finding.name}|{edge:.1f}"] = 1.0
        self.queue.move("build", job, outcome=reading.outcome, reason=reason, due=time.time(), counts=counts)
        self.journal.note("assessed", film=job.key, outcome=reading.outcome, reason=reason or "none", seconds=seconds)

    def _write(self, key: str, results: dict[str, Dataset]) -> None:
        folder = self.state.outbox(key)
        part = folder.with_name(f".{key}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        part.mkdir()
        for kind, result in results.items():
            with (part / f"{kind}.dcm").open("wb") as stream:
                result.save_as(stream, enforce_file_format=True)
                os.fsync(stream.fileno())
        part.rename(folder)

    def _deliver(self, job: Job) -> None:
        results = {path.stem: path for path in sorted(self.state.outbox(job.key).glob("*.dcm"), key=_order)}
        if not results:
            self.queue.move("rebuild", job)
            return
        started = time.monotonic()
        try:
            fresh = self.target.deliver(job.key, results)
        except Unreachable as error:
            self._failures += 1
            wait = self.retry.wait_seconds(self._failures)
            self._silent_until = time.time() + wait
            self.target.close()
            self.journal.note("unreachable", film=job.key, reason=error.reason, wait_seconds=wait)
            self.queue.count({("deliveries", "unreachable"): 1.0})
            self._put_back(job, error.reason)
        except Rejected as error:
            self.queue.count({("deliveries", "rejected"): 1.0})
            self._put_off(job, error.reason)
        except Exception as error:
            self.journal.fault(error, film=job.key)
            self.target.close()
            self._put_off(job, "fault")
        else:
            self._failures = 0
            seconds = time.monotonic() - started
            self._finish(job, len(results), fresh, seconds)

    def _finish(self, job: Job, sent: int, fresh: int, seconds: float) -> None:
        counts = {
            ("deliveries", "done"): 1.0,
            ("results", "new"): float(fresh),
            ("results", "already-there"): float(sent - fresh),
            ("seconds", "deliver"): seconds,
            ("steps", "deliver"): 1.0,
            ("seconds", "turnaround"): time.time() - job.added,
            ("steps", "turnaround"): 1.0,
        }
        self.queue.move("finish", job, counts=counts)
        # After the commit: a worker killed here leaves files, which the next start sweeps, and never a job without.
        if not self.keep_films:
            self.state.forget(job.key)
        self.journal.note("delivered", film=job.key, results=sent, new=fresh, seconds=seconds)

    def _put_back(self, job: Job, reason: str) -> None:
        """A delivery that met nobody: it costs no attempt, but not for ever."""
        if time.time() - job.added > self.retry.give_up_hours * 3600:
            self._bury(job, reason)
        else:
            self.queue.move("put off", job, due=self._silent_until, attempts=job.attempts - 1)

    def _put_off(self, job: Job, reason: str) -> None:
        if job.attempts >= self.retry.attempts:
            self._bury(job, reason)
            return
        wait = self.retry.wait_seconds(job.attempts)
        self.queue.move("put off", job, due=time.time() + wait, counts={("retries", reason): 1.0})
        self.journal.note("put-off", film=job.key, reason=reason, attempt=job.attempts, wait_seconds=wait)

    def _bury(self, job: Job, reason: str) -> None:
        bury(self.state, job, reason)
        self.queue.move("bury", job, reason=reason, counts={("dead", reason): 1.0})
        self.journal.note("dead", film=job.key, reason=reason, attempts=job.attempts)


def bury(state: State, job: Job, reason: str) -> None:
    """Lay film and results of a job into the dead-letter folder, with the reason; harmless when done twice."""
    folder = state.dead(job.key)
    folder.mkdir(exist_ok=True)
    film, outbox = state.spooled(job.key), state.outbox(job.key)
    if film.exists():
        film.replace(folder / "film.dcm")
    for result in outbox.glob("*.dcm"):
        result.replace(folder / result.name)
    shutil.rmtree(outbox, ignore_errors=True)
    facts = {"reason": reason, "step": job.state, "attempts": job.attempts, "outcome": job.outcome}
    rundir.write_text(folder / "reason.json", json.dumps(facts, indent=2) + "\n")


def revive(state: State, queue: Queue) -> int:
    """Put every dead job back into the queue, as a film that has just come; how many."""
    revived = 0
    for job in queue.jobs("dead"):
        folder = state.dead(job.key)
        film = folder / "film.dcm"
        if film.exists():
            film.replace(state.spooled(job.key))
        if not state.spooled(job.key).exists():
            continue
        queue.move("revive", job, due=time.time(), added=time.time(), outcome="", reason="")
        shutil.rmtree(folder, ignore_errors=True)
        revived += 1
    return revived


def _order(path: Path) -> int:
    """The report goes first: it is the result that counts."""
    return KINDS.index(path.stem)
