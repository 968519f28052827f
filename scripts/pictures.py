"""The pictures of the pages, made anew: nothing in docs/images is drawn or cropped by hand.

    python scripts/pictures.py                                # audit.png, from synthetic films with planted faults
    python scripts/pictures.py --run RUN --judged JUDGED      # and run.png, report.png
    python scripts/pictures.py --run RUN --films FOLDER       # and serve-page.png, explain.png; films in class folders

Pictures of the tutorial come from scripts/tutorial.py. Needs the extra dev-serve and Chromium (CXRAY_BROWSER or PATH).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.data.phantom_faults import plant
from cxray.evaluate.summary import evaluate
from cxray.model.history import read_history
from cxray.records import Predictions
from cxray.report.run_page import write_run_report
from cxray.workflow.audit import audit

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
# The page of the service draws with WebGL; a headless browser has it in software.
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FAULTS = {
    "marker": 0.8,
    "copy-encoded": 0.02,
    "copy-mirrored": 0.02,
    "copy-cropped": 0.02,
    "patient-overlap": 0.05,
    "inverted": 0.01,
}
PATIENTS, SEED = 160, 3
SERVED_FILMS = 8
# Width and height in pixels: a reading width, and as much of the page as says what it is.
REPORT, RUN, AUDIT, SERVED = (1180, 1500), (1180, 1400), (1180, 1700), (1400, 860)


def shoot(browser: Any, page: Path, name: str, size: tuple[int, int]) -> None:
    """A picture of the top of a page that lies on disk."""
    opened = browser.new_page(viewport={"width": size[0], "height": size[1]})
    opened.goto(page.resolve().as_uri())
    opened.screenshot(path=IMAGES / name)
    opened.close()


def faulty_audit(scratch: Path) -> Path:
    """The page of an audit of synthetic films in which faults were planted."""
    films = write_phantom_folder(scratch / "films", PhantomPlan(size_px=160), PATIENTS, seed=SEED)
    for fault, dose in FAULTS.items():
        plant(films, fault, dose, seed=SEED)
    damaged = sorted((films / "train" / "NORMAL").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:400])
    with contextlib.chdir(scratch):  # the page shows where the films lie
        audit(Path("films"), Path("audited"), seed=SEED)
    return scratch / "audited" / "audit.html"


def run_page(run: Path, scratch: Path) -> Path:
    """The page of a run, drawn by today's code from what the run recorded, so that a new page needs no new training."""
    facts = json.loads((run / "run.json").read_text("utf-8"))
    validation = Predictions.read(run / "predictions" / "validation.csv")
    judged = evaluate(validation, source="predictions/validation.csv")
    samples = (run / "samples.png").read_bytes()
    return write_run_report(scratch, facts, read_history(run / "history.csv"), judged, None, samples)


def served_films(folder: Path) -> list[Path]:
    """A few films of every class, spread evenly."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    each = SERVED_FILMS // len(classes)
    found = [sorted(path.iterdir()) for path in classes]
    return [films[round(k * (len(films) - 1) / max(1, each - 1))] for films in found for k in range(each)]


def served_page(browser: Any, bundle: Path, films: Sequence[Path]) -> None:
    """The page of the service with films in its list and a heat map over the first."""
    command = [sys.executable, "-m", "cxray", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            ready = service.stdout.readline() if service.stdout else ""
            _draw_served(browser.new_page(viewport={"width": SERVED[0], "height": SERVED[1]}), ready.split()[-1], films)
        finally:
            service.terminate()


def _draw_served(page: Page, address: str, films: Sequence[Path]) -> None:
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files([str(film) for film in films])
    expect(page.locator("#summary")).not_to_contain_text("to go", timeout=60_000)
    page.wait_for_selector("#first canvas[data-drawn]")
    page.click("#heat")
    page.wait_for_selector("#first .colours:not([hidden])", timeout=60_000)
    page.wait_for_timeout(500)  # one more frame, with the map in it
    page.screenshot(path=IMAGES / "serve-page.png")


def explained(run: Path, film: Path, films: Path, scratch: Path) -> None:
    """The picture that `cxray explain` draws of one film, once the maps of its model have been tested."""
    bundle = shutil.copytree(run / "bundle", scratch / "bundle")
    explain = [sys.executable, "-m", "cxray", "explain", str(bundle)]
    tests = ["--card", str(run / "predictions" / "validation.csv"), "--method", "occlusion"]
    picture = [str(film), "--films-from", str(films), "--out", str(IMAGES / "explain.png")]
    for arguments in (tests, picture):
        subprocess.run([*explain, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Draw what can be drawn from what was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="A finished run.")
    parser.add_argument("--judged", type=Path, help="A judgement of its predictions, made by cxray evaluate.")
    parser.add_argument("--films", type=Path, help="A folder of class folders of films.")
    options = parser.parse_args()
    program = os.environ.get("CXRAY_BROWSER") or shutil.which("chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        shoot(browser, faulty_audit(Path(scratch)), "audit.png", AUDIT)
        if options.judged:
            shoot(browser, options.judged / "report.html", "report.png", REPORT)
        if options.run:
            shoot(browser, run_page(options.run, Path(scratch)), "run.png", RUN)
        if options.run and options.films:
            films = served_films(options.films)
            served_page(browser, options.run / "bundle", films)
            explained(options.run, films[-1], options.films, Path(scratch))
        browser.close()


if __name__ == "__main__":
    main()
