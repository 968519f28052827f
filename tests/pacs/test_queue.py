"""The queue and its folder: every state, every event, and a process killed in the middle of its work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from collections import Counter
from pathlib import Path

import pytest

from cxray.errors import UsageError
from cxray.pacs.queue import _TRANSITIONS, Queue
from cxray.pacs.state import State


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue.sqlite3")


def key(number: int) -> str:
    return f"{number:032x}"


def test_a_film_goes_all_the_way(queue: Queue) -> None:
    assert queue.add(key(1))
    film = queue.claim("ready", "waiting")
    assert film is not None and film.state == "working"
    queue.move("build", film, outcome="clear", counts={("assessed", "clear"): 1.0})
    results = queue.claim("ready", "waiting")
    assert results is not None and results.state == "sending"
    assert results.attempts == 1, "each step counts its own attempts"
    queue.move("finish", results)
    assert queue.claim("ready", "waiting") is None
    assert queue.counts()["done"] == 1
    assert queue.counters() == {("arrivals", "new"): 1.0, ("assessed", "clear"): 1.0}


def test_a_film_is_queued_once_whatever_its_state(queue: Queue) -> None:
    assert queue.add(key(1))
    assert not queue.add(key(1))
    job = queue.claim("waiting")
    assert job is not None
    queue.move("skip", job)
    assert not queue.add(key(1))
    assert queue.counters()["arrivals", "repeated"] == 2
    assert queue.claim("waiting") is None


def test_results_are_delivered_before_new_films_are_begun(queue: Queue) -> None:
    for number in range(3):
        queue.add(key(number))
    first = queue.claim("ready", "waiting")
    assert first is not None
    queue.move("build", first, due=time.time())
    following = queue.claim("ready", "waiting")
    assert following is not None and following.key == first.key


def test_what_is_put_off_comes_back_when_it_is_due(queue: Queue) -> None:
    queue.add(key(1))
    job = queue.claim("waiting")
    assert job is not None
    queue.move("put off", job, due=time.time() + 0.2)
    assert queue.claim("waiting") is None
    time.sleep(0.25)
    again = queue.claim("waiting")
    assert again is not None and again.attempts == 2


@pytest.mark.parametrize("event", sorted({event for event, _ in _TRANSITIONS}))
def test_an_event_that_cannot_happen_is_refused(queue: Queue, event: str) -> None:
    queue.add(key(1))
    job = queue.claim("waiting")
    assert job is not None
    if (event, "working") in _TRANSITIONS:
        queue.move(event, job)
        assert queue.state_of(key(1)) == _TRANSITIONS[event, "working"]
    else:
        with pytest.raises(ValueError, match=f"A job that is working cannot {event}"):
            queue.move(event, job)
        assert queue.state_of(key(1)) == "working"


def test_recovery_returns_what_was_taken_and_nothing_else(queue: Queue) -> None:
    for number in range(4):
        queue.add(key(number))
    taken = [queue.claim("waiting") for _ in range(3)]
    assert all(taken)
    queue.move("build", taken[1], due=0.0)  # type: ignore[arg-type]
    sending = queue.claim("ready")
    assert sending is not None and sending.state == "sending"
    assert queue.recover() == 3
    assert queue.counts() == {"waiting": 3, "working": 0, "ready": 1, "sending": 0, "done": 0, "dead": 0}
    again = queue.claim("ready")
    assert again is not None and again.attempts == 1, "a kill while sending costs no attempt"


def test_how_long_a_step_takes_counts_for_the_worker_that_began_it(queue: Queue) -> None:
    queue.add(key(1))
    before = time.time()
    assert queue.longest_step_seconds() == 0
    assert queue.claim("waiting") is not None
    time.sleep(0.01)
    assert queue.longest_step_seconds() >= 0.01 and queue.longest_step_seconds(since=before) >= 0.01
    assert queue.longest_step_seconds(since=time.time()) == 0, "an earlier worker's"


def test_counters_and_events_are_one_transaction(queue: Queue) -> None:
    queue.add(key(1))
    job = queue.claim("waiting")
    assert job is not None
    with pytest.raises(Exception, match="NOT NULL"):
        queue.move("build", job, counts={("assessed", "clear"): None})  # type: ignore[dict-item]
    assert queue.state_of(key(1)) == "working"
    assert ("assessed", "clear") not in queue.counters()


def test_cursors_are_kept(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite3")
    assert queue.cursor("orthanc") is None
    queue.set_cursor("orthanc", 41)
    queue.set_cursor("orthanc", 42)
    queue.close()
    assert Queue(tmp_path / "queue.sqlite3").cursor("orthanc") == 42


def _busy(path: Path, started: object) -> None:
    """Claims, builds and finishes as fast as it can, until it is killed."""
    queue = Queue(path)
    started.set()  # type: ignore[attr-defined]
    while True:
        job = queue.claim("ready", "waiting")
        if job is None:
            time.sleep(0.001)
        elif job.state == "working":
            queue.move("build", job, due=time.time(), counts={("assessed", "clear"): 1.0})
        else:
            queue.move("finish", job, counts={("deliveries", "done"): 1.0})


def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path, films = tmp_path / "queue.sqlite3", 300
    queue = Queue(path)
    context = multiprocessing.get_context("spawn")
    added = 0
    for _ in range(4):
        queue.recover()
        started = context.Event()
        process = context.Process(target=_busy, args=(path, started))
        process.start()
        assert started.wait(60)
        for _ in range(films // 4):
            queue.add(key(added))
            added += 1
        time.sleep(0.05)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    queue.recover()
    while (job := queue.claim("ready", "waiting")) is not None:
        if job.state == "working":
            queue.move("build", job, due=0.0, counts={("assessed", "clear"): 1.0})
        else:
            queue.move("finish", job, counts={("deliveries", "done"): 1.0})
    assert queue.counts()["done"] == added
    assert Counter(dict(queue.counters()))["assessed", "clear"] == added
    assert queue.counters()["deliveries", "done"] == added


def test_the_state_folder_is_private_and_its_names_mean_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "node")
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "node" / "key").stat().st_mode) == 0o600
    name = state.key_of("1.2.3", "model")
    assert len(name) == 32 and name != state.key_of("1.2.3", "other")
    assert name == State(tmp_path / "node").key_of("1.2.3", "model"), "the secret stays"
    assert name != State(tmp_path / "node2").key_of("1.2.3", "model"), "another folder has another"


def test_a_film_is_spooled_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path / "node")
    state.spool(key(1), b"film" * 1000)
    assert state.spooled(key(1)).read_bytes() == b"film" * 1000

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space"):
        state.spool(key(2), b"film")
    assert state.spooled_keys() == [key(1)]
    assert [path.name for path in (tmp_path / "node" / "spool").iterdir()] == [f"{key(1)}.dcm"]


def test_films_that_the_queue_does_not_know_are_adopted(tmp_path: Path) -> None:
    state = State(tmp_path / "node")
    queue = Queue(state.queue)
    queue.add(key(1))
    for number in (1, 2):
        state.spool(key(number), b"film")
    assert queue.adopt(state.spooled_keys()) == 1
    assert queue.counts()["waiting"] == 2


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    state = State(tmp_path / "node")
    (state.folder / "spool" / ".abc.part").write_bytes(b"half")
    (state.folder / "outbox" / ".abc.part").mkdir()
    state.sweep("spool")
    state.sweep("outbox")
    assert not list((state.folder / "spool").iterdir()) + list((state.folder / "outbox").iterdir())


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    state = State(tmp_path / "node")
    with state.locked("node"), pytest.raises(UsageError, match=r"Another process already works in .*node \(node\)"):
        State(tmp_path / "node").locked("node").__enter__()
    with state.locked("node"):
        pass


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files that are not ours"):
        State(tmp_path)
