"""A bundle with known answers, a real PACS, and libraries that speak again after each test."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cxray.pacs.journal import SILENCED
from cxray.pacs.queue import Queue
from tests.pacs.bundles import write_bundle

if TYPE_CHECKING:
    from tests.pacs.world import Orthanc


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that finds what is bright."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "bright")


@pytest.fixture(autouse=True)
def _queues_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python 3.13 complains of database connections that a test leaves open, in whatever test comes next."""
    opened: list[Queue] = []
    begin = Queue.__init__

    def remember(queue: Queue, path: Path) -> None:
        begin(queue, path)
        opened.append(queue)

    monkeypatch.setattr(Queue, "__init__", remember)
    yield
    for queue in opened:
        queue.close()


@pytest.fixture(autouse=True)
def _libraries_speak_again() -> Iterator[None]:
    """What a node silences for its own process must not stay silent for other tests."""
    loggers = {name: logging.getLogger(name) for name in SILENCED}
    before = {name: (list(one.handlers), one.propagate, one.level) for name, one in loggers.items()}
    with _validation_kept():
        yield
    for name, (handlers, propagate, level) in before.items():
        loggers[name].handlers[:], loggers[name].propagate = handlers, propagate
        loggers[name].setLevel(level)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRAY_PACS_USER", "tester")
    monkeypatch.setenv("CXRAY_PACS_PASSWORD", "trial")
    for name in ("CXRAY_PACS_TOKEN", "CXRAY_DICOM_ACCEPT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def _one_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    from tests.pacs.world import orthanc

    with orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def pacs(_one_orthanc: Orthanc) -> Orthanc:
    """An empty Orthanc; its process serves all tests, because its end takes seconds."""
    _one_orthanc.empty()
    return _one_orthanc


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, with certificates for the node and the modality; and a stranger's, of another authority."""
    from tests.pacs.world import make_certificates

    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pixelmed() -> Iterator[Callable[..., None]]:
    """Hand a report to PixelMed, which looks at it while the tests go on; its verdicts are due when all have run."""
    from tests.pacs.world import begin_pixelmed, complaints_of_pixelmed

    begun: list[tuple[Path, bool, Any]] = []

    def judge(report: Path, *, is_valid: bool = True) -> None:
        begun.append((report, is_valid, begin_pixelmed(report)))

    yield judge
    said = [(report, is_valid, complaints_of_pixelmed(process)) for report, is_valid, process in begun]
    assert [(report, lines) for report, is_valid, lines in said if is_valid == bool(lines)] == []


@contextlib.contextmanager
def _validation_kept() -> Iterator[None]:
    if importlib.util.find_spec("pydicom") is None:
        yield
        return
    from pydicom import config

    kept = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    yield
    config.settings.reading_validation_mode, config.settings.writing_validation_mode = kept
