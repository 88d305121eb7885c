"""OTLP/JSON as the collector's file exporter writes it: spans and evaluations to decisions and outcomes.

GenAI conventions (current and older names), OpenInference, OpenLLMetry, and the request spans of vLLM and
SGLang. Tokens: cached ones inside of input unless a row proves otherwise. Fills ids, session, tenant, model,
tool, tokens, first token, scores, and queue, first token and decode of engines; cost only where OpenInference
logs it; never candidates, propensity or retries, unless span attributes `shadowprice.<column>` set them (see
recipe.py). Spans of decision models are no decisions: their odds are confidence, not chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ...schemas.columns import FEATURE_PREFIX
from ...schemas.config import Config
from ..actions import StepRules, step_rules
from ..lines import json_records
from ..seam import EntangledError, Ignored, Item, LogFile, Rejected, Row
from . import otlp_dialects as d
from .otlp_agents import AgentBook, SpanKey, opens
from .otlp_engine import PhaseBook
from .otlp_outcomes import is_evaluation, logged_outcome, span_ends, span_scores
from .otlp_rows import BUILDERS, base_columns, context_columns
from .otlp_walk import SIGNALS, Event, Metric, Piece, Span, pieces
from .peek import top_keys
from .recipe import PREFIX, recipe_columns, with_recipe

NAME: Final = "otlp"
SPLITS: Final = True
"""See seam.SplittingReader."""
_SNAKE: Final = frozenset({"resource_spans", "resource_logs", "resource_metrics"})
_BARE: Final = frozenset(
    {"scopeSpans", "scopeLogs", "scopeMetrics", "scope_spans", "scope_logs", "scope_metrics"}
)
_OF_REQUEST: Final = ("session_id", "tenant_id")


def sniff(head: bytes) -> bool:
    """Whether records hold OTLP resource blocks."""
    return any(keys & (SIGNALS | _SNAKE | _BARE) for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Every span, record and metric of the file as rows, or Ignored or Rejected with the reason."""
    batches = (
        record if isinstance(record, Rejected) else (record[0], list(pieces(record[1])))
        for record in json_records(log)
    )
    if log.stretch is None or log.carry is None:
        yield from items_of(batches, config)
        return
    scene = scene_of(config, apart=True)
    yield from _batch_items(batches, scene)
    log.carry(scene.agents.carried())


def settle(carried: Iterable[dict[str, Any]], config: Config) -> Iterator[Item]:
    """The items of the agents that waited at the end of the stretches of a file."""
    scene = scene_of(config)
    for one in carried:
        yield from _opened(scene.agents.take(one), scene)
    yield from settle_scene(scene)


def items_of(batches: Iterable[Rejected | tuple[int, list[Piece]]], config: Config) -> Iterator[Item]:
    """The items of pieces that arrive in numbered batches, whatever form of OTLP they came in."""
    scene = scene_of(config)
    yield from _batch_items(batches, scene)
    yield from settle_scene(scene)


def _batch_items(batches: Iterable[Rejected | tuple[int, list[Piece]]], scene: Scene) -> Iterator[Item]:
    for batch in batches:
        if isinstance(batch, Rejected):
            yield batch
        else:
            yield from items(*batch, scene)


@dataclass(frozen=True, slots=True)
class Scene:
    """What outlives a record: configuration, rules, and phases and agents that wait for other spans.

    apart: the records of the file that come before are not seen.
    """

    config: Config
    rules: StepRules
    phases: PhaseBook
    agents: AgentBook
    apart: bool = False


def scene_of(config: Config, *, apart: bool = False) -> Scene:
    """The scene at the start of a file, or of a stretch of one."""
    return Scene(config, step_rules(config), PhaseBook(), AgentBook(), apart)


def items(line: int, found: list[Piece], scene: Scene) -> Iterator[Item]:
    """The items of one batch of pieces; an agent whose parent is elsewhere is told by `settle_scene`.

    Raises: EntangledError for the phase of a request, whose own span may be in another stretch.
    """
    batch: dict[SpanKey, tuple[Span, d.Role]] = {
        (s.trace_id, s.span_id): (s, d.role(s)) for s in found if isinstance(s, Span)
    }
    for span, role in batch.values():
        if role == "part":
            if scene.apart:
                raise EntangledError
            scene.phases.note(span)
        elif role == "other":
            scene.agents.note(span)
    for piece in found:
        if isinstance(piece, Span):
            same, role = batch[piece.trace_id, piece.span_id]
            role = role if same is piece else d.role(piece)
            first = opens(piece, role, batch)
            if first is not None:
                yield from _guarded(line, piece, role, scene, opens=first)
                continue
            yield from _opened(scene.agents.wait(line, piece), scene)
        elif isinstance(piece, Event):
            yield _record_item(line, piece)
        else:
            yield Ignored(line, "metric") if isinstance(piece, Metric) else Rejected(line, piece.reason)


def settle_scene(scene: Scene) -> Iterator[Item]:
    """The items of the agents that wait at the end of the file; an unseen parent counts as an agent's."""
    yield from _opened(scene.agents.drain(), scene)


def _opened(waited: Iterable[tuple[int, Span]], scene: Scene) -> Iterator[Item]:
    for line, span in waited:
        yield from _guarded(line, span, d.role(span), scene, opens=scene.agents.opened(span))


def _record_item(line: int, record: Event) -> Item:
    if not is_evaluation(record):
        return Ignored(line, "log record that is no evaluation")
    try:
        return Row("outcomes", line, logged_outcome(record))
    except ValueError as error:
        return Rejected(line, str(error))


def _guarded(line: int, span: Span, role: d.Role, scene: Scene, *, opens: bool) -> Iterator[Item]:
    try:
        yield from _span_items(line, span, role, scene, opens=opens)
    except ValueError as error:
        yield Rejected(line, f"span {span.span_id}: {error}")


def _span_items(line: int, span: Span, role: d.Role, scene: Scene, *, opens: bool) -> Iterator[Item]:
    """opens: the span is the root agent, workflow or chain of its request."""
    recipe = recipe_columns(
        {key.removeprefix(PREFIX): value for key, value in span.attributes.items() if key.startswith(PREFIX)}
    )
    if span.end_ns is None:
        yield Ignored(line, "unfinished span")
        return
    values = _decision(span, role, recipe, scene, opens=opens)
    context = _context(span, recipe, scene) if opens else None
    if context is not None:
        yield Row("contexts", line, context)
    if values is not None:
        yield Row("decisions", line, values)
    elif context is None:
        yield Ignored(line, "phase of a serving request" if role == "part" else d.kind_name(span))
    for outcome in _outcomes(span, values, context):
        yield Row("outcomes", line, outcome)


def _outcomes(
    span: Span, values: dict[str, Any] | None, context: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    told = values or context or {}
    ids = {"request_id": told.get("request_id", span.trace_id), "decision_id": told.get("decision_id")}
    yield from span_scores(span, ids)
    if told:
        yield from span_ends(span, ids)


def _decision(
    span: Span, role: d.Role, recipe: dict[str, Any], scene: Scene, *, opens: bool
) -> dict[str, Any] | None:
    """The decision that the span records, by its role or by the recipe alone; None when it records none.

    Raises: ValueError when the recipe sets columns of a decision that is none.
    """
    build = BUILDERS.get(role)
    if build is not None and not opens:
        phases = scene.phases.columns(span) if role == "serving" else {}
        built = build(span, scene.rules)
        return with_recipe({**base_columns(span, scene.config), **phases, **_known(built)}, recipe)
    if "decision_point" in recipe and "action" in recipe:
        values = with_recipe(base_columns(span, scene.config), recipe)
        if values.get("layer") is None:
            raise ValueError(f"{PREFIX}layer is missing for the decision point {recipe['decision_point']!r}")
        return values
    stray = [name for name in recipe if name not in _OF_REQUEST and not name.startswith(FEATURE_PREFIX)]
    if stray or (recipe and not opens):
        name = (stray or list(recipe))[0]
        raise ValueError(
            f"{PREFIX}{name} on a span that is no decision: set {PREFIX}decision_point and {PREFIX}action too"
        )
    return None


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Without nulls, so that what the span itself leaves open does not hide what another source told."""
    return {name: value for name, value in values.items() if value is not None}


def _context(span: Span, recipe: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """What the root agent, workflow or chain of a request says about the whole of it."""
    told = {n: v for n, v in recipe.items() if n in _OF_REQUEST or n.startswith(FEATURE_PREFIX)}
    return {**context_columns(span, scene.config), **told}
