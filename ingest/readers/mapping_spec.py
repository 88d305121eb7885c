"""The mapping file: which of a log's columns are ours, in which units. Strict: nothing is guessed.

Unknown keys, options that do not apply and units that are not stated are errors, before any log is read.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ...errors import ConfigError
from ...schemas.columns import FEATURE_PREFIX, LAYERS
from ...schemas.tables import TABLES
from ..convert import MONEY_UNITS, TIME_UNITS
from ..lines import printable
from ..seam import Table

Kind = Literal[
    "time",
    "seconds",
    "money",
    "input",
    "propensity",
    "shares",
    "names",
    "feature",
    "count",
    "real",
    "flag",
    "text",
]
CONTEXT_COLUMNS: Final = ("request_id", "session_id", "tenant_id", "ts")
ISO: Final = "iso"
"""The unit of a time that is written as text."""
_OPTIONS: Final[dict[Kind, tuple[str, ...]]] = {
    "time": ("unit", "timezone"),
    "seconds": ("unit",),
    "money": ("unit",),
    "input": ("convention", "cache_read", "cache_write"),
    "propensity": ("source",),
    "shares": ("split", "source"),
    "names": ("split",),
    "feature": ("type",),
    "count": (),
    "real": (),
    "flag": (),
    "text": (),
}
_STATED: Final[dict[Kind, tuple[str, ...]]] = {
    "time": ("unit",),
    "seconds": ("unit",),
    "money": ("unit",),
    "input": ("convention",),
    "propensity": ("source",),
    "shares": ("source",),
}
"""Options that must be stated: no default is right for two logs."""
_UNITS: Final[dict[Kind, tuple[str, ...]]] = {
    "time": (*TIME_UNITS, ISO),
    "seconds": TIME_UNITS,
    "money": MONEY_UNITS,
}
_BY_TYPE: Final[dict[str, Kind]] = {
    "string": "text",
    "double": "real",
    "int64": "count",
    "bool": "flag",
    "list<item: string>": "names",
    "list<item: double>": "shares",
    "timestamp[us, tz=UTC]": "time",
}
_FEATURE: Final = re.compile(r"x_[a-z0-9_]{1,80}")
_PROVENANCE: Final = ("source_format", "source_file", "source_row")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CellSpec(_Strict):
    """Where a column comes from: the path `from` (dots descend) or a constant `value`, and its unit."""

    path: str | None = Field(default=None, alias="from", min_length=1)
    value: Any = None
    null_values: tuple[Any, ...] = ()
    unit: str | None = None
    timezone: str | None = None
    split: str | None = Field(default=None, min_length=1)
    source: Literal["logged", "reconstructed", "deterministic", "unknown"] | None = None
    convention: Literal["inclusive", "exclusive"] | None = None
    cache_read: str | None = None
    cache_write: str | None = None
    type: Literal["real", "text"] | None = None


class OutcomeSpec(_Strict):
    """An outcome in the same record: a number or flag becomes its value, other text its label.

    name_from: the path of its name, where a table has a row for each outcome.
    """

    name: str | None = Field(default=None, min_length=1)
    name_from: str | None = Field(default=None, min_length=1)
    path: str = Field(alias="from", min_length=1)
    source: Literal["human", "llm_judge", "code", "env"]
    ts: str | CellSpec | None = None
    key: Literal["request_id", "decision_id"] = "request_id"
    null_values: tuple[Any, ...] = ()


class ClassRule(_Strict):
    """Records whose values match every expression (whole value) reach as far as `class` says."""

    match: dict[str, str] = Field(min_length=1)
    action_class: Literal["read", "draft", "commit", "deploy"] = Field(alias="class")
    reversible: bool | None = None

    @field_validator("match")
    @classmethod
    def _expressions(cls, match: dict[str, str]) -> dict[str, str]:
        for text in match.values():
            try:
                re.compile(text)
            except re.error as error:
                raise ValueError(f"a regular expression ({text!r}: {error})") from error
        return match


class MappingSpec(_Strict):
    """A whole mapping file."""

    format: Literal["csv", "jsonl", "json", "parquet"]
    table: Literal["decisions", "outcomes", "contexts", "engine_steps"] = "decisions"
    files: str | None = Field(default=None, min_length=1)
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    layer: str | CellSpec | None = None
    decision_point: str | CellSpec | None = None
    columns: dict[str, str | CellSpec]
    outcomes: tuple[OutcomeSpec, ...] = ()
    action_class: tuple[ClassRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A checked mapping: the file's spec, with every column as a CellSpec, and the hash of its text."""

    path: Path
    fingerprint: str
    spec: MappingSpec
    cells: dict[str, CellSpec]
    kinds: dict[str, Kind]


def mapped_paths(mapping: Mapping) -> Iterator[str]:
    """Every path that the mapping reads."""
    for cell in mapping.cells.values():
        yield from (path for path in (cell.path, cell.cache_read, cell.cache_write) if path is not None)
    for outcome in mapping.spec.outcomes:
        yield outcome.path
        if outcome.name_from is not None:
            yield outcome.name_from
        if outcome.ts is not None:
            yield outcome.ts if isinstance(outcome.ts, str) else outcome.ts.path or outcome.path
    for rule in mapping.spec.action_class:
        yield from rule.match


def mapped_columns(mapping: Mapping) -> set[str]:
    """The columns of a log that these paths may lead through."""
    return {name for path in mapped_paths(mapping) for name in (path, path.split(".")[0])}


def read_mapping(path: Path) -> Mapping:
    """The mapping in the TOML file at `path`.

    Raises: ConfigError for a file that cannot be read, an unknown key (with the nearest known one), a
    missing unit, or an option that does not apply to its column.
    """
    where = printable(str(path))
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", where=where, cure="Check the path.") from error
    return parse_mapping(text, path)


def parse_mapping(text: bytes, path: Path) -> Mapping:
    """The mapping that `text` states; `path` is where it lies, for messages.

    Raises: ConfigError, as `read_mapping`.
    """
    where = printable(str(path))
    try:
        data = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=where) from error
    try:
        spec = MappingSpec.model_validate(data)
    except ValidationError as error:
        raise _first_error(error, where) from error
    cells = _cells(spec)
    kinds: dict[str, Kind] = {name: _kind(name, spec.table, where) for name in cells}
    for name, cell in cells.items():
        _check_cell(name, cell, kinds[name], where)
    _check_table(spec, cells, where)
    return Mapping(path, hashlib.sha256(text).hexdigest(), spec, cells, kinds)


def _cells(spec: MappingSpec) -> dict[str, CellSpec]:
    cells = {name: _cell(given) for name, given in spec.columns.items()}
    for name, given in (("layer", spec.layer), ("decision_point", spec.decision_point)):
        if given is not None:
            cells[name] = CellSpec(value=given) if isinstance(given, str) else given
    return cells


def _cell(given: str | CellSpec) -> CellSpec:
    return CellSpec.model_validate({"from": given or None}) if isinstance(given, str) else given


def _kind(name: str, table: Table, where: str) -> Kind:
    columns = {column.name: column for column in TABLES["decisions" if table == "contexts" else table]}
    known = set(columns) - set(_PROVENANCE)
    if table == "outcomes":
        known = {"request_id", "decision_id"}
    if table == "contexts":
        known = set(CONTEXT_COLUMNS)
    if name.startswith(FEATURE_PREFIX) and table in ("decisions", "contexts"):
        if _FEATURE.fullmatch(name):
            return "feature"
        raise ConfigError(
            f"column {name!r}", where=where, expected="x_ and lower-case letters, digits and underscores"
        )
    if name not in known:
        raise ConfigError.unknown_key(name, where=f"{where}: columns", known=known)
    if name == "tok_input_uncached":
        return "input"
    if name == "propensity":
        return "propensity"
    kind = _BY_TYPE[str(columns[name].dtype)]
    if kind == "real" and name.endswith("_usd"):
        return "money"
    return "seconds" if kind == "real" and name.endswith("_s") else kind


def _check_cell(name: str, cell: CellSpec, kind: Kind, where: str) -> None:
    place = f"{where}: {name}"
    if (cell.path is None) == (cell.value is None):
        raise ConfigError("a column needs a source", where=place, expected="either 'from' or 'value'")
    given = cell.model_fields_set - {"path", "value", "null_values"}
    for option in sorted(given):
        if option not in _OPTIONS[kind]:
            raise ConfigError(
                f"option '{option}' does not apply",
                where=place,
                expected=", ".join(_OPTIONS[kind]) or "no options",
            )
    for option in _STATED.get(kind, ()) if cell.value is None else ():
        if getattr(cell, option) is None:
            allowed = ", ".join(_UNITS.get(kind, ())) if option == "unit" else _choices(option)
            raise ConfigError(
                f"'{option}' is not stated", where=place, expected=f"{option} = one of {allowed}"
            )
    if cell.unit is not None and cell.unit not in _UNITS[kind]:
        raise ConfigError(f"unit {cell.unit!r}", where=place, expected=f"one of {', '.join(_UNITS[kind])}")
    if kind == "time":
        _check_zone(cell, place)


def _choices(option: str) -> str:
    return (
        "inclusive, exclusive" if option == "convention" else "logged, reconstructed, deterministic, unknown"
    )


def _check_zone(cell: CellSpec, place: str) -> None:
    if cell.timezone is None:
        if cell.unit == ISO:
            raise ConfigError("'timezone' is not stated", where=place, expected='such as timezone = "UTC"')
        return
    if cell.unit != ISO and cell.timezone != "UTC":
        raise ConfigError(
            f"timezone {cell.timezone!r} for an epoch", where=place, expected="UTC, or no timezone"
        )
    try:
        zoneinfo.ZoneInfo(cell.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            f"timezone {cell.timezone!r}", where=place, expected="a name such as UTC or Europe/Amsterdam"
        ) from error


def _check_table(spec: MappingSpec, cells: dict[str, CellSpec], where: str) -> None:
    required: dict[str, tuple[str, ...]] = {
        "decisions": ("layer", "decision_point", "action"),
        "contexts": ("request_id",),
        "engine_steps": ("replica",),
        "outcomes": (),
    }
    absent = [name for name in required[spec.table] if name not in cells]
    if absent:
        raise ConfigError(f"no {absent[0]}", where=where, expected=f"it to be stated for {spec.table}")
    if spec.table == "outcomes" and not spec.outcomes:
        raise ConfigError("no outcomes", where=where, expected="at least one [[outcomes]]")
    if spec.table == "engine_steps" and spec.outcomes:
        raise ConfigError("outcomes in engine steps", where=where, expected="requests or decisions")
    if spec.action_class and (spec.table != "decisions" or "action_class" in cells):
        raise ConfigError("action_class is stated twice or has no decisions", where=where)
    for outcome in spec.outcomes:
        called = outcome.name or outcome.name_from
        if (outcome.name is None) == (outcome.name_from is None):
            expected = "either 'name' or 'name_from'"
            raise ConfigError("an outcome needs a name", where=f"{where}: outcomes", expected=expected)
        if outcome.key not in cells and not (outcome.key == "decision_id" and spec.table == "decisions"):
            raise ConfigError(
                f"outcome '{called}' is keyed by {outcome.key}, which no column gives", where=where
            )
        if isinstance(outcome.ts, CellSpec):
            _check_cell(f"outcomes.{called}.ts", outcome.ts, "time", where)
        elif isinstance(outcome.ts, str) and "ts" not in cells:
            raise ConfigError(
                f"the time of outcome '{called}' has no unit",
                where=where,
                expected='ts = {from = "...", unit = "...", timezone = "..."}',
            )
    layer = cells.get("layer")
    if layer is not None and layer.value is not None and layer.value not in LAYERS:
        raise ConfigError(f"layer {layer.value!r}", where=where, expected=f"one of {', '.join(LAYERS)}")


def _first_error(error: ValidationError, where: str) -> ConfigError:
    first = min(
        error.errors(), key=lambda e: (e["type"] != "extra_forbidden", e["loc"][-1] == "str", len(e["loc"]))
    )
    keys = [str(part) for part in first["loc"] if part not in ("str", "CellSpec")]
    place = f"{where}: {'.'.join(keys[:-1])}" if len(keys) > 1 else where
    if first["type"] == "extra_forbidden":
        return ConfigError.unknown_key(keys[-1], where=place, known=_known(keys))
    if first["type"] == "missing":
        return ConfigError(f"'{keys[-1]}' is not stated", where=place)
    return ConfigError(f"'{keys[-1]}' is {first.get('input')!r}", where=place, expected=first["msg"])


def _known(keys: list[str]) -> list[str]:
    """The keys that the model at `keys` reads, as they are spelled in the file."""
    model: type[_Strict] = MappingSpec
    if len(keys) > 1:
        tables: dict[str, type[_Strict]] = {"outcomes": OutcomeSpec, "action_class": ClassRule}
        model = tables.get(keys[0], CellSpec)
        if keys[0] == "outcomes" and keys[-2] == "ts":
            model = CellSpec
    return [field.alias or name for name, field in model.model_fields.items()]
