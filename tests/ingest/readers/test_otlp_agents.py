"""Root agents whose parents are exported in another batch: waiting, order, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from otlp_logs import TRACE, chat, span, span_id, traces
from reading import lines, reasons, rows, run
from shadowprice.ingest.readers import otlp, otlp_agents
from shadowprice.ingest.readers.otlp_walk import Span

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
PLAIN = {"http.request.method": "POST"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_web_servers_span_in_another_batch_makes_no_delegation(order: int, tmp_path: Path) -> None:
    """Kills a delegation to nobody for every request whose server span is exported later, as it always is."""
    given = {**AGENT, "shadowprice.x_task_class": "refund", "gen_ai.conversation.id": "c"}
    batches = [
        traces(span(3, chat(), parent=2)),
        traces(span(2, given, parent=1)),
        traces(span(1, PLAIN, parent=0, name="middleware")),
        traces(span(0x10, PLAIN, name="unrelated")),
        traces({**span(0, PLAIN, name="POST /chat"), "spanId": span_id(0x99)}),
    ]
    batches[2]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["parentSpanId"] = span_id(0x99)
    items = run(otlp, lines(batches[::order]), tmp_path)
    assert [row["decision_point"] for row in rows(items)] == ["model"]
    (context,) = rows(items, "contexts")
    assert (context["session_id"], context["x_task_class"]) == ("c", "refund")
    assert not reasons(items)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("above", [AGENT, {"openinference.span.kind": "CHAIN"}, chat(), None])
def test_an_agent_below_another_step_is_a_delegation_wherever_that_is_told(
    above: dict[str, Any] | None, order: int, tmp_path: Path
) -> None:
    """Kills a sub-agent taken for a request of its own, also where its parent never comes."""
    batches = [traces(span(2, {**AGENT, "gen_ai.agent.name": "inner"}, parent=1))]
    batches += [traces(span(1, above))] if above is not None else []
    items = run(otlp, lines(batches[::order]), tmp_path)
    (row,) = [row for row in rows(items) if row["decision_point"] == "delegate"]
    assert (row["decision_id"], row["action_executed"]) == (f"{TRACE}:{span_id(2)}", "inner")


def test_outcomes_of_an_agent_that_waited_are_kept_once(tmp_path: Path) -> None:
    """Kills errors and scores lost, or told twice, while an agent waits."""
    given = {**AGENT, "error.type": "timeout", "annotation.name": "ok", "annotation.score": 1.0}
    items = run(otlp, lines([traces(span(2, given, parent=1)), traces(span(1, PLAIN))]), tmp_path)
    assert sorted(row["name"] for row in rows(items, "outcomes")) == ["error", "ok"]
    assert rows(items) == []


def test_a_recipe_that_cannot_be_followed_is_still_rejected(tmp_path: Path) -> None:
    """Kills a typo that vanishes while its agent waits."""
    items = run(otlp, lines([traces(span(2, {**AGENT, "shadowprice.x_": 1}, parent=1))]), tmp_path)
    (reason,) = reasons(items)
    assert reason.startswith(f"span {span_id(2)}: shadowprice.x_")


def test_waiting_agents_and_remembered_spans_are_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kills memory that grows with the file: the oldest counts as called by another agent."""
    monkeypatch.setattr(otlp_agents, "MAX_WAITING", 2)
    monkeypatch.setattr(otlp_agents, "MAX_PLAIN", 2)
    agents = [traces(span(n, AGENT, parent=n + 100)) for n in range(1, 5)]
    above = [traces(span(n + 100, PLAIN)) for n in range(1, 5)]
    items = run(otlp, lines([*agents, *above]), tmp_path)
    assert [row["decision_id"] for row in rows(items)] == [f"{TRACE}:{span_id(n)}" for n in (1, 2)]
    assert len(rows(items, "contexts")) == 2


def test_messages_are_not_held_while_an_agent_waits() -> None:
    """Kills whole conversations in memory, one for each agent that waits."""
    book = otlp_agents.AgentBook()
    told = {
        **AGENT,
        "gen_ai.input.messages": "word " * 1000,
        "list": ["word"],
        "shadowprice.candidates": ["a"],
    }
    one = Span(TRACE, span_id(2), span_id(1), "", 1, 2, told, {}, (), False)
    assert list(book.wait(7, one)) == []
    ((line, held),) = book.drain()
    assert line == 7
    assert held.attributes == {**AGENT, "shadowprice.candidates": ["a"]}
