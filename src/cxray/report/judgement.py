"""One `Evaluation` made ready for a page: sentences, tiles, pictures and lists, all finished; templates only place.

With very many classes each picture would be too small a part of too large a page, so pictures are drawn for the first
`MOST_DRAWN` questions; the numbers of all of them are always there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.record import Record
from cxray.report import sentences
from cxray.report.cards import CARD_NAMES, Card, cards
from cxray.report.claims import Claim, Claims, claims_of
from cxray.report.datatable import DataTable, data_table
from cxray.report.exhibits import EXPERT, NEWCOMER, Exhibit, class_confusion, exhibits, overview, slug
from cxray.report.gallery import ALARM, MISSED, Mistake, Pictures, mistakes
from cxray.report.grade import Grade, grade
from cxray.report.people import Thousand, default_step, thousands
from cxray.report.questions import Question, find_record, overall_records, questions_of
from cxray.report.trust import PROBLEM, Light, advice, lights

MOST_DRAWN = 12
_NEWCOMER_CARDS = ("slices", "referral")
# Pictures that stand under a claim of another name.
_CLAIM_OF = {"roc": "ranking", "risk-coverage": "referral"}

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
    claims: Claims
    measures: tuple[Measure, ...]
    records: tuple[Record, ...]
    pictures: tuple[Exhibit, ...]
    expert_pictures: tuple[Exhibit, ...]
    exhibits: Mapping[str, Exhibit]
    behind: Mapping[str, DataTable]
    people: tuple[Thousand, ...]
    people_shown: int
    explorer: Explorer | None
    missed: tuple[Mistake, ...]
    alarms: tuple[Mistake, ...]
    cards: tuple[Card, ...]
    expert_cards: tuple[Card, ...]

    @property
    def verdict(self) -> Markup:
        """The whole judgement in one sentence, or why there is none."""
        return self.claims["verdict"].shown

    @property
    def threshold(self) -> Markup:
        """Where the threshold lies and who drew it."""
        return self.claims["threshold"].shown

    def card(self, name: str) -> Card | None:
        """The small table of that name, None where the judge made none."""
        return next((card for card in (*self.cards, *self.expert_cards) if card.table == name), None)

    def group(self, *names: str) -> tuple[Record, ...]:
        """The records of those names, in that order, as far as they were made."""
        known = {record.name: record for record in self.records}
        return tuple(known[name] for name in names if name in known)


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
    def claims(self) -> list[Claim]:
        """The whole ledger, question by question."""
        return [claim for answer in self.answers for claim in answer.claims.values()]

    @property
    def warnings(self) -> list[str]:
        """The judge's own warnings, whole sentences."""
        return [str(text) for text in self.evaluation.facts.get("warnings") or ()]

    @property
    def facts(self) -> Any:
        """The evaluation's facts."""
        return self.evaluation.facts


def judgement(
    evaluation: Evaluation, *, key: str = "", folder: Path | None = None, pictures: Pictures | None = None
) -> Judgement:
    """Prepare `evaluation`; figures are also written to `folder` when it is given, `pictures` stand by the mistakes.

    Raises:
        OutputError: the folder cannot be written.
    """
    questions = questions_of(evaluation)
    found = lights(evaluation)
    desk = _Desk(key, folder, len(questions), found, pictures)
    answers = tuple(_answer(question, desk) for question in questions)
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


@dataclasses.dataclass(frozen=True)
class _Desk:
    """What the answers of one page share."""

    key: str
    folder: Path | None
    questions: int
    lights: Sequence[Light]
    pictures: Pictures | None

    def prefix(self, question: Question) -> str:
        """The start of every identifier and file name of a question."""
        if self.questions == 1:
            return self.key
        return f"{self.key}{question.number + 1:02d}-{slug(question.label)}-".replace("--", "-")


def _answer(question: Question, desk: _Desk) -> Answer:
    claims = claims_of(question, desk.lights)
    drawn = _drawn(question, desk, claims)
    people = thousands(question)
    own_tables = dict.fromkeys(exhibit.table for exhibit in drawn if not exhibit.missing)
    behind = {name: table for name in own_tables if (table := data_table(question, name)) is not None}
    return Answer(
        question=question,
        claims=claims,
        measures=_measures(question),
        records=tuple(r for r in question.evaluation.records if r.label == question.label and not r.slice),
        pictures=tuple(exhibit for exhibit in drawn if exhibit.level == NEWCOMER),
        expert_pictures=tuple(exhibit for exhibit in drawn if exhibit.level == EXPERT),
        exhibits={exhibit.key: exhibit for exhibit in drawn},
        behind=behind,
        people=tuple(people),
        people_shown=default_step(people),
        explorer=_explorer(question),
        missed=mistakes(question, MISSED, desk.pictures),
        alarms=mistakes(question, ALARM, desk.pictures),
        cards=tuple(cards(question, _NEWCOMER_CARDS)),
        expert_cards=tuple(cards(question, [name for name in CARD_NAMES if name not in _NEWCOMER_CARDS])),
    )


def _drawn(question: Question, desk: _Desk, claims: Claims) -> list[Exhibit]:
    """The pictures of a question, each under its claim; without a table the claim's reason stands in its place."""
    if question.number >= MOST_DRAWN:
        return []
    found = []
    for exhibit in exhibits(question, prefix=desk.prefix(question), folder=desk.folder):
        claim = claims.get(_CLAIM_OF.get(exhibit.key, exhibit.key))
        if claim is not None and exhibit.missing and claim.withheld:
            exhibit = dataclasses.replace(exhibit, missing=claim.withheld)
        elif claim is not None and not exhibit.missing:
            exhibit = dataclasses.replace(exhibit, summary=claim.shown)
        found.append(exhibit)
    return found


def _measures(question: Question) -> tuple[Measure, ...]:
    found = ((question.record(name), meaning) for name, meaning in HEADLINES.items())
    return tuple(Measure(record, meaning) for record, meaning in found if record is not None)


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
