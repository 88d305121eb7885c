"""The options of what makes logs, one for each knob of a simulated world, and of what reads them."""

from pathlib import Path
from typing import Annotated, Any

import typer

WorldOut = Annotated[Path, typer.Option("--out", help="Folder for logs/, shadowprice.toml and truth/.")]
Requests = Annotated[int, typer.Option("--requests", help="Requests of users.")]
Tenants = Annotated[int, typer.Option("--tenants", help="Tenants, which are the clusters.")]
Actions = Annotated[int, typer.Option("--actions", help="Models of the router, 2 to 6.")]
Steps = Annotated[
    int,
    typer.Option("--steps", help="Work steps of the agent, 1 to 8; verifications are chosen on top of them."),
]
Inject = Annotated[
    list[str] | None,
    typer.Option(
        "--inject", metavar="MODE", help="A failure mode; repeatable. Four of the seven if not given."
    ),
]
Null = Annotated[bool, typer.Option("--null", help="Nothing is misallocated.")]
Overlap = Annotated[
    float, typer.Option("--overlap", help="Temperature of the logging policies; below 1 leaves less overlap.")
]
EventRate = Annotated[
    float, typer.Option("--event-rate", help="Share of requests with an incident, up to 0.2.")
]
Icc = Annotated[float, typer.Option("--icc", help="Correlation of the luck of one tenant's requests.")]
LabelShare = Annotated[float, typer.Option("--label-share", help="Share of requests that a person labels.")]
JudgeBias = Annotated[
    float | None,
    typer.Option(
        "--judge-bias", help="A judge scores every request and favours the dearest model by this much."
    ),
]
Hidden = Annotated[
    float, typer.Option("--hidden", help="Odds ratio by which an unlogged cause moves verification.")
]
Corrupt = Annotated[
    float, typer.Option("--corrupt", help="Share of router calls with wrong logged probabilities.")
]
KeepShare = Annotated[
    float, typer.Option("--keep-share", help="Share of successful requests that log sampling keeps.")
]
Adaptive = Annotated[bool, typer.Option("--adaptive", help="The router learns in batches from its own log.")]
LossTail = Annotated[
    float | None, typer.Option("--loss-tail", help="Exponent of Pareto losses; lognormal if not given.")
]
LatencyTail = Annotated[
    float | None, typer.Option("--latency-tail", help="Exponent of Pareto latencies; lognormal if not given.")
]
NoTruth = Annotated[bool, typer.Option("--no-truth", help="Leave the truth out.")]
Gzip = Annotated[bool, typer.Option("--gzip", help="Pack the logs.")]

Logs = Annotated[
    list[str],
    typer.Argument(
        metavar="LOGS",
        help="Log files, folders, patterns, s3:// URLs, or - for standard input.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None, typer.Option("--format", help="Format of the logs; detected by their content if not given.")
]
Mapping = Annotated[
    list[Path] | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        help="TOML file that maps the columns of any CSV, JSONL or Parquet; repeatable.",
    ),
]
Reader = Annotated[
    list[str] | None,
    typer.Option(
        "--reader",
        metavar="FILE.py|MODULE[:NAME]",
        help="A reader of your own, whose code is run; repeatable. Asked before the built-in ones.",
    ),
]
DraftMapping = Annotated[
    bool,
    typer.Option("--draft-mapping", help="Print a mapping file drafted from one sample; store nothing."),
]
Pseudonymise = Annotated[
    Path | None,
    typer.Option(
        "--pseudonymise", metavar="KEYFILE", help="Store ids as keyed hashes, with the key in this file."
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, envvar="SHADOWPRICE_SEED", show_envvar=False, help="Recorded in the run."),
]
Scrutiny = Annotated[
    bool,
    typer.Option(
        "--scrutiny",
        help="Also test each counted finding against hidden causes, placebos and its own predictions: "
        "seconds to minutes.",
    ),
]


def readers(named: list[str] | None) -> list[Any]:
    """The user's readers that the options name."""
    from .ingest.readers.own import load_reader

    return [load_reader(text) for text in named or []]
