"""Any ONNX classifier from elsewhere, with an input card that says how to feed and read it.

The card is a TOML file:

    classes = ["NORMAL", "PNEUMONIA"]   # in the order of the output
    positive = "PNEUMONIA"              # optional
    task = "classes"                    # or "findings": a sigmoid each
    height = 224
    width = 224
    fit = "stretch"                     # or "pad": keep the aspect ratio, fill with black
    layout = "NCHW"                     # or "NHWC"
    channels = 3                        # or 1
    scale = 1.0                         # largest grey value the network expects: 1 or 255
    mean = [0.485, 0.456, 0.406]        # optional: subtracted after scaling
    deviation = [0.229, 0.224, 0.225]   # optional: divided by
    output = "logits"                   # or "probabilities"

A network with a single output and two classes is read as the probability, or logit, of the second. Such a model has
no class activation here; occlusion needs only its scores.
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.errors import BundleError, ConfigError
from cxray.explain.opened import OpenedModel
from cxray.rundir import file_sha256
from cxray.runtime.engine import Engine, open_engine

_FLOOR = 1e-7
_CHOICES = {
    "task": ("classes", "findings"),
    "layout": ("NCHW", "NHWC"),
    "channels": (1, 3),
    "output": ("logits", "probabilities"),
}


@dataclasses.dataclass(frozen=True)
class ForeignCard:
    """How to feed and read a network from elsewhere; see the module. `mean` and `deviation` have one value a channel.

    Raises:
        ConfigError: fewer than two classes, or a value that cannot be meant.
    """

    classes: tuple[str, ...]
    height: int
    width: int
    fit: str = "stretch"
    task: str = "classes"
    positive: str = ""
    layout: str = "NCHW"
    channels: int = 3
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    output: str = "logits"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                words = " or ".join(map(repr, allowed))
                raise ConfigError(f"{name} must be {words}, got {getattr(self, name)!r}.")
        if len(self.classes) < (2 if self.task == "classes" else 1) or len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"classes must name the network's outputs, each once; got {list(self.classes)}.")
        if self.positive and self.positive not in self.classes:
            raise ConfigError(f"positive must be one of {', '.join(self.classes)}; got {self.positive!r}.")
        for name in ("mean", "deviation"):
            if len(getattr(self, name)) not in (0, self.channels):
                raise ConfigError(f"{name} must have one value a channel ({self.channels}).")
        if self.scale <= 0 or any(value == 0 for value in self.deviation):
            raise ConfigError("scale must be above 0 and no deviation 0.")
        self.input_card()

    def input_card(self) -> InputCard:
        """How a film is prepared: size and fit."""
        return InputCard(height=self.height, width=self.width, fit=self.fit)


def read_foreign_card(path: Path) -> ForeignCard:
    """Read an input card from TOML.

    Raises:
        ConfigError: not there, not TOML, a key that is unknown or missing, or a value that cannot be meant.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"The input card {path} cannot be read: {error.strerror}.", _EXAMPLE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The input card {path} is not valid TOML: {error}.", _EXAMPLE) from error
    known = {field.name: field for field in dataclasses.fields(ForeignCard)}
    unknown = sorted(set(table) - set(known))
    missing = [name for name in ("classes", "height", "width") if name not in table]
    if unknown or missing:
        trouble = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise ConfigError(f"The input card {path} has keys that are {trouble}.", f"Known keys: {', '.join(known)}.")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    try:
        return ForeignCard(**values)
    except TypeError as error:
        raise ConfigError(f"The input card {path} holds a value of the wrong kind: {error}.", _EXAMPLE) from error


def open_foreign(graph: Path, card: ForeignCard, engine: str = "auto", *, threads: int = 0) -> OpenedModel:
    """Open an ONNX classifier from elsewhere for explaining; "auto" takes ONNX Runtime, which runs all of them.

    Raises:
        BundleError: the engine refuses the file, or its answers do not fit the card.
    """

    def adapted(inner: Engine) -> Engine:
        return _Adapter(inner, card)

    if not graph.is_file():
        raise BundleError(f"There is no ONNX file at {graph}.", "Check the path.")
    kind = "onnxruntime" if engine == "auto" else engine
    model = OpenedModel(
        name=graph.stem,
        identifier=file_sha256(graph)[:12],
        graph=graph,
        card=card.input_card(),
        task=card.task,
        classes=card.classes,
        positive=card.positive,
        engine=adapted(open_engine(graph, kind, threads=threads, batch=1)),
        no_head="a network from elsewhere tells nothing but its scores.",
        adapted=adapted,
    )
    _check_answers(model)
    return model


class _Adapter:
    """An engine that takes films as ours do and speaks the foreign network's conventions."""

    def __init__(self, inner: Engine, card: ForeignCard) -> None:
        self.name, self._inner, self._card = inner.name, inner, card

    def run(self, films: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Films (N, height, width, 1), 0–1, to `logits` (N, K)."""
        answers = self._inner.run(_fed(films, self._card))
        scores = next(iter(answers.values()))
        return {"logits": _as_logits(np.asarray(scores).reshape(len(films), -1), self._card)}


def _fed(films: npt.NDArray[np.float32], card: ForeignCard) -> npt.NDArray[np.float32]:
    values = np.repeat(films * card.scale, card.channels, axis=3)
    if card.mean:
        values = values - np.asarray(card.mean)
    if card.deviation:
        values = values / np.asarray(card.deviation)
    ordered = np.moveaxis(values, 3, 1) if card.layout == "NCHW" else values
    return np.ascontiguousarray(ordered, dtype=np.float32)


def _as_logits(answers: npt.NDArray[Any], card: ForeignCard) -> npt.NDArray[np.float32]:
    values = answers.astype(np.float64)
    is_single = values.shape[1] == 1 and card.task == "classes" and len(card.classes) == 2
    if card.output == "probabilities":
        clipped = np.clip(values, _FLOOR, 1 - _FLOOR)
        independent = is_single or card.task == "findings"
        values = np.log(clipped / (1 - clipped)) if independent else np.log(clipped)
    if is_single:
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    return np.asarray(values, dtype=np.float32)


def _check_answers(model: OpenedModel) -> None:
    """Ask once with a grey film, so that a wrong card is told before any work."""
    grey = np.full((1, model.card.height, model.card.width), 128, dtype=np.uint8)
    advice = "Check height, width, layout and channels of the input card."
    try:
        logits = model.logits(grey)
    except Exception as error:  # engines raise their own kinds for a wrong shape
        told = " ".join(str(error).split())
        raise BundleError(f"{model.graph} does not take films as its card says: {told}", advice) from error
    if logits.shape != (1, len(model.classes)):
        raise BundleError(
            f"{model.graph} answers with {logits.shape[1]} values, the card names {len(model.classes)} classes.",
            "List in `classes` one name for each output.",
        )
    if not np.isfinite(logits).all():
        raise BundleError(f"{model.graph} answers a grey film with numbers that are not finite.", advice)


_EXAMPLE = "See docs/explaining.md for an example of an input card."
