"""Langfuse: list prices of models, and scores on the traces that lost money, as lines to be posted."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from ...errors import ExportError
from .candidates import priced_models
from .made import Evidence, Made, facts, flat_stamp, joined
from .offer import Offer, Skipped, unspeakable
from .reading import keep, mapping, mappings
from .supply import Supply

MODELS: Final = "shadowprice.langfuse-models.jsonl"
SCORES: Final = "shadowprice.langfuse-scores.jsonl"
LOSS: Final = "shadowprice.misallocation_usd"
MODE: Final = "shadowprice.failure_mode"
MOST_SCORED: Final = 10_000
"""Decisions that get scores; with more, those that lost most for certain."""
USAGE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "input": ("input",),
    "output": ("output",),
    "cache_read": ("input_cache_read", "cache_read_input_tokens", "input_cached_tokens"),
    "cache_write": ("input_cache_creation", "cache_creation_input_tokens"),
}
"""Kind of token -> the usage types under which integrations report it; only one of them is in a trace."""
_ID_DIGITS: Final = 32


def langfuse(supply: Supply) -> Made:
    """The files of this target: one JSON object per line, for POST /api/public/models and /scores.

    Prices are list prices, USD per token, one default tier per model. A decision that lost for certain gets a
    numeric and a categorical score on its trace; interval and grade stand in the comment. The id of a score
    depends on the decision alone, so that a later import overwrites it.

    Source: langfuse 5.0.4, api/models CreateModelRequest and api/scores CreateScoreRequest.
    """
    return joined(_models(supply), _scores(supply))


def read_langfuse(text: str, where: str) -> dict[str, float]:
    """Key -> value of model definitions or scores that are in use: lines of JSON, or one object or list.

    Raises: ExportError for a line that is no JSON.
    """
    found: dict[str, float] = {}
    for one in _objects(text, where):
        model = one.get("modelName")
        for tier in mappings(one.get("pricingTiers")):
            if tier.get("isDefault") is True:
                for key, price in mapping(tier.get("prices")).items():
                    keep(found, f"price/{model}/{key}", price)
        keep(found, f"price/{model}/input", one.get("inputPrice"))
        keep(found, f"price/{model}/output", one.get("outputPrice"))
        if one.get("name") == LOSS:
            keep(found, f"score/{one.get('id')}", one.get("value"))
    return found


def _models(supply: Supply) -> Made:
    priced, skipped = priced_models(supply)
    lines: list[str] = []
    evidence: list[Evidence] = []
    for name, known in priced.items():
        prices = {key: float(usd) for kind, usd in known.known().items() for key in USAGE_KEYS[kind]}
        lines.append(_json(_definition(name, prices)))
        evidence += facts(f"price/{name}", prices, f"list price: {known.source}")
    files: dict[str, str | bytes] = {MODELS: "".join(lines)} if lines else {}
    return Made(files=files, evidence=tuple(evidence), skipped=skipped)


def _definition(name: str, prices: dict[str, float]) -> dict[str, Any]:
    tier = {"name": "list", "isDefault": True, "priority": 0, "conditions": [], "prices": prices}
    return {
        "modelName": name,
        "matchPattern": f"(?i)^{re.escape(name)}$",
        "unit": "TOKENS",
        "pricingTiers": [tier],
    }


def _scores(supply: Supply) -> Made:
    losses = supply.losses
    if losses.is_empty():
        reason = "no decision lost money for certain, or none has a task value to count it in"
        why = Skipped.of(name=LOSS, about="every decision", reason=reason, log_next="prices.task_value")
        return Made(files={}, skipped=(why,))
    ranked = losses.sort("lower_usd", "decision_id", descending=[True, False])
    lines: list[str] = []
    evidence: list[Evidence] = []
    unnamed = 0
    for row in ranked.head(MOST_SCORED).iter_rows(named=True):
        if row["request_id"] is None or unspeakable(row["request_id"], row["taken"], row["better"]):
            unnamed += 1
            continue
        loss, mode = _pair(supply.offer, row)
        lines += [_json(loss), _json(mode)]
        evidence.append(_evidence(loss["id"], row))
    left = [
        (unnamed, "no trace id, or one that cannot be named", "request_id"),
        (losses.height - MOST_SCORED, f"{MOST_SCORED} decisions that lost more are scored", "nothing"),
    ]
    skipped = tuple(
        Skipped.of(name=LOSS, about=f"{n} decisions", reason=why, log_next=what)
        for n, why, what in left
        if n > 0
    )
    files: dict[str, str | bytes] = {SCORES: "".join(lines)} if lines else {}
    return Made(files=files, evidence=tuple(evidence), skipped=skipped)


def _pair(offer: Offer, row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numeric and the categorical score of one decision."""
    point = f"{row['layer']}.{row['decision_point']} (shadowprice run {offer.run_id})"
    comment = (
        f"[{row['lower_usd']:.4g}, {row['upper_usd']:.4g}] USD, grade {row['grade']}: {row['better']} "
        f"instead of {row['taken']} at {point}"
    )
    about = {"traceId": row["request_id"], "comment": comment, "metadata": flat_stamp(offer)}
    loss = {"id": _id(row, LOSS), "name": LOSS, "value": row["loss_usd"], "dataType": "NUMERIC", **about}
    mode = {"id": _id(row, MODE), "name": MODE, "value": row["mode"], "dataType": "CATEGORICAL", **about}
    return loss, mode


def _id(row: dict[str, Any], name: str) -> str:
    return hashlib.sha256(f"{name}\n{row['decision_id']}".encode()).hexdigest()[:_ID_DIGITS]


def _evidence(score: str, row: dict[str, Any]) -> Evidence:
    return Evidence(
        key=f"score/{score}",
        against=f"score/{score}",
        value=row["loss_usd"],
        lower=row["lower_usd"],
        upper=row["upper_usd"],
        grade=row["grade"],
        why=f"{row['mode']} in decision {row['decision_id']}",
    )


def _objects(text: str, where: str) -> list[dict[str, Any]]:
    """Every object of a JSON document, of its list or its `data`, or of lines of JSON."""
    try:
        data = json.loads(text)
    except ValueError:
        data = []
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                data += [json.loads(line)] if line.strip() else []
            except ValueError as error:
                expected = "lines of JSON, or one JSON document"
                raise ExportError("no JSON", where=f"{where}:{number}", expected=expected) from error
    if isinstance(data, dict):
        data = data["data"] if isinstance(data.get("data"), list) else [data]
    return mappings(data)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
