"""The house rules that imports can show: who may see whom, and who owns a heavy library."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import REPOSITORY

ROOMS = ("schemas", "ingest", "estimators", "reports")
MAY_SEE = {
    "errors": set[str](),
    "schemas": {"errors", "schemas"},
    "ingest": {"errors", "schemas", "ingest"},
    "estimators": {"errors", "schemas", "estimators"},
    "reports": {"errors", "schemas", "estimators", "reports"},
}
MAX_LINES = 400


def package_files() -> list[Path]:
    """Every module of the package."""
    rooms = (path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py"))
    return sorted([*REPOSITORY.glob("*.py"), *rooms])


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Every import of `source`, absolute within the package: (dotted name, only for type checkers)."""
    tree = ast.parse(source)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            target = [*base, *(node.module.split(".") if node.module else [])]
            prefix = "." if node.level else ""
            for alias in node.names:
                yield prefix + ".".join([*target, alias.name]), id(node) in typing_only


def imports_of(path: Path) -> list[tuple[str, bool]]:
    package = path.relative_to(REPOSITORY).parent.parts
    return list(imports(path.read_text(encoding="utf-8"), package))


def room_of(dotted: str) -> str:
    return dotted.lstrip(".").split(".")[0]


@pytest.mark.parametrize("path", package_files(), ids=module_name)
def test_a_room_sees_only_the_rooms_below_it(path: Path) -> None:
    """Kills: an import of estimators from ingest, of cli from a room, of anything from errors."""
    allowed = MAY_SEE.get(room_of(module_name(path)))
    if allowed is None:
        return  # cli, runs and their like stand at the door and see everything
    seen = {room_of(name) for name, _ in imports_of(path) if name.startswith(".")}
    assert seen <= allowed


@pytest.mark.parametrize("path", package_files(), ids=module_name)
def test_the_package_imports_itself_relatively(path: Path) -> None:
    """Kills: `from shadowprice...` inside the package, which a vendored or renamed copy would miss."""
    assert not [name for name, _ in imports_of(path) if name.split(".")[0] == "shadowprice"]


def test_imports_have_no_cycle() -> None:
    """Kills: two modules that need each other, also where a late import hides it."""
    names = {module_name(path) for path in package_files()}
    graph: dict[str, set[str]] = {}
    for path in package_files():
        own = module_name(path)
        found = [
            name.lstrip(".") for name, typing_only in imports_of(path) if not typing_only and name[0] == "."
        ]
        targets = {name if name in names else name.rpartition(".")[0] for name in found}
        graph[own] = {name for name in targets if name in names and name not in ("", own)}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("library", ["econml", "genai_prices", "vl_convert", "typer"])
def test_a_heavy_library_has_one_owner(library: str) -> None:
    """Kills: a second module that talks to a library which one module is to hide."""
    door = {"cli", "cli_looking", "doorway", "exits"} if library == "typer" else set[str]()
    owners = {
        module_name(path)
        for path in package_files()
        if any(name.split(".")[0] == library for name, _ in imports_of(path))
    }
    assert len(owners - door) <= 1


@pytest.mark.parametrize("path", package_files(), ids=module_name)
def test_a_file_stays_short_enough_to_read(path: Path) -> None:
    """Kills: a file that grows beyond one sitting."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_walk_sees_relative_late_and_typing_imports() -> None:
    """Kills: a walker that finds nothing, so that every rule above holds by accident."""
    source = (
        "from ..errors import X\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import C\n"
        "def f():\n    import econml.dml\n    from ...ingest import seam\n"
    )
    found = set(imports(source, ("reports", "diagnostics")))
    assert {(".reports.errors.X", False), (".reports.diagnostics.b.C", True)} <= found
    assert {("econml.dml", False), (".ingest.seam", False)} <= found
