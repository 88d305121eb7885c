"""The report of a run: one HTML page that needs nothing else, its Markdown and its JSON."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import jinja2
from markupsafe import Markup

from . import json_report, markdown
from .content import Content, content
from .escape import visible
from .numbers import GRADE_DARK, GRADE_LIGHT, GRADE_MEANING
from .privacy import without_small_cells
from .view import Report, RunView

_TEMPLATE: Final = "report.html.jinja"
_STYLE: Final = "style.css"


def build(view: RunView) -> Report:
    """The report on `view` as HTML, Markdown and JSON; the same view gives the same bytes."""
    shown, hidden = without_small_cells(view)
    said = content(shown, hidden=hidden)
    return Report(html=_html(said), markdown=markdown.render(said), json=json_report.render(shown, said))


def _html(said: Content) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    room = files(__name__.rpartition(".")[0])
    template = environment.from_string(room.joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    style = _grade_rules() + room.joinpath(_STYLE).read_text(encoding="utf-8")
    return template.render(said=said, style=Markup(style), drawn=Markup, grades=GRADE_MEANING)


def _visible(value: Any) -> Any:
    """Every text on the page with its invisible characters spelled out, before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _grade_rules() -> str:
    light = "".join(f"--grade-{g.lower()}:{colour};" for g, colour in GRADE_LIGHT.items())
    dark = "".join(f"--grade-{g.lower()}:{colour};" for g, colour in GRADE_DARK.items())
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
