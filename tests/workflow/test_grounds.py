"""What a judgement stands on: audit, bundle, another place, pictures; each with its hash, or a reason why not."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from cxray.errors import DataError, UsageError
from cxray.evaluate import evaluate
from cxray.report.gallery import films_wanted
from cxray.tables import write_table
from cxray.workflow.evaluate import evaluate_table
from cxray.workflow.grounds import Grounds, code_hash, film_paths, grounded
from cxray.workflow.thumbnails import thumbnails
from tests.evaluate.test_floor import probes_of
from tests.report.predictions import two_classes
from tests.report.reading import Page

TABLE = two_classes()


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRAY_STATE", str(tmp_path / "state"))


@pytest.fixture
def audit(tmp_path):
    """A folder as `cxray audit` leaves it."""
    folder = tmp_path / "audit"
    findings = [
        {"code": "shortcut-border", "severity": "warning", "title": "border", "evidence": {}},
        {"code": "class-shift", "severity": "warning", "title": "NORMAL differs", "evidence": {}},
        {"code": "shortcut-floor", "severity": "info", "title": "floor", "evidence": {}},
    ]
    (folder / "tables").mkdir(parents=True)
    (folder / "audit.json").write_text(json.dumps({"schema": 1, "findings": findings, "films": 300}))
    probes = probes_of(TABLE)
    columns = {"path": probes.path, "split": TABLE.split, "label": probes.label, "target": probes.target}
    scores = {f"score_{name}": values for name, values in probes.scores.items()}
    write_table(folder / "tables" / "probe_scores.csv", {**columns, **scores})
    return folder


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    described = {
        "files": {"model.onnx": "f12de20b4de5" + "0" * 52},
        "recipe_fingerprint": "ab" * 32,
        "data": {"fingerprint": "cd" * 32},
    }
    (folder / "bundle.json").write_text(json.dumps(described))
    return folder


def _made_by(model):
    column = np.full(len(TABLE), model, dtype=object)
    return type(TABLE)(**{**vars(TABLE), "metadata": {"model": column}})


def test_an_audit_gives_facts_the_floor_and_its_hash(audit):
    judged = grounded(evaluate(TABLE), TABLE, Grounds(audit=audit))
    assert judged.facts["audit"]["warnings"] == ["shortcut-border"]
    assert judged.facts["audit"]["shifts"] == [{"code": "class-shift", "title": "NORMAL differs"}]
    assert judged.record("gain_over_floor").value is not None
    assert len(judged.facts["hashes"]["audit"]) == 64
    assert len(judged.facts["floor"]["sha256"]) == 64


def test_an_audit_without_scores_says_what_to_do(audit, tmp_path):
    (audit / "tables" / "probe_scores.csv").unlink()
    judged = grounded(evaluate(TABLE), TABLE, Grounds(audit=audit))
    judged.save(tmp_path / "out")
    from cxray.report.page import write_evaluation_report

    page = Page(write_evaluation_report(judged, tmp_path / "out"))
    assert "The audit has no table of probe scores; run cxray audit again." in page.text


def test_an_audit_of_too_few_patients_for_probes_is_taken_without_its_floor(audit):
    (audit / "tables" / "probe_scores.csv").write_text("path,split,label,target\n")
    judged = grounded(evaluate(TABLE), TABLE, Grounds(audit=audit))
    assert judged.facts["floor"] == {"missing": "The audited films are of too few patients for any probe to be judged."}


def test_a_bundle_gives_the_hashes_of_recipe_and_data(bundle):
    judged = grounded(evaluate(TABLE), _made_by("f12de20b4de5"), Grounds(bundle=bundle))
    hashes = judged.facts["hashes"]
    assert hashes["recipe"] == "ab" * 32
    assert hashes["training data"] == "cd" * 32
    assert hashes["model"].startswith("f12de20b4de5")
    assert re.fullmatch("[0-9a-f]{64}", hashes["code"])
    assert hashes["code"] == code_hash()


def test_a_table_of_another_model_is_refused(bundle):
    table = _made_by("123456789abc")
    with pytest.raises(UsageError, match="made by the model 123456789abc, but the bundle"):
        grounded(evaluate(TABLE), table, Grounds(bundle=bundle))


def test_an_attribution_card_in_the_bundle_reaches_the_page(bundle, tmp_path):
    card = {"passed": False, "reason": "no better than random maps", "energy_in_lungs": {"value": 0.41}}
    (bundle / "attribution.json").write_text(json.dumps(card))
    table = _made_by("f12de20b4de5")
    table.write(tmp_path / "test.csv")
    evaluate_table(tmp_path / "test.csv", tmp_path / "out", grounds=Grounds(bundle=bundle))
    page = Page(tmp_path / "out" / "report.html")
    assert "Maps are not shown: no better than random maps" in page.text
    assert page.all("data", data_finding="attribution", value="0.41")


def test_a_card_of_another_model_is_refused(bundle):
    (bundle / "attribution.json").write_text(json.dumps({"model": "0123456789ab", "passed": True}))
    with pytest.raises(DataError, match="was measured on the model 0123456789ab"):
        grounded(evaluate(TABLE), _made_by("f12de20b4de5"), Grounds(bundle=bundle))


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), ("{", "is not JSON"), ("[]", "holds no JSON object")]
)
def test_a_folder_that_is_no_audit_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "audit.json").write_text(content)
    with pytest.raises(DataError, match=message):
        grounded(evaluate(TABLE), TABLE, Grounds(audit=tmp_path))


def test_another_place_is_declared_and_shown(tmp_path):
    TABLE.write(tmp_path / "test.csv")
    evaluate_table(tmp_path / "test.csv", tmp_path / "out", grounds=Grounds(external="St. <b>Elsewhere</b>"))
    page = Page(tmp_path / "out" / "report.html")
    assert "These films come from elsewhere, as declared: St. <b>Elsewhere</b>." in page.text


def test_films_that_can_be_opened_are_pictured(tmp_path):
    judged = evaluate(TABLE)
    wanted = films_wanted(judged)
    assert wanted[0] == judged.tables["errors"]["path"][0]
    for number, name in enumerate(wanted[:3]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if number == 2:
            (tmp_path / name).write_bytes(b"no film")
        else:
            Image.fromarray(np.full((300, 200), 90, dtype=np.uint8)).save(tmp_path / name)
    assert sorted(thumbnails(film_paths(judged, tmp_path))) == sorted(wanted[:2])


def test_names_that_no_file_system_takes_are_passed_over(tmp_path):
    path = np.array([f"{'x' * 5000}/{row}\x00" for row in range(len(TABLE))], dtype=object)
    judged = evaluate(type(TABLE)(**{**vars(TABLE), "path": path}))
    assert thumbnails(film_paths(judged, tmp_path)) == {}


@pytest.mark.parametrize("pictures", [True, False])
def test_pictures_are_on_the_page_unless_switched_off(pictures, tmp_path):
    TABLE.write(tmp_path / "table.csv")
    for name in films_wanted(evaluate(TABLE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64), 120, dtype=np.uint8)).save(tmp_path / name)
    evaluate_table(tmp_path / "table.csv", tmp_path / "out", pictures=pictures)
    page = Page(tmp_path / "out" / "report.html")
    assert bool(page.all("img")) == pictures
