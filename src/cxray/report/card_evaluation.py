"""Evidence that an evaluation gives: how the model was judged and what came out. One key a function, "" for nothing."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from cxray.report import numbers
from cxray.report.card_sources import Sources
from cxray.report.questions import slices_of
from cxray.report.sentences import cell, name, verdict

_NOTHING = Markup("")
HEADLINES = ("auroc", "sensitivity", "specificity", "ppv", "npv", "brier", "calibration_slope", "calibration_intercept")
_FAIR = ("sex", "gender", "age", "ethnicity", "race")


def objectives(sources: Sources) -> Markup:
    """The protocol's title and primary measure."""
    protocol = sources.facts.get("protocol") or {}
    if not protocol:
        return _NOTHING
    primary = (protocol.get("settings") or {}).get("primary") or {}
    return Markup("{} Primary measure: {}.").format(
        str(protocol.get("title") or ""), numbers.title(primary.get("metric", ""))
    )


def protocol(sources: Sources) -> Markup:
    """Hash and time of the lock."""
    found = sources.facts.get("protocol") or {}
    if not found:
        return _NOTHING
    when = str(found.get("locked_at", ""))[:16].replace("T", " ")
    status = (
        "in force when the films were first opened"
        if found.get("in_force_sha256")
        else "locked after the first opening"
    )
    return Markup("Protocol with SHA-256 <code>{}</code>, locked {} UTC, {}.").format(
        found["sha256"][:12], when, status
    )


def eligibility(sources: Sources) -> Markup:
    """How many films could not be judged, and why."""
    parts = [
        Markup("{} {}").format(found, words)
        for key, words in (
            ("films_unscored", "without a result"),
            ("films_without_truth", "without a usable label"),
            ("duplicates_removed", "exact repetitions"),
        )
        if (found := sources.of_facts(key))
    ]
    if not sources.judged or not parts:
        return _NOTHING
    return Markup("Judged: {}. Left out: {}.").format(sources.judged, Markup(", ").join(parts))


def outcome(sources: Sources) -> Markup:
    """Names and counts of the classes."""
    labels = sources.facts.get("labels") or {}
    counted = [Markup("{} {}").format(name(one, 28), sources.of_facts(f"labels/{one}")) for one in labels]
    return Markup("Labels as given, in films: {}.").format(Markup(", ").join(counted)) if counted else _NOTHING


def sample_size(sources: Sources) -> Markup:
    """What this many patients can tell."""
    label = sources.question.label if sources.question else ""
    at = f"resolution/{label}"
    auroc, rate = sources.of_facts(f"{at}/auroc_half_width"), sources.of_facts(f"{at}/sensitivity_half_width")
    if not auroc or not rate:
        return _NOTHING
    return Markup(
        "{} ill and {} healthy patients: an AUROC of 0.9 is known to ± {}, a sensitivity of 0.95 to ± {}. "
        "No calculation made beforehand is recorded."
    ).format(sources.of_facts(f"{at}/ill_patients"), sources.of_facts(f"{at}/healthy_patients"), auroc, rate)


def missing(sources: Sources) -> Markup:
    """Films without a result, and the bound if all were wrong."""
    lost = sources.of_facts("films_unscored")
    if not lost:
        return _NOTHING
    bound = sources.measure("sensitivity_worst_case")
    said = Markup("{} films have no result and count nowhere; nothing was imputed.").format(lost)
    return said + Markup(" If all were judged wrongly: {}.").format(bound) if bound else said


def heterogeneity(sources: Sources) -> Markup:
    """Slices that were judged apart."""
    found = slices_of(sources.evaluation)
    named = list(dict.fromkeys(part.partition("=")[0] for part, _ in found if "=" in part))
    if not named:
        return _NOTHING
    return Markup("Judged apart by {}, each with its difference to the rest and adjusted P values.").format(
        Markup(", ").join(name(one, 28) for one in named)
    )


def fairness(sources: Sources) -> Markup:
    """Slices by sex, age or origin, if there are any."""
    columns = {part.partition("=")[0] for part, _ in slices_of(sources.evaluation)}
    named = sorted(one for one in columns if any(word in one.lower() for word in _FAIR))
    if not named:
        return _NOTHING
    return Markup("Performance by {} with intervals and differences to the rest.").format(
        Markup(", ").join(name(one, 28) for one in named)
    )


def metrics(sources: Sources) -> Markup:
    """What was measured."""
    domains = (
        ("discrimination", "auroc"), ("calibration", "calibration_slope"), ("net benefit", "net_benefit"),
        ("rates at the threshold", "sensitivity"), ("overall error", "brier"),
    )  # fmt: skip
    have = [words for words, key in domains if sources.record(key)]
    if not have:
        return _NOTHING
    return Markup("Measured: {}, each with its interval or the reason why not.").format(", ".join(have))


def uncertainty(sources: Sources) -> Markup:
    """Intervals and tests."""
    level = sources.facts.get("level")
    if level is None:
        return _NOTHING
    return Markup("{} intervals that count patients, not films; bootstrap with {} draws of patients, seed {}.").format(
        sources.of_facts("level", numbers.share(float(level))), sources.of_facts("draws"), sources.of_facts("seed")
    )


def data_shift(sources: Sources) -> Markup:
    """Scores of judged against validation films of the same class."""
    parts = [
        Markup("{} films: {}").format(kind, numbers.shown(record))
        for kind, key in (("ill", "score_shift_positive"), ("healthy", "score_shift_negative"))
        if (record := sources.record(key))
    ]
    if not parts:
        return _NOTHING
    return Markup(
        "Chance that a judged film scores higher than a validation film of its class (0.5 is no shift): {}."
    ).format(Markup(", ").join(parts))


def flow(sources: Sources) -> Markup:
    """Who was judged and who was not."""
    return eligibility(sources)


def characteristics(sources: Sources) -> Markup:
    """The mix of classes; nothing else is known to a table."""
    found = sources.measure("prevalence")
    return (
        Markup("{}. Age, sex and devices are known only if the table has such columns.").format(found)
        if found
        else _NOTHING
    )


def counts(sources: Sources) -> Markup:
    """Participants and events."""
    parts = [found for split in ("train", "validation") if (found := sources.films_and_patients(split))]
    ill = sources.question.ill if sources.question else 0
    if sources.judged and sources.question:
        label = sources.question.label
        found = numbers.data(ill, numbers.count(ill), cell="positive", label=label, column="films")
        parts.append(Markup("{} judged, {} of the films with {}").format(sources.judged, found, name(label, 28)))
    return Markup("; ").join(parts) + Markup(".") if parts else _NOTHING


def performance(sources: Sources) -> Markup:
    """The headline records."""
    parts = [found for key in HEADLINES if (found := sources.measure(key))]
    return Markup("; ").join(parts) + Markup(".") if parts else _NOTHING


def reader_agreement(sources: Sources) -> Markup:
    """Kappa of all readers, where their marks were given."""
    question = sources.question
    table = question.table("reader_agreement") if question else None
    if question is None or table is None:
        return _NOTHING
    parts = []
    for row, measure in enumerate(table["measure"]):
        value = float(table["value"][row])
        if measure == "fleiss_kappa" and value == value:  # NaN differs from itself
            shown = numbers.data(value, numbers.signed(value), table="reader_agreement", label=question.label,
                                 column="value", row=str(row))  # fmt: skip
            parts.append(Markup("{} ({})").format(shown, name(str(table["between"][row]))))
    return Markup("Fleiss’ kappa of the readers: {}.").format(Markup(", ").join(parts)) if parts else _NOTHING


def limitations(sources: Sources) -> Markup:
    """The judge's own warnings."""
    said = [str(text) for text in sources.facts.get("warnings") or ()]
    return Markup(" ").join(said) if said else _NOTHING


def explainability(sources: Sources) -> Markup:
    """Whether maps were tested."""
    found = sources.facts.get("attribution")
    return (
        Markup("Heat maps were tested; their report card is in the report.") if isinstance(found, Mapping) else _NOTHING
    )


def internal_testing(sources: Sources) -> Markup:
    """From which split the judged films come."""
    splits = sources.facts.get("splits") or {}
    if set(splits) == {"test"}:
        return Markup("{}, all marked as test films: not used to train or to choose the threshold.").format(
            sources.judged
        )
    return Markup("The judged films are not all marked as test films.") if splits else _NOTHING


def external_testing(sources: Sources) -> Markup:
    """Films of another place, if the evaluation says so."""
    place = sources.facts.get("external")
    return Markup("The judged films come from {}.").format(name(str(place))) if place else _NOTHING


def cross_tabulation(sources: Sources) -> Markup:
    """The confusion table in one sentence."""
    question = sources.question
    if question is None or question.films("found") is None:
        return _NOTHING
    return Markup("{} Found {}, missed {}, false alarms {}, cleared {}.").format(
        verdict(question), cell(question, "found"), cell(question, "missed"), cell(question, "alarms"),
        cell(question, "cleared"),
    )  # fmt: skip


def failure_analysis(sources: Sources) -> Markup:
    """Where the errors are listed, and groups that nobody labelled."""
    if sources.evaluation.tables.get("errors") is None:
        return _NOTHING
    said = Markup("Every listed error is in tables/errors.csv, confident misses first.")
    if sources.evaluation.tables.get("hidden_strata") is not None:
        said += Markup(" Groups of look-alike films in which it errs more are in tables/hidden_strata.csv.")
    return said


def indeterminate(sources: Sources) -> Markup:
    """Abstention, where it was examined."""
    found = sources.measure("conformal_answered")
    if found:
        return Markup('Every film gets a score. With an honest "cannot tell": {}.').format(found)
    return Markup("Every readable film gets a score; none is indeterminate.")


def evaluated_mix(sources: Sources) -> Markup:
    """The judged films were not rebalanced."""
    found = sources.measure("prevalence")
    return Markup("The judged films stand as they are, not rebalanced: {}.").format(found) if found else _NOTHING


def outputs_kept(sources: Sources) -> Markup:
    """The table and its hash."""
    digest = sources.facts.get("table_sha256")
    return (
        Markup(
            "Every score is in the predictions table with SHA-256 <code>{}</code>; every number is a record."
        ).format(str(digest)[:12])
        if digest
        else _NOTHING
    )
