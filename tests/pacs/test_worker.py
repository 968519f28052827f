"""The worker: retries, back-off, dead letters, silence of the PACS, and films that break it."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

from pydicom import Dataset

from cxray.pacs.assess import SkippedFilm
from cxray.pacs.codes import FindingCode
from cxray.pacs.delivery import FolderTarget, Rejected, Unreachable
from cxray.pacs.journal import Journal
from cxray.pacs.queue import Queue
from cxray.pacs.reading import Finding, Maker, Reading
from cxray.pacs.state import State
from cxray.pacs.worker import Retry, Worker, revive
from tests.pacs.films import draw_film

MAKER = Maker("bright", "0123456789ab", "9.9.9", "f" * 64)
AT_ONCE = Retry(attempts=3, first_wait_seconds=0.0, longest_wait_seconds=0.0)


class Judge:
    """Finds nothing, or raises what it is told to."""

    maker = MAKER

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def assess(self, path: Path) -> tuple[Dataset, Reading]:
        self.asked += 1
        assert path.exists()
        if self.error is not None:
            raise self.error
        finding = Finding("ILL", FindingCode("A", "99CXRAY", "Ill"), 0.2, "absent", 0.5)
        picture = np.zeros((40, 30), dtype=np.uint8)
        return draw_film(ill=False, patient="P1"), Reading((finding,), datetime.datetime.now(), picture=picture)


class Target:
    """Takes everything, or raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.taken: list[tuple[str, tuple[str, ...]]] = []

    def deliver(self, key: str, results: Any) -> int:
        if self.error is not None:
            raise self.error
        self.taken.append((key, tuple(results)))
        return len(results)

    def close(self) -> None:
        pass


@dataclasses.dataclass
class World:
    state: State
    queue: Queue
    judge: Judge
    target: Target
    worker: Worker

    def arrive(self, number: int = 1) -> str:
        key = f"{number:032x}"
        self.state.spool(key, b"film")
        self.queue.add(key)
        return key

    def run(self, steps: int = 50) -> None:
        for _ in range(steps):
            if not self.worker.step():
                return

    def events(self) -> str:
        return (self.state.folder / "log").read_text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    state = State(tmp_path / "node")
    queue, judge, target = Queue(state.queue), Judge(), Target()
    journal = Journal(state.folder / "log", quiet=True)
    worker = Worker(state, queue, judge, target, journal, AT_ONCE)
    return World(state, queue, judge, target, worker)


def test_a_film_is_assessed_delivered_and_forgotten(world: World) -> None:
    key = world.arrive()
    world.run()
    assert world.target.taken == [(key, ("sr", "sc"))]
    assert world.queue.state_of(key) == "done"
    assert not world.state.spooled(key).exists() and not world.state.outbox(key).exists()
    counters = world.queue.counters()
    assert counters["results", "new"] == 2 and counters["scores", "ILL|0.2"] == 1


def test_a_silent_pacs_costs_no_attempts_and_films_go_on_being_assessed(world: World) -> None:
    world.worker.retry = dataclasses.replace(AT_ONCE, first_wait_seconds=60, longest_wait_seconds=600)
    world.target.error = Unreachable("no-answer", "x")
    keys = [world.arrive(number) for number in range(4)]
    world.run()
    assert world.judge.asked == 4
    assert world.queue.counts()["ready"] == 4 and world.queue.counts()["dead"] == 0
    assert world.queue.counters()["deliveries", "unreachable"] == 1, "one film is enough to learn it"
    world.target.error = None
    world.worker._silent_until = 0
    for job in world.queue.jobs("ready"):
        world.queue._connection.execute("UPDATE jobs SET due = 0 WHERE key = ?", (job.key,))
    world.run()
    assert sorted(key for key, _ in world.target.taken) == keys


def test_a_pacs_that_refuses_gets_a_few_tries_and_then_the_film_is_dead_with_its_reason(world: World) -> None:
    key = world.arrive()
    world.target.error = Rejected("dimse-c000", "x")
    world.run()
    assert world.queue.state_of(key) == "dead"
    folder = world.state.dead(key)
    assert {path.name for path in folder.iterdir()} == {"film.dcm", "sr.dcm", "sc.dcm", "reason.json"}
    facts = json.loads((folder / "reason.json").read_text())
    assert facts == {"reason": "dimse-c000", "step": "sending", "attempts": 3, "outcome": "clear"}
    assert world.queue.counters()["dead", "dimse-c000"] == 1


def test_dead_films_can_be_revived(world: World) -> None:
    key = world.arrive()
    world.target.error = Rejected("dimse-c000", "x")
    world.run()
    world.target.error = None
    assert revive(world.state, world.queue) == 1
    assert not world.state.dead(key).exists()
    world.run()
    assert world.queue.state_of(key) == "done" and world.target.taken


def test_an_error_in_assessment_is_retried_and_its_text_is_never_written(world: World) -> None:
    key = world.arrive()
    world.judge.error = ValueError("Zwetschgenmann^Quirinus 19370423")
    world.run()
    assert world.judge.asked == 3
    assert world.queue.state_of(key) == "dead"
    assert "type=value-error" in world.events()
    assert "Zwetschgenmann" not in world.events() and "1937" not in (world.state.dead(key) / "reason.json").read_text()


def test_a_film_that_kills_the_worker_again_and_again_is_buried(world: World) -> None:
    key = world.arrive()
    for _ in range(3):
        assert world.queue.claim("waiting") is not None  # the worker takes it and dies
        world.queue.recover()
    world.run()
    assert world.judge.asked == 0
    assert world.queue.jobs("dead")[0].reason == "worker-died"
    assert (world.state.dead(key) / "film.dcm").exists()


def test_what_cannot_be_answered_is_skipped_and_forgotten(world: World) -> None:
    key = world.arrive()
    world.judge.error = SkippedFilm("own-result")
    world.run()
    assert world.queue.state_of(key) == "done"
    assert not world.target.taken and not world.state.spooled(key).exists()
    assert world.queue.counters()["skipped", "own-result"] == 1


def test_an_empty_outbox_is_filled_again(world: World) -> None:
    key = world.arrive()
    world.worker.step()
    for path in world.state.outbox(key).iterdir():
        path.unlink()
    world.run()
    assert world.target.taken == [(key, ("sr", "sc"))]
    assert world.judge.asked == 2


def test_a_delivery_is_given_up_after_some_time(world: World) -> None:
    world.worker.retry = dataclasses.replace(AT_ONCE, give_up_hours=0.0)
    world.target.error = Unreachable("no-answer", "x")
    key = world.arrive()
    world.run()
    assert world.queue.state_of(key) == "dead"


def test_a_dry_run_keeps_results_here_and_a_second_one_adds_nothing(tmp_path: Path) -> None:
    files = {}
    for kind in ("sr", "sc"):
        files[kind] = tmp_path / f"{kind}.dcm"
        files[kind].write_bytes(kind.encode())
    target = FolderTarget(tmp_path / "local")
    assert target.deliver("k", files) == 2
    assert target.deliver("k", files) == 0
    assert (tmp_path / "local" / "k" / "sr.dcm").read_bytes() == b"sr"


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (5, 32), (9, 300), (1000, 300)])
def test_waits_double_up_to_a_limit(attempt: int, seconds: float) -> None:
    assert Retry().wait_seconds(attempt) == seconds
