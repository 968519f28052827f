"""What a judgement stands on besides its table: the audit of the data, the bundle, the code, where the films come from.

A predictions table cannot tell whether its data leaked, whether a shortcut explains its scores or which recipe made the
model. Whoever knows more says so, and it becomes facts and records of the evaluation, each with the hash of the file it
was read from.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import cxray
from cxray.errors import DataError, UsageError
from cxray.evaluate import audited
from cxray.evaluate.beside_readers import with_readers
from cxray.evaluate.evaluation import Evaluation, stack
from cxray.evaluate.floor import ProbeScores, with_floor
from cxray.evaluate.reading import Marks
from cxray.explain.card import summary
from cxray.records import Predictions
from cxray.report.gallery import films_wanted

AUDIT, PROBE_SCORES, ATTRIBUTION = "audit.json", "tables/probe_scores.csv", "attribution.json"
# Large enough to see an opacity on a screen of twice the density.
PICTURE_SIDE = 288
_STRESSED = ("films", "auroc", "sensitivity", "specificity")
# The column in which `cxray predict` writes the start of the graph's SHA-256.
_MODEL = "model"


@dataclasses.dataclass(frozen=True)
class Grounds:
    """`audit`: the folder of `cxray audit` on the model's data. `bundle`: the model's. `external`: the name of the
    place that the judged films come from, when that is not where the model learned ("" = not said). `readers`: a table
    of people's marks on the judged films (`evaluate.reading`). `statements`: a TOML file of what only the authors know,
    for the model card.
    """

    audit: Path | None = None
    bundle: Path | None = None
    external: str = ""
    readers: Path | None = None
    statements: Path | None = None


def grounded(evaluation: Evaluation, predictions: Predictions, grounds: Grounds) -> Evaluation:
    """`evaluation` with the facts `audit`, `external`, `hashes`, `recipe`, `attribution`, as far as they are known.

    With an audit also the records and table of the shortcut floor, with a bundle the table `stress`, with readers the
    tables `readers` and `reader_agreement`. `predictions` is the judged table.

    Raises:
        DataError: the audit, the bundle or the table of marks cannot be read or does not belong to these films.
        UsageError: the table was made by another model than the bundle.
    """
    facts: dict[str, Any] = dict(evaluation.facts)
    described = _described(grounds.bundle, predictions) if grounds.bundle else {}
    facts["hashes"] = _hashes(evaluation.facts, predictions, described)
    if grounds.external:
        facts["external"] = grounds.external
    if described.get("attribution"):
        facts["attribution"] = described["attribution"]
    evaluation = dataclasses.replace(evaluation, tables={**evaluation.tables, **_stress(described)}, facts=facts)
    if grounds.readers is not None:
        evaluation = with_readers(evaluation, predictions, Marks.read(grounds.readers), _of_file(grounds.readers))
        facts = dict(evaluation.facts)
    if grounds.audit is None:
        return dataclasses.replace(evaluation, facts=facts)
    facts["audit"], digest = _audit_facts(grounds.audit)
    facts["hashes"]["audit"] = digest
    evaluation = dataclasses.replace(evaluation, facts=facts)
    scores = grounds.audit / PROBE_SCORES
    if not scores.is_file():
        facts["floor"] = {"missing": "The audit has no table of probe scores; run cxray audit again."}
        return evaluation
    if scores.read_bytes().count(b"\n") < 2:  # a header alone: too few patients for any probe
        facts["floor"] = {"missing": "The audited films are of too few patients for any probe to be judged."}
        return evaluation
    return with_floor(evaluation, predictions, ProbeScores.read(scores))


def _stress(described: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """The table `stress`: validation films changed on purpose, as training left them in the bundle; none without."""
    rows = described.get("stress") or []
    if not rows:
        return {}
    try:
        columns = {name: np.array([float(row[name]) for row in rows]) for name in _STRESSED}
        treatments = np.array([str(row["treatment"]) for row in rows], dtype=object)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The bundle's stress test is damaged: {type(error).__name__} {error}.") from error
    return {"stress": stack([(str(described.get("positive") or ""), {"treatment": treatments, **columns})])}


def _of_file(path: Path) -> dict[str, str]:
    return {"source": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def film_paths(evaluation: Evaluation, folder: Path) -> dict[str, Path]:
    """Where the films lie that the page wants to show, by the path in the table; those that are there.

    A relative path is tried as it stands, then below `folder`, where the table lies.
    """
    found = {
        name: next((path for path in (Path(name), folder / name) if _is_file(path)), None)
        for name in films_wanted(evaluation)
    }
    return {name: path for name, path in found.items() if path is not None}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name no file system takes
        return False


def bundle_facts(folder: Path) -> dict[str, Any]:
    """The content of `bundle.json`.

    Raises:
        DataError: it cannot be read.
    """
    return _read(folder / "bundle.json", "Give the folder of a bundle.")[0]


@functools.cache
def code_hash() -> str:
    """SHA-256 over every Python file of the installed package, by name and content."""
    root = Path(cxray.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _audit_facts(folder: Path) -> tuple[dict[str, Any], str]:
    content, digest = _read(folder / AUDIT, "Give the folder that cxray audit wrote.")
    findings = [row for row in content.get("findings", ()) if isinstance(row, Mapping)]
    codes = {
        severity: [str(row.get("code")) for row in findings if row.get("severity") == severity]
        for severity in ("error", "warning")
    }
    found = audited.summary(codes["error"], codes["warning"], "the data")
    shifts = [{"code": row["code"], "title": str(row.get("title", ""))} for row in findings if _is_shift(row)]
    return {**found, "shifts": shifts, "films": content.get("films"), "folder": str(folder)}, digest


def _is_shift(finding: Mapping[str, Any]) -> bool:
    return finding.get("code") in ("class-shift", "threshold-shift") and finding.get("severity") != "info"


def _described(folder: Path, predictions: Predictions) -> dict[str, Any]:
    """What the bundle says of itself; the table must have been made by it where the table names its model."""
    content = bundle_facts(folder)
    graph = str((content.get("files") or {}).get("model.onnx", ""))
    made_by = {str(cell) for cell in predictions.metadata.get(_MODEL, ())} - {""}
    strangers = sorted(name for name in made_by if not graph.startswith(name))
    if strangers:
        raise UsageError(
            f"The table was made by the model {strangers[0]}, but the bundle {folder} is {graph[:12]}.",
            "Give the bundle that made the table, or leave --bundle out.",
        )
    return {**content, "graph": graph, "attribution": _card(folder, graph)}


def _card(folder: Path, graph: str) -> dict[str, Any] | None:
    """The attribution card in a bundle, as a report takes it; None without one."""
    path = folder / ATTRIBUTION
    if not path.is_file():
        return None
    content, _ = _read(path, "Make it again with cxray explain.")
    if content.get("model") and not graph.startswith(str(content["model"])):
        raise DataError(f"{path} was measured on the model {content['model']}.", "Make it again with cxray explain.")
    # A card of another maker has no classes; it is shown as it is.
    return summary(content) if "classes" in content else content


def _hashes(facts: Mapping[str, Any], predictions: Predictions, described: Mapping[str, Any]) -> dict[str, Any]:
    models = sorted({str(cell) for cell in predictions.metadata.get(_MODEL, ())} - {""})
    found = {
        "model": described.get("graph") or ", ".join(models),
        "predictions": facts.get("table_sha256"),
        "training data": (described.get("data") or {}).get("fingerprint"),
        "recipe": described.get("recipe_fingerprint"),
        "code": code_hash(),
    }
    return {name: value for name, value in found.items() if value}


def _read(path: Path, advice: str) -> tuple[dict[str, Any], str]:
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", advice) from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.", advice) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object.", advice)
    return content, hashlib.sha256(raw).hexdigest()
