"""`cxray pacs`: whole journeys of a node, from settings to the last film."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cxray import extras, progress
from cxray.errors import UsageError
from cxray.pacs.listener import ListenSettings
from cxray.pacs.node import Node, NodeSettings

FEATURE = "The PACS node"


@dataclasses.dataclass(frozen=True, slots=True)
class Serving:
    """What a run of a node is asked for besides its settings: one pass or for ever, metrics, and how often to ask."""

    once: bool = False
    every_seconds: float = 1.0
    metrics_port: int = 0


def listen(settings: NodeSettings, listening: ListenSettings, serving: Serving) -> dict[str, int]:
    """Take films over C-STORE until stopped; the final counts of jobs by state."""
    from cxray.pacs.listener import Listener

    with _running(settings, serving) as node:
        listener = Listener(listening, node.intake)
        try:
            progress.say(f"{listening.aet} listens on {listening.host}:{listener.port}; {_destination(settings)}")
            node.run(None, every_seconds=serving.every_seconds, once=serving.once)
        finally:
            listener.close()
        return node.queue.counts()


def watch(
    settings: NodeSettings, url: str, serving: Serving, *, from_start: bool, secondary_captures: bool
) -> dict[str, int]:
    """Follow an Orthanc's changes until stopped; the final counts of jobs by state."""
    from cxray.pacs.address import http_session
    from cxray.pacs.orthanc import OrthancWatcher

    with _running(settings, serving) as node:
        door = OrthancWatcher(url, http_session(settings.authority), node.intake, secondary_captures)
        passed = door.start(from_start=from_start)
        if passed:
            progress.say(f"Watching from now on; {passed} earlier changes are passed over (--from start takes them).")
        progress.say(f"Watching Orthanc at {url}; {_destination(settings)}")
        node.run(door, every_seconds=serving.every_seconds, once=serving.once)
        return node.queue.counts()


def poll_dicomweb(
    settings: NodeSettings, url: str, serving: Serving, *, days: int, secondary_captures: bool
) -> dict[str, int]:
    """Ask a DICOMweb server for the films of the last days until stopped; the final counts of jobs by state."""
    from cxray.pacs.address import WebAddress
    from cxray.pacs.delivery import web_client
    from cxray.pacs.dicomweb import WebWatcher

    with _running(settings, serving) as node:
        client = web_client(WebAddress(url, is_orthanc=False), settings.authority)
        door = WebWatcher(client, node.intake, days, secondary_captures)
        progress.say(f"Asking {url} every {serving.every_seconds:g} s; {_destination(settings)}")
        node.run(door, every_seconds=serving.every_seconds, once=serving.once)
        return node.queue.counts()


def write_results(bundle: Path, films: tuple[Path, ...], out: Path, *, codes: str, engine: str) -> list[dict[str, Any]]:
    """Assess film files and write their results as DICOM files into `out`; one row a film.

    Raises:
        UsageError: `out` holds other work.
    """
    from cxray import rundir
    from cxray.pacs.assess import Assessor, SkippedFilm
    from cxray.pacs.journal import silence_libraries
    from cxray.pacs.results import build_results

    silence_libraries()
    assessor = Assessor.open(bundle, codes=codes, engine=engine)
    rundir.prepare_folder(out)
    rows = []
    for number, path in enumerate(films, start=1):
        try:
            film, reading = assessor.assess(path)
        except SkippedFilm as error:
            rows.append({"film": str(path), "outcome": "skipped", "reason": error.reason, "results": []})
            continue
        names = []
        for kind, result in build_results(film, reading, assessor.maker).items():
            names.append(f"{number:04d}-{kind}.dcm")
            with rundir.atomic_open(out / names[-1], "wb") as stream:
                result.save_as(stream, enforce_file_format=True)
        reason = reading.refusal.reason if reading.refusal else ""
        rows.append({"film": str(path), "outcome": reading.outcome, "reason": reason, "results": names})
    rundir.write_manifest(out, {"kind": "pacs results", "films": rows})
    return rows


def require_libraries() -> None:
    """Say at once which libraries are missing.

    Raises:
        MissingExtra: the extra `pacs` is not installed.
    """
    for module in ("pydicom", "pynetdicom", "highdicom", "dicomweb_client", "prometheus_client", "requests"):
        extras.require(module, "pacs", FEATURE)


@contextmanager
def _running(settings: NodeSettings, serving: Serving) -> Iterator[Node]:
    from cxray.pacs.metrics import serve_metrics

    node = Node(settings)
    with ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(node.stop))
        stack.enter_context(node)
        if serving.metrics_port:
            server = serve_metrics(node.queue, serving.metrics_port)
            stack.callback(server.shutdown)
        yield node


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    earlier = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _destination(settings: NodeSettings) -> str:
    if settings.send_to:
        return f"results go to {settings.send_to}."
    return f"dry run: results stay in {settings.state / 'local'}."


def check_exposure(host: str, *, has_tls: bool, allow_plain: bool) -> None:
    """Refuse to listen to the network without TLS, unless it is asked for.

    Raises:
        UsageError: neither.
    """
    if host in ("127.0.0.1", "::1", "localhost") or has_tls or allow_plain:
        return
    raise UsageError(
        f"Listening on {host} without TLS lets anybody on the network read films on their way and send as another.",
        "Give --tls-certificate, --tls-key and --tls-ca, or --plain-network where the network itself is protected.",
    )


def waives_secondary_captures(accept: tuple[str, ...] | None) -> bool:
    """Whether secondary captures are to be taken as films, by the settings or the environment."""
    from cxray.data.dicom.admission import accepted_codes, check_codes

    return "secondary-capture" in check_codes(accepted_codes() if accept is None else accept)


def doctor(addresses: tuple[str, ...], **settings: Any) -> Iterator[Any]:
    """The checks of `cxray pacs doctor`, one after the other; see `doctor.Patient` for the settings."""
    from cxray.pacs.doctor import Patient, examine
    from cxray.pacs.journal import silence_libraries

    silence_libraries()
    return examine(Patient(addresses=addresses, **settings))


def node_status(folder: Path) -> dict[str, Any]:
    """Jobs by state, all counters, and the age in seconds of the oldest unfinished film.

    Raises:
        UsageError: there is no node's state at `folder`.
    """
    from cxray.pacs.queue import Queue

    queue = Queue(_existing(folder))
    try:
        counters: dict[str, dict[str, float]] = {}
        for (name, label), value in sorted(queue.counters().items()):
            counters.setdefault(name, {})[label] = value
        return {"jobs": queue.counts(), "oldest_seconds": round(queue.oldest_seconds(), 1), "counters": counters}
    finally:
        queue.close()


def status_lines(facts: dict[str, Any]) -> list[str]:
    """The status in lines for a person."""
    jobs, counters = facts["jobs"], facts["counters"]
    lines = ["jobs        " + ", ".join(f"{number} {state}" for state, number in jobs.items())]
    if facts["oldest_seconds"]:
        lines.append(f"oldest      {facts['oldest_seconds']:.0f} s in the queue")
    for name in (
        "arrivals",
        "turned-away",
        "assessed",
        "refused",
        "skipped",
        "results",
        "deliveries",
        "retries",
        "dead",
    ):
        if name in counters:
            lines.append(f"{name:12}" + ", ".join(f"{value:.0f} {label}" for label, value in counters[name].items()))
    seconds, steps = counters.get("seconds", {}), counters.get("steps", {})
    means = [f"{step} {seconds[step] / steps[step]:.2f} s" for step in steps if steps[step]]
    if means:
        lines.append("mean        " + ", ".join(means))
    for label, films in counters.get("scores", {}).items():
        finding, _, edge = label.rpartition("|")
        lines.append(f"scores      {finding} up to {edge}: {films:.0f}")
    return lines


def retry_dead(folder: Path) -> int:
    """Put every dead film of a node back into its queue; how many.

    Raises:
        UsageError: there is no node's state at `folder`.
    """
    from cxray.pacs.queue import Queue
    from cxray.pacs.state import State
    from cxray.pacs.worker import revive

    queue = Queue(_existing(folder))
    try:
        return revive(State(folder), queue)
    finally:
        queue.close()


def _existing(folder: Path) -> Path:
    path = folder / "queue.sqlite3"
    if not path.is_file():
        raise UsageError(f"There is no node's state at {folder}.", "Give the folder that --state named.")
    return path
