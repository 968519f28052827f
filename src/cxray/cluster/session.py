"""The line to a Ray cluster: reach it, look at its nodes, say in a sentence what is wrong with it, let go of it again.

An address is "pool" (no Ray: processes of this machine), "local" (start Ray here, for this command only), "auto" (the
cluster that runs on this machine) or "HOST:PORT" of the head node. Without one, RAY_ADDRESS decides, else "pool".
Ray runs whatever it is sent by whoever reaches its ports: token authentication is asked for before Ray is imported,
usage statistics and the dashboard stay off, and addresses that the world can reach are called out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxray import extras, progress
from cxray.errors import ClusterError, MissingExtra, UsageError

EXTRA = "cluster"
# Versions that the tests ran with; what a training mixin or a retry rests on changes between them.
TESTED_RAY = "2.60"
# With one logical processor a node, Ray's own tasks and ours wait for each other for ever.
FEWEST_CPUS = 2
REACH_SECONDS = 10.0
POOL, LOCAL, AUTO = "pool", "local", "auto"
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TQDM": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@dataclasses.dataclass(frozen=True)
class Node:
    """One machine of a cluster: Ray's identifier, its address, logical processors and GPUs."""

    identifier: str
    host: str
    cpus: int
    gpus: int = 0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster that answers; `address` is what was asked for, `ray_version` that of every node."""

    address: str
    nodes: tuple[Node, ...]
    ray_version: str

    @property
    def cpus(self) -> int:
        """Logical processors of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)


def choose_address(given: str = "") -> str:
    """Where to work: what the user gave, else RAY_ADDRESS, else "pool".

    Raises:
        UsageError: not an address of the kinds above.
    """
    address = given or os.environ.get("RAY_ADDRESS", "") or POOL
    if address in (POOL, LOCAL, AUTO):
        return address
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is the address of Ray's remote client, which these commands do not use.",
            "Run the command on a node of the cluster with --address auto.",
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"{address!r} is no address of a cluster.",
            "Give --address pool, local, auto, or HOST:PORT of the head node (Ray's port is 6379).",
        )
    return address


def load_ray(feature: str) -> Any:
    """Import Ray with token authentication asked for and usage statistics off.

    Raises:
        MissingExtra: Ray is not installed, or is a version that was not tested.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray = extras.require("ray", EXTRA, feature)
    if not str(ray.__version__).startswith(f"{TESTED_RAY}."):
        raise MissingExtra(
            f"{feature} was tested with Ray {TESTED_RAY}; {ray.__version__} is installed here.",
            f"In the clone: pip install '.[{EXTRA}]', on every node",
        )
    return ray


@contextlib.contextmanager
def connected(address: str, *, feature: str, cpus: int = 0) -> Iterator[Cluster]:
    """Reach the cluster at `address`, check every node and yield it; let go of it at the end.

    A connection that the calling program has already is used and kept. `cpus` is the number of logical processors
    of a Ray started with "local"; 0 = as many as there are, at least two.

    Raises:
        MissingExtra: as `load_ray`.
        ClusterError: nobody answers, versions or tokens do not match, or a node is too small.
    """
    ray = load_ray(feature)
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(ray, address, cpus)
    try:
        cluster = look_at(address)
        check_sizes(cluster)
        _warn(cluster)
        yield cluster
    finally:
        if is_ours:
            disconnect()


def disconnect() -> None:
    """Let go of the cluster; one that was started for this command ends."""
    import ray

    ray.shutdown()


def look_at(address: str) -> Cluster:
    """The nodes that are alive now."""
    import ray

    nodes = [
        Node(
            identifier=str(node["NodeID"]),
            host=str(node["NodeManagerAddress"]),
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return Cluster(address, tuple(sorted(nodes, key=lambda node: node.identifier)), str(ray.__version__))


def check_sizes(cluster: Cluster) -> None:
    """Refuse a cluster on which Ray would wait for ever.

    Raises:
        ClusterError: a node has fewer than `FEWEST_CPUS` logical processors.
    """
    small = [node for node in cluster.nodes if 0 < node.cpus < FEWEST_CPUS]
    if small or not cluster.cpus:
        named = ", ".join(f"{node.host} ({node.cpus})" for node in small or cluster.nodes)
        raise ClusterError(
            f"Every node needs at least {FEWEST_CPUS} logical processors, or Ray's own tasks and ours wait for each "
            f"other for ever; too few have: {named}.",
            f"Start that node again with `ray start … --num-cpus {FEWEST_CPUS}`; logical processors cost nothing.",
        )


def _connect(ray: Any, address: str, cpus: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": None}
    if address == LOCAL:
        found = cpus or max(FEWEST_CPUS, os.cpu_count() or 1)
        options = {**quiet, "address": LOCAL, "num_cpus": found, "include_dashboard": False}
    else:
        if address != AUTO:
            _check_reachable(address)
        options = {**quiet, "address": address}
    try:
        with extras.native_chatter_hidden():
            ray.init(**options)
    except Exception as error:  # Ray raises a dozen unrelated types here
        ray.shutdown()  # half a connection would be in the way of the next
        raise _explained(address, error) from error
    token = Path.home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):  # Ray makes it readable for everybody on this machine
        token.chmod(0o600)


def _check_reachable(address: str) -> None:
    """Knock first: Ray itself would try for a minute and then say something about a GCS."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"No cluster answers at {address} ({getattr(error, 'strerror', None) or error}).",
            "Check that `ray start --head` runs there, its port (6379), and the firewall; or leave out --address to "
            "work on this machine alone.",
        ) from error


def _explained(address: str, error: Exception) -> ClusterError:
    text, kind = _whole_text(error), type(error).__name__
    if "Version mismatch" in text:
        facts = "; ".join(line.strip() for line in text.splitlines()[1:] if ":" in line)
        return ClusterError(
            f"The cluster at {address} and this program run different versions of Ray or Python ({facts[:300]}).",
            "Use the same Python and the same `pip install '.[cluster]'` on every machine.",
        )
    if "AuthenticationError" in text or "Unauthenticated" in text or "InvalidAuthToken" in text:
        return ClusterError(
            f"The cluster at {address} does not accept this program's token, or there is none here.",
            "Copy the head node's ~/.ray/auth_token here (or set RAY_AUTH_TOKEN), and start every node with "
            "RAY_AUTH_MODE=token.",
        )
    if "multiple active Ray instances" in text:
        return ClusterError(
            "Several Ray clusters run on this machine.", "Give --address HOST:PORT of the one you mean."
        )
    if isinstance(error, ConnectionError) and address == AUTO:
        return ClusterError(
            "No Ray cluster runs on this machine.",
            "Start one (`ray start --head --num-cpus 2`), give --address HOST:PORT, or leave --address out.",
        )
    first = next((line.strip() for line in text.splitlines() if line.strip()), kind)
    return ClusterError(
        f"The cluster at {address} cannot be used from here: {first[:300]}",
        "Run the command on a node of the cluster; `ray status` there says what it sees.",
    )


def _whole_text(error: BaseException | None) -> str:
    """What an error says, and those before it that Ray wrapped."""
    said: list[str] = []
    while error is not None and len(said) < 5:
        said.append(f"{error}\n{type(error).__name__}")
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def _warn(cluster: Cluster) -> None:
    exposed = [node.host for node in cluster.nodes if _is_public(node.host)]
    if exposed:
        progress.say(
            f"Warning: {', '.join(exposed[:3])} can be reached from other networks. Ray runs code for whoever reaches "
            "its ports; keep it in a private network, behind a firewall."
        )
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        progress.say("Warning: RAY_AUTH_MODE is not `token`; anyone who reaches this cluster can run code on it.")


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:  # a name, not a number: nothing can be said
        return False
