"""The page of a comparison: its numbers are the records', its words the verdict's, its names harmless."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from cxray.evaluate import Goal, compare
from cxray.report import numbers
from cxray.report.comparison_page import p_text, write_comparison_report
from tests.report.predictions import HOSTILE, RIGHT_TO_LEFT, findings, two_classes
from tests.report.reading import Page


def _worse(table, seed):
    noisy = np.clip(0.6 * table.scores[:, 1] + 0.4 * np.random.default_rng(seed).random(len(table)), 0, 1)
    return dataclasses.replace(table, scores=np.column_stack([1 - noisy, noisy]))


def _seeds():
    table = two_classes()
    tables = {f"{recipe}{seed}": _worse(table, seed + 9 * (recipe == "b")) for recipe in "ab" for seed in range(3)}
    goal = Goal(margin=0.05, harm=0.2, groups={name: name[0] for name in tables})
    return compare(tables, goal=goal)


CASES = {
    "two models": lambda: compare({"good": two_classes(), "worse": _worse(two_classes(), 1)}, goal=Goal(margin=0.02)),
    "equal models": lambda: compare({"one": two_classes(), "two": two_classes()}),
    "seeds of two recipes": _seeds,
    "one class": lambda: compare({"a": two_classes(share=1.0), "b": _worse(two_classes(share=1.0), 1)}),
    "hostile names": lambda: compare({name: two_classes(names=("A", HOSTILE)) for name in (HOSTILE, RIGHT_TO_LEFT)}),
    "findings": lambda: compare({name: findings(["effusion", HOSTILE]) for name in "xy"}),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    result = CASES[request.param]()
    folder = tmp_path_factory.mktemp("comparison")
    result.save(folder)
    page = Page(write_comparison_report(result, folder, command=f"cxray compare {HOSTILE}"))
    page.close()
    return result, page, folder


def test_every_number_printed_is_its_record(case):
    result, page, _ = case
    shown = page.all("data")
    assert shown
    for element in shown:
        where, value = element.attributes, float(element.attributes["value"])
        if "data-record" in where:
            (record,) = [
                one for one in result.records
                if (one.name, numbers.printable(one.label), numbers.printable(one.slice))
                == (where["data-record"], where["data-label"], where["data-slice"])
            ]  # fmt: skip
            assert value == getattr(record, where["data-part"])
            assert element.text == numbers.formatter(record.name)(value)
        elif "data-table" in where:
            assert value == result.tables[where["data-table"]][where["data-column"]][int(where["data-row"])]
            assert element.text == p_text(value)
        else:
            assert value == _fact(result.facts, where["data-fact"])


def _fact(facts, key):
    """The fact of a path whose parts may themselves be hostile names with slashes."""
    if not isinstance(facts, dict | list):
        return facts
    for name in facts if isinstance(facts, dict) else map(str, range(len(facts))):
        safe = numbers.printable(str(name))
        if key == safe or key.startswith(f"{safe}/"):
            below = facts[name] if isinstance(facts, dict) else facts[int(name)]
            return _fact(below, key[len(safe) + 1 :])
    raise AssertionError(f"no fact {key}")


def test_the_verdict_names_the_best_and_those_tied_with_it(case):
    result, page, _ = case
    for verdict in result.facts["questions"].values():
        if verdict["best"] is None:
            assert "No model can be called better" in page.text
        elif result.facts.get("groups"):  # one better seed would be no better recipe
            assert "ranks best" not in page.text and "seed by seed" in page.text
            ahead = max((r for r in result.records if r.name == "auroc_over_seeds"), key=lambda r: r.value)
            assert f"one new seed of {ahead.slice.removeprefix('recipe=')} is expected at an AUROC of" in page.text
            assert "The chance that a new a beats a new b is" in page.text
        elif verdict["tied_with_best"]:
            assert "not distinguishable from" in page.text


def test_names_are_text_and_nothing_is_fetched(case):
    _, page, folder = case
    assert len(page.all("script")) == 1
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        if element.tag == "a" and not element.attributes["href"].startswith("#"):
            assert (folder / element.attributes["href"]).is_file()
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert "http:" not in page.source.replace("http-equiv", "")


def test_p_values_are_never_printed_as_nothing():
    assert [p_text(value) for value in (0.0, 0.0009, 0.001, 0.0123, 0.2, 1.0)] == [
        "<0.001", "<0.001", "0.001", "0.012", "0.20", "1.00",
    ]  # fmt: skip


def test_in_a_browser_without_complaints_requests_or_barriers(tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    browser = os.environ.get("CXRAY_BROWSER") or shutil.which("chromium")
    if not browser:
        pytest.skip("needs chromium (apt-get install chromium, or CXRAY_BROWSER)")
    result = _seeds()
    result.save(tmp_path)
    path = write_comparison_report(result, tmp_path)
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = opened.new_page()
        complaints, requested = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(path.as_uri())
        found = axe.Axe().run(page).response["violations"]
        opened.close()
    assert not complaints
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
