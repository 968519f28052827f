"""Does the audit name beforehand the films that every model will misjudge?

    python benchmarks/audit_groups.py audit best=best-test.csv default=default-test.csv

`audit` is what `cxray audit` wrote: it knows films and labels, and no model. For each group whose test films contradict
it (`one-class-group-breaks`), and each table of `cxray predict` made at its bundle's threshold: how many healthy test
films of the group and of all others are called ill, and AUROC with and without the whole group. Appended to
`results/audit_groups.csv`. Tables of the official test are openings: see `docs/experiments.md`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cxray.records import Predictions
from cxray.tables import read_table
from overprint import judge

RESULTS = Path(__file__).parent / "results" / "audit_groups.csv"


def broken_groups(audit: Path) -> dict[str, list[Path]]:
    """The films of each group that breaks in test, by the group's name."""
    findings = json.loads((audit / "audit.json").read_text("utf-8"))["findings"]
    broken = [finding for finding in findings if finding["code"] == "one-class-group-breaks"]
    names = [group["group"] for finding in broken for group in finding["evidence"]["groups"]]
    table = read_table(audit / "tables" / "groups.csv")
    return {name: [Path(path) for path in table["path"][table["group"] == name]] for name in names}


def main() -> None:
    """Judge each table given on each group that breaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=TABLE")
    parser.add_argument("--positive", default="PNEUMONIA")
    given = parser.parse_args()
    for group, films in broken_groups(given.audit).items():
        for model in given.models:
            name, _, path = model.partition("=")
            judge(name, Predictions.read(Path(path)), films, given.positive, what=group, results=RESULTS)


if __name__ == "__main__":
    main()
