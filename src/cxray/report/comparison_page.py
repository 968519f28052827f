"""The page of a comparison: which model is better, by how much, and from which it cannot be told apart.

Everything printed is a record of `comparison.json` or a cell of `tables/differences.csv`; nothing is computed here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from cxray.evaluate.comparison import Comparison
from cxray.evaluate.record import Record
from cxray.report import comparison_figures as drawn
from cxray.report import numbers
from cxray.report.embed import inline_svg
from cxray.report.exhibits import slug
from cxray.report.page import FIGURES, REPORT, table_list
from cxray.report.pages import write_page
from cxray.report.sentences import name
from cxray.rundir import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The judge's own bound for "distinguishable" (comparison.py), after Holm's adjustment.
_DISTINCT = 0.05
_NOTHING = Markup("")
# What each difference means, in the order of the page; a measure without an entry comes last.
MEANINGS = {
    "auroc": "Ranking ability: above zero, the first model ranks ill films higher more often.",
    "average_precision": "Purity of the top of the list: above zero, the first model's alarms are purer.",
    "sensitivity": "At each model's own threshold: above zero, the first finds more of the ill films.",
    "specificity": "At each model's own threshold: above zero, the first clears more of the healthy films.",
    "brier": "Squared error of the scores, smaller is better: above zero, the second model's scores are closer.",
    "net_benefit": "Net benefit at the stated threshold probability: above zero, the first model does more good.",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One pair of models on one measure: its record, the raw and adjusted P value, and its row in the table."""

    record: Record
    first: str
    second: str
    p: Markup
    p_holm: Markup
    is_distinct: bool


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of one question: every pair, and the forest plot."""

    key: str
    title: str
    meaning: str
    rows: tuple[Row, ...]
    forest: Markup


@dataclasses.dataclass(frozen=True)
class Contest:
    """One question, finished for the page."""

    number: int
    label: str
    verdict: Markup
    models: tuple[tuple[str, Record], ...]
    measures: tuple[Measure, ...]
    roc: Markup
    net_benefit: Markup
    joint: Markup
    non_inferiority: tuple[Markup, ...]
    seeds: Markup
    seed_records: tuple[Record, ...]


def write_comparison_report(comparison: Comparison, folder: Path, *, command: str = "") -> Path:
    """Write `folder/report.html` and `folder/figures/*.svg`; returns the page's path.

    `comparison.save(folder)` is the caller's: the page links to the files that it writes.

    Raises:
        OutputError: the folder cannot be written.
    """
    contests = [
        _contest(comparison, number, label, folder / FIGURES)
        for number, label in enumerate(comparison.facts["questions"])
    ]
    return write_page(
        folder / REPORT,
        "comparison.html.j2",
        comparison=comparison,
        facts=comparison.facts,
        contests=contests,
        recipes=_recipes(comparison),
        tables=table_list(comparison.tables),
        command=command,
    )


def _contest(comparison: Comparison, number: int, label: str, folder: Path) -> Contest:
    key = f"{number + 1:02d}-{slug(label)}-".replace("--", "-")
    records = [record for record in comparison.records if record.label == label]
    verdict = comparison.facts["questions"][label]
    models = [(r.slice.removeprefix("model="), r) for r in records if r.name == "auroc" and r.slice[:6] == "model="]
    curves, benefit = (_by_model(comparison, table, label) for table in ("roc", "decision_curve"))
    roc = _picture(drawn.paired_roc(curves), f"{key}roc", "ROC curves of all models", folder) if curves else _NOTHING
    useful = (
        _picture(drawn.paired_net_benefit(benefit), f"{key}net-benefit", "Net benefit of all models", folder)
        if benefit
        else _NOTHING
    )
    seeds = tuple(r for r in records if r.name in ("auroc_over_seeds", "chance_better"))
    return Contest(
        number=number,
        label=label,
        verdict=_of_recipes(label, comparison, seeds) or _verdict(label, verdict, dict(models)),
        models=tuple(sorted(models, key=lambda pair: -(pair[1].value if pair[1].value is not None else -1.0))),
        measures=tuple(_measures(comparison, label, records, key, folder)),
        roc=roc,
        net_benefit=useful,
        joint=_joint(label, verdict),
        non_inferiority=tuple(_non_inferiority(label, *one) for one in enumerate(verdict["non_inferiority"])),
        seeds=_seeds(comparison, dict(models), seeds, key, folder),
        seed_records=seeds,
    )


def _recipes(comparison: Comparison) -> list[str]:
    """The recipes, when every model is a seed of one; a single seed that is ahead says nothing then."""
    groups = comparison.facts.get("groups") or {}
    models = comparison.facts["models"]
    return list(dict.fromkeys(groups[model] for model in models)) if set(models) <= set(groups) else []


def _of_recipes(label: str, comparison: Comparison, found: tuple[Record, ...]) -> Markup:
    """What the spread over seeds says of the recipe that is ahead on average; empty when there are no recipes."""
    spreads = [r for r in found if r.name == "auroc_over_seeds" and r.value is not None and r.low is not None]
    if not (_recipes(comparison) and spreads):
        return _NOTHING
    ahead = max(spreads, key=lambda record: record.value or 0.0)
    best = ahead.slice.removeprefix("recipe=")
    said = Markup(
        "For {}, one new seed of <strong>{}</strong> is expected at an AUROC of {} ({} interval; {} on average)."
    )
    sentences = [
        said.format(name(label), name(best), numbers.interval(ahead), numbers.level(ahead), numbers.shown(ahead))
    ]
    for record in found:
        first, _, second = record.slice.partition(" over ")
        if record.name == "chance_better" and record.value is not None and best in (first, second):
            said = Markup("The chance that a new {} beats a new {} is {} ({} interval {}).")
            facts = (numbers.shown(record), numbers.level(record), numbers.interval(record))
            sentences.append(said.format(name(first), name(second), *facts))
    return Markup(" ").join(sentences)


def _verdict(label: str, verdict: dict[str, Any], models: dict[str, Record]) -> Markup:
    best = verdict["best"]
    if best is None:
        reason = next((record.withheld for record in models.values() if record.withheld), "No film can be compared.")
        return Markup("No model can be called better for {}. {}").format(name(label), reason)
    top = models[best]
    start = Markup("For {}, <strong>{}</strong> ranks best, with an AUROC of {} ({} interval {}).").format(
        name(label), name(best), numbers.shown(top), numbers.level(top), numbers.interval(top)
    )
    tied = verdict["tied_with_best"]
    if not tied:
        return start + Markup(" Every other model is distinguishable from it on these films.")
    names = Markup(", ").join(name(model) for model in tied)
    verb = "It is <strong>not distinguishable from</strong> {}: these films cannot say which is better."
    return start + Markup(" ") + Markup(verb).format(names)


def _measures(comparison: Comparison, label: str, records: list[Record], key: str, folder: Path) -> list[Measure]:
    table = comparison.tables.get("differences")
    if table is None:
        return []
    own = np.flatnonzero(np.asarray(table["label"]) == label)
    found: dict[str, list[Row]] = {}
    for row in own.tolist():
        measure, first, second = (str(table[column][row]) for column in ("measure", "first", "second"))
        wanted = (f"{measure}_difference", f"{first} minus {second}")
        record = next(record for record in records if (record.name, record.slice) == wanted)
        p, adjusted = float(table["p"][row]), float(table["p_holm"][row])
        found.setdefault(measure, []).append(
            Row(record, first, second, _p_value(p, row, "p"), _p_value(adjusted, row, "p_holm"), adjusted < _DISTINCT)
        )
    order = sorted(found, key=lambda measure: list(MEANINGS).index(measure) if measure in MEANINGS else len(MEANINGS))
    return [_measure(comparison, measure, found[measure], key, folder) for measure in order]


def _measure(comparison: Comparison, measure: str, rows: list[Row], key: str, folder: Path) -> Measure:
    def part(which: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        values = [getattr(row.record, which) for row in rows]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    title = numbers.title(measure)
    figure = drawn.forest(
        [f"{row.first} − {row.second}" for row in rows],
        part("value"),
        np.column_stack([part("low"), part("high")]),
        margin=comparison.facts.get("margin") if measure == "auroc" else None,
    )
    picture = _picture(figure, f"{key}{slug(measure)}", f"Differences in {title} with intervals", folder)
    return Measure(measure, title, MEANINGS.get(measure, ""), tuple(rows), picture)


def _by_model(comparison: Comparison, table: str, label: str) -> dict[str, dict[str, Any]]:
    """The curve of each model of one question, at most as many as can be told apart."""
    columns = comparison.tables.get(table)
    if columns is None:
        return {}
    found = {}
    for model in comparison.facts["models"][: len(drawn.LOOKS)]:
        rows = (np.asarray(columns["label"]) == label) & (np.asarray(columns["model"]) == model)
        if rows.any():
            found[str(model)] = {key: np.asarray(column)[rows] for key, column in columns.items()}
    return found


def _joint(label: str, verdict: dict[str, Any]) -> Markup:
    parts = []
    found = verdict.get("all_auroc_equal")
    if found:
        parts.append(
            Markup("That all models rank equally well: P value {}.").format(
                _fact_p(found["p"], f"questions/{label}/all_auroc_equal/p")
            )
        )
    found = verdict.get("all_right_equal")
    if found:
        parts.append(
            Markup("That all models are right equally often (Cochran's Q): P value {}.").format(
                _fact_p(found["p"], f"questions/{label}/all_right_equal/p")
            )
        )
    return Markup(" ").join(parts)


def _non_inferiority(label: str, place: int, one: dict[str, Any]) -> Markup:
    where = f"questions/{label}/non_inferiority/{place}"
    most = one["largest_plausible_loss"]
    loss = numbers.data(most, numbers.signed(most), fact=f"{where}/largest_plausible_loss")
    margin = numbers.data(one["margin"], f"{one['margin']:g}", fact="margin")
    answer = "is not inferior to" if one["is_not_inferior"] else "is not shown to be non-inferior to"
    return Markup("{} {} {}: its largest plausible loss of AUROC is {}, and the margin is {}. {}").format(
        name(one["candidate"]), answer, name(one["reference"]), loss, margin, one["condition"]
    )


def _seeds(
    comparison: Comparison, models: dict[str, Record], found: tuple[Record, ...], key: str, folder: Path
) -> Markup:
    groups = comparison.facts.get("groups") or {}
    recipes: dict[str, list[float]] = {}
    for model, recipe in groups.items():
        record = models.get(model)
        if record is not None and record.value is not None:
            recipes.setdefault(recipe, []).append(record.value)
    if not recipes:
        return _NOTHING
    spread: dict[str, tuple[float, float, float] | None] = {}
    for record in found:
        if record.name == "auroc_over_seeds" and record.value is not None and record.low is not None:
            spread[record.slice.removeprefix("recipe=")] = (record.value, record.low, record.high or record.value)
    figure = drawn.seeds({recipe: np.array(values) for recipe, values in recipes.items()}, spread)
    return _picture(figure, f"{key}seeds", "AUROC of every seed by recipe", folder)


def _picture(figure: Figure, key: str, title: str, folder: Path) -> Markup:
    from cxray.report.figures import figure_svg

    svg = figure_svg(figure)
    write_text(folder / f"{key}.svg", svg)
    return inline_svg(svg, name=key, title=title)


def _p_value(value: float, row: int, column: str) -> Markup:
    return numbers.data(value, p_text(value), table="differences", row=str(row), column=column)


def _fact_p(value: float, key: str) -> Markup:
    return numbers.data(value, p_text(value), fact=key)


def p_text(value: float) -> str:
    """A P value as it is printed: two significant digits, never 0."""
    if value < 0.001:
        return "<0.001"
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
