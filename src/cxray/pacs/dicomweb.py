"""The DICOMweb door: ask for the studies of the last days (QIDO-RS) and fetch each new film (WADO-RS).

QIDO-RS has no log of changes, so every round asks for all films of the window and passes over those that are known.
Addresses are built from UIDs and never taken from answers. Films are kept in the encoding that the server has them in.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
from collections.abc import Iterator
from typing import Any

from cxray.pacs.delivery import http_errors
from cxray.pacs.intake import Intake
from cxray.pacs.syntaxes import FILM_CLASSES, SECONDARY_CAPTURE
from cxray.pacs.uids import is_uid

_PAGE = 100
_STUDY, _SERIES, _INSTANCE, _CLASS, _MODALITY = "0020000D", "0020000E", "00080018", "00080016", "00080060"


@dataclasses.dataclass(eq=False)
class WebWatcher:
    """`poll` asks once. `days` is the window: 1 = studies of today (and of yesterday until the first hour is over)."""

    client: Any
    intake: Intake
    days: int = 1
    accept_secondary_captures: bool = False

    def poll(self) -> int:
        """Fetch every film that is not known yet; how many.

        Raises:
            Unreachable, Rejected: the server does not answer, or refuses the question.
            IntakeFull: no room for more.
        """
        return sum(self._fetch(*uids) for study in self._studies() for uids in self._films(study))

    def _studies(self) -> Iterator[str]:
        now = datetime.datetime.now()
        last = now.date()
        first = (now - datetime.timedelta(hours=1)).date() - datetime.timedelta(days=self.days - 1)
        window = f"{first:%Y%m%d}-{last:%Y%m%d}"
        yield from (
            _value(entry, _STUDY) for entry in self._paged(self.client.search_for_studies, {"StudyDate": window})
        )

    def _films(self, study: str) -> Iterator[tuple[str, str, str]]:
        if not is_uid(study):
            return
        modalities = ("CR", "DX", "OT") if self.accept_secondary_captures else ("CR", "DX")
        classes = (*FILM_CLASSES, SECONDARY_CAPTURE) if self.accept_secondary_captures else FILM_CLASSES
        for series in self._paged(self.client.search_for_series, {}, study_instance_uid=study):
            if _value(series, _MODALITY) not in modalities:
                continue
            uid = _value(series, _SERIES)
            names = {"study_instance_uid": study, "series_instance_uid": uid}
            for film in self._paged(self.client.search_for_instances, {}, **names):
                if _value(film, _CLASS) in (*classes, ""):
                    yield study, uid, _value(film, _INSTANCE)

    def _fetch(self, study: str, series: str, uid: str) -> bool:
        if not (is_uid(series) and is_uid(uid)) or self.intake.knows(uid):
            return False
        self.intake.check_room()
        with http_errors():
            film = self.client.retrieve_instance(study, series, uid, media_types=(("application/dicom", "*"),))
        content = io.BytesIO()
        film.save_as(content, enforce_file_format=True)
        return self.intake.take(uid, content.getvalue())

    def _paged(self, search: Any, filters: dict[str, str], **names: str) -> Iterator[Any]:
        offset = 0
        while True:
            with http_errors():
                found = search(search_filters=filters, limit=_PAGE, offset=offset, **names)
            yield from found
            if len(found) < _PAGE:
                return
            offset += len(found)


def _value(entry: Any, tag: str) -> str:
    values = entry.get(tag, {}).get("Value") or [""]
    return str(values[0])
