"""Where each setting comes from: flags beat the environment, which beats the file, which beats defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from .errors import ConfigError
from .schemas.config import Config, load_config, parse_config
from .schemas.units import Amount

ENVIRONMENT_PREFIX: Final = "SHADOWPRICE__"
"""SHADOWPRICE__PRICES__TASK_VALUE='12 USD/task' sets prices.task_value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as it will be used, and who said so."""

    name: str
    value: Any
    origin: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value!r}  ({self.origin})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of a run, the file it came from, and the origin of every value."""

    config: Config
    file: Path | None
    origins: tuple[Setting, ...]


def resolve(file: Path | None, *, environment: Mapping[str, str]) -> Settings:
    """The settings from `file` (or the one found by walking up) and the environment.

    Raises: ConfigError for an unreadable file, an unknown key in either place, or a bad value.
    """
    stated, found = load_config(file)
    config, overridden = _overlaid(stated, environment)
    from_file = dict(_leaves(stated))
    origins: list[Setting] = []
    for name, (value, _) in _leaves(config):
        origin = f"file {found}" if from_file.get(name, (None, False))[1] else "default"
        origin = f"environment {overridden[name]}" if name in overridden else origin
        origins.append(Setting(name=name, value=value, origin=origin))
    return Settings(config=config, file=found, origins=tuple(origins))


def config_dict(config: BaseModel) -> dict[str, Any]:
    """The configuration as plain values that `parse_config` reads back to an equal one."""
    return {name: _plain(getattr(config, name)) for name in type(config).model_fields}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return config_dict(value)
    if isinstance(value, Amount):
        return f"{value.value!r} {value.unit}"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _overlaid(stated: Config, environment: Mapping[str, str]) -> tuple[Config, dict[str, str]]:
    """`stated` with the values of the environment, and which variable set which key."""
    variables = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."): name
        for name in sorted(environment)
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    data = config_dict(stated)
    for key, variable in variables.items():
        *sections, last = key.split(".")
        place: Any = data
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"'{section}' has no keys below it", where=f"environment {variable}")
        place[last] = environment[variable]
    if not variables:
        return stated, {}
    return parse_config(data, where=f"environment ({', '.join(variables.values())})"), variables


def _leaves(
    section: BaseModel, prefix: str = "", given: bool = True
) -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Every setting by its dotted name: its plain value, and whether someone stated it."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        stated = given and name in section.model_fields_set
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.", stated)
        else:
            yield f"{prefix}{name}", (_plain(value), stated)
