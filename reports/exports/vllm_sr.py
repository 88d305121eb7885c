"""vLLM Semantic Router: list prices, measured success, and weights of its multi_factor selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .candidates import LOG_CHOICES, priced_models
from .list_prices import KINDS
from .made import Evidence, Made, facts, joined, stamp_lines
from .multi_factor import multi_factor
from .offer import Skipped
from .reading import keep, mapping, mappings, read_document
from .supply import Level, Supply
from .vllm_sr_evaluation import BENCHMARK, METRIC, evaluation, literal
from .yaml_text import yaml_text

CONFIG: Final = "shadowprice.vllm-sr.yaml"
SELECTION: Final = "shadowprice.vllm-sr-multi-factor.yaml"
VERSION: Final = "v0.3"
PER_MILLION: Final[Mapping[str, str]] = dict(
    zip(
        KINDS,
        ("prompt_per_1m", "completion_per_1m", "cached_input_per_1m", "cache_write_per_1m"),
        strict=True,
    )
)
"""Kind of token -> the router's key, USD per million tokens."""
_MILLION: Final = 1_000_000
_FACTORS: Final = ("quality", "cost", "latency", "load")


def vllm_sr(supply: Supply) -> Made:
    """The files of this target: a fragment of a v0.3 configuration, and multi_factor selections by segment.

    Pricing holds list prices alone. p_success is what the model would reach if it always were taken, with
    its interval; models without one have no record. Keys of ours are forbidden: the stamp is in `source`,
    `metadata` and comments.

    Source: vllm-sr 0.4.0, router-config-v0.3.schema.json.
    """
    made = multi_factor(supply)
    files: dict[str, str | bytes] = {}
    if made.selections:
        how = "Each is the `algorithm` of a decision whose modelRefs are exactly its candidates."
        files[SELECTION] = yaml_text(made.selections, head=[*stamp_lines(supply.offer), how, *made.notes])
    weights = Made(files=files, evidence=made.evidence, skipped=made.skipped, notes=made.notes)
    return joined(_config(supply), weights)


def read_vllm_sr(text: str, where: str) -> dict[str, float]:
    """Key -> value of a router's configuration, or of a fragment of ours, that is in use."""
    data = mapping(read_document(text, where=where))
    providers, evaluation, routing = (mapping(data.get(k)) for k in ("providers", "evaluation", "routing"))
    found: dict[str, float] = {}
    for model in mappings(providers.get("models")):
        for key in PER_MILLION.values():
            keep(found, f"price/{_meant(model.get('name'))}/{key}", mapping(model.get("pricing")).get(key))
    for record in mappings(evaluation.get("records")):
        if record.get("benchmark") == BENCHMARK:
            stratum = mapping(record.get("metadata")).get("stratum")
            about = f"success/{_meant(record.get('model'))}/{_meant(stratum)}"
            keep(found, about, mapping(record.get("metrics")).get(METRIC))
    decisions = {str(one.get("name")): one.get("algorithm") for one in mappings(routing.get("decisions"))}
    for name, algorithm in (decisions | data).items():
        for factor, weight in _weights(algorithm).items():
            keep(found, f"multi_factor/{name}/{factor}", weight)
            keep(found, f"multi_factor/{factor}", weight)
    return found


def _meant(text: Any) -> str:
    return str(text).replace("$$", "$")


def _weights(algorithm: Any) -> dict[str, float]:
    """The weights of a multi_factor selection as the router scales them: to a sum of 1."""
    given = mapping(mapping(mapping(algorithm).get("multi_factor")).get("weights"))
    numbers: dict[str, float] = {}
    for factor in _FACTORS:
        keep(numbers, factor, given.get(factor))
    total = sum(max(weight, 0.0) for weight in numbers.values())
    return {factor: max(weight, 0.0) / total for factor, weight in numbers.items()} if total > 0 else {}


def _config(supply: Supply) -> Made:
    priced, unpriced = priced_models(supply)
    models: list[dict[str, Any]] = []
    evidence: list[Evidence] = []
    for name, prices in priced.items():
        pricing = {PER_MILLION[kind]: float(price * _MILLION) for kind, price in prices.known().items()}
        models.append({"name": literal(name), "pricing": {"currency": "USD", **pricing}})
        evidence += facts(f"price/{name}", pricing, f"list price: {prices.source}")
    known = [level for level in supply.levels if level.value is not None]
    unknown = tuple(_unknown(level) for level in supply.levels if level.value is None)
    content: dict[str, Any] = {"version": VERSION}
    content |= {"providers": {"models": models}} if models else {}
    content |= {"evaluation": evaluation(supply.offer, known)} if known else {}
    files: dict[str, str | bytes] = {}
    if models or known:
        files[CONFIG] = yaml_text(content, head=stamp_lines(supply.offer))
    evidence += [_success(level) for level in known]
    return Made(files=files, evidence=tuple(evidence), skipped=(*unpriced, *unknown))


def _unknown(level: Level) -> Skipped:
    about, reason = f"{level.action} in {level.segment}", level.reason or "not identified"
    return Skipped.of(name=METRIC, about=about, reason=reason, log_next=LOG_CHOICES)


def _success(level: Level) -> Evidence:
    assert level.value is not None
    key = f"success/{level.action}/{level.segment}"
    return Evidence(
        key=key,
        against=key,
        value=level.value,
        lower=level.lower,
        upper=level.upper,
        grade="A",
        why=f"doubly robust mean had it always been taken, {level.n} decisions",
    )
