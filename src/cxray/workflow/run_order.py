"""A run that somebody asked for, and everything about it that can be refused before a film is read."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cxray import config, extras, rundir
from cxray.config import Recipe
from cxray.errors import ConfigError, UsageError
from cxray.evaluate.thresholds import Policy
from cxray.workflow.audit_gate import check_codes


@dataclasses.dataclass(frozen=True)
class Order:
    """A run that somebody asked for: films, settings, folder, and the command line that makes it, for the report."""

    data: Path
    out: Path
    settings: Recipe
    command: str
    findings: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = False
    tensorboard: bool = False


def load_settings(recipe: str, overrides: Sequence[str], seed: int | None, accept: Sequence[str]) -> Recipe:
    """The settings of a run, checked as far as that can be done before a film is read.

    Raises:
        ConfigError: settings that cannot be meant.
        MissingExtra: they need a library that is not installed.
    """
    settings = config.load_recipe(recipe, overrides, seed=seed)
    settings = dataclasses.replace(settings, accept=tuple(sorted({*settings.accept, *accept})))
    check_settings(settings)
    return settings


def check_resumable(out: Path, settings: Recipe) -> None:
    """Whether `out` holds an unfinished or interrupted run of the same settings; nothing is written before this.

    Raises:
        UsageError: there is no run, it is finished, or it was started with other settings.
    """
    if not (out / "config.toml").is_file():
        raise UsageError(f"There is no run to resume in {out}.", "Leave out --resume to start one.")
    stored = config.recipe_from_toml((out / "config.toml").read_text("utf-8"), str(out / "config.toml"))
    if stored != settings:
        raise UsageError(
            f"The run in {out} was started with other settings; they stand in its config.toml.",
            "Resume with the command that started it, or choose another --out.",
        )
    if not rundir.is_complete(out):
        return
    if not rundir.read_manifest(out).get("interrupted"):
        raise UsageError(f"The run in {out} is already finished.", "Read its report.html, or choose another --out.")
    (out / rundir.MANIFEST).unlink()


def command_line(
    name: str,
    data: Path,
    out: Path,
    recipe: str,
    overrides: Sequence[str],
    *,
    seed: int | None = None,
    findings: Sequence[str] = (),
    accept: Sequence[str] = (),
) -> str:
    """The command line that makes a run, for the report; `name` is the command without `cxray`."""
    words = ["cxray", *name.split(), str(data), "--out", str(out), "--recipe", recipe]
    words += ["--seed", str(seed)] if seed is not None else []
    words += [f"--set={override}" for override in overrides]
    words += ["--findings", ",".join(findings)] if findings else []
    words += [f"--accept={code}" for code in accept]
    return shlex.join(words)


def check_settings(settings: Recipe) -> None:
    """Everything that can be refused before a film is read or a folder made.

    Raises:
        ConfigError, UsageError: settings that cannot be meant, or do not go together.
        MissingExtra: a library that training needs is missing.
    """
    check_codes(settings.accept)
    if settings.decision.policy != config.NO_POLICY:
        Policy.parse(settings.decision.policy)
    if settings.train.method == "linear_probe":
        from cxray.model.probe import check_probe

        check_probe(settings)
        return
    require_training_libraries()
    _check_network(settings)


def _check_network(settings: Recipe) -> None:
    from cxray.model.backbones import check_backbone

    check_backbone(settings.model.backbone, min(settings.input.height, settings.input.width))
    if settings.model.backbone == "article_cnn":
        _check_dense_head(settings)
    _check_way_back(settings)
    if settings.train.small_epochs:
        from cxray.model.small_twin import small_card

        small_card(settings)


def _check_dense_head(settings: Recipe) -> None:
    """What article_cnn cannot follow, whose head is no linear function of pooled features."""
    if settings.train.frozen_epochs:
        raise ConfigError("article_cnn has no pre-trained part to freeze, so train.frozen_epochs must be 0.")
    if settings.train.members > 1:
        raise ConfigError("Networks with a pooled head can be averaged, article_cnn cannot: train.members must be 1.")
    if settings.train.small_epochs:
        raise ConfigError("article_cnn fits one size of film, so train.small_epochs must be 0.")
    if settings.model.stretch_average or settings.model.mirror_average:
        raise ConfigError(
            "Several views of a film can be averaged with a pooled head, which article_cnn has not.",
            "Add --set model.stretch_average=0 --set model.mirror_average=false.",
        )


def _check_way_back(settings: Recipe) -> None:
    """Whether there are pre-trained weights to go back to, and the look is taken out on that way only."""
    from cxray.model.backbones import PLAIN_NETWORKS

    starts_at_random = settings.model.weights == "none" or settings.model.backbone in PLAIN_NETWORKS
    if starts_at_random and (settings.train.pretrained_share or settings.model.look_directions):
        raise ConfigError(
            "train.pretrained_share averages with pre-trained weights, before model.look_directions are taken out, and "
            "this network starts from random ones.",
            "Add --set train.pretrained_share=0 --set model.look_directions=0.",
        )
    if settings.model.look_directions and not settings.train.pretrained_share:
        raise ConfigError(
            "The look is taken out of the features (model.look_directions) where the head is solved for at the end, "
            "and this recipe trains it by gradient.",
            "Set train.pretrained_share as well, for example to 0.2, or model.look_directions=0.",
        )


def require_training_libraries() -> None:
    """Everything that training will need at any time, asked for before it begins.

    Raises:
        MissingExtra: naming the library that is missing.
    """
    # Keras may be set to another backend by the environment or a file in the home folder; this house is TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for module in ("keras", "tensorflow", "onnx", "tf2onnx"):
        extras.require(module, "train", "Training")
