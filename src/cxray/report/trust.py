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
from cxray.evaluate.record import Record
from cxray.report.numbers import interval, level, shown
from cxray.report.questions import Question, find_record, questions_of
from cxray.report.sentences import fact, name, per_hundred, plural, weigh

GOOD, CAUTION, PROBLEM, UNKNOWN = "good", "caution", "problem", "unknown"
ENOUGH = 100
# The split of films that come from another place than the training films.
EXTERNAL = "external"
# A shortcut whose AUROC is surely above this is open; the audit warns from the same value on.
OPEN_FLOOR = 0.7
_SHIFTS = ("score_shift_positive", "score_shift_negative")
# A shift of a class smaller than this (0.5 is none) moves few decisions, however sure it is.
_SHIFT = 0.1
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


def _leak(evaluation: Evaluation) -> Finding:
    """Has the model met these films or patients before? Their split says so, and the audit of the data."""
    audit = _audit(evaluation)
    errors = int(audit.get("errors") or 0)
    split = _split(evaluation)
    if errors and split.state != PROBLEM:
        text = Markup("The audit of {} found {} {} that can make these numbers wrong: {}.").format(
            audit.get("source") or "the data",
            fact(errors, "audit/errors"),
            plural(errors, "error"),
            _codes(audit.get("accepted")),
        )
        return Finding(PROBLEM, text, "Mend what the audit found, then train and judge again.")
    if split.state != GOOD or not audit:
        return split
    return Finding(
        GOOD, split.text + Markup(" The audit of {} found no leak.").format(audit.get("source") or "the data")
    )


def _split(evaluation: Evaluation) -> Finding:
    splits: Mapping[str, int] = evaluation.facts.get("splits") or {}
    if splits.get("train"):
        trained = Markup("{} judged films are training films.").format(fact(splits["train"], "splits/train"))
        return Finding(PROBLEM, trained, "Judge films of patients that were not used for training.")
    if splits and set(splits) <= {"test", EXTERNAL}:
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


def _shift(evaluation: Evaluation) -> Finding:
    """Do these films look to the model like those it was chosen on? Told from its scores, class by class."""
    shifts = _audit(evaluation).get("shifts") or []
    known = [record for record in evaluation.records if record.name in _SHIFTS and not record.slice]
    given = [record for record in known if record.value is not None]
    if not known and not shifts:
        text = Markup("Not examined: that needs the scores of validation films, or an audit of the data.")
        return Finding(UNKNOWN, text, "Give the validation table with --validation.")
    moved = [record for record in given if abs((record.value or 0.5) - 0.5) > _SHIFT and weigh(record, 0.5)]
    if moved:
        worst = max(moved, key=lambda record: abs((record.value or 0.5) - 0.5))
        kind = "with" if worst.name == _SHIFTS[0] else "without"
        text = Markup(
            "Films {} {} score higher here than validation films of the same kind {} times in 100; 50 would be no "
            "shift."
        ).format(kind, name(worst.label), per_hundred(worst))
        return Finding(
            CAUTION, text, "Ask what differs (machine, age, time), and choose the threshold where it is used."
        )
    if shifts:
        text = Markup("The audit says: {}").format(name(str(shifts[0].get("title", "")), 200))
        return Finding(CAUTION, text, "Ask what differs between training and test films before trusting either.")
    if not given:
        return Finding(UNKNOWN, Markup("{}").format(known[0].withheld))
    return Finding(GOOD, Markup("Of each kind, films here score like validation films."))


def _floor(evaluation: Evaluation) -> Finding:
    """Does the model know more than the border, the size and the brightness of a film?"""
    gains = [record for record in evaluation.records if record.name == "gain_over_floor" and not record.slice]
    given = [record for record in gains if record.value is not None]
    if not given:
        return _floor_unknown(evaluation, gains)
    worst = min(given, key=lambda record: record.low if record.low is not None else -1.0)
    floor = find_record(evaluation, "shortcut_floor", worst.label)
    gain = Markup("The model adds {} to the AUROC of the strongest shortcut").format(shown(worst))
    if worst.low is None or worst.low <= 0:
        text = gain + Markup(", which cannot be told from nothing.")
        return Finding(PROBLEM, text, "A shortcut explains the result as well as the lungs do: mend the data first.")
    text = gain + Markup(" ({} interval {}).").format(level(worst), interval(worst))
    if floor is not None and floor.low is not None and floor.low >= OPEN_FLOOR:
        text += Markup(
            " But that shortcut alone reaches {}: part of the model's result may be borrowed from it."
        ).format(shown(floor))
        return Finding(
            CAUTION, text, "Crop or mask the outside of the lungs and test again; mix the sources in each class."
        )
    return Finding(GOOD, text)


def _floor_unknown(evaluation: Evaluation, gains: Sequence[Record]) -> Finding:
    audit = _audit(evaluation)
    advised = "Run cxray audit on the data, then judge with --audit: leaks and shortcuts can explain a good result."
    if gains:
        return Finding(UNKNOWN, Markup("{}").format(gains[0].withheld), advised)
    if audit.get("warnings"):
        text = Markup("Not measured on these films, but the audit of {} warns of {}.")
        return Finding(CAUTION, text.format(audit.get("source") or "the data", _codes(audit["warnings"])), advised)
    return Finding(UNKNOWN, Markup("Not examined: a predictions table cannot show shortcuts."), advised)


def _audit(evaluation: Evaluation) -> Mapping[str, Any]:
    found = evaluation.facts.get("audit")
    return found if isinstance(found, Mapping) else {}


def _codes(words: Any) -> Markup:
    return Markup(", ").join(name(str(word)) for word in words or ["not named"])


def _elsewhere(evaluation: Evaluation) -> Finding:
    place = evaluation.facts.get("external")
    splits: Mapping[str, int] = evaluation.facts.get("splits") or {}
    if place:
        return Finding(GOOD, Markup("These films come from elsewhere, as declared: {}.").format(name(str(place))))
    if set(splits) == {EXTERNAL}:
        return Finding(GOOD, Markup("Every film is marked as coming from elsewhere."))
    text = Markup("Nothing here is known to come from elsewhere. Other hospitals, ages and machines usually do worse.")
    return Finding(UNKNOWN, text, "Judge films of another hospital (--external NAME) before claiming anything for it.")


_RULES: dict[str, tuple[str, Callable[[Evaluation], Finding]]] = {
    "leak": ("Films the model has not learnt from", _leak),
    "shift": ("Films like those it was chosen on", _shift),
    "floor": ("More than shortcuts", _floor),
    "enough": ("Enough films of each kind", _enough),
    "calibrated": ("Scores can be read as probabilities", _calibrated),
    "elsewhere": ("It works elsewhere", _elsewhere),
    "threshold": ("Threshold chosen on other films", _threshold),
    "patients": ("Patients are known", _patients),
    "complete": ("Every film has a result", _complete),
}
