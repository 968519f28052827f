"""One service for all tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("httpx", reason="needs the extra dev-serve")

import httpx

from tests.serve.service_fixtures import running


@pytest.fixture(scope="session")
def bundle(tiny_run: Path) -> Path:
    """The bundle inside its finished run, so that evidence and report lie beside it."""
    return tiny_run / "bundle"


@pytest.fixture(scope="session")
def client(bundle: Path, phantom_films: Path) -> Iterator[httpx.Client]:
    """A client of a ready service without a token."""
    with running(bundle, samples=phantom_films / "test", decoders=2) as opened:
        yield opened
