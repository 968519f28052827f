"""`cxray demo`: the whole road on synthetic films, offline: audit, train, seal, predict, evaluate, report."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from cxray import progress, rundir
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.evaluate.evaluation import Evaluation
from cxray.workflow.audit import audit_folder
from cxray.workflow.evaluate import evaluate_table
from cxray.workflow.predict import predict
from cxray.workflow.run_order import require_training_libraries
from cxray.workflow.train import train

PATIENTS = 320
SIDE_PIXELS = 160


@dataclasses.dataclass(frozen=True)
class Demo:
    """Where the demo's results lie, how long it took, and the judgement on its sealed test patients."""

    folder: Path
    report: Path
    seconds: float
    judgement: Evaluation


def demo(out: Path, *, seed: int = 0, patients: int = PATIENTS, overwrite: bool = False) -> Demo:
    """Draw synthetic radiographs and walk the whole road with them.

    Writes `films/`, `audit/`, `run/`, `test.csv` and `judged/` into `out`.

    Raises:
        MissingExtra: TensorFlow is not installed.
        OutputError, UsageError: `out` cannot be used.
    """
    started = time.monotonic()
    require_training_libraries()
    rundir.prepare_folder(out, overwrite=overwrite)
    progress.say(f"1/5 Drawing films of {patients} synthetic patients.")
    films = write_phantom_folder(out / "films", PhantomPlan(size_px=SIDE_PIXELS), patients, seed=seed)
    progress.say("2/5 Auditing the films.")
    progress.say(audit_folder(films, out / "audit", seed=seed).text())
    progress.say("3/5 Training; the test patients stay sealed.")
    run = train(films, out / "run", recipe="demo", seed=seed)
    progress.say("4/5 Scoring the test patients.")
    predict(run.bundle, [films / "test"], out / "test.csv")
    progress.say("5/5 Judging.")
    judgement = evaluate_table(
        out / "test.csv", out / "judged", command=f"cxray evaluate {out / 'test.csv'} --out judged"
    )
    rundir.write_manifest(out, _kind(seed, patients))
    return Demo(out, out / "judged" / "report.html", time.monotonic() - started, judgement)


def is_finished(out: Path, *, seed: int = 0, patients: int = PATIENTS) -> bool:
    """Whether `out` holds this very demo, finished."""
    kind = _kind(seed, patients)
    return rundir.is_complete(out) and kind.items() <= rundir.read_manifest(out).items()


def _kind(seed: int, patients: int) -> dict[str, Any]:
    return {"kind": "demo", "seed": seed, "patients": patients}
