"""The promises of the house that a machine can keep: which room may know which, no cycles, small functions."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "cxray"
MODULES = sorted(SOURCE.rglob("*.py"))

# Each room may import from rooms of lower rank and from itself. `data` and `evaluate` are siblings.
RANK = {
    "__init__": 0, "errors": 0, "extras": 0, "records": 0, "config": 0, "rundir": 0, "tables": 0, "progress": 0,
    "data": 1, "evaluate": 1,
    "bundle": 2,
    "runtime": 3,
    "model": 4,
    "explain": 5,
    "report": 6, "serve": 6, "pacs": 6, "cluster": 6,
    "workflow": 7,
    "cli": 8, "__main__": 9,
}  # fmt: skip
# Knows nothing of TensorFlow although it lies in the training rooms; the run's page shows what it wrote.
REPORT_MAY_KNOW = {"cxray.model.history"}
MOST_FUNCTION_LINES, MOST_MODULE_LINES, MOST_PARAMETERS = 60, 450, 10


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


NAMES = {module_name(path) for path in MODULES}


def imports(path: Path, *, everywhere: bool) -> set[str]:
    """Full names of the modules that `path` imports; only at module level unless `everywhere`."""
    tree = parse(path)
    nodes = list(ast.walk(tree)) if everywhere else _module_level(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            found |= {f"{base}.{a.name}" if f"{base}.{a.name}" in NAMES else base for a in node.names}
    return found


def _module_level(tree: ast.Module) -> list[ast.AST]:
    """Statements run on import; blocks under `if TYPE_CHECKING` are not."""
    nodes: list[ast.AST] = []
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        nodes += [node] if not isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return nodes


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    name = module_name(path)
    for other in imports(path, everywhere=True):
        if not other.startswith("cxray") or room(other) == room(name) or other == "cxray":
            continue
        assert room(other) in RANK, f"{other} is in a room without a rank"
        if room(name) == "report" and other in REPORT_MAY_KNOW:
            continue
        lower = RANK[room(other)] < RANK[room(name)] or RANK[room(name)] == RANK[room(other)] == 0
        assert lower, f"{name} must not import {other}"
        if room(name) == "report":
            assert room(other) not in ("runtime", "model", "bundle"), f"{name} draws, it must not know {other}"


def test_there_is_no_import_cycle() -> None:
    graph = {module_name(path): {m for m in imports(path, everywhere=False) if m in NAMES} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name] - {name}):
                # A package's __init__ is entered whenever one of its modules is; that is no cycle.
                if not name.startswith(f"{other}."):
                    visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_tensorflow_stays_in_the_training_rooms(path: Path) -> None:
    if room(module_name(path)) == "model":
        return
    known = {other.partition(".")[0] for other in imports(path, everywhere=True)}
    assert not known & {"tensorflow", "keras", "tf2onnx", "torch", "jax"}
    assert not any("cxray.model" in other for other in imports(path, everywhere=False) - REPORT_MAY_KNOW)


def test_nothing_imports_pickle() -> None:
    for path in MODULES:
        assert not imports(path, everywhere=True) & {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}, path


def test_there_is_no_utils_room() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "util", "helpers", "misc", "common")]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_functions_and_modules_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MOST_MODULE_LINES, f"{path} holds more than one idea"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.body[0].lineno + 1
            assert lines <= MOST_FUNCTION_LINES, f"{path}:{node.lineno} {node.name} has {lines} lines"
            parameters = len(node.args.args) + len(node.args.kwonlyargs)
            is_command = path.parent.name == "cli"
            assert is_command or parameters <= MOST_PARAMETERS, (
                f"{path}:{node.lineno} {node.name}: {parameters} parameters"
            )


def test_most_functions_are_short() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.body[0].lineno + 1
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)
    )
    assert lengths[int(0.9 * len(lengths))] <= 35


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_public_functions_are_documented(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree), f"{path} does not say what it is for"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name} has no docstring"
