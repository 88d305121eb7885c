"""Configuration from shadowprice.toml or [tool.shadowprice] in pyproject.toml; unknown keys are errors."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from ..errors import ConfigError
from .units import (
    LATENCY_PRICE,
    RISK_PRICES,
    ROLLOUT_PRICE,
    SIGNAL_PRICE,
    TASK_VALUE,
    Amount,
    parse_amount,
)

FILE_NAME: Final = "shadowprice.toml"


def _amount(*units: str) -> BeforeValidator:
    def parse(raw: object) -> Amount:
        if isinstance(raw, Amount):
            return raw
        return parse_amount(raw, where="", units=units)

    return BeforeValidator(parse)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


Identified = Literal["R", "U", "O", "D"]
"""How the choices of a decision point came about (METHODS 0.5)."""

Control = Literal["bh", "by", "e-bh"]
"""How false findings are held down over many tests (METHODS H)."""

TaskValue = Annotated[Amount, _amount(TASK_VALUE)]


class PriceTable(_Section):
    """Prices set by the user: V (per task class), lambda and rho. Absent means unknown, except that
    an absent lambda or rho prices that term out of the sum, and the report says so.

    learning_signal: what a unit of learning signal is worth; rollout: what training on one kept rollout
    costs, else the cost that the log has. From both the lag follows at which a rollout stops to pay."""

    task_value: TaskValue | None = None
    task_value_by_class: dict[str, TaskValue] = Field(default_factory=dict)
    latency: Annotated[Amount, _amount(LATENCY_PRICE)] | None = None
    risk: Annotated[Amount, _amount(*RISK_PRICES)] | None = None
    learning_signal: Annotated[Amount, _amount(SIGNAL_PRICE)] | None = None
    rollout: Annotated[Amount, _amount(ROLLOUT_PRICE)] | None = None

    @field_validator("learning_signal", "rollout")
    @classmethod
    def _above_zero(cls, amount: Amount | None) -> Amount | None:
        if amount is not None and amount.value == 0.0:
            raise ConfigError(str(amount), where="", expected="more than 0, or no such key")
        return amount


class Caps(_Section):
    """Means per decision that must not be exceeded; a slack cap implies a price of 0 (paper Eq. 3)."""

    cost: Annotated[Amount, _amount("USD/decision")] | None = None
    latency: Annotated[Amount, _amount("s/decision")] | None = None
    risk: Annotated[Amount, _amount("event/decision", "USD/decision")] | None = None


class ActionRule(_Section):
    """A tool or span whose name matches `match` (regular expression, whole name, case ignored) is an
    agent step of `kind`, reaching as far as `action_class`."""

    match: str
    kind: Literal["read", "plan", "edit", "verify", "act", "defer", "delegate"]
    action_class: Literal["read", "draft", "commit", "deploy"] | None = None
    reversible: bool | None = None


class QualityRule(_Section):
    """The outcome called `name` is the quality; `low` and `high` are mapped to 0 and 1."""

    name: str
    low: float = 0.0
    high: float = 1.0


class PointRule(_Section):
    """What the user knows of the choices at the decision point `name`: R randomised with logged
    propensities, U made from logged features alone, O possibly from other causes, D by a fixed rule.

    A declaration is tested on the log; one that fails its test is reported and not used.
    """

    name: str
    identification: Identified


class Config(_Section):
    """Everything a user can set; every field has a default that makes no modelling choice in secret.

    multiplicity: bh for a log that is looked at once, by under any dependence of the tests, e-bh for a log
    that grows and is looked at again and again.
    """

    prices: PriceTable = PriceTable()
    caps: Caps = Caps()
    rules: tuple[ActionRule, ...] = ()
    quality: QualityRule | None = None
    task_class: str = "x_task_class"
    cluster: Literal["tenant_id", "session_id", "request_id", "decision_id"] | None = None
    segments: tuple[str, ...] | None = None
    tenant: Literal["team", "organization", "key"] = "team"
    optional_points: tuple[str, ...] = ("plan", "verify", "delegate", "defer")
    points: tuple[PointRule, ...] = ()
    multiplicity: Control = "bh"

    @field_validator("points")
    @classmethod
    def _each_once(cls, points: tuple[PointRule, ...]) -> tuple[PointRule, ...]:
        names = [p.name for p in points]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"points names {name!r} twice", where="", expected="each point once")
        return points

    def declared(self, decision_point: str) -> Identified | None:
        """The class that the user declares for a decision point, or None."""
        return next((p.identification for p in self.points if p.name == decision_point), None)


def load_config(path: Path | None = None, *, start: Path | None = None) -> tuple[Config, Path | None]:
    """The configuration and the file it came from; without `path`, found by walking up from `start`.

    Raises: ConfigError for an unreadable file, an unknown key ("did you mean") or a bad value.
    """
    found = path or _find(start or Path.cwd())
    if found is None:
        return Config(), None
    try:
        data = tomllib.loads(found.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(error.strerror or "unreadable", where=str(found)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=str(found)) from error
    if found.name == "pyproject.toml":
        data = data.get("tool", {}).get("shadowprice", {})
    return parse_config(data, where=str(found)), found


def parse_config(data: dict[str, Any], *, where: str = "config") -> Config:
    """The configuration that `data` states.

    Raises: ConfigError naming the key, what was expected, and for unknown keys the nearest known one.
    """
    try:
        return Config.model_validate(data)
    except ConfigError as error:
        raise ConfigError(error.found, where=where, expected=error.expected) from error
    except ValidationError as error:
        raise _first_error(error, where) from error


def _find(start: Path) -> Path | None:
    for folder in (start, *start.resolve().parents):
        own = folder / FILE_NAME
        if own.is_file():
            return own
        shared = folder / "pyproject.toml"
        if shared.is_file() and "[tool.shadowprice" in shared.read_text(encoding="utf-8", errors="replace"):
            return shared
    return None


def _first_error(error: ValidationError, where: str) -> ConfigError:
    every = error.errors()
    first = next((e for e in every if e["type"] == "extra_forbidden"), every[0])  # a typo also lacks the key
    keys = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return ConfigError.unknown_key(keys[-1], where=where, known=_known_keys(keys[:-1]))
    if first["type"] == "missing":
        return ConfigError(f"{'.'.join(keys)} is missing", where=where)
    return ConfigError(f"{'.'.join(keys)} is {first.get('input')!r}", where=where, expected=first["msg"])


def _known_keys(path: list[str]) -> list[str]:
    model: Any = Config
    for part in path:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(model.model_fields)
