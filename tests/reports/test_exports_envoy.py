"""Envoy AI Gateway: its expressions, in Google's own CEL, cost what list prices say and never overflow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from shadowprice.reports.exports.envoy import (
    COST_KEY,
    MAX_COEFFICIENT,
    NAME,
    SHADOW_KEY,
    cel_string,
    cel_text,
    read_envoy,
)
from shadowprice.reports.exports.export import made_for
from shadowprice.reports.exports.supply import Supply

from tests.reports.exports_supply import HOSTILE, MODELS, model, supplied, token_prices, with_price

cel = pytest.importorskip("cel_expr_python.cel")
COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
)
TOKENS = st.integers(0, 2**32 - 1)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "aigateway.envoyproxy.io/v1beta1"},
        "kind": {"const": "AIGatewayRoute"},
        "metadata": {
            "type": "object",
            "properties": {"annotations": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "llmRequestCosts": {
                    "type": "array",
                    "maxItems": 36,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["metadataKey", "type"],
                        "properties": {
                            "metadataKey": {"type": "string"},
                            "type": {
                                "enum": [
                                    "OutputToken",
                                    "InputToken",
                                    "CachedInputToken",
                                    "CacheCreationInputToken",
                                    "TotalToken",
                                    "ReasoningToken",
                                    "CEL",
                                ]
                            },
                            "cel": {"type": "string"},
                        },
                    },
                }
            },
        },
    },
}
"""llmRequestCosts of the gateway's CRD, api/v1beta1, written down by hand."""


@functools.cache
def program(expression: str) -> Callable[..., int]:
    """The expression with the variables and types that the gateway declares; tried with zeros, as it does."""
    text, uint = cel.Type.STRING, cel.Type.UINT
    variables = dict.fromkeys(("model", "backend", "route_name"), text) | dict.fromkeys(COUNTS, uint)
    compiled = cel.NewEnv(variables=variables).compile(expression)

    def cost(name: str, **tokens: int) -> int:
        zeros = dict.fromkeys(COUNTS, 0) | {"backend": "b", "route_name": "r"}
        result = compiled.eval(data=zeros | tokens | {"model": name})
        assert result.type() == cel.Type.UINT, result
        return result.value()

    cost("dummy")
    return cost


def route(supply: Supply) -> dict[str, Any]:
    text = made_for(supply, "envoy").files[NAME]
    assert isinstance(text, str)
    return yaml.safe_load(text)


def expressions(supply: Supply) -> dict[str, str]:
    return {cost["metadataKey"]: cost["cel"] for cost in route(supply)["spec"]["llmRequestCosts"]}


def test_the_patch_is_valid_and_stamped() -> None:
    """Kills: a key that the gateway's resource definition refuses, a cost without its origin."""
    made = route(supplied())
    Draft202012Validator(SCHEMA).validate(made)
    assert made["metadata"]["annotations"]["shadowprice/run_id"] == "7f3a"


@given(fresh=TOKENS, cached=TOKENS, out=TOKENS)
def test_the_expression_costs_what_the_list_prices_say(fresh: int, cached: int, out: int) -> None:
    """Kills: cached tokens billed twice, a coefficient per million, a float in the expression."""
    given_tokens = min(fresh + cached, 2**32 - 1)
    cached = min(cached, given_tokens)
    cost = program(expressions(supplied())[COST_KEY])
    nano = cost("cheap", input_tokens=given_tokens, cached_input_tokens=cached, output_tokens=out)
    assert nano == (given_tokens - cached) * 250 + cached * 25 + out * 2000
    dear = cost("frontier", input_tokens=given_tokens, cached_input_tokens=cached, output_tokens=out)
    assert dear == given_tokens * 2500 + out * 10_000  # no price of its own for cached tokens: input


@given(given_tokens=TOKENS, cached=TOKENS, written=TOKENS, out=TOKENS)
def test_no_token_count_makes_the_expression_fail_or_an_unknown_model_cheap(
    given_tokens: int, cached: int, written: int, out: int
) -> None:
    """Kills: a uint below 0 (the gateway then charges nothing), a final 0u for models that nobody listed."""
    cost = program(expressions(supplied())[COST_KEY])
    tokens = {
        "input_tokens": given_tokens,
        "cached_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": out,
    }
    known = [cost(name, **tokens) for name in ("cheap", "frontier")]
    assert cost("nobody", **tokens) >= max(known)


def test_the_bound_holds_at_the_largest_counts() -> None:
    """Kills: a coefficient that overflows 64 bits on the day of the longest request."""
    edge = dict.fromkeys(("input", "output", "cache_read", "cache_write"), MAX_COEFFICIENT - 1)
    most = dict.fromkeys(COUNTS, 2**32 - 1)
    for cached in (0, 2**32 - 1):
        tokens = most | {"cached_input_tokens": cached, "cache_creation_input_tokens": cached}
        assert program(cel_text(edge))("x", **tokens) < 2**64
    vast = model("vast", token_prices("1100000", "1"))
    made = made_for(supplied(models=(vast,)), "envoy")
    assert not made.files
    assert "64 bits" in made.skipped[0].reason


def test_a_price_below_the_resolution_is_skipped_with_its_reason() -> None:
    """Kills: 37.5 nano-USD rounded to 38 in a bill."""
    made = made_for(supplied(models=(*MODELS, model("odd", token_prices("0.0375", "1")))), "envoy")
    assert [one.reason for one in made.skipped] == [
        "input costs 37.5 nano-USD per token, which is no whole number"
    ]
    assert "odd" not in str(made.files[NAME]).split("spec:")[1]


def test_a_congestion_price_has_a_key_of_its_own() -> None:
    """Kills: an estimate added to what budgets count as dollars."""
    plain = expressions(supplied())
    assert SHADOW_KEY not in plain
    loaded = with_price(supplied(), "congestion_prefill_price", 2e-7, "USD/token")
    both = expressions(with_price(loaded, "congestion_decode_price", 3e-6, "USD/token"))
    assert both[COST_KEY] == plain[COST_KEY]
    surcharge = program(both[SHADOW_KEY])
    assert surcharge("any", input_tokens=10, output_tokens=2) == 10 * 200 + 2 * 3000
    delay = with_price(supplied(), "congestion_prefill_delay", 2e-7, "s/token")
    assert SHADOW_KEY not in expressions(delay)


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=30))
def test_a_name_stays_inside_its_string(name: str) -> None:
    """Kills: a model called `x" ? 0u : "` that sets its own price."""
    cost = program(f"model == {cel_string(name)} ? (1u) : (2u)")
    assert (cost(name), cost(f"{name}!")) == (1, 2)


def test_an_expression_in_use_is_read_back_coefficient_by_coefficient() -> None:
    """Kills: a --diff that calls everything new, or that reads the guard as a price."""
    models = (*MODELS, model(HOSTILE, token_prices("1", "4", "0.5")))
    supply = with_price(supplied(models=models), "congestion_prefill_price", 2e-7, "USD/token")
    made = made_for(supply, "envoy")
    assert read_envoy(str(made.files[NAME]), "route.yaml") == {e.key: e.value for e in made.evidence}
    theirs = (
        "spec: {llmRequestCosts: [{metadataKey: llm_cost_nano_usd, type: CEL, cel: 'total_tokens * 7u'}]}"
    )
    assert read_envoy(theirs, "route.yaml") == {}
