"""The attribution card: what a model's maps have shown they can do, and whether they may be shown.

`attribution.json` lies in the bundle and names the graph it was measured on; a card of another graph is refused. The
rule: maps are shown only when every deciding test was passed. A model without a card has maps nobody tested, and its
maps are not shown either unless somebody asks for them by name.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxray import __version__
from cxray.errors import BundleError
from cxray.explain.measures import Measure
from cxray.rundir import write_json

NAME = "attribution.json"
SCHEMA = 1
SHOWN, WITHHELD, UNTESTED = "shown", "withheld", "untested"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`maps` is "shown", "withheld" (a deciding test was failed) or "untested"; `reason` says why, for anybody."""

    maps: str
    reason: str

    @property
    def may_show(self) -> bool:
        """Whether maps are shown to people who did not ask for untested ones."""
        return self.maps == SHOWN


@dataclasses.dataclass(frozen=True)
class ClassCard:
    """The measures for one class and one `method` of maps, and their scale: log-odds of a cell that get full colour.

    `reference` is what contrast subtracts: rows of cells, the mean map of films without the class; else empty.
    """

    class_name: str
    method: str
    measures: tuple[Measure, ...]
    scale: float
    reference: tuple[tuple[float, ...], ...] = ()

    def verdict(self) -> Verdict:
        """What the measures say about showing maps."""
        deciding = [one for one in self.measures if one.decides]
        failed = [one for one in deciding if one.passed is False]
        if failed:
            return Verdict(WITHHELD, f"The maps failed {_tests(len(failed))}: {_listed(failed)}.")
        measured = [one for one in deciding if one.passed is not None]
        open_tests = [one for one in deciding if one.passed is None and not _is_optional(one)]
        if not measured or open_tests:
            reason = open_tests[0].withheld if open_tests else "nothing was measured"
            return Verdict(UNTESTED, f"The maps could not be tested: {reason}.")
        return Verdict(SHOWN, f"The maps passed all {len(measured)} tests of being true to this model.")

    def findings(self) -> list[dict[str, str]]:
        """What the measures say about the model itself: code and sentence of each bar that was missed."""
        found = [
            {"code": one.name, "sentence": _FINDINGS[one.name](one)}
            for one in self.measures
            if one.name in _FINDINGS and one.passed is False
        ]
        lungs = next((one for one in self.measures if one.name == "lung_share"), None)
        if lungs and lungs.high is not None and lungs.null and lungs.high < lungs.null.low:
            found.append({"code": "lung_share", "sentence": _lungs_sentence(lungs)})
        return found


@dataclasses.dataclass(frozen=True)
class Card:
    """The card of one model. `model` is the identifier of its graph, `films` describes what it was measured on."""

    model: str
    films: str
    made: str
    classes: tuple[ClassCard, ...]

    def of(self, class_name: str, method: str) -> ClassCard | None:
        """The part about one class and one method, if it was measured."""
        return next((one for one in self.classes if (one.class_name, one.method) == (class_name, method)), None)

    def verdict(self, class_name: str, method: str) -> Verdict:
        """Whether maps for a class may be shown."""
        part = self.of(class_name, method)
        return part.verdict() if part else Verdict(UNTESTED, f"The maps for {class_name} were never tested.")

    def with_earlier(self, earlier: Card | None) -> Card:
        """This card with the parts of an earlier one of the same model that it does not measure anew."""
        if earlier is None or earlier.model != self.model:
            return self
        kept = tuple(part for part in earlier.classes if self.of(part.class_name, part.method) is None)
        return dataclasses.replace(self, classes=(*self.classes, *kept))

    def headline(self) -> dict[str, Any]:
        """`passed`: whether any maps may be shown; `reason` for that; `summary`: what was found about the model."""
        parts = [(part, part.verdict()) for part in self.classes]
        shown = [verdict for _, verdict in parts if verdict.may_show]
        verdicts = shown or [verdict for _, verdict in parts] or [NO_CARD]
        found = list(dict.fromkeys(one["sentence"] for part, _ in parts for one in part.findings()))
        nothing = "Neither the frame of the film nor what surrounds the lungs was found to carry the answer."
        return {"passed": bool(shown), "reason": verdicts[0].reason, "summary": " ".join(found) or nothing}

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-able values: the measures, and the verdict and findings that follow from them."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            **self.headline(),
            "films": self.films,
            "made": self.made,
            "version": __version__,
            "classes": [
                {
                    "class_name": part.class_name,
                    "method": part.method,
                    "scale": part.scale,
                    **dataclasses.asdict(part.verdict()),
                    "findings": part.findings(),
                    **({"reference": [list(row) for row in part.reference]} if part.reference else {}),
                    "measures": [one.to_dict() for one in part.measures],
                }
                for part in self.classes
            ],
        }


NO_CARD = Verdict(UNTESTED, "The maps of this model were never tested.")


def new_card(model: str, films: str, classes: Sequence[ClassCard]) -> Card:
    """A card made now."""
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Card(model, films, made, tuple(classes))


def save_card(card: Card, path: Path) -> None:
    """Write a card as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(path, card.to_dict())


def load_card(folder: Path, model: str) -> Card | None:
    """The card in a bundle's folder, or None where there is none.

    Raises:
        BundleError: it is damaged, was made by a newer version, or belongs to another graph than `model`.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    again = "Make it again: cxray explain BUNDLE --card DATA"
    try:
        table = json.loads(path.read_text("utf-8"))
        if table["schema"] > SCHEMA:
            raise BundleError(f"{path} was made by a newer cxray (schema {table['schema']}).", "Upgrade cxray.")
        classes = tuple(
            ClassCard(
                part["class_name"],
                part["method"],
                tuple(Measure.from_dict(one) for one in part["measures"]),
                float(part["scale"]),
                tuple(tuple(float(cell) for cell in row) for row in part.get("reference", ())),
            )
            for part in table["classes"]
        )
        card = Card(table["model"], table["films"], table["made"], classes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged: {type(error).__name__} {error}.", again) from error
    if card.model != model:
        raise BundleError(f"{path} was measured on another graph ({card.model}, not {model}).", again)
    return card


def summary(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a report needs, from a card's dictionary (`Card.to_dict`, or the JSON of `attribution.json`).

    Keys: `passed` (whether any maps may be shown), `reason` (one sentence on that), `summary` (what was found about the
    model), `model` (identifier), `films` (what it was measured on), `made`, and `classes`: one entry a class and method
    with `class_name`; `method` ("class_activation" or "occlusion"); `maps` ("shown", "withheld", "untested"); `reason`
    (one sentence for newcomers); `findings` (list of `code` and `sentence`, about the model, empty when none);
    `tests` (list with `name`, `title`, `value`, `low`, `high`, `chance` (mean of the null, or None), `bar` (in words),
    `passed` (True, False or None), `decides`, `films`, `withheld`, and `sentence`: the result in words).

    Raises:
        BundleError: the dictionary is no card.
    """
    try:
        heads = {key: card[key] for key in ("passed", "reason", "summary", "model", "films", "made")}
        return {**heads, "classes": [_summary_of(part) for part in card["classes"]]}
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"The attribution card is damaged: {type(error).__name__} {error}.", "Make it again with cxray explain."
        ) from error


def _summary_of(part: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "title", "value", "low", "high", "bar", "passed", "decides", "films", "withheld")
    tests = [
        {
            **{key: one[key] for key in keys},
            "chance": one["null"]["mean"] if one["null"] else None,
            "sentence": sentence(Measure.from_dict(one)),
        }
        for one in part["measures"]
    ]
    return {**{key: part[key] for key in ("class_name", "method", "maps", "reason", "findings")}, "tests": tests}


def sentence(one: Measure) -> str:
    """A measure as one line: verdict, words, value with interval, what chance gives."""
    if one.value is None:
        return f"not measured: {one.title} ({one.withheld})"
    mark = {True: "passed", False: "FAILED" if one.decides else "noted", None: "measured"}[one.passed]
    chance = f"; by chance {one.null.mean:.2f} ({one.null.low:.2f} to {one.null.high:.2f})" if one.null else ""
    return f"{mark}: {one.title}: {one.value:.2f} ({one.low:.2f} to {one.high:.2f}){chance}"


def _tests(count: int) -> str:
    return "a test" if count == 1 else f"{count} tests"


def _listed(failed: Sequence[Measure]) -> str:
    return "; ".join(f"“{one.title}” ({one.value:.2f}, {one.bar})" for one in failed)


def _is_optional(one: Measure) -> bool:
    # Without a linear head the whole network is shuffled instead; without masks there is no pointing game.
    return one.name in ("head_randomisation", "pointing_game")


def _frame_sentence(one: Measure) -> str:
    return (
        f"The frame of the film (outermost 12 %: borders, markers, padding) carries {one.value:.0%} of what tells the "
        f"classes apart ({one.low:.0%} to {one.high:.0%}). A model of lungs should not need it."
    )


def _covered_sentence(one: Measure) -> str:
    return (
        f"With the lungs covered the model still tells the classes apart: AUROC {one.value:.2f} ({one.low:.2f} to "
        f"{one.high:.2f}). Part of its answer does not come from the lungs."
    )


def _lungs_sentence(one: Measure) -> str:
    assert one.null is not None
    return (
        f"Only {one.value:.0%} of the evidence lies in the lung fields ({one.low:.0%} to {one.high:.0%}); a map in a "
        f"random place would have {one.null.mean:.0%}."
    )


_FINDINGS = {"frame_share": _frame_sentence, "lungs_covered_auroc": _covered_sentence}
