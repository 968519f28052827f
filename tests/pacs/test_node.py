"""The whole way against a real Orthanc: films in by every door, results back by every door, kills on the way."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

import pydicom

from cxray.pacs.address import WebAddress, http_session
from cxray.pacs.delivery import web_client
from cxray.pacs.dicomweb import WebWatcher
from cxray.pacs.listener import Caller, Listener, ListenSettings
from cxray.pacs.node import Node, NodeSettings
from cxray.pacs.orthanc import OrthancWatcher
from cxray.pacs.worker import Retry
from tests.data.dicom.films import PLANTED_WORDS, bytes_of, plant_deep, planted, save
from tests.pacs.films import draw_film
from tests.pacs.world import Orthanc, dciodvfy, free_port, send, wait_until

IMPATIENT = Retry(first_wait_seconds=0.2, longest_wait_seconds=0.5)
# Values that tests plant to look odd, and our own code scheme, are odd to a validator.
EXPECTED = ["<99CXRAY>"]


def settings(bundle: Path, tmp_path: Path, **changes: Any) -> NodeSettings:
    """A node for tests, quick to retry."""
    plain = NodeSettings(
        bundle, tmp_path / "node", engine="onnxruntime", retry=IMPATIENT, log=tmp_path / "log", quiet=True
    )
    return dataclasses.replace(plain, **changes)


@contextmanager
def running(chosen: NodeSettings, door: Any, **options: Any) -> Iterator[Node]:
    """A node whose `run` goes on in a thread; `door` is made from the node."""
    with Node(chosen) as node:
        thread = threading.Thread(target=node.run, args=(door(node),), kwargs=options)
        thread.start()
        try:
            yield node
        finally:
            node.stop()
            thread.join()


def watcher(url: str, *, from_start: bool = True) -> Any:
    def make(node: Node) -> OrthancWatcher:
        door = OrthancWatcher(url, http_session(), node.intake)
        door.start(from_start=from_start)
        return door

    return make


def films(folder: Path, number: int) -> list[Path]:
    """Every other one ill, the last one lateral."""
    views = ["PA"] * (number - 1) + ["LL"]
    return [
        save(draw_film(ill=k % 2 == 0, patient=f"P{k}", ViewPosition=view), folder / f"{k}.dcm")
        for k, view in enumerate(views)
    ]


def test_orthanc_gets_results_once_though_the_worker_is_killed_and_a_second_run_adds_nothing(
    pacs: Orthanc, bundle: Path, tmp_path: Path
) -> None:
    send(pacs.port, films(tmp_path / "in", 9))
    chosen = settings(bundle, tmp_path, send_to=f"orthanc+{pacs.url}")
    with running(chosen, watcher(pacs.url), every_seconds=0.1) as node:
        for done in (1, 3):
            wait_until(lambda least=done: node.queue.counts()["done"] >= least, 90)  # type: ignore[misc]
            kill_worker()
        wait_until(lambda: node.queue.counts()["done"] == 9, 90)
    counts = pacs.counts()
    assert (counts["SR"], counts["OT"], counts["PR"]) == (9, 9, 4)
    for entry in pacs.instances("PR") + pacs.instances("SR")[:2] + pacs.instances("OT")[:2]:
        path = tmp_path / "result.dcm"
        path.write_bytes(pacs.fetch(entry["id"]))
        assert dciodvfy(path, ignoring=EXPECTED) == []
    fresh = dataclasses.replace(chosen, state=tmp_path / "second")
    with running(fresh, watcher(pacs.url), every_seconds=0.1) as node:
        wait_until(lambda: node.queue.counts()["done"] == 9, 90)
        assert node.queue.counters()["results", "already-there"] == 22
    assert pacs.counts() == counts


def kill_worker() -> None:
    """kill -9 for the worker that this process started; one that was killed just before is started again first."""
    wait_until(workers, 60)
    os.kill(workers()[0], signal.SIGKILL)


def workers() -> list[int]:
    command = ["ps", "-ww", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in told if "spawn_main" in line and "Z" not in line.split()[1]]


def test_a_node_that_is_killed_whole_goes_on_where_it_was(pacs: Orthanc, bundle: Path, tmp_path: Path) -> None:
    send(pacs.port, films(tmp_path / "in", 6))
    command = [sys.executable, "-m", "cxray", "pacs", "watch", str(bundle), pacs.url, "--state", str(tmp_path / "node"),
               "--from", "start", "--engine", "onnxruntime", "--quiet", "--results", "sr"]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: pacs.counts().get("SR", 0) >= 1, 90)
    first.kill()
    first.wait()
    again = subprocess.run([*command, "--once", "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert '"done": 6' in again.stdout
    assert pacs.counts()["SR"] == 6


def test_films_over_dicom_come_back_over_dicom(pacs: Orthanc, bundle: Path, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path, send_to=f"ORTHANC@127.0.0.1:{pacs.port}")
    listening = ListenSettings("CXRAY", "127.0.0.1", free_port(), (Caller("MODALITY1"),))
    with running(chosen, lambda node: None, every_seconds=0.1) as node:
        listener = Listener(listening, node.intake)
        assert send(listener.port, films(tmp_path / "in", 3), called="CXRAY") == 0
        wait_until(lambda: node.queue.counts()["done"] == 3, 90)
        listener.close()
    assert pacs.counts() == {"SR": 3, "OT": 3, "PR": 1}


def test_the_command_that_listens_takes_films_over_tls_only(bundle: Path, tmp_path: Path, certificates: Path) -> None:
    port, mine = free_port(), certificates / "node.pem"
    command = [sys.executable, "-m", "cxray", "pacs", "listen", str(bundle), "--state", str(tmp_path / "node"),
               "--allow", "MODALITY1", "--host", "0.0.0.0", "--port", str(port), "--dry-run", "--results", "sr",
               "--engine", "onnxruntime", "--tls-certificate", str(mine), "--tls-key", str(mine.with_suffix(".key")),
               "--tls-ca", str(certificates / "ca.pem")]  # fmt: skip
    sent = films(tmp_path / "in", 2)
    modality = certificates / "modality"
    tls = ["+tls", f"{modality}.key", f"{modality}.pem", "+cf", str(certificates / "ca.pem")]
    said = tmp_path / "said"
    with said.open("w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            wait_until(lambda: "listens on 0.0.0.0" in said.read_text(), 90)
            assert send(port, sent, called="CXRAY") != 0, "without TLS"
            assert send(port, sent, called="CXRAY", options=tls) == 0
            wait_until(lambda: len(list((tmp_path / "node" / "local").glob("*/sr.dcm"))) == 2, 90)
        finally:
            process.terminate()
        printed, _ = process.communicate(timeout=90)
    assert (process.returncode, printed) == (0, "2 done\n"), said.read_text()


def test_films_over_dicomweb_come_back_over_dicomweb(pacs: Orthanc, bundle: Path, tmp_path: Path) -> None:
    today = time.strftime("%Y%m%d")
    for k in range(3):
        film = draw_film(ill=k == 0, patient=f"P{k}", StudyDate="20010101" if k == 2 else today)
        pacs.session.post(f"{pacs.url}/instances", data=bytes_of(film), timeout=30).raise_for_status()
    chosen = settings(bundle, tmp_path, send_to=pacs.web)

    def door(node: Node) -> WebWatcher:
        return WebWatcher(web_client(WebAddress(pacs.web, is_orthanc=False)), node.intake, days=2)

    for _ in range(2):
        with running(chosen, door, every_seconds=0.1) as node:
            wait_until(lambda: node.queue.counts()["done"] == 2, 90)
        assert pacs.counts() == {"DX": 3, "SR": 2, "OT": 2, "PR": 1}, "the study of 2001 is outside the window"


def test_a_film_that_was_deleted_meanwhile_stops_nothing(pacs: Orthanc, bundle: Path, tmp_path: Path) -> None:
    send(pacs.port, films(tmp_path / "in", 3))
    pacs.session.delete(f"{pacs.url}/instances/{pacs.instances()[0]['id']}", timeout=30).raise_for_status()
    with running(settings(bundle, tmp_path), watcher(pacs.url), every_seconds=0.1) as node:
        wait_until(lambda: node.queue.counts()["done"] == 2, 90)
    assert pacs.counts() == {"DX": 2}, "a dry run: nothing reaches the PACS"
    assert len(list((tmp_path / "node" / "local").glob("*/sr.dcm"))) == 2


def test_a_worker_that_is_stuck_on_a_film_is_killed_and_the_film_is_tried_again(bundle: Path, tmp_path: Path) -> None:
    film = draw_film(ill=True, patient="P1")
    with running(settings(bundle, tmp_path, film_seconds=2.0), lambda node: None, every_seconds=0.1) as node:
        wait_until(lambda: "worker-ready" in (tmp_path / "log").read_text(), 60)
        stuck = workers()[0]
        os.kill(stuck, signal.SIGSTOP)
        node.intake.take(film.SOPInstanceUID, bytes_of(film))
        assert node.queue.claim("waiting") is not None, "as if the worker had taken it and hung"
        wait_until(lambda: node.queue.counts()["done"] == 1, 90)
        assert stuck not in workers()
    assert "stuck seconds=2" in (tmp_path / "log").read_text()


def test_a_pacs_that_comes_back_gets_everything(bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    chosen = settings(bundle, tmp_path, send_to=f"ORTHANC@127.0.0.1:{port}", kinds=("sr",))
    with running(chosen, lambda node: None, every_seconds=0.1) as node:
        for path in films(tmp_path / "in", 2):
            film = pydicom.dcmread(path)
            node.intake.take(film.SOPInstanceUID, path.read_bytes())
        wait_until(lambda: node.queue.counters().get(("deliveries", "unreachable"), 0) >= 2, 90)
        assert node.queue.counts()["dead"] == 0
        from pynetdicom import AE, evt

        taken: list[str] = []
        late = AE(ae_title="ORTHANC")
        late.add_supported_context("1.2.840.10008.5.1.4.1.1.88.34")
        handlers = [(evt.EVT_C_STORE, lambda event: taken.append(event.request.AffectedSOPInstanceUID) or 0)]
        server = late.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        wait_until(lambda: node.queue.counts()["done"] == 2, 60)
        server.shutdown()
    assert len(set(taken)) == len(taken) == 2


def test_planted_identifiers_occur_in_results_only(
    pacs: Orthanc, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every door, a good film, a refused one and a broken one; then every byte the node left is searched."""
    good = draw_film(ill=True, patient="P1", **planted())
    lateral = draw_film(ill=True, patient="P2", ViewPosition="LL", **planted())
    broken = draw_film(ill=True, patient="P3", **planted())
    broken.PixelData = broken.PixelData[:500]
    odd = draw_film(ill=False, patient="P4", **{**planted(), "BodyPartExamined": "ZWETSCHGENMANN", "WindowWidth": "0"})
    for film in (good, lateral, broken, odd):
        plant_deep(film)
        pacs.session.post(f"{pacs.url}/instances", data=bytes_of(film), timeout=30).raise_for_status()
    from cxray.pacs.metrics import metrics_text

    chosen = settings(bundle, tmp_path, send_to=f"orthanc+{pacs.url}", quiet=False)
    with running(chosen, watcher(pacs.url), every_seconds=0.1) as node:
        wait_until(lambda: node.queue.counts()["done"] == 4, 90)
        node.intake.take("1.2.3.4", b"\0" * 128 + b"DICM" + b"Zwetschgenmann Quirinus" * 20)
        wait_until(lambda: node.queue.counts()["done"] == 5, 60)
        metrics = metrics_text(node.queue)
    printed = "".join(capfd.readouterr())
    assert "assessed" in printed and "reason=lateral-view" in printed
    left = b"".join(path.read_bytes() for path in (tmp_path / "node").rglob("*") if path.is_file())
    for text in (printed, metrics, (tmp_path / "log").read_text(), left.decode("latin-1")):
        assert not [word for word in PLANTED_WORDS if word.casefold() in text.casefold()]
    report = pydicom.dcmread(first_of(pacs, "SR", tmp_path))
    assert str(report.PatientName) == "Zwetschgenmann^Quirinus", "the result itself belongs to the patient"


def first_of(pacs: Orthanc, modality: str, tmp_path: Path) -> Path:
    path = tmp_path / "one.dcm"
    path.write_bytes(pacs.fetch(pacs.instances(modality)[0]["id"]))
    return path
