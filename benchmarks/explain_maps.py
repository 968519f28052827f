"""Cost of maps, agreement with Keras, and the attribution cards of trained models.

    python benchmarks/explain_maps.py cost BUNDLE FILMS
    python benchmarks/explain_maps.py keras BUNDLE FILMS
    python benchmarks/explain_maps.py card BUNDLE DATA --method occlusion [--name NAME]
    python benchmarks/explain_maps.py record BUNDLE [--name NAME]
    python benchmarks/explain_maps.py lungs

`cost` times a class activation map beyond the prediction and the occlusion of one film. `keras` compares class
activation with Grad-CAM computed by TensorFlow's gradients of the same network on 50 films, relative to the largest
value of each map, before and after the cut at 0: of a healthy film next to nothing may be left by the cut. `card`
measures a card and appends every measure; `record` appends those of a card that `cxray explain` left in the bundle.
`lungs` measures the lung-field estimate on 200 synthetic films with known lung fields.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from cxray.data.intake import read_inputs
from cxray.data.phantom import PhantomPlan, draw_film
from cxray.explain.attribution import class_activation, occlusion
from cxray.explain.card import Card
from cxray.explain.explanation import card_of
from cxray.explain.grid import upsample
from cxray.explain.lungs import dice, lung_field
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.explain.sample import read_films
from cxray.workflow.explain import CardRequest, write_card
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results"
FILMS = 50


def films_of(model: OpenedModel, data: Path, count: int = FILMS) -> Any:
    """Films spread over a data set, prepared."""
    records = read_inputs([data], model.classes).records
    return read_films(records[:: max(1, len(records) // count)][:count], model.card)[0]


def cost(model: OpenedModel, data: Path) -> dict[str, object]:
    """Milliseconds of a map beyond the prediction, seconds of the occlusion of one film; medians."""
    films = films_of(model, data)
    outputs = model.run(films)
    maps, covers = [], []
    for film in range(len(films)):
        row = {name: values[film : film + 1] for name, values in outputs.items()}
        started = time.perf_counter()
        upsample(class_activation(model, row, 1)[0].values, model.card.height, model.card.width)
        maps.append(time.perf_counter() - started)
    for film in films[:5]:
        started = time.perf_counter()
        occlusion(model, film, 1)
        covers.append(time.perf_counter() - started)
    return {
        "engine": model.engine.name,
        "films": len(films),
        "map_milliseconds": round(1000 * float(np.median(maps)), 3),
        "map_milliseconds_longest": round(1000 * max(maps), 3),
        "occlusion_seconds": round(float(np.median(covers)), 3),
    }


def keras_agreement(model: OpenedModel, data: Path) -> dict[str, object]:
    """Differences from Grad-CAM by gradients, relative to each map's largest value, over films."""
    import keras
    import tensorflow as tf

    assert model.bundle is not None
    films = films_of(model, data)
    network = keras.models.load_model(model.bundle.folder / "model.keras", compile=False)
    head = keras.Model(network.get_layer("feature_map").output, network.get_layer("logits").output)
    body = keras.Model(network.input, network.get_layer("feature_map").output)
    ours = class_activation(model, model.run(films), 1)
    whole, rectified = [], []
    for film, one in zip(films, ours, strict=True):
        feature_map = body(film[np.newaxis, ..., np.newaxis].astype(np.float32) / 255)
        with tf.GradientTape() as tape:
            tape.watch(feature_map)
            logits = head(feature_map)
            score = logits[:, 1] - logits[:, 0]
        weights = tf.reduce_mean(tape.gradient(score, feature_map), axis=(1, 2))
        theirs = tf.einsum("nhwf,nf->nhw", feature_map, weights).numpy()[0]
        whole.append(float(np.abs(one.values - theirs).max() / np.abs(theirs).max()))
        cut = np.maximum(theirs, 0)
        rectified.append(float(np.abs(np.maximum(one.values, 0) - cut).max() / max(float(cut.max()), 1e-12)))
    return {
        "engine": model.engine.name,
        "films": len(films),
        "largest_relative_difference": f"{max(whole):.1e}",
        "largest_after_cut": f"{max(rectified):.1e}",
        "median_after_cut": f"{np.median(rectified):.1e}",
    }


def lungs() -> dict[str, object]:
    """Dice of the estimate with the known lung fields, and the share of known opacities that it holds."""
    found, held = [], []
    for patient in range(200):
        film = draw_film(PhantomPlan(size_px=224), patient, film_index=0, seed=404, is_diseased=patient % 2 == 1)
        estimate = lung_field(film.as_bytes())
        found.append(dice(estimate, film.lung_field))
        if film.mask.any():
            held.append(float((estimate & film.mask).sum() / film.mask.sum()))
    low, middle = np.quantile(found, (0.05, 0.5))
    return {
        "films": len(found),
        "dice_mean": round(float(np.mean(found)), 3),
        "dice_median": round(float(middle), 3),
        "dice_5_percent": round(float(low), 3),
        "opacity_inside": round(float(np.mean(held)), 3),
    }


def card(model: OpenedModel, data: Path, method: str, name: str, films: int) -> None:
    """Measure a card and leave it in the bundle; one row a measure of this method."""
    started = time.perf_counter()
    assert model.bundle is not None
    found, _ = write_card(model, CardRequest(data, method=method, films=films), model.bundle.folder)
    record(found, method, name, round(time.perf_counter() - started))


def record(found: Card, method: str, name: str, seconds: int | None) -> None:
    """Append one row a measure of a card's parts of `method`, or of all parts."""
    machine = facts()
    for part in [part for part in found.classes if not method or part.method == method]:
        for one in part.measures:
            numbers = {
                key: None if value is None else round(value, 4)
                for key, value in (("value", one.value), ("low", one.low), ("high", one.high))
            }
            chance = round(one.null.mean, 4) if one.null else None
            row = {
                "model": name,
                "graph": found.model,
                "films_from": found.films,
                "method": part.method,
                "class": part.class_name,
                "measure": one.name,
                **numbers,
                "chance": chance,
                "bar": one.bar,
                "passed": one.passed,
                "films": one.films,
                "maps": part.verdict().maps,
                "seconds": seconds,
            }
            append_row(RESULTS / "explain_cards.csv", {**row, **machine})
            print(row, flush=True)


def main() -> None:
    """Run one of the measurements and append its rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["cost", "keras", "card", "record", "lungs"])
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--method", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--films", type=int, default=40)
    options = parser.parse_args()
    if options.what == "lungs":
        row: dict[str, object] = lungs()
    else:
        model = open_bundle(options.bundle, options.engine)
        name = options.name or model.name
        if options.what == "record":
            kept = card_of(model)
            return record(kept, options.method, name, None) if kept else print("The bundle has no card.")
        if options.what == "card":
            return card(model, options.data, options.method, name, options.films)
        measure = cost if options.what == "cost" else keras_agreement
        row = {"model": name, **measure(model, options.data)}
    print(row)
    append_row(RESULTS / f"explain_{options.what}.csv", {**row, **facts()})
    return None


if __name__ == "__main__":
    main()
