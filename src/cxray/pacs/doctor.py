"""`cxray pacs doctor`: tries every part of a connection by itself and says in plain words what is wrong and what to do.

Nothing is stored anywhere: over DICOM an association is opened, echoed and released; over HTTP questions are asked, and
storing is probed with an empty body, which a PACS that can store refuses in its own way.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cxray.errors import CxrayError
from cxray.pacs.address import HTTP_SECONDS, Entity, TlsFiles, WebAddress, http_session, parse_address
from cxray.pacs.syntaxes import RESULT_CLASSES, RESULT_NAMES, RESULT_SYNTAXES

_CONNECT_SECONDS = 5
_LEAST_ORTHANC = (1, 12, 11)
_MOST_CLOCK_SECONDS = 60
_LEAST_DAYS = 30
# A-ASSOCIATE-RJ by source and diagnostic (PS3.8, table 9-21).
_REJECTIONS = {
    (1, 3): (
        "it does not know our title {calling}",
        "Enter {calling} with this machine's address among its known application entities.",
    ),
    (1, 7): (
        "its own title is not {called}",
        "Ask for its exact AE title (upper and lower case count) and write it before the @.",
    ),
    (3, 1): ("it is too busy", "Try again later."),
    (3, 2): ("it has no free association", "Try again later, or let it allow more associations."),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `verdict` is "ok", "warning" or "failed"."""

    name: str
    verdict: str
    text: str
    next_step: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Patient:
    """What the doctor looks at; "" and None leave a part out."""

    addresses: tuple[str, ...] = ()
    calling_aet: str = "CXRAY"
    tls: TlsFiles | None = None
    authority: Path | None = None
    bundle: Path | None = None
    codes: str = ""
    state: Path | None = None
    port: int = 0


def examine(patient: Patient) -> Iterator[Check]:
    """Try everything, one check after the other; nothing raises."""
    yield from _guarded("libraries", _check_libraries)
    if patient.bundle is not None:
        bundle = patient.bundle
        yield from _guarded("bundle", lambda: _check_bundle(bundle, patient.codes))
    if patient.state is not None:
        state = patient.state
        yield from _guarded("state folder", lambda: _check_state(state))
    if patient.tls is not None:
        tls = patient.tls
        yield from _guarded("TLS files", lambda: _check_certificate(tls))
    if patient.port:
        yield from _guarded("own port", lambda: _check_port(patient.port))
    for text in patient.addresses:
        yield from _guarded(text, lambda text=text: _check_address(text, patient))  # type: ignore[misc]


def _guarded(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except CxrayError as error:
        yield Check(name, "failed", error.message, error.next_step)
    except Exception as error:  # an examination ends with a finding, never with a traceback
        yield Check(name, "failed", f"This could not be tried ({type(error).__name__}).")


def _check_libraries() -> Iterator[Check]:
    from cxray.data.dicom import refuse_unsafe_decoders

    refuse_unsafe_decoders()
    yield Check("libraries", "ok", "The DICOM libraries are there, and no decoder that is known to crash.")


def _check_bundle(folder: Path, codes: str) -> Iterator[Check]:
    from cxray.pacs.assess import Assessor

    assessor = Assessor.open(folder, codes=codes)
    maker = assessor.maker
    yield Check("bundle", "ok", f"{maker.name} {maker.identifier} loads and gives its golden scores.")
    names = ", ".join(f"{name} = {code.value} {code.scheme}" for name, code in assessor.codes.codes.items())
    if assessor.codes.private:
        yield Check(
            "finding codes",
            "warning",
            f"No clinical code is declared for {', '.join(assessor.codes.private)}; results will carry our own codes.",
            "Give --codes chest, or a table of your own.",
        )
    else:
        yield Check("finding codes", "ok", f"From {assessor.codes.source}: {names}.")


def _check_state(folder: Path) -> Iterator[Check]:
    from cxray.pacs.queue import Queue
    from cxray.pacs.state import State

    if not (folder / "queue.sqlite3").exists():
        yield Check("state folder", "ok", f"{folder} does not exist yet; a node will make it.")
        return
    state = State(folder)
    queue = Queue(state.queue)
    try:
        counts, age = queue.counts(), queue.oldest_seconds()
    finally:
        queue.close()
    free = state.free_bytes() / 2**30
    verdict = "ok" if free >= 5 else "warning"
    yield Check(
        "state folder",
        verdict,
        f"{folder} can be written; {free:.0f} GiB are free.",
        "" if free >= 5 else "Free space.",
    )
    if age > 600:
        yield Check(
            "queue",
            "warning",
            f"The oldest unfinished film has been waiting for {age / 60:.0f} minutes.",
            "See the log.",
        )
    if counts["dead"]:
        yield Check(
            "dead letters",
            "warning",
            f"{counts['dead']} films were given up; their reasons lie in {folder / 'dead'}.",
            f"Mend the cause, then: cxray pacs retry --state {folder}",
        )


def _check_certificate(tls: TlsFiles) -> Iterator[Check]:
    tls.server_context()
    decoded: Any = ssl._ssl._test_decode_cert(str(tls.certificate))  # type: ignore[attr-defined] # the only reader there is
    ends = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(decoded["notAfter"]), datetime.UTC)
    days = (ends - datetime.datetime.now(datetime.UTC)).days
    if days < 0:
        yield Check("TLS files", "failed", f"Our certificate ended on {ends:%Y-%m-%d}.", "Renew it.")
    elif days < _LEAST_DAYS:
        yield Check("TLS files", "warning", f"Our certificate ends in {days} days.", "Renew it.")
    else:
        yield Check("TLS files", "ok", f"Our certificate holds until {ends:%Y-%m-%d}.")


def _check_port(port: int) -> Iterator[Check]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            yield Check(
                "own port",
                "warning",
                f"Port {port} cannot be opened here: {error.strerror}.",
                "If the node itself is running there, all is well; else choose another --port.",
            )
            return
    yield Check("own port", "ok", f"Port {port} is free for listening.")


def _check_address(text: str, patient: Patient) -> Iterator[Check]:
    address = parse_address(text)
    if isinstance(address, Entity):
        yield from _check_entity(text, address, patient)
    elif address.is_orthanc:
        yield from _check_orthanc(text, address, patient)
    else:
        yield from _check_web(text, address, patient)


def _check_entity(name: str, entity: Entity, patient: Patient) -> Iterator[Check]:
    connection = _connect(name, entity.host, entity.port)
    yield connection
    if connection.verdict != "failed":
        yield from _check_association(name, entity, patient)


def _connect(name: str, host: str, port: int) -> Check:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except socket.gaierror:
        return Check(name, "failed", f"No machine is called {host}.", "Check the name, or write its address.")
    except TimeoutError:
        return Check(name, "failed", f"{host} does not answer on port {port}.", "A firewall between is likely.")
    except OSError as error:
        return Check(
            name,
            "failed",
            f"Nobody listens on {host}:{port} ({error.strerror}).",
            "Check the port; is the PACS running?",
        )
    return Check(name, "ok", f"{host} answers on port {port}.")


def _check_association(name: str, entity: Entity, patient: Patient) -> Iterator[Check]:
    association = _associate(entity, patient)
    if association.is_established:
        try:
            status = association.send_c_echo()
            is_echoed = getattr(status, "Status", None) == 0
            accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        finally:
            association.release()
        yield Check(name, "ok", f"It accepts {patient.calling_aet} as caller.")
        if not is_echoed:
            yield Check(name, "warning", "It does not answer C-ECHO.", "Not needed for results, but unusual.")
        yield from _check_contexts(name, accepted)
    elif association.is_rejected:
        primitive = association.acceptor.primitive
        key = (primitive.result_source, primitive.diagnostic) if primitive is not None else (0, 0)
        why, advice = _REJECTIONS.get(key, ("it gives no reason", "See its log."))
        values = {"calling": patient.calling_aet, "called": entity.aet}
        yield Check(name, "failed", f"The association is rejected: {why.format(**values)}.", advice.format(**values))
    else:
        spoken = "with TLS" if patient.tls else "without TLS"
        yield Check(
            name,
            "failed",
            f"The port is open, but no association comes about {spoken}.",
            "Is the other side set to TLS and you not, or the reverse? Does it trust our certificate?",
        )


def _associate(entity: Entity, patient: Patient) -> Any:
    from pynetdicom import AE

    node = AE(ae_title=patient.calling_aet)
    node.acse_timeout = node.dimse_timeout = node.network_timeout = 2 * _CONNECT_SECONDS
    node.connection_timeout = _CONNECT_SECONDS
    node.add_requested_context("1.2.840.10008.1.1")
    for sop_class in RESULT_CLASSES:
        node.add_requested_context(sop_class, list(RESULT_SYNTAXES))
    arguments: dict[str, Any] = {} if patient.tls is None else {"tls_args": (patient.tls.client_context(), entity.host)}
    return node.associate(entity.host, entity.port, ae_title=entity.aet, **arguments)


def _check_contexts(name: str, accepted: set[str]) -> Iterator[Check]:
    missing = [RESULT_NAMES[uid] for uid in RESULT_CLASSES if uid not in accepted]
    if missing:
        yield Check(
            name,
            "failed" if len(missing) == len(RESULT_CLASSES) else "warning",
            f"It does not take {', '.join(missing)} (Explicit VR Little Endian).",
            "Let its administrator allow these storage classes, or leave those results out with --results.",
        )
    else:
        yield Check(name, "ok", f"It takes all results: {', '.join(RESULT_NAMES.values())}.")


def _check_orthanc(name: str, address: WebAddress, patient: Patient) -> Iterator[Check]:
    session = http_session(patient.authority)
    from cxray.pacs.delivery import answer_of

    answer = answer_of(session, "GET", f"{address.url}/system")
    system = answer.json()
    version = str(system.get("Version", ""))
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers and numbers < _LEAST_ORTHANC:
        yield Check(
            name,
            "warning",
            f"Orthanc {version} answers; versions before 1.12.11 have known security faults.",
            "Update it before it meets a network that you do not control.",
        )
    else:
        yield Check(name, "ok", f"Orthanc {version or 'of unknown version'} answers.")
    yield from _check_clock(name, answer)
    encoding = answer_of(session, "GET", f"{address.url}/tools/default-encoding").text.strip()
    if encoding != "Utf8":
        yield Check(
            name,
            "warning",
            f"Its DefaultEncoding is {encoding}; names with other letters get lost in its answers.",
            'Set "DefaultEncoding": "Utf8" in its configuration.',
        )
    if system.get("OverwriteInstances"):
        yield Check(name, "ok", "It overwrites repeated instances; ours are asked for before they are sent.")


def _check_web(name: str, address: WebAddress, patient: Patient) -> Iterator[Check]:
    from cxray.pacs.delivery import answer_of

    session = http_session(patient.authority)
    answer = answer_of(session, "GET", f"{address.url}/studies?limit=1", headers={"Accept": "application/dicom+json"})
    yield from _check_clock(name, answer)
    if answer.status_code == 204 or isinstance(answer.json(), list):
        yield Check(name, "ok", "QIDO-RS answers: studies can be asked for.")
    else:
        yield Check(name, "failed", "The address answers, but not as DICOMweb.", "Check the path, often /dicom-web.")
    body = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=empty'}
    code = session.post(f"{address.url}/studies", data=b"--empty--\r\n", headers=body, timeout=HTTP_SECONDS).status_code
    if code in (404, 405, 501):
        yield Check(name, "failed", f"It cannot store (HTTP {code} for STOW-RS).", "Switch STOW-RS on, or use DICOM.")
    elif code in (401, 403):
        yield Check(name, "failed", f"It does not let us store (HTTP {code}).", "Give our user the right to store.")
    else:
        yield Check(name, "ok", "STOW-RS is there: results can be stored.")


def _check_clock(name: str, answer: Any) -> Iterator[Check]:
    told = email.utils.parsedate_to_datetime(answer.headers["Date"]) if "Date" in answer.headers else None
    if told is None:
        return
    apart = abs((datetime.datetime.now(datetime.UTC) - told).total_seconds())
    if apart > _MOST_CLOCK_SECONDS:
        yield Check(
            name, "warning", f"Its clock and ours are {apart:.0f} s apart.", "Set both by the same time server."
        )
