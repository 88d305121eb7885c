"""Every column of the shared tables, once: name, Arrow type, unit, layers and meaning.

Other modules name a column; only this one says what it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

LAYERS: Final = ("router", "agent", "serving", "training")
PROPENSITY_SOURCES: Final = ("logged", "reconstructed", "estimated", "deterministic", "unknown")
COST_SOURCES: Final = ("logged", "priced", "unpriced")
QUALITY_SOURCES: Final = ("human", "llm_judge", "code", "env")
ACTION_CLASSES: Final = ("read", "draft", "commit", "deploy")
CACHE_HIT_KINDS: Final = ("none", "prefix", "semantic", "response", "memory")

FEATURE_PREFIX: Final = "x_"
REPEATED_CONTEXT: Final = "x_context_id"
"""Rows with equal values met the same situation (trials of one task): they are compared within it."""

_TEXT = pa.string()
_REAL = pa.float64()
_COUNT = pa.int64()
_FLAG = pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
_ALL = LAYERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: `unit` is None for text and flags; `choices` closes an enumeration."""

    name: str
    dtype: pa.DataType
    meaning: str
    unit: str | None = None
    nullable: bool = True
    layers: tuple[str, ...] = _ALL
    choices: tuple[str, ...] = ()


def _text(
    name: str,
    meaning: str,
    *,
    nullable: bool = True,
    layers: tuple[str, ...] = _ALL,
    choices: tuple[str, ...] = (),
) -> Column:
    return Column(name=name, dtype=_TEXT, meaning=meaning, nullable=nullable, layers=layers, choices=choices)


def _real(name: str, unit: str, meaning: str, layers: tuple[str, ...] = _ALL) -> Column:
    return Column(name=name, dtype=_REAL, unit=unit, meaning=meaning, layers=layers)


def _count(name: str, unit: str, meaning: str, layers: tuple[str, ...] = _ALL) -> Column:
    return Column(name=name, dtype=_COUNT, unit=unit, meaning=meaning, layers=layers)


def _flag(name: str, meaning: str, layers: tuple[str, ...] = _ALL) -> Column:
    return Column(name=name, dtype=_FLAG, meaning=meaning, layers=layers)


def _time(name: str, meaning: str, *, nullable: bool = True) -> Column:
    return Column(name=name, dtype=_TIME, unit="UTC, us", meaning=meaning, nullable=nullable)


DECISIONS: Final[tuple[Column, ...]] = (
    # identity
    _text("decision_id", "unique id of the decision; survives re-ingest", nullable=False),
    _text("layer", "layer that decided", nullable=False, choices=LAYERS),
    _text(
        "decision_point",
        "the question that was decided: model, verify, delegate, plan, reuse, keep, ...",
        nullable=False,
    ),
    _text("request_id", "ties one user request through all layers"),
    _time("ts", "when the decision was made"),
    _text("parent_id", "decision that caused this one"),
    _text("session_id", "conversation or run"),
    _text("tenant_id", "who pays"),
    _count("step", "index", "position of the decision within its request"),
    # choice
    _text("action", "what the policy chose", nullable=False),
    _text("action_executed", "what ran, after retries and fallbacks; for agent steps the tool"),
    Column(name="candidates", dtype=pa.list_(_TEXT), meaning="actions that could have been taken"),
    _real("propensity", "probability", "probability of the chosen action, fixed before the draw"),
    Column(
        name="propensities",
        dtype=pa.list_(_REAL),
        unit="probability",
        meaning="probability of each candidate, in the order of candidates",
    ),
    _text("propensity_source", "where the propensity comes from", choices=PROPENSITY_SOURCES),
    _real("keep_prob", "probability", "probability that this row was kept by log sampling; null means 1"),
    _text("policy_version", "version of the policy that chose"),
    _flag("exploration", "the choice was randomised on purpose"),
    # tokens
    _count("tok_input_uncached", "tokens", "input tokens that no cache served"),
    _count("tok_cache_read", "tokens", "input tokens read from a prefix cache"),
    _count("tok_cache_write", "tokens", "input tokens written to a prefix cache"),
    _count("tok_output", "tokens", "output tokens, reasoning included"),
    _count("tok_reasoning", "tokens", "the part of tok_output spent on reasoning"),
    # money and time
    _real("cost_usd", "USD", "cost of the decision, all attempts; null when unpriced, never 0 for unknown"),
    _text("cost_source", "where the cost comes from", choices=COST_SOURCES),
    _real("latency_s", "s", "wall time of the decision, all attempts"),
    _real("queue_s", "s", "time waiting before work began"),
    _real("ttft_s", "s", "time to the first token"),
    _real("decode_s", "s", "time from first to last token"),
    _real("tool_s", "s", "time inside a tool"),
    # quality and value
    _real("quality", "[0, 1]", "quality of the outcome, incident losses excluded"),
    _text("quality_source", "who judged the quality", choices=QUALITY_SOURCES),
    _flag("quality_observed", "the row was labelled"),
    _real("label_prob", "probability", "probability that the row was labelled, fixed before it was"),
    _real("judge_score", "[0, 1]", "cheap judge's score, when a better label exists for some rows"),
    _real("value_usd", "USD", "realised business value"),
    # risk
    _text("action_class", "how far the action reaches", choices=ACTION_CLASSES),
    _flag("reversible", "the action can be undone"),
    _flag("incident", "the decision led to an incident"),
    _real("loss_usd", "USD", "loss from the incident"),
    # serving
    _text("replica", "engine replica", layers=("serving",)),
    _real("batch_size", "sequences", "sequences in the batch", ("serving",)),
    _real("kv_util", "[0, 1]", "share of the KV cache in use", ("serving",)),
    _count("spec_drafted", "tokens", "speculative tokens drafted", ("serving",)),
    _count("spec_accepted", "tokens", "speculative tokens accepted", ("serving",)),
    _text("cache_hit_kind", "which cache answered", layers=("router", "serving"), choices=CACHE_HIT_KINDS),
    _real("cache_similarity", "[0, 1]", "similarity of the reused entry", ("router", "serving")),
    _real("cache_age_s", "s", "age of the reused entry", ("router", "serving")),
    _text("source_request_id", "request that wrote the reused entry", layers=("router", "serving")),
    # training
    _text("version_behaviour", "policy version that wrote the rollout", layers=("training",)),
    _text("version_trained", "policy version that was updated", layers=("training",)),
    _count("version_lag", "versions", "versions between behaviour and training", ("training",)),
    _real("reward", "trainer's scale", "reward of the rollout", ("training",)),
    _real("advantage", "trainer's scale", "advantage of the rollout", ("training",)),
    _flag("kept", "the rollout entered the update", ("training",)),
    _text("update_id", "update that used the rollout", layers=("training",)),
    # provenance
    _text("source_format", "reader that produced the row"),
    _text("source_file", "file the row came from"),
    _count("source_row", "row", "line or record number in that file, from 1"),
)

OUTCOMES: Final[tuple[Column, ...]] = (
    _text("request_id", "request that the outcome belongs to"),
    _text("decision_id", "decision that the outcome belongs to"),
    _text("name", "what was measured", nullable=False),
    _real("value", "source's scale", "number"),
    _text("label", "category"),
    _text("source", "who measured it", choices=QUALITY_SOURCES),
    _time("ts", "when it was measured"),
    _text("source_format", "reader that produced the row"),
    _text("source_file", "file the row came from"),
    _count("source_row", "row", "line or record number in that file, from 1"),
)

ENGINE_STEPS: Final[tuple[Column, ...]] = (
    _text("replica", "engine replica", nullable=False),
    _time("ts", "when the step ended"),
    _real("step_s", "s", "duration of the step"),
    _count("prefill_tok", "tokens", "prompt tokens processed in the step"),
    _count("decode_seqs", "sequences", "sequences that decoded a token"),
    _count("kv_tok", "tokens", "tokens held in the KV cache"),
    _count("running", "sequences", "requests running"),
    _count("waiting", "requests", "requests waiting"),
    _text("source_format", "reader that produced the row"),
    _text("source_file", "file the row came from"),
    _count("source_row", "row", "line or record number in that file, from 1"),
)

MENUS: Final[tuple[Column, ...]] = (
    _text("policy_version", "version of the policy that chose", nullable=False),
    _text("decision_point", "the point that the list is for; null for every one whose action it names"),
    Column(name="candidates", dtype=pa.list_(_TEXT), meaning="actions that could be taken", nullable=False),
    _time("valid_from", "from when on; null for ever since"),
    _time("valid_to", "until when, exclusive; null until the next list"),
    _text("source_format", "reader that produced the row"),
    _text("source_file", "file the row came from"),
    _count("source_row", "row", "line or record number in that file, from 1"),
)
"""Lists that linking reads and the store does not keep."""

_CONTRAST: Final[tuple[Column, ...]] = (
    _text("layer", "layer of the decision point", nullable=False, choices=LAYERS),
    _text("decision_point", "the question that was decided", nullable=False),
)


def _interval(name: str, unit: str, meaning: str) -> tuple[Column, Column, Column]:
    return (
        _real(name, unit, meaning),
        _real(f"{name}_lower", unit, f"lower end of the interval of {name}"),
        _real(f"{name}_upper", unit, f"upper end of the interval of {name}"),
    )


LEDGER: Final[tuple[Column, ...]] = (
    _text("decision_id", "decision", nullable=False),
    _text("request_id", "ties one user request through all layers"),
    *_CONTRAST,
    _text("action", "action of the contrast", nullable=False),
    _text("baseline", "action it is compared with", nullable=False),
    *_interval("dq", "[0, 1]", "quality gain of action over baseline in the decision's calibration group"),
    *_interval("dc", "USD", "extra cost"),
    *_interval("dl", "s", "extra latency"),
    *_interval("dr", "event or USD", "extra risk, in the unit of the risk price"),
    *_interval("nmv", "USD", "net marginal value V dq - dc - lambda dl - rho dr (paper Eq. 1)"),
    _text("grade", "evidence grade A, B, C, D or N", nullable=False),
    _text("segment", "segment that the decision belongs to"),
    _text("reason", "why a term has no value"),
)

ESTIMATES: Final[tuple[Column, ...]] = (
    *_CONTRAST,
    _text("segment", "'all' or column=value", nullable=False),
    _text("action", "action of the contrast", nullable=False),
    _text("baseline", "action it is compared with", nullable=False),
    _text("quantity", "what differs", nullable=False, choices=("quality", "cost", "latency", "risk", "net")),
    _text(
        "estimand",
        "which population the number describes",
        nullable=False,
        choices=("ATO", "ATE", "ATE-trimmed", "bound", "not_identified"),
    ),
    _real("value", "unit of the quantity", "estimate; null with a reason"),
    _real("lower", "unit of the quantity", "lower end of the interval"),
    _real("upper", "unit of the quantity", "upper end of the interval"),
    _real("level", "probability", "nominal coverage of the interval"),
    _count("n", "decisions", "rows used"),
    _count("clusters", "clusters", "independent clusters"),
    _real("ess", "decisions", "smaller effective sample size of the two arms"),
    _text("grade", "evidence grade A, B, C, D or N", nullable=False),
    _text("method", "how the number was made"),
    _text("reason", "why there is no value, or what limits it"),
)
