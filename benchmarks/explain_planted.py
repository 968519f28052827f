"""Does the attribution card expose a model that reads a planted mark, and does it stay silent about one that cannot?

    python benchmarks/explain_planted.py --seeds 25

For each seed a set of synthetic patients is drawn with one shortcut at full strength ("border": bright shutters on
diseased films; "marker": a side marker only on diseased films) or with none, recipe `fast` is trained on it, and the
findings of the card are measured on 60 films of other synthetic patients, drawn alike. "Exposed" means that at least
one finding is raised: the frame of the film carries part of the difference between the classes, the classes are told
apart with the lungs covered, or the evidence avoids the lungs. Without a planted mark every finding is a false alarm.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from cxray.data.intake import read_inputs
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.explain.attribution import explain_films
from cxray.explain.battery import LUNGS, model_findings
from cxray.explain.card import ClassCard
from cxray.explain.faithfulness import null_map, share_inside
from cxray.explain.lungs import lung_field
from cxray.explain.opened import open_bundle
from cxray.explain.sample import Sample, draw_records, read_films
from cxray.workflow.train import train
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "explain_planted.csv"
SIZE_PX, PATIENTS, HELD_OUT, FILMS = 160, 100, 70, 30


def measure(seed: int, shortcut: str, folder: Path) -> dict[str, object]:
    """Train one model and measure what its card says about it."""
    plan = PhantomPlan(
        size_px=SIZE_PX, films_per_patient=1, shortcut=shortcut, shortcut_strength=1.0 if shortcut else 0.0
    )
    films = write_phantom_folder(folder / "films", plan, PATIENTS, seed=2 * seed, test_fraction=0)
    held = write_phantom_folder(folder / "held", plan, HELD_OUT, seed=2 * seed + 1, test_fraction=0)
    train(films, folder / "run", recipe="fast", seed=seed, overrides=["split.minimum_validation_films=5"])
    model = open_bundle(folder / "run" / "bundle")
    name = model.positive
    index = model.class_index(name)
    with_class, without = draw_records(read_inputs([held], model.classes).records, name, films=FILMS)
    prepared, kept = read_films(with_class, model.card)
    others, _ = read_films(without, model.card)
    maps = explain_films(model, prepared, index)
    rng = np.random.default_rng(seed)
    fields = [lung_field(film) for film in prepared]
    inside = np.array([share_inside(one.values, field) for one, field in zip(maps, fields, strict=True)])
    null = [
        [share_inside(null_map(one.values, rng), field) for _ in range(20)]
        for one, field in zip(maps, fields, strict=True)
    ]
    measures = [*model_findings(model, Sample(prepared, others, kept), index), LUNGS.mean(inside, np.array(null))]
    raised = [one["code"] for one in ClassCard(name, "class_activation", tuple(measures), 0.0).findings()]
    values = {one.name: round(one.value, 3) if one.value is not None else "" for one in measures}
    return {
        "seed": seed,
        "shortcut": shortcut or "none",
        "exposed": int(bool(raised)),
        "findings": " ".join(raised),
        **values,
    }


def main() -> None:
    """Measure every seed with every shortcut and print how many were exposed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shortcuts", nargs="*", default=["border", "none", "marker"])
    arguments = parser.parse_args()
    machine = facts()
    for shortcut in arguments.shortcuts:
        exposed = 0
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                row = measure(seed, "" if shortcut == "none" else shortcut, Path(folder))
            append_row(RESULTS, {**row, **machine})
            exposed += int(str(row["exposed"]))
            print(row, flush=True)
        print(f"{shortcut}: {exposed} of {arguments.seeds} exposed", flush=True)


if __name__ == "__main__":
    main()
