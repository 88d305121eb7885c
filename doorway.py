"""What every verb shares: the options of all, the configuration they run with, and how an answer leaves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import exits
from .terminal import Answer, abandon_stdout, envelope, note, say

if TYPE_CHECKING:
    from .schemas.config import Config

RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="Folder for everything the run writes.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="SHADOWPRICE_CONFIG",
        show_envvar=False,
        help="shadowprice.toml, or pyproject.toml with [tool.shadowprice]; found by walking up if not given.",
    ),
]
ShowConfig = Annotated[
    bool, typer.Option("--show-config", help="Print each setting and its origin, then stop.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace another finished run in the folder.")]
FailOn = Annotated[
    str, typer.Option("--fail-on", metavar="none|usd=N|grade=G", help="Exit 1 on a finding at or above this.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no remarks on stderr.")]


def configured(ctx: typer.Context, file: Path | None, *, show: bool, json: bool, quiet: bool) -> Config:
    """The configuration of this command; with `show`, print it with origins and stop."""
    from . import settings as s
    from . import summary

    settings = s.resolve(file, environment=os.environ)
    if show:
        flags = [
            s.Setting(name=f"--{name.replace('_', '-')}", value=_plain(value), origin=_origin(ctx, name))
            for name, value in ctx.params.items()
            if name in ("out", "format", "mapping", "reader", "seed", "fail_on", "force")
        ]
        deliver(ctx, summary.of_settings([*flags, *settings.origins]), json=json, quiet=quiet)
    if settings.file is not None and not quiet:
        note(f"configuration: {settings.file}")
    return settings.config


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _origin(ctx: typer.Context, name: str) -> str:
    source = ctx.get_parameter_source(name)
    origins = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment"}
    return origins.get(source.name if source else "", "default")


def deliver(ctx: typer.Context, answer: Answer, *, json: bool, quiet: bool) -> None:
    """Print the answer and end the command with its code."""
    if not quiet:
        for warning in answer.warnings:
            note(f"warning: {warning}")
    raise typer.Exit(said(envelope(_verb(ctx), answer) if json else answer.text, answer.exit_code))


def said(text: str, code: int) -> int:
    """Print a result; the exit code is `code`, unless the reader of stdout has gone away."""
    try:
        say(text)
    except BrokenPipeError:
        abandon_stdout()
        return exits.BROKEN_PIPE
    return code


def _verb(ctx: typer.Context) -> str:
    return ctx.command_path.partition(" ")[2]
