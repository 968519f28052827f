"""The habits of the project: chores that exist, versions that agree, hooks that match files and stay at home."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

import cxray

ROOT = Path(__file__).resolve().parents[2]
CHORES = {"setup", "check", "test", "test-long", "cover", "docs", "tutorial", "pictures", "bench", "packages"}


def test_every_chore_has_one_word_and_a_sentence() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = {line.split()[0] for line in listed.splitlines() if line.strip()}
    assert words >= CHORES
    assert all(len(line.split()) > 2 for line in listed.splitlines() if line.strip())


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert project["version"] == cxray.__version__ == citation["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors", "abstract"} <= set(citation)


def test_hooks_are_local_and_each_matches_a_file() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["language"] == "system", hook["id"]
        matched = [name for name in tracked if re.search(hook.get("files", ""), name)]
        assert matched, f"hook {hook['id']} looks at no file"


def test_forms_for_issues_and_changes_are_whole() -> None:
    folder = ROOT / ".github"
    forms = sorted((folder / "ISSUE_TEMPLATE").glob("*.yml"))
    assert {form.stem for form in forms} == {"config", "fault", "number", "wish"}
    for form in forms:
        read = yaml.safe_load(form.read_text("utf-8"))
        assert form.stem == "config" or {"name", "description", "body"} <= set(read)
    assert "official test films" in (folder / "pull_request_template.md").read_text("utf-8")


def test_contributing_fits_on_one_screen() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) <= 50
