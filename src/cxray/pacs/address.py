"""Where a PACS is and how to be let in: addresses in one notation, secrets from the environment only.

    AET@host:port            DICOM application entity (C-STORE, C-ECHO)
    http(s)://host/…         DICOMweb root, for example https://pacs.example/dicom-web
    orthanc+http(s)://host   Orthanc's own REST interface

User and password (or a bearer token) come from CXRAY_PACS_USER and CXRAY_PACS_PASSWORD (CXRAY_PACS_TOKEN), so that they
stand in no process list and no shell history.
"""

from __future__ import annotations

import dataclasses
import os
import re
import ssl
from pathlib import Path
from typing import Any

from cxray.errors import UsageError

_ENTITY = re.compile(r"(?P<aet>[^@\\]{1,16})@(?P<host>[^:@\s]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_ORTHANC = "orthanc+"
USER, PASSWORD, TOKEN = "CXRAY_PACS_USER", "CXRAY_PACS_PASSWORD", "CXRAY_PACS_TOKEN"
HTTP_SECONDS = 30


@dataclasses.dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate and its key, and the authority that must have signed the other side's certificate."""

    certificate: Path
    key: Path
    authority: Path

    def server_context(self) -> ssl.SSLContext:
        """For listening: the caller must show a certificate of the authority (mutual TLS).

        Raises:
            UsageError: a file cannot be read or is no certificate.
        """
        return self._context(ssl.Purpose.CLIENT_AUTH)

    def client_context(self) -> ssl.SSLContext:
        """For calling: the other side must show a certificate of the authority, whatever host name it bears.

        Application entities are configured by address, and their certificates seldom name it (PS3.15, B.12).
        """
        return self._context(ssl.Purpose.SERVER_AUTH)

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(purpose, cafile=str(self.authority))
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"The TLS files {self.certificate}, {self.key} and {self.authority} cannot be used: {error}.",
                "Give PEM files: a certificate, its unencrypted key and the authority's certificate.",
            ) from error
        # Python 3.13 began to refuse certificates without key identifiers; hospitals' authorities issue such.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


@dataclasses.dataclass(frozen=True, slots=True)
class Entity:
    """A DICOM application entity."""

    aet: str
    host: str
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class WebAddress:
    """A DICOMweb root or, with `is_orthanc`, the root of Orthanc's REST interface; `url` has no slash at its end."""

    url: str
    is_orthanc: bool


def parse_address(text: str) -> Entity | WebAddress:
    """An address as typed.

    Raises:
        UsageError: it is none of the three kinds, or holds a password.
    """
    plain = text.removeprefix(_ORTHANC)
    if plain.startswith(("http://", "https://")):
        if "@" in plain.partition("://")[2].partition("/")[0]:
            raise UsageError(
                "An address must not hold a user or password.", f"Set {USER} and {PASSWORD} in the environment instead."
            )
        return WebAddress(plain.rstrip("/"), is_orthanc=plain != text)
    match = _ENTITY.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise UsageError(
            f"{text!r} is no address of a PACS.",
            "Write AET@host:port, https://host/dicom-web or orthanc+http://host:8042.",
        )
    return Entity(match["aet"].strip(), match["host"].strip("[]"), int(match["port"]))


def http_session(authority: Path | None = None) -> Any:
    """A requests session with the credentials of the environment; `authority` is a PEM file for private authorities."""
    import requests

    session = requests.Session()
    session.trust_env = False  # a hospital's proxy for the internet is not meant for its PACS
    if os.environ.get(TOKEN):
        session.headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
    elif os.environ.get(USER):
        session.auth = (os.environ[USER], os.environ.get(PASSWORD, ""))
    if authority is not None:
        session.verify = str(authority)
    return session
