"""A real PACS for tests: Orthanc with DICOMweb on free ports, dcmtk as the modality, two validators for what we send.

Everything is from Debian (orthanc, orthanc-dicomweb, dcmtk, dicom3tools, libpixelmed-java, a Java runtime); what is
missing skips the tests that need it, with the package's name.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra pacs")
import requests

USER, PASSWORD = "tester", "trial"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PIXELMED = Path("/usr/share/java/pixelmed.jar")
_COMPLAINTS = ("Error", "Warning", "Abort")
# What PixelMed prints when it has nothing to say.
PIXELMED_SILENCE = (
    "Found Comprehensive3DSR IOD",
    "Found Root Template TID_1500 (MeasurementReport)",
    "Root Template Validation Complete",
    "IOD validation complete",
)


def program(name: str, package: str) -> str:
    """The path of a system program, never of the virtual environment (which shadows dcmtk's); or a skip."""
    found = subprocess.run(["sh", "-c", f"command -v -p {name}"], capture_output=True, text=True, check=False)
    path = found.stdout.strip() or next((p for p in (f"/usr/sbin/{name}",) if Path(p).exists()), "")
    if not path:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """A running Orthanc: `url` (REST), `web` (DICOMweb root), `port` (DICOM), application entity ORTHANC."""

    def __init__(self, url: str, port: int) -> None:
        self.url, self.port, self.web = url, port, f"{url}/dicom-web"
        self.session = requests.Session()
        self.session.auth = (USER, PASSWORD)

    def empty(self) -> None:
        """Forget all films and the log of changes."""
        for patient in self.get("/patients"):
            self.session.delete(f"{self.url}/patients/{patient}", timeout=30).raise_for_status()
        self.session.delete(f"{self.url}/changes", timeout=30).raise_for_status()
        assert self.counts() == {} and self.get("/changes")["Changes"] == []

    def get(self, path: str) -> Any:
        """JSON at `path`."""
        answer = self.session.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def instances(self, modality: str = "") -> list[dict[str, Any]]:
        """All stored instances, or those of one modality, with their tags as strings."""
        question = {"Level": "Instance", "Query": {"Modality": modality} if modality else {}, "Expand": False}
        answer = self.session.post(f"{self.url}/tools/find", json=question, timeout=60)
        return [{"id": identifier} for identifier in answer.json()]

    def fetch(self, identifier: str) -> bytes:
        """One stored file."""
        return self.session.get(f"{self.url}/instances/{identifier}/file", timeout=30).content

    def counts(self) -> dict[str, int]:
        """How many instances of each modality are stored."""
        found: dict[str, int] = {}
        for series in self.get("/series?expand&since=0&limit=100000"):
            modality = series["MainDicomTags"].get("Modality", "")
            found[modality] = found.get(modality, 0) + len(series["Instances"])
        return found


@contextmanager
def orthanc(folder: Path, *, modalities: Mapping[str, Sequence[Any]] | None = None) -> Iterator[Orthanc]:
    """Start Orthanc with its data in `folder`, and end it."""
    binary = program("Orthanc", "orthanc")
    if not PLUGIN.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed (Debian package orthanc-dicomweb)")
    http, dicom = free_port(), free_port()
    settings = {
        "Name": "cxray test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)], "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False, "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
        "DicomModalities": dict(modalities or {}), "DicomCheckCalledAet": True, "DefaultEncoding": "Utf8",
        "StableAge": 2, "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([binary, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            server = Orthanc(f"http://127.0.0.1:{http}", dicom)
            _wait_for(server, process, folder / "orthanc.log")
            yield server
        finally:
            process.kill()  # its data are temporary, and an orderly end takes seconds
            process.wait(30)


def _wait_for(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, f"Orthanc ended: {log.read_text()[-2000:]}"
        try:
            server.get("/system")
            return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError("Orthanc did not start within 30 s")


def send(
    port: int,
    files: Sequence[Path],
    *,
    called: str = "ORTHANC",
    calling: str = "MODALITY1",
    options: Sequence[str] = (),
) -> int:
    """Send films with dcmtk's storescu over one association; its exit code."""
    command = [program("storescu", "dcmtk"), *options, "-aet", calling, "-aec", called, "127.0.0.1", str(port)]
    return subprocess.run([*command, *map(str, files)], capture_output=True, timeout=300, check=False).returncode


def dciodvfy(path: Path, *, ignoring: Sequence[str] = ()) -> list[str]:
    """What dicom3tools' validator complains about; values that the film itself lacks are no fault of a result."""
    command = [program("dciodvfy", "dicom3tools"), str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith(_COMPLAINTS)]
    return [line for line in lines if not any(part in line for part in (*ignoring, "needed to build DICOMDIR"))]


def begin_pixelmed(path: Path) -> subprocess.Popen[str]:
    """Start PixelMed's validator of structured reports on a report, which takes it some seconds."""
    java = shutil.which("java")
    if java is None or not PIXELMED.exists():
        pytest.skip("PixelMed is not installed (Debian packages libpixelmed-java and default-jre-headless)")
    limits = [f"-Djdk.xml.xpath{name}=0" for name in ("TotalOpLimit", "ExprOpLimit", "ExprGrpLimit")]
    limits += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # most of a run is compiling
    command = [java, *limits, "-cp", str(PIXELMED), "com.pixelmed.validate.DicomSRValidator", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def complaints_of_pixelmed(process: subprocess.Popen[str]) -> list[str]:
    """What it complains about."""
    said, _ = process.communicate(timeout=120)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    assert lines, "PixelMed said nothing at all"
    return [line for line in lines if line not in PIXELMED_SILENCE]


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for something to become true, or fail."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def make_certificates(folder: Path) -> Path:
    """NAME.pem and NAME.key of `node` and `modality`, signed by `ca`, and of `stranger`, signed by `foreign`."""
    openssl = program("openssl", "openssl")
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "foreign"):
        run(*new, "-x509", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")
    for name, authority in (("node", "ca"), ("modality", "ca"), ("stranger", "foreign")):
        run(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2"]
        run("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    return folder
