"""`cxray demo`: the whole road on synthetic films, offline: audit, train, seal, predict, evaluate, report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Any

from cxray import progress, rundir
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.evaluate.evaluation import Evaluation
from cxray.workflow.audit import audit_folder
from cxray.workflow.evaluate import evaluate_table
from cxray.workflow.grounds import Grounds
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
    judgement = _judged(out, run.bundle)
    rundir.write_manifest(out, _kind(seed, patients))
    return Demo(out, out / "judged" / "report.html", time.monotonic() - started, judgement)


def _judged(out: Path, bundle: Path) -> Evaluation:
    """The test table with everything that is known beside it, so that the first report shows what a report can."""
    table, validation = out / "test.csv", out / "run" / "predictions" / "validation.csv"
    words = ["cxray", "evaluate", table, "--out", "judged", "--validation", validation]
    command = shlex.join(map(str, [*words, "--audit", out / "audit", "--bundle", bundle]))
    grounds = Grounds(audit=out / "audit", bundle=bundle)
    return evaluate_table(table, out / "judged", validation=validation, grounds=grounds, command=command)


def is_finished(out: Path, *, seed: int = 0, patients: int = PATIENTS) -> bool:
    """Whether `out` holds this very demo, finished."""
    kind = _kind(seed, patients)
    return rundir.is_complete(out) and kind.items() <= rundir.read_manifest(out).items()


def _kind(seed: int, patients: int) -> dict[str, Any]:
    return {"kind": "demo", "seed": seed, "patients": patients}
