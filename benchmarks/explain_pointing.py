"""The pointing game on synthetic films with known opacities: does the strongest evidence lie in the disease?

    python benchmarks/explain_pointing.py BUNDLE FILMS --method contrast --role fresh
    python benchmarks/explain_pointing.py BUNDLE FILMS --method occlusion --role fresh --part 0 40 --maps FOLDER

`BUNDLE` is recipe `default` trained on synthetic films (`train FOLDER` makes one); FILMS a folder of synthetic films
with masks of other patients and another seed (`draw FILMS --seed N` makes one). Counted are true positives: films with
an opacity that the model calls. A hit is a peak inside the mask; within 3 % of the side
of the mask is the tolerance with which the game was published (15 pixels on photographs of about 500, Zhang et al.,
IJCV 2018). Maps of a `--part` are kept in `--maps`, so that a long run can be divided; the row is written when all
parts are there. Contrast takes its reference from the films of FILMS that the model calls normal.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from cxray.data.intake import read_inputs
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.evaluate.intervals import wilson
from cxray.explain.attribution import CONTRAST, OCCLUSION, explain_films, reference_map
from cxray.explain.faithfulness import overlap, points_at
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.explain.sample import read_films, read_opacities
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "explain_pointing.csv"
SIZE_PX, TRAINED, DRAWN, TRAIN_SEED = 256, 500, 240, 700


def true_positives(model: OpenedModel, films: Path) -> tuple[Any, Any, Any]:
    """Films (N, height, width) with an opacity that the model calls, their masks, and films it calls normal."""
    records = read_inputs([films], model.classes).records
    prepared, kept = read_films(records, model.card)
    index = model.class_index(model.positive)
    called = model.probabilities(model.logits(prepared))[:, index] >= model.threshold(index)
    is_ill = np.array([record.label == model.positive for record in kept])
    chosen = np.flatnonzero(is_ill & called)
    masks = read_opacities([kept[row] for row in chosen], films.with_name(f"{films.name}-masks"), model.card)
    return prepared[chosen], masks, prepared[~is_ill & ~called]


def maps_of(model: OpenedModel, films: Any, normal: Any, method: str) -> Any:
    """Maps (N, h, w) of films."""
    index = model.class_index(model.positive)
    reference = reference_map(model, normal, index) if method == CONTRAST else None
    found = explain_films(model, films, index, method=method, reference=reference)
    return np.stack([one.values for one in found])


def gathered(model: OpenedModel, options: argparse.Namespace, films: Any, normal: Any) -> Any:
    """All maps, from parts where they are kept; None while parts are missing."""
    if options.maps is None:
        return maps_of(model, films, normal, options.method)
    options.maps.mkdir(parents=True, exist_ok=True)
    first, last = options.part
    part = options.maps / f"{options.films.name}-{options.method}-{first:04d}.npy"
    if not part.exists():
        np.save(part, maps_of(model, films[first:last], normal, options.method))
    parts = [np.load(path) for path in sorted(options.maps.glob(f"{options.films.name}-{options.method}-*.npy"))]
    return np.concatenate(parts) if sum(map(len, parts)) == len(films) else None


def score(maps: Any, masks: Any) -> dict[str, object]:
    """Hits with Wilson intervals, exact and with the published tolerance, and the mean overlap."""
    row: dict[str, object] = {"films": len(maps)}
    for name, tolerance in (("hit", False), ("hit_within_3_percent", True)):
        hits = sum(points_at(one, mask, tolerance=tolerance) for one, mask in zip(maps, masks, strict=True))
        low, high = wilson(hits, len(maps))
        row |= {f"{name}s": hits, name: round(hits / len(maps), 3)}
        row |= {f"{name}_low": round(low, 3), f"{name}_high": round(high, 3)}
    shared = [overlap(one, mask) for one, mask in zip(maps, masks, strict=True)]
    return {**row, "overlap": round(float(np.nanmean(shared)), 3)}


def main() -> None:
    """Draw films, train on them, or play the game and append a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help='a bundle, or "draw" or "train"')
    parser.add_argument("films", type=Path)
    parser.add_argument("--method", default="class_activation", choices=["class_activation", CONTRAST, OCCLUSION])
    parser.add_argument("--role", default="fresh", help='"tuned" for films on which something was chosen')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 10_000))
    parser.add_argument("--maps", type=Path)
    options = parser.parse_args()
    if str(options.bundle) == "draw":
        plan = PhantomPlan(size_px=SIZE_PX, films_per_patient=1)
        write_phantom_folder(options.films, plan, DRAWN, seed=options.seed, test_fraction=0, has_masks=True)
        return
    if str(options.bundle) == "train":
        from cxray.workflow.train import train

        films = options.films / "train"
        write_phantom_folder(films, PhantomPlan(size_px=SIZE_PX), TRAINED, seed=TRAIN_SEED, test_fraction=0)
        train(films, options.films / "run", recipe="default", seed=0)
        return
    model = open_bundle(options.bundle)
    films, masks, normal = true_positives(model, options.films)
    maps = gathered(model, options, films, normal)
    if maps is None:
        print("Parts are missing still.")
        return
    row = {"graph": model.identifier, "films_from": options.films.name, "role": options.role, "method": options.method}
    row |= score(maps, masks)
    print(row)
    append_row(RESULTS, {**row, **facts()})


if __name__ == "__main__":
    main()
