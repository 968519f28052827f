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
MOST_FUNCTION_LINES, MOST_MODULE_LINES, MOST_PARAMETERS = 60, 450, 7
USUAL_FUNCTION_LINES, USUAL_SHARE = 35, 0.9
SAME_LINES = 12
# A command has one parameter for each of its options, and so has the journey behind it, keyword-only, because
# `cxray.train(...)` and `cxray train` say the same; a record that groups them would be a second vocabulary.
MANY_PARAMETERS = {
    "cxray.evaluate.summary.evaluate": 10,
    "cxray.workflow.cluster_sweep.sweep": 9,
    "cxray.workflow.cluster_train.train": 10,
    "cxray.workflow.compare.compare_tables": 8,
    "cxray.workflow.evaluate.evaluate_table": 10,
    "cxray.workflow.evaluate._write": 8,
    "cxray.workflow.predict.predict": 8,
    "cxray.workflow.run_order.command_line": 8,
    "cxray.workflow.train.train": 10,
}


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


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> list[Function]:
    """Every function of a module, methods and inner ones too."""
    return [node for node in ast.walk(parse(path)) if isinstance(node, Function)]


def body_lines(node: Function) -> int:
    """Lines from the docstring to the end."""
    return (node.end_lineno or 0) - node.body[0].lineno + 1


def parameters(node: Function) -> int:
    """How many a caller may give."""
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in named)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_functions_and_modules_stay_small(path: Path) -> None:
    assert path.read_text("utf-8").count("\n") <= MOST_MODULE_LINES, f"{path} holds more than one idea"
    for node in functions(path):
        lines = body_lines(node)
        assert lines <= MOST_FUNCTION_LINES, f"{path}:{node.lineno} {node.name} has {lines} lines"


def test_most_functions_are_short() -> None:
    lengths = sorted(body_lines(node) for path in MODULES for node in functions(path))
    assert lengths[int(USUAL_SHARE * len(lengths))] <= USUAL_FUNCTION_LINES


def test_functions_take_few_parameters() -> None:
    """Commands may take one for each option; every other exception stands in a list that must not grow stale."""
    found = {
        f"{module_name(path)}.{node.name}": parameters(node)
        for path in MODULES
        if path.parent.name != "cli"
        for node in functions(path)
        if parameters(node) > MOST_PARAMETERS
    }
    assert found == MANY_PARAMETERS


def test_no_twelve_lines_stand_twice() -> None:
    seen: dict[str, str] = {}
    for path in MODULES:
        written = [line.strip() for line in path.read_text("utf-8").splitlines()]
        lines = [line for line in written if line and not line.startswith("#")]
        for start in range(len(lines) - SAME_LINES + 1):
            run = "\n".join(lines[start : start + SAME_LINES])
            assert run not in seen, f"{path} and {seen[run]} share {SAME_LINES} lines:\n{run}"
            seen[run] = str(path)


def public(path: Path) -> list[tuple[str, Function | ast.ClassDef]]:
    """Functions and classes of a module that others may use, and the public methods of those classes, by name."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    top = [node for node in parse(path).body if isinstance(node, kinds) and not node.name.startswith("_")]
    found: list[tuple[str, Function | ast.ClassDef]] = [(node.name, node) for node in top]
    for owner in top:
        if isinstance(owner, ast.ClassDef):
            methods = [node for node in owner.body if isinstance(node, Function) and not node.name.startswith("_")]
            found += [(f"{owner.name}.{node.name}", node) for node in methods]
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_everything_public_are_documented(path: Path) -> None:
    assert ast.get_docstring(parse(path)), f"{path} does not say what it is for"
    for name, node in public(path):
        text = ast.get_docstring(node)
        assert text, f"{path}:{node.lineno} {name} has no docstring"
        # The text of a route is what its clients read in openapi.json; its refusals are declared beside it.
        if isinstance(node, ast.ClassDef) or path.parent.name == "cli" or is_route(node) or "see `" in text.lower():
            continue
        if raises(node):
            assert "Raises" in text, f"{path}:{node.lineno} {name} raises and does not say what"
        if takes_or_gives_arrays(node):
            is_said = "(" in text or "shape" in text
            assert is_said, f"{path}:{node.lineno} {name} does not say the shapes of its arrays"


def is_route(node: Function) -> bool:
    """Whether a function answers requests."""
    return any("router." in ast.unparse(decorator) for decorator in node.decorator_list)


def raises(node: Function) -> bool:
    """Whether a function raises an exception of its own, inner functions left out."""
    waiting: list[ast.AST] = [*node.body]
    while waiting:
        here = waiting.pop()
        if isinstance(here, ast.Raise) and here.exc is not None:
            return True
        if not isinstance(here, Function | ast.Lambda):
            waiting += ast.iter_child_nodes(here)
    return False


def takes_or_gives_arrays(node: Function) -> bool:
    """Whether an array stands in the signature by NumPy's name."""
    hints = [argument.annotation for argument in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
    return any("NDArray" in ast.unparse(hint) or "ArrayLike" in ast.unparse(hint) for hint in hints if hint)
