"""An explanation as text for a terminal: the sum of Eq. 1, line by line, with what it rests on."""

from __future__ import annotations

from typing import Any, Final

from . import numbers as fmt
from .escape import short
from .explain import Explained, Explanation, Term, Worth
from .layout import columns, wrapped
from .names import mode_name, target
from .tables import money

_SHOWN: Final = 20
"""Decisions of one request that a terminal shows in full; --json has them all."""
_SHOWN_CONTEXT: Final = 8


def explanation_text(found: Explanation) -> str:
    """The decisions in order, each with its terms, and the rest of the request in one line each."""
    compared = [e for e in found.decisions if e.worths or not found.whole_request]
    alone = [e for e in found.decisions if e not in compared]
    lines: list[str] = []
    if found.whole_request:
        count = len(found.decisions)
        lines += [f"request {short(found.asked)}: {count} {'decision' if count == 1 else 'decisions'}", ""]
    for e in compared[:_SHOWN]:
        lines += [*_decision(e, found), ""]
    if len(compared) > _SHOWN:
        lines += [f"... and {len(compared) - _SHOWN} more with --json", ""]
    beside = [*alone, *found.beside]
    if beside:
        title = "also in this request" if found.request_id else "beside it"
        rows = [[e.layer, e.decision_point, e.action, _in_short(e)] for e in beside[:_SHOWN]]
        lines += [f"{title}:", *(f"  {line}" for line in columns(rows))]
        more = len(beside) - _SHOWN
        lines += [f"  ... and {more} more with --json"] if more > 0 else []
    return "\n".join(lines).rstrip()


def _decision(e: Explained, found: Explanation) -> list[str]:
    of = f" of request {short(found.request_id)}" if found.request_id and not found.whole_request else ""
    head = f"{e.layer}.{e.decision_point}: {short(e.action)}"
    when = f", {e.at[:19].replace('T', ' ')} UTC" if e.at else ""
    pairs = [("decision", f"{short(e.decision_id)}{of}"), *_chosen(e), *_measured(e)]
    body = [f"  {name:<12}{line}" for name, line in pairs]
    if not e.worths:
        return [head + when, *body, *wrapped(f"not compared: {e.reason}", indent="  ")]
    worths = [line for worth in e.worths for line in ("", *_worth(worth))]
    moved = [line for f in e.findings for line in wrapped(_finding(f), indent="  ")]
    return [head + when, *body, *worths, *(["", *moved] if moved else [])]


def _chosen(e: Explained) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if e.executed and e.executed != e.action:
        lines.append(("executed", short(e.executed)))
    told = [f"{short(name)}{'' if p is None else f' {p:.3g}'}" for name, p in e.candidates]
    if told:
        lines.append(("candidates", " | ".join(told)))
    if e.propensity is not None:
        drawn = ", explored on purpose" if e.exploration else ""
        lines.append(
            ("probability", f"{e.propensity:.3g} ({e.propensity_source or 'source unknown'}{drawn})")
        )
    else:
        lines.append(("probability", "not logged"))
    return lines


def _measured(e: Explained) -> list[tuple[str, str]]:
    m = e.measured
    parts: list[str] = []
    if "cost_usd" in m:
        parts.append(f"{fmt.usd(m['cost_usd'])} ({m.get('cost_source', 'logged')})")
    elif m.get("cost_source") == "unpriced":
        parts.append("unpriced")
    if "latency_s" in m:
        parts.append(fmt.seconds(m["latency_s"], signed=False))
    parts.append(f"quality {m['quality']:.3g}" if "quality" in m else "quality unknown")
    if "incident" in m:
        loss = f" of {fmt.usd(m['loss_usd'])}" if "loss_usd" in m else ""
        parts.append(f"incident{loss}" if m["incident"] else "no incident")
    context = [f"{k}={_value(v)}" for k, v in list(e.context.items())[:_SHOWN_CONTEXT]]
    more = len(e.context) - _SHOWN_CONTEXT
    context += [f"and {more} more"] if more > 0 else []
    lines = [("measured", ", ".join(parts))]
    return [*lines, *([("context", ", ".join(context))] if context else [])]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else short(str(value), longest=40)


def _worth(w: Worth) -> list[str]:
    where = "" if w.segment == "all" else f" in {w.segment}"
    head = [f"{short(w.action)} vs {short(w.baseline)}{where}, grade {w.grade}", "USD per decision", "effect"]
    rows = [[t.symbol, _usd(t.usd, t.usd_lower, t.usd_upper), _effect(t)] for t in w.terms]
    total = ["net marginal value", _usd(w.nmv, w.nmv_lower, w.nmv_upper), _verdict(w)]
    laid = [f"  {line}" for line in columns([head, *rows, total])]
    why = {f"{t.symbol.strip('− ')}: {t.reason}" for t in w.terms if t.reason and t.usd is None}
    notes = sorted(why) or ([w.reason] if w.reason else [])
    if w.nmv is None and w.break_even is not None:
        price = w.break_even
        ends = fmt.bracket(fmt.usd(price.lower), fmt.usd(price.upper))
        known = f"{fmt.usd(price.value)} {ends} per task" if price.value is not None else price.reason
        notes.append(f"break-even V*: {known}")
    return [*laid, *(line for note in notes for line in wrapped(note, indent="    ")), *_company(w)]


def _company(w: Worth) -> list[str]:
    if w.comparable is None:
        return wrapped(f"comparable decisions: {w.apart}", indent="    ")
    told = f"{fmt.count(w.comparable)} comparable decisions in {fmt.count(w.clusters)} clusters"
    return wrapped(told, indent="    ")


def _usd(value: float | None, lower: float | None, upper: float | None) -> str:
    if value is None:
        return fmt.ABSENT
    ends = fmt.bracket(fmt.usd(lower, signed=True), fmt.usd(upper, signed=True))
    return f"{fmt.usd(value, signed=True)} {ends}"


def _effect(t: Term) -> str:
    if t.effect is None:
        return "not identified"
    ends = fmt.quantity_interval(t.quantity, t.effect_lower, t.effect_upper)
    told = f"{fmt.quantity(t.quantity, t.effect)} {ends}"
    if t.quantity == "cost":
        return told
    return f"{told} at {t.price:g} {t.unit}" if t.price else f"{told}, not priced"


def _verdict(w: Worth) -> str:
    """What the sum says about the choice that was made."""
    if w.nmv is None or w.nmv_lower is None or w.nmv_upper is None:
        return "no sum"
    if w.nmv_lower <= 0.0 <= w.nmv_upper:
        return "undecided: the interval covers 0"
    better = w.action if w.nmv_lower > 0.0 else w.baseline
    mine = w.action if w.taken == "action" else w.baseline
    if w.taken == "neither":
        return f"{short(better)} is worth more; neither was taken"
    return "what was taken is worth more" if better == mine else f"{short(better)} would be worth more"


def _finding(f: Any) -> str:
    state = "found" if f.counted and f.status == "found" else f.status.replace("_", " ")
    return f"{mode_name(f.mode)} ({state}) would move it to {target(f)}: {money(f)} in all, grade {f.grade}"


def _in_short(e: Explained) -> str:
    known = [w for w in e.worths if w.nmv is not None]
    if not known:
        return e.worths[0].reason or "not identified" if e.worths else e.reason or ""
    return "; ".join(
        f"{short(w.action)} vs {short(w.baseline)} {_usd(w.nmv, w.nmv_lower, w.nmv_upper)}" for w in known
    )
