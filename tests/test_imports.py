"""What imports what: no circle, nothing from above, and no private name of another module."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("frenchpress", "timit")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(path):
    """(module, name or None) of every import, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def needed(path):
    """Modules of ours that `path` imports."""
    found = {f"{module}.{name}" if f"{module}.{name}" in MODULES else module for module, name in imports(path)}
    return found & set(MODULES)


def test_imports_have_no_circle():
    graph = {name: needed(path) - {name} for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 500
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_private_names_stay_in_their_module():
    private = [
        f"{name}: {module}.{imported}"
        for name, path in MODULES.items()
        for module, imported in imports(path)
        if module in MODULES and imported and imported.startswith("_") and not imported.startswith("__")
    ]
    assert not private


def floors():
    """Package -> floor, as docs/develop.md has them."""
    rows = re.findall(r"^\| (\d) \| (.*) \|$", (ROOT / "docs/develop.md").read_text("utf-8"), re.M)
    return {package: int(floor) for floor, packages in rows for package in re.findall(r"`(\w+)`", packages)}


def test_a_package_imports_only_from_those_below():
    floor = floors()
    assert len(floor) >= 16
    up = [
        f"{name}: {other}"
        for name, path in MODULES.items()
        for other in needed(path)
        for ours, theirs in [(name.split(".")[1:2], other.split(".")[1:2])]
        if ours != theirs and ours and theirs and floor.get(ours[0], 9) <= floor.get(theirs[0], 0)
    ]
    assert not up
