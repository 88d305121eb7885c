"""Equations as MathML in the page: no script, no font and no other machine is needed to read them."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls: the one renderer of math in HTML."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _display(translator: Any, node: nodes.math_block) -> None:
    label = f' id="equation-{node["label"]}"' if node.get("label") else ""
    translator.body.append(f'<div class="math"{label}>{convert(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode
