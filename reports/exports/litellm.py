"""LiteLLM: an adaptive router, thresholds of the capability router, and an overlay of list prices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from .candidates import priced_models
from .list_prices import FILE_KEYS
from .litellm_adaptive import adaptive_routers
from .litellm_capability import capability_thresholds
from .made import Evidence, Made, facts, joined, stamp_lines
from .reading import keep, mapping, read_document
from .supply import Supply
from .yaml_text import yaml_text

ROUTERS: Final = "shadowprice.litellm.yaml"
THRESHOLDS: Final = "shadowprice.litellm-capability.yaml"
PRICES: Final = "shadowprice.litellm-prices.json"
_RECIPE: Final = (
    "To learn from its choices later, log candidates, propensity and exploration of every request in "
    "metadata.spend_logs_metadata.shadowprice."
)


def litellm(supply: Supply) -> Made:
    """The files of this target, each only when it holds something.

    Entries for `model_list` under new names; `capability_classifier_config` fragments by pair of models, to
    which the tiers are added by hand; and a `register_model` dictionary (also a price file for us), USD per
    token. No shadow price stands in a cost field: the overlay holds list prices alone.

    Source: LiteLLM 1.110, types/router.py and router_strategy/complexity_router/config.py.
    """
    return joined(_routers(supply), _thresholds(supply), _overlay(supply))


def read_litellm(text: str, where: str) -> dict[str, float]:
    """Key -> value of a proxy configuration, a fragment of ours, or a price map that is in use."""
    data = read_document(text, where=where)
    found: dict[str, float] = {}
    for place, node in _mappings(data):
        if isinstance(node.get("available_models"), list):
            models = ",".join(sorted(map(str, node["available_models"])))
            keep(found, f"adaptive_router/{models}/quality", mapping(node.get("weights")).get("quality"))
        if "base_threshold" in node:
            named = node | mapping(node.get("calibration"))
            for name in ("base_threshold", "slope", "intercept"):
                keep(found, f"capability/{name}", named.get(name))
                keep(found, f"capability/{place}/{name}", named.get(name))
        for kind, key in FILE_KEYS.items():
            keep(found, f"price/{place}/{kind}", node.get(key))
    return found | _by_alias(data)


def _routers(supply: Supply) -> Made:
    made = adaptive_routers(supply)
    files: dict[str, str | bytes] = {}
    if made.entries:
        head = [*stamp_lines(supply.offer), *made.notes, _RECIPE]
        files[ROUTERS] = yaml_text({"model_list": list(made.entries)}, head=head)
    return Made(files=files, evidence=made.evidence, skipped=made.skipped, notes=made.notes)


def _thresholds(supply: Supply) -> Made:
    made = capability_thresholds(supply)
    files: dict[str, str | bytes] = {}
    if made.fragments:
        how = "Each is a capability_classifier_config: add efficient_tier and capable_tier."
        files[THRESHOLDS] = yaml_text(made.fragments, head=[*stamp_lines(supply.offer), how, *made.notes])
    return Made(files=files, evidence=made.evidence, skipped=made.skipped, notes=made.notes)


def _overlay(supply: Supply) -> Made:
    priced, skipped = priced_models(supply)
    entries: dict[str, dict[str, Any]] = {}
    evidence: list[Evidence] = []
    for name, prices in priced.items():
        known = {kind: float(price) for kind, price in prices.known().items()}
        origin = f"shadowprice run {supply.offer.run_id}: {prices.source}"
        entries[name] = {FILE_KEYS[kind]: price for kind, price in known.items()} | {"source": origin}
        evidence += facts(f"price/{name}", known, f"list price: {prices.source}")
    files: dict[str, str | bytes] = {}
    if entries:
        files[PRICES] = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return Made(files=files, evidence=tuple(evidence), skipped=skipped)


def _mappings(node: Any, place: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every mapping in a document with its name: its own model_name, else the key that it stands under."""
    if isinstance(node, dict):
        place = str(node.get("model_name", place))
        yield place, node
        for key, below in node.items():
            yield from _mappings(below, place if "model_name" in node else str(key))
    elif isinstance(node, list):
        for below in node:
            yield from _mappings(below, place)


def _by_alias(data: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, node in _mappings(data):
        config = mapping(mapping(node.get("litellm_params")).get("adaptive_router_config"))
        keep(found, f"adaptive_router/{place}/quality", mapping(config.get("weights")).get("quality"))
    return found
