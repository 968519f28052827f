"""One `Evaluation` made ready for a page: sentences, tiles, pictures and lists, all finished; templates only place.

With very many classes each picture would be too small a part of too large a page, so pictures are drawn for the first
`MOST_DRAWN` questions; the numbers of all of them are always there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.record import Record
from cxray.report import sentences
from cxray.report.cards import CARD_NAMES, Card, cards
from cxray.report.exhibits import EXPERT, NEWCOMER, Exhibit, class_confusion, exhibits, overview, slug
from cxray.report.grade import Grade, grade
from cxray.report.people import Thousand, default_step, thousands
from cxray.report.questions import Question, find_record, overall_records, questions_of
from cxray.report.trust import PROBLEM, Light, advice, lights

MOST_DRAWN = 12
MOST_ERRORS = 8
_NEWCOMER_CARDS = ("slices", "referral")

HEADLINES = {
    "auroc": "Ranking ability. 0.5 is a coin toss, 1 is perfect.",
    "sensitivity": "Of the films with the finding, how many are found.",
    "specificity": "Of the films without it, how many are cleared.",
    "ppv": "Of the alarms, how many are right. Only at this table's prevalence.",
    "npv": "Of the films cleared, how many are rightly so. Only at this table's prevalence.",
}


@dataclasses.dataclass(frozen=True)
class Measure:
    """A headline record with what it means."""

    record: Record
    meaning: str


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrongly judged film: `kind` is "missed" or "false alarm", `score` 0–1."""

    kind: str
    path: str
    patient: str
    score: float
    row: int


@dataclasses.dataclass(frozen=True)
class Explorer:
    """Thresholds to try out on the page: (threshold, missed films, false alarms), rising; `start` is the row in use."""

    rows: tuple[tuple[float, int, int], ...]
    start: int

    @property
    def threshold(self) -> float:
        """The threshold in use."""
        return self.rows[self.start][0]


@dataclasses.dataclass(frozen=True)
class Answer:
    """One question with everything that a page shows about it."""

    question: Question
    verdict: Markup
    ranking: Markup
    threshold: Markup
    measures: tuple[Measure, ...]
    records: tuple[Record, ...]
    pictures: tuple[Exhibit, ...]
    expert_pictures: tuple[Exhibit, ...]
    people: tuple[Thousand, ...]
    people_shown: int
    explorer: Explorer | None
    missed: tuple[Mistake, ...]
    alarms: tuple[Mistake, ...]
    cards: tuple[Card, ...]
    expert_cards: tuple[Card, ...]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A whole evaluation for a page. `key` starts every identifier, so that two can share a page."""

    key: str
    evaluation: Evaluation
    answers: tuple[Answer, ...]
    lights: tuple[Light, ...]
    grade: Grade
    advice: tuple[str, ...]
    overall: tuple[Record, ...]
    mean_ranking: Markup
    overview: Exhibit | None
    classes: Exhibit | None

    @property
    def problems(self) -> list[Light]:
        """The lights that put the verdict in doubt."""
        return [light for light in self.lights if light.state == PROBLEM]

    @property
    def drawn(self) -> int:
        """How many questions have pictures."""
        return sum(bool(answer.pictures) for answer in self.answers)

    @property
    def warnings(self) -> list[str]:
        """The judge's own warnings, whole sentences."""
        return [str(text) for text in self.evaluation.facts.get("warnings") or ()]

    @property
    def facts(self) -> Any:
        """The evaluation's facts."""
        return self.evaluation.facts


def judgement(evaluation: Evaluation, *, key: str = "", folder: Path | None = None) -> Judgement:
    """Prepare `evaluation`; figures are also written to `folder` when it is given.

    Raises:
        OutputError: the folder cannot be written.
    """
    questions = questions_of(evaluation)
    answers = tuple(_answer(question, key, folder, len(questions)) for question in questions)
    found = lights(evaluation)
    mean = find_record(evaluation, "macro_auroc", "")
    return Judgement(
        key=key,
        evaluation=evaluation,
        answers=answers,
        lights=tuple(found),
        grade=grade(found),
        advice=tuple(advice(found)),
        overall=tuple(overall_records(evaluation)),
        mean_ranking=sentences.mean_ranking(mean) if mean else Markup(""),
        overview=overview(questions, key=key, folder=folder),
        classes=class_confusion(evaluation, key=key, folder=folder),
    )


def _answer(question: Question, key: str, folder: Path | None, questions: int) -> Answer:
    prefix = key if questions == 1 else f"{key}{question.number + 1:02d}-{slug(question.label)}-".replace("--", "-")
    drawn = exhibits(question, prefix=prefix, folder=folder) if question.number < MOST_DRAWN else []
    people = thousands(question)
    missed, alarms = (_mistakes(question, kind) for kind in ("missed", "false alarm"))
    return Answer(
        question=question,
        verdict=sentences.verdict(question),
        ranking=sentences.ranking(question),
        threshold=sentences.threshold(question),
        measures=_measures(question),
        records=tuple(r for r in question.evaluation.records if r.label == question.label and not r.slice),
        pictures=tuple(exhibit for exhibit in drawn if exhibit.level == NEWCOMER),
        expert_pictures=tuple(exhibit for exhibit in drawn if exhibit.level == EXPERT),
        people=tuple(people),
        people_shown=default_step(people),
        explorer=_explorer(question),
        missed=missed,
        alarms=alarms,
        cards=tuple(cards(question, _NEWCOMER_CARDS)),
        expert_cards=tuple(cards(question, [name for name in CARD_NAMES if name not in _NEWCOMER_CARDS])),
    )


def _measures(question: Question) -> tuple[Measure, ...]:
    found = ((question.record(name), meaning) for name, meaning in HEADLINES.items())
    return tuple(Measure(record, meaning) for record, meaning in found if record is not None)


def _mistakes(question: Question, kind: str) -> tuple[Mistake, ...]:
    table = question.table("errors")
    if table is None:
        return ()
    rows = np.flatnonzero(table["kind"] == kind)[:MOST_ERRORS]
    return tuple(
        Mistake(kind, str(table["path"][row]), str(table["patient"][row]), float(table["score"][row]), int(row))
        for row in rows
    )


def _explorer(question: Question) -> Explorer | None:
    """The judge's thresholds as counts of films, with the one in use among them; None without both classes."""
    table, value = question.table("roc"), question.threshold.get("value")
    missed, alarms = question.films("missed"), question.films("alarms")
    if table is None or value is None or missed is None or alarms is None:
        return None
    used = (float(value), missed, alarms)
    rows = {
        (float(cut), round((1 - float(found)) * question.ill), round((1 - float(clear)) * question.healthy))
        for cut, found, clear in zip(table["threshold"], table["sensitivity"], table["specificity"], strict=True)
        if 0 <= cut <= 1
    }
    ordered = sorted(rows | {used})
    return Explorer(tuple(ordered), ordered.index(used))
