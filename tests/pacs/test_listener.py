"""The DICOM door, against dcmtk as the sender: who may come in, what is stored, and what a hostile peer can do."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

import pydicom
from pydicom import config
from pynetdicom import AE

from cxray.errors import OutputError, UsageError
from cxray.pacs.address import TlsFiles
from cxray.pacs.intake import Intake
from cxray.pacs.journal import Journal
from cxray.pacs.listener import Caller, Listener, ListenSettings
from cxray.pacs.queue import Queue
from cxray.pacs.state import State
from tests.data.dicom.films import save
from tests.pacs.films import draw_film
from tests.pacs.world import program, send, wait_until

DX = "1.2.840.10008.5.1.4.1.1.1.1"
SETTINGS = ListenSettings("CXRAY", "127.0.0.1", 0, (Caller("MODALITY1"), Caller("ELSEWHERE", "10.9.8.7")))


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    state = State(tmp_path / "node")
    return Intake(state, Queue(state.queue), Journal(tmp_path / "log", quiet=True), "model", least_free_bytes=0)


@contextmanager
def listening(intake: Intake, **changes: Any) -> Iterator[Listener]:
    """A listener on a free port."""
    listener = Listener(dataclasses.replace(SETTINGS, **changes), intake)
    try:
        yield listener
    finally:
        listener.close()


def films(folder: Path, number: int) -> list[Path]:
    return [save(draw_film(ill=True, patient=f"P{k}"), folder / f"{k}.dcm") for k in range(number)]


def store(port: int, uid: str, *, calling: str = "MODALITY1", pixels: int = 0) -> Any:
    """One C-STORE with an instance UID of our choice; its status."""
    node = AE(ae_title=calling)
    node.add_requested_context(DX)
    association = node.associate("127.0.0.1", port, ae_title="CXRAY")
    assert association.is_established
    film = draw_film(ill=True, patient="P1")
    config.settings.writing_validation_mode = config.settings.reading_validation_mode = config.IGNORE
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = uid
    if pixels:
        film.PixelData = bytes(pixels)
    try:
        return association.send_c_store(film)
    finally:
        association.release()


def test_films_are_on_disk_and_in_the_queue_when_the_sender_has_its_success(intake: Intake, tmp_path: Path) -> None:
    sent = films(tmp_path, 5)
    with listening(intake) as listener:
        assert send(listener.port, sent, called="CXRAY") == 0
    assert intake.queue.counts()["waiting"] == 5
    stored = [pydicom.dcmread(intake.state.spooled(key)) for key in intake.state.spooled_keys()]
    assert {film.SOPInstanceUID for film in stored} == {pydicom.dcmread(path).SOPInstanceUID for path in sent}
    first = pydicom.dcmread(intake.state.spooled(intake.key_of(pydicom.dcmread(sent[0]).SOPInstanceUID)))
    assert first.PixelData == pydicom.dcmread(sent[0]).PixelData


def test_a_film_that_is_sent_twice_is_one_job(intake: Intake, tmp_path: Path) -> None:
    sent = films(tmp_path, 1)
    with listening(intake) as listener:
        assert send(listener.port, sent * 2, called="CXRAY") == 0
        job = intake.queue.claim("waiting")
        assert job is not None
        intake.queue.move("skip", job)
        intake.state.forget(job.key)
        assert send(listener.port, sent, called="CXRAY") == 0
    assert intake.queue.counts() == {"waiting": 0, "working": 0, "ready": 0, "sending": 0, "done": 1, "dead": 0}
    assert intake.state.spooled_keys() == []


@pytest.mark.parametrize(
    ("encoder", "option", "syntax"),
    [
        ("dcmcjpeg +e1", "-xs", "1.2.840.10008.1.2.4.70"),
        ("dcmcjpeg +ee +un", "-xx", "1.2.840.10008.1.2.4.51"),
        ("dcmcjpls", "-xt", "1.2.840.10008.1.2.4.80"),
        ("dcmcrle", "-xr", "1.2.840.10008.1.2.5"),
        ("dcmconv +tb", "-xb", "1.2.840.10008.1.2.2"),
        ("dcmconv +td", "-xd", "1.2.840.10008.1.2.1.99"),
        ("dcmconv +ti", "-xi", "1.2.840.10008.1.2"),
    ],
)
def test_films_arrive_in_the_encoding_that_they_have(
    intake: Intake, tmp_path: Path, encoder: str, option: str, syntax: str
) -> None:
    name, *options = encoder.split()
    plain, coded = films(tmp_path, 1)[0], tmp_path / "coded.dcm"
    subprocess.run([program(name, "dcmtk"), *options, str(plain), str(coded)], check=True, capture_output=True)
    sent = pydicom.dcmread(coded)
    with listening(intake) as listener:
        assert send(listener.port, [coded], called="CXRAY", options=[option]) == 0
    stored = pydicom.dcmread(intake.state.spooled(intake.state.spooled_keys()[0]))
    assert stored.file_meta.TransferSyntaxUID == syntax == sent.file_meta.TransferSyntaxUID
    assert stored.PixelData == sent.PixelData


@pytest.mark.parametrize(("calling", "called"), [("STRANGER", "CXRAY"), ("MODALITY1", "SOMEBODY")])
def test_strangers_are_turned_away(intake: Intake, tmp_path: Path, calling: str, called: str) -> None:
    with listening(intake) as listener:
        assert send(listener.port, films(tmp_path, 1), called=called, calling=calling) != 0
        wait_until(lambda: intake.queue.counters().get(("turned-away", "association"), 0) == 1)
    assert intake.queue.depth() == 0
    assert "STRANGER" not in (tmp_path / "log").read_text()


def test_a_known_title_from_another_address_may_not_store(intake: Intake) -> None:
    with listening(intake) as listener:
        assert store(listener.port, "1.2.3", calling="ELSEWHERE").Status == 0x0124
    assert intake.queue.depth() == 0


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../../../tmp/evil", "1.2.3/../../evil"])
def test_a_hostile_uid_is_refused_and_touches_no_file(intake: Intake, tmp_path: Path, uid: str) -> None:
    with listening(intake) as listener:
        assert store(listener.port, uid).Status == 0x0117
    assert intake.state.spooled_keys() == []
    assert not list(tmp_path.rglob("*evil*"))


def test_other_objects_are_not_accepted(intake: Intake) -> None:
    with listening(intake) as listener:
        node = AE(ae_title="MODALITY1")
        for sop_class in ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"):
            node.add_requested_context(sop_class)
        association = node.associate("127.0.0.1", listener.port, ae_title="CXRAY")
        assert association.accepted_contexts == []
        association.abort()


def test_an_endless_film_ends_the_association(intake: Intake) -> None:
    with listening(intake, largest_film_bytes=300_000) as listener:
        assert getattr(store(listener.port, "1.2.3", pixels=5_000_000), "Status", None) is None
        assert store(listener.port, "1.2.4", pixels=100_000).Status == 0
    assert intake.queue.counters()["turned-away", "too-large"] == 1
    assert len(intake.state.spooled_keys()) == 1


@pytest.mark.parametrize(
    ("limits", "reason"), [({"least_free_bytes": 1 << 60}, "disk-full"), ({"most_waiting": 0}, "queue-full")]
)
def test_without_room_the_sender_is_told_to_come_again(intake: Intake, limits: dict[str, int], reason: str) -> None:
    with listening(dataclasses.replace(intake, **limits)) as listener:
        assert store(listener.port, "1.2.3").Status == 0xA700
    assert intake.queue.counters()["turned-away", reason] == 1


def test_several_senders_at_a_time(intake: Intake, tmp_path: Path) -> None:
    parts = [films(tmp_path / str(k), 3) for k in range(4)]
    for k, part in enumerate(parts):
        for n, path in enumerate(part):
            save(draw_film(ill=True, patient=f"S{k}N{n}"), path)
    with listening(intake) as listener:
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda p=part: codes.append(send(listener.port, p, called="CXRAY")))  # type: ignore[misc]
            for part in parts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == [0] * 4
    assert intake.queue.counts()["waiting"] == 12


def test_mutual_tls_lets_in_who_has_a_certificate_and_nobody_else(
    intake: Intake, tmp_path: Path, certificates: Path
) -> None:
    tls = TlsFiles(certificates / "node.pem", certificates / "node.key", certificates / "ca.pem")
    sent = films(tmp_path, 1)

    def options(name: str) -> list[str]:
        return ["+tls", f"{certificates / name}.key", f"{certificates / name}.pem", "+cf", str(certificates / "ca.pem")]

    with listening(intake, tls=tls) as listener:
        assert send(listener.port, sent, called="CXRAY") != 0, "without TLS"
        assert send(listener.port, sent, called="CXRAY", options=["+tla", "-ic"]) != 0, "without a certificate"
        assert send(listener.port, sent, called="CXRAY", options=options("stranger")) != 0, "of another authority"
        assert intake.queue.depth() == 0
        assert send(listener.port, sent, called="CXRAY", options=options("modality")) == 0
    assert intake.queue.depth() == 1


def test_tls_files_that_cannot_be_used_are_named(certificates: Path) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        TlsFiles(certificates / "node.pem", certificates / "modality.key", certificates / "ca.pem").server_context()


def test_a_port_that_is_taken_is_an_error_with_a_way_out(intake: Intake) -> None:
    with (
        listening(intake) as listener,
        pytest.raises(OutputError, match=f"Port {listener.port} on .* cannot be opened"),
    ):
        Listener(dataclasses.replace(SETTINGS, port=listener.port), intake)


@pytest.mark.parametrize("text", ["", "@10.0.0.7", "A" * 17, "A\\B"])
def test_what_is_no_caller_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no application entity"):
        Caller.parse(text)


def test_nobody_allowed_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="Nobody is allowed to send"):
        dataclasses.replace(SETTINGS, callers=())
    assert Caller.parse("A B@10.0.0.7") == Caller("A B", "10.0.0.7")
