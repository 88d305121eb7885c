"""Agent steps from tool or span names: what kind of decision, how far it reaches, whether it can be undone.

A user's rules come first, then the defaults in actions.toml; a name that no rule knows is an act of
unknown reach.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from ..errors import ConfigError
from ..schemas.config import ActionRule, Config

Kind = Literal["read", "plan", "edit", "verify", "act", "defer", "delegate"]

MAX_NAME_CHARS: Final = 200
"""Longer names are no tool names; they are not matched, so no expression meets unbounded text."""
_MAX_KNOWN: Final = 10_000
"""Names whose kind is remembered; a log that makes names up is not remembered whole."""
POINTS: Final[tuple[Kind, ...]] = ("plan", "verify", "delegate", "defer")
"""Kinds that are decision points of their own; reading, editing and acting share the point 'act'."""

_DEFAULTS: Final = Path(__file__).with_name("actions.toml")
_SERVER: Final = re.compile(r"^.*(?:__|[./:])(?=[^_./:])")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_GAP: Final = re.compile(r"[\s\-]+")

_Compiled = tuple[re.Pattern[str], "StepKind"]


@dataclass(frozen=True, slots=True)
class StepKind:
    """What an agent step is; action_class and reversible are None where its name cannot tell."""

    kind: Kind
    action_class: str | None = None
    reversible: bool | None = None


_UNKNOWN: Final = StepKind("act")


@dataclass(frozen=True, slots=True)
class StepRules:
    """Rules in order of precedence: the user's on the name as logged, the defaults on the plain name."""

    user: tuple[_Compiled, ...]
    default: tuple[_Compiled, ...]
    known: dict[str, StepKind] = field(default_factory=dict[str, StepKind], compare=False, repr=False)
    """Names that were asked for before: a log has few, and asks again and again."""

    def classify(self, name: str) -> StepKind:
        """The kind of the step called `name`; the first rule that matches the whole name decides."""
        found = self.known.get(name)
        if found is not None:
            return found
        if len(name) > MAX_NAME_CHARS:
            return _UNKNOWN
        found = _first(self.user, name) or _first(self.default, plain_name(name)) or _UNKNOWN
        if len(self.known) < _MAX_KNOWN:
            self.known[name] = found
        return found


def step_rules(config: Config) -> StepRules:
    """The rules of `config` in front of the defaults.

    Raises: ConfigError when a user's expression is not a regular expression.
    """
    return StepRules(user=_compiled(config.rules), default=_defaults())


def step_values(name: str, rules: StepRules) -> dict[str, Any]:
    """The columns of the agent step that ran the tool `name`."""
    step = rules.classify(name)
    return {
        "layer": "agent",
        "decision_point": step.kind if step.kind in POINTS else "act",
        "action": step.kind,
        "action_executed": name,
        "action_class": step.action_class,
        "reversible": step.reversible,
    }


def plain_name(name: str) -> str:
    """`name` in lower snake case without its server prefix.

    >>> plain_name("mcp__crm__sendEmail"), plain_name("functions.run-tests")
    ('send_email', 'run_tests')
    """
    tail = _SERVER.sub("", name.strip())
    return _GAP.sub("_", _HUMP.sub("_", tail)).lower()


def _first(rules: tuple[_Compiled, ...], name: str) -> StepKind | None:
    return next((kind for pattern, kind in rules if pattern.fullmatch(name)), None)


@cache
def _defaults() -> tuple[_Compiled, ...]:
    listed = tomllib.loads(_DEFAULTS.read_text(encoding="utf-8"))["rule"]
    return _compiled(tuple(ActionRule.model_validate(rule) for rule in listed))


def _compiled(rules: tuple[ActionRule, ...]) -> tuple[_Compiled, ...]:
    return tuple(
        (_pattern(rule.match), StepKind(rule.kind, rule.action_class, rule.reversible)) for rule in rules
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(
            f"{text!r} is not a regular expression: {error}",
            where="rules.match",
            expected="such as 'send_.*'",
        ) from error
