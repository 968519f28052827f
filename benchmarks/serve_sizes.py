"""Installed sizes of what a serving machine needs: the closure of cxray's requirements for a choice of extras, in MB.

python benchmarks/serve_sizes.py      written to results/serve_sizes.csv; measured on the installed files of this venv
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement

from machine import append_row, facts

CHOICES = ("serve", "serve,dicom", "serve,dicom,openvino")


def closure(package: str, extras: set[str], seen: dict[str, set[str]]) -> None:
    """Collect every package that `package` with `extras` needs here."""
    package = package.lower().replace("_", "-")
    if extras <= seen.get(package, set()) and package in seen:
        return
    seen.setdefault(package, set()).update(extras)
    for line in importlib.metadata.requires(package) or []:
        needed = Requirement(line)
        wanted = [needed.marker.evaluate({"extra": extra}) for extra in (*extras, "")] if needed.marker else [True]
        if any(wanted):
            closure(needed.name, set(needed.extras), seen)


def megabytes(package: str) -> float:
    """Size of a package's own installed files, byte code left out."""
    found = importlib.metadata.files(package) or []
    paths = [Path(str(one.locate())) for one in found if one.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    """One row a choice of extras."""
    for choice in CHOICES:
        seen: dict[str, set[str]] = {}
        closure("cxray", set(choice.split(",")), seen)
        sizes = {name: megabytes(name) for name in seen if name != "cxray"}
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:4]
        row = {
            "extras": choice,
            "packages": len(sizes),
            "megabytes": round(sum(sizes.values())),
            "largest": ", ".join(f"{name} {sizes[name]:.0f}" for name in largest),
        }
        print(row)
        append_row(Path(__file__).parent / "results" / "serve_sizes.csv", {**row, **facts()})


if __name__ == "__main__":
    main()
