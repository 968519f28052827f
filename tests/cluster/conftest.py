"""Films in any number, traps among them, and a cluster of two nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cxray import extras
from cxray.cli import cli
from tests.cluster.events import two_nodes_at
from tests.conftest import draw

TRAP = Path(__file__).parent / "trap"
ENDS, HANGS = b"ENDS THE DECODER", b"HANGS THE DECODER"
# So many films are drawn; the others are links to them, because only names matter here.
DRAWN = 12


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["cluster", "predict", *map(str, arguments)])


def many_films(folder: Path, count: int) -> Path:
    """`count` films of a few different contents, each with a name of its own."""
    drawn = [draw(folder.parent / f"{folder.name}-drawn" / f"{seed}.png", seed=seed, side=80) for seed in range(DRAWN)]
    folder.mkdir()
    for number in range(count):
        (folder / f"film-{number:05d}.png").hardlink_to(drawn[number % DRAWN])
    return folder


def set_trap(film: Path, trap: bytes) -> None:
    """Turn one film into a trap, leaving those that it is linked to alone."""
    content = film.read_bytes()
    film.unlink()
    film.write_bytes(content + trap)


@pytest.fixture
def trapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes of this machine that step into traps."""
    monkeypatch.setenv("PYTHONPATH", str(TRAP))


# Not for the session: all later tests would run with its HOME and beside its processes.
@pytest.fixture(scope="package")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of two logical processors each, reached as a user reaches them: by an address and a token."""
    if not extras.is_available("ray"):  # importing it would settle its mode of authentication
        pytest.skip("needs the extra cluster")
    with two_nodes_at(tmp_path_factory.mktemp("ray-home"), PYTHONPATH=str(TRAP)) as cluster:
        yield cluster
