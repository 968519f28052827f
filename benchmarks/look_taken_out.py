"""What taking the look out of the features changes, network by network, without training any of them again.

    python benchmarks/look_taken_out.py runs/best --external FILMS [--directions 5]

The last step of a training (features of the training films as they are and changed, the head solved for on both) is
done again for every member of a finished run of several networks, once as it was and once with `model.look_directions`.
Each is ranked on the run's validation films and on labelled films of another hospital; `difference` is the paired gain
there, with DeLong's 95 % interval over patients. The official test is not read. Other views than the film itself are
left out. Appended to `results/look_taken_out.csv`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import numpy.typing as npt

from cxray.bundle import KERAS, load_bundle
from cxray.config import Recipe, recipe_from_toml
from cxray.data.cache import prepare_all
from cxray.data.intake import read_dataset, read_inputs
from cxray.data.prepare import as_model_input
from cxray.evaluate.clusters import codes
from cxray.evaluate.ranking import auroc, paired_test
from cxray.model.build import Network, build_network
from cxray.model.ensemble import member_seed
from cxray.model.films import LabelledFilms, film_weights
from cxray.model.harmonise import CORRECTION
from cxray.model.interpolate import interpolate
from cxray.model.train import prepare_tensorflow
from cxray.records import ImageRecord
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "look_taken_out.csv"


def one_view(whole: keras.Model) -> keras.Model:
    """The joined network that every view of a film goes through."""
    return whole.get_layer("look") if any(layer.name == "look" for layer in whole.layers) else whole


def labelled(records: list[ImageRecord], recipe: Recipe, classes: tuple[str, ...]) -> LabelledFilms:
    """The prepared films with their labels."""
    films = prepare_all(records, recipe.input)
    if films.errors:
        raise SystemExit(f"{len(films.errors)} films could not be read; `cxray audit` names them.")
    targets = np.array([classes.index(record.label) for record in records])
    weights = film_weights(targets, len(classes), balanced=recipe.train.class_weights == "balanced")
    return LabelledFilms(films, np.arange(len(records)), targets, weights, recipe.input)


def member(whole: keras.Model, number: int, recipe: Recipe, outputs: int) -> Network:
    """The network of one member with its weights, and a head that has yet to be solved for."""
    network = build_network(recipe.model, recipe.input, outputs)
    given = one_view(whole).get_layer(f"member_{number}").get_weights()
    own = [weight for weight in network.model.weights if not weight.path.startswith((CORRECTION, "logits"))]
    for weight, value in zip(own, given, strict=True):
        weight.assign(value)
    return network


def ill_scores(network: Network, films: LabelledFilms, positive: int) -> npt.NDArray[np.float64]:
    """Log-odds (n,) of the class `positive` against the other one."""
    logits = network.model.predict(as_model_input(films.source.take(films.indices)), batch_size=32, verbose=0)
    return np.asarray(logits[:, positive] - logits[:, 1 - positive], dtype=np.float64)


def variant(recipe: Recipe, number: int, directions: int) -> Recipe:
    """The recipe of one member; its weights are averaged with the pre-trained ones already."""
    model = dataclasses.replace(recipe.model, look_directions=directions, stretch_average=0.0)
    train = dataclasses.replace(recipe.train, seed=member_seed(recipe, number - 1), members=1, pretrained_share=0.0)
    return dataclasses.replace(recipe, model=model, train=train)


def main() -> None:
    """Solve for every head twice and rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--external", type=Path, required=True)
    parser.add_argument("--directions", type=int, default=5)
    given = parser.parse_args()
    bundle = load_bundle(given.run / "bundle")
    recipe = recipe_from_toml((given.run / "config.toml").read_text("utf-8"), "config.toml")
    positive = bundle.classes.index(bundle.positive)
    records = read_inputs([given.run / "splits.csv"], bundle.classes).records
    elsewhere = read_dataset(given.external).records
    films: dict[str, LabelledFilms] = {
        name: labelled([record for record in records if record.split == name], recipe, bundle.classes)
        for name in ("train", "validation")
    }
    films["external"] = labelled(list(elsewhere), recipe, bundle.classes)
    truth = {name: split.targets == positive for name, split in films.items()}
    patients = codes(np.array([record.patient for record in elsewhere]), len(elsewhere))
    prepare_tensorflow(recipe.train.seed)
    if recipe.train.members < 2 or recipe.model.look_directions:
        raise SystemExit(f"{given.run} should be a run of several networks without model.look_directions.")
    whole = keras.saving.load_model(bundle.folder / KERAS, compile=False)
    for number in range(1, recipe.train.members + 1):
        row: dict[str, Any] = {"recipe": recipe.name, "network": f"member {number}", "directions": given.directions}
        scores = []
        for name, directions in (("as_it_is", 0), ("taken_out", given.directions)):
            own = variant(recipe, number, directions)
            network = member(whole, number, own, len(bundle.classes))
            interpolate(own, network, films["train"], films["validation"], 0)
            found = {split: ill_scores(network, films[split], positive) for split in ("validation", "external")}
            row |= {f"{split}_{name}": round(auroc(value, truth[split]), 4) for split, value in found.items()}
            scores.append(found["external"])
        gain, _ = paired_test(np.column_stack(scores[::-1]), truth["external"], patients)
        row |= {"difference": round(gain.value, 3), "low": round(gain.low, 3), "high": round(gain.high, 3)}
        append_row(RESULTS, {**row, **facts()})
        print(row, flush=True)


if __name__ == "__main__":
    main()
