"""The figures of the house that docs/architecture.md states; the bounds are kept by tests/contracts/test_structure.py.

python scripts/figures.py
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.contracts import test_structure as house


def figures() -> list[tuple[str, str]]:
    """What is counted and how much it is, in the order of the page."""
    sizes = {path: path.read_text("utf-8").count("\n") for path in house.MODULES}
    nodes = [(path, node) for path in house.MODULES for node in house.functions(path)]
    lengths = sorted(house.body_lines(node) for _, node in nodes)
    longest = max(nodes, key=lambda found: house.body_lines(found[1]))
    largest = max(sizes, key=sizes.__getitem__)
    documented = [bool(ast.get_docstring(node)) for path in house.MODULES for _, node in house.public(path)]
    return [
        ("modules, lines", f"{len(sizes)}, {sum(sizes.values()):,}"),
        ("functions", f"{len(lengths):,}"),
        ("median and 90th percentile of their lines", f"{_at(lengths, 0.5)} and {_at(lengths, house.USUAL_SHARE)}"),
        ("longest function", f"{lengths[-1]}, `{house.module_name(longest[0])}.{longest[1].name}`"),
        ("largest module", f"{sizes[largest]}, `{house.module_name(largest)}`"),
        (f"functions with more than {house.MOST_PARAMETERS} parameters", str(len(house.MANY_PARAMETERS))),
        ("public functions, classes and methods with a docstring", f"{sum(documented):,} of {len(documented):,}"),
    ]


def _at(lengths: list[int], share: float) -> int:
    return lengths[int(share * len(lengths))]


if __name__ == "__main__":
    print("\n".join(f"{what:58} {how_much}" for what, how_much in figures()))
