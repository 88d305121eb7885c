"""The steps of an agent as its log shows them: tools, and decisions with the logging recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from . import settings as s
from .agent_steps import REWORK_S, REWORK_USD, edits
from .context import Context
from .world import LAST_TESTS, Episodes, Point, stream

MAX_SPANS: Final = 18
"""Spans of the longest episode: eight steps, and after each of five edits a decision and its rework."""
_STEP_USD: Final = 0.001
"""What every step but a verification costs; all ways to the end have as many, so no contrast holds it."""
_STEP_S: Final = 1.5
"""Mean time of a step that does not verify."""


@dataclass(frozen=True, slots=True)
class Call:
    """A step of an agent: name and seconds of its span, and its attributes."""

    name: str
    seconds: float
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def tool(cls, name: str, seconds: float, more: dict[str, Any] | None = None) -> Call:
        """A call of the tool `name`."""
        told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, **(more or {})}
        return cls(f"execute_tool {name}", seconds, told)


def chosen(ctx: Context, point: Point, j: int) -> dict[str, Any]:
    """The logging recipe of decision j: what was chosen, among what, with which probabilities."""
    sampled = ctx.sampling(int(point.request[j]))
    return {
        "shadowprice.layer": point.layer,
        "shadowprice.decision_point": point.decision_point,
        "shadowprice.action": point.actions[int(point.taken[j])],
        "shadowprice.candidates": list(point.actions),
        "shadowprice.propensities": point.propensity[j].tolist(),
        "shadowprice.propensity_source": "logged",
        **{f"shadowprice.{name}": value for name, value in sampled.items()},
    }


def step_calls(ctx: Context) -> Iterator[list[Call]]:
    """Per request the steps of its episode in order: reading, planning, edits with decisions, the end."""
    world, steps = ctx.world, ctx.world.knobs.steps
    found = world.episodes
    assert found is not None
    rng = stream(world.seed, "agent")
    rounds, n = edits(steps), world.requests.n
    seconds = rng.gamma(4.0, _STEP_S / 4.0, (n, rounds + 3)).round(3).tolist()
    reworked = rng.gamma(4.0, REWORK_S / 4.0, (n, rounds)).round(3).tolist()
    for i in range(n):
        kind = s.CLASSES[int(world.requests.task[i])]
        calls = [_work("read_context", seconds[i][0])] if steps >= 3 else []
        calls += [_work("plan", seconds[i][1])] if steps >= 4 else []
        for r in range(rounds):
            calls += [_work("edit_draft", seconds[i][2 + r]), _verify(ctx, found, i * rounds + r, kind)]
            if found.alarm[i * rounds + r]:
                calls.append(_work("edit_fix", reworked[i][r], REWORK_USD))
        end = "ask_user" if found.deferred[i] else kind.act_tool
        yield [*calls, _work(end, seconds[i][-1])]


def _work(tool: str, seconds: float, usd: float = _STEP_USD) -> Call:
    return Call.tool(tool, seconds, {"shadowprice.cost_usd": usd})


def _verify(ctx: Context, found: Episodes, j: int, kind: s.TaskClass) -> Call:
    """The decision to verify or to skip, which here leaves a span too."""
    point = ctx.world.verify
    told = {
        **chosen(ctx, point, j),
        "shadowprice.cost_usd": float(ctx.verify_usd[j]),
        "shadowprice.x_round": int(found.round[j]),
        "shadowprice.x_last_test": LAST_TESTS[int(found.last_test[j])],
    }
    if point.taken[j]:
        return Call.tool(kind.verify_tool, float(ctx.verify_s[j]), told)
    return Call("decide verify", 0.0, told)
