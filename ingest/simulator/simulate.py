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
from .injected import injected_truth
from .knobs import Knobs
from .stale import settings as trainer_settings
from .stale import training_truth
from .traffic import BAND_SEGMENT, traffic_truth
from .truth import CACHE_SEGMENT, TASK_SEGMENT, contrast_truth, decision_truth
from .truth_prices import price_truth, regret_truth
from .world import World
from .write_agent import agent_lines
from .write_outcomes import outcome_lines
from .write_router import router_lines
from .write_serving import STEP_MAPPING, serving_lines, step_lines
from .write_training import rollout_lines, rollout_mapping

USUAL: Final = Knobs()
_MAPPING: Final = "rollouts.mapping.toml"
_STEP_MAPPING: Final = "engine-steps.mapping.toml"
_STEPS: Final = "engine-steps.jsonl"
_GZIP_LEVEL: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """Where a simulated run lies. logs: what an auditor may see. truth: decisions, contrasts,
    prices and regrets (parquet) and injected.json, with congestion also engine_requests and engine_steps,
    with stale rollouts also rollouts, updates and training; None when not asked for. modes: what was
    injected."""

    logs: Path
    config: Path
    truth: Path | None
    seed: int
    requests: int
    modes: tuple[str, ...]


def simulate(
    out: Path, *, seed: int, knobs: Knobs = USUAL, with_truth: bool = True, compress: bool = False
) -> SimulatedRun:
    """A four-layer world under `out`; the same arguments give the same logs. compress: logs as gzip.

    Raises: ConfigError when `out` already holds other logs, which would be read together with these.
    """
    logs = out / "logs"
    writers = {
        "litellm.jsonl": router_lines,
        "agent-spans.jsonl": agent_lines,
        "serving-spans.jsonl": serving_lines,
        "outcomes.jsonl": outcome_lines,
        "rollouts.jsonl": rollout_lines,
    }
    stepped = (_STEPS, _STEP_MAPPING) if "serving_congestion" in knobs.modes else ()
    names = {name: f"{name}.gz" if compress else name for name in (*writers, *stepped[:1])}
    _check_free(logs, {*names.values(), _MAPPING, *stepped[1:]})
    world = draw_world(seed=seed, knobs=knobs)
    ctx = make_context(world)
    for name, lines in writers.items():
        _write(logs / names[name], (line + b"\n" for line in lines(ctx)), compress=compress)
    _write(logs / _MAPPING, [rollout_mapping(world).encode()])
    if world.traffic is not None:
        steps = (line + b"\n" for line in step_lines(world.traffic))
        _write(logs / names[_STEPS], steps, compress=compress)
        _write(logs / _STEP_MAPPING, [STEP_MAPPING.encode()])
    _write(out / FILE_NAME, [config_text(knobs).encode()])
    truth = _write_truth(out / "truth", world) if with_truth else None
    return SimulatedRun(
        logs=logs,
        config=out / FILE_NAME,
        truth=truth,
        seed=seed,
        requests=knobs.requests,
        modes=knobs.modes,
    )


def config_text(knobs: Knobs = USUAL) -> str:
    """The shadowprice.toml that prices a simulated world; where rollouts go stale, these too."""
    training = ""
    if "stale_rollouts" in knobs.modes:
        trainer = trainer_settings(knobs)
        training = f"""\
learning_signal = "{trainer.signal_usd:g} USD/signal"
rollout = "{trainer.keep_usd:g} USD/rollout"
"""
    segments = [TASK_SEGMENT, CACHE_SEGMENT]
    if "serving_congestion" in knobs.modes:
        segments.append(BAND_SEGMENT)
    named = ", ".join(f'"{name}"' for name in segments)
    values = "\n".join(f'{c.name} = "{c.value_usd:g} USD/task"' for c in s.CLASSES)
    return f"""\
# What a solved task is worth, and what waiting and incidents cost, in the simulated world.
cluster = "tenant_id"
segments = [{named}]
optional_points = ["verify"]

[quality]
name = "resolved"

[prices]
latency = "{s.LATENCY_USD_PER_S:g} USD/s"
risk = "{s.RISK_USD_PER_EVENT:g} USD/event"
{training}
[prices.task_value_by_class]
{values}
"""


def _check_free(logs: Path, ours: set[str]) -> None:
    others = sorted(path.name for path in logs.iterdir() if path.name not in ours) if logs.is_dir() else []
    if others:
        raise ConfigError(
            f"{logs} holds {others[0]}",
            where="simulate",
            expected="a folder without other logs, which would be read together with these",
        )


def _write(target: Path, chunks: Iterable[bytes], *, compress: bool = False) -> None:
    """Write `chunks`; gzip members carry no time and no name, so that equal content is equal bytes."""
    with atomic_path(target) as path, path.open("wb") as raw:
        if not compress:
            raw.writelines(chunks)
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed:
            for chunk in chunks:
                packed.write(chunk)


def _write_truth(folder: Path, world: World) -> Path:
    contrasts = contrast_truth(world)
    tables = {
        "decisions": decision_truth(world),
        "contrasts": contrasts,
        "prices": price_truth(world),
        "regrets": regret_truth(world),
    }
    if world.traffic is not None:
        tables |= traffic_truth(world.traffic)
    if world.training is not None:
        tables |= training_truth(world.training, world.knobs)
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.parquet") as path:
            table.write_parquet(path)
    injected = injected_truth(world, contrasts)
    _write(folder / "injected.json", [orjson.dumps(injected, option=orjson.OPT_INDENT_2), b"\n"])
    return folder
