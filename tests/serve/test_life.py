"""The service as a process: cold start, live before ready, overload, clients that leave, an orderly end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from cxray.cli import cli
from cxray.errors import BundleError, UsageError
from cxray.serve.audit_log import verify
from cxray.serve.run import make_server, serve
from cxray.serve.settings import Settings
from tests.serve.service_fixtures import PNG, film, running


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cxray", "serve", *map(str, arguments), "--port", "0", "--engine", "onnxruntime"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("Ready: http://"), line + (process.stderr.read() if process.stderr else "")
    return line.split()[1]


def test_a_process_serves_logs_no_names_and_ends_with_0(bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    process = start(bundle, "--audit-log", log)
    address = address_of(process)
    for name in ("DOE^JOHN.png", "x.png"):
        assert httpx.post(f"{address}/api/predict?name={name}", content=film(), headers=PNG).status_code == 200
    assert httpx.post(f"{address}/api/predict", content=b"DOE^JOHN", headers=PNG).status_code == 415
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "POST /api/predict 200" in errors and "unsupported_format" in errors
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [line.get("refusal", line.get("decision")) for line in lines][2] == "unsupported_format"
    assert verify(log) and lines[0]["film"] == lines[1]["film"]
    assert "DOE" not in errors + log.read_text("utf-8")


def test_requests_under_way_are_finished_when_told_to_stop(bundle: Path) -> None:
    process = start(bundle)
    address = address_of(process)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(httpx.post, f"{address}/api/predict", content=film(2500), headers=PNG) for _ in range(8)]
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        statuses = [future.result().status_code for future in waiting]
    assert statuses == [200] * 8
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_alive_is_not_ready(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxray.serve.models import ServedModel

    may_load, load = threading.Event(), ServedModel.load
    monkeypatch.setattr(ServedModel, "load", lambda self, *given: (may_load.wait(30), load(self, *given)))
    server = make_server(Settings(bundles={"tiny": bundle}, port=0, engine="onnxruntime"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for path, status in (
            ("/api/live", 200),
            ("/v2/health/live", 200),
            ("/api/ready", 503),
            ("/v2/health/ready", 503),
        ):
            assert client.get(path).status_code == status, path
        refused = client.post("/api/predict", content=film(), headers=PNG)
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "not_ready", "1")
        may_load.set()
        while client.get("/api/ready").status_code != 200:
            time.sleep(0.01)
        server.service.is_draining = True
        assert client.get("/api/ready").json()["code"] == "draining"
        assert client.post("/api/predict", content=film(), headers=PNG).json()["code"] == "draining"
        server.service.is_draining = False
        assert client.post("/api/predict", content=film(), headers=PNG).status_code == 200
    server.should_exit = True
    thread.join(30)


def test_a_crowd_gets_answers_or_clean_refusals_and_the_service_is_well_afterwards(bundle: Path) -> None:
    content = film(1000)
    with running(bundle, limits={"places": 10, "places_per_client": 8}) as client, ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: client.post("/api/predict", content=content, headers=PNG), range(60)))
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 429} and statuses[200] >= 8
        assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"too_many_requests"}
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
        assert client.post("/api/predict", content=content, headers=PNG).status_code == 200
        assert client.service.admission.films == 0  # type: ignore[attr-defined]


def test_all_places_taken_is_503(bundle: Path) -> None:
    with running(bundle, limits={"places": 1, "places_per_client": 8}) as client, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.post("/api/predict", content=film(2000), headers=PNG), range(12)))
        refused = [answer.json()["code"] for answer in answers if answer.status_code == 503]
        assert set(refused) == {"queue_full"} and len(refused) + sum(a.status_code == 200 for a in answers) == 12


def test_work_for_a_client_that_left_is_dropped(bundle: Path) -> None:
    with running(bundle) as client:
        service: Any = client.service  # type: ignore[attr-defined]
        ran = []
        model = service.models.find("")
        keep, model.queue._run = (
            model.queue._run,
            lambda films: (time.sleep(0.5), ran.append(len(films)), keep(films))[2],
        )
        body = film()
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        lines = [socket.create_connection(("127.0.0.1", client.base_url.port)) for _ in range(5)]
        for line in lines:
            line.sendall(head + body)
            time.sleep(0.05)
        for line in lines:
            line.close()
        for _ in range(100):
            if service.admission.films == 0:
                break
            time.sleep(0.02)
        assert service.admission.films == 0
        assert client.post("/api/predict", content=body, headers=PNG).status_code == 200
        assert sum(ran) < 6, "films of clients that had left were not scored"
        assert 'code="client_gone"' in client.get("/metrics").text


def test_several_bundles_side_by_side(bundle: Path) -> None:
    process = start(f"one={bundle}", f"two={bundle}")
    address = address_of(process)
    assert [model["name"] for model in httpx.get(f"{address}/api/models").json()] == ["one", "two"]
    answer = httpx.post(f"{address}/api/predict?model=two", content=film(), headers=PNG).json()
    assert answer["model"]["name"] == "two"
    process.terminate()
    process.communicate(timeout=30)


def test_what_cannot_be_served_is_said_before_anything_listens(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxray.serve import run

    listened: list[Settings] = []
    monkeypatch.setattr(run, "serve", lambda settings, **_: listened.append(settings))
    short = tmp_path / "token"
    short.write_text("short\n", "utf-8")
    for arguments, words in (
        ([bundle, "--host", "0.0.0.0"], "no token was given"),
        ([tmp_path], "There is no bundle at"),
        ([bundle, "--token-file", tmp_path / "none"], "cannot be read"),
        ([bundle, "--token-file", short], "The token has 5 characters"),
        ([f"a={bundle}", f"a={bundle}"], "Two bundles are called 'a'"),
        ([f"a/b={bundle}"], "cannot be a model's name"),
    ):
        result = CliRunner().invoke(cli, ["serve", *map(str, arguments)])
        assert isinstance(result.exception, UsageError | BundleError), result.exception
        assert result.exception.exit_code == 2 and words in str(result.exception)
    assert not listened
    assert CliRunner().invoke(cli, ["serve", str(bundle)]).exit_code == 0 and len(listened) == 1


def test_a_bundle_that_misses_its_golden_scores_ends_the_service(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxray.runtime.predict.GOLDEN_TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="golden film .* gets scores that are off"):
        serve(Settings(bundles={"tiny": bundle}, port=0, engine="onnxruntime"))


def test_a_port_that_is_taken_is_said(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} cannot be used"):
            serve(Settings(bundles={"tiny": bundle}, port=port, engine="onnxruntime"))


def test_a_slow_sender_loses_its_place_at_the_deadline(bundle: Path) -> None:
    with running(bundle, limits={"deadline_seconds": 0.3}) as client:
        line = socket.create_connection(("127.0.0.1", client.base_url.port))
        line.sendall(b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.1)
        assert client.service.admission.films == 1  # type: ignore[attr-defined]
        line.settimeout(10)
        assert b"deadline_exceeded" in line.recv(65536)
        line.close()
        assert client.service.admission.films == 0  # type: ignore[attr-defined]


def test_nothing_is_left_running(bundle: Path) -> None:
    with running(bundle) as client:
        children = client.service.decoders.process_ids  # type: ignore[attr-defined]
        assert children
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
