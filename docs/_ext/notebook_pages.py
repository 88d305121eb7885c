"""The executed notebooks as pages of the site: prose, code, printed text and figures, as they are stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SOURCE = Path(__file__).resolve().parents[2] / "notebooks"


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls: the pages are written before anything is read."""
    app.connect("builder-inited", _write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_all(app: Sphinx) -> None:
    target = Path(app.srcdir) / "notebooks"
    target.mkdir(exist_ok=True)
    for path in sorted(SOURCE.glob("*.ipynb")):
        text = page(json.loads(path.read_text(encoding="utf-8")), target, path.stem)
        (target / f"{path.stem}.md").write_text(text, encoding="utf-8")


def page(notebook: dict[str, Any], target: Path, stem: str) -> str:
    """A notebook as Markdown; its figures are written beside it."""
    blocks: list[str] = []
    for number, cell in enumerate(notebook["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(text)
            continue
        language = "text" if "!" in text[:1] or "\n!" in text else "python"  # a line for the shell
        blocks.append(f"```{language}\n{text}\n```")
        blocks.extend(_shown(output, target, f"{stem}-{number}") for output in cell["outputs"])
    return "\n\n".join(block for block in blocks if block) + "\n"


def _shown(output: dict[str, Any], target: Path, name: str) -> str:
    data = output.get("data", {})
    if "image/svg+xml" in data:
        (target / f"{name}.svg").write_text("".join(data["image/svg+xml"]), encoding="utf-8")
        return f"![figure]({name}.svg)"
    text = "".join(output.get("text") or data.get("text/plain") or "")
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
