"""The page of a judgement in a real browser: what moves shows the judge's numbers, and everybody can use it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxray.evaluate import evaluate
from cxray.evaluate.floor import with_floor
from cxray.report.page import write_evaluation_report
from tests.evaluate.test_floor import probes_of
from tests.report.predictions import HOSTILE, RIGHT_TO_LEFT, findings, two_classes

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the extra dev-serve")
BROWSER = os.environ.get("CXRAY_BROWSER") or shutil.which("chromium") or ""
pytestmark = pytest.mark.skipif(not BROWSER, reason="needs chromium (apt-get install chromium, or CXRAY_BROWSER)")

TABLE = two_classes()
VALIDATION = two_classes(seed=1, split="validation")


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A judgement with everything on it: groups, shortcut floor, pictures of two films, an attribution card."""
    sex = np.array(["F", "M"], dtype=object)[np.arange(len(TABLE)) % 2]
    judged = evaluate(dataclasses.replace(TABLE, metadata={"sex": sex}), validation=VALIDATION, slices=("sex",))
    judged = with_floor(judged, TABLE, probes_of(TABLE))
    test = {"title": "Deletion", "value": 0.21, "low": 0.1, "high": 0.3, "chance": 0.4, "bar": "below chance"}
    test |= {"passed": True, "sentence": "Covering what the map marks lowers the score faster than chance."}
    part = {"class_name": "PNEUMONIA", "method": "occlusion", "reason": "Passed.", "findings": [], "tests": [test]}
    card = {"passed": True, "reason": "Passed.", "summary": "Maps point into the lungs.", "classes": [part]}
    judged = dataclasses.replace(judged, facts={**judged.facts, "attribution": card})
    folder = tmp_path_factory.mktemp("report")
    judged.save(folder)
    films = {str(path): _PNG for path in judged.tables["errors"]["path"][:2]}
    return write_evaluation_report(judged, folder, command="cxray evaluate test.csv", films=films, maps=films)


# One grey pixel.
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6368000000820081"
    "77cd72b60000000049454e44ae426082"
)


@pytest.fixture
def opened(browser, report):
    """The page, with every complaint and every request on record."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.complaints, page.requested = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(report.as_uri())
    yield page
    context.close()


def _shown(page) -> dict[str, int]:
    counts = page.locator(".explored [data-count]")
    return {
        counts.nth(place).get_attribute("data-count"): int(counts.nth(place).inner_text().replace(",", ""))
        for place in range(counts.count())
    }


def _judged_at(threshold: float) -> dict[str, int]:
    """What `evaluate` itself counts at that threshold."""
    films = evaluate(TABLE, threshold=threshold).tables["confusion"]["films"]
    return dict(zip(("found", "missed", "alarms", "cleared"), films.tolist(), strict=True))


def _rows(page) -> list[tuple[float, int, int]]:
    return page.evaluate("JSON.parse(document.querySelector('[data-thresholds]').dataset.thresholds)")


def test_the_page_is_quiet_and_asks_nobody(opened, report):
    assert opened.complaints == []
    assert [url for url in opened.requested if not url.startswith("data:")] == [report.as_uri()]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_the_threshold_slider_shows_what_evaluate_counts(opened, share):
    rows = _rows(opened)
    place = round(share * (len(rows) - 1))
    slider = opened.locator("#threshold-0")
    slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", place)
    assert _shown(opened) == _judged_at(rows[place][0])


def test_at_first_the_threshold_in_use_is_shown(opened):
    shown = _shown(opened)
    films = evaluate(TABLE, validation=VALIDATION).tables["confusion"]["films"]
    assert list(films) == [shown[name] for name in ("found", "missed", "alarms", "cleared")]


def test_the_line_is_dragged_with_the_pointer(opened):
    line = opened.locator('[data-part="threshold-line"]').first
    area = opened.locator('[data-part="plot-area"]').first
    area.scroll_into_view_if_needed()
    before = line.bounding_box()["x"]
    frame = area.bounding_box()
    middle = frame["y"] + frame["height"] / 2
    opened.mouse.move(before, middle)
    opened.mouse.down()
    opened.mouse.move(frame["x"] + 0.9 * frame["width"], middle, steps=4)
    opened.mouse.up()
    threshold = float(opened.locator("output[for='threshold-0']").inner_text())
    assert threshold == pytest.approx(0.9, abs=0.03)
    assert line.bounding_box()["x"] == pytest.approx(frame["x"] + threshold * frame["width"], abs=3)
    place = int(opened.locator("#threshold-0").input_value())
    assert _shown(opened) == _judged_at(_rows(opened)[place][0])


def test_the_prevalence_slider_shows_the_judges_rates_in_people(opened):
    judged = evaluate(TABLE, validation=VALIDATION)
    slider = opened.locator("#prevalence-0")
    slider.focus()
    for key, prevalence in (("Home", 0.01), ("End", 0.9)):
        slider.press(key)
        ill = round(1000 * prevalence)
        found = round(ill * judged.record("sensitivity").value)
        cleared = round((1000 - ill) * judged.record("specificity").value)
        legend = opened.locator("[data-step]:visible .legend li").all_inner_texts()
        counts = [int(re.match(r"[\d,]+", text.strip()).group().replace(",", "")) for text in legend]
        assert counts == [found, ill - found, 1000 - ill - cleared, cleared]
        assert slider.get_attribute("aria-valuetext") == f"{prevalence:.0%}"


def test_the_levels_are_switched_by_keyboard_and_links(opened):
    assert opened.locator("#newcomer").is_visible()
    assert not opened.locator("#expert").is_visible()
    opened.locator("#level-newcomer").focus()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#expert").is_visible()
    assert not opened.locator("#newcomer").is_visible()
    opened.evaluate("location.hash = '#trust'")
    opened.locator("#newcomer").wait_for(state="visible")
    assert opened.locator("#level-newcomer").is_checked()
    opened.evaluate("location.hash = '#section-16'")
    opened.locator("#section-16").wait_for(state="visible")


def test_levels_never_disagree(opened):
    """A record printed on both levels is printed alike."""
    printed = opened.evaluate(
        """() => [...document.querySelectorAll('data[data-record]')].map(e => [
            [e.dataset.record, e.dataset.label, e.dataset.slice, e.dataset.part, e.dataset.form || ''].join('|'),
            e.textContent])"""
    )
    texts: dict[str, set[str]] = {}
    for key, text in printed:
        texts.setdefault(key, set()).add(text)
    assert max(len(found) for found in texts.values()) == 1
    assert len(printed) > len(texts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("level", ["newcomer", "expert"])
def test_axe_finds_nothing_serious(browser, report, scheme, level):
    axe = pytest.importorskip("axe_playwright_python", reason="needs the extra dev-serve")
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.goto(f"{report.as_uri()}#{'expert' if level == 'expert' else 'trust'}")
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    # Colours are all that the dark scheme changes, and a whole run takes seconds.
    rules = "{runOnly: ['color-contrast']}" if scheme == "dark" else "{}"
    found = page.evaluate(f"axe.run({rules})")["violations"]
    context.close()
    serious = [
        (one["id"], one["help"], [node["html"][:160] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_the_page_never_moves_sideways(browser, report, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(report.as_uri())
    for level in ("newcomer", "expert"):
        page.evaluate(f"showLevel('{level}')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_without_a_script_both_levels_stand(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#newcomer").is_visible()
    assert page.locator("#expert").is_visible()
    assert not page.locator("#threshold-0").is_visible()
    assert not page.locator("[data-switch]").is_visible()
    context.close()


def test_paper_gets_both_levels_and_no_controls(opened, tmp_path):
    opened.emulate_media(media="print")
    assert opened.locator("#newcomer").is_visible()
    assert opened.locator("#expert").is_visible()
    assert not opened.locator("#threshold-0").is_visible()
    assert not opened.locator("[data-switch]").is_visible()
    pdf = opened.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 8


def test_hostile_names_run_nothing(browser, tmp_path):
    table = findings([HOSTILE, RIGHT_TO_LEFT, "x" * 300], films=200)
    path = np.array([f"{HOSTILE}/{RIGHT_TO_LEFT}/{'y' * 400}/{row}" for row in range(len(table))], dtype=object)
    judged = evaluate(dataclasses.replace(table, path=path), threshold=0.5)
    judged.save(tmp_path)
    written = write_evaluation_report(judged, tmp_path, command=HOSTILE)
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(written.as_uri())
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints == []
    context.close()
