"""The answers of the verbs that look at finished runs: text for a terminal, the same facts for --json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import exits, rundir
from .doctor import Check
from .estimators.exploration_plan import ExplorationPlan
from .ingest.validation import Validation
from .reports.compare import Comparison
from .reports.compare_text import comparison_text
from .reports.escape import visible
from .reports.explain import Explanation
from .reports.explain_text import explanation_text
from .reports.layout import wrapped
from .reports.numbers import count
from .reports.plan_text import plan_text
from .reports.starter import Starter
from .terminal import Answer


def of_explanation(found: Explanation, meta: rundir.Meta) -> Answer:
    """One decision, or those of one request, with the terms of what they were worth."""
    return Answer(data=found.to_dict(), text=explanation_text(found), run_id=meta.run_id)


def of_comparison(found: Comparison) -> Answer:
    """What changed between two runs; without one number in common it ends as not identified."""
    known = bool(found.compared) or found.unchanged
    return Answer(
        data=found.to_dict(), text=comparison_text(found), run_id=found.runs[1], **_supported(known=known)
    )


def of_plan(plan: ExplorationPlan, run_id: str) -> Answer:
    """What to randomise; a plan without a line ends as not identified."""
    return Answer(
        data=plan.to_dict(), text=plan_text(plan), run_id=run_id, **_supported(known=bool(plan.lines))
    )


def of_checks(checks: Sequence[Check], run_id: str | None) -> Answer:
    """What was looked at; broken things end with the code of a usage error."""
    broken = [c for c in checks if c.state == "broken"]
    marks = {"ok": "ok", "note": "note", "broken": "BROKEN"}
    lines: list[str] = []
    for c in checks:
        head, *rest = wrapped(f"{marks[c.state]:<7}{c.name}: {c.found}") or [""]
        lines += [head, *(f"       {line}" for line in rest)]
        lines += wrapped(c.cure, indent="       ") if c.cure else []
    noted = sum(c.state == "note" for c in checks)
    lines += ["", f"{len(checks)} looked at: {len(broken)} broken, {noted} to note"]
    ending: dict[str, Any] = {"status": "broken", "exit_code": exits.USAGE} if broken else {}
    data = {"checks": [c.to_dict() for c in checks]}
    return Answer(data=data, text="\n".join(lines), run_id=run_id, **ending)


def of_validation(files: Sequence[Validation]) -> Answer:
    """Every fault of every file with row and cure, bounded; a fault ends with the code of a usage error."""
    lines: list[str] = []
    for one in files:
        told = "no fault" if one.count == 0 else "1 fault" if one.count == 1 else f"{count(one.count)} faults"
        lines.append(f"{one.file}: {count(one.rows)} rows of {one.table}, {told}")
        for fault in one.faults:
            where = "file" if fault.row is None else f"row {fault.row}"
            cure = f". {fault.cure}" if fault.cure else ""
            lines += wrapped(f"{where}: {fault.found}{cure}", indent="  ")
        more = one.count - len(one.faults)
        lines += [f"  ... and {count(more)} more"] if more else []
    faults = sum(one.count for one in files)
    ending: dict[str, Any] = {"status": "faults", "exit_code": exits.USAGE} if faults else {}
    data = {"faults": faults, "files": [one.to_dict() for one in files]}
    return Answer(data=data, text="\n".join(lines) or "the store has no rows", **ending)


def of_starter(found: Starter, file: Path) -> Answer:
    """What the draft is made of, what is left to decide, and the path of the file as the last line."""
    outcomes = ", ".join(found.outcomes) or "none"
    lines = [
        f"cluster      {found.cluster or 'none: no ids in these logs'}",
        f"task class   {found.class_column or 'none'}"
        + (f" ({len(found.classes)}: {', '.join(list(found.classes)[:5])})" if found.classes else ""),
        f"outcomes     {outcomes}; quality is {found.quality or 'not chosen'}",
        "prices       yours to set: no log tells what a solved task is worth",
        "",
        str(file),
    ]
    data = {"file": str(file), **found.to_dict()}
    return Answer(data=data, text="\n".join(visible(line) for line in lines))


def _supported(*, known: bool) -> dict[str, Any]:
    """Status and exit code of an answer that the data may not support."""
    return {} if known else {"status": "not_identified", "exit_code": exits.UNSUPPORTED}
