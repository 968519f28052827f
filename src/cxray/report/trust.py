"""Can this test be trusted? Lights for a newcomer, each a rule over facts and records with its reason and advice.

A light is `good`, `caution`, `problem` or `unknown` (this table cannot tell). The rules ask only what the judge has
already established; the thresholds for "enough films" are those of Collins et al. 2016 (Statistics in Medicine 35:214)
and Vergouwe et al. 2005 (J Clin Epidemiol 58:475): at least 100 films with and 100 without the finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.judge import FEW
from cxray.evaluate.operating import FROZEN, GIVEN, VALIDATION
from cxray.report.questions import Question, questions_of
from cxray.report.sentences import fact, name, plural, weigh

GOOD, CAUTION, PROBLEM, UNKNOWN = "good", "caution", "problem", "unknown"
ENOUGH = 100
_ORDER = (PROBLEM, CAUTION, UNKNOWN, GOOD)


@dataclasses.dataclass(frozen=True)
class Light:
    """One answer: `state`, a short `title`, a sentence of reason and `advice`, what to do ("" for nothing)."""

    state: str
    title: str
    text: Markup
    advice: str = ""


def lights(evaluation: Evaluation) -> list[Light]:
    """Every light of an evaluation, in fixed order."""
    rules: tuple[Callable[[Evaluation], Light], ...] = (
        _unseen_films,
        _patients,
        _threshold,
        _enough_films,
        _complete,
        _calibrated,
        _shortcuts,
        _elsewhere,
    )
    return [rule(evaluation) for rule in rules]


def advice(found: list[Light]) -> list[str]:
    """What to do next, problems first."""
    ranked = sorted(found, key=lambda light: _ORDER.index(light.state))
    return list(dict.fromkeys(light.advice for light in ranked if light.advice))


def _unseen_films(evaluation: Evaluation) -> Light:
    title = "Films the model has not learnt from"
    splits: Mapping[str, int] = evaluation.facts.get("splits") or {}
    if splits.get("train"):
        return Light(
            PROBLEM,
            title,
            Markup("{} judged films are training films.").format(fact(splits["train"], "splits/train")),
            "Judge films of patients that were not used for training.",
        )
    if set(splits) == {"test"}:
        return Light(GOOD, title, Markup("Every film is marked as a test film."))
    if splits.get("validation"):
        return Light(
            CAUTION,
            title,
            Markup("Validation films: the model and its threshold were chosen on them, so the numbers flatter it."),
            "Judge the sealed test films once, when nothing will be changed any more.",
        )
    return Light(
        UNKNOWN,
        title,
        Markup("The table does not say from which split its films come."),
        "Add a split column to the predictions table.",
    )


def _patients(evaluation: Evaluation) -> Light:
    title = "Patients are known"
    patients = int(evaluation.facts.get("patients") or 0)
    if patients:
        return Light(
            GOOD,
            title,
            Markup("Intervals count {} {}, not films, as the unit.").format(
                fact(patients, "patients"), plural(patients, "patient")
            ),
        )
    return Light(
        CAUTION,
        title,
        Markup("No patients are named: if a patient has several films, every interval is too narrow."),
        "Add a patient column to the predictions table.",
    )


def _threshold(evaluation: Evaluation) -> Light:
    title = "Threshold chosen on other films"
    known = evaluation.facts.get("thresholds") or {}
    origins = {str((entry or {}).get("origin")) for entry in known.values()}
    if FROZEN in origins and (evaluation.facts.get("splits") or {}).get("validation"):
        return Light(
            CAUTION, title, Markup("It was frozen with the model, which chooses on validation films like these.")
        )
    if origins and origins <= {VALIDATION, FROZEN}:
        return Light(GOOD, title, Markup("It was fixed before these films were judged."))
    if GIVEN in origins:
        advised = "Choose the threshold on a validation table and freeze it."
        return Light(CAUTION, title, Markup("It was given by hand; nobody recorded how it was chosen."), advised)
    return Light(
        CAUTION,
        title,
        Markup("No threshold was chosen: the most probable class decides."),
        "Give a validation table, so that a threshold can be chosen for a stated aim.",
    )


def _enough_films(evaluation: Evaluation) -> Light:
    title = "Enough films of each kind"
    least = min(questions_of(evaluation), key=_rarer, default=None)
    if least is None:
        return Light(UNKNOWN, title, Markup("Nothing was counted."))
    films = _rarer(least)
    kind = "with" if least.ill <= least.healthy else "without"
    text = Markup("The rarer kind, films {} {}, has {}; {} of each kind are the usual minimum.").format(
        kind, name(least.label), fact(films, "rarer"), ENOUGH
    )
    if films >= ENOUGH:
        return Light(GOOD, title, text)
    needed = f"Collect at least {ENOUGH - films} more films {kind} the rarest finding."
    return Light(PROBLEM if films < FEW else CAUTION, title, text, needed)


def _rarer(question: Question) -> int:
    return min(question.ill, question.healthy)


def _complete(evaluation: Evaluation) -> Light:
    title = "Every film has a result"
    lost = int(evaluation.facts.get("films_unscored") or 0)
    if not lost:
        return Light(GOOD, title, Markup("No film was left without a score."))
    return Light(
        CAUTION,
        title,
        Markup("{} {} without a score; they are listed below and count nowhere.").format(
            fact(lost, "films_unscored"), plural(lost, "film is", "films are")
        ),
        "Repair or exclude, with a stated reason, the films without a result.",
    )


def _calibrated(evaluation: Evaluation) -> Light:
    title = "Scores can be read as probabilities"
    ideals = {"calibration_slope": 1.0, "calibration_intercept": 0.0}
    asked = [question.record(key) for question in questions_of(evaluation) for key in ideals]
    known = [record for record in asked if record is not None and record.value is not None]
    off = list(dict.fromkeys(record.label for record in known if weigh(record, ideals[record.name])))
    if off:
        return Light(
            CAUTION,
            title,
            Markup("Not as they stand: they are off for {}.").format(
                Markup(", ").join(name(label) for label in off[:3]) + (" and others" if len(off) > 3 else "")
            ),
            "Recalibrate the scores on validation patients.",
        )
    if len(known) < len(asked) or not known:
        return Light(UNKNOWN, title, Markup("Too few films of one kind to tell for every question."))
    return Light(GOOD, title, Markup("No miscalibration is visible on these films."))


def _shortcuts(evaluation: Evaluation) -> Light:
    title = "No leaks, duplicates or shortcuts"
    found: Any = evaluation.facts.get("audit")
    if not isinstance(found, Mapping):
        return Light(
            UNKNOWN,
            title,
            Markup("Not examined: a predictions table cannot show them."),
            "Run cxray audit on the data: leaks, duplicates and shortcuts can explain a good result.",
        )
    errors = int(found.get("errors") or 0)
    if errors:
        return Light(
            PROBLEM,
            title,
            Markup("The audit of the data found {} {}.").format(fact(errors, "audit/errors"), plural(errors, "error")),
            "Mend what the audit found, then train and judge again.",
        )
    return Light(GOOD, title, Markup("The audit of the data found no error."))


def _elsewhere(evaluation: Evaluation) -> Light:
    return Light(
        UNKNOWN,
        "It works elsewhere",
        Markup("This table cannot tell. Other hospitals, ages and machines usually give worse results."),
        "Judge films of another hospital before anything is concluded for it.",
    )
