"""The command line: each verb parses, calls one function and prints its answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from . import cli_looking, exits
from . import world_options as w
from .doorway import (
    ConfigFile,
    FailOn,
    Force,
    Json,
    Out,
    Quiet,
    RunDir,
    ShowConfig,
    configured,
    deliver,
    said,
)
from .terminal import Answer, envelope, note, reporting

DEFAULT_OUT: Final = Path("shadowprice-out")
DEFAULT_DEMO_OUT: Final = Path("shadowprice-demo")
DEFAULT_EXPORT_OUT: Final = Path("shadowprice-export")
DEFAULT_WORLD_OUT: Final = Path("shadowprice-world")
EXPORT_TARGETS: Final = "json, parquet, openmetrics, flagd, otel, litellm, vllm-sr, envoy, focus or langfuse"

app = typer.Typer(
    name="shadowprice",
    help="Are the tokens of your AI agents well spent? Read from the logs you have.",
    epilog="Example: shadowprice audit logs.jsonl --out run   (try 'shadowprice demo' first)",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
schema_app = typer.Typer(help="The shared tables.", rich_markup_mode=None)
app.add_typer(schema_app, name="schema")


@app.command(epilog="Example: shadowprice audit logs.jsonl --out run --fail-on usd=500")
def audit(
    ctx: typer.Context,
    logs: w.Logs,
    out: Out = DEFAULT_OUT,
    config: ConfigFile = None,
    format: w.Format = None,
    mapping: w.Mapping = None,
    reader: w.Reader = None,
    pseudonymise: w.Pseudonymise = None,
    seed: w.Seed = 0,
    fail_on: FailOn = "none",
    force: Force = False,
    show_config: ShowConfig = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read logs, estimate what each decision was worth, and write the misallocation report."""
    gate = exits.parse_gate(fail_on)
    settings = configured(ctx, config, show=show_config, json=json, quiet=quiet)
    from . import runs, summary

    with reporting(quiet=quiet) as progress:
        run = runs.audit(
            logs,
            out=out,
            config=settings,
            format=format,
            mapping=mapping,
            readers=w.readers(reader),
            pseudonymise=pseudonymise,
            seed=seed,
            force=force,
            progress=progress,
        )
    deliver(ctx, summary.of_run(run, gate), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice demo --out demo-run")
def demo(
    ctx: typer.Context,
    out: Out = DEFAULT_DEMO_OUT,
    seed: w.Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit simulated logs of four layers whose truth is known, and show it beside each estimate."""
    from . import runs, summary

    with reporting(quiet=quiet) as progress:
        run = runs.demo(out=out, seed=seed, force=force, progress=progress)
    deliver(ctx, summary.of_demo(run), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice simulate --out world --seed 7 --inject under_verification")
def simulate(
    ctx: typer.Context,
    out: w.WorldOut = DEFAULT_WORLD_OUT,
    seed: w.Seed = 0,
    requests: w.Requests = 4000,
    tenants: w.Tenants = 60,
    actions: w.Actions = 3,
    steps: w.Steps = 1,
    inject: w.Inject = None,
    null: w.Null = False,
    overlap: w.Overlap = 1.0,
    event_rate: w.EventRate = 0.0625,
    icc: w.Icc = 0.0,
    label_share: w.LabelShare = 1.0,
    judge_bias: w.JudgeBias = None,
    hidden: w.Hidden = 1.0,
    corrupt: w.Corrupt = 0.0,
    keep_share: w.KeepShare = 1.0,
    adaptive: w.Adaptive = False,
    loss_tail: w.LossTail = None,
    latency_tail: w.LatencyTail = None,
    no_truth: w.NoTruth = False,
    gzip: w.Gzip = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write simulated logs of four layers and, apart from them, the truth that no estimator sees."""
    from . import summary
    from .ingest import simulator

    knobs = simulator.Knobs(
        requests=requests,
        tenants=tenants,
        actions=actions,
        steps=steps,
        inject=tuple(inject) if inject else simulator.USUAL_MODES,
        null=null,
        overlap=overlap,
        event_rate=event_rate,
        icc=icc,
        label_share=label_share,
        judge_bias=judge_bias,
        hidden=hidden,
        corrupt=corrupt,
        keep_share=keep_share,
        adaptive=adaptive,
        loss_tail=loss_tail,
        latency_tail=latency_tail,
    )
    world = simulator.simulate(out, seed=seed, knobs=knobs, with_truth=not no_truth, compress=gzip)
    deliver(ctx, summary.of_simulated(world), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice inspect logs.jsonl")
def inspect(
    ctx: typer.Context,
    logs: w.Logs,
    config: ConfigFile = None,
    format: w.Format = None,
    mapping: w.Mapping = None,
    reader: w.Reader = None,
    show_config: ShowConfig = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is in these logs, what can be identified from them, and what to log next."""
    settings = configured(ctx, config, show=show_config, json=json, quiet=quiet)
    from . import looking, summary

    with reporting(quiet=quiet) as progress:
        found = looking.inspect_logs(
            logs,
            config=settings,
            format=format,
            mapping=mapping,
            readers=w.readers(reader),
            progress=progress,
        )
    deliver(ctx, summary.of_inspection(found), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice ingest logs/ --format litellm --out run")
def ingest(
    ctx: typer.Context,
    logs: w.Logs,
    out: Out = DEFAULT_OUT,
    config: ConfigFile = None,
    format: w.Format = None,
    mapping: w.Mapping = None,
    reader: w.Reader = None,
    draft_mapping: w.DraftMapping = False,
    pseudonymise: w.Pseudonymise = None,
    force: Force = False,
    show_config: ShowConfig = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read logs into the store of a run; the same logs again change nothing."""
    from . import runs, summary

    if draft_mapping:
        deliver(ctx, summary.of_draft(logs), json=json, quiet=quiet)
    settings = configured(ctx, config, show=show_config, json=json, quiet=quiet)
    with reporting(quiet=quiet) as progress:
        store = runs.ingest_run(
            logs,
            out=out,
            config=settings,
            format=format,
            mapping=mapping,
            readers=w.readers(reader),
            pseudonymise=pseudonymise,
            force=force,
            progress=progress,
        )
    deliver(ctx, summary.of_store(store), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice estimate run --seed 7")
def estimate(
    ctx: typer.Context,
    run: RunDir,
    config: ConfigFile = None,
    seed: w.Seed = 0,
    force: Force = False,
    show_config: ShowConfig = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Estimate the contrasts of every decision point from the store of a run."""
    settings = configured(ctx, config, show=show_config, json=json, quiet=quiet)
    from . import rundir, runs, summary

    with reporting(quiet=quiet) as progress:
        est = runs.estimate_run(run, config=settings, seed=seed, force=force, progress=progress)
    deliver(ctx, summary.of_estimates(est, rundir.read_meta(run).run_id), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice prices run")
def prices(ctx: typer.Context, run: RunDir, json: Json = False, quiet: Quiet = False) -> None:
    """Fit prices to the estimates of a run, break-even task values among them."""
    from . import runs, summary

    with reporting(quiet=quiet) as progress:
        fitted = runs.prices_run(run, progress=progress)
    deliver(ctx, summary.of_prices(fitted), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice diagnose run --fail-on grade=B")
def diagnose(
    ctx: typer.Context, run: RunDir, fail_on: FailOn = "none", json: Json = False, quiet: Quiet = False
) -> None:
    """Look for every failure mode in the estimates of a run."""
    gate = exits.parse_gate(fail_on)
    from . import rundir, runs, summary

    with reporting(quiet=quiet) as progress:
        findings = runs.diagnose_run(run, progress=progress)
    told = summary.of_findings(findings, rundir.read_predictions(run), rundir.read_meta(run).run_id, gate)
    deliver(ctx, told, json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice report run")
def report(
    ctx: typer.Context, run: RunDir, scrutiny: w.Scrutiny = False, json: Json = False, quiet: Quiet = False
) -> None:
    """Write report.html, report.md and report.json from the findings of a run."""
    from . import runs, summary

    with reporting(quiet=quiet) as progress:
        finished = runs.report_run(run, scrutiny=scrutiny, progress=progress)
    deliver(ctx, summary.of_run(finished, exits.Gate()), json=json, quiet=quiet)


@app.command(epilog="Example: shadowprice export run --to openmetrics --out metrics")
def export(
    ctx: typer.Context,
    run: RunDir,
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help=f"Who will load it: {EXPORT_TARGETS}.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = DEFAULT_EXPORT_OUT,
    diff: Annotated[
        Path | None,
        typer.Option("--diff", help="What is in use: say what would change against it, and write nothing."),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", help="JSON file of list prices per token, where the logs do not tell them."),
    ] = None,
    max_rows: Annotated[int, typer.Option("--max-rows", min=1, help="Refuse to export more numbers.")] = 2000,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the prices and effects of a run in the shape that another system loads."""
    from . import exporting, summary
    from .reports.exports.export import differences

    if diff is not None:
        offered, made = exporting.offer_of(run, target=to, max_rows=max_rows, prices=prices)
        answer = summary.of_differences(offered, made, differences(offered, made, diff, to))
    else:
        done = exporting.export_run(run, target=to, out=out, max_rows=max_rows, prices=prices)
        answer = summary.of_export(done)
    deliver(ctx, answer, json=json, quiet=quiet)


@schema_app.command("show", epilog="Example: shadowprice schema show decisions")
def schema_show(
    ctx: typer.Context,
    table: Annotated[str | None, typer.Argument(help="One table; all tables if not given.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print every column of the shared tables: name, type, unit, meaning."""
    from . import summary

    deliver(ctx, summary.of_schema(table), json=json, quiet=quiet)


app.registered_commands += cli_looking.app.registered_commands
schema_app.registered_commands += cli_looking.schema_app.registered_commands


def run(args: Sequence[str]) -> int:
    """The exit code of the command line `args`, whose answer has been printed."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code = typer.main.get_command(app).main(
            list(args) or ["--help"], prog_name="shadowprice", standalone_mode=False
        )
        answer = exits.interrupted() if code == exits.INTERRUPTED else None
    except SystemExit as ended:  # the help text, cut off by the reader of stdout
        return exits.BROKEN_PIPE if isinstance(ended.__context__, BrokenPipeError) else exits.INTERNAL
    except BaseException as error:  # noqa: BLE001  native libraries panic outside Exception
        answer = exits.answer_to(error)
        code = answer.exit_code
    if answer is None:
        return code or exits.OK
    return _fail(args, answer)


def _fail(args: Sequence[str], answer: Answer) -> int:
    """The exit code of a failure, told on stderr and, for --json, in the envelope on stdout."""
    note(answer.text)
    if "--json" not in args:
        return answer.exit_code
    verb = next((arg for arg in args if not arg.startswith("-")), None)
    return said(envelope(verb, answer), answer.exit_code)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
