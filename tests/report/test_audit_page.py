"""The page of an audit: verdict first, every finding explained, its films side by side, nothing taken from anywhere."""

import ast
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray.data.audit import Audit, Finding, shortcuts
from cxray.errors import OutputError
from cxray.report.audit_page import write_audit_page
from cxray.report.audit_pictures import COVERED, MOST_IN_A_ROW, MOST_PAIRS, Sheet, films_wanted, strips
from cxray.report.audit_words import WORDS, words_of
from tests.data.audit.conftest import scan_of, two_classes
from tests.report.predictions import DOLLARS, HOSTILE, LONG_PATH, RIGHT_TO_LEFT
from tests.report.reading import Page

INTERVAL = {"value": 0.9114, "low": 0.9005, "high": 0.9201}
MOVED = {"value": 0.7371, "low": 0.6941, "high": 0.7796}
LEAK = Finding(
    "patient-leak", "error", "2 patients have films in more than one split.",
    {"patients": 2, "films": 4, "share_of_test_patients": 0.5},
    "Move all films of a patient to one side.",
    ("train/NORMAL/a-0.png", "test/NORMAL/a-1.png", "train/NORMAL/b-0.png", "test/NORMAL/b-1.png"),
)  # fmt: skip
BORDER = Finding(
    "shortcut-border", "warning", "PNEUMONIA can be told from the outer 1/32 frame alone.",
    {"worst": {"target": "PNEUMONIA", "cross_validated": INTERVAL, "test": MOVED}, "warning_from_lower_limit": 0.7},
    "Crop the outside of the lungs.",
)  # fmt: skip
FLOOR = Finding(
    "shortcut-floor", "info", "A model has to beat AUROC 0.737.",
    {
        "best": {"probe": "the outer 1/32 frame", "target": "PNEUMONIA", "cross_validated": INTERVAL, "test": MOVED},
        "probes": [
            {"probe": "the outer 1/32 frame", "target": "PNEUMONIA", "cross_validated": INTERVAL, "test": MOVED}
        ],
    },
    "Report both.",
)  # fmt: skip
IDENTITY = Finding(
    "patient-identity", "info", "2 patients by the IM- series number.",
    {
        "source": "kermany",
        "chosen": {"reading": "the reading in use", "verdict": "supported", "patients": 4082, "auroc_alike": INTERVAL},
        "others": [
            {"reading": "the number alone", "verdict": "rejected", "patients": 1773, "auroc_alike": MOVED},
            {"reading": "the folder", "verdict": "undecided", "patients": 9, "auroc_alike": None},
        ],
    },
    "Give a table with a 'patient' column.",
)  # fmt: skip


def _text(*cells):
    return np.array(cells, dtype=object)


def _films(*names):
    """A films table: split and class from the path, patient from the name up to the dash."""
    parts = [name.split("/") for name in names]
    return {
        "path": _text(*names),
        "label": _text(*(part[-2] for part in parts)),
        "split": _text(*(part[0] for part in parts)),
        "patient": _text(*(part[-1].partition("-")[0] for part in parts)),
    }


def _pairs(*rows):
    """A pairs table from (first, second, kind)."""
    return {
        "first": _text(*(row[0] for row in rows)),
        "second": _text(*(row[1] for row in rows)),
        "kind": _text(*(row[2] for row in rows)),
        "is_mirrored": np.array([int(row[2] == "copy") for row in rows]),
        "degrees": np.array([90.0 * (row[2] == "near") for row in rows]),
        "detail_correlation": np.array([0.9312 for _ in rows]),
    }


def _audit(*findings, tables=None, **facts):
    known = {"films": 400, "patients": 200, "classes": ["NORMAL", "PNEUMONIA"], "seed": 3, "seconds": 12.0}
    counts = {"test": {"NORMAL": 90, "PNEUMONIA": 10}, "train": {"NORMAL": 200, "PNEUMONIA": 100}}
    return Audit(findings, counts, {**known, **facts}, tables or {})


def _png(value=90):
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, dtype=np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def _page(folder, audit, *, sheets=(), without=(), data="films"):
    pictures = {name: _png() for name in films_wanted(audit, sheets) if name not in without}
    page = Page(write_audit_page(audit, folder, films=pictures, sheets=sheets, data=data))
    page.close()
    return page


@pytest.fixture
def leak():
    return _audit(LEAK, BORDER, FLOOR, IDENTITY, tables={"films": _films(*LEAK.files)})


def test_the_verdict_comes_first_and_says_what_to_do(leak, tmp_path):
    page = _page(tmp_path, leak)
    (sentence,) = [element for element in page.all("p") if element.attributes.get("class") == "sentence"]
    assert sentence.text == (
        "1 error and 1 warning in 400 films of 200 patients. "
        "Figures from this data would be wrong until the errors are mended."
    )
    text = page.text
    assert text.index(sentence.text) < text.index("What to do first") < text.index(LEAK.title)
    first = [element.text for element in page.all("li") if "ol" in element.parents]
    assert [LEAK.advice in first[0], BORDER.advice in first[1]] == [True, True]
    assert len(first) == 2


def test_findings_come_worst_first_each_with_sign_word_and_advice(leak, tmp_path):
    page = _page(tmp_path, leak)
    articles = page.all("article")
    assert [article.attributes["id"] for article in articles] == [finding.code for finding in leak.findings]
    for article, finding, word in zip(articles, leak.findings, ("Error", "Warning", "Note", "Note"), strict=True):
        assert word in article.text and finding.title in article.text
        assert f"What to do. {finding.advice}" in article.text
        assert words_of(finding.code).heading in article.text and words_of(finding.code).why in article.text
    signs = [element.attributes.get("class", "") for element in page.all("svg") if "article" in element.parents]
    assert [sign for sign in signs if sign.startswith("sign")] == ["sign problem", "sign caution"] + ["sign note"] * 2


def test_no_finding_is_said_plainly_and_what_was_looked_for_is_listed(tmp_path):
    page = _page(tmp_path, _audit())
    assert "No error and no warning in 400 films of 200 patients. Nothing was found" in page.text
    assert "What to do first" not in page.text and not page.all("article")
    absent = [element.text for element in page.all("li") if element.text in {w.heading for w in WORDS.values()}]
    assert len(absent) == len(WORDS)
    with_leak = _page(tmp_path, _audit(LEAK))
    assert WORDS["patient-leak"].heading not in [element.text for element in with_leak.all("li")]


def test_every_code_that_an_audit_can_give_is_explained():
    codes = set()
    for path in Path(shortcuts.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "_Rule", "Shortcut"):
                codes |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    assert len(codes) > 30
    assert codes == set(WORDS)
    assert words_of("brand-new").heading == "Brand new"


@pytest.mark.parametrize("code", sorted(COVERED))
def test_what_is_drawn_as_seen_is_what_the_probe_sees(code):
    scan = scan_of(two_classes(60))
    covered = np.zeros((32, 32), dtype=bool)
    for left, top, width, height in COVERED[code]:
        covered[top : top + height, left : left + width] = True
    (shortcut,) = [one for one in shortcuts.SHORTCUTS if one.code == code]
    before = shortcut.features(scan)
    scan.thumbnails[:, covered] = 0
    np.testing.assert_array_equal(shortcut.features(scan), before)
    scan.thumbnails[:, ~covered] = 0
    assert np.ptp(shortcut.features(scan)) == 0


def test_the_border_probe_is_shown_on_one_film_of_each_class(leak, tmp_path):
    sheets = [Sheet("train", label, 9, (f"train/{label}/{label}.png",)) for label in ("NORMAL", "PNEUMONIA")]
    page = _page(tmp_path, leak, sheets=sheets)
    shown = [element for element in page.all("image") if "article" in element.parents]
    assert len(shown) == 2
    hatched = [element for element in page.all("rect") if "article" in element.parents]
    assert len(hatched) == 2 * 2 * len(COVERED["shortcut-border"])
    assert "All that the simple program was given" in page.text


def test_every_number_leads_back_to_the_audit(leak, tmp_path):
    blank = Finding(
        "blank-film", "info", "1 film", {"by_class": {"train/NORMAL": {"films": 1, "share": 0.25}}}, "Look."
    )
    audit = _audit(*leak.findings, blank, tables=leak.tables)
    page = _page(tmp_path, audit)
    printed = [element.attributes for element in page.all("data") if "data-finding" in element.attributes]
    assert {attributes["data-finding"] for attributes in printed} == {finding.code for finding in audit.findings}
    assert "by_class/train~1NORMAL/share" in {attributes["data-key"] for attributes in printed}
    for attributes in printed:
        value = audit.of(attributes["data-finding"]).evidence
        for key in attributes["data-key"].split("/"):
            key = key.replace("~1", "/").replace("~0", "~")
            value = value[int(key)] if isinstance(value, list) else value[key]
        assert float(attributes["value"]) == value, attributes
    texts = {element.attributes["data-key"]: element.text for element in page.all("data", data_finding="patient-leak")}
    assert texts == {"patients": "2", "films": "4", "share_of_test_patients": "50.0%"}


def test_readings_of_a_patient_carry_their_verdict_in_sign_and_word(leak, tmp_path):
    text = _page(tmp_path, leak).text
    assert "✓ the reading in use: supported" in text
    assert "✗ the number alone: rejected" in text
    assert "? the folder" not in text  # without films to compare there is nothing to draw; the table has it
    assert "undecided" in text


def test_a_leaking_patient_is_shown_on_both_sides(leak, tmp_path):
    found = strips(leak, LEAK)
    assert [strip.caption for strip in found] == ["patient a", "patient b"]
    assert [shown.caption for shown in found[0].films] == ["train, NORMAL", "test, NORMAL"]
    pictures = [e.attributes["alt"] for e in _page(tmp_path, leak).all("img") if "article" in e.parents]
    assert pictures == list(LEAK.files)


def test_pairs_stand_side_by_side_under_the_finding_they_belong_to():
    names = ["train/NORMAL/a-0.png", "test/NORMAL/b-0.png", "train/NORMAL/c-0.png", "train/PNEUMONIA/a-9.png"]
    a, b, c, d = names
    codes = (
        "duplicate-across-splits", "duplicate-within-split", "duplicate-contradicting-labels",
        "duplicate-across-patients", "near-duplicate",
    )  # fmt: skip
    findings = [Finding(code, "warning", "title", {}, "advice", tuple(names)) for code in codes]
    tables = {
        "films": _films(*names),
        "pairs": _pairs((a, b, "file"), (a, c, "copy"), (a, d, "copy"), (c, d, "near"), (a, "gone.png", "file")),
    }
    audit = _audit(*findings, tables=tables)
    shown = {
        finding.code: [tuple(film.film for film in strip.films) for strip in strips(audit, finding)]
        for finding in findings
    }
    assert shown == {
        "duplicate-across-splits": [(a, b)],
        "duplicate-within-split": [(a, c), (a, d)],
        "duplicate-contradicting-labels": [(a, d)],
        "duplicate-across-patients": [(a, b), (a, c)],
        "near-duplicate": [(c, d)],
    }
    said = [strip.caption for strip in strips(audit, findings[3])]
    assert said[0] == "the same file, byte for byte"
    assert said[1] == "the same exposure, stored anew, mirrored; fine detail agrees to 0.931 (1 = fully)"


def test_a_rare_kind_of_pair_is_not_hidden_by_a_common_one():
    names = [f"train/NORMAL/{letter}-{film}.png" for letter in "abcdefghij" for film in range(2)]
    rows = [(names[i], names[i + 1], "copy" if i == 18 else "file") for i in range(0, 20, 2)]
    finding = Finding("duplicate-within-split", "info", "title", {}, "advice", tuple(names))
    found = strips(_audit(finding, tables={"films": _films(*names), "pairs": _pairs(*rows)}), finding)
    assert len(found) == MOST_PAIRS
    assert any("stored anew" in strip.caption for strip in found)


def test_suspected_labels_are_shown_with_what_the_probe_says(tmp_path):
    names = [f"train/NORMAL/{film}-0.png" for film in range(MOST_IN_A_ROW + 1)]
    suspects = {
        "path": _text(*names),
        "target": _text(*["PNEUMONIA"] * len(names)),
        "has_it_by_label": np.array([0] * (len(names) - 1) + [1]),
        "probability_of_label": np.full(len(names), 0.0213),
    }
    finding = Finding("label-suspect", "info", "9 films", {"films": len(names)}, "Look.", tuple(names))
    page = _page(tmp_path, _audit(finding, tables={"films": _films(*names), "suspects": suspects}))
    captions = [element.text for element in page.all("figcaption")]
    assert len(captions) == MOST_IN_A_ROW
    assert captions[0] == f"labelled not PNEUMONIA; the probe gives that 2.1%{names[0]}"
    assert "and 3 more in tables/suspects.csv" in page.text


def test_a_group_is_shown_by_its_training_films_and_where_it_breaks_by_its_test_films():
    names = [f"train/ILL/{film}.png" for film in range(20)] + ["test/ILL/a.png", "test/NORMAL/b.png"]
    groups = {
        "path": _text(*names),
        "split": _text(*["train"] * 20, "test", "test"),
        "label": _text(*["ILL"] * 21, "NORMAL"),
        "group": _text(*["machine A"] * 22),
        "has_class_missing": np.array([0] * 21 + [1]),
        "class_missing": _text(*["NORMAL"] * 22),
    }
    evidence = {"films": 20, "groups": [{"group": "machine A", "class": "NORMAL"}]}
    named = Finding("one-class-group", "warning", "title", evidence, "advice", tuple(names[:20]))
    broken = Finding("one-class-group-breaks", "warning", "title", evidence, "advice", tuple(names[21:]))
    audit = _audit(named, broken, tables={"films": _films(*names), "groups": groups})
    (row,), (contradicting,) = strips(audit, named), strips(audit, broken)
    assert row.caption == contradicting.caption == "machine A"
    assert [film.film for film in row.films] == names[:20:2][:MOST_IN_A_ROW]
    assert [film.film for film in contradicting.films] == ["test/NORMAL/b.png"]


def test_sheets_show_each_class_and_a_film_without_a_picture_says_so(leak, tmp_path):
    sheets = [
        Sheet("train", "NORMAL", 1341, ("train/NORMAL/x.png", "train/NORMAL/y.png")),
        Sheet("test", "PNEUMONIA", 390, ("test/PNEUMONIA/z.png",)),
    ]
    page = _page(tmp_path, leak, sheets=sheets, without={"train/NORMAL/y.png", "test/PNEUMONIA/z.png", LEAK.files[1]})
    assert "NORMAL in train 1,341 films" in page.text
    assert "PNEUMONIA in test" not in page.text
    assert page.text.count("No picture") == 1
    nothing = Page(write_audit_page(leak, tmp_path, films={}, sheets=sheets))
    assert "class by class" not in nothing.text and not nothing.all("img")


def test_links_lead_to_what_the_audit_writes(leak, tmp_path):
    leak.save(tmp_path / "out")
    page = _page(tmp_path / "out", leak)
    ids = {element.attributes.get("id") for element in page.elements}
    targets = [element.attributes["href"] for element in page.all("a")]
    assert "tables/films.csv" in targets and "audit.json" in targets
    for target in targets:
        assert target[1:] in ids if target.startswith("#") else (tmp_path / "out" / target).is_file(), target


def test_what_to_do_next_can_be_pasted(leak, tmp_path):
    folder = tmp_path / "my audit"
    commands = [element.text for element in _page(folder, leak, data="my films").all("pre")]
    assert commands[0] == f"cxray audit 'my films' --out '{folder}' --overwrite"
    clean = [element.text for element in _page(folder, _audit(BORDER), data="my films").all("pre")]
    assert clean[0] == "cxray train 'my films' --out run"
    assert f"--known '{folder}/tables/films.csv'" in clean[1]


def test_the_page_needs_nothing_from_anywhere(leak, tmp_path):
    page = _page(tmp_path, leak, sheets=[Sheet("train", "NORMAL", 1, ("train/NORMAL/x.png",))])
    assert not re.search(r"https?://", page.source)
    (policy,) = [e for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:;")
    assert len(page.all("script")) == 1
    for element in [*page.all("img"), *page.all("image")]:
        source = element.attributes.get("src") or element.attributes["href"]
        assert source.startswith("data:image/png;base64,")
    assert all(element.attributes["alt"] for element in page.all("img"))


@pytest.mark.parametrize("hostile", [HOSTILE, RIGHT_TO_LEFT, DOLLARS, LONG_PATH, "\x1b[31mred", "\udcff.png"])
def test_hostile_names_are_text_wherever_they_stand(hostile, tmp_path):
    path = f"train/{hostile}/{hostile}-0.png"
    films = {"path": _text(path), "label": _text(hostile), "split": _text("train"), "patient": _text(hostile)}
    finding = Finding(
        "blank-film", "warning", f"1 film of {hostile}",
        {"reasons": {hostile: hostile}, "by_class": {hostile: {"films": 1, "share": 0.5}}, "examples": [[path, path]]},
        f"Look at {hostile}", (path,),
    )  # fmt: skip
    audit = Audit(
        (finding,), {"train": {hostile: 1}}, {"films": 1, "patients": 1, "classes": [hostile]}, {"films": films}
    )
    page = _page(tmp_path, audit, sheets=[Sheet("train", hostile, 1, (path,))], data=hostile)
    assert len(page.all("script")) == 1
    assert "\x1b" not in page.source and "\x07" not in page.source and "\u202e" not in page.source
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]


EVIDENCE = {
    "an interval": ({"a": INTERVAL}, "0.911 (0.900 to 0.920)"),
    "a count": ({"runs": 1234}, "1,234"),
    "a share": ({"share": 0.00005}, "<0.1%"),
    "yes or no": ({"has_it_by_label": True}, "yes"),
    "unknown": ({"rows": [{"p": None, "q": 1}]}, "–"),
    "a short mapping": ({"pairs_by_kind": {"file": 3, "copy": 0}}, "file 3, copy 0"),
    "a long mapping": ({"share_of_spare_copies": {"abcde"[i]: 0.25 for i in range(5)}}, "25.0%"),
    "rows in rows": ({"classes": {"PNEUMONIA": {"virus": {"films": 7}}}}, "PNEUMONIA · virus"),
    "many numbers": ({"distance_in_spreads": [1.5] * 20}, "and 12 more"),
    "a true minus": ({"threshold": -0.3}, "−0.3"),
}


def test_only_numbers_are_set_as_numbers(tmp_path):
    evidence = {"examples": [["a.png", "b.png"]], "families": [{"names": "im", "held_out_numbers": [1, 111]}]}
    page = _page(tmp_path, _audit(Finding("a-new-check", "info", "title", evidence, "advice")))
    cells = {e.text: e.attributes.get("class", "") for e in page.all("td") if "article" in e.parents}
    assert cells == {"a.png, b.png": "", "im": "", "1, 111": "n"}


@pytest.mark.parametrize("shape", sorted(EVIDENCE))
def test_evidence_of_any_shape_is_printed(shape, tmp_path):
    evidence, said = EVIDENCE[shape]
    page = _page(tmp_path, _audit(Finding("a-new-check", "info", "title", evidence, "advice")))
    assert said in page.text
    assert "A new check" in page.text


def test_a_finding_read_back_from_json_gives_the_same_page(leak, tmp_path):
    stored = json.loads(json.dumps(leak.as_json()))["findings"]
    again = _audit(*(Finding(**{**row, "files": tuple(row["files"])}) for row in stored), tables=leak.tables)
    assert _page(tmp_path / "b", again).source.replace(str(tmp_path / "b"), "") == _page(
        tmp_path / "a", leak
    ).source.replace(str(tmp_path / "a"), "")


def test_a_folder_that_cannot_be_written_is_named(leak, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_audit_page(leak, tmp_path / "file", films={})
