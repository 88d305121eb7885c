"""The notebooks: every cell runs, and they hold output, but no logic, no errors and no private paths."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import shadowprice as sp
from paths import REPOSITORY
from shadowprice import reader

FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SUBJECTS = {"01": "Quickstart", "02": "LiteLLM", "03": "refused", "04": "congestion", "05": "reader"}
MAX_BYTES = 400_000
MAX_CELL_LINES = 30
"""After formatting, which gives every argument of a table a line."""
ALLOWED = {"altair", "polars", "shadowprice", "pathlib", "os", "sys", "acme_gateway"}
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda, ast.Try)
PRIVATE = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users|var|opt)/|site-packages|\.venv")


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def code(cell: dict[str, Any]) -> str:
    """The Python of a cell; lines for the shell stand for nothing."""
    return re.sub(r"^!(?:.*\\\n)*.*", "pass", "".join(cell["source"]), flags=re.MULTILINE)


def test_there_is_one_notebook_for_each_subject() -> None:
    """Kills: a notebook that was lost or renamed, under whose absence all tests below pass."""
    assert [path.name[:2] for path in NOTEBOOKS] == list(SUBJECTS)
    for path, word in zip(NOTEBOOKS, SUBJECTS.values(), strict=True):
        assert word in "".join(cells(path, "markdown")[0]["source"])


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path: Path, tmp_path: Path) -> None:
    """Kills: a notebook that shows names or columns which are gone. The public data is left out, as in CI."""
    if not all(map(find_spec, ("nbclient", "nbformat", "ipykernel"))):
        pytest.skip("executing notebooks needs nbclient, nbformat and ipykernel")
    environment = {k: v for k, v in os.environ.items() if k != "SHADOWPRICE_DATA"}
    command = [sys.executable, str(FOLDER / "execute.py"), "--check", path.name[:2]]
    before = path.read_bytes()
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{path.name}: ran\n"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_output_is_stored_small_and_without_errors(path: Path) -> None:
    """Kills: a notebook committed before it was executed, with a traceback, or with megabytes of figures."""
    outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert kinds <= {"stream", "execute_result", "display_data"}
    assert all(cell["execution_count"] for cell in cells(path, "code"))
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_one_machine_is_stored(path: Path) -> None:
    """Kills: paths, names and times of the machine on which a notebook was executed."""
    text = path.read_text(encoding="utf-8")
    assert PRIVATE.search(text) is None
    assert set(json.loads(text)["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell["metadata"] == {} for cell in json.loads(text)["cells"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_logic_of_its_own(path: Path) -> None:
    """Kills: functions, loops and private modules in a notebook, where no test would hold them."""
    for cell in cells(path, "code"):
        tree = ast.parse(code(cell))
        assert not [node for node in ast.walk(tree) if isinstance(node, LOGIC)]
        assert len(code(cell).splitlines()) <= MAX_CELL_LINES
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert imported <= ALLOWED
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_sp(n.value)}
        assert used <= {*sp.__all__, "reader"}


def _is_sp(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "sp"


def test_what_a_reader_needs_is_one_public_list() -> None:
    """Kills: a tool of `shadowprice.reader` that is named and gone, or there and not named."""
    public = {name for name in vars(reader) if not name.startswith("_")} - {"annotations"}
    assert public == set(reader.__all__)
