"""What the records say, in plain sentences. Counts before percentages; a number that is withheld becomes its reason.

A sentence only restates records, facts and table cells, each printed through `numbers`; where it weighs a number (too
high, too extreme) it asks whether the record's own interval leaves the ideal value out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from cxray.evaluate.operating import FROZEN, GIVEN, MOST_PROBABLE, VALIDATION
from cxray.evaluate.record import Record
from cxray.report import numbers
from cxray.report.questions import Question
from cxray.report.text import clip, printable

_NAME_LENGTH = 60

_POLICIES = {
    "youden": "the largest sum of sensitivity and specificity",
    "target_sensitivity": "a sensitivity of at least {} there",
    "target_specificity": "a specificity of at least {} there",
    "target_ppv": "a positive predictive value of at least {} there",
    "guaranteed_sensitivity": "a sensitivity of at least {} with an exact statistical guarantee",
    "net_benefit": "the largest net benefit when one must be {} sure to act",
    "cost_ratio": "the least cost when a missed case costs as much as {} false alarms",
}


def name(text: str, length: int = _NAME_LENGTH) -> Markup:
    """A name from the data, set apart so that its writing direction cannot disturb the sentence around it."""
    whole = printable(str(text))
    short = clip(whole, length)
    if short == whole:
        return Markup('<bdi class="name">{}</bdi>').format(whole)
    return Markup('<bdi class="name" title="{}">{}</bdi>').format(whole, short)


def plural(number: int, one: str, many: str = "") -> str:
    """The noun that goes with `number`."""
    return one if number == 1 else many or f"{one}s"


def fact(value: int | float, key: str, text: str = "") -> Markup:
    """A fact as a number that names its key."""
    return numbers.data(value, text or numbers.count(value), fact=key)


def films_and_patients(question: Question) -> Markup:
    """ "624 films of 428 patients", from the question's own records."""
    record = question.record("prevalence") or question.record("auroc")
    if record is None:
        return Markup("No film")
    return based_on(record)


def based_on(record: Record) -> Markup:
    """The films and patients that a record rests on."""
    where = {"record": record.name, "label": record.label, "slice": record.slice}
    films = numbers.data(record.n_images, numbers.count(record.n_images), **where, part="n_images")
    if not record.n_patients:
        return Markup("{} {}").format(films, plural(record.n_images, "film"))
    patients = numbers.data(record.n_patients, numbers.count(record.n_patients), **where, part="n_patients")
    return Markup("{} {} of {} {}").format(
        films, plural(record.n_images, "film"), patients, plural(record.n_patients, "patient")
    )


def cell(question: Question, which: str, column: str = "films") -> Markup:
    """One count of the confusion table; a dash when it was not made."""
    found = question.films(which) if column == "films" else question.patients(which)
    if found is None:
        return Markup("–")
    return numbers.data(found, numbers.count(found), cell=which, label=question.label, column=column)


def verdict(question: Question) -> Markup:
    """The whole judgement in one sentence of counts."""
    if not question.ill and not question.healthy:
        record = question.record("auroc")
        reason = record.withheld if record and record.withheld else "The decisions were not counted."
        return Markup("Nothing can be said about {}. {}").format(name(question.label), reason)
    start = Markup("On {}").format(films_and_patients(question))
    return Markup("{}, {} and {}.").format(start, _misses(question), _alarms(question))


def _misses(question: Question) -> Markup:
    if not question.ill:
        return Markup("what the model would miss is unknown, because no film shows {}").format(name(question.label))
    whole = _sum(question, question.ill, "positive")
    return Markup("the model missed <strong>{} of {}</strong> with {}").format(
        cell(question, "missed"), whole, name(question.label)
    )


def _alarms(question: Question) -> Markup:
    if not question.healthy:
        return Markup("false alarms are unknown, because every film shows {}").format(name(question.label))
    count = question.films("alarms") or 0
    without = Markup("{} films").format(name(question.other)) if question.other else Markup("films without it")
    verb = "raised " if question.ill else "it raised "
    return Markup("{}<strong>{} {} in {}</strong> {}").format(
        verb, cell(question, "alarms"), plural(count, "false alarm"), _sum(question, question.healthy, "negative"),
        without,
    )  # fmt: skip


def _sum(question: Question, films: int, truth: str) -> Markup:
    return numbers.data(films, numbers.count(films), cell=truth, label=question.label, column="films")


def per_hundred(record: Record, part: str = "value") -> Markup:
    """A share as "98" of a hundred, whole numbers only, never 0 or 100 unless it is."""
    value = getattr(record, part)
    text = numbers.whole_of_hundred(value)
    where = {"record": record.name, "label": record.label, "slice": record.slice, "part": part, "form": "per-hundred"}
    return numbers.data(value, text, **where)


def ranking(question: Question) -> Markup:
    """The AUROC in words."""
    record = question.record("auroc")
    if record is None:
        return Markup("")
    if record.value is None:
        return Markup("{}").format(record.withheld)
    limits = Markup("")
    if record.low is not None:
        limits = Markup(" ({} interval: {} to {} times)").format(
            numbers.level(record), per_hundred(record, "low"), per_hundred(record, "high")
        )
    return Markup(
        "Given one film with {} and one without, the model scores the right one higher {} times in 100{}. "
        "Tossing a coin would manage 50."
    ).format(name(question.label), per_hundred(record), limits)


def calibration(question: Question) -> Markup:
    """Whether the scores may be read as probabilities, as far as these films can tell, then the numbers behind it."""
    found = [(question.record(key), ideal, words) for key, ideal, words in _CALIBRATION]
    known = [(record, ideal, words) for record, ideal, words in found if record is not None]
    sentences = [
        Markup("{}").format(record.withheld if record.value is None else words[weigh(record, ideal) + 1])
        for record, ideal, words in known
    ]
    behind = [
        Markup("{} {} ({} interval {}; ideal {})").format(
            numbers.title(record.name),
            numbers.shown(record),
            numbers.level(record),
            numbers.interval(record),
            f"{ideal:g}",
        )
        for record, ideal, _ in known
        if record.value is not None
    ]
    text = Markup(" ").join(dict.fromkeys(sentences))
    return text + (
        Markup(' <small class="quiet">{}.</small>').format(Markup("; ").join(behind)) if behind else Markup("")
    )


_CALIBRATION: tuple[tuple[str, float, tuple[str, str, str]], ...] = (
    (
        "calibration_intercept",
        0.0,
        (
            "On average the scores are too high: the finding was rarer than they promised.",
            "On average the scores are right, as far as these films can tell.",
            "On average the scores are too low: the finding was more common than they promised.",
        ),
    ),
    (
        "calibration_slope",
        1.0,
        (
            "They are too extreme: high scores should be lower, low scores higher.",
            "Their spread is right, as far as these films can tell.",
            "They are too cautious: high scores could be higher, low scores lower.",
        ),
    ),
)


def weigh(record: Record, ideal: float) -> int:
    """-1 when the whole interval lies below `ideal`, 1 when above, 0 when it holds it or there is none."""
    if record.low is None or record.high is None:
        return 0
    return -1 if record.high < ideal else 1 if record.low > ideal else 0


def mean_ranking(record: Record) -> Markup:
    """The mean AUROC over classes in words; the reason when it is withheld."""
    if record.value is None:
        return Markup("{}").format(record.withheld)
    limits = Markup("")
    if record.low is not None:
        limits = Markup(" ({} interval {})").format(numbers.level(record), numbers.interval(record))
    return Markup("On average over the classes the AUROC is {}{}.").format(numbers.shown(record), limits)


def threshold(question: Question) -> Markup:
    """Where the line between positive and negative lies, and who drew it."""
    known = question.threshold
    value, origin = known.get("value"), known.get("origin")
    line = Markup("")
    if value is not None:
        line = Markup("A film counts as positive from a score of {} on. ").format(
            fact(float(value), f"thresholds/{question.label}/value", numbers.plain(float(value)))
        )
    sources = {
        VALIDATION: Markup("That threshold was fixed before these films were judged: {}").format(chosen_on(known)),
        FROZEN: Markup("That threshold was frozen with the model.")
        if value is not None
        else Markup("The decisions were frozen with the model; no single threshold reproduces them."),
        GIVEN: Markup("That threshold was given by hand; how it was chosen is not recorded."),
        MOST_PROBABLE: Markup("Nobody chose a threshold: each film is given its most probable class."),
    }
    return line + sources.get(str(origin), Markup("Where the decisions come from is not recorded."))


def chosen_on(known: Mapping[str, Any]) -> Markup:
    """On which films, by which rule a threshold was chosen: `known` is a `Threshold` as a mapping."""
    parts = [Markup("chosen on {}").format(_chosen_films(known))]
    if known.get("policy"):
        parts.append(Markup("for {}").format(policy(str(known["policy"]))))
    if known.get("table_sha256"):
        parts.append(Markup("table SHA-256 <code>{}</code>").format(str(known["table_sha256"])[:12]))
    text = Markup(", ").join(parts) + "."
    return text + Markup(" {}").format(known["note"]) if known.get("note") else text


def _chosen_films(known: Mapping[str, Any]) -> Markup:
    split = printable(str(known.get("split") or "other"))
    ill, healthy = known.get("n_positive"), known.get("n_negative")
    if not ill and not healthy:
        return Markup("{} films").format(split)
    return Markup("{} films ({} with the finding, {} without)").format(
        split, fact(int(ill or 0), "threshold/n_positive"), fact(int(healthy or 0), "threshold/n_negative")
    )


def policy(text: str) -> Markup:
    """A threshold policy ("target_sensitivity:0.95") in words; an unknown one as it is written."""
    stem, _, target = text.partition(":")
    form = _POLICIES.get(stem)
    if form is None or not _is_number(target or "0"):
        return Markup("the policy {}").format(name(text))
    goal = f"{float(target):g}" if stem == "cost_ratio" and target else target and f"{100 * float(target):g}%"
    return Markup("{} (policy <code>{}</code>)").format(form.format(goal), printable(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
