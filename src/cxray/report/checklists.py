"""Reporting checklists, filled as far as a bundle and an evaluation can: TRIPOD+AI, STARD-AI, CLAIM 2024, PROBAST+AI.

The items are our own short descriptions under the numbers of the source (`items/*.toml`); whoever submits a checklist
copies these answers into the official form. An item is `reported` when the evidence answers it, `partly` when authors
must add to it, and `not available` when nothing is known; nothing is ever guessed. A statement of the authors makes an
item reported, and is shown as theirs.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Callable
from importlib import resources

from markupsafe import Markup

from cxray.report import card_evaluation as judged
from cxray.report import card_model as made
from cxray.report.card_sources import Sources
from cxray.report.text import printable

REPORTED, PARTLY, NOT_AVAILABLE = "reported", "partly", "not available"
CHECKLISTS = ("tripod_ai", "stard_ai", "claim_2024", "probast_ai")

Finder = Callable[[Sources], Markup]

# Key of an item to the function that finds its evidence, and whether that evidence answers the item whole.
EVIDENCE: dict[str, tuple[Finder, bool]] = {
    "title": (made.title, False),
    "intended_use": (made.intended_use, False),
    "data_source": (made.data_source, False),
    "preprocessing": (made.preprocessing, True),
    "predictors": (made.predictors, True),
    "index_blinding": (made.index_blinding, True),
    "partitions": (made.partitions, True),
    "disjoint": (made.disjoint, True),
    "model": (made.model, True),
    "software": (made.software, False),
    "initialization": (made.initialization, True),
    "training": (made.training, True),
    "selection": (made.selection, True),
    "overfitting": (made.overfitting, True),
    "ensembling": (made.ensembling, True),
    "imbalance": (made.imbalance, True),
    "updating": (made.updating, True),
    "robustness": (made.robustness, False),
    "threshold": (made.threshold, True),
    "specification": (made.specification, True),
    "poor_input": (made.poor_input, True),
    "code_sharing": (made.code_sharing, False),
    "resampling": (made.resampling, True),
    "objectives": (judged.objectives, True),
    "protocol": (judged.protocol, True),
    "eligibility": (judged.eligibility, False),
    "outcome": (judged.outcome, False),
    "sample_size": (judged.sample_size, False),
    "missing": (judged.missing, True),
    "heterogeneity": (judged.heterogeneity, True),
    "fairness": (judged.fairness, False),
    "metrics": (judged.metrics, True),
    "uncertainty": (judged.uncertainty, True),
    "data_shift": (judged.data_shift, False),
    "flow": (judged.flow, False),
    "characteristics": (judged.characteristics, False),
    "counts": (judged.counts, True),
    "performance": (judged.performance, True),
    "reader_agreement": (judged.reader_agreement, False),
    "limitations": (judged.limitations, False),
    "explainability": (judged.explainability, True),
    "internal_testing": (judged.internal_testing, True),
    "external_testing": (judged.external_testing, True),
    "cross_tabulation": (judged.cross_tabulation, True),
    "failure_analysis": (judged.failure_analysis, False),
    "indeterminate": (judged.indeterminate, True),
    "evaluated_mix": (judged.evaluated_mix, True),
    "outputs_kept": (judged.outputs_kept, True),
}


@dataclasses.dataclass(frozen=True)
class Item:
    """One filled item: `number` as in the source, our `topic`, the `key` of its evidence, and what was found."""

    number: str
    topic: str
    key: str
    state: str
    evidence: Markup
    statement: str


@dataclasses.dataclass(frozen=True)
class Checklist:
    """A filled checklist; `key` names its files."""

    key: str
    name: str
    source: str
    doi: str
    scope: str
    items: tuple[Item, ...]

    def count(self, state: str) -> int:
        """How many items are in `state`."""
        return sum(item.state == state for item in self.items)


def fill_checklists(sources: Sources) -> tuple[Checklist, ...]:
    """Every checklist, filled from `sources`."""
    return tuple(_filled(key, sources) for key in CHECKLISTS)


@functools.cache
def statement_keys() -> frozenset[str]:
    """Every key that an item asks for, so that authors can state it."""
    return frozenset(key for name in CHECKLISTS for _, _, key in _read(name)[1])


def _filled(key: str, sources: Sources) -> Checklist:
    about, rows = _read(key)
    items = tuple(_item(number, topic, asked, sources) for number, topic, asked in rows)
    return Checklist(key, about["name"], about["source"], about["doi"], about["scope"], items)


def _item(number: str, topic: str, key: str, sources: Sources) -> Item:
    find, is_whole = EVIDENCE.get(key, (None, False))
    evidence = find(sources) if find is not None else Markup("")
    statement = printable(sources.statements.get(key, ""))
    state = REPORTED if statement or (evidence and is_whole) else PARTLY if evidence else NOT_AVAILABLE
    return Item(number, topic, key, state, evidence, statement)


@functools.cache
def _read(key: str) -> tuple[dict[str, str], tuple[tuple[str, str, str], ...]]:
    text = resources.files("cxray.report").joinpath("items", f"{key}.toml").read_text("utf-8")
    table = tomllib.loads(text)
    rows = tuple((str(number), str(topic), str(asked)) for number, topic, asked in table.pop("items"))
    return table, rows
