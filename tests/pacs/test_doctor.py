"""The doctor against a real Orthanc and against everything that is wrong; the commands around it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")


from click.testing import CliRunner

from cxray.cli import cli
from cxray.errors import CxrayError, PartialResult, UsageError
from cxray.pacs.address import Entity, WebAddress, parse_address
from cxray.pacs.doctor import Check, Patient, examine
from cxray.workflow.pacs import check_exposure
from tests.data.dicom.films import save
from tests.pacs.films import draw_film
from tests.pacs.world import Orthanc, free_port


def verdicts(checks: list[Check]) -> str:
    return "\n".join(f"{check.verdict} {check.text} {check.next_step}" for check in checks)


def test_a_healthy_connection(pacs: Orthanc, bundle: Path, tmp_path: Path) -> None:
    addresses = (f"ORTHANC@127.0.0.1:{pacs.port}", pacs.web, f"orthanc+{pacs.url}")
    checks = list(examine(Patient(addresses, bundle=bundle, codes="", state=tmp_path / "node", port=free_port())))
    said = verdicts(checks)
    assert "failed" not in said, said
    for part in (
        "ok It accepts CXRAY as caller.",
        "ok It takes all results: Comprehensive 3D SR, Secondary Capture, GSPS.",
        "ok QIDO-RS answers",
        "ok STOW-RS is there",
        "golden scores",
        "warning No clinical code is declared for ILL",
    ):
        assert part in said
    assert pacs.counts() == {}, "the doctor stores nothing"


def test_each_illness_is_named_with_its_cure(pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = free_port()
    illnesses = {
        f"WRONG@127.0.0.1:{pacs.port}": "its own title is not WRONG. Ask for its exact AE title",
        f"ORTHANC@127.0.0.1:{closed}": f"Nobody listens on 127.0.0.1:{closed}",
        "ORTHANC@no-such-host.invalid:104": "No machine is called no-such-host.invalid",
        f"{pacs.url}/wrong-path": "The PACS answered HTTP 404. Check the path of the address.",
        f"http://127.0.0.1:{closed}/dicom-web": "The PACS does not answer.",
        "nonsense": "'nonsense' is no address of a PACS.",
    }
    for address, cure in illnesses.items():
        (*_, last) = examine(Patient((address,)))
        assert last.verdict == "failed"
        assert cure in f"{last.text} {last.next_step}"
    monkeypatch.setenv("CXRAY_PACS_PASSWORD", "wrong")
    (*_, last) = examine(Patient((pacs.web,)))
    assert "HTTP 401" in last.text and "CXRAY_PACS_PASSWORD" in last.next_step
    assert "wrong" not in last.text


def test_the_doctor_command_leaves_with_an_error_when_a_check_failed() -> None:
    result = CliRunner().invoke(cli, ["pacs", "doctor", f"X@127.0.0.1:{free_port()}"])
    assert isinstance(result.exception, CxrayError)
    assert "failed" in result.output and "->" in result.output
    as_json = CliRunner().invoke(cli, ["pacs", "doctor", "--json"])
    assert as_json.exit_code == 0
    assert [check["verdict"] for check in json.loads(as_json.output)] == ["ok"]


def test_results_of_single_files_without_a_pacs(bundle: Path, tmp_path: Path) -> None:
    films = [save(draw_film(ill=True, patient="P1"), tmp_path / "a.dcm"), tmp_path / "b.dcm"]
    films[1].write_bytes(b"no film")
    chosen = ["--out", str(tmp_path / "out"), "--engine", "onnxruntime"]
    arguments = ["pacs", "write", str(bundle), *map(str, films), *chosen]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, PartialResult)
    assert "a.dcm: finding  0001-sr.dcm 0001-sc.dcm 0001-gsps.dcm" in result.output
    assert "b.dcm: skipped (not-dicom)" in result.output
    assert (tmp_path / "out" / "manifest.json").exists()
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, UsageError)


def test_status_and_retry_need_a_node(tmp_path: Path) -> None:
    for command in ("status", "retry"):
        result = CliRunner().invoke(cli, ["pacs", command, "--state", str(tmp_path / "none")])
        assert isinstance(result.exception, UsageError)
        assert "There is no node's state" in str(result.exception)
    assert not (tmp_path / "none").exists()


def test_status_tells_what_was_done(tmp_path: Path) -> None:
    from cxray.pacs.queue import Queue
    from cxray.pacs.state import State

    queue = Queue(State(tmp_path / "node").queue)
    queue.add("0" * 32)
    queue.count({("refused", "lateral-view"): 2.0, ("seconds", "assess"): 3.0, ("steps", "assess"): 2.0})
    result = CliRunner().invoke(cli, ["pacs", "status", "--state", str(tmp_path / "node")])
    assert "1 waiting" in result.output and "2 lateral-view" in result.output and "assess 1.50 s" in result.output


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("PACS@10.0.0.7:104", Entity("PACS", "10.0.0.7", 104)),
        ("MY PACS@pacs.example:11112", Entity("MY PACS", "pacs.example", 11112)),
        ("PACS@[::1]:104", Entity("PACS", "::1", 104)),
        ("https://pacs.example/dicom-web/", WebAddress("https://pacs.example/dicom-web", False)),
        ("orthanc+http://127.0.0.1:8042", WebAddress("http://127.0.0.1:8042", True)),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "PACS", "PACS@host", "PACS@host:0", "PACS@host:65536", "A" * 17 + "@h:1", "ftp://x"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is no address of a PACS"):
        parse_address(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="must not hold a user or password") as caught:
        parse_address("https://anna:geheim@pacs.example/dicom-web")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "tls", "plain", "passes"),
    [
        ("127.0.0.1", False, False, True),
        ("0.0.0.0", False, False, False),
        ("0.0.0.0", True, False, True),
        ("10.0.0.7", False, True, True),
    ],
)
def test_beyond_this_machine_only_with_tls_or_on_demand(host: str, tls: bool, plain: bool, passes: bool) -> None:
    if passes:
        check_exposure(host, has_tls=tls, allow_plain=plain)
    else:
        with pytest.raises(UsageError, match="without TLS"):
            check_exposure(host, has_tls=tls, allow_plain=plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--allow", "A", "--results", "pdf"], "must name some of sr, sc, gsps"),
        (["--allow", "A", "--tls-key", "k"], "TLS needs all three"),
        (["--allow", "A", "--host", "0.0.0.0"], "without TLS"),
        (["--allow", "A", "--send-to", "nonsense"], "is no address of a PACS"),
        (["--allow", "A", "--accept", "own-result"], "no reason that can be waived"),
    ],
)
def test_settings_that_cannot_be_meant(bundle: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    command = ["pacs", "listen", str(bundle), "--state", str(tmp_path / "node"), *arguments]
    result = CliRunner().invoke(cli, command)
    assert isinstance(result.exception, CxrayError) and message in str(result.exception)
