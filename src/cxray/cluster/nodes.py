"""Every node of a cluster asked, before any work, what would otherwise go wrong in the middle of it.

Same Python, same cxray, the libraries that the work needs, the folder of results in sight, room on its disk: a node
that lacks one is named with what to do. The question itself needs nothing but Ray on the node.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cxray import __version__
from cxray.cluster.session import Cluster, Node
from cxray.errors import ClusterError
from cxray.rundir import write_text

ANSWER_SECONDS = 120.0
# Ray's logs and our parts need some; less than this on a node is called out before it stops the work.
FEWEST_FREE_BYTES = 200 * 1024 * 1024
_TOKEN = "seen-by-all-nodes"


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """What one node answered; `cxray` is "" where it cannot be imported, `free_bytes` -1 where `folder` is not seen."""

    host: str
    python: str
    cxray: str
    missing: tuple[str, ...]
    sees_folder: bool
    free_bytes: int


def check_nodes(cluster: Cluster, *, modules: Sequence[str], extra: str, folder: Path) -> list[NodeFacts]:
    """Ask all nodes at once.

    Args:
        cluster: from `session.connected`.
        modules: what must be importable on each of them; `extra` is how they are installed.
        folder: must be the same folder on all of them.

    Raises:
        ClusterError: a node does not answer, or cannot do the work.
    """
    token = folder / _TOKEN
    write_text(token, platform.node())
    try:
        facts = _ask(cluster.nodes, list(modules), token)
    finally:
        token.unlink(missing_ok=True)
    judge_nodes(facts, extra=extra, folder=folder)
    return facts


def judge_nodes(facts: Sequence[NodeFacts], *, extra: str, folder: Path) -> None:
    """Refuse nodes that cannot do the work.

    Raises:
        ClusterError: names the node, what it lacks and what to do.
    """
    install = f"In the clone, on that node: pip install '.[{extra}]', with the Python that runs Ray."
    for node in facts:
        if node.python != platform.python_version():
            raise ClusterError(
                f"Node {node.host} runs Python {node.python}, this program {platform.python_version()}.",
                "Use the same Python on every machine.",
            )
        if node.missing:
            raise ClusterError(f"Node {node.host} lacks {', '.join(node.missing)}.", install)
        if node.cxray != __version__:
            raise ClusterError(f"Node {node.host} has cxray {node.cxray}, this program is {__version__}.", install)
        if not node.sees_folder:
            raise ClusterError(
                f"Node {node.host} does not see {folder}.",
                "Give an --out on storage that all nodes share under the same path, such as NFS.",
            )
        if node.free_bytes < FEWEST_FREE_BYTES:
            raise ClusterError(
                f"Node {node.host} has {node.free_bytes >> 20} MiB free for {folder}.", "Free space, or choose another."
            )


def _ask(nodes: Sequence[Node], modules: list[str], token: Path) -> list[NodeFacts]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    question = ray.remote(_question())
    asked = {
        question.options(
            num_cpus=0, max_retries=1, scheduling_strategy=NodeAffinitySchedulingStrategy(node.identifier, soft=False)
        ).remote(modules, str(token)): node
        for node in nodes
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    if silent:
        hosts = ", ".join(asked[reference].host for reference in silent)
        raise ClusterError(f"No answer from {hosts} within {ANSWER_SECONDS:g} seconds.", "See `ray status`.")
    try:
        return [NodeFacts(host=asked[reference].host, **ray.get(reference)) for reference in answered]
    except ray.exceptions.RayError as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise ClusterError(f"A node could not answer: {last[:300]}", "See `ray status` and the logs there.") from error


def _question() -> Callable[[list[str], str], dict[str, Any]]:
    """The question as a function without a home, so that Ray sends it whole to nodes that may lack cxray."""

    def answer(modules: list[str], token: str) -> dict[str, Any]:
        import importlib
        import importlib.metadata
        import platform
        import shutil
        from pathlib import Path

        missing = []
        for name in modules:
            try:
                importlib.import_module(name)
            except Exception:  # however a broken installation shows itself
                missing.append(name)
        try:
            version = importlib.metadata.version("cxray")
        except importlib.metadata.PackageNotFoundError:
            version = ""
        sees_folder = Path(token).is_file()
        return {
            "python": platform.python_version(),
            "cxray": version,
            "missing": tuple(missing),
            "sees_folder": sees_folder,
            "free_bytes": shutil.disk_usage(Path(token).parent).free if sees_folder else -1,
        }

    return answer
