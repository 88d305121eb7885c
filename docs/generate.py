"""Writes the parts of the site that are read off the code: commands, Python names, columns, formats, targets.

python docs/generate.py            write docs/generated/
python docs/generate.py --check    say what is out of date, and end with 1 if anything is
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import shadowprice as sp
import typer
from pydantic import BaseModel
from shadowprice import cli, reader
from shadowprice.ingest.readers.registry import READERS
from shadowprice.reports.exports.export import TARGETS
from shadowprice.schemas import columns, units

HERE: Final = Path(__file__).resolve().parent
OUT: Final = HERE / "generated"
MEASURED: Final = HERE.parent / "benchmarks" / "FORMATS.md"
NOTE: Final = "% Made by docs/generate.py from the code. Do not edit.\n\n"
_FIELD: Final = re.compile(r"^([A-Za-z_][\w./]*(?:(?:, | of )[a-z_][\w./]*)*): (?=\S)")
"""The beginning of a line of a docstring that explains a parameter, a field, Raises or Source."""
_NAME_WORDS: Final = 3


def main() -> int:
    """0 when everything was written or is up to date."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--check", action="store_true")
    check = asked.parse_args().check
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text("utf-8") != text]
    if check:
        for path in stale:
            print(
                f"{path.relative_to(HERE.parent)} is out of date: run python docs/generate.py",
                file=sys.stderr,
            )
        return 1 if stale else 0
    OUT.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(pages()[path], encoding="utf-8")
    return 0


def pages() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    makers: dict[str, Callable[[], Iterator[str]]] = {
        "cli.md": _cli,
        "api.md": _api,
        "reader_api.md": _reader_api,
        "columns.md": _columns,
        "config.md": _config,
        "formats.md": _formats,
        "targets.md": _targets,
    }
    return {OUT / name: NOTE + "\n".join(make()).rstrip("\n") + "\n" for name, make in makers.items()}


def commands() -> dict[str, Any]:
    """Every verb of the command line, sub-verbs with a space, in the order of the help."""
    root: Any = typer.main.get_command(cli.app)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        below: dict[str, Any] = getattr(command, "commands", {})
        found |= {f"{name} {verb}": leaf for verb, leaf in below.items()} or {name: command}
    return found


def _cli() -> Iterator[str]:
    for verb, command in commands().items():
        yield f"({anchor('cli', verb)})="
        yield f"## shadowprice {verb}\n"
        yield f"{command.help}\n"
        takes = " ".join(
            [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
        )
        yield f"```console\n$ shadowprice {verb}{' ' + takes if takes else ''} [OPTIONS]\n"
        yield f"$ {(command.epilog or '').removeprefix('Example: ')}\n```\n"
        yield "| | default | |\n|---|---|---|"
        yield from map(_option, command.params)
        yield ""


def _option(param: Any) -> str:
    if param.param_type_name == "argument":
        name, meaning = param.metavar or param.name.upper(), getattr(param, "help", None) or ""
    else:
        value = "" if param.is_flag else f" {param.metavar or param.name.upper()}"
        name, meaning = f"{'`, `'.join(param.opts)}{value}", param.help or ""
    needed, default = param.required, param.default
    shown = "required" if needed else "" if default is None or default is False else f"`{default}`"
    return f"| `{cell(name)}` | {cell(shown)} | {cell(prose(meaning))} |"


def _api() -> Iterator[str]:
    names = [name for name in sp.__all__ if name != "__version__"]
    functions = [name for name in names if name.islower()]
    yield "## Functions\n"
    for name in functions:
        found = getattr(sp, name)
        yield from _function(f"shadowprice.{name}", _ingest() if name == "ingest" else found)
    yield "## Records\n"
    for name in names:
        if name not in functions:
            yield from _class(f"shadowprice.{name}", getattr(sp, name))


def _reader_api() -> Iterator[str]:
    for name in reader.__all__:
        found = getattr(reader, name)
        if inspect.isfunction(found):
            yield from _function(f"shadowprice.reader.{name}", found)
        elif inspect.isclass(found) and name != "Config":
            yield from _class(f"shadowprice.reader.{name}", found)


def _ingest() -> Callable[..., Any]:
    from shadowprice.ingest.pipeline import ingest

    return ingest


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    yield f"````{{py:function}} {name}{_signature(function)}\n"
    yield from docstring(function)
    yield "````\n"


def _class(name: str, found: type) -> Iterator[str]:
    yield f"````{{py:class}} {name}\n"
    yield from docstring(found)
    rows = list(_fields(found))
    if rows:
        yield "| field | type |\n|---|---|"
        yield from rows
        yield ""
    for label, member in vars(found).items():
        function = getattr(member, "__func__", member)
        if label.startswith("_") or not (inspect.isfunction(function) or isinstance(member, property)):
            continue
        if label in ("model_post_init",) or not inspect.getdoc(function):
            continue
        kind = "property" if isinstance(member, property) else "method"
        signature = "" if kind == "property" else _signature(function)
        yield f"```{{py:{kind}}} {label}{signature}\n"
        yield from docstring(function)
        yield "```\n"
    yield "````\n"


def _fields(found: type) -> Iterator[str]:
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            yield f"| `{field.name}` | `{cell(_plain(str(field.type)))}` |"
    elif issubclass(found, BaseModel):
        for name in found.model_fields:
            yield f"| `{name}` | `{cell(_plain(inspect.get_annotations(found)[name]))}` |"


def _signature(function: Callable[..., Any]) -> str:
    """The signature in one line, without the modules of types and without a function's self."""
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    return _plain(str(signature.replace(parameters=kept)).replace("'", ""))


def _plain(annotation: str) -> str:
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", annotation)


def docstring(found: Any) -> Iterator[str]:
    """A docstring of this house as Markdown: its paragraphs, and a list of what its lines explain."""
    for block in (inspect.getdoc(found) or "").split("\n\n"):
        if block.lstrip().startswith(">>>"):
            yield f"```pycon\n{block}\n```\n"
            continue
        for item in _items(block.splitlines()):
            match = _FIELD.match(item)
            if match is None or len(match[1].split()) > _NAME_WORDS:
                yield prose(item) + "\n"
                continue
            rest = prose(item[match.end() :])
            label = match[1]
            yield (f"**{label}.** {rest}" if label in ("Raises", "Source") else f"`{label}`: {rest}") + "\n"


def _items(lines: Iterable[str]) -> list[str]:
    """Lines joined to sentences; a line that explains a name begins a new one."""
    found: list[str] = []
    for line in lines:
        if found and not _FIELD.match(line):
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.strip())
    return found


def prose(text: str) -> str:
    """Text of a docstring or a help in which Markdown finds nothing but code spans."""
    parts = text.split("`")
    plain = [
        re.sub(r"([\\*_<>\[\]|$#{}~])", r"\\\1", part) if n % 2 == 0 else part for n, part in enumerate(parts)
    ]
    return "`".join(plain)


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", text.replace("\n", " "))


def anchor(kind: str, name: str) -> str:
    """The label that other pages link to."""
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"


def _columns() -> Iterator[str]:
    tables = {
        "decisions": columns.DECISIONS,
        "outcomes": columns.OUTCOMES,
        "engine_steps": columns.ENGINE_STEPS,
        "ledger": columns.LEDGER,
        "estimates": columns.ESTIMATES,
    }
    for name, table in tables.items():
        yield f"## {name}\n"
        yield "| column | type | unit | meaning |\n|---|---|---|---|"
        for column in table:
            kinds = "" if column.layers == columns.LAYERS else f" ({', '.join(column.layers)})"
            choices = f": {', '.join(column.choices)}" if column.choices else ""
            needed = "" if column.nullable else ", required"
            meaning = cell(prose(column.meaning + choices + kinds))
            kind = str(column.dtype) if isinstance(column.dtype, pa.DataType) else ""
            yield f"| `{column.name}` | {kind}{needed} | {cell(column.unit or '')} | {meaning} |"
        yield ""


def _config() -> Iterator[str]:
    yield from _section("", sp.Config)


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    """A table of the configuration and those below it; `path` is how TOML names it."""
    yield f"## {path or 'At the top'}\n"
    yield from docstring(model)
    yield "| key | type | default |\n|---|---|---|"
    below: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if inner is not None:
            many = kinds[0] is not inner and isinstance(field.default, tuple)
            below.append((f"{path.strip('[]')}.{name}".strip("."), inner))
            below[-1] = (f"[[{below[-1][0]}]]" if many else f"[{below[-1][0]}]", inner)
        stated = "required" if field.is_required() else field.get_default(call_default_factory=True)
        shown = "" if inner is not None or stated in (None, (), {}) else f"`{_toml(stated)}`"
        yield f"| `{name}` | `{cell(_units(_plain(inspect.get_annotations(model)[name])))}` | {shown} |"
    yield ""
    for place, inner in below:
        yield from _section(place, inner)


def _units(annotation: str) -> str:
    """The type with the units that an amount may have, instead of how they are checked."""

    def named(match: re.Match[str]) -> str:
        parts = [part.strip(" *'") for part in match[1].split(",")]
        found = [getattr(units, part, part) for part in parts]
        return " or ".join(one for f in found for one in ((f,) if isinstance(f, str) else f))

    text = annotation.replace("TaskValue", "Annotated[Amount, _amount(TASK_VALUE)]")
    return re.sub(r"Annotated\[Amount, _amount\((.*?)\)\]", named, text)


def _toml(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)


def _formats() -> Iterator[str]:
    measured = _measured()
    for one in READERS:
        yield f"({anchor('format', one.NAME)})="
        yield f"### {one.NAME}\n"
        yield from docstring(one)
        samples, rows, filled = measured.get(one.NAME, ("none here", "", ""))
        if filled:
            yield f"Public samples: {samples}, with {rows}. They fill {_code_list(filled)}.\n"
        elif samples.isdigit():
            yield f"Public samples: {samples}, which hold no decision.\n"
        else:
            yield "No licensed public sample exists; tests write such logs from the documentation.\n"


def _code_list(names: str) -> str:
    features = re.compile(r"\d+ x_\*")
    return ", ".join(n if features.fullmatch(n) else f"`{n}`" for n in names.split(", ")).replace(
        "x_*", "`x_*`"
    )


def _measured() -> dict[str, tuple[str, str, str]]:
    """Format -> samples, rows and filled columns, as benchmarks/formats_table.py measured them."""
    found: dict[str, tuple[str, str, str]] = {}
    for line in MEASURED.read_text(encoding="utf-8").splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 6 and cells[0] != "format":
            found[cells[0]] = (cells[1], cells[2], cells[5])
    return found


def _targets() -> Iterator[str]:
    for name, target in TARGETS.items():
        yield f"({anchor('target', name)})="
        yield f"### {name}\n"
        inner = inspect.getclosurevars(target.make).nonlocals.values()
        maker: Any = next((value for value in inner if callable(value)), target.make)
        yield from docstring(sys.modules[maker.__module__])
        if name not in ("json", "parquet"):
            yield from docstring(maker)


if __name__ == "__main__":
    sys.exit(main())
