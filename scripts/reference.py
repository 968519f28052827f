"""Reference pages from the code itself: commands from their parsers, Python names from signatures and docstrings,
settings from the recipe's dataclasses, errors from their family.

`pages()` gives every page by its path below `reference/`; nothing here is written by hand except the sentences on
environment variables, and a test holds those against the source.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import click

import cxray
from cxray import config, errors, extras
from cxray.cli import COMMANDS, cli

SOURCE = Path(cxray.__file__).parent
# Rooms in the order in which imports may run; the pages follow it.
ROOMS = (
    "foundation", "data", "evaluate", "runtime", "model", "explain", "report", "serve", "pacs", "cluster", "workflow",
)  # fmt: skip
ENVIRONMENT = {
    "CXRAY_CACHE": "Folder of prepared films; `cxray cache` shows it. Default `~/.cache/cxray`.",
    "CXRAY_STATE": "Folder of the log of openings and of measured engines. Default `~/.local/state/cxray`.",
    "CXRAY_KEY": "File with the key behind patient codes of DICOM films. Default `~/.config/cxray/pseudonym.key`.",
    "CXRAY_DICOM_ACCEPT": "Admission codes to waive, separated by commas, as `secondary-capture`.",
    "CXRAY_ALLOW_UNSAFE_DECODERS": "1: start although a decoder that damaged files can crash is installed.",
    "CXRAY_TOKEN": "Token that clients of `cxray serve` must send.",
    "CXRAY_PACS_USER": "User for DICOMweb and Orthanc.",
    "CXRAY_PACS_PASSWORD": "Password for DICOMweb and Orthanc.",
    "CXRAY_PACS_TOKEN": "Bearer token for DICOMweb, in place of user and password.",
}
_SECTIONS = ("Args", "Returns", "Raises", "Yields", "Attributes", "References", "Example", "Examples", "Notes")


def pages() -> dict[str, str]:
    """Every reference page: path below `reference/` to Markdown text."""
    found = {f"commands/{name}.md": command_page(name) for name in COMMANDS}
    found["commands/index.md"] = _commands_overview()
    found["python.md"] = python_page()
    found |= {f"rooms/{room}.md": room_page(room) for room in ROOMS if room_modules(room)}
    found["recipes.md"] = recipes_page()
    found["errors.md"] = errors_page()
    found["environment.md"] = environment_page()
    found["extras.md"] = extras_page()
    return found


# ---- commands ------------------------------------------------------------------------------------------------------


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and, where it is a group, all commands below it, with the words a user types."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for child in command.list_commands(context):
            below = command.get_command(context, child)
            if below is not None:
                yield from walk(below, f"{name} {child}")


def command_of(name: str) -> click.Command:
    """The parser of `cxray NAME`."""
    found = cli.get_command(click.Context(cli), name)
    if found is None:
        raise KeyError(name)
    return found


def command_page(name: str) -> str:
    """Usage, text, arguments, options and example of a command and of everything below it."""
    parts = [f"# cxray {name}\n"]
    for words, command in walk(command_of(name), f"cxray {name}"):
        if words != f"cxray {name}":
            parts.append(f"## {words}\n")
        parts.append(_command_text(words, command))
    return "\n".join(parts)


def _command_text(words: str, command: click.Command) -> str:
    context = click.Context(command, info_name=words, max_content_width=110)
    usage = " ".join([words, *command.collect_usage_pieces(context)])
    text, _, example = inspect.cleandoc(command.help or "").partition("\b\nExample:")
    lines = [f"    {usage}\n", _escaped(text.replace("\b\n", "").strip()), ""]
    rows = [_option_row(parameter, context) for parameter in command.get_params(context)]
    shown = [row for row in rows if row]
    if shown:
        lines += ["| option | default | what it does |", "|---|---|---|", *shown, ""]
    if example.strip():
        lines += ["Example:\n", *[f"    {line.strip()}" for line in example.strip().splitlines()], ""]
    return "\n".join(lines)


def _option_row(parameter: click.Parameter, context: click.Context) -> str:
    if isinstance(parameter, click.Argument):
        name = parameter.make_metavar(context).strip("[]")
        return f"| `{name}` |{' *needed*' if parameter.required else ''} | argument |"
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return ""
    record = parameter.get_help_record(context)
    names, text = record if record else (", ".join(parameter.opts), "")
    for tag in re.findall(r"\s*\[(?:default: [^\]]*|required)\]", text):
        text = text.replace(tag, "")
    default = _default_of(parameter, record[1] if record else "")
    return f"| `{_cell(names)}` | {default} | {_escaped(_cell(text))} |"


def _default_of(option: click.Option, help_text: str) -> str:
    if option.required:
        return "*needed*"
    said = re.search(r"\[default: ([^\]]*)\]", help_text)
    return f"`{_cell(said.group(1))}`" if said else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _commands_overview() -> str:
    rows = [f"| [`cxray {name}`]({name}.md) | {text} |" for name, text in sorted(COMMANDS.items())]
    return "\n".join(
        [
            "# Commands\n",
            "Every command has `--help` with an example. Results go to stdout or `--out`, everything else to stderr;",
            "`--json`, where it is offered, prints the result for machines. [Exit codes](../errors.md) never differ.\n",
            "| command | what for |",
            "|---|---|",
            *rows,
            "",
        ]
    )


# ---- Python --------------------------------------------------------------------------------------------------------


def python_page() -> str:
    """The names of `cxray` and of `cxray.evaluate`, from their signatures and docstrings."""
    parts = [
        "# Python\n",
        "The commands as functions, and the values they give. Libraries load when first used, so `import cxray`",
        "costs nothing. Types stand in the signatures; shapes, ranges and units in the text.\n",
    ]
    room = importlib.import_module("cxray.evaluate")
    parts += [_object_text("cxray", name) for name in cxray.__all__ if name not in ("__version__", "evaluate")]
    parts.append("## The judge: cxray.evaluate\n")
    parts.append("`cxray.evaluate(predictions, …)` is `cxray.evaluate.evaluate`. The room also publishes:\n")
    parts += [_object_text("cxray.evaluate", name) for name in room.__all__]
    return "\n".join(parts)


def _object_text(module: str, name: str) -> str:
    thing = getattr(importlib.import_module(module), name)
    lines = [f"### {module}.{name}\n", f"```python\n{_signature(thing, name)}\n```\n", docstring(inspect.getdoc(thing))]
    if inspect.isclass(thing):
        for attribute, member in vars(thing).items():
            function = getattr(member, "__func__", member)
            if attribute.startswith("_") or not inspect.isfunction(function):
                continue
            lines.append(f"#### {name}.{attribute}\n")
            lines += [f"```python\n{_signature(function, attribute)}\n```\n", docstring(inspect.getdoc(function))]
    return "\n".join(lines)


def _signature(thing: Any, name: str) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return f"class {name}"
    signature = _unquoted(inspect.signature(thing))
    text = f"{'class ' if inspect.isclass(thing) else ''}{name}{signature}"
    if len(text) <= 100:
        return text
    parameters = [*_with_star(signature)]
    returns = (
        ""
        if signature.return_annotation is inspect.Signature.empty
        else f" -> {inspect.formatannotation(signature.return_annotation)}"
    )
    return "\n".join([text.split("(")[0] + "(", *[f"    {parameter}," for parameter in parameters], f"){returns}"])


class _Bare(str):
    """An annotation that is a string because of a future import, printed as it was written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _unquoted(signature: inspect.Signature) -> inspect.Signature:
    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    parameters = [each.replace(annotation=bare(each.annotation)) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=bare(signature.return_annotation))


def _with_star(signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        yield str(parameter)


def room_modules(room: str) -> list[Path]:
    """The modules of a room, the foundation being what lies directly in the package."""
    folder = SOURCE if room == "foundation" else SOURCE / room
    found = folder.glob("*.py") if room == "foundation" else folder.rglob("*.py")
    return sorted(path for path in found if path.name not in ("__main__.py",))


def room_page(room: str) -> str:
    """Every public function and class of a room, module by module, without importing any of them."""
    parts = [f"# {'The foundation' if room == 'foundation' else f'cxray.{room}'}\n"]
    for path in room_modules(room):
        tree = ast.parse(path.read_text("utf-8"))
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        if not public:
            continue
        parts += [f"## {name}\n", docstring(ast.get_docstring(tree))]
        for node in public:
            parts += [f"### {node.name}\n", f"```python\n{_header(node)}\n```\n", docstring(ast.get_docstring(node))]
    return "\n".join(parts)


def _header(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        fields = [ast.unparse(item) for item in node.body if isinstance(item, ast.AnnAssign)]
        bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
        return "\n".join([f"class {node.name}{bases}:", *[f"    {field}" for field in fields]]).rstrip(":")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    text = f"{node.name}({ast.unparse(node.args)}){returns}"
    return text if len(text) <= 100 else text.replace(", ", ",\n    ").replace("(", "(\n    ", 1)


def docstring(text: str | None) -> str:
    """A docstring of the house as Markdown: its sections become small headings, their entries a list."""
    if not text:
        return ""
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        heading = re.fullmatch(r"([A-Z][a-z]+):", line)
        if heading and heading.group(1) in _SECTIONS:
            section = heading.group(1)
            lines += ["", f"**{section}**", ""]
        elif section in ("Args", "Raises", "Attributes") and re.match(r"    \S", line):
            name, colon, rest = line.strip().partition(":")
            lines.append(f"- `{name}`:{rest}" if colon else f"- {line.strip()}")
        elif section:
            lines.append(("  " if line.startswith("        ") else "") + line.strip())
        else:
            lines.append(line)
    return _escaped("\n".join(lines)) + "\n"


def _escaped(text: str) -> str:
    """Angle brackets and double brackets that mean themselves, outside of code spans."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if place % 2 else piece.replace("<", "&lt;").replace("[[", "[ [") for place, piece in enumerate(pieces)
    )


# ---- recipes, errors, environment, extras --------------------------------------------------------------------------


def recipes_page() -> str:
    """Every setting of a recipe with its type and default, and the shipped recipes as they are."""
    parts = [
        "# Recipes and settings\n",
        "A recipe is a TOML file; `--recipe` takes a shipped name or a path, `--set section.key=value` changes one",
        "setting, and the resolved settings are saved beside the run as `config.toml`. An unknown key is refused.\n",
    ]
    hints = typing.get_type_hints(config.Recipe)
    top = [field for field in dataclasses.fields(config.Recipe) if not dataclasses.is_dataclass(hints[field.name])]
    parts += ["## At the top\n", docstring(inspect.getdoc(config.Recipe)), *_settings_table(top)]
    for field in dataclasses.fields(config.Recipe):
        kind = hints[field.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            parts += [f"## [{field.name}]\n", docstring(inspect.getdoc(kind))]
            parts += _settings_table(list(dataclasses.fields(kind)))
    parts.append("## Shipped recipes\n")
    for name in config.SHIPPED_RECIPES:
        text = resources.files("cxray").joinpath("recipes", f"{name}.toml").read_text("utf-8")
        parts += [f"### {name}\n", f"```toml\n{text.rstrip()}\n```\n"]
    return "\n".join(parts)


def _settings_table(fields: list[dataclasses.Field[Any]]) -> list[str]:
    rows = [f"| `{field.name}` | {_cell(str(field.type))} | `{field.default!r}` |" for field in fields]
    return ["| setting | type | default |", "|---|---|---|", *rows, ""]


def errors_page() -> str:
    """The family of errors with exit codes and what each means."""
    parts = [
        "# Errors and exit codes\n",
        "A message says what was expected, what came, which file, and what to do next. Codes 0 and 130 (stopped) are",
        "as everywhere. In Python the same family is raised; `cxray.CxrayError` catches all of it.\n",
        "| exit code | HTTP | error | meaning |",
        "|---|---|---|---|",
    ]
    family = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.CxrayError)]
    for kind in sorted(family, key=lambda kind: (kind.exit_code, kind.__name__)):
        meaning = _cell((inspect.getdoc(kind) or "").split("\n\n")[0])
        parts.append(f"| {kind.exit_code} | {kind.http_status} | `{kind.__name__}` | {meaning} |")
    return "\n".join([*parts, ""])


def environment_page() -> str:
    """What is read from the environment."""
    rows = [f"| `{name}` | {text} |" for name, text in ENVIRONMENT.items()]
    return "\n".join(["# Environment variables\n", "| variable | meaning |", "|---|---|", *rows, ""])


def extras_page() -> str:
    """The extras of the package and what each brings, from the package's own metadata."""
    import tomllib

    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    rows = [f"| `{name}` | {', '.join(f'`{need}`' for need in needs)} |" for name, needs in _extras(project)]
    return "\n".join(
        ["# Extras\n", (extras.__doc__ or "").split("\n")[0], "", "| extra | libraries |", "|---|---|", *rows, ""]
    )


def _extras(project: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    yield "(base)", project["dependencies"]
    yield from project["optional-dependencies"].items()
