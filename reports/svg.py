"""A chart as inline SVG: drawn by Vega-Lite, stripped to shapes and text, coloured by the page's CSS."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import vl_convert

from ..errors import ExportError

INK: Final = {
    "--ink": "#010101",
    "--muted": "#020202",
    "--line": "#030303",
    "--accent": "#040404",
    "--pale": "#050505",
    "--paper": "#060606",
    "--grade-a": "#0a0a0a",
    "--grade-b": "#0b0b0b",
    "--grade-c": "#0c0c0c",
    "--grade-d": "#0d0d0d",
    "--grade-n": "#0e0e0e",
    "--on-strong": "#0f0f0f",
    "--on-weak": "#101010",
}
"""CSS variable -> the colour that stands for it inside Vega, so that one drawing suits light and dark."""
_VARIABLE: Final = {colour: f"var({name})" for name, colour in INK.items()}
_SHAPES: Final = frozenset(
    ("svg", "g", "path", "line", "rect", "text", "tspan", "circle", "defs", "clipPath")
)
_PLACED: Final = ("d", "x", "y", "x1", "x2", "y1", "y2", "r", "width", "height", "transform", "viewBox")
_PAINTED: Final = ("fill", "stroke", "fill-opacity", "stroke-opacity", "opacity", "id", "clip-path")
_LINED: Final = ("stroke-width", "stroke-dasharray", "text-anchor", "font-size", "font-weight")
_KEPT: Final = frozenset((*_PLACED, *_PAINTED, *_LINED))
_SIZE: Final = re.compile(r"-?\d+\.\d{2,}")
_BAR: Final = 30
"""Height of the evidence bar in px."""
_MIN_LABELLED: Final = 0.04
"""A narrower part of the evidence bar has no room for its letter."""
_SPACE: Final = "{http://www.w3.org/2000/svg}"


Drawing = alt.Chart | alt.LayerChart | alt.FacetChart


def ink(name: str) -> str:
    """The stand-in colour of CSS variable `--name`."""
    return INK[f"--{name}"]


def styled(chart: Drawing, *, width: int, height: int) -> Drawing:
    """`chart` in house style: no frame, thin grid, text in the page's colours."""
    axis: dict[str, Any] = {
        "labelColor": ink("muted"),
        "titleColor": ink("muted"),
        "gridColor": ink("line"),
        "domainColor": ink("line"),
        "tickColor": ink("line"),
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    }
    return (
        chart.properties(width=width, height=height, background="transparent", padding=1)
        .configure(font="sans-serif")
        .configure_axis(**axis)
        .configure_view(stroke=None)
    )


def draw(chart: Drawing, *, label: str, name: str) -> str:
    """The SVG text of `chart`; `label` is what a screen reader says, `name` keeps ids apart.

    Raises: ExportError when the drawing holds anything but shapes and text.
    """
    root = ET.fromstring(vl_convert.vegalite_to_svg(chart.to_dict()))
    _strip(root, name)
    root.set("role", "img")
    root.set("aria-label", label)
    return ET.tostring(root, encoding="unicode")


def bar(shares: Sequence[tuple[str, float]], *, label: str) -> str:
    """The SVG text of one bar whose parts are grades with their share of the whole, as wide as the page.

    Places are percentages, so that the letters keep their size on a narrow screen.
    """
    root = ET.Element("svg", {"width": "100%", "height": f"{_BAR}", "role": "img", "aria-label": label})
    start = 0.0
    for grade, share in shares:
        place = {"x": f"{100 * start:.2f}%", "width": f"{100 * share:.2f}%", "height": f"{_BAR}"}
        fill = {"fill": f"var(--grade-{grade.lower()})", "stroke": "var(--paper)", "stroke-width": "2"}
        ET.SubElement(root, "rect", {**place, **fill})
        if share >= _MIN_LABELLED:
            tone = "var(--on-strong)" if grade in "AB" else "var(--on-weak)"
            at = {"x": f"{100 * (start + share / 2):.2f}%", "y": f"{_BAR / 2 + 4.5:g}"}
            style = {"fill": tone, "text-anchor": "middle", "font-size": "13", "font-weight": "600"}
            ET.SubElement(root, "text", {**at, **style}).text = grade
        start += share
    return ET.tostring(root, encoding="unicode")


def _strip(element: ET.Element, name: str) -> None:
    """Keep known shapes and attributes only; what Vega adds for interaction has no use here."""
    element.tag = element.tag.removeprefix(_SPACE)
    if element.tag not in _SHAPES:
        raise ExportError(f"a drawing holds <{element.tag}>", where="chart", expected="shapes and text only")
    kept = {k: _value(k, v, name) for k, v in element.attrib.items() if k in _KEPT}
    element.attrib.clear()
    element.attrib.update(kept)
    for child in list(element):
        _strip(child, name)
        hollow = child.tag in ("g", "defs") and len(child) == 0 and not (child.text or "").strip()
        if hollow or (child.tag == "path" and not _drawn(child)):
            element.remove(child)


def _drawn(path: ET.Element) -> bool:
    return bool(path.get("d")) and ("fill" in path.attrib or "stroke" in path.attrib)


def _value(key: str, value: str, name: str) -> str:
    if key in ("fill", "stroke"):
        return _VARIABLE.get(value, value)
    if key == "id":
        return f"{name}-{value}"
    if key == "clip-path":
        return value.replace("#", f"#{name}-")
    return _SIZE.sub(lambda m: f"{float(m.group()):.1f}", value) if key in ("d", "transform") else value
