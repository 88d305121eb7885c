"""report.md: the report for a pull-request comment; text from logs is inert."""

from __future__ import annotations

from typing import Final

from .content import Content
from .escape import markdown as safe
from .tables import Table

MAX_BYTES: Final = 60_000
"""GitHub refuses comments above 65,536 characters."""
_ROWS: Final = 25
_CUT: Final = "\n\nThe rest is in report.html.\n"


def render(content: Content) -> str:
    """The text of report.md, cut at a paragraph when it would exceed 60 kB."""
    head = content.headline
    parts = [
        "# shadowprice",
        " · ".join(safe(s) for s in content.scope),
        f"**{safe(content.evidence.title)}.** {safe(content.spend)}."
        if content.evidence
        else safe(content.spend),
        *(
            ["Simulated logs: the truth is known and stands beside the estimates."]
            if content.simulated
            else []
        ),
        f"## {safe(head.title)}",
        safe(head.sentence()),
        *_section(content.findings, f"{safe(content.nothing)}."),
        *_section(content.break_evens, ""),
        *(_section(content.waterfall.table, "") if content.waterfall else []),
        *_section(content.split, ""),
        *_section(content.checks, ""),
        *(part for chart in content.strips for part in _section(chart.table, "")),
        *_section(content.drifts, ""),
        *(part for chart in content.trends for part in _section(chart.table, "")),
        *_section(content.predictions, ""),
        *(part for t in content.truth for part in _section(t, "")),
        *_section(content.coverage, ""),
        *_section(content.estimates, "No contrast could be looked at."),
        *(part for t in content.ingest for part in _section(t, "")),
        *([safe(content.hidden)] if content.hidden else []),
    ]
    return _fitted([p for p in parts if p])


def _section(table: Table, nothing: str) -> list[str]:
    if not table.rows:
        return [f"### {safe(table.title)}", nothing] if nothing else []
    shown = table.rows[:_ROWS]
    heads = [safe(c.label) or " " for c in table.columns]
    rule = ["--:" if c.kind == "number" else "---" for c in table.columns]
    lines = [_line(heads), _line(rule), *(_line([safe(cell) for cell in row]) for row in shown)]
    left = len(table.rows) - len(shown) + table.more
    more = [f"{left} more rows in report.json."] if left else []
    return [f"### {safe(table.title)}", "\n".join(lines), *more]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fitted(parts: list[str]) -> str:
    text = ""
    for part in parts:
        longer = f"{text}\n\n{part}" if text else part
        if len(longer.encode()) + len(_CUT) > MAX_BYTES:
            return text + _CUT
        text = longer
    return text + "\n"
