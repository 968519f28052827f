"""The same on two nodes of a Ray cluster: an actor killed on the way, and clusters that cannot do the work."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from cxray.cluster.nodes import NodeFacts, judge_nodes
from cxray.cluster.session import Cluster, Node, check_sizes, connected
from cxray.errors import ClusterError
from cxray.records import Predictions
from tests.cluster.conftest import DRAWN, ENDS, many_films, run, set_trap
from tests.cluster.events import disturbed, kill_an_actor, predict_command


def test_two_nodes_give_the_scores_of_one_machine_with_an_actor_killed_and_a_trap(
    two_nodes: Any, tiny_run: Path, tmp_path: Path
) -> None:
    films = many_films(tmp_path / "films", 240)
    set_trap(films / "film-00100.png", ENDS)
    out = tmp_path / "ray"
    command = predict_command(tiny_run, films, out, "--block", 16, "--address", two_nodes.address)
    code, err = disturbed(command, out, kill_an_actor, parts=1)
    assert code == 8, err
    assert "240 films in 15 blocks for 4 workers on 2 nodes of Ray 2.60.0." in err
    assert "1 of 240 films have no result" in err and "ended the process (signal 11)" in err
    assert "Warning" not in err and "core_worker" not in err
    table = Predictions.read(out / "predictions.parquet")
    assert table.path.tolist() == [str(path) for path in sorted(films.iterdir())]
    alone = many_films(tmp_path / "alone", DRAWN)
    run(tiny_run, alone, "--out", tmp_path / "pool")
    expected = Predictions.read(tmp_path / "pool" / "predictions.parquet").scores
    for number, row in enumerate(table.scores):
        assert number == 100 or row.tolist() == expected[number % DRAWN].tolist()


def test_another_python_is_a_sentence(two_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray._private.utils.compute_version_info", lambda: ("2.60.0", "3.10.1"))
    refusal = pytest.raises(ClusterError, match=r"different versions of Ray or Python .*Python: 3\.10\.1")
    with refusal, connected(two_nodes.address, feature="This test"):
        pass


def test_nodes_that_cannot_do_the_work(tmp_path: Path) -> None:
    from cxray import __version__

    def node(**changes: Any) -> NodeFacts:
        good = {"python": platform.python_version(), "cxray": __version__, "missing": (), "sees_folder": True}
        return NodeFacts(host="10.0.0.7", **{**good, "free_bytes": 1 << 40, **changes})

    judge_nodes([node()], extra="cluster", folder=tmp_path)
    for changes, words in (
        ({"python": "3.10.9"}, "Node 10.0.0.7 runs Python 3.10.9"),
        ({"missing": ("pydicom",)}, "lacks pydicom"),
        ({"cxray": "0.0.9"}, "has cxray 0.0.9"),
        ({"sees_folder": False, "free_bytes": -1}, "does not see"),
        ({"free_bytes": 10 << 20}, "has 10 MiB free"),
    ):
        with pytest.raises(ClusterError, match=words):
            judge_nodes([node(), node(**changes)], extra="cluster", folder=tmp_path)


def test_a_node_needs_two_logical_processors() -> None:
    def cluster(*cpus: int) -> Cluster:
        return Cluster("auto", tuple(Node(str(n), f"10.0.0.{n}", count) for n, count in enumerate(cpus)), "2.60.0")

    check_sizes(cluster(2, 64))
    check_sizes(cluster(0, 2))  # a head node that takes no work
    for cpus in ((1, 4), (0,)):
        with pytest.raises(ClusterError, match="at least 2 logical processors"):
            check_sizes(cluster(*cpus))
