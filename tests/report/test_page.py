"""The page of an evaluation: true to its records, safe with any input, whole without network or script."""

import base64
import dataclasses
import functools
import hashlib
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cxray.errors import OutputError
from cxray.evaluate import Evaluation, evaluate
from cxray.evaluate.beside_readers import with_readers
from cxray.evaluate.floor import with_floor
from cxray.evaluate.reading import Marks
from cxray.report import datatable, numbers
from cxray.report.page import write_evaluation_report
from cxray.report.questions import CELLS, questions_of, rows_of
from tests.evaluate.test_floor import probes_of
from tests.report.predictions import DOLLARS, HOSTILE, LONG_PATH, RIGHT_TO_LEFT, findings, many_classes, two_classes
from tests.report.reading import Page

VALIDATION = two_classes(seed=1, split="validation")


def _unscored():
    table = two_classes()
    scores, error = table.scores.copy(), table.error.copy()
    scores[:2], error[:2] = np.nan, "<b>truncated</b>"
    return evaluate(dataclasses.replace(table, scores=scores, error=error), validation=VALIDATION)


def _sliced():
    table = two_classes()
    sex = np.array(["F", "M", '"><img src=x>'], dtype=object)[np.arange(len(table)) % 3]
    return evaluate(dataclasses.replace(table, metadata={"sex": sex}), validation=VALIDATION, slices=("sex",))


def _long_paths():
    table = two_classes(names=(HOSTILE, RIGHT_TO_LEFT))
    hard = np.array([LONG_PATH, DOLLARS, HOSTILE, RIGHT_TO_LEFT], dtype=object)
    path = np.array([f"{number}{hard[number % 4]}" for number in range(len(table))], dtype=object)
    return evaluate(dataclasses.replace(table, path=path, patient=path.copy()), source=LONG_PATH + HOSTILE)


STRESS = {"treatment": ["unchanged", "a third taller", "border blackened"], "films": [300, 300, 300],
          "auroc": [0.95, 0.94, 0.95], "sensitivity": [0.93, 0.96, 1.0], "specificity": [0.9, 0.85, 0.55]}  # fmt: skip


def _explained():
    """With an attribution card whose maps failed, a shortcut floor, a stress test, two readers and groups of names."""
    table = two_classes()
    judged = with_floor(evaluate(table, validation=VALIDATION), table, probes_of(table))
    marks = [(path, reader, table.label[row]) for row, path in enumerate(table.path[:90]) for reader in (HOSTILE, "B")]
    columns = {name: np.array(cells, dtype=object) for name, cells in zip(("path", "reader", "mark"), zip(*marks))}  # noqa: B905
    judged = with_readers(judged, table, Marks.of(columns), {"source": HOSTILE, "sha256": "ab" * 32})
    stress = {"label": ["PNEUMONIA"] * 3, **STRESS}
    tables = {**judged.tables, "stress": {name: np.array(cells) for name, cells in stress.items()}}
    groups = [{"column": HOSTILE, "why": "words in which the file names differ"}]
    judged = dataclasses.replace(judged, tables=tables, facts={**judged.facts, "groups": groups})
    test = {"title": HOSTILE, "value": 0.21, "low": 0.1, "high": 0.3, "chance": 0.4, "bar": None, "passed": False}
    found = [{"code": "lung_share", "sentence": "It looks outside the lungs."}]
    part = {"class_name": HOSTILE, "method": "occlusion", "reason": "They failed.", "findings": found, "tests": [test]}
    card = {"passed": False, "reason": "Maps are not shown. They failed: Deletion.", "classes": [part], "films": 40}
    return dataclasses.replace(judged, facts={**judged.facts, "attribution": card})


CASES = {
    "explained": _explained,
    "two classes": lambda: evaluate(
        two_classes(), validation=VALIDATION, prevalence=(0.05, 0.1), source="predictions/test.csv"
    ),
    "no patients, no validation": lambda: evaluate(two_classes(patients=False)),
    "two positives": lambda: evaluate(two_classes(films=120, share=2 / 120), threshold=0.5),
    "one class": lambda: evaluate(two_classes(films=60, share=1.0), threshold=0.5),
    "none ill": lambda: evaluate(two_classes(films=60, share=0.0), threshold=0.5),
    "three classes": lambda: evaluate(many_classes(["NORMAL", "BACTERIA", "VIRUS"])),
    "findings": lambda: evaluate(findings(["effusion", HOSTILE, RIGHT_TO_LEFT]), threshold=0.5),
    "hostile names": _long_paths,
    "films without a result": _unscored,
    "groups": _sliced,
    "training films": lambda: evaluate(two_classes(split="train"), threshold=0.5),
    "perfect": lambda: evaluate(_perfect(), threshold=0.5),
}


def _perfect():
    table = two_classes()
    second = np.where(table.label == "PNEUMONIA", 1.0, 0.0)
    return dataclasses.replace(table, scores=np.column_stack([1 - second, second]))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A case by name, judged and written once; only the plain one also as PNG, which takes as long as all the rest."""

    def write(name):
        with pytest.MonkeyPatch.context() as patched:
            if name != "two classes":
                patched.setattr("cxray.report.figures.save_figure", lambda figure, path: path.touch())
            return _written(CASES[name](), tmp_path_factory.mktemp("page"))

    return functools.cache(write)


@pytest.fixture(params=CASES)
def case(request, written) -> tuple[Evaluation, Page, Path]:
    return written(request.param)


@pytest.fixture
def plain(written) -> tuple[Evaluation, Page, Path]:
    return written("two classes")


def _written(evaluation, folder):
    evaluation.save(folder)
    path = write_evaluation_report(evaluation, folder, command="cxray evaluate 'a b.csv' --out judged")
    page = Page(path)
    page.close()
    return evaluation, page, folder


def test_every_number_equals_its_source(case):
    evaluation, page, _ = case
    sources = {"data-record": 0, "data-fact": 0, "data-cell": 0, "data-table": 0, "data-people": 0, "data-finding": 0}
    for element in page.all("data"):
        kind = next(key for key in sources if key in element.attributes)
        sources[kind] += 1
        value = float(element.attributes["value"])
        assert value == _source(evaluation, kind, element.attributes), element
        assert element.text == _printed(value, kind, element.attributes), element
    assert sources["data-record"] > 20
    assert sources["data-fact"] > 2


def _source(evaluation, kind, where):
    if kind == "data-record":
        wanted = (where["data-record"], where["data-label"], where["data-slice"])
        named = [r for r in evaluation.records if (r.name, _safe(r.label), _safe(r.slice)) == wanted]
        assert len(named) == 1, wanted
        return getattr(named[0], where["data-part"])
    if kind == "data-fact":
        return _fact(evaluation, where["data-fact"])
    if kind == "data-cell":
        return _cell(evaluation, where)
    if kind == "data-people":
        return _people(evaluation, where)
    if kind == "data-finding":
        return _pointed(evaluation.facts[where["data-finding"]], where["data-key"])
    label = next((name for name in _labels(evaluation) if _safe(name) == where.get("data-label")), None)
    tables = [rows_of(evaluation, where["data-table"], name) for name in ([label] if label else _labels(evaluation))]
    values = [float(t[where["data-column"]][int(where["data-row"])]) for t in tables if _has(t, where)]
    stated = float(where["value"])
    assert stated in values
    return stated


def _has(table, where):
    return table is not None and len(table[where["data-column"]]) > int(where["data-row"])


def _people(evaluation, where):
    """A thousand people, counted again from the records."""
    label = next(name for name in _labels(evaluation) if _safe(name) == where["data-label"])
    ill = round(1000 * float(where["data-people"]))
    found = round(ill * evaluation.record("sensitivity", label).value)
    cleared = round((1000 - ill) * evaluation.record("specificity", label).value)
    return {"ill": ill, "found": found, "missed": ill - found, "alarms": 1000 - ill - cleared}[where["data-kind"]]


def _pointed(value, pointer):
    for part in pointer.split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _fact(evaluation, key):
    if key.startswith("resolution/"):
        label, _, part = key.removeprefix("resolution/").rpartition("/")
        return next(known[part] for name, known in evaluation.facts["resolution"].items() if _safe(name) == label)
    if key == "rarer":
        tables = [rows_of(evaluation, "confusion", label) for label in _labels(evaluation)]
        counted = [table for table in tables if table is not None]
        return min(int(t["films"][t["truth"] == truth].sum()) for t in counted for truth in ("positive", "negative"))
    if key.startswith("threshold/"):
        return float(next(iter(evaluation.facts["thresholds"].values()))[key.partition("/")[2]])
    if key.startswith("thresholds/"):
        label = key.removeprefix("thresholds/").removesuffix("/value")
        return next(v["value"] for k, v in evaluation.facts["thresholds"].items() if _safe(k) == label)
    value = evaluation.facts
    for number, part in enumerate(key.split("/")):
        if number and part not in value:
            part = next(name for name in value if _safe(name) == key.partition("/")[2])
            return value[part]
        value = value[part]
    return value


def _cell(evaluation, where):
    label = next(name for name in _labels(evaluation) if _safe(name) == where["data-label"])
    table = rows_of(evaluation, "confusion", label)
    name = where["data-cell"]
    if name in CELLS:
        truth, decision = CELLS[name]
        return int(table[where["data-column"]][(table["truth"] == truth) & (table["decision"] == decision)][0])
    return int(table[where["data-column"]][table["truth"] == name].sum())


def _printed(value, kind, where):
    if where.get("data-form") == "per-hundred":
        return numbers.whole_of_hundred(value)
    if kind == "data-record" and where["data-part"] in ("value", "low", "high"):
        return numbers.formatter(where["data-record"])(value)
    if kind == "data-table":
        forms = (numbers.percent, numbers.fraction, numbers.plain, numbers.signed, numbers.share, numbers.count)
        return _any_of({form(value) for form in forms})
    if kind == "data-fact" and where["data-fact"].startswith("thresholds/"):
        return numbers.plain(value)
    if kind == "data-fact" and where["data-fact"].startswith("resolution/"):
        return _any_of({numbers.fraction(value), numbers.percent(value), numbers.count(value)})
    if kind == "data-finding":
        return _any_of({form(value) for form in (numbers.count, numbers.percent, numbers.fraction, numbers.plain)})
    return numbers.count(value)


class _any_of:  # noqa: N801 - reads as a word in an assertion
    def __init__(self, texts):
        self.texts = texts

    def __eq__(self, other):
        return other in self.texts

    __hash__ = None


def _labels(evaluation):
    return list(dict.fromkeys(record.label for record in evaluation.records if record.label))


def _safe(text):
    return numbers.printable(text)


def test_the_page_is_well_formed_and_its_identifiers_are_unique(case):
    _, page, _ = case
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for name in ("for", "aria-labelledby"):
            if name in element.attributes:
                assert element.attributes[name] in ids
        if element.tag == "a" and element.attributes["href"].startswith("#"):
            assert element.attributes["href"][1:] in ids
        for wanted in re.findall(r"url\(#([^)]*)\)", " ".join(element.attributes.values())):
            assert wanted in ids


def test_nothing_comes_from_outside_and_only_our_script_may_run(case):
    _, page, folder = case
    scripts = page.all("script")
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].text.encode()).digest()).decode()
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy.attributes["content"]
    (style,) = page.all("style")
    own = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    assert f"style-src 'sha256-{own}'" in policy.attributes["content"]
    assert "unsafe" not in policy.attributes["content"]
    assert not [element for element in page.elements if "style" in element.attributes]
    assert policy.attributes["content"].startswith("default-src 'none'")
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")], element
        for name in ("src", "href", "xlink:href", "action", "data", "poster"):
            address = element.attributes.get(name, "")
            assert not re.match(r"(?i)\s*([a-z]+:|//)", address.replace("data:image/png;base64,", "")), element
        if element.tag == "a" and not element.attributes["href"].startswith("#"):
            assert (folder / element.attributes["href"]).is_file(), element
    assert not re.search(r"(?i)https?://|@import|url\(\s*['\"]?(?!#)", page.source)
    assert {"base", "iframe", "object", "embed", "form", "link"}.isdisjoint({e.tag for e in page.elements})


def test_screen_readers_are_told_what_is_seen(case):
    _, page, _ = case
    assert page.all("html", lang="en")
    assert len(page.all("h1")) == 1
    for element in page.elements:
        if element.attributes.get("role") in ("img", "group", "region"):
            assert element.attributes["aria-label"]
        if element.tag == "img":
            assert element.attributes["alt"]
        if element.tag == "input":
            assert page.all("label", for_=element.attributes["id"])
        if element.tag == "th":
            assert element.attributes.get("scope") in ("col", "row")
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch("h[1-6]", e.tag)]
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_both_levels_and_the_warning_are_there(case):
    _, page, _ = case
    assert "Research use only. Not a medical device; not for diagnosis." in page.text
    assert "Can you trust this test?" in page.text
    (expert,) = page.all("section", id="expert")
    assert len([e for e in page.all("h2") if re.match(r"\d+\. ", e.text)]) == 20
    assert "Every record" in expert.text
    pictures = page.all("figure")
    assert pictures
    for picture in pictures:
        assert ("How to read this." in picture.text) != ("Not shown." in picture.text)


def test_no_number_of_the_verdict_lacks_a_source(plain):
    _, page, _ = plain
    (verdict,) = page.all("p", class_="sentence")
    counted = [element.text for element in page.all("data") if "p" in element.parents]
    for number in re.findall(r"\d[\d,.]*", verdict.text):
        assert number.rstrip(".,") in counted


def test_the_verdict_counts_films_and_patients(plain):
    evaluation, page, _ = plain
    missed = evaluation.tables["confusion"]["films"].tolist()
    (verdict,) = page.all("p", class_="sentence")
    assert verdict.text == (
        f"On 300 films of 150 patients, the model missed {missed[1]} of 180 with PNEUMONIA and raised "
        f"{missed[2]} false alarms in 120 NORMAL films."
    )


def test_what_stands_beside_the_page(plain):
    _, _, folder = plain
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{name}.{ending}" for ending in ("svg", "png") for name in
        ("score-histogram", "roc", "calibration", "confusion-matrix", "precision-recall", "decision-curve", "transport",
         "risk-coverage")
    }  # fmt: skip


def test_every_record_is_printed(plain):
    evaluation, page, _ = plain
    printed = {(e.attributes["data-record"], e.attributes["data-label"]) for e in page.all("data", data_part="value")}
    assert printed == {(r.name, r.label) for r in evaluation.records if r.value is not None}


@pytest.mark.parametrize("name", ["one class", "none ill", "two positives"])
def test_a_withheld_exhibit_gives_its_reason(name, written):
    evaluation, page, _ = written(name)
    reasons = {record.withheld for record in evaluation.records if record.withheld}
    for reason in reasons:
        assert reason in page.text
    missing = [element for element in page.all("p") if element.attributes.get("class") == "missing"]
    if name != "two positives":
        assert len(missing) >= 4
    assert "Do not rely on this:" in page.text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("one class", "raised"),
        ("one class", "false alarms are unknown, because every film shows PNEUMONIA"),
        ("none ill", "what the model would miss is unknown, because no film shows PNEUMONIA"),
    ],
)
def test_a_verdict_on_one_class_says_what_it_cannot_say(name, sentence, written):
    _, page, _ = written(name)
    (verdict,) = page.all("p", class_="sentence")
    assert (sentence in verdict.text) == (sentence != "raised")


@pytest.mark.parametrize(
    ("name", "title", "state"),
    [
        ("two classes", "Films the model has not learnt from", "Yes."),
        ("training films", "Films the model has not learnt from", "No."),
        ("two classes", "Patients are known", "Yes."),
        ("no patients, no validation", "Patients are known", "With care."),
        ("two classes", "Threshold chosen on other films", "Yes."),
        ("no patients, no validation", "Threshold chosen on other films", "With care."),
        ("two positives", "Enough films of each kind", "No."),
        ("two classes", "Enough films of each kind", "Yes."),
        ("films without a result", "Every film has a result", "With care."),
        ("perfect", "Scores can be read as probabilities", "Not known."),
        ("two classes", "More than shortcuts", "Not known."),
        ("two classes", "It works elsewhere", "Not known."),
        ("two classes", "Films like those it was chosen on", "Yes."),
        ("no patients, no validation", "Films like those it was chosen on", "Not known."),
    ],
)
def test_the_lights_follow_the_facts(name, title, state, written):
    _, page, _ = written(name)
    (light,) = [e for e in page.all("li") if e.text.strip().startswith(title) and "id" in e.attributes]
    assert light.text.strip().removeprefix(title).startswith(state)


@pytest.mark.parametrize(
    ("audit", "title", "state"),
    [
        ({"errors": 0}, "Films the model has not learnt from", "Yes."),
        ({"errors": 2, "accepted": ["patient-leak"]}, "Films the model has not learnt from", "No."),
        ({"errors": 0, "warnings": ["shortcut-border"]}, "More than shortcuts", "With care."),
        ({"errors": 0, "shifts": [{"title": "NORMAL differs <b>"}]}, "Films like those it was chosen on", "With care."),
    ],
)
def test_an_audit_in_the_facts_answers_its_lights(audit, title, state, tmp_path, plain, monkeypatch):
    monkeypatch.setattr("cxray.report.judgement.MOST_DRAWN", 0)  # the lights need no pictures
    evaluation, _, _ = plain
    evaluation = dataclasses.replace(evaluation, facts={**evaluation.facts, "audit": audit})
    page = Page(write_evaluation_report(evaluation, tmp_path))
    (light,) = [e for e in page.all("li") if e.text.strip().startswith(title) and "id" in e.attributes]
    assert state in light.text


def test_the_explorer_agrees_with_the_judge_at_every_threshold(plain):
    evaluation, page, _ = plain
    table = two_classes()
    (box,) = [element for element in page.elements if "data-thresholds" in element.attributes]
    rows = json.loads(box.attributes["data-thresholds"])
    is_ill, scores = table.label == "PNEUMONIA", table.scores[:, 1]
    for threshold, missed, alarms in rows:
        assert missed == np.count_nonzero(is_ill & (scores < threshold))
        assert alarms == np.count_nonzero(~is_ill & (scores >= threshold))
    used = evaluation.facts["threshold"]["value"]
    assert float(box.attributes["data-start"]) == used
    (slider,) = [e for e in page.all("input") if e.attributes["id"].startswith("threshold")]
    assert rows[int(slider.attributes["value"])][0] == used


def test_a_thousand_people_are_a_thousand(plain):
    _, page, _ = plain
    pictures = [element for element in page.all("svg", class_="people") if element.attributes.get("role") == "img"]
    assert len(pictures) == 14
    for picture in pictures:
        counts = [int(number) for number in re.findall(r"\d+", picture.attributes["aria-label"].partition(":")[2])]
        assert sum(counts) == 1000
    cells = [
        int(e.attributes["width"]) * int(e.attributes["height"]) // 100
        for e in page.all("rect")
        if "person-" in e.attributes.get("fill", "") and e.attributes["width"] != "10"
    ]
    assert sum(cells) >= 14 * 900


def test_maps_that_failed_are_withheld_with_their_reason(written):
    _, page, _ = written("explained")
    assert page.text.count("Maps are not shown. They failed: Deletion.") == 2
    assert page.all("data", data_key="classes/0/tests/0/value")
    assert "It looks outside the lungs." in page.text


def test_the_largest_fall_of_the_stress_test_is_said(written):
    _, page, folder = written("explained")
    assert (
        "The threshold does not hold where films look different: on 300 validation films changed on purpose, "
        "specificity at the frozen threshold went from 90.0% to 55.0% (border blackened)."
    ) in page.text
    assert (folder / "figures" / "robustness.svg").is_file()


def test_readers_stand_beside_the_model(written):
    _, page, _ = written("explained")
    assert "2 readers marked 90 cases in every mode (reading); 90 of them are judged films." in page.text
    assert "Every reader beside the model" in page.text and "Fleiss’ kappa, all readers" in page.text


def test_sections_without_evidence_say_what_would_be_needed(plain):
    _, page, _ = plain
    for reason in ("give it with --bundle", "No readers' marks were given.", "No group was asked for, and neither"):
        assert reason in page.text


def test_of_two_groups_that_differ_the_worse_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("cxray.report.judgement.MOST_DRAWN", 0)
    table = two_classes()
    view = np.array(["AP", "PA"], dtype=object)[np.arange(len(table)) // 2 % 2]
    scores = table.scores.copy()
    scores[view == "PA"] = scores[view == "PA"][::-1]  # there the scores say the opposite
    judged = evaluate(
        dataclasses.replace(table, scores=scores, metadata={"view": view}), threshold=0.5, slices=("view",)
    )
    page = Page(write_evaluation_report(judged, tmp_path))
    assert re.search(r"It does not work alike for all: in view=PA, (AUROC|sensitivity|specificity) is 0\.", page.text)


def test_the_gain_over_the_floor_is_a_headline(written):
    evaluation, page, _ = written("explained")
    (headline,) = page.all("p", class_="headline")
    gain = evaluation.record("gain_over_floor")
    assert f"The model adds {numbers.signed(gain.value)} (95% interval" in headline.text


def test_every_claim_is_in_the_ledger_with_what_it_rests_on(case):
    evaluation, page, _ = case
    (ledger,) = page.all("table", class_="ledger")
    for title in ("Verdict", "Threshold", "Gain over the shortcut floor", "If labels were wrong"):
        assert title in ledger.text
    if "floor" not in evaluation.tables:
        assert "No: An audit measured shortcuts on the same films." in ledger.text
    else:
        assert "record gain_over_floor" in ledger.text


def test_claims_about_new_patients_fall_with_a_leak(written):
    _, page, _ = written("training films")
    (ledger,) = page.all("table", class_="ledger")
    assert "Not claimed. 300 judged films are training films." in ledger.text
    assert "times in 100" not in page.text


def test_the_numbers_behind_a_figure_are_on_the_page(plain):
    evaluation, page, _ = plain
    names = {e.attributes["data-behind"] for e in page.all("table") if "data-behind" in e.attributes}
    assert {"roc", "score_histogram", "calibration", "precision_recall", "decision_curve", "risk_coverage"} <= names
    table = datatable.data_table(questions_of(evaluation)[0], "roc")
    assert table.rows[0][0] == 0
    assert table.rows[-1][0] == table.whole - 1
    for row, cells in table.rows:
        for column, cell in zip(table.columns, cells, strict=True):
            assert cell == datatable.cell_text(column, evaluation.tables["roc"][column][row])


def test_hostile_names_are_text(written):
    _, page, folder = written("hostile names")
    assert HOSTILE in page.text
    assert RIGHT_TO_LEFT in page.text
    assert "<script>alert" not in page.source.replace("&lt;script", "")
    assert "\x07" not in page.source
    assert "\u202e" not in page.source
    for path in (folder / "figures").iterdir():
        assert re.fullmatch(r"[a-z0-9-]+\.(svg|png)", path.name)
        assert b"<script" not in path.read_bytes()


def test_three_classes_show_each_question_and_the_whole_table(written):
    _, page, folder = written("three classes")
    assert "Which class is taken for which" in page.text
    assert {"overview.svg", "confusion-classes.svg", "01-normal-roc.svg", "03-virus-roc.svg"} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    assert "AUROC, mean over classes" in page.text


def test_forty_classes_stay_readable(tmp_path, monkeypatch):
    monkeypatch.setattr("cxray.report.judgement.MOST_DRAWN", 1)
    monkeypatch.setattr("cxray.evaluate.summary.DRAWS", 100)
    monkeypatch.setattr("cxray.report.figures.save_figure", lambda figure, path: path.touch())
    names = [f"class {number}" for number in range(39)] + [HOSTILE]
    evaluation, page, folder = _written(evaluate(many_classes(names, films=400)), tmp_path)
    assert "Pictures are drawn for the first 1 questions" in page.text
    assert len(page.source) < 4_000_000
    assert len(list((folder / "figures").glob("*-roc.svg"))) == 1
    printed = {e.attributes["data-label"] for e in page.all("data", data_record="auroc", data_part="value")}
    assert printed == {_safe(r.label) for r in evaluation.records if r.name == "auroc" and r.value is not None}


def test_an_empty_evaluation_has_a_page(tmp_path):
    page = Page(write_evaluation_report(Evaluation((), {}, {}), tmp_path))
    page.close()
    assert "Research use only" in page.text


def test_a_folder_that_cannot_be_written_is_named(plain, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_evaluation_report(plain[0], tmp_path / "file")
