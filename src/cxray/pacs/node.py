"""A node at work: a door that takes films in, and a worker process of its own that assesses and delivers them.

    sender ──► door (this process) ──► spool + queue ──► worker (child process) ──► PACS

The door never loads the model, so it stays small and goes on taking films when the worker dies. The worker is watched:
when it ends it is started again, when it is stuck on one film for too long it is killed first; a film that does this
again and again ends in the dead-letter folder. Killing both at any instant loses nothing.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cxray.bundle import load_bundle
from cxray.errors import CxrayError
from cxray.pacs.address import TlsFiles, parse_address
from cxray.pacs.assess import Assessor, maker_of
from cxray.pacs.codes import finding_codes
from cxray.pacs.delivery import FolderTarget, Rejected, Target, Unreachable, open_target
from cxray.pacs.identity import KINDS
from cxray.pacs.intake import Intake, IntakeFull
from cxray.pacs.journal import Journal, silence_libraries
from cxray.pacs.queue import Queue
from cxray.pacs.state import State
from cxray.pacs.worker import Retry, Worker

_IDLE_SECONDS = 0.1
_STOP_SECONDS = 30
_CRASH_WAIT = Retry(first_wait_seconds=0.5, longest_wait_seconds=60)


class Door(Protocol):
    """Where films come from when they have to be asked for."""

    def poll(self) -> int:
        """Take in what is new; how many films that was."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSettings:
    """How a node works.

    `send_to` is an address (see `address`), "" = dry run: results stay in STATE/local. `film_seconds` is the longest
    that one film may take. `accept` waives admission codes; None takes those of the environment.
    """

    bundle: Path
    state: Path
    send_to: str = ""
    calling_aet: str = "CXRAY"
    codes: str = ""
    engine: str = "auto"
    accept: tuple[str, ...] | None = None
    kinds: tuple[str, ...] = KINDS
    retry: Retry = dataclasses.field(default_factory=Retry)
    tls: TlsFiles | None = None
    authority: Path | None = None
    keep_films: bool = False
    film_seconds: float = 120.0
    log: Path | None = None
    quiet: bool = False

    def journal(self) -> Journal:
        """Where this node writes what happens."""
        return Journal(self.log, quiet=self.quiet)

    def target(self, state: State) -> Target:
        """The door of the PACS that takes the results."""
        if not self.send_to:
            return FolderTarget(state.folder / "local")
        return open_target(
            parse_address(self.send_to), calling_aet=self.calling_aet, tls=self.tls, authority=self.authority
        )


class Node:
    """An opened node; `run` until stopped. Use as a context manager.

    Raises:
        UsageError: another process works in the state folder, or an address cannot be meant.
        BundleError, ConfigError: as `Assessor.open`.
    """

    def __init__(self, settings: NodeSettings) -> None:
        silence_libraries()
        if settings.send_to:
            parse_address(settings.send_to)
        bundle = load_bundle(settings.bundle)
        maker = maker_of(bundle, finding_codes(bundle, settings.codes))
        self.settings, self.journal = settings, settings.journal()
        self.state = State(settings.state)
        self._lock = self.state.locked("node")
        self._lock.__enter__()
        self.queue = Queue(self.state.queue)
        self.state.sweep("spool")
        self.intake = Intake(self.state, self.queue, self.journal, maker.fingerprint)
        adopted = self.queue.adopt(self.state.spooled_keys())
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep_worker, name="keeper")
        self.journal.note("started", adopted=adopted, unfinished=self.queue.depth())

    def __enter__(self) -> Node:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._keeper.join()
        self.journal.note("stopped", unfinished=self.queue.depth())
        self.queue.close()
        self._lock.__exit__(None, None, None)

    def stop(self) -> None:
        """End `run` soon; the worker finishes the film that it is at."""
        self._stop.set()

    def run(self, door: Door | None = None, *, every_seconds: float = 1.0, once: bool = False) -> None:
        """Take films in until stopped; with `once`, until the door has no more and the queue is empty."""
        failures = 0
        while not self._stop.is_set():
            wait = every_seconds
            is_read = door is None
            if door is not None:
                is_read, failures = self._poll(door, failures)
                if not is_read:
                    wait = max(every_seconds, self.settings.retry.wait_seconds(failures))
            if once and is_read and self._is_settled():
                return
            self._stop.wait(min(wait, 0.2) if once and is_read else wait)

    def _poll(self, door: Door, failures: int) -> tuple[bool, int]:
        try:
            door.poll()
        except (Unreachable, Rejected) as error:
            self.journal.note("source-unreachable", reason=error.reason)
        except IntakeFull as full:
            self.journal.note("intake-full", reason=full.reason)
        except CxrayError:
            raise
        except Exception as error:  # the answer of a foreign server can be anything
            self.journal.fault(error)
        else:
            return True, 0
        return False, failures + 1

    def _is_settled(self) -> bool:
        return self.queue.depth() == 0

    def _keep_worker(self) -> None:
        """Start the worker, start it again when it ends, kill it when it is stuck."""
        context = multiprocessing.get_context("spawn")
        crashes = 0
        while not self._stop.is_set():
            process = context.Process(target=work, args=(self.settings, os.getpid()), name="worker")
            begun, since = time.monotonic(), time.time()
            process.start()
            while process.is_alive() and not self._stop.wait(0.2):
                # A film that an earlier worker died on is not held against this one, which has yet to return it.
                if self.queue.longest_step_seconds(since=since) > self.settings.film_seconds:
                    self.journal.note("stuck", seconds=self.settings.film_seconds)
                    process.kill()
            if self._stop.is_set():
                process.terminate()
                process.join(_STOP_SECONDS)
                if process.is_alive():
                    process.kill()
                    process.join()
                return
            process.join()
            crashes = 1 if time.monotonic() - begun > 60 else crashes + 1
            self.queue.count({("deaths", "worker"): 1.0})
            self.journal.note("worker-ended", code=process.exitcode or 0)
            self._stop.wait(_CRASH_WAIT.wait_seconds(crashes))


def work(settings: NodeSettings, parent: int = 0) -> None:
    """The worker process: until it is told to stop, or `parent` is gone.

    Raises:
        SystemExit: 1, after a failure that the journal names.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the whole group; the parent decides
    silence_libraries()
    os.nice(5)  # senders wait for the door, nobody waits for the worker
    state, journal = State(settings.state), settings.journal()
    # A worker whose parent was killed ends after the film that it is at.
    with state.locked("worker", wait_seconds=settings.film_seconds):
        queue = Queue(state.queue)
        try:
            _tidy(state, queue, settings)
            worker = Worker(
                state=state,
                queue=queue,
                judge=Assessor.open(
                    settings.bundle, codes=settings.codes, engine=settings.engine, accept=settings.accept
                ),
                target=settings.target(state),
                journal=journal,
                retry=settings.retry,
                kinds=settings.kinds,
                keep_films=settings.keep_films,
            )
            journal.note("worker-ready", recovered=queue.depth())
            _loop(worker.step, stop, parent)
            worker.target.close()
        except Exception as error:  # a traceback would print values
            journal.fault(error)
            raise SystemExit(1) from None
        finally:
            queue.close()


def _loop(step: Callable[[], bool], stop: threading.Event, parent: int) -> None:
    while not stop.is_set() and parent in (0, os.getppid()):
        if not step():
            stop.wait(_IDLE_SECONDS)


def _tidy(state: State, queue: Queue, settings: NodeSettings) -> None:
    """Put right what a killed worker left: half-written results, taken jobs, files of jobs that were finished."""
    for folder in ("outbox", "local"):
        state.sweep(folder)
    queue.recover()
    for key in {*state.spooled_keys(), *state.outbox_keys()}:
        if queue.state_of(key) == "done" and not settings.keep_films:
            state.forget(key)
