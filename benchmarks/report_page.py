"""How long does a report take, how large is its page, and how fast does a browser show and move it?

    python benchmarks/report_page.py TEST.csv --validation VALIDATION.csv [--audit DIR] [--bundle DIR] --out CSV
    python benchmarks/report_page.py --synthetic 100000 --out CSV

Two times are taken apart in one process: the evaluation, and everything that the report adds to it (model card and
checklists, pictures and maps of films, figures as SVG and PNG, the page). The page is then opened in headless chromium:
first contentful paint, and the time from a slider's input event to the next frame. Medians of `--repeats`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.machine import append_row, facts

from cxray.evaluate import evaluate
from cxray.records import Predictions
from cxray.report.page import write_evaluation_report
from cxray.workflow.card import write_card_beside
from cxray.workflow.grounds import PICTURE_SIDE, Grounds, bundle_facts, film_paths, grounded
from cxray.workflow.groups import grouped
from cxray.workflow.maps import film_maps
from cxray.workflow.thumbnails import thumbnails

_SLIDE = """() => new Promise(done => {
    const input = document.querySelector('#threshold-0');
    const start = performance.now();
    input.value = Math.round(Math.random() * Number(input.max));
    input.dispatchEvent(new Event('input'));
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""
_PAINT = """() => new Promise(done => new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (entry.name === 'first-contentful-paint') done(entry.startTime);
}).observe({type: 'paint', buffered: true}))"""


def synthetic(films: int, seed: int = 0, split: str = "test") -> Predictions:
    """A good model of two classes, two films a patient."""
    rng = np.random.default_rng(seed)
    is_ill = rng.random(films) < 0.3
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1.5, films) + np.where(is_ill, 2.4, -1.9))))
    empty = np.full(films, "", dtype=object)
    return Predictions(
        path=np.array([f"{split}/{row}.png" for row in range(films)], dtype=object),
        classes=("NORMAL", "PNEUMONIA"),
        scores=np.column_stack([1 - scores, scores]),
        label=np.where(is_ill, "PNEUMONIA", "NORMAL").astype(object),
        patient=np.array([f"{split}-{row // 2}" for row in range(films)], dtype=object),
        split=np.full(films, split, dtype=object),
        predicted=empty,
        decision=empty,
        gate=empty,
        error=empty,
    )


def measure(
    table: Predictions, validation: Predictions | None, audit: Path | None, bundle: Path | None, folder: Path
) -> dict[str, float]:
    """Seconds of both halves and the size of what was written; the page lies in `folder`."""
    start = time.perf_counter()
    groups = grouped(table)
    judged = evaluate(groups.table, validation=validation, slices=groups.columns)
    judged = grounded(judged, table, Grounds(audit=audit, bundle=bundle))
    judged.save(folder)
    middle = time.perf_counter()
    write_card_beside(judged, bundle_facts(bundle) if bundle else {}, folder, {})
    paths = film_paths(judged, Path())
    maps = film_maps(judged, bundle, paths, side=PICTURE_SIDE)
    write_evaluation_report(judged, folder, films=thumbnails(paths, side=PICTURE_SIDE), maps=maps)
    end = time.perf_counter()
    figures = sum(path.stat().st_size for path in (folder / "figures").iterdir())
    return {
        "evaluate_seconds": middle - start,
        "report_seconds": end - middle,
        "page_megabytes": (folder / "report.html").stat().st_size / 1e6,
        "figures_megabytes": figures / 1e6,
    }


def browse(page_path: Path, executable: str, repeats: int) -> dict[str, float]:
    """Medians in milliseconds: first contentful paint of a fresh page, and one move of the threshold."""
    from playwright.sync_api import sync_playwright

    paints, moves = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(repeats):
            page = browser.new_page()
            page.goto(page_path.as_uri())
            paints.append(page.evaluate(_PAINT))
            moves += [page.evaluate(_SLIDE) for _ in range(5)]
            page.close()
        browser.close()
    return {"first_paint_ms": statistics.median(paints), "threshold_move_ms": statistics.median(moves)}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--audit", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--synthetic", type=int, default=0, help="rows of a made-up table instead")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write one row."""
    given = parse(arguments)
    if given.synthetic:
        table, validation = synthetic(given.synthetic), synthetic(2000, seed=1, split="validation")
    else:
        table = Predictions.read(given.table)
        validation = Predictions.read(given.validation) if given.validation else None
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(given.repeats):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            runs.append(measure(table, validation, given.audit, given.bundle, folder))
        seen = browse(folder / "report.html", given.browser, given.repeats)
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    row: dict[str, object] = {"films": len(table), "audit": bool(given.audit), "repeats": given.repeats}
    row |= {name: round(value, 3) for name, value in {**medians, **seen}.items()}
    print(row)
    if given.out:
        append_row(given.out, {**facts(), **row})


if __name__ == "__main__":
    main()
