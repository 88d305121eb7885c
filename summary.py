"""The answers of the verbs: a compact text for a terminal, and the same facts as data for --json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from . import exits
from .errors import ConfigError, SchemaError
from .exporting import Exported
from .reports import numbers
from .reports.escape import visible
from .reports.evidence_line import evidence_line
from .reports.exports.export import Difference, record_of
from .reports.exports.made import Made
from .reports.exports.offer import Offer, Row
from .reports.headline import headline
from .reports.ingested import refused_lines
from .reports.inspection import Inspection
from .reports.layout import columns, laid_out, wrapped
from .reports.predicted import prediction_lines
from .reports.privacy import without_small_cells
from .reports.tables import checks_table, findings_table, prices_table, unknown_prices
from .reports.truth import truth_tables
from .reports.view import RunView
from .runs import Run
from .schemas.records import Estimate, Estimates, Finding, Prediction, Prices
from .schemas.store import Store
from .schemas.tables import TABLES
from .settings import Setting
from .terminal import Answer

if TYPE_CHECKING:
    from .ingest.simulator import SimulatedRun

NOT_IDENTIFIED: Final = "not_identified"
_SHOWN_FINDINGS: Final = 6
"""Rows of the findings table in a terminal; the report has them all."""
_SHOWN_CHANGES: Final = 40
"""Changes against an export in use that a terminal shows; --json has them all."""
_SHOWN_SKIPPED: Final = 5
"""Reasons for leaving numbers out of an export that a terminal shows; the record has them all."""
_UNGRADED: Final = {
    "user": "set by the user",
    "implied": "by convention or implied by a cap",
    "fact": "from the logs or the price file as they are",
}


def of_run(run: Run, gate: exits.Gate) -> Answer:
    """The first screen of a run, with the path of the report as its last line."""
    view, hidden = without_small_cells(_view(run))
    first = headline(view.est, view.prices, view.findings)
    lines = [
        _scope(run),
        evidence_line(view.est.coverage),
        "",
        *wrapped(first.sentence()),
        "",
        *_findings(view.findings, at_most=_SHOWN_FINDINGS),
        *_identified(view),
        *([f"({hidden})"] if hidden else []),
        "",
        str(run.report),
    ]
    data = {
        "report": str(run.report),
        "headline": first.sentence(),
        "identified": run.identified,
        "findings": [finding.to_dict() for finding in view.findings],
        "predictions": [p.to_dict() for p in run.predictions],
    }
    ending = _ending(identified=run.identified, gate_closed=gate.closes(run.findings))
    return Answer(
        data=data, text="\n".join(lines), run_id=run.run_id, warnings=store_warnings(run.manifest), **ending
    )


def of_demo(run: Run) -> Answer:
    """The first screen of the simulated world, the truth beside each estimate, and the next command."""
    base = of_run(run, exits.Gate())
    contrasts = run.estimates.contrasts
    headlines = contrasts.filter(
        (pl.col("segment") == "all") & pl.col("estimand").is_in(("ATO", NOT_IDENTIFIED))
    )
    tables = truth_tables(replace(_view(run), est=replace(run.estimates, contrasts=headlines)))
    refused = headlines.filter(pl.col("estimand") == NOT_IDENTIFIED).iter_rows(named=True)
    text = [
        base.text,
        *(line for table in tables for line in ("", f"{table.title}:", *laid_out(table))),
        "",
        "Deliberately not identified in these logs:",
        *(line for row in refused for line in wrapped(str(Estimate(**row)), indent="  ")),
        "",
        "Next, your own logs: shadowprice inspect LOGS, then shadowprice audit LOGS --out DIR",
    ]
    data = {**base.data, "truth": {table.title: [list(row) for row in table.rows] for table in tables}}
    return Answer(data=data, text="\n".join(text), run_id=run.run_id, warnings=base.warnings)


def of_simulated(world: SimulatedRun) -> Answer:
    """Where a simulated world lies, what was injected into it, and how to audit it."""
    injected = ", ".join(world.modes) or "nothing"
    mapping = " ".join(f"--mapping {path}" for path in sorted(world.logs.glob("*.mapping.toml")))
    lines = [
        f"{numbers.count(world.requests)} requests, seed {world.seed}; injected: {injected}",
        f"logs   {world.logs}",
        f"prices {world.config}",
        *([f"truth  {world.truth}"] if world.truth else []),
        "",
        f"Next: shadowprice audit {world.logs} {mapping} --config {world.config} --out run",
    ]
    data = {
        "logs": str(world.logs),
        "config": str(world.config),
        "truth": str(world.truth) if world.truth else None,
        "seed": world.seed,
        "requests": world.requests,
        "injected": list(world.modes),
    }
    return Answer(data=data, text="\n".join(lines))


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


def of_draft(samples: Sequence[str]) -> Answer:
    """The mapping file drafted from one sample, to be redirected into a file, checked and given.

    Raises: ConfigError for several samples, or one that is no local file; IngestError when it has no records.
    """
    from .ingest.pipeline import format_of
    from .ingest.readers.drafting import draft_mapping

    if len(samples) != 1 or not Path(samples[0]).is_file():
        raise ConfigError(
            ", ".join(map(visible, samples)), where="--draft-mapping", expected="one sample, a local file"
        )
    draft, known = draft_mapping(samples[0]), format_of(samples[0])
    notes = [f"{visible(samples[0])} is read without a mapping, as {known}"] if known else []
    if draft.refused:
        notes.append(f"{len(draft.refused)} of {draft.records} records of the sample are refused")
    data = {"mapping": draft.text, "records": draft.records, "rows": draft.rows, "refused": draft.refused}
    return Answer(data=data, text=draft.text.rstrip("\n"), warnings=tuple(notes))


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
    """One row per price that is known, the commonest reasons for the others, and every price as data."""
    known = tuple(p for p in prices.prices if (p.value, p.lower, p.upper) != (None, None, None))
    lines = laid_out(prices_table(replace(prices, prices=known)), below="note")
    return Answer(
        data={
            "prices": [price.to_dict() for price in prices.prices],
            "value_curve": prices.value_curve.to_dicts(),
        },
        text="\n".join([*lines, *unknown_prices(prices)]),
        run_id=prices.run_id,
    )


def of_export(done: Exported) -> Answer:
    """The files written, what was left out and why; without a fitted number it ends as not identified."""
    o, made = done.offer, done.made
    held = _held(o.rows) if not made.evidence else [(e.grade, "fact") for e in made.evidence]
    kinds = Counter(f"of grade {grade}" if grade else _UNGRADED.get(source, source) for grade, source in held)
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda item: item[0]))
    head = f"{len(held) if done.files else 0} numbers exported" + (
        f": {counts}" if done.files and counts else ""
    )
    lines = [head, *_left_out(made), *([o.hidden] if o.hidden else [])]
    return Answer(
        data={"files": [str(file) for file in done.files], **record_of(o, made)},
        text="\n".join([*(visible(line) for line in lines), "", *map(str, done.files)]),
        run_id=o.run_id,
        warnings=made.notes,
        **_ending(identified=_supported(o, made), gate_closed=False),
    )


def of_differences(offer: Offer, made: Made, found: Sequence[Difference]) -> Answer:
    """What an export would change, most telling first: one line per number that moves."""
    counts = Counter(d.change for d in found)
    lines = [", ".join(f"{counts[change]} {change}" for change in ("changed", "new", "gone", "kept"))]
    moving = [d for d in found if d.change != "kept"]
    ranked = sorted(moving, key=lambda d: ("changed", "gone", "new").index(d.change))
    lines += [_moved(d) for d in ranked[:_SHOWN_CHANGES]]
    more = len(ranked) - _SHOWN_CHANGES
    lines += [f"... and {more} more with --json"] if more > 0 else []
    lines += _left_out(made) if made.evidence else []
    return Answer(
        data={"differences": [asdict(d) for d in found], "skipped": [asdict(one) for one in made.skipped]},
        text="\n".join(visible(line) for line in lines),
        run_id=offer.run_id,
        warnings=made.notes,
        **_ending(identified=_supported(offer, made), gate_closed=False),
    )


def _supported(offer: Offer, made: Made) -> bool:
    """Whether the export says more than what the user set: a graded number, or a fact of the logs."""
    return bool(made.evidence) or (bool(made.files) and any(row.grade for row in offer.rows))


def _held(rows: Sequence[Row]) -> list[tuple[str | None, str]]:
    return [(row.grade, row.source) for row in rows]


def _left_out(made: Made) -> list[str]:
    """The reasons for leaving numbers out, most frequent first."""
    left = Counter(one.reason for one in made.skipped)
    shown = left.most_common(_SHOWN_SKIPPED)
    rest = len(made.skipped) - sum(n for _, n in shown)
    lines = [f"{n} skipped: {reason}" for reason, n in shown]
    return [*lines, *([f"{rest} skipped for other reasons, listed in the record"] if rest else [])]


def _moved(d: Difference) -> str:
    before, after = ("-" if x is None else f"{x:.4g}" for x in (d.before, d.after))
    if d.change == "gone":
        return f"gone     {d.key}: {before} -> not identified"
    interval = "" if d.lower is None or d.upper is None else f" [{d.lower:.4g}, {d.upper:.4g}]"
    grade = f", grade {d.grade}" if d.grade else ""
    why = f"; {d.why}" if d.why else ""
    return f"{d.change:8} {d.key}: {before} -> {after}{interval}{grade}{why}"


def of_findings(
    findings: Sequence[Finding], tested: Sequence[Prediction], run_id: str, gate: exits.Gate
) -> Answer:
    """The findings table and the verdicts on the predictions, and all of both as data."""
    lines = [line for text in prediction_lines(tested) for line in wrapped(text, indent="  ")]
    return Answer(
        data={"findings": [f.to_dict() for f in findings], "predictions": [p.to_dict() for p in tested]},
        text="\n".join([*_findings(findings), *lines]),
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
    cells = [[str(value or "") for value in row.values()] for row in rows]
    return Answer(data={"columns": rows}, text="\n".join(columns([list(rows[0]), *cells])))


def of_settings(settings: Iterable[Setting]) -> Answer:
    """Each setting with its origin."""
    listed = list(settings)
    data = {s.name: {"value": s.value, "origin": s.origin} for s in listed}
    return Answer(data={"settings": data}, text="\n".join(map(str, listed)))


def store_warnings(manifest: dict[str, Any]) -> tuple[str, ...]:
    """What of the logs is not in the store, or in it without a price or an outcome."""
    counts, links, unpriced = manifest["counts"], manifest["links"], manifest["unpriced"]
    warnings = refused_lines(manifest["refused"])
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


def _findings(findings: Sequence[Finding], *, at_most: int | None = None) -> list[str]:
    """What was found, each with what to do below it, then what was looked for and not found."""
    table = findings_table(findings)
    shown = replace(table, rows=table.rows[:at_most])
    more = len(table.rows) - len(shown.rows)
    checks = (
        f"{check}: {status}: {meaning.partition('. Next:')[0]}"
        for check, status, _, meaning in checks_table(findings).rows
    )
    return [
        *laid_out(shown, below="do", without=("level",)),
        *([f"... and {more} more in the report"] if more else []),
        *(line for check in checks for line in wrapped(check, indent="  ")),
    ]


def _identified(view: RunView) -> list[str]:
    """The quality contrasts of the whole, where no finding speaks for them."""
    if any(f.status in ("found", "inconclusive") for f in view.findings):
        return []
    whole = view.est.where(segment="all", quantity="quality")
    known = [str(e) for e in whole if e.estimand != NOT_IDENTIFIED][:_SHOWN_FINDINGS]
    lines = [line for text in known for line in wrapped(text, indent="  ")]
    return ["", "Identified, though no check rests on it:", *lines] if lines else []


def _view(run: Run) -> RunView:
    return RunView(
        est=run.estimates,
        prices=run.prices,
        findings=run.findings,
        manifest=run.manifest,
        truth=run.truth,
    )


def _ending(*, identified: bool, gate_closed: bool) -> dict[str, Any]:
    """Status and exit code: no support for any claim outranks a finding at the gate."""
    if not identified:
        return {"status": NOT_IDENTIFIED, "exit_code": exits.UNSUPPORTED}
    if gate_closed:
        return {"status": "findings", "exit_code": exits.FINDINGS}
    return {}
