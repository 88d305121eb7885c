"""A simulated run on disk: logs in real formats, the configuration that prices it, and the truth apart."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from ...errors import ConfigError
from ...schemas.config import FILE_NAME
from ...schemas.files import atomic_path
from . import settings as s
from .context import make_context
from .draw import draw_world
from .truth import CACHE_SEGMENT, TASK_SEGMENT, contrast_truth, decision_truth, injected_truth
from .world import World
from .write_agent import agent_lines
from .write_outcomes import outcome_lines
from .write_router import router_lines
from .write_serving import serving_lines
from .write_training import ROLLOUT_MAPPING, rollout_lines

MIN_REQUESTS: Final = 20
MIN_TENANTS: Final = 2
_GZIP_LEVEL: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """Where a simulated run lies. logs: what an auditor may see. truth: decisions.parquet,
    contrasts.parquet and injected.json, None when not asked for."""

    logs: Path
    config: Path
    truth: Path | None
    seed: int
    requests: int


def simulate(
    out: Path,
    *,
    seed: int,
    requests: int = 4000,
    tenants: int = 60,
    label_share: float = 1.0,
    null: bool = False,
    with_truth: bool = True,
    compress: bool = False,
) -> SimulatedRun:
    """A four-layer world of `requests` requests under `out`; the same arguments give the same logs.

    null: no action is better than another at the configured prices. label_share: share of requests that
    a person labels, at random. compress: logs as gzip.

    Raises: ConfigError for sizes and shares that make no world.
    """
    _check(requests=requests, tenants=tenants, label_share=label_share)
    world = draw_world(seed=seed, requests=requests, tenants=tenants, null=null)
    ctx = make_context(world)
    logs = out / "logs"
    for name, lines in (
        ("litellm.jsonl", router_lines(ctx)),
        ("agent-spans.jsonl", agent_lines(ctx)),
        ("serving-spans.jsonl", serving_lines(ctx)),
        ("outcomes.jsonl", outcome_lines(ctx, label_share=label_share)),
        ("rollouts.jsonl", rollout_lines(ctx)),
    ):
        _write(logs / name, (line + b"\n" for line in lines), compress=compress)
    _write(logs / "rollouts.mapping.toml", [ROLLOUT_MAPPING.encode()])
    _write(out / FILE_NAME, [config_text().encode()])
    truth = _write_truth(out / "truth", world, null=null) if with_truth else None
    return SimulatedRun(logs=logs, config=out / FILE_NAME, truth=truth, seed=seed, requests=requests)


def config_text() -> str:
    """The shadowprice.toml that prices every simulated world."""
    values = "\n".join(f'{c.name} = "{c.value_usd:g} USD/task"' for c in s.CLASSES)
    return f"""\
# What a solved task is worth, and what waiting and incidents cost, in the simulated world.
cluster = "tenant_id"
segments = ["{TASK_SEGMENT}", "{CACHE_SEGMENT}"]
optional_points = ["verify"]

[quality]
name = "resolved"

[prices]
latency = "{s.LATENCY_USD_PER_S:g} USD/s"
risk = "{s.RISK_USD_PER_EVENT:g} USD/event"

[prices.task_value_by_class]
{values}
"""


def _check(*, requests: int, tenants: int, label_share: float) -> None:
    if requests < MIN_REQUESTS:
        raise ConfigError(f"{requests} requests", where="simulate", expected=f"at least {MIN_REQUESTS}")
    if tenants < MIN_TENANTS:
        raise ConfigError(f"{tenants} tenants", where="simulate", expected=f"at least {MIN_TENANTS}")
    if not 0.0 < label_share <= 1.0:
        raise ConfigError(f"label_share {label_share}", where="simulate", expected="a share in (0, 1]")


def _write(target: Path, chunks: Iterable[bytes], *, compress: bool = False) -> None:
    """Write `chunks`; gzip members carry no time and no name, so that equal content is equal bytes."""
    name = f"{target.name}.gz" if compress else target.name
    with atomic_path(target.with_name(name)) as path, path.open("wb") as raw:
        if not compress:
            raw.writelines(chunks)
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed:
            for chunk in chunks:
                packed.write(chunk)


def _write_truth(folder: Path, world: World, *, null: bool) -> Path:
    contrasts = contrast_truth(world)
    with atomic_path(folder / "decisions.parquet") as path:
        decision_truth(world).write_parquet(path)
    with atomic_path(folder / "contrasts.parquet") as path:
        contrasts.write_parquet(path)
    injected = injected_truth(world, contrasts, null=null)
    _write(folder / "injected.json", [orjson.dumps(injected, option=orjson.OPT_INDENT_2), b"\n"])
    return folder
