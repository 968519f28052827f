"""Giving results to a PACS, by whichever door it has, and saying plainly what became of them.

Every door has one method, `deliver`, that returns when the PACS has all results, and raises otherwise: `Unreachable`
when trying later may help (nobody answers, no space, wrong password), `Rejected` when the PACS has looked at a result
and refused it. Where a PACS can be asked, a result that it already has is not sent again.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from cxray.errors import CxrayError
from cxray.pacs.address import HTTP_SECONDS, Entity, TlsFiles, WebAddress, http_session

Results = Mapping[str, Path]
_LATER = (401, 403, 404, 408, 425, 429)
_DIMSE_SECONDS = 60


class Unreachable(CxrayError):
    """The PACS cannot take anything now; `reason` is a code."""

    def __init__(self, reason: str, message: str, next_step: str = "") -> None:
        super().__init__(message, next_step)
        self.reason = reason


class Rejected(CxrayError):
    """The PACS refused this result; `reason` is a code."""

    def __init__(self, reason: str, message: str, next_step: str = "") -> None:
        super().__init__(message, next_step)
        self.reason = reason


class Target(Protocol):
    """A door of a PACS."""

    def deliver(self, key: str, results: Results) -> int:
        """Deliver the files of `results` (kind to path) of the job `key`; how many the PACS did not have yet.

        Raises:
            Unreachable, Rejected: see the module.
        """
        ...

    def close(self) -> None:
        """Give up what the door holds open."""
        ...


class FolderTarget:
    """A dry run: results stay in a folder of this machine, STATE/local/<job>/<kind>.dcm."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, key: str, results: Results) -> int:
        """See `Target.deliver`."""
        folder = self._folder / key
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fresh = [kind for kind in results if not (folder / f"{kind}.dcm").exists()]
            for kind in fresh:
                part = folder / f".{kind}.part"
                shutil.copyfile(results[kind], part)
                part.replace(folder / f"{kind}.dcm")
        except OSError as error:
            raise Unreachable("disk", f"{folder} cannot be written: {error.strerror}.") from error
        return len(fresh)

    def close(self) -> None:
        """Nothing is held open."""


class OrthancTarget:
    """Orthanc's REST interface: asked for each result by UID, then given those it lacks."""

    def __init__(self, address: WebAddress, authority: Path | None = None) -> None:
        self._url, self._session = address.url, http_session(authority)

    def deliver(self, key: str, results: Results) -> int:
        """See `Target.deliver`."""
        return sum(self._store(path) for path in results.values())

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _store(self, path: Path) -> bool:
        found = answer_of(self._session, "POST", f"{self._url}/tools/lookup", data=_uid_of(path)).json()
        if any(entry.get("Type") == "Instance" for entry in found):
            return False
        stored = answer_of(self._session, "POST", f"{self._url}/instances", data=path.read_bytes())
        return bool(stored.json().get("Status") != "AlreadyStored")


class WebTarget:
    """STOW-RS, after QIDO-RS was asked whether the result is there (PS3.18, 10.5 and 10.6)."""

    def __init__(self, address: WebAddress, authority: Path | None = None) -> None:
        self._client = web_client(address, authority)

    def deliver(self, key: str, results: Results) -> int:
        """See `Target.deliver`."""
        from pydicom import dcmread

        missing = [film for film in (dcmread(path) for path in results.values()) if not self._has(film)]
        if not missing:
            return 0
        with http_errors():
            answer = self._client.store_instances(missing)
        failed = answer.get("FailedSOPSequence") or []
        if failed:
            reason = int(failed[0].get("FailureReason", 0) or 0)
            code = f"stow-{reason:04x}"
            # 0xA7xx: out of resources (PS3.18, 10.5.3.2).
            if 0xA700 <= reason <= 0xA7FF:
                raise Unreachable(code, "The PACS has no room for the result.")
            raise Rejected(code, f"The PACS refused {len(failed)} results (failure reason 0x{reason:04X}).")
        return len(missing)

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _has(self, film: Any) -> bool:
        with http_errors():
            found = self._client.search_for_instances(
                study_instance_uid=film.StudyInstanceUID,
                series_instance_uid=film.SeriesInstanceUID,
                search_filters={"SOPInstanceUID": film.SOPInstanceUID},
            )
        return bool(found)


class EntityTarget:
    """C-STORE to an application entity. It cannot be asked; it sees a repeated result as the one that it has."""

    def __init__(self, entity: Entity, calling_aet: str, tls: TlsFiles | None = None) -> None:
        self._entity, self._aet, self._tls = entity, calling_aet, tls
        self._association: Any = None

    def deliver(self, key: str, results: Results) -> int:
        """See `Target.deliver`."""
        for path in results.values():
            if self._association is None or not self._association.is_established:
                self._association = associate(self._entity, self._aet, self._tls)
            try:
                status = self._association.send_c_store(str(path))
            except ValueError as error:
                raise Rejected(
                    "no-context", "The PACS does not accept this kind of result over DICOM.", "See `cxray pacs doctor`."
                ) from error
            except RuntimeError as error:
                raise Unreachable("association-lost", "The PACS closed the association.") from error
            _check_status(status)
        return len(results)

    def close(self) -> None:
        """Release the association."""
        if self._association is not None and self._association.is_established:
            self._association.release()
        self._association = None


def open_target(
    address: Entity | WebAddress, *, calling_aet: str, tls: TlsFiles | None = None, authority: Path | None = None
) -> Target:
    """The door that belongs to an address."""
    if isinstance(address, Entity):
        return EntityTarget(address, calling_aet, tls)
    return OrthancTarget(address, authority) if address.is_orthanc else WebTarget(address, authority)


def associate(entity: Entity, calling_aet: str, tls: TlsFiles | None) -> Any:
    """Open an association for all results.

    Raises:
        Unreachable: nobody listens, or the association is refused.
    """
    from pynetdicom import AE

    from cxray.pacs.syntaxes import RESULT_CLASSES, RESULT_SYNTAXES

    node = AE(ae_title=calling_aet)
    node.acse_timeout = node.dimse_timeout = node.network_timeout = _DIMSE_SECONDS
    node.connection_timeout = 10
    for sop_class in RESULT_CLASSES:
        node.add_requested_context(sop_class, list(RESULT_SYNTAXES))
    arguments: dict[str, Any] = {} if tls is None else {"tls_args": (tls.client_context(), entity.host)}
    association = node.associate(entity.host, entity.port, ae_title=entity.aet, **arguments)
    if not association.is_established:
        reason = "association-rejected" if association.is_rejected else "no-association"
        raise Unreachable(
            reason, f"{entity.aet} at {entity.host}:{entity.port} gave no association.", "See `cxray pacs doctor`."
        )
    return association


def web_client(address: WebAddress, authority: Path | None = None) -> Any:
    """A DICOMweb client with the credentials of the environment; retries are the queue's business, not its own."""
    from dicomweb_client.api import DICOMwebClient

    session = http_session(authority)
    session.request = _with_timeout(session.request)
    client = DICOMwebClient(address.url, session=session)
    client.set_http_retry_params(retry=False)
    return client


def answer_of(session: Any, method: str, url: str, **arguments: Any) -> Any:
    """An HTTP answer that is a success.

    Raises:
        Unreachable, Rejected: no answer, or one that is not a success.
    """
    with http_errors():
        answer = session.request(method, url, timeout=HTTP_SECONDS, **arguments)
        answer.raise_for_status()
    return answer


@contextlib.contextmanager
def http_errors() -> Iterator[None]:
    """Turn what requests raises into errors of the house, by status code; texts of answers are dropped.

    Raises:
        Unreachable: it may work later. Rejected: it will not.
    """
    import requests

    try:
        yield
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        if code in _LATER or code >= 500:
            raise Unreachable(f"http-{code}", f"The PACS answered HTTP {code}.", _advice(code)) from None
        raise Rejected(f"http-{code}", f"The PACS refused with HTTP {code}.") from None
    except requests.exceptions.SSLError:
        raise Unreachable(
            "tls", "The PACS shows no certificate that is trusted here.", "Give the authority's certificate with --ca."
        ) from None
    except requests.RequestException:
        raise Unreachable(
            "no-answer", "The PACS does not answer.", "Is it running, and is the address right?"
        ) from None


def _advice(code: int) -> str:
    from cxray.pacs.address import PASSWORD, TOKEN, USER

    if code in (401, 403):
        return f"Set {USER} and {PASSWORD} (or {TOKEN}) in the environment."
    return "Check the path of the address." if code == 404 else ""


def _check_status(status: Any) -> None:
    """What a C-STORE status means (PS3.4, B.2.3): warnings are stored."""
    code = getattr(status, "Status", None)
    if code is None:
        raise Unreachable("no-answer", "The PACS did not answer the C-STORE.")
    if code == 0x0000 or 0xB000 <= code <= 0xBFFF:
        return
    name = f"dimse-{code:04x}"
    if 0xA700 <= code <= 0xA7FF or code == 0x0122:
        raise Unreachable(name, f"The PACS cannot store now (status 0x{code:04X}).")
    raise Rejected(name, f"The PACS refused the result (status 0x{code:04X}).")


def _uid_of(path: Path) -> str:
    from pydicom.filereader import read_file_meta_info

    return str(read_file_meta_info(path).MediaStorageSOPInstanceUID)


def _with_timeout(request: Any) -> Any:
    def call(method: str, url: str, **arguments: Any) -> Any:
        arguments.setdefault("timeout", HTTP_SECONDS)
        return request(method, url, **arguments)

    return call
