"""The site: a reference that is complete, a navigation that forgets nothing, a strict build that loads nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from scripts import reference, site

import cxray
from cxray.cli import COMMANDS
from cxray.config import SHIPPED_RECIPES

ROOT = site.ROOT


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_on_its_page(name: str, pages: dict[str, str]) -> None:
    page = pages[f"commands/{name}.md"]
    for words, command in reference.walk(reference.command_of(name), f"cxray {name}"):
        section = page.partition(f"# {words}\n")[2].partition("\n## ")[0]
        assert f"    {words}" in section
        for parameter in command.get_params(click.Context(command)):
            assert isinstance(parameter, click.Option | click.Argument)
            for option in (*parameter.opts, *parameter.secondary_opts) if isinstance(parameter, click.Option) else ():
                assert option in section, f"{option} of {words}"
    assert f"[`cxray {name}`]({name}.md)" in pages["commands/index.md"]


def test_what_help_says_of_an_option_stands_in_the_table(pages: dict[str, str]) -> None:
    page = pages["commands/evaluate.md"]
    assert "| `--out PATH` | *needed* | Folder for the results. |" in page
    assert "| `--policy TEXT` | `target_sensitivity:0.95` | How --validation is used. |" in page
    assert "score_&lt;CLASS>" in page
    assert "    cxray evaluate test.csv --out judged\n" in page


def test_every_public_name_is_in_the_reference(pages: dict[str, str]) -> None:
    for name in set(cxray.__all__) - {"__version__", "evaluate"}:
        assert f"### cxray.{name}\n" in pages["python.md"]
    for name in cxray.evaluate.__all__:
        assert f"### cxray.evaluate.{name}\n" in pages["python.md"]
    assert "train(\n    data: Path,\n    out: Path,\n    *,\n    recipe: str = 'default',\n" in pages["python.md"]
    assert "- `ConfigError, DataError, LabelError, SplitError`: with the sentence" in pages["python.md"]


def test_every_room_and_module_with_public_names_has_its_place(pages: dict[str, str]) -> None:
    rooms = {path.parent.relative_to(reference.SOURCE).parts[0] for path in reference.SOURCE.glob("*/**/*.py")}
    assert rooms - {"cli"} <= set(reference.ROOMS)
    assert "## cxray.data.prepare\n" in pages["rooms/data.md"]
    assert "## cxray.bundle\n" in pages["rooms/foundation.md"]


def test_settings_recipes_errors_and_extras_are_listed(pages: dict[str, str]) -> None:
    assert "| `aspect_fraction` | float | `0.0` |" in pages["recipes.md"]
    assert all(f"### {name}\n" in pages["recipes.md"] for name in SHIPPED_RECIPES)
    assert "| 7 | 409 | `SealedTestError` |" in pages["errors.md"]
    assert "| `docs` |" in pages["extras.md"]


def test_variables_of_the_environment_are_those_that_the_source_reads() -> None:
    read = set()
    for path in reference.SOURCE.rglob("*.py"):
        read |= set(re.findall(r"\bCXRAY_[A-Z_]+[A-Z]\b", path.read_text("utf-8")))
    # A code value in the private scheme of findings looks like a variable and is none.
    assert read - {"CXRAY_ACTIVATION"} == set(reference.ENVIRONMENT)


def test_links_become_those_of_the_site() -> None:
    pages = site.homes()
    text = (
        "See [b](../benchmarks/README.md#road), ![p](images/run.png), [code](../src/cxray/bundle.py), [w](https://a.b)."
    )
    assert site.relinked(text, ROOT / "docs" / "speed.md", pages) == (
        "See [b](numbers/benchmarks.md#road), ![p](images/run.png), code, [w](https://a.b)."
    )
    fenced = "```text\n[b](../benchmarks/README.md)\n```\n"
    assert site.relinked(fenced, ROOT / "docs" / "speed.md", pages) == fenced
    deeper = site.relinked("[t](../training.md)", ROOT / "docs" / "start" / "demo.md", pages)
    assert deeper == "[t](../training.md)"


def test_the_site_builds_strictly_and_asks_nothing_of_other_machines() -> None:
    pytest.importorskip("zensical", reason="needs the extra docs")
    done = subprocess.run([sys.executable, "scripts/site.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = ROOT / "build" / "site"
    html = sorted(built.rglob("*.html"))
    assert len(html) > 60
    for path in html:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=[\"']?(https?://[^\"'>\s]+)", path.read_text("utf-8")
        )
        assert not loaded, f"{path.name} loads {loaded[0]}"
    assert "Retold" in (built / "tutorial" / "article.html").read_text("utf-8").title()


def test_a_dead_link_stops_the_build(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="needs the extra docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](two.md)\n", "utf-8")
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "t"\n', "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0


def test_a_page_without_a_place_in_the_navigation_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site, "assemble", lambda: ["index.md", "lost.md"])
    assert site.build() == 1
    assert "zensical.toml does not name: lost.md" in capsys.readouterr().err
