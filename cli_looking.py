"""Verbs that look at finished runs and at the place they run in; none of them changes a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from . import world_options as w
from .doorway import ConfigFile, Json, Quiet, RunDir, deliver
from .terminal import reporting

CONFIG_NAME: Final = "shadowprice.toml"

app = typer.Typer()
schema_app = typer.Typer()
"""Verbs below `schema`."""


@app.command(epilog="Example: shadowprice explain run 0007fb9050e80c258687ac93dad3bcdc")
def explain(
    ctx: typer.Context,
    run: RunDir,
    decision_id: Annotated[
        str, typer.Argument(metavar="DECISION_ID", help="A decision, or a request for all of its decisions.")
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what one decision was worth: the terms of the sum, its interval, its grade, and why."""
    from . import looking, summary_looking

    found, meta = looking.explain_run(run, decision_id)
    deliver(ctx, summary_looking.of_explanation(found, meta), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice diff run-october run-november")
def diff(
    ctx: typer.Context,
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of the run before.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Folder of the run after.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what changed between two runs, and which changes exceed noise."""
    from . import looking, summary_looking

    deliver(ctx, summary_looking.of_comparison(looking.diff_runs(run_a, run_b)), json=json, quiet=quiet)


@app.command("plan-exploration", epilog="Example: shadowprice plan-exploration run --budget 200")
def plan_exploration(
    ctx: typer.Context,
    run: RunDir,
    budget: Annotated[float, typer.Option("--budget", metavar="USD", help="Expected loss to spend.")],
    days: Annotated[
        float | None, typer.Option("--days", help="Time of the plan; as long as the log if not given.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which choices to randomise, at what rate, what that costs and what it will show."""
    from . import looking, summary_looking

    plan, run_id = looking.plan_run(run, budget_usd=budget, days=days)
    deliver(ctx, summary_looking.of_plan(plan, run_id), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice doctor run")
def doctor(
    ctx: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Folder of a run; only this place if not given.")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check versions and configuration, and what of a run is unpriced, unlinked, set aside or stale."""
    from . import doctor, summary_looking

    checks = doctor.environment(config)
    checks += doctor.of_run(run) if run is not None else ()
    deliver(ctx, summary_looking.of_checks(checks, doctor.run_id_of(run)), json=json, quiet=quiet)


@schema_app.command("validate", epilog="Example: shadowprice schema validate decisions.jsonl")
def schema_validate(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet, JSONL or CSV file, or a store.")],
    table: Annotated[
        str | None, typer.Option("--table", help="The shared table; told by the columns if not given.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a file against the shared tables, and print every fault with its row and the cure."""
    from . import summary_looking
    from .ingest.validation import validate

    deliver(ctx, summary_looking.of_validation(validate(file, table)), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice init logs/ --out shadowprice.toml")
def init(
    ctx: typer.Context,
    logs: w.Logs,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path(CONFIG_NAME),
    format: w.Format = None,
    mapping: w.Mapping = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented shadowprice.toml from what the logs contain; prices stay yours to set."""
    from . import looking, summary_looking

    with reporting(quiet=quiet) as progress:
        found = looking.draft_config(
            logs, out=out, format=format, mapping=mapping, force=force, progress=progress
        )
    deliver(ctx, summary_looking.of_starter(found, out), json=json, quiet=quiet)
