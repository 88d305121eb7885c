"""Executes the notebooks and stores their output, or only checks that every cell still runs.

    python notebooks/execute.py                 execute all five and store what they print
    python notebooks/execute.py --check 01      execute those whose name begins with 01; write nothing

Each runs in an empty folder of its own beside a link to examples/: nothing is left behind, and no path of
this machine gets into the output. The third uses public data when SHADOWPRICE_DATA names its folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE: Final = Path(__file__).resolve().parent
CELL_SECONDS: Final = 300
_KERNEL: Final = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> int:
    """0 when every notebook ran to its end."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("names", nargs="*", help="beginnings of names; all notebooks if none is given")
    asked.add_argument("--check", action="store_true", help="write nothing")
    args = asked.parse_args()
    paths = [
        p for p in sorted(HERE.glob("*.ipynb")) if not args.names or p.name.startswith(tuple(args.names))
    ]
    if not paths:
        print(f"no notebook begins with {' or '.join(args.names)}", file=sys.stderr)
        return 2
    failed = 0
    for path in paths:
        try:
            done = executed(nbformat.read(path, as_version=4))
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            failed = 1
            continue
        if not args.check:
            nbformat.write(done, path)
        print(f"{path.name}: ran")
    return failed


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with fresh output, without times and without anything of this machine."""
    with tempfile.TemporaryDirectory(prefix="shadowprice-notebook-") as folder:
        work = Path(folder) / "notebooks"
        work.mkdir()
        (Path(folder) / "examples").symlink_to(HERE.parent / "examples")
        # Fonts, settings and history of the person at the keyboard are not part of a notebook.
        own = {"IPYTHONDIR": str(Path(folder) / "ipython"), "NO_COLOR": "1", "COLUMNS": "110"}
        own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(work)}},
            extra_arguments=["--log-level=ERROR"],
        )
        client.execute(env={**os.environ, **own})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                _keep_one_form(output)
    notebook.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    return notebook


def _keep_one_form(output: nbformat.NotebookNode) -> None:
    """A figure stays as SVG alone, a table as text alone: small, and shown everywhere."""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        data.pop("text/plain", None)
    data.pop("text/html", None)
    output.get("metadata", {}).clear()


if __name__ == "__main__":
    sys.exit(main())
