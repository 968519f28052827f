"""What happens to a cluster while it scores: nodes that come and go, actors and commands that are killed.

For tests and for `benchmarks/cluster_predict.py`; nothing here knows the films.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

NODE = {"num_cpus": 2, "object_store_memory": 150 * 2**20, "include_dashboard": False}


@contextlib.contextmanager
def two_nodes_at(home: Path, **environment: str) -> Iterator[Any]:
    """Two nodes of two logical processors, reached as a user reaches them: by an address and the token in `home`.

    Until the end, this process and its children have `home` as HOME and the further variables.
    """
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 2)
    before = dict(os.environ)
    os.environ.update(HOME=str(home), **environment)
    from cxray.cluster.session import load_ray

    load_ray("This test")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)


def predict_command(bundle: Path, films: Path, out: Path, *options: object) -> list[str]:
    """`cxray cluster predict` as a process of its own."""
    start = [sys.executable, "-m", "cxray", "cluster", "predict", str(bundle), str(films), "--out", str(out)]
    return [*start, *map(str, options)]


def disturbed(command: Sequence[str], out: Path, event: Callable[[int], None], *, parts: int = 4) -> tuple[int, str]:
    """Run `command` and let `event` happen to it (its process id) when `parts` parts are there.

    Returns:
        Its exit status and what it wrote to stderr.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as p:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and p.poll() is None and parts_in(out) < parts:
            time.sleep(0.01)
        if p.poll() is not None:
            raise AssertionError(f"the command ended before anything could happen to it: {p.communicate()}")
        event(p.pid)
        _, error = p.communicate(timeout=900)
    return p.returncode, error


def kill_an_actor(_: int) -> None:
    """SIGKILL to one scoring actor of the cluster with our HOME."""
    os.kill(actors()[0], signal.SIGKILL)


def kill_the_command(process_id: int) -> None:
    """SIGKILL to a command and all that it started."""
    os.killpg(process_id, signal.SIGKILL)


def kill_command_and_its_cluster(process_id: int) -> None:
    """SIGKILL to a command with --address local, to the cluster that it started and to its actors."""
    kill_the_command(process_id)
    for pid in actors():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def parts_in(out: Path) -> int:
    """How many blocks are done."""
    return len(list((out / ".work" / "parts").glob("*.parquet")))


def actors() -> list[int]:
    """Process ids of the scoring actors of clusters with our HOME."""
    found = []
    home = f"HOME={os.environ['HOME']}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"BlockActor" in (folder / "cmdline").read_bytes() and home in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # gone meanwhile
            continue
    return found
