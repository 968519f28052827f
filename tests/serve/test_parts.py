"""Settings, admission, batching, tensors, metrics and the audit log, each alone."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxray.errors import DataError, UsageError
from cxray.serve.admission import Admission
from cxray.serve.audit_log import FIRST, AuditLog, verify
from cxray.serve.batching import BatchQueue
from cxray.serve.metrics import Metrics
from cxray.serve.problems import KINDS, Problem
from cxray.serve.settings import Limits, Settings, is_loopback
from cxray.serve.tensors import pack_response, read_tensor, split_request, wanted_outputs

BUNDLES = {"m": Path("bundle")}


def test_beyond_this_machine_a_token_is_needed() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", ""):
        with pytest.raises(UsageError, match="can be reached from other machines, and no token"):
            Settings(bundles=BUNDLES, host=host)
        assert Settings(bundles=BUNDLES, host=host, token="x" * 16).host == host
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"):
        assert is_loopback(host) and Settings(bundles=BUNDLES, host=host).is_local


def test_a_token_must_be_one() -> None:
    for token in ("x" * 15, "with a blank in it", "ümlaut-ümlaut-ümlaut", "line\nfeed-line-feed"):
        with pytest.raises(UsageError, match=r"at least 16 printable ASCII characters"):
            Settings(bundles=BUNDLES, token=token)
    with pytest.raises(UsageError, match="nothing to serve"):
        Settings(bundles={})


def test_every_refusal_has_a_clean_status_and_a_next_step() -> None:
    for code, kind in KINDS.items():
        assert kind.status in (400, 401, 403, 404, 405, 413, 415, 422, 429, 499, 503), code
        assert kind.title.endswith(".") and (kind.next_step.endswith((".", "'")) or code == "client_gone")
        assert kind.is_passing == (kind.status in (429, 503))


def test_places_are_bounded_for_all_and_for_each() -> None:
    admission = Admission(Limits(places=3, places_per_client=2, held_bytes=100))
    with admission.place("a", films=2, size_bytes=50):
        with pytest.raises(Problem, match="too_many_requests"), admission.place("a", films=1, size_bytes=0):
            pass
        b = admission.place("b", films=1, size_bytes=50)
        with b, pytest.raises(Problem, match="queue_full"), admission.place("c", films=1, size_bytes=0):
            pass
        with pytest.raises(Problem, match="queue_full"), admission.place("b", films=1, size_bytes=51):
            pass
        with admission.place("b", films=1, size_bytes=50):
            assert (admission.films, admission.bytes) == (3, 100)
    assert (admission.films, admission.bytes, dict(admission._of_client)) == (0, 0, {})


def test_waiting_films_share_a_run_and_those_of_gone_callers_are_dropped() -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def run(films: Any) -> dict[str, Any]:
        gate.wait(5)
        return {"scores": films.sum(axis=(1, 2, 3))}

    async def work() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            queue = BatchQueue(run, executor, batch=4, seen=sizes.append)
            queue.start()
            tasks = [asyncio.create_task(queue.submit(np.full((2, 2, 1), k, np.float32))) for k in range(8)]
            await asyncio.sleep(0.05)
            tasks[6].cancel()
            gate.set()
            rows = await asyncio.gather(*tasks, return_exceptions=True)
            await queue.stop()
            return rows

    rows = asyncio.run(work())
    assert sum(sizes) == 7 and max(sizes) == 4 and len(sizes) <= 3
    assert isinstance(rows[6], asyncio.CancelledError)
    assert [row.outputs["scores"] for k, row in enumerate(rows) if k != 6] == [0, 4, 8, 12, 16, 20, 28]


def test_an_engine_that_fails_refuses_its_films_and_works_on() -> None:
    def run(films: Any) -> dict[str, Any]:
        if films.min() < 0:
            raise RuntimeError("no")
        return {"scores": films}

    async def work() -> tuple[Any, Any]:
        with ThreadPoolExecutor(1) as executor:
            queue = BatchQueue(run, executor, batch=4, seen=lambda _: None)
            queue.start()
            first = (await asyncio.gather(queue.submit(np.full((1, 1, 1), -1.0)), return_exceptions=True))[0]
            second = await queue.submit(np.ones((1, 1, 1)))
            await queue.stop()
            return first, second

    first, second = asyncio.run(work())
    assert isinstance(first, Problem) and first.code == "model_failed"
    assert second.films == 1


def request(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "films", "datatype": "FP32", "shape": [1, 1, 2, 1], "data": [0.25, 1], **changes}
    return {"inputs": [tensor]}


def test_tensors_come_as_numbers_or_as_bytes() -> None:
    raw = np.array([0.25, 1], "<f4").tobytes()
    binary = {"data": None, "parameters": {"binary_data_size": 8}}
    for body, given in ((request(), b""), (request(**binary), raw)):
        film = read_tensor(body, memoryview(given), name="films", shape=(1, 2, 1))
        assert film.tolist() == [[[[0.25], [1.0]]]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "x"}, "must be called 'films'"),
        ({"datatype": "FP64"}, "datatype FP32"),
        ({"shape": [1, 2]}, r"shape must be \[N, 1, 2, 1\]"),
        ({"shape": [0, 1, 2, 1]}, "shape must be"),
        ({"shape": [True, 1, 2, 1]}, "shape must be"),
        ({"shape": "1"}, "shape must be"),
        ({"data": [1]}, "number of values disagree"),
        ({"data": ["a", "b"]}, "not numbers"),
        ({"data": [[1], [1, 2]]}, "not numbers"),
        ({"data": None}, "disagree|finite"),
        ({"data": [float("nan"), 1]}, "finite"),
        ({"data": [1e300, 1]}, "finite"),
        ({"parameters": {"binary_data_size": 8}}, "length of the binary data"),
        ({"parameters": {"binary_data_size": "8"}}, "length of the binary data"),
    ],
)
def test_wrong_tensors_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem) as caught:
        read_tensor(request(**changes), memoryview(b""), name="films", shape=(1, 2, 1))
    assert re.search(words, caught.value.detail)


@pytest.mark.parametrize(
    ("body", "length"), [(b"{", None), (b"[]", None), (b"{}", "x"), (b"{}", "3"), (b"{}", "-1"), (b"[" * 50000, None)]
)
def test_wrong_requests_are_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(Problem) as caught:
        split_request(body, length)
    assert caught.value.detail
    assert split_request(b'{"a":1}zz', "7") == ({"a": 1}, b"zz")


def test_outputs_go_as_they_were_asked_for() -> None:
    known = ["scores", "logits"]
    assert wanted_outputs({}, known) == {"scores": False, "logits": False}
    assert wanted_outputs({"parameters": {"binary_data_output": True}}, known) == {"scores": True, "logits": True}
    asked = {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}
    assert wanted_outputs(asked, known) == {"logits": True}
    for wrong in ({"outputs": [{"name": "x"}]}, {"outputs": "scores"}, {"outputs": [1]}):
        with pytest.raises(Problem):
            wanted_outputs(wrong, known)
    tensors = {"scores": ("FP64", np.array([[0.5]])), "logits": ("FP32", np.array([[2.0]]))}
    body, headers = pack_response({"id": "7"}, tensors, {"scores": False, "logits": True})
    cut = int(headers["Inference-Header-Content-Length"])
    described = json.loads(body[:cut])
    assert described["outputs"][0]["data"] == [0.5] and np.frombuffer(body[cut:], "<f4") == 2.0


def test_the_shift_of_scores_is_the_population_stability_index() -> None:
    metrics = Metrics()
    expected = np.linspace(0, 1, 1001)[:-1]
    metrics.expect("m", expected)
    for score in np.linspace(0, 1, 200, endpoint=False):
        metrics.film_scored("m", score, "yes", "inside")
    assert "cxray_score_shift" in (calm := metrics.text(under_way=0, waiting=0, restarts=0).decode())
    for _ in range(1000):
        metrics.film_scored("m", 0.95, "yes", "")
    moved = metrics.text(under_way=0, waiting=0, restarts=0).decode()

    def shift(text: str) -> float:
        return float(next(line for line in text.splitlines() if line.startswith("cxray_score_shift{")).split()[-1])

    q = (np.array([100] * 10) + 0.5) / (1000 + 5)
    p = (np.array([0] * 9 + [1000]) + 0.5) / (1000 + 5)
    assert shift(calm) < 0.01
    assert shift(moved) == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-6)


def test_the_audit_log_is_a_chain_without_patient_data(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.append(b"film of somebody", request_id="1", score=0.5)
    log.close()
    again = AuditLog(path)
    again.append(b"film of somebody", request_id="2", score=0.5)
    again.close()
    lines = path.read_text("utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert first["previous"] == FIRST and first["film"] == second["film"] and len(first["film"]) == 64
    assert verify(path) != FIRST
    assert (path.stat().st_mode & 0o777, (tmp_path / "audit.log.key").stat().st_mode & 0o777) == (0o600, 0o600)
    other = AuditLog(tmp_path / "other.log")
    other.append(b"film of somebody", request_id="1", score=0.5)
    other.close()
    assert json.loads((tmp_path / "other.log").read_text("utf-8"))["film"] != first["film"], "another key"


@pytest.mark.parametrize("damage", ["change", "remove", "cut"])
def test_a_broken_chain_is_found(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    for k in range(3):
        log.append(b"x", request_id=str(k), score=0.5)
    log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = {
        "change": [lines[0].replace(b"0.5", b"0.1"), *lines[1:]],
        "remove": [lines[0], lines[2]],
        "cut": [*lines[:2], lines[2][:-20]],
    }[damage]
    path.write_bytes(b"".join(damaged))
    with pytest.raises(DataError, match=r"audit.log, line [23]: the chain of the audit log is broken"):
        AuditLog(path)


def test_no_answer_leaves_when_the_audit_log_cannot_be_written(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    log.close()
    with pytest.raises(Problem, match="audit_unavailable"):
        log.append(b"x", score=1.0)
