"""Prometheus text of vLLM and SGLang engines (`/metrics`): one report of load per engine and scrape.

Fills running, waiting and kv_tok of engine_steps; ts only where the samples carry a time, as a plain scrape
has none. Counters, histograms and anything per step, request or tenant are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, as_real, utc_from_epoch
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .engine_steps_lines import replica_name, text_lines

NAME: Final = "engine_metrics"
MAX_OPEN: Final = 10_000
"""Engines and times whose reports are held until they are whole."""
_SAMPLE: Final = re.compile(
    r"(?P<name>(?:vllm|sglang):[a-zA-Z_]\w*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+(?P<at>-?[\d.]+))?\s*",
    re.ASCII,
)
_LABEL: Final = re.compile(r'(?<!\w)([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', re.ASCII)
_COLUMNS: Final = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:num_used_tokens": "kv_tok",
}
_USAGE: Final = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""Share of the KV cache in use, 0 to 1; the second is the old name."""
_CONFIG: Final = "vllm:cache_config_info"
_ENGINE_LABELS: Final = ("engine", "dp_rank")
_MS_FROM: Final = 100_000_000_000
"""Times are ms in Prometheus's format and s in OpenMetrics'; as seconds this would be the year 5138."""
_SHARE: Final = "_share"

_Key = tuple[str, str]


def sniff(head: bytes) -> bool:
    """Whether a line begins with a metric of an engine, or with what Prometheus says about one."""
    return re.search(rb"(?m)^(?:# (?:HELP|TYPE) )?(?:vllm|sglang):[a-zA-Z_]+[ {]", head) is not None


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One row per engine and scrape, or per engine and time where samples carry one.

    Raises: IngestError when the file cannot be opened.
    """
    del config
    reports = _Reports(log)
    for numbered in text_lines(log):
        if isinstance(numbered, Rejected):
            yield numbered
            continue
        number, line = numbered
        if not line.strip() or line.startswith("#"):
            continue
        try:
            yield from reports.take(number, line)
        except ValueError as error:
            yield Rejected(number, str(error))
    yield from reports.flush()


class _Reports:
    """Gauges by engine and time until a gauge repeats, which begins the next scrape."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._open: dict[_Key, dict[str, Any]] = {}
        self._lines: dict[_Key, int] = {}
        self._sizes: dict[str, int] = {}

    def take(self, number: int, line: str) -> Iterator[Item]:
        """Add the sample of `line`; yields the reports that it completes."""
        found = _SAMPLE.fullmatch(line)
        if found is None:
            yield Ignored(number, "other metric")
            return
        name, labels = found["name"], dict(_LABEL.findall(found["labels"] or ""))
        engine = next((labels[label] for label in _ENGINE_LABELS if label in labels), "")
        if name == _CONFIG:
            self._sizes[engine] = _size(labels)
        column = _SHARE if name in _USAGE else _COLUMNS.get(name)
        if column is None:
            yield Ignored(number, "other metric")
            return
        key = (engine, found["at"] or "")
        if column in self._open.get(key, {}) or len(self._open) >= MAX_OPEN:
            yield from self.flush()
        self._open.setdefault(key, {})[column] = as_real(found["value"], name)
        self._lines.setdefault(key, number)

    def flush(self) -> Iterator[Item]:
        """The reports that are open."""
        for key, gauges in self._open.items():
            try:
                yield self._row(key, gauges)
            except ValueError as error:
                yield Rejected(self._lines[key], str(error))
        self._open, self._lines = {}, {}

    def _row(self, key: _Key, gauges: dict[str, Any]) -> Row:
        engine, at = key
        share, size = gauges.get(_SHARE), self._sizes.get(engine)
        values = {name: as_count(value, name) for name, value in gauges.items() if name != _SHARE}
        if share is not None and size:
            values["kv_tok"] = round(size * share)
        told = {"replica": replica_name(self._log, engine), "ts": _time(at) if at else None}
        return Row("engine_steps", self._lines[key], {**told, **values})


def _time(at: str) -> Any:
    value = as_real(at, "time")
    return utc_from_epoch(at, "ms" if value is not None and value >= _MS_FROM else "s")


def _size(labels: dict[str, str]) -> int:
    """Tokens that the KV cache holds; 0 when the engine does not say."""
    blocks, block = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    return int(blocks) * int(block) if blocks.isdigit() and block.isdigit() else 0
