"""What an installation weighs and how long it takes: base and each extra of a built wheel, in an empty environment.

    python benchmarks/install_sizes.py                        # base and every extra; rows to results/install_sizes.csv
    python benchmarks/install_sizes.py --only base --only train
    python benchmarks/install_sizes.py --installed            # only sizes, of what is installed here; no download
    python benchmarks/install_sizes.py --smoke                # wheel and sdist, base only, and do they work?

Each environment is new and without pip; pip's cache is not used, so downloads are included. Megabytes are 10^6 bytes of
files, compiled bytecode included, because that is what lies on the disk afterwards.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

from machine import append_row, facts
from serve_sizes import closure, megabytes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "install_sizes.csv"
SMOKE = """
import pathlib, subprocess, sys
from cxray.data.phantom import PhantomPlan, write_phantom_folder
films = write_phantom_folder(pathlib.Path("films"), PhantomPlan(size_px=64), 12, seed=0)
rows = [f"{path},{path.parent.name},{0.2 + 0.6 * (path.parent.name == 'PNEUMONIA')}" for path in films.rglob("*.png")]
pathlib.Path("table.csv").write_text("\\n".join(["path,label,score_PNEUMONIA", *rows]) + "\\n")
"""


def needs() -> dict[str, list[str]]:
    """Base, and the extras that are meant for users, with their requirements as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    meant = {name: lines for name, lines in project["optional-dependencies"].items() if not name.startswith("dev")}
    return {"base": project["dependencies"], **meant}


def build(target: Path) -> tuple[Path, Path]:
    """Wheel and sdist of the working tree, built by the backend that pyproject.toml names, the wheel from the sdist."""
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(target.glob("*.whl")), next(target.glob("*.tar.gz"))


def install(package: Path, extra: str, folder: Path) -> dict[str, object]:
    """Install into a new environment at `folder`; wall and processor seconds, packages and megabytes."""
    venv.create(folder, with_pip=False, clear=True)
    wanted = str(package) if extra == "base" else f"{package}[{extra}]"
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    options = ["--quiet", "--no-cache-dir", "--disable-pip-version-check"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([*command, "install", *options, wanted], check=True, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "extra": extra,
        "packages": len(list(folder.glob("lib/python*/site-packages/*.dist-info"))),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6),
        "wall_seconds": round(wall, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def installed(extra: str) -> dict[str, object]:
    """Packages and megabytes, bytecode left out, of what `extra` needs, from the files of this environment."""
    seen: dict[str, set[str]] = {}
    for needed in map(Requirement, [*needs()["base"], *needs()[extra]]):
        if not needed.marker or needed.marker.evaluate():
            closure(needed.name, set(needed.extras), seen)
    sizes = {name: megabytes(name) for name in seen}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
    named = ", ".join(f"{name} {sizes[name]:.0f}" for name in largest)
    return {"extra": extra, "packages": len(sizes), "megabytes_of_files": round(sum(sizes.values())), "largest": named}


def try_it(folder: Path, scratch: Path) -> None:
    """Reference values, an audit and a judgement in the environment at `folder`; a failure raises."""
    python, cxray = folder / "bin" / "python", folder / "bin" / "cxray"
    subprocess.run([python, "-c", SMOKE], cwd=scratch, check=True)
    for words in (
        ["--version"],
        ["selftest"],
        ["audit", "films", "--out", "audited"],
        ["evaluate", "table.csv", "--out", "judged"],
    ):
        subprocess.run([cxray, *words], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    if not (scratch / "judged" / "report.html").is_file():
        raise SystemExit("The judgement left no report.")


def smoke(scratch: Path) -> None:
    """Wheel and sdist, each installed in an empty environment and tried."""
    for package in build(scratch / "dist"):
        folder, work = scratch / f"env-{package.suffix[1:]}", scratch / f"work-{package.suffix[1:]}"
        work.mkdir()
        row = install(package, "base", folder)
        try_it(folder, work)
        print(f"{package.name}: {package.stat().st_size / 1e6:.2f} MB; installed {row['megabytes']} MB; works.")


def main() -> None:
    """Measure, or only try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(needs()), help="Repeatable.")
    parser.add_argument("--quiet", action="store_true", help="Say that nothing else ran, so that wall time counts.")
    parser.add_argument("--installed", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.installed:
        for extra in options.only or list(needs()):
            row = installed(extra)
            append_row(RESULTS, {**facts(), **row})
            print(row)
        return
    scratch = Path(tempfile.mkdtemp(prefix="install-sizes-"))
    try:
        if options.smoke:
            smoke(scratch)
            return
        wheel, sdist = build(scratch / "dist")
        packed = {"wheel_kilobytes": wheel.stat().st_size // 1000, "sdist_kilobytes": sdist.stat().st_size // 1000}
        for extra in options.only or list(needs()):
            row = install(wheel, extra, scratch / "env")
            append_row(RESULTS, {**facts(), **packed, **row, "machine_to_itself": options.quiet})
            print(row, flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
