"""The answers of the verbs: a compact text for a terminal, and the same facts as data for --json."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from . import exits
from .errors import SchemaError
from .reports import numbers
from .reports.escape import short, visible
from .reports.headline import headline
from .runs import Run
from .schemas.records import Estimate, Estimates, Finding, Prices
from .schemas.store import Store
from .schemas.tables import TABLES
from .settings import Setting
from .terminal import Answer

if TYPE_CHECKING:
    from .reports.inspection import Inspection

NOT_IDENTIFIED: Final = "not_identified"
_SHOWN_FINDINGS: Final = 12
"""Rows of the findings table in a terminal; the report has them all."""
_WIDTH: Final = 110
"""Characters per line of running text; fixed, so that the same run prints the same bytes."""
_FINDING_HEAD: Final = ("finding", "where", "USD [interval]", "grade", "V*")
_BAR_CHARS: Final = 40
_CONTRAST: Final = ("layer", "decision_point", "segment", "action", "baseline", "quantity")
_BANDS: Final = (("A-C", "ABC", "#"), ("D bounds", "D", "="), ("N not identified", "N", "."))


def of_run(run: Run, gate: exits.Gate) -> Answer:
    """The first screen of a run, with the path of the report as its last line."""
    first = headline(run.estimates, run.prices, run.findings)
    shown = [f for f in run.findings if f.status in ("found", "inconclusive")]
    lines = [
        _scope(run),
        _evidence(run.estimates.coverage),
        "",
        *_wrapped(first.sentence()),
        "",
        *_findings_table(shown[:_SHOWN_FINDINGS]),
        *(
            [f"... and {len(shown) - _SHOWN_FINDINGS} more in the report"]
            if len(shown) > _SHOWN_FINDINGS
            else []
        ),
        *_silent(run.findings),
        "",
        str(run.report),
    ]
    data = {
        "report": str(run.report),
        "headline": first.sentence(),
        "identified": run.identified,
        "findings": [finding.to_dict() for finding in run.findings],
    }
    ending = _ending(identified=run.identified, gate_closed=gate.closes(run.findings))
    return Answer(
        data=data, text="\n".join(lines), run_id=run.run_id, warnings=store_warnings(run.manifest), **ending
    )


def of_demo(run: Run) -> Answer:
    """The first screen of the simulated world, the truth beside each estimate, and the next command."""
    compared = truth_beside_estimates(run)
    rows = [_truth_row(row) for row in compared.iter_rows(named=True)]
    inside = compared.filter(pl.col("covered").is_not_null())
    covered = f"{int(inside['covered'].sum())} of {inside.height} intervals contain the truth"
    base = of_run(run, exits.Gate())
    text = [
        "Simulated logs, so the truth is known:",
        *_table(rows, ("contrast", "quantity", "truth", "estimate [interval]", "grade")),
        f"{covered}; where there is no estimate, the logs do not identify it, and the report says why.",
        "",
        base.text,
        "",
        "Next, your own logs: shadowprice inspect LOGS, then shadowprice audit LOGS --out DIR",
    ]
    data = {**base.data, "truth": compared.to_dicts()}
    return Answer(data=data, text="\n".join(text), run_id=run.run_id, warnings=base.warnings)


def of_store(store: Store) -> Answer:
    """What ingest stored, and what it did not."""
    counts = store.manifest["counts"]
    lines = [f"{name:<14}{numbers.count(value):>12}" for name, value in counts.items()]
    sources = store.manifest["sources"]
    formats = sorted({source["format"] for source in sources})
    lines += [f"{len(sources)} files as {', '.join(formats)}", str(store.path)]
    data = {
        key: store.manifest[key] for key in ("counts", "links", "unpriced", "window", "sources", "refused")
    }
    ending = _ending(identified=counts["decisions"] > 0, gate_closed=False)
    return Answer(
        data={"store": str(store.path), **data},
        text="\n".join(lines),
        warnings=store_warnings(store.manifest),
        **ending,
    )


def of_inspection(found: Inspection) -> Answer:
    """What the logs hold and identify."""
    return Answer(data=found.to_dict(), text=str(found))


def of_estimates(est: Estimates, run_id: str) -> Answer:
    """One line per contrast and quantity of the whole, and every row as data."""
    rows = list(est.contrasts.iter_rows(named=True))
    lines = [visible(str(Estimate(**row))) for row in rows if row["segment"] == "all"]
    identified = any(row["estimand"] != NOT_IDENTIFIED for row in rows)
    return Answer(
        data={"estimates": rows, "notes": list(est.notes)},
        text="\n".join(lines) or "no decision point has two actions to compare",
        run_id=run_id,
        warnings=est.notes,
        **_ending(identified=identified, gate_closed=False),
    )


def of_prices(prices: Prices) -> Answer:
    """One row per price, and every price as data."""
    rows = [
        (
            p.symbol,
            ".".join(filter(None, (p.layer, p.decision_point))) or p.segment,
            f"{p.action} vs {p.baseline} [{p.segment}]" if p.action else "",
            f"{p.value:.4g} {p.unit}" if p.value is not None else "unknown",
            _ends(p.lower, p.upper) if p.source != "user" else "set",
            p.reason or "",
        )
        for p in prices.prices
    ]
    return Answer(
        data={"prices": [price.to_dict() for price in prices.prices]},
        text="\n".join(_table(rows, ("price", "where", "contrast", "value", "interval", "note"))),
        run_id=prices.run_id,
    )


def of_findings(findings: Sequence[Finding], run_id: str, gate: exits.Gate) -> Answer:
    """The findings table, and every finding as data."""
    shown = [f for f in findings if f.status in ("found", "inconclusive")]
    lines = [*_findings_table(shown), *_silent(findings)]
    return Answer(
        data={"findings": [finding.to_dict() for finding in findings]},
        text="\n".join(lines),
        run_id=run_id,
        **_ending(identified=True, gate_closed=gate.closes(findings)),
    )


def of_schema(table: str | None) -> Answer:
    """Every column of one shared table, or of all.

    Raises: SchemaError for a table that does not exist.
    """
    if table is not None and table not in TABLES:
        raise SchemaError(f"no table '{table}'", where="schema show", expected=" or ".join(TABLES))
    rows = [
        {"table": name, "column": col.name, "type": str(col.dtype), "unit": col.unit, "meaning": col.meaning}
        for name in ([table] if table else TABLES)
        for col in TABLES[name]
    ]
    cells = [tuple(str(value or "") for value in row.values()) for row in rows]
    return Answer(data={"columns": rows}, text="\n".join(_table(cells, tuple(rows[0]))))


def of_settings(settings: Iterable[Setting]) -> Answer:
    """Each setting with its origin."""
    listed = list(settings)
    data = {s.name: {"value": s.value, "origin": s.origin} for s in listed}
    return Answer(data={"settings": data}, text="\n".join(map(str, listed)))


def truth_beside_estimates(run: Run) -> pl.DataFrame:
    """The contrasts of the whole with the known truth of the same estimand, and whether it is covered."""
    assert run.truth is not None
    truth = run.truth.select(*_CONTRAST, "ate", "ato")
    of_estimand = {"ATE": pl.col("ate"), "ATO": pl.col("ato")}
    known = pl.coalesce(
        pl.when(pl.col("estimand") == name).then(value) for name, value in of_estimand.items()
    )
    return (
        run.estimates.contrasts.filter(pl.col("segment") == "all")
        .join(truth, on=_CONTRAST, how="inner", maintain_order="left")
        .with_columns(truth=pl.coalesce(known, "ate"))
        .with_columns(
            covered=pl.when(pl.col("estimand").is_in(list(of_estimand))).then(
                pl.col("truth").is_between(pl.col("lower"), pl.col("upper"))
            )
        )
        .select(*_CONTRAST, "estimand", "truth", "value", "lower", "upper", "grade", "covered", "reason")
    )


def store_warnings(manifest: dict[str, Any]) -> tuple[str, ...]:
    """What of the logs is not in the store, or in it without a price or an outcome."""
    counts, links, unpriced = manifest["counts"], manifest["links"], manifest["unpriced"]
    warnings = [f"{item['name']} was not read: {item['error']}" for item in manifest["refused"]]
    if counts["quarantined"]:
        warnings.append(f"{counts['quarantined']} rows are in store/quarantine.jsonl, each with its reason")
    if links["unlinked"]:
        warnings.append(f"{links['unlinked']} of {links['outcomes']} outcomes match no decision")
    if unpriced["decisions"]:
        warnings.append(f"{unpriced['decisions']} decisions are unpriced ({unpriced['tokens']} tokens)")
    return tuple(warnings)


def _scope(run: Run) -> str:
    decisions = numbers.count(run.manifest["counts"]["decisions"])
    days = numbers.date_range(*run.estimates.window)
    kind = "simulated · " if run.truth is not None else ""
    return f"shadowprice · {kind}{days} · {decisions} decisions · run {run.run_id}"


def _evidence(coverage: pl.DataFrame) -> str:
    """The evidence bar: the share of spend, or of decisions where nothing is priced, by grade."""
    spend = float(coverage["spend_usd"].sum())
    weight = "spend_usd" if spend > 0 else "decisions"
    total = float(coverage[weight].sum()) or 1.0
    bar, words = "", list[str]()
    for label, grades, char in _BANDS:
        share = float(coverage.filter(pl.col("grade").is_in(list(grades)))[weight].sum()) / total
        bar += char * round(share * _BAR_CHARS)
        words.append(f"{label} {numbers.share(share)}")
    of = f"of spend {numbers.usd(spend)}" if weight == "spend_usd" else "of decisions, none of them priced"
    return f"Evidence  [{bar:<{_BAR_CHARS}}]  {' | '.join(words)}  {of}"


def _findings_table(findings: Sequence[Finding]) -> list[str]:
    """The findings as aligned columns, what to do on a line of its own below each."""
    head, *rows = _table([_finding_row(f) for f in findings], _FINDING_HEAD) or [""]
    pairs = zip(rows, findings, strict=True)
    return [head, *(line for row, f in pairs for line in (row, *_wrapped(_advice(f), indent="    ")))]


def _finding_row(f: Finding) -> tuple[str, ...]:
    ends = numbers.bracket(numbers.usd(f.usd_lower), numbers.usd(f.usd_upper))
    return (
        f.mode.replace("_", "-"),
        f"{f.layer}.{f.decision_point} · {f.segment}",
        f"{numbers.usd(f.usd)} {ends}",
        f.grade,
        numbers.usd(f.break_even_usd),
    )


def _advice(f: Finding) -> str:
    if f.status == "inconclusive":
        return f"inconclusive: {f.recommendation}"
    return f.recommendation if f.counted else f"{f.recommendation} (not added: {f.reason})"


def _silent(findings: Sequence[Finding]) -> list[str]:
    """One line per mode without a finding: none found and what could have been seen, or why not looked."""
    loud = {f.mode for f in findings if f.status in ("found", "inconclusive")}
    lines: list[str] = []
    for mode in dict.fromkeys(f.mode for f in findings if f.mode not in loud):
        own = [f for f in findings if f.mode == mode]
        name = f"{mode.replace('_', '-')}: "
        seen = [f.mde_usd for f in own if f.status == "none_found" and f.mde_usd is not None]
        if seen:
            text = f"none found (could have seen {numbers.usd(max(seen))}, 80 % power)"
        else:
            text = f"{own[0].status.replace('_', ' ')}: {own[0].reason or own[0].claim}"
        lines += _wrapped(f"{name}{text}", indent="  ")
    return lines


def _truth_row(row: dict[str, Any]) -> tuple[str, ...]:
    name, value = row["quantity"], row["value"]
    ends = numbers.bracket(numbers.quantity(name, row["lower"]), numbers.quantity(name, row["upper"]))
    return (
        f"{row['layer']}.{row['decision_point']} {row['action']} vs {row['baseline']}",
        name,
        numbers.quantity(name, row["truth"]),
        f"{numbers.quantity(name, value)} {ends}" if value is not None else "not identified",
        row["grade"],
    )


def _table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> list[str]:
    """Rows as aligned columns under `head`, with every cell made harmless; nothing without rows."""
    if not rows:
        return []
    cells = [head, *(tuple(short(cell) for cell in row) for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(visible(text), _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _ends(lower: float | None, upper: float | None) -> str:
    if lower is None and upper is None:
        return ""
    ends = (f"{end:.4g}" if end is not None else "unbounded" for end in (lower, upper))
    return numbers.bracket(*ends)


def _ending(*, identified: bool, gate_closed: bool) -> dict[str, Any]:
    """Status and exit code: no support for any claim outranks a finding at the gate."""
    if not identified:
        return {"status": NOT_IDENTIFIED, "exit_code": exits.UNSUPPORTED}
    if gate_closed:
        return {"status": "findings", "exit_code": exits.FINDINGS}
    return {}
