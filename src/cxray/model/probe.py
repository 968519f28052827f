"""The other way of training: a linear head on features of an untouched MobileNet, in seconds and without TensorFlow.

    films ─► frozen graph on ONNX Runtime ─► pooled features ─► L2-regularised logistic regression ─► one ONNX graph

The features are the globally averaged maps after three late blocks; the head sees them standardised, and the
standardisation is folded into it, so that logits stay a linear function of the pooled map. Logistic regression is
solved for a falling row of penalties, each starting from the one before; validation patients choose. A probe of
ImageNet features generalises well where fine-tuning learns the hospital (Doerrich et al. 2024, arXiv:2404.15786).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxray import bundle, extras, progress
from cxray.config import InputCard, Recipe
from cxray.data.prepare import as_model_input
from cxray.errors import ConfigError
from cxray.model.films import LabelledFilms
from cxray.model.fit import Fit, Known, Workplace, describe_epoch
from cxray.model.history import Epoch, is_better, write_history
from cxray.model.mobilenet import Weights
from cxray.model.probe_graph import write_feature_graph, write_graph
from cxray.model.probe_head import Head, Problem, history_row, solve
from cxray.model.weights import FILES, load_imagenet
from cxray.runtime.engine import BATCH, Engine, open_engine, usable_cores
from cxray.runtime.stress import enlarged

# λ of mean loss + λ/2 |w|², strongest first.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
STAGE = "linear probe"
_GRID_PIXELS = 32

Matrix = npt.NDArray[np.float32]
Films = npt.NDArray[np.uint8]
Change = Callable[[Films], Films]


def check_probe(recipe: Recipe) -> None:
    """Refuse settings that a linear probe cannot follow, before a film is read.

    Raises:
        ConfigError: another backbone, random weights, several views of a film, or a side that the network's grid does
            not divide.
        MissingExtra: a library that reads weights or writes graphs is missing.
    """
    if recipe.model.backbone not in FILES:
        raise ConfigError(
            f"A linear probe needs one of {', '.join(FILES)}, not {recipe.model.backbone!r}.",
            "Set train.method=gradient to train another network.",
        )
    if recipe.model.weights != "imagenet":
        raise ConfigError("A linear probe of random weights learns next to nothing.", "Set model.weights=imagenet.")
    if recipe.model.mirror_average or recipe.model.stretch_average or recipe.model.look_directions:
        raise ConfigError(
            "A linear probe sees each film once, as it is.",
            "Set model.mirror_average=false, model.stretch_average=0 and model.look_directions=0, or "
            "train.method=gradient.",
        )
    for name, side in (("height", recipe.input.height), ("width", recipe.input.width)):
        if side % _GRID_PIXELS:
            raise ConfigError(f"A linear probe needs input.{name} to be a multiple of {_GRID_PIXELS}, not {side}.")
    for module in ("h5py", "onnx"):
        extras.require(module, "fast", "Training a linear probe")


@dataclasses.dataclass
class LinearProbe:
    """A frozen backbone with a trained head, as `assemble` takes it."""

    backbone: Weights
    head_weights: Head
    card: InputCard
    features: Engine
    weights: str = "imagenet"
    head: str = "pooled_linear"

    def predict_logits(self, films: Matrix) -> Matrix:
        """See `Trained.predict_logits`."""
        return self.head_weights.logits(_pooled(self.features, films))

    def divide_logits(self, temperature: float) -> None:
        """See `Trained.divide_logits`."""
        self.head_weights = self.head_weights.divided(temperature)

    def save(self, folder: Path) -> None:
        """See `Trained.save`."""
        write_graph(folder / bundle.GRAPH, self.backbone, self.card, self.head_weights)

    def versions(self) -> dict[str, str]:
        """See `Trained.versions`."""
        import onnx
        import scipy

        return {"onnx": onnx.__version__, "scipy": scipy.__version__, "numpy": np.__version__}


def fit_probe(
    recipe: Recipe, classes: int, training: LabelledFilms, validation: LabelledFilms, place: Workplace
) -> Fit:
    """Train a linear probe as `recipe` says; `classes` is the number of logits.

    `augment.flip` adds a mirror image of every training film, `augment.aspect_fraction` and `augment.zoom_fraction`
    one that is changed to their limits: wider, taller, larger, smaller in turn.

    Raises:
        ConfigError: no weights, or settings that do not fit.
    """
    check_probe(recipe)
    weights = load_imagenet(recipe.model.backbone)
    graph = place.folder / "checkpoint" / "features.onnx"
    write_feature_graph(graph, weights, recipe.input)
    # Not "auto": a seed must give the same head wherever and whenever the faster engine is another one.
    engine = open_engine(graph, "onnxruntime", threads=1, runs=usable_cores())
    started = time.perf_counter()
    views = [_features(engine, training, "Features of the training films")]
    if recipe.augment.flip:
        views.append(_features(engine, training, "Features of the mirrored films", _mirrored))
    if recipe.augment.aspect_fraction or recipe.augment.zoom_fraction:
        change = _stretched(recipe.augment.aspect_fraction, recipe.augment.zoom_fraction)
        views.append(_features(engine, training, "Features of the stretched films", change))
    targets, film_weights = [training.targets] * len(views), [training.weights] * len(views)
    held_out = _features(engine, validation, "Features of the validation films")
    rate = (len(training) * len(views) + len(validation)) / (time.perf_counter() - started)
    balanced = recipe.train.class_weights == "balanced"
    problem = Problem.of(
        np.concatenate(views), np.concatenate(targets), np.concatenate(film_weights), classes, balanced
    )
    history, best, head = _choose(recipe, problem, held_out, validation, rate, place)
    probe = LinearProbe(weights, head, recipe.input, engine)
    known = Known(views[0], head.logits(held_out))
    return Fit(probe, tuple(history), best, interrupted=False, devices=1, known=known)


def _choose(
    recipe: Recipe, problem: Problem, held_out: Matrix, validation: LabelledFilms, rate: float, place: Workplace
) -> tuple[list[Epoch], Epoch, Head]:
    """Solve for every penalty; one row of history each. The best on validation patients wins."""
    history: list[Epoch] = []
    best: Epoch | None = None
    head = chosen = problem.start()
    plain = Problem.plain(held_out, validation.targets, problem.outputs)
    for penalty in PENALTIES:
        started = time.perf_counter()
        head = solve(problem, penalty, head)
        row = history_row(head, problem, plain, epoch=len(history) + 1, stage=STAGE, started=started, rate=rate)
        history.append(row)
        progress.say(f"penalty {penalty:g}: {describe_epoch(row)}")
        if best is None or is_better(row, best, recipe.train.monitor):
            best, chosen = row, head
    write_history(place.folder / "history.csv", history)
    assert best is not None  # PENALTIES is not empty
    return history, best, chosen


def _features(engine: Engine, films: LabelledFilms, what: str, change: Change | None = None) -> Matrix:
    """Pooled features float32 (n, F) of all films, in order, after a change."""

    def pooled(start: int) -> Matrix:
        pixels = films.source.take(films.indices[start : start + BATCH])
        return _pooled(engine, as_model_input(change(pixels) if change else pixels))

    rows: list[Matrix] = []
    # As in streaming prediction: every core takes its own films through the engine.
    with progress.counted(total=len(films), what=what) as advance, ThreadPoolExecutor(usable_cores()) as pool:
        for row in pool.map(pooled, range(0, len(films), BATCH)):
            rows.append(row)
            advance(len(row))
    return np.concatenate(rows)


def _mirrored(films: Films) -> Films:
    return films[:, :, ::-1]


def _stretched(aspect: float, zoom: float) -> Change:
    """One change a film, in turn: width against height times and divided by 1 + `aspect`, size by 1 ± `zoom`."""
    side = float(np.sqrt(1 + aspect))
    pairs = [(side, 1 / side), (1 / side, side)] if aspect else []
    pairs += [(1 + zoom, 1 + zoom), (1 - zoom, 1 - zoom)] if zoom else []

    def change(films: Films) -> Films:
        return np.stack([enlarged(film, *pairs[number % len(pairs)]) for number, film in enumerate(films)])

    return change


def _pooled(engine: Engine, films: Matrix) -> Matrix:
    return np.asarray(engine.run(films)["features"])
