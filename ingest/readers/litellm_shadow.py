"""LiteLLM's shadow-eval tables: both arms of one request, judged blind; attempts to outcomes of that request.

`real_preferred` is 1 for the answer that was served, 0 for the shadow's, 1/2 for a tie, null for an error;
with it the costs of both arms and of judging. The share of requests that were paired is its job's, when the
job's row stands before its attempts in the file. Nothing here is a decision: no propensity, no latency.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, as_real, missing
from ..lines import any_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .litellm_rows import text, time_of
from .peek import csv_header, top_keys

NAME: Final = "litellm_shadow"
_ATTEMPT: Final = frozenset({"job_id", "request_id", "outcome", "real_model", "shadow_model"})
_JOB: Final = frozenset({"id", "router_name", "judge_model", "shadow_percentage"})
_FUNNEL: Final = frozenset({"job_id", "not_sampled", "unjudgeable", "shed"})
_PREFERRED: Final = {"real": 1.0, "tie": 0.5, "shadow": 0.0, "error": None}
_STAGES: Final = ("not_sampled", "unjudgeable", "shed", "withheld")
_COSTS: Final = {
    "real_cost": "real_model",
    "real_classifier_cost": "real_model",
    "shadow_cost": "shadow_model",
    "shadow_classifier_cost": "shadow_model",
    "judge_cost": None,
}
MAX_JOBS: Final = 10_000


def sniff(head: bytes) -> bool:
    """Whether records are attempts, jobs or funnels of shadow evaluation."""
    found = top_keys(head) or [frozenset(csv_header(head))]
    return any(keys >= table for keys in found for table in (_ATTEMPT, _JOB, _FUNNEL))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per attempt its verdict and costs as outcomes; jobs and funnels are told, they are no rows."""
    del config
    shares: OrderedDict[str, float] = OrderedDict()
    for record in any_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        try:
            yield from _items(line, dict(fields), shares)
        except ValueError as error:
            yield Rejected(line, str(error))


def _items(line: int, fields: dict[str, Any], shares: OrderedDict[str, float]) -> list[Item]:
    names: Collection[str] = fields.keys()
    if names >= _ATTEMPT:
        return _attempt(line, fields, shares)
    if names >= _JOB:
        return [_job(line, fields, shares)]
    if names >= _FUNNEL:
        counts = {stage: as_count(missing(fields.get(stage)), stage) or 0 for stage in _STAGES}
        told = ", ".join(f"{count} {stage}" for stage, count in counts.items())
        return [Ignored(line, f"shadow-eval funnel: {told}")]
    return [Rejected(line, "neither a job, an attempt nor a funnel of shadow evaluation")]


def _job(line: int, fields: dict[str, Any], shares: OrderedDict[str, float]) -> Item:
    name, percent = text(fields, "id"), as_real(missing(fields.get("shadow_percentage")), "shadow_percentage")
    if percent is None or not 0 < percent <= 100:
        raise ValueError(f"shadow_percentage is {percent}, expected a number in (0, 100]")
    if name is not None:
        shares[name] = percent / 100
    while len(shares) > MAX_JOBS:
        shares.popitem(last=False)
    return Ignored(line, f"shadow-eval job: pairs {percent:g} % of requests")


def _attempt(line: int, fields: dict[str, Any], shares: OrderedDict[str, float]) -> list[Item]:
    request, verdict = text(fields, "request_id"), text(fields, "outcome")
    if request is None:
        raise ValueError("no field request_id")
    if verdict not in _PREFERRED:
        raise ValueError(f"outcome is {verdict!r}, expected one of {', '.join(_PREFERRED)}")
    real, shadow = text(fields, "real_model"), text(fields, "shadow_model")
    pair = f"{real or 'unknown'} against {shadow or 'unknown'}"
    common = {"request_id": request, "decision_id": request, "ts": time_of(fields, "created_at")}
    told: list[dict[str, Any]] = [
        {
            "name": "real_preferred",
            "value": _PREFERRED[verdict],
            "label": "error" if verdict == "error" else pair,
            "source": "llm_judge",
        }
    ]
    for name, model in _COSTS.items():
        cost = as_real(missing(fields.get(name)), name)
        if cost:  # 0 is the table's default: not known
            label = text(fields, model) if model else pair
            told.append({"name": f"{name}_usd", "value": cost, "label": label, "source": "code"})
    share = shares.get(text(fields, "job_id") or "")
    if share is not None:
        told.append({"name": "shadow_share", "value": share, "label": pair, "source": "code"})
    return [Row("outcomes", line, {**common, **one}) for one in told]
