"""The model card: one content, written as Markdown with the metadata header of the Hugging Face Hub, and as a page.

Sections follow Mitchell et al. 2019 (model cards for model reporting). The header is YAML made of JSON scalars, which
YAML 1.2 contains, so that hostile names cannot break out of it. A section without evidence says "not available".
"""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from markupsafe import Markup

from cxray.report import card_evaluation as judged
from cxray.report import card_model as made
from cxray.report import numbers
from cxray.report.card_sources import Sources
from cxray.report.checklists import REPORTED, Checklist, fill_checklists
from cxray.report.pages import write_page
from cxray.report.sentences import name, plural
from cxray.report.text import printable
from cxray.rundir import write_text

CARD, PAGE, CHECKLIST_PAGE = "README.md", "card.html", "checklists.html"
MISSING = "Not available."
# Measures of the model index: our record and the Hub's name for the kind of metric.
_INDEX = (("auroc", "roc_auc"), ("accuracy", "accuracy"), ("sensitivity", "recall"), ("specificity", "specificity"),
          ("ppv", "precision"), ("brier", "brier_score"))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a card: a term and its text, "" when nothing is known."""

    term: str
    text: Markup


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of a card."""

    title: str
    entries: tuple[Entry, ...]


def write_model_card(sources: Sources, folder: Path, *, command: str = "", report: str = "") -> tuple[Checklist, ...]:
    """Write `README.md`, `card.html`, `checklists.html` and `checklists/*.md` to `folder`; returns the checklists.

    `report` is the address of the evaluation's page, seen from `folder`, where the two lie together.

    Raises:
        OutputError: the folder cannot be written.
    """
    sections, lists = card_sections(sources), fill_checklists(sources)
    headline = tuple(record for key in judged.HEADLINES if (record := sources.record(key)))
    about = {
        "name": model_name(sources),
        "report": report,
        "sections": sections,
        "records": headline,
        "checklists": lists,
        "warnings": [str(text) for text in sources.facts.get("warnings") or ()],
        "command": command,
        "missing": MISSING,
    }
    write_text(folder / CARD, _markdown(sources, sections, lists))
    write_page(folder / PAGE, "card.html.j2", **about)
    write_page(folder / CHECKLIST_PAGE, "checklists.html.j2", **about)
    for one in lists:
        write_text(folder / "checklists" / f"{one.key}.md", _checklist_markdown(one))
    return lists


def card_sections(sources: Sources) -> tuple[Section, ...]:
    """Every section of the card, in order."""
    return (*_about_model(sources), *_about_test(sources))


def model_name(sources: Sources) -> str:
    """The bundle's name; a model known from its scores is called after their table."""
    named = sources.bundle.get("name")
    return str(named or PurePosixPath(str(sources.facts.get("source") or "model").replace("\\", "/")).stem)


def _about_model(sources: Sources) -> tuple[Section, ...]:
    stated = sources.statements
    return (
        Section(
            "Model details",
            (
                Entry("Name", name(model_name(sources))),
                Entry("Developed by", _stated(stated.get("developers"))),
                Entry("Made", Markup("{}").format(str(sources.bundle.get("made") or ""))),
                Entry("Classes", _classes(sources)),
                Entry("Architecture", made.model(sources)),
                Entry("Input", made.preprocessing(sources)),
                Entry("Training", made.training(sources)),
                Entry("Start", made.initialization(sources)),
                Entry("Software", made.software(sources)),
                Entry("License of the model", _stated(stated.get("license"))),
                Entry("Citation", _stated(stated.get("citation"))),
                Entry("Contact", _stated(stated.get("contact"))),
            ),
        ),
        Section(
            "Intended use",
            (
                Entry("Use", made.intended_use(sources)),
                Entry("Users", _stated(stated.get("users"))),
                Entry("Out of scope", _stated(stated.get("out_of_scope"))),
            ),
        ),
        Section("Training data", (*_data(sources), Entry("Parts", made.partitions(sources)))),
    )


def _about_test(sources: Sources) -> tuple[Section, ...]:
    stated = sources.statements
    return (
        Section(
            "Evaluation",
            (
                Entry("Films", judged.internal_testing(sources)),
                Entry("Labels", judged.outcome(sources)),
                Entry("Reference standard", _stated(stated.get("reference_standard"))),
                Entry("Left out", judged.eligibility(sources)),
                Entry("Protocol", judged.protocol(sources)),
                Entry("Looks at these films", _openings(sources)),
                Entry("Threshold", made.threshold(sources)),
                Entry("Intervals", judged.uncertainty(sources)),
                Entry("In counts", judged.cross_tabulation(sources)),
                Entry("Size", judged.sample_size(sources)),
                Entry("External films", judged.external_testing(sources)),
            ),
        ),
        Section(
            "Factors",
            (
                Entry("Groups judged apart", judged.heterogeneity(sources)),
                Entry("Fairness", judged.fairness(sources)),
                Entry("Shift of scores", judged.data_shift(sources)),
            ),
        ),
        Section(
            "Ethics, limits and advice",
            (
                Entry("Ethics", _stated(stated.get("ethics"))),
                Entry("Limits", judged.limitations(sources)),
                Entry("Stated limits", _stated(stated.get("limitations"))),
                Entry("Unreadable and odd films", made.poor_input(sources)),
                Entry("Films that look different", made.robustness(sources)),
                Entry("Explanations", judged.explainability(sources)),
            ),
        ),
    )


def plain(markup: Markup | str) -> str:
    """Markup as text without tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", str(markup)))


def _stated(text: str | None) -> Markup:
    return Markup("{}").format(printable(text)) if text else Markup("")


def _classes(sources: Sources) -> Markup:
    return Markup(", ").join(name(str(one), 28) for one in _class_names(sources))


def _class_names(sources: Sources) -> list[str]:
    return [str(one) for one in sources.bundle.get("classes") or sources.facts.get("classes") or ()]


def _data(sources: Sources) -> tuple[Entry, ...]:
    return (
        Entry("Source", _stated(sources.statements.get("data_source"))),
        Entry("Identity", made.data_source(sources)),
        Entry("Patients and leaks", made.disjoint(sources)),
    )


def _openings(sources: Sources) -> Markup:
    if not sources.facts.get("openings"):
        return Markup("")
    known = sources.facts["openings"]
    return Markup("Opened {} {} with {} {} of predictions, this one included.").format(
        sources.of_facts("openings/count"),
        plural(int(known.get("count") or 1), "time"),
        sources.of_facts("openings/different_tables"),
        plural(int(known.get("different_tables") or 1), "table"),
    )


def _markdown(sources: Sources, sections: tuple[Section, ...], lists: tuple[Checklist, ...]) -> str:
    title = model_name(sources)
    lines = ["---", *_header(sources), "---", "", f"# {_escaped(title)}", ""]
    lines += ["**Research use only. Not a medical device; not for diagnosis.**", "", "## Results", ""]
    lines += ["| Measure | Value | Interval | Films | Patients |", "|---|---|---|---|---|"]
    for key in judged.HEADLINES:
        record = sources.record(key)
        if record is not None:
            patients = numbers.count(record.n_patients) if record.n_patients else "unknown"
            limits = plain(numbers.interval(record))
            lines.append(
                f"| {numbers.title(key)} | {plain(numbers.shown(record))} | {limits} | "
                f"{numbers.count(record.n_images)} | {patients} |"
            )
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines += [f"- **{entry.term}**: {_escaped(plain(entry.text)) or MISSING}" for entry in section.entries]
    lines += ["", "## Reporting checklists", ""]
    for one in lists:
        reported = one.count(REPORTED)
        lines.append(f"- [{one.name}](checklists/{one.key}.md): {reported} of {len(one.items)} items reported")
    return "\n".join(lines) + "\n"


def _header(sources: Sources) -> list[str]:
    """The metadata of the Hub as YAML lines."""
    classes, stated = _class_names(sources), sources.statements
    lines = [f"license: {_scalar(stated['license'])}"] if stated.get("license") else []
    lines += ["library_name: cxray"] if sources.bundle else []
    lines += ["pipeline_tag: image-classification", "language: en", "tags:"]
    tags = ["radiology", "chest-x-ray", *(["onnx"] if sources.bundle else []), "medical", *classes]
    lines += [f"- {_scalar(tag)}" for tag in tags]
    results = [(sources.record(key), kind) for key, kind in _INDEX]
    known = [(record, kind) for record, kind in results if record is not None]
    if not known:
        return lines
    data = stated.get("data_name") or "not named"
    lines += ["model-index:", f"- name: {_scalar(model_name(sources))}", "  results:"]
    lines += ["  - task:", "      type: image-classification", "    dataset:", f"      name: {_scalar(data)}"]
    split = [f"      split: {_scalar(one)}" for one in sources.facts.get("splits") or () if one]
    lines += [f"      type: {_scalar(data)}", *split[:1], "    metrics:"]
    for record, kind in known:
        lines += [f"    - type: {kind}", f"      name: {_scalar(numbers.title(record.name))}"]
        lines += [f"      value: {record.value!r}"]
        if record.low is not None:
            lines += [f"      args: {json.dumps({'low': record.low, 'high': record.high, 'level': record.level})}"]
    return lines


def _checklist_markdown(one: Checklist) -> str:
    lines = [
        f"# {one.name}",
        "",
        f"{one.scope} Source: {one.source}, doi:{one.doi}. Items are described in our own words under the source's "
        "numbers; submit the official form.",
        "",
        "| Item | Asks for | State | Evidence |",
        "|---|---|---|---|",
    ]
    for item in one.items:
        stated = f"Stated by the authors: {item.statement}" if item.statement else ""
        text = " ".join(part for part in (plain(item.evidence), stated) if part)
        lines.append(f"| {item.number} | {item.topic} | {item.state} | {_escaped(text)} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text as Markdown shows it literally, on one line, and never as HTML."""
    flat = " ".join(printable(text).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", flat)


def _scalar(value: Any) -> str:
    return json.dumps(printable(str(value)), ensure_ascii=False)
