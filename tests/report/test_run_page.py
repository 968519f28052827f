"""The page of a training run: every fact in its place, none of them needed."""

import json
import re

import numpy as np
import pytest

from cxray.errors import OutputError
from cxray.evaluate import evaluate
from cxray.model.history import Epoch
from cxray.report import figures
from cxray.report.run_page import write_run_report
from tests.report.predictions import HOSTILE, LONG_PATH, RIGHT_TO_LEFT, many_classes, two_classes
from tests.report.reading import Page

THRESHOLD = {
    "value": 0.4391, "policy": "target_sensitivity:0.95", "split": "validation", "table_sha256": "ab" * 32,
    "n_positive": 396, "n_negative": 228, "note": "One film decided.",
}  # fmt: skip
FACTS = {
    "recipe": "default",
    "command": "cxray train films --out runs/default",
    "data": "films",
    "seed": 7,
    "backbone": "mobilenet_075",
    "weights": "imagenet",
    "seconds": 785.3,
    "interrupted": False,
    "best_epoch": 3,
    "splits": {
        "train": {"films": 4434, "patients": 2300, "classes": {"NORMAL": 1140, "PNEUMONIA": 3294}},
        "validation": {"films": 782, "patients": 410, "classes": {"NORMAL": 201, "PNEUMONIA": 581}},
    },
    "unreadable": [["train/broken.jpeg", "truncated after 4,096 bytes"]],
    "passed_over": {"hidden files": 2},
    "identity": {"source": "names", "confidence": "high", "reason": "Kermany's grammar", "n_patients": 3138},
    "notes": ["The audit warns of a border; `cxray audit` shows it.", "The curves show overfitting."],
    "versions": {"keras": "3.11.3"},
    "machine": "Linux x86_64",
    "bundle": {"id": "0123456789ab", "thresholds": {"PNEUMONIA": THRESHOLD}, "calibration": {"temperature": 1.31456}},
}
SAID = {
    "recipe": "Recipe default",
    "command": "cxray train films --out runs/default",
    "seed": "seed 7",
    "backbone": "mobilenet_075",
    "weights": "ImageNet",
    "seconds": "13 min 5 s",
    "best_epoch": "Epoch 3 of 4 was best",
    "splits": "4,434 films",
    "unreadable": "truncated after 4,096 bytes",
    "passed_over": "hidden files",
    "identity": "Kermany's grammar",
    "notes": "The curves show overfitting.",
    "versions": "keras 3.11.3",
    "machine": "Linux x86_64",
    "bundle": "0.439, chosen on validation films (396 with the finding, 228 without)",
}
NOTHING = {
    "splits": 5,
    "unreadable": "all",
    "passed_over": [],
    "identity": None,
    "notes": None,
    "bundle": {"thresholds": 1},
}


def _history(epochs=4):
    return [
        Epoch(e, "frozen" if e == 1 else "all", 1 / e, 1 - 0.4 / e, 1.1 / e, 1 - 0.5 / e, 0.9, 1e-3, 60.0, 90.0)
        for e in range(1, epochs + 1)
    ]


def _page(run, facts=FACTS, history=None, **judged):
    judged.setdefault("evaluation", None)
    path = write_run_report(run, facts, _history() if history is None else history, **judged)
    page = Page(path)
    page.close()
    return page


def _png():
    import io

    stream = io.BytesIO()
    figures.contact_sheet([np.zeros((8, 8), dtype=np.uint8)], ["NORMAL"]).savefig(stream, format="png", dpi=40)
    return stream.getvalue()


@pytest.fixture(scope="module")
def validation():
    return evaluate(two_classes(seed=1, split="validation"), threshold=0.4391)


def test_every_fact_is_told(tmp_path):
    page = _page(tmp_path)
    text = page.text
    for key, said in SAID.items():
        assert said in text, key
    assert "temperature 1.31" in text
    assert "One film decided." in text
    assert "`" not in text
    assert "cxray audit" in [element.text for element in page.all("code")]


@pytest.mark.parametrize("key", sorted(SAID))
def test_a_missing_fact_leaves_only_its_own_gap(key, tmp_path):
    text = _page(tmp_path, {name: value for name, value in FACTS.items() if name != key}).text
    assert SAID[key] not in text
    assert all(said in text for other, said in SAID.items() if other != key)


@pytest.mark.parametrize("facts", [{}, NOTHING, {"splits": {"train": {}}}, {"bundle": None, "best_epoch": None}])
def test_a_run_that_knows_nothing_still_has_a_page(facts, tmp_path):
    page = _page(tmp_path, facts, [])
    assert "No epoch was finished." in page.text
    assert "Research use only" in page.text
    assert not (tmp_path / "figures").exists()


def test_the_curves_lie_beside_the_page(tmp_path):
    _page(tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"training_curves.svg", "training_curves.png"}
    assert (tmp_path / "figures" / "training_curves.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_are_those_of_the_facts(tmp_path):
    page = _page(tmp_path)
    printed = {
        element.attributes["data-fact"]: element for element in page.all("data") if "data-fact" in element.attributes
    }
    assert float(printed["splits/train/classes/PNEUMONIA"].attributes["value"]) == 3294
    assert printed["splits/validation/patients"].text == "410"
    assert float(printed["bundle/thresholds/PNEUMONIA/value"].attributes["value"]) == THRESHOLD["value"]


def test_an_interrupted_run_says_so(tmp_path):
    assert "The training was interrupted." in _page(tmp_path, {**FACTS, "interrupted": True}).text
    assert "was interrupted" not in _page(tmp_path).text


def test_random_weights_are_named(tmp_path):
    assert "random: none were loaded" in _page(tmp_path, {**FACTS, "weights": "none"}).text


def test_the_validation_judgement_carries_its_warning(tmp_path, validation):
    page = _page(tmp_path, evaluation=validation, samples=_png())
    assert "these numbers flatter the model" in page.text
    assert "sealed test patients" not in page.text
    ids = {element.attributes.get("id") for element in page.elements}
    assert {"validation-roc", "validation-score-histogram", "validation-judged"} <= ids
    (picture,) = page.all("img")
    assert picture.attributes["src"].startswith("data:image/png;base64,")
    assert picture.attributes["alt"]


def test_the_test_judgement_is_shown_only_when_given(tmp_path, validation):
    page = _page(tmp_path, evaluation=validation, test_evaluation=evaluate(two_classes(), threshold=0.4391))
    assert "Judged on the sealed test patients" in page.text
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.all("a"):
        target = element.attributes["href"]
        assert not target.startswith("#") or target[1:] in ids
    for name in ("validation-roc.svg", "test-roc.svg"):
        assert (tmp_path / "figures" / name).is_file()


def test_tables_are_linked_where_they_were_kept(tmp_path, validation):
    without = _page(tmp_path, evaluation=validation)
    assert not [a for a in without.all("a") if "tables/" in a.attributes["href"]]
    validation.save(tmp_path / "evaluation" / "validation")
    links = [a.attributes["href"] for a in _page(tmp_path, evaluation=validation).all("a")]
    kept = [link for link in links if "tables/" in link]
    assert kept
    assert all((tmp_path / link).is_file() for link in kept)


def test_three_classes_have_their_table(tmp_path):
    judged = evaluate(many_classes(["NORMAL", HOSTILE, RIGHT_TO_LEFT]))
    page = _page(tmp_path, evaluation=judged)
    assert "Which class is taken for which" in page.text
    assert HOSTILE in page.text


def test_what_to_do_next_can_be_pasted(tmp_path, validation):
    run = tmp_path / "my run"
    films = tmp_path / "films" / "test"
    films.mkdir(parents=True)
    commands = [e.text for e in _page(run, {**FACTS, "data": str(films.parent)}).all("pre")]
    assert commands == [
        f"cxray predict '{run}/bundle' {films} --out test.csv",
        f"cxray evaluate test.csv --bundle '{run}/bundle' --out judged",
        f"cxray explain '{run}/bundle' --card '{run}/predictions/validation.csv'",
    ]
    again = [e.text for e in _page(run, evaluation=validation, test_evaluation=validation).all("pre")]
    assert again[0].endswith("FILMS --out new.csv")


def test_hostile_facts_are_text(tmp_path):
    hostile = json.loads(json.dumps(FACTS).replace("NORMAL", RIGHT_TO_LEFT).replace("default", "<b>bold</b>"))
    hostile["unreadable"] = [[LONG_PATH, HOSTILE], "no pair"]
    hostile["notes"] = [HOSTILE, "\x1b[31mred"]
    hostile["passed_over"] = {HOSTILE: 3}
    page = _page(tmp_path, hostile)
    assert page.text.count(HOSTILE) >= 3
    assert "<b>bold</b>" in page.text
    assert len(page.all("script")) == 1
    assert "\x1b" not in page.source
    assert not re.search(r"https?://", page.source)


def test_a_run_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_run_report(tmp_path / "file", FACTS, _history(), None)
