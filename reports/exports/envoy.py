"""Envoy AI Gateway: what a request costs, as CEL over its token counts in whole billionths of a dollar."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from .candidates import priced_models
from .list_prices import KINDS, TokenPrices
from .made import Evidence, Made, facts, flat_stamp, joined, stamp_lines
from .offer import Skipped
from .reading import keep, mappings, read_document
from .supply import Supply
from .yaml_text import yaml_text

NAME: Final = "shadowprice.envoy.yaml"
COST_KEY: Final = "llm_cost_nano_usd"
SHADOW_KEY: Final = "llm_shadow_nano_usd"
"""A key of its own: a budget that counts the first never sees an estimate."""
VARIABLES: Final[Mapping[str, str]] = dict(
    zip(
        KINDS,
        ("input_tokens", "output_tokens", "cached_input_tokens", "cache_creation_input_tokens"),
        strict=True,
    )
)
"""Kind of token -> the gateway's uint variable; input_tokens counts cached ones too."""
MAX_COEFFICIENT: Final = 2**30
"""Nano-USD per token: the gateway counts tokens in 32 bits and costs in 64, and there are four kinds."""
_NANO: Final = 1_000_000_000
_SHADOW: Final = {"congestion_prefill_price": "input", "congestion_decode_price": "output"}
_OTHER: Final = "any other model"
_ELSE: Final = ") : ("
"""Between two branches, and nowhere inside one."""
_BRANCH: Final = re.compile(r'model == ("(?:[^"\\]|\\.)*") \? ')
_COEFFICIENT: Final = re.compile(r"(\w+) \* (\d+)u")
_GUARDED: Final = re.compile(r": 0u\) \* (\d+)u")

Coefficients = dict[str, int]


def envoy(supply: Supply) -> Made:
    """The one file of this target: a merge patch for an AIGatewayRoute with its `llmRequestCosts`.

    List prices stand under one metadata key, a congestion surcharge under another. A model that is not in the
    list costs as much as the dearest kinds of token do: a final 0 would make it free.

    Source: Envoy AI Gateway, api/v1beta1/shared_types.go and internal/llmcostcel/cel.go.
    """
    costs, surcharge = _costs(supply), _surcharge(supply)
    made = joined(costs, surcharge)
    if not made.files:
        return made
    spec = {
        "llmRequestCosts": [{"metadataKey": k, "type": "CEL", "cel": str(v)} for k, v in made.files.items()]
    }
    content = {
        "apiVersion": "aigateway.envoyproxy.io/v1beta1",
        "kind": "AIGatewayRoute",
        "metadata": {"annotations": {f"shadowprice/{k}": v for k, v in flat_stamp(supply.offer).items()}},
        "spec": spec,
    }
    how = "A merge patch replaces the whole list: add the llmRequestCosts that the route already has."
    text = yaml_text(content, head=[*stamp_lines(supply.offer), how, *made.notes])
    return Made(files={NAME: text}, evidence=made.evidence, skipped=made.skipped, notes=made.notes)


def read_envoy(text: str, where: str) -> dict[str, float]:
    """Key -> nano-USD per token of the expressions of ours that are in use; other CEL says nothing here."""
    found: dict[str, float] = {}
    for cost in _request_costs(read_document(text, where=where)):
        key, cel = cost.get("metadataKey"), cost.get("cel")
        if not isinstance(cel, str) or key not in (COST_KEY, SHADOW_KEY):
            continue
        for model, coefficients in _branches(cel):
            for kind, number in coefficients.items():
                keep(found, f"{key}/{model}/{kind}", number)
    return found


def cel_text(coefficients: Coefficients) -> str:
    """Tokens times coefficients as CEL over unsigned integers; a difference never goes below 0."""
    cached = [VARIABLES[kind] for kind in ("cache_read", "cache_write") if kind in coefficients]
    terms = [f"{VARIABLES[kind]} * {n}u" for kind, n in coefficients.items() if kind != "input"]
    if "input" not in coefficients:
        return " + ".join(terms)
    both, given = " + ".join(cached), VARIABLES["input"]
    own = f"({given} > {both} ? {given} - ({both}) : 0u)" if cached else given
    return " + ".join([f"{own} * {coefficients['input']}u", *terms])


def cel_string(text: str) -> str:
    """The only place where a name becomes CEL. Controls never get here; what ends a string is escaped."""
    return json.dumps(text, ensure_ascii=False)


def _costs(supply: Supply) -> Made:
    priced, unpriced = priced_models(supply)
    found = {name: _coefficients(prices) for name, prices in priced.items()}
    known = {name: own for name, own in found.items() if not isinstance(own, str)}
    skipped = (
        *unpriced,
        *(
            Skipped.of(
                name="list_price",
                about=name,
                reason=why,
                log_next="nothing: the gateway counts in whole units",
            )
            for name, why in found.items()
            if isinstance(why, str)
        ),
    )
    if not known:
        return Made(files={}, skipped=skipped)
    dearest = _dearest(known.values())
    branches = "".join(f"model == {cel_string(name)} ? ({cel_text(c)}) : " for name, c in known.items())
    evidence = [
        one
        for name, own in (known | {_OTHER: dearest}).items()
        for one in facts(f"{COST_KEY}/{name}", own, "list price in nano-USD per token")
    ]
    note = "a model that is not listed costs the dearest known price of each kind of token"
    files: dict[str, str | bytes] = {COST_KEY: f"{branches}({cel_text(dearest)})"}
    return Made(files=files, evidence=tuple(evidence), skipped=skipped, notes=(note,))


def _dearest(known: Collection[Coefficients]) -> Coefficients:
    """At least what any known model costs for the same tokens; cached is input where it has no price."""
    kinds = [kind for kind in KINDS if any(kind in c for c in known)]
    return {kind: max(c.get(kind, c["input"]) for c in known) for kind in kinds}


def _coefficients(prices: TokenPrices) -> Coefficients | str:
    """Whole nano-USD per token, or why they are none."""
    found: Coefficients = {}
    for kind, price in prices.known().items():
        nano = price * _NANO
        if nano != nano.to_integral_value():
            return f"{kind} costs {nano.normalize():f} nano-USD per token, which is no whole number"
        found[kind] = int(nano)
    if max(found.values()) >= MAX_COEFFICIENT:
        return "at 2^32 tokens of each kind its cost may leave the 64 bits of the gateway"
    return found


def _surcharge(supply: Supply) -> Made:
    """The congestion prices of the whole as a second cost. Rounded to nano-USD: these are estimates."""
    coefficients: Coefficients = {}
    evidence: list[Evidence] = []
    skipped: list[Skipped] = []
    for row in supply.offer.rows:
        if row.name not in _SHADOW or row.segment != "all" or row.unit != "USD/token":
            continue
        kind, nano = _SHADOW[row.name], round(row.value * _NANO)
        if not 0 < nano < MAX_COEFFICIENT:
            reason = f"{row.value:.3g} USD per token is no whole number of nano-USD above 0"
            skipped.append(Skipped.of(name=row.name, about=row.segment, reason=reason, log_next="nothing"))
            continue
        coefficients[kind] = nano
        ends = [None if end is None else end * _NANO for end in (row.lower, row.upper)]
        key = f"{SHADOW_KEY}/{_OTHER}/{kind}"
        why = f"congestion, in nano-USD per token: {row.method or row.source}"
        evidence.append(
            Evidence(key=key, against=key, value=nano, lower=ends[0], upper=ends[1], grade=row.grade, why=why)
        )
    files: dict[str, str | bytes] = {SHADOW_KEY: cel_text(coefficients)} if coefficients else {}
    return Made(files=files, evidence=tuple(evidence), skipped=tuple(skipped))


def _branches(cel: str) -> Iterator[tuple[str, Mapping[str, int]]]:
    """(model, coefficients) of an expression of ours; its last branch is any other model."""
    first, *rest = _BRANCH.split(cel)
    if not rest:
        yield _OTHER, _read_coefficients(first)
        return
    *bodies, last = rest[1::2]
    body, _, other = last.partition(_ELSE)
    for name, text in zip((*rest[0::2], None), (*bodies, body, other), strict=True):
        yield _OTHER if name is None else json.loads(name), _read_coefficients(text)


def _read_coefficients(text: str) -> Mapping[str, int]:
    kinds = {variable: kind for kind, variable in VARIABLES.items()}
    found = {kinds[v]: int(n) for v, n in _COEFFICIENT.findall(text) if v in kinds}
    guarded = _GUARDED.search(text)
    return found | ({"input": int(guarded[1])} if guarded else {})


def _request_costs(data: Any) -> Iterator[dict[Any, Any]]:
    """Every llmRequestCosts entry anywhere in the document, of a route or of the gateway."""
    if isinstance(data, dict):
        for key, below in data.items():
            if key in ("llmRequestCosts", "globalLLMRequestCosts"):
                yield from mappings(below)
            else:
                yield from _request_costs(below)
    elif isinstance(data, list):
        for below in data:
            yield from _request_costs(below)
