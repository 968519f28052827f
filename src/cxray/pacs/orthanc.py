"""The Orthanc door: follow the log of changes and fetch each new film.

`/changes` is a numbered log, so the number of the last change that was dealt with is all there is to remember; it is
stored after the films of a page are in the spool, and a kill in between fetches some again, which changes nothing. No
script is loaded into Orthanc.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from cxray.pacs.delivery import Unreachable, answer_of
from cxray.pacs.intake import Intake
from cxray.pacs.syntaxes import FILM_CLASSES, SECONDARY_CAPTURE

_PAGE = 100


@dataclasses.dataclass(eq=False)
class OrthancWatcher:
    """`poll` deals with all changes there are. `cursor_name` tells several Orthancs in one state folder apart."""

    url: str
    session: Any
    intake: Intake
    accept_secondary_captures: bool = False

    @property
    def cursor_name(self) -> str:
        """Under which name the position is stored."""
        return f"orthanc {self.url} {self.intake.fingerprint[:12]}"

    def start(self, *, from_start: bool) -> int:
        """Set the position on the very first run, to the log's end or beginning; how many changes are passed over."""
        if self.intake.queue.cursor(self.cursor_name) is not None:
            return 0
        last = 0 if from_start else int(self._get("/changes?last").json()["Last"])
        self.intake.queue.set_cursor(self.cursor_name, last)
        return last

    def poll(self) -> int:
        """Fetch every film that has come since; how many were new.

        Raises:
            Unreachable: Orthanc does not answer.
            IntakeFull: no room for more.
        """
        fresh = 0
        for page in self._pages():
            fresh += sum(self._fetch(str(change["ID"])) for change in page if change.get("ChangeType") == "NewInstance")
        return fresh

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        while True:
            since = self.intake.queue.cursor(self.cursor_name) or 0
            page = self._get(f"/changes?since={since}&limit={_PAGE}").json()
            last = int(page["Last"])
            if last < since:
                # The log is shorter than we remember: Orthanc was set up anew. Known films are recognised by UID.
                self.intake.queue.set_cursor(self.cursor_name, 0)
                continue
            yield page["Changes"]
            self.intake.queue.set_cursor(self.cursor_name, last)
            if page["Done"]:
                return

    def _fetch(self, identifier: str) -> bool:
        instance = f"/instances/{identifier}"
        try:
            sop_class = self._get(f"{instance}/metadata/SopClassUid").text.strip()
            if sop_class not in self._classes():
                return False
            uid = str(self._get(instance).json()["MainDicomTags"]["SOPInstanceUID"])
            if self.intake.knows(uid):
                self.intake.queue.count({("arrivals", "repeated"): 1.0})
                return False
            self.intake.check_room()
            return self.intake.take(uid, self._get(f"{instance}/file").content)
        except Unreachable as error:
            if error.reason != "http-404":
                raise
            return False  # deleted since

    def _classes(self) -> tuple[str, ...]:
        return (*FILM_CLASSES, SECONDARY_CAPTURE) if self.accept_secondary_captures else FILM_CLASSES

    def _get(self, path: str) -> Any:
        return answer_of(self.session, "GET", f"{self.url}{path}")
