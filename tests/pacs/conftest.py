"""Films, a bundle with known answers, and a real PACS."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for _module in ("highdicom", "pynetdicom", "dicomweb_client", "onnx"):
    pytest.importorskip(_module, reason="needs the extra pacs")

from pydicom import config  # noqa: E402

from cxray.pacs.journal import SILENCED  # noqa: E402
from tests.data.dicom.films import film  # noqa: E402
from tests.pacs.bundles import write_bundle  # noqa: E402
from tests.pacs.world import PASSWORD, USER, Orthanc, orthanc  # noqa: E402

ROWS, COLUMNS = 320, 256
# Rows and columns of the bright patch of an ill film.
PATCH = (slice(180, 300), slice(30, 130))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that finds what is bright."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "bright")


@pytest.fixture(autouse=True)
def _libraries_speak_again() -> Iterator[None]:
    """What a node silences for its own process must not stay silent for other tests."""
    settings = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    loggers = {name: logging.getLogger(name) for name in SILENCED}
    before = {name: (list(one.handlers), one.propagate, one.level) for name, one in loggers.items()}
    yield
    config.settings.reading_validation_mode, config.settings.writing_validation_mode = settings
    for name, (handlers, propagate, level) in before.items():
        loggers[name].handlers[:], loggers[name].propagate = handlers, propagate
        loggers[name].setLevel(level)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRAY_PACS_USER", USER)
    monkeypatch.setenv("CXRAY_PACS_PASSWORD", PASSWORD)
    for name in ("CXRAY_PACS_TOKEN", "CXRAY_DICOM_ACCEPT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    """An empty Orthanc."""
    with orthanc(tmp_path / "orthanc") as server:
        yield server


def draw_film(*, ill: bool, patient: str, **elements: Any) -> Any:
    """A film with or without the bright patch, 12 bits."""
    pixels = np.full((ROWS, COLUMNS), 1200, dtype=np.uint16)
    pixels += np.random.default_rng(sum(patient.encode())).integers(0, 200, pixels.shape, dtype=np.uint16)
    if ill:
        pixels[PATCH] = 3900
    return film(pixels, patient=patient, **elements)
