"""What a column's name and values suggest it is: the guesses that a drafted mapping file offers for checking.

A guess never decides a unit in secret: it is written down beside the column, marked, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from ..convert import utc_from_text

_ID: Final = r"(_?(id|hash|uuid|key))?"
_UNIT: Final = r"(_(s|sec|seconds|ms|millis|us|ns))?"
_LONG: Final = rf"(_?(time|duration|latency))?{_UNIT}"
_TOK: Final = r"(tokens?|tok|length|len)"
NAMES: Final[dict[str, str]] = {
    "decision_id": r"(decision|call|event|log|span|generation|observation|rollout|sample|row)?_?(uu)?id",
    "request_id": r"(request|req|trace|correlation|interaction|ticket|task)(_?id)?",
    "session_id": r"(session|conversation|thread|chat|run)_?(id|uuid)",
    "tenant_id": rf"(tenant|team|org|organi[sz]ation|customer|account|client|user){_ID}",
    "ts": rf"(created|timestamp|time|ts|date(time)?|decided|start(ed)?|arriv(ed|al))(_?(at|time|ts))?{_UNIT}",
    "candidates": r"candidates?|options|choices|alternatives|arms|available_(models|actions|tools)",
    "propensity": r"propensity(_score)?|pscore|(action|choice|logging|exploration)_prob(ability)?",
    "propensities": r"propensities|(action|choice|arm)_prob(abilitie)?s",
    "action": r"action|(chosen|selected|routed?)(_?(to|model|action|arm|tool))?|decision|choice|arm"
    r"|model(_?(name|id))?|tool(_?name)?",
    "action_executed": r"(executed|actual|served|final|response)_?(action|model)",
    "policy_version": r"(policy|router|prompt|config)_?(version|hash|fingerprint)|policy",
    "exploration": r"explor(e|ed|ation|ing)|randomi[sz]ed",
    "tok_input_uncached": rf"(prompt|input|context|request)_?{_TOK}|tok(ens)?_(in|input|prompt)"
    r"|(n|num|total)_(prompt|input)_tokens",
    "cache_read": r"cached?_?(read)?_?(input|prompt)?_?tokens?(_read)?|cache_read(_input)?_tokens",
    "cache_write": r"cache_?(creation|write)_?(input|prompt)?_?tokens?|cache_creation_input_tokens",
    "tok_output": rf"(completion|output|generated|response|generation)_?{_TOK}"
    r"|tok(ens)?_(out|output|completion)|(n|num|total)_(completion|output)_tokens",
    "tok_reasoning": r"(reasoning|thinking)_?tokens?",
    "cost_usd": r"((total|response|request|llm|api)_?)?(cost|spend|price|charge)s?"
    r"(_?(usd|dollars|cents|micros?|usd_micro|micro_?usd))?",
    "queue_s": rf"(queue|queued|queueing|wait|waiting){_LONG}",
    "ttft_s": rf"(ttft|time_to_first_token|first_token){_LONG}",
    "latency_s": rf"((total|request|response|e2e)_?)?(latency|duration|elapsed|time|took|runtime){_UNIT}",
    "replica": r"replica(_?id)?|engine(_?id)?",
    "cache_similarity": r"(cache_)?similarity(_score)?",
    "version_behaviour": r"(behaviou?r|rollout|generation)_(policy_)?version|head_version",
    "version_trained": r"(trained|trainer|train|current)_(policy_)?version|tail_version",
    "version_lag": r"(version_)?(lag|staleness)",
    "reward": r"rewards?",
    "advantage": r"advantages?",
    "kept": r"kept|keep|is_kept",
    "update_id": r"update(_?id)?|global_step|train(ing)?_step",
    "reversible": r"reversible|undoable",
}
"""Column (or cache_read, cache_write: parts of the input) -> expression for a whole name, in order."""
OUTCOME_NAMES: Final = re.compile(
    r"resolved|success(ful)?|solved|passed|correct|accepted|score|rating|stars|feedback|thumbs?(_up)?|csat|quality"
    r"|grade|judge(_score)?|(user|human)_(score|rating|feedback)|llm_judge|incident|rolled_back|refunded"
)
CONTENT_NAMES: Final = re.compile(
    r"prompts?|messages?|content|text|body|input|output|query|question|answer|response|completion|email|name"
    r"|description|comment|reason|traceback|error_message"
)
FORBIDDEN_PROBABILITIES: Final = re.compile(r"p|prob|probability|confidence|likelihood|logprobs?")
_SEPARATORS: Final = ("|", ";", ",", "/")
MAX_LABEL_CHARS: Final = 200
"""Longer text is content, not a label."""
_SUFFIX: Final = {"sec": "s", "seconds": "s", "s": "s", "ms": "ms", "millis": "ms", "us": "us", "ns": "ns"}
_EPOCH_FROM: Final = {"ns": 1e17, "us": 1e14, "ms": 1e11, "s": 6e8}
"""The smallest number of each unit since 1970 that is no earlier than a model's log could be."""
_DURATION_FROM: Final = {"ns": 1e8, "us": 1e5, "ms": 60.0}
"""A typical decision takes 0.1 s to 60 s: a median beyond is more likely the next smaller unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One path of the sample: its value in every record, None where it has none."""

    path: str
    cells: tuple[Any, ...]

    @property
    def values(self) -> list[Any]:
        """What it holds, without nulls."""
        return [cell for cell in self.cells if cell is not None]

    @property
    def name(self) -> str:
        """Its last part in lower case, with underscores."""
        return simple(self.path.rpartition(".")[2])

    @property
    def numbers(self) -> list[float]:
        """Its values as numbers; empty when one is none."""
        try:
            return [float(value) for value in self.values if not isinstance(value, bool)]
        except (TypeError, ValueError):
            return []

    @property
    def is_list(self) -> bool:
        """Whether its values are lists."""
        return any(isinstance(value, list) for value in self.values)


@dataclass(frozen=True, slots=True)
class Guess:
    """The options of a cell, and what a person must check; without options, why it cannot be mapped."""

    options: dict[str, Any] | None
    why: str | None = None


def simple(text: str) -> str:
    """`text` in lower case, words joined by one underscore."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def time_options(seen: Seen) -> Guess:
    """Unit and zone of a time: by the size of its numbers, or ISO text."""
    numbers = seen.numbers
    if numbers:
        typical = median(numbers)
        unit = next((u for u, least in _EPOCH_FROM.items() if typical >= least), None)
        if unit is None:
            return Guess(None, "its numbers are no time since 1970: a clock of its own start?")
        return Guess({"unit": unit, "timezone": "UTC"})
    texts = [value for value in seen.values if isinstance(value, str)]
    try:
        for text in texts:
            utc_from_text(text)
    except ValueError:
        return Guess(None, "text that is no ISO time")
    if all(re.search(r"(Z|[+-]\d\d:?\d\d)$", text.strip()) for text in texts):
        return Guess({"unit": "iso", "timezone": "UTC"})
    return Guess({"unit": "iso", "timezone": "UTC"}, "the times state no zone: which one is meant?")


def duration_options(seen: Seen) -> Guess:
    """Unit of a duration: by the ending of its name, else by its median."""
    if not seen.numbers:
        return Guess(None, "no numbers")
    ending = _SUFFIX.get(seen.name.rpartition("_")[2])
    if ending is not None:
        return Guess({"unit": ending})
    typical = median(seen.numbers)
    unit = next((u for u, least in _DURATION_FROM.items() if typical >= least), "s")
    return Guess({"unit": unit}, f"median {typical:g}: is that {unit}?")


def money_options(seen: Seen) -> Guess:
    """Unit of money by the ending of its name; a zero is offered as unknown, not as free."""
    numbers = seen.numbers
    if not numbers:
        return Guess(None, "no numbers")
    unit = "cents" if "cent" in seen.name else "usd_micro" if "micro" in seen.name else "USD"
    told = unit != "USD" or seen.name.endswith(("usd", "dollars"))
    options: dict[str, Any] = {"unit": unit}
    reasons = [] if told else ["is it USD?"]
    if 0 in numbers:
        options["null_values"] = [0]
        reasons.append("zeros are taken for unknown: was anything free?")
    return Guess(options, " ".join(reasons) or None)


def token_options(seen: Seen, read: Seen | None, write: Seen | None) -> Guess:
    """Whether cached tokens are part of the input: disproved by a row where they are more, else as usual."""
    if not seen.numbers:
        return Guess(None, "no numbers")
    options: dict[str, Any] = {"convention": "inclusive"}
    cached = [c for c in (read, write) if c is not None]
    if not cached:
        return Guess({**options}, "no column of cached tokens was found: this counts them as uncached")
    for key, column in (("cache_read", read), ("cache_write", write)):
        if column is not None:
            options[key] = column.path
    more = any(_exceeds(a, b) for c in cached for a, b in zip(c.cells, seen.cells, strict=True))
    if more or any("cache_read_input" in c.name or "cache_creation" in c.name for c in cached):
        return Guess(
            {**options, "convention": "exclusive"}, None if more else "do cached tokens come on top?"
        )
    return Guess(options, "are cached tokens part of the input?")


def _exceeds(part: Any, whole: Any) -> bool:
    try:
        return float(part) > float(whole)
    except (TypeError, ValueError):
        return False


def list_options(seen: Seen) -> Guess:
    """How a list of actions is written: a JSON list, or text with a separator."""
    if seen.is_list:
        return Guess({})
    texts = [value for value in seen.values if isinstance(value, str)]
    if texts and all(text.lstrip().startswith("[") for text in texts):
        return Guess({})
    separator = next(
        (s for s in ("|", ";", ",", "/") if texts and sum(s in t for t in texts) * 2 > len(texts)), None
    )
    if separator is None:
        return Guess(None, "neither a list nor text with a separator")
    return Guess({"split": separator})


def is_content(seen: Seen) -> bool:
    """Whether it holds what people or models wrote, which is not read."""
    has_text = any(isinstance(value, str) and not seen.numbers for value in seen.values)
    return has_text and (_is_long(seen) or CONTENT_NAMES.fullmatch(seen.name) is not None)


def _is_long(seen: Seen) -> bool:
    return any(isinstance(value, str) and len(value) > MAX_LABEL_CHARS for value in seen.values)


def outcome_source(name: str) -> str:
    """Who measured an outcome of this name, as far as the name tells."""
    if "judge" in name or "llm" in name:
        return "llm_judge"
    return "human" if re.search(r"rating|feedback|thumb|csat|human|user|stars|resolved", name) else "env"


def claims(columns: Sequence[Seen]) -> dict[str, Seen]:
    """Column -> the path that is most likely it: its whole name matches; shallow first, each used once."""
    taken: dict[str, Seen] = {}
    free = sorted(columns, key=lambda seen: seen.path.count("."))
    for column, expression in NAMES.items():
        for seen in free:
            if re.fullmatch(expression, seen.name) and seen.values and not _is_long(seen):
                taken[column] = seen
                free = [other for other in free if other is not seen]
                break
    return taken
