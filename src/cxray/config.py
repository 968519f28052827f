"""Recipes: every setting of a run as frozen values, from TOML and back.

Order of authority: the recipe file (shipped or the user's), then `--set section.key=value`, left to right. The
resolved settings are saved beside the run as `config.toml`, and their fingerprint goes into the bundle. An unknown
key is refused with the nearest known one, because a silently ignored setting is a wrong result.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from cxray.errors import ConfigError

# A policy that freezes no threshold: the most probable class decides.
NO_POLICY = "none"
SHIPPED_RECIPES = ("article", "best", "default", "demo", "fast", "transport")


def _require(condition: bool, name: str, wanted: str, got: object = None) -> None:
    if not condition:
        raise ConfigError(f"Setting {name} must be {wanted}{f', got {got!r}' if got is not None else ''}.")


@dataclasses.dataclass(frozen=True)
class InputCard:
    """What a model expects of one film: grey, float32 0–1, `height` × `width` pixels.

    `fit`: "pad" keeps the aspect ratio and fills with black, "stretch" does not keep it. `intensity`: "as_is";
    "window" maps each film's 1st to 99th percentile of grey to the whole range, so that its exposure is gone;
    "equalise" spreads its grey values evenly, so that the display curve is gone too (pixels that are exactly black
    count in neither). `version` counts changes of the preparation itself, so that a cache or bundle made by older code
    is never mistaken for today's.
    """

    height: int = 224
    width: int = 224
    fit: str = "pad"
    intensity: str = "as_is"
    version: int = 1

    def __post_init__(self) -> None:
        _require(
            16 <= self.height <= 2048 and 16 <= self.width <= 2048,
            "input.height and input.width",
            "16 to 2048",
        )
        _require(self.fit in ("pad", "stretch"), "input.fit", "'pad' or 'stretch'", self.fit)
        intensities = ("as_is", "window", "equalise")
        _require(self.intensity in intensities, "input.intensity", " or ".join(map(repr, intensities)), self.intensity)


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """How films are divided. `unit`: "patient" (grouped) or "film" (as in the article: siblings leak).

    `films_per_class` > 0 draws a reduced, balanced training set of that many films a class. `use_given_validation`
    keeps a `val/` that is large enough to mean something: at least `minimum_validation_films` films of each class, or
    `validation_fraction` of a class that has too few for that. A test split that is not given is the
    same for every seed.
    """

    unit: str = "patient"
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    films_per_class: int = 0
    use_given_validation: bool = True
    minimum_validation_films: int = 25

    def __post_init__(self) -> None:
        _require(self.unit in ("patient", "film"), "split.unit", "'patient' or 'film'", self.unit)
        _require(0 < self.validation_fraction < 0.9, "split.validation_fraction", "between 0 and 0.9")
        _require(0 < self.test_fraction < 0.9, "split.test_fraction", "between 0 and 0.9")
        _require(self.films_per_class >= 0, "split.films_per_class", "0 (all films) or a count")
        _require(self.minimum_validation_films >= 0, "split.minimum_validation_films", "0 or more")


@dataclasses.dataclass(frozen=True)
class AugmentSettings:
    """Random changes, on training films only; each is drawn uniformly from ± the value.

    `crop_fraction` is the largest share of the side that a random crop leaves away before the rest is enlarged to the
    full frame, as in random resized cropping. `aspect_fraction` stretches a film's width against its height, by a
    ratio up to 1 + the value either way, and keeps its area: for films whose own aspect ratio was lost in a resize,
    where a network learns the shape of the film instead of the lungs. `rotate_degrees`, `shear_degrees` in degrees;
    `shift_fraction` of the side; `zoom_fraction` of the scale; `jitter_pixels` enlarges by that many pixels and crops
    back at random (the article's "random jittering"); `brightness` adds, `contrast` multiplies, `gamma` bends;
    `equalise_fraction` draws grey values towards the film's equalised ones, from not at all up to this share: another
    display curve. `erase_fraction` is the largest erased rectangle's share of the film, `border_fraction` the widest
    blackened margin's share of the side, a width drawn for each side; both are applied to half of the films.
    `border_exchange_fraction` is the same with the margins of another training film, whatever its label, instead of
    black: the frame of a film says nothing about its label any more. `grey_exchange_fraction` draws grey values towards
    those of equal rank in another training film, `grain_exchange_fraction` the power of each band of spatial
    frequencies, both from not at all up to this share: the look of a film, which comes from its machine and processing,
    says less about its label then (`model/looks.py`). `flip` mirrors left and right: off unless a
    recipe says otherwise, because the heart has a side.
    """

    crop_fraction: float = 0.0
    aspect_fraction: float = 0.0
    rotate_degrees: float = 0.0
    shear_degrees: float = 0.0
    shift_fraction: float = 0.0
    zoom_fraction: float = 0.0
    jitter_pixels: int = 0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    equalise_fraction: float = 0.0
    erase_fraction: float = 0.0
    border_fraction: float = 0.0
    border_exchange_fraction: float = 0.0
    grey_exchange_fraction: float = 0.0
    grain_exchange_fraction: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop_fraction", "shift_fraction", "zoom_fraction", "brightness", "contrast", "erase_fraction"):
            _require(0 <= getattr(self, name) < 1, f"augment.{name}", "0 up to but not including 1")
        for name in ("equalise_fraction", "grey_exchange_fraction", "grain_exchange_fraction"):
            _require(0 <= getattr(self, name) <= 1, f"augment.{name}", "0 to 1")
        # Margins of opposite sides must leave something of the film between them.
        for name in ("border_fraction", "border_exchange_fraction"):
            _require(0 <= getattr(self, name) < 0.5, f"augment.{name}", "0 up to but not including 0.5")
        for name in ("rotate_degrees", "shear_degrees", "jitter_pixels", "gamma", "aspect_fraction"):
            _require(getattr(self, name) >= 0, f"augment.{name}", "0 or more")


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The network: `backbone` from the table in `model/backbones.py`, `weights` "imagenet" or "none".

    `frozen_fraction` is the share of the backbone's layers, counted from the film, that keep their pre-trained weights
    and statistics for good: early layers cost most of the time and learn least. `mirror_average` lets the finished
    network look at each film and its mirror image and average what it sees; meant for training with `augment.flip`.
    `stretch_average` lets it look at each film stretched either way, too, by a ratio of 1 + the value: three views at
    three times the cost; meant for training with `augment.aspect_fraction`.
    `look_directions` main directions of a film's look are taken out of its features where the head is solved for at the
    end of training (`train.pretrained_share`, `model/harmonise.py`).
    """

    backbone: str = "mobilenet_0.75"
    weights: str = "imagenet"
    frozen_fraction: float = 0.0
    mirror_average: bool = False
    stretch_average: float = 0.0
    look_directions: int = 0
    dropout: float = 0.2

    def __post_init__(self) -> None:
        _require(self.weights in ("imagenet", "none"), "model.weights", "'imagenet' or 'none'", self.weights)
        _require(
            0 <= self.stretch_average <= 0.5, "model.stretch_average", "0 (the film alone) to 0.5", self.stretch_average
        )
        _require(0 <= self.look_directions <= 100, "model.look_directions", "0 (none) to 100", self.look_directions)
        _require(0 <= self.frozen_fraction <= 1, "model.frozen_fraction", "0 to 1")
        _require(0 <= self.dropout < 1, "model.dropout", "0 up to but not including 1")


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The optimisation.

    `method`: "gradient" trains the network itself and obeys everything below; "linear_probe" trains only a linear head
    on features of the untouched backbone, in seconds and without TensorFlow, and obeys `class_weights` and `monitor`.
    `frozen_epochs` trains the head alone on features of the untouched backbone; `epochs` then trains everything.
    The first `small_epochs` of them see films of `small_fraction` times the sides (progressive resizing).
    `schedule`: "cosine" (with `warmup_epochs`) or "constant". `ema_momentum` 0 = no weight averaging.
    `monitor` chooses the epoch that is kept: the best by a measure on validation patients, or "last", for schedules
    that end at a learning rate of 0, where the best of several values near 1 would be a choice by noise.
    `clip_norm` limits the norm of the gradient of all weights together, 0 = no limit.
    `class_weights`: "balanced" or "none". `patience` epochs without improvement stop the run, 0 = never.
    `cache` false decodes every film in every epoch, as the article does.
    `pretrained_share` 0.3 ends with three tenths of the pre-trained weights, seven of the fine-tuned ones and a new
    head: what fine-tuning forgets is often what another hospital needs (Wortsman et al. 2022).
    `members` networks are trained from different seeds on the same division, and their logits averaged.
    """

    seed: int = 0
    members: int = 1
    method: str = "gradient"
    batch_size: int = 32
    frozen_epochs: int = 0
    epochs: int = 6
    small_epochs: int = 0
    small_fraction: float = 0.7
    optimizer: str = "adam"
    learning_rate: float = 3e-4
    frozen_learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup_epochs: float = 0.5
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    ema_momentum: float = 0.0
    label_smoothing: float = 0.0
    pretrained_share: float = 0.0
    class_weights: str = "balanced"
    patience: int = 0
    monitor: str = "validation_auroc"
    cache: bool = True

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**32, "train.seed", "0 up to 4,294,967,295", self.seed)
        _require(
            self.method in ("gradient", "linear_probe"), "train.method", "'gradient' or 'linear_probe'", self.method
        )
        _require(1 <= self.members <= 50, "train.members", "1 up to 50", self.members)
        if self.method == "linear_probe":
            _require(self.members == 1, "train.members", "1 for a linear probe, which is the same for every seed")
            _require(
                self.pretrained_share == 0, "train.pretrained_share", "0 for a linear probe, all of it pre-trained"
            )
        _require(self.patience >= 0, "train.patience", "0 (never) or a number of epochs", self.patience)
        _require(0 <= self.pretrained_share < 1, "train.pretrained_share", "0 up to but not including 1")
        _require(0 <= self.label_smoothing < 1, "train.label_smoothing", "0 up to but not including 1")
        _require(self.batch_size >= 1, "train.batch_size", "at least 1")
        _require(self.epochs >= 0 and self.frozen_epochs >= 0, "train.epochs and train.frozen_epochs", "0 or more")
        _require(self.epochs + self.frozen_epochs >= 1, "train.epochs", "at least one epoch in all")
        _require(0 <= self.small_epochs <= self.epochs, "train.small_epochs", "0 up to train.epochs", self.small_epochs)
        _require(0 < self.small_fraction < 1, "train.small_fraction", "between 0 and 1", self.small_fraction)
        _require(self.learning_rate > 0, "train.learning_rate", "above 0")
        for name in ("weight_decay", "warmup_epochs"):
            _require(getattr(self, name) >= 0, f"train.{name}", "0 or more")
        _require(self.clip_norm >= 0, "train.clip_norm", "0 (no limit) or more", self.clip_norm)
        _require(0 <= self.ema_momentum < 1, "train.ema_momentum", "0 up to but not including 1")
        _require(self.schedule in ("cosine", "constant"), "train.schedule", "'cosine' or 'constant'", self.schedule)
        _require(self.optimizer in ("adam", "sgd"), "train.optimizer", "'adam' or 'sgd'", self.optimizer)
        choices = ("validation_auroc", "validation_loss", "validation_accuracy", "last")
        _require(self.monitor in choices, "train.monitor", " or ".join(map(repr, choices)), self.monitor)
        _require(self.class_weights in ("balanced", "none"), "train.class_weights", "'balanced' or 'none'")


@dataclasses.dataclass(frozen=True)
class DecisionSettings:
    """From scores to decisions, both chosen on validation patients only.

    `calibration`: "temperature" or "none". `policy` names a threshold policy of `evaluate/thresholds.py`; "none"
    decides for the most probable class. `positive` names the class whose score is thresholded; "" = the second of two
    classes in alphabetical order. `stress` judges the frozen threshold once more on validation films that were
    stretched, enlarged, bent in exposure or robbed of their borders.
    """

    calibration: str = "temperature"
    policy: str = "target_sensitivity:0.95"
    positive: str = ""
    stress: bool = True

    def __post_init__(self) -> None:
        _require(self.calibration in ("temperature", "none"), "decision.calibration", "'temperature' or 'none'")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, apart from the films.

    `judge_test` opens the test films once the bundle is closed. `accept` names errors of the audit before training that
    do not stop the run, because the recipe wants them; bundle and reports name them as accepted risks.
    """

    name: str = "default"
    input: InputCard = InputCard()
    split: SplitSettings = SplitSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    decision: DecisionSettings = DecisionSettings()
    judge_test: bool = False
    accept: tuple[str, ...] = ()

    def to_toml(self) -> str:
        """The recipe as TOML text; `recipe_from_toml` reads it back to an equal value."""
        import tomli_w

        return tomli_w.dumps(dataclasses.asdict(self))

    def fingerprint(self) -> str:
        """SHA-256 (64 hexadecimal digits) of all settings; equal settings give equal fingerprints."""
        return fingerprint(self)


def fingerprint(settings: Any) -> str:
    """SHA-256 of a settings dataclass, independent of how and in which order it was written down."""
    text = json.dumps(dataclasses.asdict(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load_recipe(name_or_path: str, overrides: Sequence[str] = (), *, seed: int | None = None) -> Recipe:
    """Read a shipped recipe by name or a recipe file by path, then apply `section.key=value` overrides.

    Raises:
        ConfigError: no such recipe, not TOML, an unknown key, or a value that cannot be meant.
    """
    table = _parse(_recipe_text(name_or_path), name_or_path)
    for override in overrides:
        _apply_override(table, override)
    if seed is not None:
        table.setdefault("train", {})["seed"] = seed
    return typing.cast(Recipe, _build(Recipe, table, ""))


def recipe_from_toml(text: str, source: str) -> Recipe:
    """Read a recipe from TOML text; `source` names it in messages."""
    return typing.cast(Recipe, _build(Recipe, _parse(text, source), ""))


def settings_from_toml(kind: type[Any], text: str, source: str) -> Any:
    """Settings of any frozen dataclass `kind` from TOML text, checked as recipes are; `source` names the file.

    Raises:
        ConfigError: not TOML, an unknown key, or a value that cannot be meant.
    """
    return _build(kind, _parse(text, source), "")


def _recipe_text(name_or_path: str) -> str:
    if name_or_path in SHIPPED_RECIPES:
        return resources.files("cxray").joinpath("recipes", f"{name_or_path}.toml").read_text("utf-8")
    path = Path(name_or_path)
    if not path.is_file():
        hint = _did_you_mean(name_or_path, SHIPPED_RECIPES)
        raise ConfigError(
            f"There is no recipe called {name_or_path!r} and no such file.{hint}",
            f"Shipped recipes: {', '.join(SHIPPED_RECIPES)}; or give the path of a TOML file.",
        )
    return path.read_text("utf-8", errors="replace")


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}.", "Correct that line.") from error


def _apply_override(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    section, _, name = key.strip().rpartition(".")
    if not separator or not name:
        raise ConfigError(f"--set {override!r} is not of the form section.key=value.", "Example: --set train.epochs=3")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string; TOML would insist on quotes that shells eat
    target = table.setdefault(section, {}) if section else table
    if not isinstance(target, dict):
        raise ConfigError(f"--set {override!r}: {section!r} is a setting, not a section.")
    target[name] = value


def _build(kind: type[Any], table: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            hint = _did_you_mean(key, list(hints))
            raise ConfigError(f"Unknown setting {where + key!r}.{hint}", f"Known here: {', '.join(hints)}.")
        values[key] = _convert(hints[key], value, where + key)
    return kind(**values)


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name!r} is a section of settings, got {value!r}.")
        return _build(typing.cast(type[Any], hint), value, f"{name}.")
    if float in (hint, *typing.get_args(hint)) and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"Setting {name!r} must be a finite number, got {value!r}.")
        return float(value)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"Setting {name!r} must be a list, got {value!r}.")
        return tuple(_convert(typing.get_args(hint)[0], item, f"{name}[{place}]") for place, item in enumerate(value))
    wanted = hint if not isinstance(hint, types.UnionType) else typing.get_args(hint)
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"Setting {name!r} must be {getattr(hint, '__name__', hint)}, got {value!r}.")
    return value


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
