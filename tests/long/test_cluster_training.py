"""Teams and sweeps that lose a worker, on this machine and on two nodes of Ray: they end as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxray import extras
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.model.history import read_history
from cxray.tables import read_table
from tests.cluster.events import two_nodes_at

pytest.importorskip("tensorflow", reason="needs the extra train")
from cxray.cluster.train_pool import run_team
from tests.cluster.member import folder_for, largest_differences
from tests.cluster.small_sweep import command, somebody_at_work

REPOSITORY = Path(__file__).resolve().parents[2]
SGD = ("train.optimizer=sgd", "train.learning_rate=0.01", "train.epochs=3", "model.backbone=article_cnn")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not extras.is_available("ray"):
        pytest.skip("needs the extra cluster")
    with two_nodes_at(tmp_path_factory.mktemp("home"), PYTHONPATH=str(REPOSITORY)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_folder(tmp_path_factory.mktemp("phantom") / "films", PhantomPlan(size_px=64), 40, seed=1)


def alone(folder: Path) -> None:
    """The same training by one process."""
    script = (
        "from pathlib import Path\nfrom cxray.model.train import fit\nfrom tests.cluster.member import materials\n"
        f"fit(*materials(Path({str(folder)!r})))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, timeout=300)


def together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    run_team([sys.executable, "-m", "tests.cluster.member", str(folder)], 2, folder, restarts=1)


def test_a_team_that_loses_a_worker_ends_as_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = folder_for(tmp_path / "one", *SGD), folder_for(tmp_path / "two", *SGD)
    (two / "kill-after").write_text("2")
    alone(one)
    together(two, monkeypatch)
    assert not (two / "kill-after").exists()
    assert max(largest_differences(one, two).values()) < 1e-6


# Ray sets deprecated settings of its own in this very process; as errors they would end the team.
@pytest.mark.filterwarnings("default")
def test_a_team_on_ray_that_loses_a_worker_ends_as_one_process(nodes: Any, tmp_path: Path) -> None:
    from cxray.cluster.session import connected
    from cxray.cluster.train_ray import run_workers
    from tests.cluster.member import work

    one, two = folder_for(tmp_path / "one", *SGD), folder_for(tmp_path / "two", *SGD)
    (two / "kill-after").write_text("2")
    with connected(nodes.address, feature="This test"):
        run_workers(work, two, None, workers=2, needs={"CPU": 1.0}, restarts=1)
    alone(one)
    assert not (two / "kill-after").exists()
    assert max(largest_differences(one, two).values()) < 1e-6


def test_statistics_of_the_whole_batch_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with batch normalisation, at both learning stages of a run."""
    # The last epoch is kept: of noise, nearly equal epochs would be told apart by rounding.
    settings = ("train.optimizer=sgd", "train.learning_rate=0.01", "train.frozen_epochs=1", "train.monitor=last")
    one, two = folder_for(tmp_path / "one", *settings), folder_for(tmp_path / "two", *settings)
    alone(one)
    together(two, monkeypatch)
    assert max(largest_differences(one, two).values()) < 1e-6
    assert [epoch.stage for epoch in read_history(two / "history.csv")] == ["frozen", "all", "all"]


@pytest.mark.parametrize("where", ["pool", "ray"])
def test_six_trials_with_one_killed_give_six_results(
    where: str, films: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = "pool" if where == "pool" else request.getfixturevalue("nodes").address
    out = tmp_path / "swept"
    with subprocess.Popen(command("sweep", films, out, address, "--seeds=3", "--folds=2", "--parallel=2")) as process:
        victim = somebody_at_work(out, process)
        os.kill(victim, signal.SIGKILL)
        assert process.wait(900) == 0
    assert len(list((out / "trials").glob("*/result.json"))) == 6
    rows = read_table(out / "trials.csv")
    assert sorted(zip(rows["fold"], rows["seed"], strict=True)) == [(f, s) for f in "12" for s in "012"]
    comparison = json.loads((out / "comparison" / "comparison.json").read_text())
    spread = next(record for record in comparison["records"] if record["name"] == "auroc_over_seeds")
    assert spread["value"] is not None and spread["low"] <= spread["value"] <= spread["high"]
    assert (out / "comparison" / "report.html").is_file() and (out / "manifest.json").is_file()


@pytest.mark.parametrize("where", ["pool", "ray"])
def test_the_command_leaves_the_run_of_one_machine(
    where: str, films: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = "pool" if where == "pool" else request.getfixturevalue("nodes").address
    out = tmp_path / "run"
    subprocess.run(command("train", films, out, address, "--workers=2"), check=True, timeout=600)
    facts = json.loads((out / "run.json").read_text())
    assert facts["devices"] == 2 and not facts["interrupted"]
    for name in ("bundle/bundle.json", "predictions/validation.csv", "report.html", "history.csv", "manifest.json"):
        assert (out / name).is_file(), name
    assert not (out / "checkpoint").exists()
