"""How long does a whole judgement take: every record and exhibit of a predictions table, and the import itself?

    python benchmarks/evaluate_exhibits.py TEST.csv --validation VALIDATION.csv --repeats 5

Each repeat is a process of its own: `import cxray.evaluate` with the judge's modules, then `evaluate` with a validation
table, prevalences and a slice, then `save` with all tables. Bars: 1 s for the import, 5 s for judging 624 films.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "evaluate_exhibits.csv"


def judge(test: Path, validation: Path) -> dict[str, float]:
    """One judgement in this process: seconds of each part."""
    started = time.perf_counter()
    import cxray.evaluate

    bare = time.perf_counter() - started
    from cxray.evaluate.summary import evaluate

    imported = time.perf_counter() - started
    from cxray.records import Predictions

    tables = Predictions.read(test), Predictions.read(validation)
    started = time.perf_counter()
    judgement = evaluate(tables[0], validation=tables[1], prevalence=(0.05, 0.1), slices=("label",))
    judged = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        judgement.save(Path(folder))
    assert cxray.evaluate is not None
    return {
        "import_cxray_evaluate": bare,
        "import_with_the_judge": imported,
        "evaluate": judged,
        "evaluate_and_save": time.perf_counter() - started,
        "films": float(judgement.facts["films"]),
        "records": float(len(judgement.records)),
        "tables": float(len(judgement.tables)),
    }


def main() -> None:
    """Repeat in fresh processes and append the medians to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(judge(options.test, options.validation)))
        return
    command = [sys.executable, __file__, str(options.test), "--validation", str(options.validation), "--one"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    runs = []
    for _ in range(options.repeats):
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **threads})
        runs.append(json.loads(answer.stdout))
    row = {name: f"{statistics.median(run[name] for run in runs):.4g}" for name in runs[0]}
    print(row, file=sys.stderr)
    append_row(RESULTS, {"repeats": options.repeats, **row, **facts()})


if __name__ == "__main__":
    main()
