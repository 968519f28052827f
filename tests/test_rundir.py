"""All-or-nothing output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxray import rundir
from cxray.errors import OutputError, UsageError


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    with pytest.raises(RuntimeError, match="half-way"), rundir.atomic_open(target) as stream:
        stream.write("half")
        raise RuntimeError("half-way")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    rundir.write_text(target, "old")
    with pytest.raises(RuntimeError), rundir.atomic_open(target) as stream:
        stream.write("new")
        raise RuntimeError
    assert target.read_text() == "old"


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    rundir.write_text(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    # RLIMIT_FSIZE fails a write just as a full disk does, without needing one.
    script = (
        "import resource, signal, sys; from pathlib import Path; from cxray import rundir\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: rundir.write_bytes(Path(sys.argv[1]) / 'big', bytes(10_000))\n"
        "except rundir.OutputError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"Cannot write {tmp_path / 'big'}: File too large.")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        rundir.write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(UsageError, match="is a file, but a folder"):
        rundir.prepare_folder(tmp_path / "file")


def test_a_folder_with_files_is_refused_until_overwrite_and_strangers_are_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="already holds files"):
        rundir.prepare_folder(tmp_path)
    (tmp_path / "manifest.json").write_text("of a web application")
    with pytest.raises(UsageError, match="was not made by cxray"):
        rundir.prepare_folder(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_our_own_folder_is_emptied_even_when_the_work_was_never_finished(tmp_path: Path) -> None:
    rundir.prepare_folder(tmp_path / "out")
    (tmp_path / "out" / "half").write_text("x")
    rundir.prepare_folder(tmp_path / "out", overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".cxray"]


def test_unfinished_work_is_offered_for_resuming_where_the_command_can(tmp_path: Path) -> None:
    rundir.prepare_folder(tmp_path)
    (tmp_path / "half").write_text("x")
    advice = {}
    for resume in (None, False):
        with pytest.raises(UsageError) as refused:
            rundir.check_folder(tmp_path, resume=resume)
        advice[resume] = refused.value.next_step
    assert "--resume" in advice[False] and "--resume" not in advice[None]
    rundir.check_folder(tmp_path, resume=True)
    rundir.write_manifest(tmp_path, {"kind": "run", "interrupted": True})
    with pytest.raises(UsageError) as interrupted:
        rundir.check_folder(tmp_path, resume=False)
    assert "--resume" in interrupted.value.next_step
    rundir.write_manifest(tmp_path, {"kind": "run"})
    with pytest.raises(UsageError) as finished:
        rundir.check_folder(tmp_path, resume=False)
    assert "--resume" not in finished.value.next_step
    (tmp_path / rundir.MANIFEST).write_text("{")
    with pytest.raises(UsageError) as damaged:
        rundir.check_folder(tmp_path, resume=False)
    assert "--overwrite" in damaged.value.next_step


def test_the_manifest_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    rundir.write_text(tmp_path / "a" / "b.txt", "hello")
    assert not rundir.is_complete(tmp_path)
    rundir.write_manifest(tmp_path, {"kind": "test"})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert rundir.is_complete(tmp_path)
    assert manifest["kind"] == "test"
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert manifest["files"] == {"a/b.txt": {"bytes": 5, "sha256": digest}}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        rundir.write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_what_is_to_be_read_is_never_emptied(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rundir.prepare_folder(out)
    (out / "films").mkdir()
    for reads in ([out], [out / "films"], [tmp_path, out / "films" / "1.png"]):
        with pytest.raises(UsageError, match="lies in .*, where the results would go"):
            rundir.prepare_folder(out, overwrite=True, reads=reads)
    assert (out / "films").is_dir()
    rundir.prepare_folder(out, overwrite=True, reads=[tmp_path])
    assert not (out / "films").exists()
