"""Can this test be trusted? Lights for a newcomer, each a rule over facts and records with its reason and advice.

A light is `good`, `caution`, `problem` or `unknown` (this table cannot tell). The rules ask only what the judge has
already established; what "enough films" means follows Vergouwe et al. 2005 (J Clin Epidemiol 58:475) and Collins et al.
2016 (Statistics in Medicine 35:214): at least 100 films with and 100 without the finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
class Finding:
    """What a rule found: a state, a sentence of reason, and what to do about it ("" for nothing)."""

    state: str
    text: Markup
    advice: str = ""


@dataclasses.dataclass(frozen=True)
class Light:
    """A finding with its short `title`; `key` names the rule that made it."""

    key: str
    title: str
    state: str
    text: Markup
    advice: str


def lights(evaluation: Evaluation) -> list[Light]:
    """Every light of an evaluation, in fixed order."""
    found = []
    for key, (title, rule) in _RULES.items():
        answer = rule(evaluation)
        found.append(Light(key, title, answer.state, answer.text, answer.advice))
    return found


def advice(found: Sequence[Light]) -> list[str]:
    """What to do next, problems first."""
    ranked = sorted(found, key=lambda light: _ORDER.index(light.state))
    return list(dict.fromkeys(light.advice for light in ranked if light.advice))


def _unseen(evaluation: Evaluation) -> Finding:
    splits: Mapping[str, int] = evaluation.facts.get("splits") or {}
    if splits.get("train"):
        trained = Markup("{} judged films are training films.").format(fact(splits["train"], "splits/train"))
        return Finding(PROBLEM, trained, "Judge films of patients that were not used for training.")
    if set(splits) == {"test"}:
        return Finding(GOOD, Markup("Every film is marked as a test film."))
    if splits.get("validation"):
        text = Markup("Validation films: the model and its threshold were chosen on them, so the numbers flatter it.")
        return Finding(CAUTION, text, "Judge the sealed test films once, when nothing will be changed any more.")
    text = Markup("The table does not say from which split its films come.")
    return Finding(UNKNOWN, text, "Add a split column to the predictions table.")


def _patients(evaluation: Evaluation) -> Finding:
    patients = int(evaluation.facts.get("patients") or 0)
    if not patients:
        text = Markup("No patients are named: if a patient has several films, every interval is too narrow.")
        return Finding(CAUTION, text, "Add a patient column to the predictions table.")
    counted = Markup("Intervals count {} {}, not films, as the unit.")
    return Finding(GOOD, counted.format(fact(patients, "patients"), plural(patients, "patient")))


def _threshold(evaluation: Evaluation) -> Finding:
    known = evaluation.facts.get("thresholds") or {}
    origins = {str((entry or {}).get("origin")) for entry in known.values()}
    if FROZEN in origins and (evaluation.facts.get("splits") or {}).get("validation"):
        return Finding(CAUTION, Markup("It was frozen with the model, which chooses on validation films like these."))
    if origins and origins <= {VALIDATION, FROZEN}:
        return Finding(GOOD, Markup("It was fixed before these films were judged."))
    if GIVEN in origins:
        text = Markup("It was given by hand; nobody recorded how it was chosen.")
        return Finding(CAUTION, text, "Choose the threshold on a validation table and freeze it.")
    text = Markup("No threshold was chosen: the most probable class decides.")
    return Finding(CAUTION, text, "Give a validation table, so that a threshold can be chosen for a stated aim.")


def _enough(evaluation: Evaluation) -> Finding:
    least = min(questions_of(evaluation), key=_rarer, default=None)
    if least is None:
        return Finding(UNKNOWN, Markup("Nothing was counted."))
    films = _rarer(least)
    kind = "with" if least.ill <= least.healthy else "without"
    text = Markup("The rarer kind, films {} {}, has {}; {} of each kind are the usual minimum.").format(
        kind, name(least.label), fact(films, "rarer"), ENOUGH
    )
    if films >= ENOUGH:
        return Finding(GOOD, text)
    needed = f"Collect at least {ENOUGH - films} more films {kind} the rarest finding."
    return Finding(PROBLEM if films < FEW else CAUTION, text, needed)


def _rarer(question: Question) -> int:
    return min(question.ill, question.healthy)


def _complete(evaluation: Evaluation) -> Finding:
    lost = int(evaluation.facts.get("films_unscored") or 0)
    if not lost:
        return Finding(GOOD, Markup("No film was left without a score."))
    text = Markup("{} {} without a score; they are listed below and count nowhere.").format(
        fact(lost, "films_unscored"), plural(lost, "film is", "films are")
    )
    return Finding(CAUTION, text, "Repair or exclude, with a stated reason, the films without a result.")


def _calibrated(evaluation: Evaluation) -> Finding:
    ideals = {"calibration_slope": 1.0, "calibration_intercept": 0.0}
    asked = [question.record(key) for question in questions_of(evaluation) for key in ideals]
    known = [record for record in asked if record is not None and record.value is not None]
    off = list(dict.fromkeys(record.label for record in known if weigh(record, ideals[record.name])))
    if off:
        names = Markup(", ").join(name(label) for label in off[:3]) + (" and others" if len(off) > 3 else "")
        text = Markup("Not as they stand: they are off for {}.").format(names)
        return Finding(CAUTION, text, "Recalibrate the scores on validation patients.")
    if len(known) < len(asked) or not known:
        return Finding(UNKNOWN, Markup("Too few films of one kind, or too clean a separation, to tell."))
    return Finding(GOOD, Markup("No miscalibration is visible on these films."))


def _shortcuts(evaluation: Evaluation) -> Finding:
    found: Any = evaluation.facts.get("audit")
    if not isinstance(found, Mapping):
        text = Markup("Not examined: a predictions table cannot show them.")
        advised = "Run cxray audit on the data: leaks, duplicates and shortcuts can explain a good result."
        return Finding(UNKNOWN, text, advised)
    source = str(found.get("source") or "the data")
    errors = int(found.get("errors") or 0)
    if errors:
        counted = Markup("The audit of {} found {} {} that can make these numbers wrong: {}.").format(
            source, fact(errors, "audit/errors"), plural(errors, "error"), _codes(found.get("accepted"))
        )
        return Finding(PROBLEM, counted, "Mend what the audit found, then train and judge again.")
    if found.get("warnings"):
        text = Markup("The audit of {} found no leak, but warns of {}, which can explain a good result.")
        advised = "Compare the model with the shortcut floor that cxray audit measures, and mend what it warns of."
        return Finding(CAUTION, text.format(source, _codes(found["warnings"])), advised)
    return Finding(GOOD, Markup("The audit of {} found none.").format(source))


def _codes(words: Any) -> Markup:
    return Markup(", ").join(name(str(word)) for word in words or ["not named"])


def _elsewhere(evaluation: Evaluation) -> Finding:
    del evaluation  # no table of predictions can answer this one
    text = Markup("This table cannot tell. Other hospitals, ages and machines usually give worse results.")
    return Finding(UNKNOWN, text, "Judge films of another hospital before anything is concluded for it.")


_RULES: dict[str, tuple[str, Callable[[Evaluation], Finding]]] = {
    "unseen": ("Films the model has not learnt from", _unseen),
    "patients": ("Patients are known", _patients),
    "threshold": ("Threshold chosen on other films", _threshold),
    "enough": ("Enough films of each kind", _enough),
    "complete": ("Every film has a result", _complete),
    "calibrated": ("Scores can be read as probabilities", _calibrated),
    "shortcuts": ("No leaks, duplicates or shortcuts", _shortcuts),
    "elsewhere": ("It works elsewhere", _elsewhere),
}
