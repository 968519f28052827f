"""Model card and checklists: one content in two forms, numbers from records, nothing claimed without evidence."""

import html
import json
import re

import pytest

from cxray.errors import UsageError
from cxray.evaluate import evaluate
from cxray.report import card_model, numbers
from cxray.report.card_sources import Sources, read_statements
from cxray.report.checklists import (
    CHECKLISTS,
    EVIDENCE,
    NOT_AVAILABLE,
    PARTLY,
    REPORTED,
    fill_checklists,
    statement_keys,
)
from cxray.report.model_card import write_model_card
from tests.report.predictions import HOSTILE, two_classes
from tests.report.reading import Page

yaml = pytest.importorskip("yaml", reason="needs PyYAML (extra dev)")

BUNDLE = {
    "name": HOSTILE,
    "made": "2026-11-23T10:00:00+00:00",
    "classes": ["NORMAL", HOSTILE],
    "input": {"height": 224, "width": 224, "fit": "pad"},
    "thresholds": {HOSTILE: {"value": 0.5511, "policy": "target_sensitivity:0.95", "split": "validation"}},
    "calibration": {"method": "temperature"},
    "versions": {"cxray": "0.1.0", "keras": "3.15.1"},
    "recipe": {"name": "default", "split": {"unit": "patient"}, "model": {"backbone": "mobilenet", "dropout": 0.2},
               "train": {"seed": 0, "batch_size": 32, "learning_rate": 3e-4, "optimizer": "adam",
                         "monitor": "validation_auroc", "class_weights": "balanced"}},
    "recipe_fingerprint": "ab" * 32,
    "data": {"fingerprint": "cd" * 32, "films": {"train": 4431, "validation": 785}, "patients": {"train": 3077},
             "identity": {"confidence": "high"}},
    "files": {"model.onnx": "ef" * 32},
    "intended_use": "Research use only.",
}  # fmt: skip
ITEMS = {"tripod_ai": 52, "stard_ai": 48, "claim_2024": 44, "probast_ai": 34}


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(two_classes(names=("NORMAL", HOSTILE)), threshold=0.5)


@pytest.fixture(scope="module")
def card(evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    stated = {"ethics": f"Approved. {HOSTILE} | `x`", "license": "apache-2.0", "data_name": "kermany"}
    lists = write_model_card(Sources(BUNDLE, evaluation, stated), folder)
    return folder, lists


def test_the_header_is_what_the_hub_reads(card, evaluation):
    text = (card[0] / "README.md").read_text("utf-8")
    _, header, body = text.split("---\n", 2)
    found = yaml.safe_load(header)
    assert found["license"] == "apache-2.0"
    assert found["pipeline_tag"] == "image-classification"
    assert HOSTILE in found["tags"]
    (model,) = found["model-index"]
    assert model["name"] == HOSTILE
    metrics = {one["type"]: one for one in model["results"][0]["metrics"]}
    record = evaluation.record("auroc")
    assert metrics["roc_auc"]["value"] == record.value
    assert metrics["roc_auc"]["args"]["low"] == record.low
    assert model["results"][0]["dataset"] == {"name": "kermany", "type": "kermany", "split": "test"}
    assert "<script" not in re.sub(r"\\<", "", body)


@pytest.mark.parametrize("page", ["card.html", "checklists.html"])
def test_every_number_of_the_pages_is_its_record_fact_or_bundle_key(card, evaluation, page):
    read = Page(card[0] / page)
    read.close()
    assert len(read.all("data")) > 10
    for element in read.all("data"):
        where, value = element.attributes, float(element.attributes["value"])
        if "data-record" in where:
            record = evaluation.record(where["data-record"])
            assert value == getattr(record, where["data-part"])
            if where["data-part"] in ("value", "low", "high") and "data-form" not in where:
                assert element.text == numbers.formatter(record.name)(value)
        elif "data-bundle" in where:
            assert value == _at(BUNDLE, where["data-bundle"])
        elif "data-fact" in where:
            assert value == _at(evaluation.facts, where["data-fact"])


def _at(value, key):
    while key:
        safe = {one: numbers.printable(one) for one in value}
        name = next(one for one in value if key == safe[one] or key.startswith(f"{safe[one]}/"))
        value, key = value[name], key[len(safe[name]) + 1 :]
    return value


def test_card_and_page_say_the_same(card):
    markdown = re.sub(r"\\([\\`*_\[\]<>|#])", r"\1", (card[0] / "README.md").read_text("utf-8"))
    page = Page(card[0] / "card.html")
    for element in page.all("dd"):
        said = " ".join(html.unescape(element.text).split())
        assert said in " ".join(markdown.split())


def test_every_item_of_every_checklist_is_there_and_none_is_invented(card):
    for one in card[1]:
        assert len(one.items) == ITEMS[one.key]
        assert len({item.number for item in one.items}) == len(one.items)
        text = (card[0] / "checklists" / f"{one.key}.md").read_text("utf-8")
        for item in one.items:
            assert f"| {item.number} | " in text
            assert (item.state == NOT_AVAILABLE) == (not item.evidence and not item.statement)
    assert [one.key for one in card[1]] == list(CHECKLISTS)
    assert set(EVIDENCE) <= statement_keys()


def test_what_only_authors_know_is_not_available_until_they_state_it(evaluation):
    def state(sources, key):
        return {item.state for one in fill_checklists(sources) for item in one.items if item.key == key}

    bare, stated = Sources(BUNDLE, evaluation), Sources(BUNDLE, evaluation, {"funding": "None."})
    assert state(bare, "funding") == {NOT_AVAILABLE}
    assert state(stated, "funding") == {REPORTED}
    assert state(bare, "data_source") == {PARTLY}
    assert state(bare, "performance") == {REPORTED}
    assert state(bare, "external_testing") == {NOT_AVAILABLE}


def test_an_empty_bundle_and_a_withheld_evaluation_still_make_a_card(tmp_path):
    judged = evaluate(two_classes(films=20, share=1.0), threshold=0.5)
    lists = write_model_card(Sources({}, judged), tmp_path)
    assert "Not available." in (tmp_path / "README.md").read_text("utf-8")
    assert "nan" not in (tmp_path / "README.md").read_text("utf-8").lower().replace("finance", "")
    (item,) = [item for item in lists[2].items if item.key == "model"]
    assert item.state == NOT_AVAILABLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ethic = 'yes'", "Did you mean 'ethics'"),
        ("ethics = 3", "must be a text"),
        ("ethics = ", "not valid TOML"),
        (None, "There are no statements"),
    ],
)
def test_statements_that_cannot_be_meant(tmp_path, text, message):
    path = tmp_path / "statements.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_statements(path, statement_keys())


def test_empty_statements_count_as_none(tmp_path):
    path = tmp_path / "statements.toml"
    path.write_text("ethics = ' '\nfunding = 'None.'")
    assert read_statements(path, statement_keys()) == {"funding": "None."}
    assert json.dumps(sorted(statement_keys()))


def test_averaged_networks_are_counted(evaluation):
    together = card_model.model(Sources({**BUNDLE, "members": 5}, evaluation))
    assert re.sub("<[^>]*>", "", together).startswith("The mean of 5 networks, each of backbone mobilenet, head")
    assert card_model.model(Sources({**BUNDLE, "members": 1}, evaluation)).startswith("Backbone mobilenet, head")


def test_views_of_a_film_are_counted(evaluation):
    def said(head, **model):
        bundle = {
            **BUNDLE,
            "head": head,
            "recipe": {**BUNDLE["recipe"], "model": {**BUNDLE["recipe"]["model"], **model}},
        }
        return card_model.ensembling(Sources(bundle, evaluation))

    assert said("pooled_linear", stretch_average=0.0, mirror_average=False) == "One network; no ensemble."
    assert "averaged over 6 views of each film" in said("pooled_linear", stretch_average=0.16, mirror_average=True)
    assert said("dense", stretch_average=0.16) == "One network; no ensemble."
    assert card_model.ensembling(Sources({**BUNDLE, "members": 3}, evaluation)) == "The mean of 3 networks."
