"""The rule about showing maps, and the file that holds it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from cxray.errors import BundleError
from cxray.explain.battery import COVERED, DELETION, FRAME, HEAD, INSERTION, LUNGS, REPEATABLE, WEIGHTS
from cxray.explain.card import (
    NAME,
    SHOWN,
    UNTESTED,
    WITHHELD,
    ClassCard,
    load_card,
    new_card,
    save_card,
    summary,
)
from cxray.explain.measures import Measure, Null

GOOD = {
    DELETION: (1.0, 0.5, 1.5),
    INSERTION: (1.0, 0.5, 1.5),
    HEAD: (0.2, 0.1, 0.3),
    WEIGHTS: (0.2, 0.1, 0.3),
    REPEATABLE: (0.9, 0.8, 1.0),
    FRAME: (0.02, -0.02, 0.06),
    COVERED: (0.6, 0.5, 0.7),
}


def part(**changes: tuple[float, float, float] | None) -> ClassCard:
    """The card of a good model with some measures changed, None to leave one unmeasured."""
    measures = []
    for test, numbers in GOOD.items():
        value = changes.get(test.name, numbers)
        measures.append(test.without(3, "only 3 films") if value is None else test.known(value[0], value[1:], 40))
    return ClassCard("PNEUMONIA", "class_activation", tuple(measures), 0.4)


def test_maps_that_pass_everything_are_shown() -> None:
    assert part().verdict().maps == SHOWN
    assert part().verdict().may_show
    assert part().findings() == []


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("deletion", (0.2, -0.01, 0.4)),
        ("insertion", (0.0, 0.0, 0.0)),
        ("head_randomisation", (0.6, 0.55, 0.7)),
        ("weight_randomisation", (0.45, 0.4, 0.51)),
        ("repeatability", (0.5, 0.49, 0.51)),
    ],
)
def test_one_failed_test_hides_the_maps_and_is_named(name: str, numbers: tuple[float, float, float]) -> None:
    found = part(**{name: numbers}).verdict()
    assert found.maps == WITHHELD
    assert not found.may_show
    title = next(test.title for test in GOOD if test.name == name)
    assert title in found.reason


def test_what_could_not_be_tested_is_not_shown() -> None:
    found = part(deletion=None).verdict()
    assert found.maps == UNTESTED
    assert found.reason == "The maps could not be tested: only 3 films."
    assert part(head_randomisation=None).verdict().maps == SHOWN  # occlusion has no head to shuffle


def test_a_model_that_reads_the_frame_keeps_its_maps_and_gets_a_caution() -> None:
    caught = part(frame_share=(0.4, 0.3, 0.5), lungs_covered_auroc=(0.97, 0.93, 0.99))
    assert caught.verdict().maps == SHOWN
    assert [one["code"] for one in caught.findings()] == ["frame_share", "lungs_covered_auroc"]
    assert "carries 40%" in caught.findings()[0]["sentence"]
    uncertain = part(frame_share=(0.4, 0.1, 0.7))
    assert uncertain.findings() == []


def test_evidence_that_avoids_the_lungs_is_reported() -> None:
    share = LUNGS.known(0.1, (0.08, 0.12), 40)
    low = dataclasses.replace(share, null=Null(0.27, 0.25, 0.29, 2000))
    found = dataclasses.replace(part(), measures=(*part().measures, low)).findings()
    assert [one["code"] for one in found] == ["lung_share"]
    usual = dataclasses.replace(share, null=Null(0.11, 0.09, 0.13, 2000))
    assert dataclasses.replace(part(), measures=(usual,)).findings() == []


def test_a_card_survives_the_round_trip_and_knows_its_model(tmp_path: Path) -> None:
    card = new_card("abc123", "films of x", [part()])
    save_card(card, tmp_path / NAME)
    assert load_card(tmp_path, "abc123") == card
    with pytest.raises(BundleError, match=r"measured on another graph \(abc123, not def456\)"):
        load_card(tmp_path, "def456")
    assert load_card(tmp_path / "elsewhere", "abc123") is None
    assert card.verdict("PNEUMONIA", "occlusion").maps == UNTESTED
    assert card.verdict("FRACTURE", "class_activation").reason == "The maps for FRACTURE were never tested."


def test_a_newer_measurement_replaces_its_own_part_only() -> None:
    first = new_card("m", "a", [part(), dataclasses.replace(part(), method="occlusion")])
    again = new_card("m", "b", [part(repeatability=(0.1, 0.0, 0.2))]).with_earlier(first)
    assert again.verdict("PNEUMONIA", "class_activation").maps == WITHHELD
    assert again.verdict("PNEUMONIA", "occlusion").maps == SHOWN
    assert new_card("other", "b", [part()]).with_earlier(first).of("PNEUMONIA", "occlusion") is None


@pytest.mark.parametrize("text", ["no json", "[]", '{"schema": 1}', '{"schema": 1, "model": "m", "classes": [{}]}'])
def test_a_damaged_card_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(BundleError, match="is damaged"):
        load_card(tmp_path, "m")


def test_a_card_of_a_newer_version_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"schema": 99}')
    with pytest.raises(BundleError, match="newer cxray"):
        load_card(tmp_path, "m")


def test_the_summary_is_json_and_says_everything_a_report_needs() -> None:
    card = new_card("m", "f", [part(deletion=None)]).to_dict()
    found = json.loads(json.dumps(summary(card)))
    assert (found["model"], found["films"], found["passed"]) == ("m", "f", False)
    assert found["reason"] == "The maps could not be tested: only 3 films."
    only = found["classes"][0]
    assert (only["maps"], only["class_name"], only["method"]) == (UNTESTED, "PNEUMONIA", "class_activation")
    tests = {one["name"]: one for one in only["tests"]}
    assert tests["deletion"]["sentence"].startswith("not measured: Covering the places")
    assert tests["repeatability"]["sentence"].startswith("passed: The map stays on the patient")
    assert (tests["repeatability"]["passed"], tests["repeatability"]["chance"]) == (True, None)
    assert Measure.from_dict(card["classes"][0]["measures"][0]).name == "deletion"


def test_the_headline_speaks_for_all_parts() -> None:
    caught = part(frame_share=(0.4, 0.3, 0.5))
    found = new_card("m", "f", [part(deletion=(0.0, -1.0, 1.0)), dataclasses.replace(caught, method="occlusion")])
    assert found.headline()["passed"] is True
    assert found.headline()["reason"] == "The maps passed all 5 tests of being true to this model."
    assert found.headline()["summary"].startswith("The frame of the film")
    failed = new_card("m", "f", [part(deletion=(0.0, -1.0, 1.0))]).headline()
    assert failed["passed"] is False
    assert failed["reason"].startswith("The maps failed a test: “Covering the places")
    assert failed["summary"].startswith("Neither the frame")
    assert new_card("m", "f", []).headline()["passed"] is False


def test_a_dictionary_that_is_no_card_has_no_summary() -> None:
    with pytest.raises(BundleError, match="attribution card is damaged"):
        summary({"classes": [{"class_name": "A"}]})
