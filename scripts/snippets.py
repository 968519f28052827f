"""What can be typed in from the pages: command lines, inline commands, and blocks of Python, TOML and JSON.

Every command line is parsed by the real parser, and run by `tests/documents/test_snippets.py` unless a reason
stands here. The site shows the reasons at the end of each page.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cxray import config  # noqa: E402
from cxray.cli import COMMANDS, cli  # noqa: E402
from cxray.errors import CxrayError  # noqa: E402

# Why a command line is not run by the ordinary tests: the first pattern that is found in it decides.
NOT_RUN = (
    (r"\.\./shared", "needs the real films"),
    (
        r"^cxray train ",
        "minutes of training; recipe and settings are checked, and every test run trains small networks",
    ),
    (r"^cxray demo", "a minute or two of training; the same steps run with fewer films in every test run"),
    (r"^cxray serve", "runs until it is stopped; `tests/serve` starts it and talks to it"),
    (r"^cxray pacs (watch|listen|dicomweb|doctor|check|folder)", "needs a PACS; `tests/pacs` runs it against Orthanc"),
    (r"^cxray pacs", "needs the work of a node; `tests/pacs` makes it"),
    (r"^cxray deidentify|chest_dicom|runs/dicom", "needs DICOM films; `tests/workflow` makes them"),
    (r"^cxray cluster", "needs Ray and minutes; `tests/cluster` runs it"),
    (r"--resume", "needs a call that was killed; `tests/workflow` kills one"),
    (r"bfloat16", "needs OpenVINO and a processor that knows bfloat16"),
    (r"--card ", "minutes of covering and shuffling; `tests/explain` does it with a small network"),
    (r"onnx-int8", "half a minute of quantising; `tests/workflow` does it"),
)
_COMMAND = re.compile(r"^(?:\$ |ExecStart=)?(?:[A-Z_]+=\S+ )*(?:\S*/bin/)?(cxray [^\n]*)$")
# From here on a line speaks to the shell, not to the program.
_SHELL = ("&", "&&", "|", "||", ";")
_INLINE = re.compile(r"`(cxray [a-z][^`\n]*)`")


@dataclasses.dataclass(frozen=True)
class Snippet:
    """One thing to type in: the page, its line (from 1), "command" or the language of a block, and the text."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def reason(self) -> str:
        """Why the ordinary tests do not run this command line; "" when they do."""
        return next((reason for pattern, reason in NOT_RUN if re.search(pattern, self.text)), "")

    @property
    def form(self) -> str:
        """Command and names of options, sorted: lines of one form differ in names only, and one of them is run."""
        words = [word for word in self.words if re.fullmatch(r"--?[a-z][a-z-]*", word)]
        below = [word for word in self.words[:2] if re.fullmatch(r"[a-z]+", word)]
        return " ".join([*below[: 2 if self.words[0] in ("protocol", "cache") else 1], *sorted(set(words))])

    @property
    def words(self) -> list[str]:
        """A command line as the shell gives it to the program, without `cxray` itself."""
        words = shlex.split(self.text, comments=True)[1:]
        ends = [place for place, word in enumerate(words) if word in _SHELL or word.startswith((">", "2>"))]
        return words[: ends[0]] if ends else words


def written_pages() -> list[Path]:
    """The pages whose snippets are promised to work."""
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def snippets(page: Path) -> list[Snippet]:
    """Every command line, and every block of a language, in the order of the page."""
    lines = page.read_text("utf-8").splitlines()
    found = [*_commands(page, lines), *_blocks(page, lines)]
    return sorted(found, key=lambda snippet: snippet.line)


def inline_commands(page: Path) -> list[str]:
    """Commands in running text, such as `cxray evaluate --threshold`."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [match.group(1) for match in _INLINE.finditer(text)]


def _commands(page: Path, lines: Sequence[str]) -> Iterator[Snippet]:
    """Command lines stand in code: indented by four, or in a fence."""
    is_fenced, number = False, 0
    while number < len(lines):
        line = lines[number]
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            start = number
            text = line.strip()
            while text.endswith("\\") and number + 1 < len(lines):
                number += 1
                text = text[:-1] + lines[number].strip()
            match = _COMMAND.match(text)
            if match:
                yield Snippet(page, start + 1, "command", match.group(1))
        number += 1


def _blocks(page: Path, lines: Sequence[str]) -> Iterator[Snippet]:
    language, start, held = "", 0, list[str]()
    for number, line in enumerate(lines):
        if line.startswith("```") and not language:
            language, start, held = line[3:].strip() or "text", number, []
        elif line.startswith("```"):
            if language in ("python", "toml", "json"):
                yield Snippet(page, start + 1, language, "\n".join(held))
            language = ""
        else:
            held.append(line)


def faults_of(words: Sequence[str]) -> str:
    """What the real parser says against a command line; "" when it is well-formed. Nothing is run, no file is opened.

    Recipes and settings of `train` are read too, so that a line naming an unknown setting is a fault.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name="cxray")
    rest = list(words)
    try:
        while isinstance(command, click.Group):
            if not rest or rest[0] in ("--help", "--version"):
                return ""
            name = rest.pop(0)
            below = command.get_command(context, name)
            if below is None:
                return f"there is no command {name!r}"
            command = below
            context = click.Context(command, info_name=name, parent=context)
        if "--help" in rest:
            return ""
        parsed = command.make_context(command.name, rest, parent=context.parent)
        if words[0] == "train":
            recipe = parsed.params["recipe"]
            if recipe in config.SHIPPED_RECIPES:
                config.load_recipe(recipe, parsed.params["overrides"])
    except click.ClickException as error:
        return error.format_message()
    except CxrayError as error:
        return str(error)
    return ""


def unknown_words(text: str) -> list[str]:
    """Commands and options named in running text that do not exist; text may be a fragment of a command."""
    words = [word.rstrip(".,;:)") for word in re.split(r"[\s\[\]|]+", text)][1:]
    if not words or words[0] not in COMMANDS:
        return words[:1] if words and words[0].isidentifier() else []
    command = cli.get_command(click.Context(cli), words[0])
    known = _options(command)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            known |= _options(command.get_command(context, name))
    return [word for word in words[1:] if word.startswith("--") and word.partition("=")[0] not in known]


def _options(command: click.Command | None) -> set[str]:
    parameters = command.params if command else []
    return {"--help"} | {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}


def note(page: Path) -> str:
    """The lines that the site adds below a page: which of its command lines tests do not run, and why."""
    commands = [snippet for snippet in snippets(page) if snippet.kind == "command"]
    if not commands:
        return ""
    kept = {snippet.text: snippet.reason for snippet in commands if snippet.reason}
    if not kept:
        return "\n---\n\nThe command lines above are run by the tests, on synthetic films.\n"
    rows = [f"- `{_short(text)}`: {reason}." for text, reason in kept.items()]
    said = "Tests run the command lines above on synthetic films, but for these, whose words the real parser checks:\n"
    return "\n".join(["\n---\n", said, *rows, ""])


def overview() -> str:
    """A page with every command line of the documents that tests do not run, by reason."""
    reasons: dict[str, list[Snippet]] = {}
    total = 0
    for page in written_pages():
        for snippet in snippets(page):
            if snippet.kind == "command":
                total += 1
                reasons.setdefault(snippet.reason, []).append(snippet)
    run = len(reasons.pop("", []))
    parts = [
        "# How these pages are tested\n",
        f"The pages hold {total} command lines of `cxray`. Each is read by the real parser, with options, recipes and",
        f"settings; {run} are run on synthetic films by every test run, one of each form where lines differ in",
        "names of files only. Blocks of Python run too, TOML and JSON are parsed, commands and options in running text",
        "must exist, and links must lead somewhere. The tutorial runs from top to bottom, as a page and as a notebook.",
        "These lines are not run by the ordinary tests:\n",
    ]
    for reason, held in sorted(reasons.items()):
        parts.append(f"**{reason[0].upper()}{reason[1:]}.**\n")
        parts += [f"- `{_short(snippet.text)}` ({snippet.page.relative_to(ROOT).as_posix()})" for snippet in held] + [
            ""
        ]
    return "\n".join(parts)


def _short(text: str) -> str:
    text = " ".join(text.split("#")[0].split())
    return text if len(text) <= 70 else f"{text[:69]}…"
