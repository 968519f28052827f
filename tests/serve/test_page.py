"""The page in a real browser: films in, every tool, exact pixels, the keyboard alone; nothing foreign, no error."""

from __future__ import annotations

import base64
import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from cxray.records import ImageRecord, Predictions
from cxray.runtime.predict import Predictor
from tests.serve.service_fixtures import film

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the extra dev-serve")
BROWSER = os.environ.get("CXRAY_BROWSER") or shutil.which("chromium") or ""
pytestmark = pytest.mark.skipif(not BROWSER, reason="needs chromium (apt-get install chromium, or CXRAY_BROWSER)")
playwright_api.expect.set_options(timeout=30_000)  # a busy machine is no fault of the page
SOFTWARE_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
VIEW = "document.querySelector('#first canvas.film').viewport"
# The canvas, read back in the same task in which it was drawn; the bottom row comes first.
READ_BACK = """(letter) => {
  const canvas = document.querySelector(letter === 'A' ? '#first canvas.film' : '#second canvas.film');
  const view = canvas.viewport; view.draw();
  const gl = view.renderer.gl, [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
  const raw = new Uint8Array(4 * w * h);
  gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, raw);
  let text = '';
  for (let k = 0; k < raw.length; k += 8192) text += String.fromCharCode(...raw.subarray(k, k + 8192));
  return { width: w, height: h, bytes: btoa(text), left: view.left, top: view.top, perPixel: view.perPixel,
           low: view.window.low, high: view.window.high, isInverted: view.isInverted, renderer: view.renderer.name };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=SOFTWARE_GL)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, client: httpx.Client) -> Iterator[Any]:
    """The page, ready; afterwards: nothing was asked of another origin and nothing was logged."""
    context = browser.new_context(viewport={"width": 1400, "height": 860}, accept_downloads=True)
    opened = context.new_page()
    foreign: list[str] = []
    said: list[str] = []
    origin = str(client.base_url)
    opened.on("request", lambda r: None if r.url.startswith((origin, "blob:", "data:")) else foreign.append(r.url))
    opened.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(origin)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    context.close()
    assert foreign == []
    assert said == []


def upload(page: Any, films: dict[str, bytes]) -> None:
    files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in films.items()]
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files(files)
    settled(page)


def settled(page: Any) -> None:
    """Wait until every film has its answer and the first is drawn."""
    playwright_api.expect(page.locator("#summary")).to_contain_text("film")
    playwright_api.expect(page.locator("#summary")).not_to_contain_text("to go", timeout=20_000)
    page.wait_for_selector("#first canvas[data-drawn]")
    playwright_api.expect(page.locator("#first .busy")).to_have_text("", timeout=20_000)


def png16(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def screen_of(seen: dict[str, Any]) -> np.ndarray:
    """What was read back: float64 (height, width, 4), top row first."""
    raw = np.frombuffer(base64.b64decode(seen["bytes"]), np.uint8)
    return raw.reshape(seen["height"], seen["width"], 4)[::-1].astype(np.float64)


def rendered(seen: dict[str, Any], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels on the screen, and numpy's, over the part of the screen that shows film (1:1 or enlarged nearest)."""
    screen = screen_of(seen)[..., 0]
    rows = np.floor(seen["top"] + (np.arange(seen["height"]) + 0.5) * seen["perPixel"]).astype(int)
    columns = np.floor(seen["left"] + (np.arange(seen["width"]) + 0.5) * seen["perPixel"]).astype(int)
    inside = np.ix_((rows >= 0) & (rows < values.shape[0]), (columns >= 0) & (columns < values.shape[1]))
    place = np.ix_(rows[(rows >= 0) & (rows < len(values))], columns[(columns >= 0) & (columns < values.shape[1])])
    grey = np.clip((values[place].astype(np.float64) - seen["low"]) / (seen["high"] - seen["low"]), 0, 1)
    return screen[inside], 255 * (1 - grey if seen["isInverted"] else grey)


def worst(page: Any, values: np.ndarray, letter: str = "A") -> float:
    seen = page.evaluate(READ_BACK, letter)
    assert seen["renderer"] == "webgl2"
    screen, expected = rendered(seen, values)
    assert screen.size > 10_000
    return float(np.abs(screen - expected).max())


def drag(page: Any, dx: int, dy: int, button: str = "left") -> None:
    box = page.locator("#first canvas.film").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + dx, y + dy, steps=5)
    page.mouse.up(button=button)


def test_pixels_are_those_of_numpy_at_every_window(page: Any) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (500, 400))
    upload(page, {"noise.png": png16(values)})
    page.click("#actual")
    assert worst(page, values) <= 1
    for dx, dy in ((-300, 40), (-90, -120), (60, 200)):
        before = page.evaluate(f"{VIEW}.window")
        drag(page, dx, dy)
        after = page.evaluate(f"{VIEW}.window")
        width = (after["high"] - after["low"]) - (before["high"] - before["low"])
        assert width * dx > 0, "right widens, left narrows"
        assert worst(page, values) <= 1
    page.click("#invert")
    assert page.evaluate(READ_BACK, "A")["isInverted"] and worst(page, values) <= 1
    page.select_option("#preset", label="This film, 1–99 %")
    assert worst(page, values) <= 1
    page.click("#reset")
    seen = page.evaluate(READ_BACK, "A")
    assert (seen["low"], seen["high"], seen["isInverted"]) == (0, 65535, False)


def test_shrunk_films_are_averaged(page: Any) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (1600, 1600))
    upload(page, {"noise.png": png16(values)})
    page.evaluate(f"() => {{ const v = {VIEW}; v.perPixel = 4; v.left = v.top = 0; v.draw(); }}")
    seen = page.evaluate(READ_BACK, "A")
    screen = screen_of(seen)[:400, :400, 0]
    means = values.reshape(400, 4, 400, 4).mean(axis=(1, 3)) / 65535 * 255
    assert np.abs(screen - means).max() <= 1


def test_zoom_keeps_the_place_under_the_pointer_and_pan_moves_it(page: Any) -> None:
    upload(page, {"a.png": film(300)})
    state = f"() => {{ const v = {VIEW}; return [v.left, v.top, v.perPixel]; }}"
    box = page.locator("#first canvas.film").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    left, top, scale = page.evaluate(state)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(100)
    left2, top2, scale2 = page.evaluate(state)
    assert scale2 < scale
    before, after = (left + 200 * scale, top + 100 * scale), (left2 + 200 * scale2, top2 + 100 * scale2)
    assert after == pytest.approx(before, abs=scale / 2), "within half a screen pixel"
    drag(page, 50, 20, button="right")
    left3, top3, _ = page.evaluate(state)
    assert (left3, top3) == pytest.approx((left2 - 50 * scale2, top2 - 20 * scale2), abs=0.01)
    page.click("#fit")
    assert page.evaluate(state) == pytest.approx([left, top, scale])


def test_the_value_under_the_pointer_is_the_files(page: Any) -> None:
    values = np.arange(64 * 64).reshape(64, 64) * 16
    upload(page, {"ramp.png": png16(values)})
    page.click("#actual")
    seen = page.evaluate(READ_BACK, "A")
    box = page.locator("#first canvas.film").bounding_box()
    column, row = 20, 30
    page.mouse.move(box["x"] + column - seen["left"] + 0.5, box["y"] + row - seen["top"] + 0.5)
    playwright_api.expect(page.locator("#first .values")).to_contain_text(
        f"Column {column} Row {row} Value {values[row, column]} of 65535"
    )


def test_worklist_order_flags_and_refusals(page: Any, bundle: Path, phantom_films: Path) -> None:
    paths = sorted((phantom_films / "test").rglob("*.png"))
    films = {path.name: path.read_bytes() for path in paths}
    table = Predictor.open(bundle, "onnxruntime").predict([ImageRecord(path) for path in paths])
    score = dict(zip(films, table.scores[:, 1], strict=True))
    upload(page, {**films, "notes.txt": b"not a film"})
    names = page.locator("#films tr .open").all_inner_texts()
    assert [score[name] for name in names] == sorted(score.values(), reverse=True)
    above = int((table.decision == "PNEUMONIA").sum())
    assert page.locator("#films .flag.above").count() == above
    playwright_api.expect(page.locator("#summary")).to_have_text(
        f"{len(films) + 1} films · {above} above the line · 1 refused"
    )
    playwright_api.expect(page.locator("#films tr").last).to_contain_text("This is not a PNG, JPEG or DICOM film.")
    page.click("th[data-sort=name] button")
    assert page.locator("#films tr .open").all_inner_texts() == sorted(films)
    with page.expect_download() as download:
        page.click("#export")
    path = Path(download.value.path())
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert len(rows) == len(films) + 1 and rows[-1]["error"].startswith("This is not")
    exported = Predictions.read(path.rename(path.with_suffix(".csv")))
    assert exported.classes == table.classes
    by_name = {row["path"]: row for row in rows}
    assert all(float(by_name[name]["score_PNEUMONIA"]) == pytest.approx(score[name], abs=1e-6) for name in films)
    assert [by_name[path.name]["decision"] for path in paths] == table.decision.tolist()


def test_the_heat_map_has_a_colour_bar_and_an_opacity(page: Any) -> None:
    upload(page, {"a.png": film(256)})
    grey = screen_of(page.evaluate(READ_BACK, "A"))
    page.click("#heat")
    page.wait_for_selector("#first .colours:not([hidden])")
    playwright_api.expect(page.locator("#first .colours")).to_contain_text("for PNEUMONIA +")

    def change() -> float:
        return float(np.abs(screen_of(page.evaluate(READ_BACK, "A")) - grey).mean())

    changes = []
    for percent in (0, 30, 100):
        page.locator("#opacity").fill(str(percent))
        changes.append(change())
    assert changes[0] == 0 and 0 < changes[1] < changes[2]
    page.click("#heat")
    assert change() == 0


def test_the_line_says_what_it_means_and_can_be_tried(page: Any, client: httpx.Client) -> None:
    upload(page, {f"{k}.png": film(seed=k) for k in range(4)})
    model = client.get("/api/models").json()[0]
    stored = model["thresholds"]["PNEUMONIA"]["value"]
    evidence = client.get(model["links"]["evidence"]).json()
    playwright_api.expect(page.locator("#meaning")).to_contain_text("Of 100 such films with PNEUMONIA")
    assert page.locator("#threshold-value").inner_text() == f"{stored:.3f}"
    page.locator("#threshold").fill("0")
    playwright_api.expect(page.locator("#meaning")).to_contain_text(
        "about 100 lie above the line; of 100 without, about 100 do"
    )
    playwright_api.expect(page.locator("#films .flag.above")).to_have_count(4)  # the list follows a frame later
    page.locator("#threshold").fill("1")
    share = round(100 * evidence["above_positive"][-1] / evidence["n_positive"])
    playwright_api.expect(page.locator("#meaning")).to_contain_text(f"about {share} lie above")
    page.locator("#prevalence").fill("10")
    assert page.locator("#hundred .people i").count() == 100
    tally = page.locator("#hundred .tally b").all_inner_texts()
    assert sum(map(int, tally)) == 100 and int(tally[0]) + int(tally[1]) == 10
    page.click("#threshold-back")
    assert page.locator("#threshold-value").inner_text() == f"{stored:.3f}"


def test_films_may_be_dropped(page: Any) -> None:
    content = list(film())
    page.evaluate(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
          transfer.items.add(new File([new Uint8Array(bytes)], "second.png", { type: "image/png" }));
          for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(
              new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    settled(page)
    assert sorted(page.locator("#films .open").all_inner_texts()) == ["dropped.png", "second.png"]
    assert page.locator("#veil").is_hidden()


def test_two_films_side_by_side_move_together(page: Any) -> None:
    values = [np.random.default_rng(k).integers(0, 65536, (300, 300)) for k in range(2)]
    upload(page, {f"{k}.png": png16(v) for k, v in enumerate(values)})
    page.click("#compare")
    page.wait_for_selector("#second canvas[data-drawn]")
    playwright_api.expect(page.locator("#second .busy")).to_have_text("")
    page.click("#actual")
    names = [page.locator(f"#{host} .name").inner_text() for host in ("first", "second")]
    assert sorted(names) == ["0.png", "1.png"]
    assert worst(page, values[int(names[0][0])], "A") <= 1
    seen = [page.evaluate(READ_BACK, letter) for letter in "AB"]
    assert seen[0]["perPixel"] == seen[1]["perPixel"] == 1
    drag(page, 30, 10, button="right")
    moved = [page.evaluate(READ_BACK, letter) for letter in "AB"]
    assert moved[1]["left"] - seen[1]["left"] == pytest.approx(moved[0]["left"] - seen[0]["left"])
    page.click("#compare")
    assert page.locator("#second").is_hidden()


def test_the_keyboard_alone_is_enough(page: Any) -> None:
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # early: the key may win the race
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    page.keyboard.press("Enter")
    for _ in range(100):
        if choosers:
            break
        page.wait_for_timeout(100)
    films = [{"name": f"{k}.png", "mimeType": "image/png", "buffer": film(seed=k)} for k in range(3)]
    choosers[0].set_files(films)
    settled(page)
    first = page.locator("#first .name").inner_text()
    page.keyboard.press("j")
    playwright_api.expect(page.locator("#first .name")).not_to_have_text(first)
    page.keyboard.press("k")
    playwright_api.expect(page.locator("#first .name")).to_have_text(first)
    state = (
        f"() => {{ const v = {VIEW}; return [v.isInverted, v.perPixel, v.isMapShown, v.window.high - v.window.low]; }}"
    )
    page.keyboard.press("i")
    assert page.evaluate(state)[0] is True
    page.keyboard.press("1")
    assert page.evaluate(state)[1] == 1
    page.keyboard.press("h")
    page.wait_for_selector("#first .colours:not([hidden])")
    opacity = int(page.locator("#opacity").input_value())
    page.keyboard.press("]")
    assert int(page.locator("#opacity").input_value()) == opacity + 10
    page.locator("#first canvas.film").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(state)[3] < 65535
    page.keyboard.press("r")
    assert page.evaluate(state)[0] is False and page.evaluate(state)[3] == 65535
    page.keyboard.press("?")
    assert page.locator("#help-dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help-dialog").is_hidden()
    page.locator("#films .open").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    playwright_api.expect(page.locator("#films tr").nth(1)).to_have_attribute("aria-selected", "true")


def test_samples_theme_and_a_fresh_start(page: Any) -> None:
    page.click("#samples")
    settled(page)
    assert page.locator("#films tr").count() > 1
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#clear")
    assert page.locator("#welcome").is_visible() and page.locator("#rows").is_hidden()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_without_webgl_a_canvas_shows_the_same_greys(page: Any) -> None:
    values = np.random.default_rng(5).integers(0, 65536, (300, 300))
    page.evaluate(
        """() => { const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind === 'webgl2' ? null : get.call(this, kind, ...rest); }; }"""
    )
    upload(page, {"noise.png": png16(values)})
    page.click("#actual")
    drag(page, -300, 60)
    page.click("#heat")
    page.wait_for_selector("#first .colours:not([hidden])")
    page.click("#heat")
    seen = page.evaluate(
        """() => { const canvas = document.querySelector('#first canvas.film'), view = canvas.viewport; view.draw();
        const [w, h] = [canvas.width, canvas.height], context = canvas.getContext('2d');
        const data = context.getImageData(0, 0, w, h).data;
        let text = '';
        for (let y = h - 1; y >= 0; y--) text += String.fromCharCode(...data.subarray(4 * w * y, 4 * w * (y + 1)));
        return { width: w, height: h, bytes: btoa(text), left: view.left, top: view.top,
                 perPixel: view.perPixel, low: view.window.low, high: view.window.high,
                 isInverted: view.isInverted, renderer: view.renderer.name }; }"""
    )
    assert seen["renderer"] == "canvas2d"
    screen, expected = rendered(seen, values)
    assert np.abs(screen - expected).max() <= 1


@pytest.mark.parametrize("width", [1400, 390])
def test_no_serious_obstacle_for_anybody(browser: Any, client: httpx.Client, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="needs the extra dev-serve")
    context = browser.new_context(viewport={"width": width, "height": 860}, bypass_csp=True)
    page = context.new_page()
    page.goto(str(client.base_url))
    page.wait_for_selector("body[data-ready]")
    page.add_script_tag(content=(Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))

    def obstacles() -> list[str]:
        said = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("() => axe.run()")["violations"]
            said += [f"{scheme} {v['id']}: {n['target']} {n['failureSummary']}" for v in found for n in v["nodes"]
                     if v["impact"] in ("serious", "critical")]  # fmt: skip
        return said

    assert obstacles() == []
    upload(page, {f"{k}.png": film(seed=k) for k in range(3)} | {"x.txt": b"x"})
    page.click("#heat")
    page.wait_for_selector("#first .colours:not([hidden])")
    assert obstacles() == []
    page.click("#help")
    assert obstacles() == []
    context.close()


def test_a_token_is_asked_for_once(browser: Any, bundle: Path) -> None:
    from tests.serve.service_fixtures import running

    token = "a-token-of-24-characters"
    with running(bundle, token=token) as client:
        page = browser.new_page()
        page.goto(str(client.base_url))
        page.fill("#token", "wrong-wrong-wrong-wrong")
        page.click("#token-form button")
        playwright_api.expect(page.locator("#token-wrong")).to_be_visible()
        page.fill("#token", token)
        page.click("#token-form button")
        page.wait_for_selector("body[data-ready]")
        upload(page, {"a.png": film()})
        assert page.locator("#token-dialog").is_hidden()
        page.close()
