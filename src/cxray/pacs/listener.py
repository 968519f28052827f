"""The DICOM door: a C-STORE SCP that answers success only when the film is on disk.

Refused before a film is read: application entities that are not on the list (by called and calling title, and by
address where one is given), other object classes, peers without our authority's certificate under TLS, films larger
than the limit. The handler neither parses nor decodes: it writes the bytes to the spool and returns. A title is a
claim and no proof; only TLS with certificates on both sides proves who calls.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from cxray.errors import OutputError, UsageError
from cxray.pacs.address import TlsFiles
from cxray.pacs.intake import Intake, IntakeFull
from cxray.pacs.syntaxes import FILM_CLASSES, FILM_SYNTAXES, SECONDARY_CAPTURE
from cxray.pacs.uids import is_uid

# Statuses of C-STORE (PS3.4, table B.2-1, and PS3.7, annex C).
_SUCCESS, _OUT_OF_RESOURCES, _NOT_AUTHORISED, _INVALID_UID = 0x0000, 0xA700, 0x0124, 0x0117
_ALLOWED = re.compile(r"(?P<aet>[^@\\]{1,16})(?:@(?P<host>\S+))?")
_SECONDS = 60
# Twice as fast as the usual 16 KiB, and still small enough for `_weigh` to notice an endless film.
_PDU_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who may send: a calling title and, when given, the address that it must come from."""

    aet: str
    host: str = ""

    @classmethod
    def parse(cls, text: str) -> Caller:
        """`AET` or `AET@address`.

        Raises:
            UsageError: neither.
        """
        match = _ALLOWED.fullmatch(text)
        if match is None or not match["aet"].strip():
            raise UsageError(f"{text!r} is no application entity.", "Write AET or AET@10.0.0.7.")
        return cls(match["aet"].strip(), match["host"] or "")


@dataclasses.dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where and for whom to listen. Sizes in bytes."""

    aet: str
    host: str
    port: int
    callers: tuple[Caller, ...]
    tls: TlsFiles | None = None
    accept_secondary_captures: bool = False
    most_associations: int = 10
    largest_film_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if not 0 < len(self.aet.strip()) <= 16:
            raise UsageError(f"{self.aet!r} is no application entity title.", "It has 1 to 16 characters.")
        if not self.callers:
            raise UsageError(
                "Nobody is allowed to send.", "Name the sending application entities with --allow AET (or AET@address)."
            )


class Listener:
    """A running SCP.

    Raises:
        OutputError: the port is taken or may not be used.
    """

    def __init__(self, settings: ListenSettings, intake: Intake) -> None:
        from pynetdicom import AE, evt

        self._settings, self._intake = settings, intake
        self._received: dict[int, int] = {}
        node = AE(ae_title=settings.aet)
        node.require_called_aet = True
        node.require_calling_aet = sorted({caller.aet for caller in settings.callers})
        node.maximum_associations = settings.most_associations
        node.maximum_pdu_size = _PDU_BYTES
        node.acse_timeout = node.dimse_timeout = node.network_timeout = _SECONDS
        node.add_supported_context("1.2.840.10008.1.1")  # verification
        captures = (SECONDARY_CAPTURE,) if settings.accept_secondary_captures else ()
        for sop_class in (*FILM_CLASSES, *captures):
            node.add_supported_context(sop_class, list(FILM_SYNTAXES))
        handlers: Sequence[Any] = (
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_DATA_RECV, self._weigh),
            (evt.EVT_CONN_CLOSE, self._forget),
        )
        context = None if settings.tls is None else settings.tls.server_context()
        try:
            self._server: Any = node.start_server(
                (settings.host, settings.port), block=False, evt_handlers=list(handlers), ssl_context=context
            )
        except OSError as error:
            raise OutputError(
                f"Port {settings.port} on {settings.host} cannot be opened: {error.strerror}.",
                "Choose another --port, or stop what uses it.",
            ) from error
        self._node = node

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Take no more films; those in transfer are ended."""
        self._node.shutdown()

    def _store(self, event: Any) -> int:
        received = self._received.pop(id(event.assoc), 0)
        uid = str(event.request.AffectedSOPInstanceUID or "")
        if not self._is_allowed(event.assoc):
            return self._refuse("caller", _NOT_AUTHORISED)
        if received > self._settings.largest_film_bytes:
            return _OUT_OF_RESOURCES  # counted when the limit was passed
        if not is_uid(uid):
            return self._refuse("invalid-uid", _INVALID_UID)
        try:
            self._intake.take(uid, event.encoded_dataset())
        except IntakeFull as full:
            return self._refuse(full.reason, _OUT_OF_RESOURCES)
        except Exception as error:  # pynetdicom would print the text of the error
            self._intake.journal.fault(error)
            return _OUT_OF_RESOURCES
        return _SUCCESS

    def _is_allowed(self, association: Any) -> bool:
        aet, address = association.requestor.ae_title.strip(), association.requestor.address
        return any(caller.aet == aet and caller.host in ("", address) for caller in self._settings.callers)

    def _refuse(self, reason: str, status: int) -> int:
        self._intake.queue.count({("turned-away", reason): 1.0})
        self._intake.journal.note("turned-away", reason=reason)
        return status

    def _rejected(self, event: Any) -> None:
        self._refuse("association", 0)

    def _weigh(self, event: Any) -> None:
        """Count what a peer sends between two films, so that one endless film cannot fill the memory."""
        association, limit = id(event.assoc), self._settings.largest_film_bytes
        before = self._received.get(association, 0)
        self._received[association] = before + len(event.data)
        if before <= limit < before + len(event.data):
            self._refuse("too-large", 0)
            event.assoc.abort()

    def _forget(self, event: Any) -> None:
        self._received.pop(id(event.assoc), None)
