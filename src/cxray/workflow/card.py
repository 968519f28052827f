"""`cxray card`: a bundle and its evaluation in, a model card and filled reporting checklists out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxray import rundir
from cxray.bundle import load_bundle
from cxray.errors import UsageError
from cxray.evaluate.evaluation import Evaluation
from cxray.report.card_sources import Sources, read_statements
from cxray.report.checklists import Checklist, statement_keys
from cxray.report.model_card import write_model_card
from cxray.report.page import CARD, REPORT


def make_card(
    bundle: Path,
    evaluation: Path,
    out: Path,
    *,
    statements: Path | None = None,
    overwrite: bool = False,
    command: str = "",
) -> tuple[Checklist, ...]:
    """Write the model card of `bundle`, judged in the folder `evaluation`, to `out`; returns the filled checklists.

    `statements` is a TOML file with what the authors say.

    Raises:
        UsageError: there is no bundle, or the evaluation is of another model.
        BundleError, DataError: the bundle or the evaluation is damaged.
        OutputError: the results cannot be written.
    """
    model = load_bundle(bundle)
    judged = Evaluation.read(evaluation)
    _same_model(model.identifier, judged, evaluation)
    stated = read_statements(statements, statement_keys()) if statements else {}
    sources = Sources(model.facts, judged, stated)
    rundir.prepare_folder(out, overwrite=overwrite, reads=[bundle, evaluation])
    lists = write_model_card(sources, out, command=command)
    rundir.write_manifest(out, {"kind": "model card", "bundle": str(bundle), "evaluation": str(evaluation)})
    return lists


def write_card_beside(
    judged: Evaluation, bundle: Mapping[str, Any], folder: Path, stated: Mapping[str, str], *, command: str = ""
) -> None:
    """Write model card and checklists of `judged` to `card/` in its own `folder`, so that its report can link to them.

    `bundle` is the content of `bundle.json`; when empty, the card says what the scores tell of the model, and that the
    rest is not available.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_model_card(Sources(bundle, judged, stated), folder / CARD, command=command, report=f"../{REPORT}")


def _same_model(identifier: str, judged: Evaluation, folder: Path) -> None:
    """Refuse an evaluation that names another model; one that names none, or other classes, cannot be this one's."""
    known = str((judged.facts.get("hashes") or {}).get("model") or "")
    if known and not known.startswith(identifier):
        raise UsageError(
            f"The evaluation in {folder} is of the model {known[:12]}, but the bundle is {identifier}.",
            "Give the evaluation of this bundle's predictions.",
        )
