"""Scoring 2,000 films on two nodes while things die; run on demand: `pytest tests/long/test_cluster_scoring.py`.

An actor is killed, a node is removed, the command and the whole cluster are killed and the work is resumed on another:
every film once, scores bit for bit those of the undisturbed pool.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cxray.errors import ClusterError
from cxray.records import Predictions
from tests.cluster.conftest import ENDS, many_films, run, set_trap
from tests.cluster.conftest import two_nodes as two_nodes
from tests.cluster.events import (
    NODE,
    disturbed,
    kill_an_actor,
    kill_command_and_its_cluster,
    parts_in,
    predict_command,
)

FILMS, BLOCK = 2000, 64
TRAPS = (17, 1200)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 films, two of which end their decoder."""
    folder = many_films(tmp_path_factory.mktemp("many") / "films", FILMS)
    for number in TRAPS:
        set_trap(folder / f"film-{number:05d}.png", ENDS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(films: Path, tiny_run: Path, two_nodes: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    """The table of the local pool; its workers see the traps too, because the cluster's fixture sets the path."""
    out = tmp_path_factory.mktemp("pool") / "out"
    assert run(tiny_run, films, "--block", BLOCK, "--out", out).exit_code == 1
    return Predictions.read(out / "predictions.parquet")


def check(out: Path, undisturbed: Predictions) -> None:
    table = Predictions.read(out / "predictions.parquet")
    assert table.path.tolist() == undisturbed.path.tolist()
    assert len(set(table.path)) == FILMS
    assert table.scores.tobytes() == undisturbed.scores.tobytes()
    assert [number for number, error in enumerate(table.error) if error] == list(TRAPS)


def test_an_actor_is_killed(
    two_nodes: Any, tiny_run: Path, films: Path, undisturbed: Predictions, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = predict_command(tiny_run, films, out, "--block", BLOCK, "--address", two_nodes.address)
    code, error = disturbed(command, out, kill_an_actor)
    assert code == 8, error
    check(out, undisturbed)


def test_a_node_is_removed(
    two_nodes: Any, tiny_run: Path, films: Path, undisturbed: Predictions, tmp_path: Path
) -> None:
    node, out = two_nodes.add_node(**NODE), tmp_path / "out"
    command = predict_command(tiny_run, films, out, "--block", BLOCK, "--address", two_nodes.address)
    code, error = disturbed(command, out, lambda _: two_nodes.remove_node(node, allow_graceful=False))
    assert code == 8, error
    check(out, undisturbed)


def test_command_and_cluster_are_killed_and_another_cluster_goes_on(
    two_nodes: Any, tiny_run: Path, films: Path, undisturbed: Predictions, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = predict_command(tiny_run, films, out, "--block", BLOCK, "--address", "local")
    code, _ = disturbed(command, out, kill_command_and_its_cluster)
    assert code == -signal.SIGKILL
    kept = parts_in(out)
    assert 4 <= kept < FILMS // BLOCK
    command = predict_command(tiny_run, films, out, "--block", BLOCK, "--address", two_nodes.address, "--resume")
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 8, resumed.stderr
    assert f"Resuming: {kept * BLOCK} of {FILMS} films are done" in resumed.stderr
    check(out, undisturbed)


def test_a_node_without_a_library_is_named(two_nodes: Any, tiny_run: Path, tmp_path: Path) -> None:
    films = many_films(tmp_path / "films", 16)
    node = two_nodes.add_node(**NODE, env_vars={"TRAP_ABSENT": "onnxruntime"})
    try:
        result = run(tiny_run, films, "--address", two_nodes.address, "--out", tmp_path / "out")
    finally:
        two_nodes.remove_node(node)
    assert isinstance(result.exception, ClusterError), result.output
    assert "lacks onnxruntime" in result.exception.message
    assert "pip install '.[cluster,dicom]'" in result.exception.next_step


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's, about itself
def test_a_full_disk_on_one_node_leaves_its_work_to_the_others(two_nodes: Any, tiny_run: Path, tmp_path: Path) -> None:
    films = many_films(tmp_path / "films", 1000)  # the other nodes are not done before that one begins
    node = two_nodes.add_node(**NODE, env_vars={"TRAP_FULL_DISK": "1"})
    try:
        result = run(tiny_run, films, "--block", 16, "--address", two_nodes.address, "--out", tmp_path / "out")
    finally:
        two_nodes.remove_node(node)
    assert result.exit_code == 0, result.output
    assert "blocks are left to other nodes, the first because: Cannot write" in result.stderr
    assert "No space left on device" in result.stderr
    assert len(set(Predictions.read(tmp_path / "out" / "predictions.parquet").path)) == 1000


def test_a_wrong_token_is_a_sentence(two_nodes: Any, tiny_run: Path, tmp_path: Path) -> None:
    films = many_films(tmp_path / "films", 1)
    command = predict_command(tiny_run, films, tmp_path / "out", "--address", two_nodes.address)
    environment = {**os.environ, "RAY_AUTH_TOKEN": "f" * 32}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 9, result.stderr
    assert "does not accept this program's token" in result.stderr
    assert "gcs_client" not in result.stderr
