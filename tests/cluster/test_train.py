"""Two workers train the network that one process trains; teams start again after a death, and refuse what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cxray import extras
from cxray.cli import cli
from cxray.cluster.session import Cluster, Node
from cxray.cluster.train_pool import run_team
from cxray.cluster.train_ray import check_room
from cxray.errors import ClusterError
from cxray.model.history import read_history

REPOSITORY = Path(__file__).resolve().parents[2]
# Worker 1 dies in its first life; both report the team they were told about.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
folder, rank = Path(sys.argv[1]), int(sys.argv[2])
config = json.loads(os.environ["TF_CONFIG"])
assert config["task"] == {"type": "worker", "index": rank} and len(config["cluster"]["worker"]) == int(sys.argv[3])
lives = folder / f"lives-{rank}"
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
if rank == 1 and len(lives.read_text()) <= int(sys.argv[4]):
    other = folder / "lives-0"
    while not (other.exists() and len(other.read_text()) == len(lives.read_text())):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
if rank == 0 and len(lives.read_text()) <= int(sys.argv[4]):
    time.sleep(30)
sys.exit(int(sys.argv[5]))
"""


def team(folder: Path, *, deaths: int, code: int = 0, restarts: int = 2) -> None:
    """Two workers, of which the second dies `deaths` times before both end with `code`."""
    (folder / "worker.py").write_text(SCRIPT.replace("sys.argv[4]", str(deaths)).replace("sys.argv[5]", str(code)))
    run_team([sys.executable, str(folder / "worker.py"), str(folder)], 2, folder, restarts=restarts)


def test_a_dead_worker_takes_the_others_along_and_all_start_again(tmp_path: Path) -> None:
    team(tmp_path, deaths=1)
    assert [(tmp_path / f"lives-{rank}").read_text() for rank in (0, 1)] == ["xx", "xx"]


def test_a_team_that_dies_too_often_says_who_and_where_to_read_on(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="Worker 1 of 2 ended with code -9: it wrote nothing") as caught:
        team(tmp_path, deaths=9, restarts=1)
    assert (tmp_path / "lives-1").read_text() == "xx"
    assert str(tmp_path / "worker-1.log") in caught.value.next_step


def test_a_worker_that_refuses_is_not_asked_again(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="ended with code 3"):
        team(tmp_path, deaths=0, code=3)
    assert (tmp_path / "lives-0").read_text() == "x"


def test_a_cluster_that_can_never_hold_the_team_is_refused() -> None:
    cluster = Cluster("auto", (Node("a", "10.0.0.1", 2), Node("b", "10.0.0.2", 2)), "2.60.0")
    check_room(cluster, 4, cpus=1, gpus=0)
    with pytest.raises(ClusterError, match="5 workers with 1 processors each need 5; the cluster has 4"):
        check_room(cluster, 5, cpus=1, gpus=0)
    with pytest.raises(ClusterError, match="2 workers with 1 GPUs each need 2; the cluster has 0"):
        check_room(cluster, 2, cpus=1, gpus=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--recipe", "fast"], "takes seconds on one machine and has no gradient to share"),
        (["--recipe", "demo", "--workers", "3"], "train.batch_size=32 cannot be shared evenly by 3 workers"),
        (["--recipe", "demo", "--address", "nowhere"], "'nowhere' is no address of a cluster"),
        (["--recipe", "demo", "--address", "127.0.0.1:9"], "No cluster answers at 127.0.0.1:9"),
    ],
)
def test_what_cannot_be_trained_together_is_refused_before_a_film_is_read(
    options: list[str], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra train")
    if "127" in words and not extras.is_available("ray"):  # importing it would settle its mode of authentication
        pytest.skip("needs the extra cluster")
    arguments = ["cluster", "train", str(tmp_path / "no-films"), "--workers", "2", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli, [*arguments, *options])
    assert words in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_two_workers_train_the_network_of_one_and_read_each_film_once(tmp_path: Path) -> None:
    """The last batch of 40 films is smaller, gradients are clipped, weights averaged, films changed at random.

    A unit that rounding of the last bit lifts over its kink is trained by other films from there on, which a seed meets
    on one kind of processor and not on another: so one of three seeds must agree, and a wrong share never does.
    """
    pytest.importorskip("tensorflow", reason="needs the extra train")
    from cxray.model.train import fit
    from tests.cluster.member import folder_for, largest_differences, materials

    gaps = []
    for seed in (1, 2, 3):
        settings = ("model.backbone=article_cnn", "train.clip_norm=0.05", f"train.seed={seed}")
        one, two = (folder_for(tmp_path / f"{name}-{seed}", *settings) for name in ("one", "two"))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(REPOSITORY)
            run_team([sys.executable, "-m", "tests.cluster.member", str(two)], 2, two, restarts=0)
        fit(*materials(one))
        gaps.append(max(largest_differences(one, two).values()))
        if gaps[-1] < 1e-6:
            break
    assert min(gaps) < 1e-6, gaps
    ours, theirs = (read_history(folder / "history.csv") for folder in (one, two))
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_auroc"):
        first, second = ([getattr(epoch, name) for epoch in epochs] for epochs in (ours, theirs))
        np.testing.assert_allclose(first, second, atol=1e-5, err_msg=name)
    taken = [np.load(two / f"taken-{rank}.npy") for rank in (0, 1)]
    assert (taken[0] + taken[1]).tolist() == [2] * 40  # each film once an epoch, by one of the two
    assert taken[0].sum() == taken[1].sum()
