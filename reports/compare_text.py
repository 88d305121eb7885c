"""A comparison of two runs as text for a terminal: settings, what moved, what cannot be said."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from . import numbers as fmt
from .compare import Change, Comparison
from .escape import short
from .layout import columns, wrapped

_SHOWN: Final = 20
"""Rows of one kind that a terminal shows; --json has them all."""
_SHOWN_SETTINGS: Final = 12
_REASONS: Final = 4


def comparison_text(found: Comparison) -> str:
    """What differs between the runs, and beyond noise; 'no change' where nothing does."""
    lines = [_run(found, 0), _run(found, 1)]
    if found.unchanged:
        return "\n".join([*lines, "", f"no change: {len(found.changes)} numbers, every one the same"])
    lines += _settings(found)
    lines += _volumes(found)
    lines += ["", *wrapped(_verdict(found))]
    moving = [c for c in found.changes if c.status in ("changed", "moved")]
    moving.sort(key=lambda c: (c.p_adjusted or 0.0, -_size(c)))
    lines += _table(moving)
    lines += _noise(found)
    for status, title in (("new", "only in the second run"), ("gone", "only in the first run")):
        lines += _listed([c for c in found.changes if c.status == status], title)
    lines += _listed([c for c in found.changes if c.status == "not_comparable"], "not comparable")
    neither = sum(c.status == "in_neither" for c in found.changes)
    lines += ["", f"{neither} identified in neither run, for other reasons than before"] if neither else []
    if found.findings:
        rows = [
            [mode, place, f"{before} -> {after}".replace("_", " ")]
            for mode, place, before, after in found.findings
        ]
        lines += ["", "findings (a status can cross its threshold while the number moves within noise):"]
        lines += [*(f"  {line}" for line in columns(rows[:_SHOWN]))]
        lines += [f"  ... and {len(rows) - _SHOWN} more with --json"] if len(rows) > _SHOWN else []
    if found.hidden:
        lines += ["", f"({found.hidden} small slices by person or tenant are hidden)"]
    return "\n".join(lines)


def _run(found: Comparison, side: int) -> str:
    same = ", the same logs" if side and found.same_logs else ""
    return f"{'AB'[side]}  run {found.runs[side]}, {fmt.date_range(*found.windows[side])}{same}"


def _settings(found: Comparison) -> list[str]:
    rows = [f"{name}: {_value(before)} -> {_value(after)}" for name, before, after in found.settings]
    lines = [line for row in rows[:_SHOWN_SETTINGS] for line in wrapped(row, indent="  ")]
    more = len(rows) - _SHOWN_SETTINGS
    lines += [f"  ... and {more} more with --json"] if more > 0 else []
    return ["", "settings that differ:", *lines] if rows else []


def _value(value: Any) -> str:
    return "not set" if value is None else short(str(value))


def _volumes(found: Comparison) -> list[str]:
    """Counted, so without an interval; per day where both windows are known."""
    if all(v.decisions[0] == v.decisions[1] and v.spend_usd[0] == v.spend_usd[1] for v in found.volumes):
        return []
    days = found.days if None not in found.days else (1.0, 1.0)
    per = " per day" if None not in found.days else ""
    rows = [
        [
            f"{v.layer}.{v.decision_point}",
            *(fmt.count(n / (d or 1.0)) for n, d in zip(v.decisions, days, strict=True)),
            *(fmt.usd(x / (d or 1.0)) for x, d in zip(v.spend_usd, days, strict=True)),
        ]
        for v in found.volumes
    ]
    head = ["", f"decisions{per}, A", "B", f"spend{per}, A", "B"]
    return ["", "volumes (counted, not estimated):", *(f"  {line}" for line in columns([head, *rows]))]


def _verdict(found: Comparison) -> str:
    counts = Counter(c.status for c in found.changes)
    tested = sum(c.p_value is not None for c in found.changes)
    same = f", {counts['same']} are the same" if counts["same"] else ""
    if found.same_logs:
        told = f"{counts['moved']} of {found.compared} numbers moved{same}"
        return f"{told}. The logs are the same, so the settings moved them and not chance."
    head = (
        f"{counts['changed']} of {tested} numbers changed beyond noise{same}"
        if tested
        else "no number could be tested"
    )
    rate = "at most 10 % of them expected to be false" if counts["changed"] else ""
    shared = next((c.shared_clusters for c in found.changes if c.kind == "contrast" and c.shared_clusters), 0)
    pairing = (
        f"the runs share {fmt.count(shared)} clusters: gains are paired by cluster, contrasts and prices are "
        "compared as if independent, which is on the safe side where shared clusters move both alike"
        if shared
        else "the runs share no cluster, so their estimates are independent"
    )
    return f"{'; '.join(part for part in (head, rate, pairing if tested else '') if part)}."


def _table(rows: list[Change]) -> list[str]:
    if not rows:
        return []
    head = ["", "A", "B", "change", "adjusted p"]
    cells = [[_place(c), _number(c, c.before), _number(c, c.after), _change(c), _p(c)] for c in rows[:_SHOWN]]
    more = [f"  ... and {len(rows) - _SHOWN} more with --json"] if len(rows) > _SHOWN else []
    return ["", *(f"  {line}" for line in columns([head, *cells])), *more]


def _place(c: Change) -> str:
    where = ".".join(part for part in (c.layer, c.decision_point) if part)
    segment = "" if c.segment == "all" else f" [{c.segment}]"
    arms = f" {c.action} vs {c.baseline}" if c.action else ""
    grades = [g for g in (c.grade_before, c.grade_after) if g]
    grade = f", grade {' -> '.join(grades)}" if len(set(grades)) > 1 else ""
    return f"{where}{segment}{arms}: {c.quantity}{grade}"


def _number(c: Change, value: float | None) -> str:
    if value is None:
        return fmt.ABSENT
    if c.kind == "price":
        return f"{value:.4g}"
    return fmt.quantity("net" if c.kind == "gain" else c.quantity, value)


def _change(c: Change) -> str:
    if c.difference is None:
        return fmt.ABSENT
    ends = [] if c.lower is None else [_number(c, c.lower), _number(c, c.upper)]
    unit = fmt.unit(c.quantity) if c.kind == "contrast" else (c.unit or "")
    interval = f" {fmt.bracket(*(e.removesuffix(f' {unit}') for e in ends))}" if ends else ""
    return f"{_number(c, c.difference)}{interval}{f' {unit}' if c.kind == 'price' else ''}"


def _p(c: Change) -> str:
    return fmt.ABSENT if c.p_adjusted is None else fmt.probability(c.p_adjusted)


def _size(c: Change) -> float:
    return abs(c.difference or 0.0) / max(abs(c.before or 0.0), abs(c.after or 0.0), 1e-12)


def _noise(found: Comparison) -> list[str]:
    quiet = [c for c in found.changes if c.status == "within_noise"]
    if not quiet:
        return []
    near = min(quiet, key=lambda c: c.p_adjusted if c.p_adjusted is not None else 1.0)
    nearest = f"{_place(near)}: {_change(near)}, adjusted p {_p(near)}"
    told = f"{len(quiet)} within noise; the nearest to a change: {nearest}"
    return ["", *wrapped(told)]


def _listed(rows: list[Change], title: str) -> list[str]:
    """How many rows, and their commonest reasons with one place each."""
    if not rows:
        return []
    reasons = Counter(c.reason or "" for c in rows).most_common()
    lines = [f"{len(rows)} {title}:"]
    for reason, n in reasons[:_REASONS]:
        place = _place(next(c for c in rows if (c.reason or "") == reason))
        more = f" and {n - 1} more" if n > 1 else ""
        lines += wrapped(f"{place}{more}: {reason}", indent="  ")
    rest = sum(n for _, n in reasons[_REASONS:])
    return ["", *lines, *([f"  ... and {rest} for other reasons, with --json"] if rest else [])]
