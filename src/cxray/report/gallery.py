"""The mistakes of one question, confident misses first, each with its film and, where one was made, its map.

Pictures come from the caller by the path that the table gives; a film that cannot be opened keeps its line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.report.pages import picture
from cxray.report.questions import Question, questions_of

MISSED, ALARM = "missed", "false alarm"
MOST_ERRORS = 8
# Questions whose mistakes get pictures; a page of forty classes would hold hundreds.
_MOST_PICTURED = 4
_NOTHING = Markup("")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """PNG bytes by the path in the judged table: small `films`, and `maps` of the same size (see `maps_missing`)."""

    films: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    maps: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrongly judged film: `kind` is `MISSED` or `ALARM`, `score` 0–1, `row` its row in the table `errors`.

    `film` and `map` are addresses of pictures, "" where there is none.
    """

    kind: str
    path: str
    patient: str
    score: float
    row: int
    film: Markup = _NOTHING
    map: Markup = _NOTHING

    @property
    def file_name(self) -> str:
        """The last part of the path, by which people know a film."""
        return self.path.replace("\\", "/").rstrip("/").rpartition("/")[2] or self.path


def mistakes(question: Question, kind: str, pictures: Pictures | None = None) -> tuple[Mistake, ...]:
    """The worst mistakes of one kind, most confident first, at most `MOST_ERRORS`."""
    table = question.table("errors")
    if table is None:
        return ()
    pictures = pictures or Pictures()
    found = []
    for row in np.flatnonzero(table["kind"] == kind)[:MOST_ERRORS]:
        path = str(table["path"][row])
        drawn = (picture(kept[path]) if path in kept else _NOTHING for kept in (pictures.films, pictures.maps))
        film, heat = drawn
        score = float(table["score"][row])
        found.append(Mistake(kind, path, str(table["patient"][row]), score, int(row), film, heat))
    return tuple(found)


def films_wanted(evaluation: Evaluation) -> list[str]:
    """The paths of the films whose pictures a page would show, each once, in the order of their worth."""
    asked = questions_of(evaluation)[:_MOST_PICTURED]
    listed = [one.path for question in asked for kind in (MISSED, ALARM) for one in mistakes(question, kind)]
    return list(dict.fromkeys(listed))
