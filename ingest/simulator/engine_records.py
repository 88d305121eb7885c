"""Records of the simulated serving engine: how it works, what arrives, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import ConfigError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_WHERE: Final = "serving engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How each replica works; a step takes, times lognormal noise of mean 1 and log-sd `noise`,

        base_s + prefill_s * (prompt tokens) + decode_s * (decoding sequences) + kv_s * (KV tokens held)
        + attention_s * (sum over prompt tokens of the tokens before them) + draft_s * (tokens drafted).

    token_budget: prompt and decoded tokens of one step; longer prompts go in chunks. max_seqs: running at
    once. kv_cap: tokens that the KV cache holds; when it is full the youngest request is preempted and
    recomputed. draft: tokens drafted per round, 0 without speculation; one is accepted with probability
    accept * exp(-context / accept_context_tok), until the first that is not.
    """

    replicas: int = 1
    token_budget: int = 2048
    max_seqs: int = 64
    kv_cap: int = 120_000
    base_s: float = 0.008
    prefill_s: float = 4e-5
    decode_s: float = 1e-4
    kv_s: float = 1e-7
    attention_s: float = 4e-10
    draft_s: float = 1e-5
    noise: float = 0.05
    draft: int = 0
    accept: float = 0.8
    accept_context_tok: float = 60_000.0

    def __post_init__(self) -> None:
        times = ("base_s", "prefill_s", "decode_s", "kv_s", "attention_s", "draft_s", "noise")
        wrong = [f"{name} {getattr(self, name)}" for name in times if not 0 <= getattr(self, name) < np.inf]
        decoded = self.max_seqs * (self.draft + 1)
        checks = (
            (not wrong, ", ".join(wrong), "finite and not negative"),
            (self.replicas >= 1, f"replicas {self.replicas}", "at least 1"),
            (self.max_seqs >= 1, f"max_seqs {self.max_seqs}", "at least 1"),
            (self.draft >= 0, f"draft {self.draft}", "0 or more tokens"),
            (
                self.token_budget > decoded,
                f"token_budget {self.token_budget}",
                f"more than {decoded}, so that prompts proceed while all decode",
            ),
            (self.kv_cap >= 2, f"kv_cap {self.kv_cap}", "at least 2 tokens"),
            (self.prefill_s > 0 or self.base_s > 0, "prefill_s and base_s of 0", "a step that takes time"),
            (0 < self.accept < 1, f"accept {self.accept}", "a probability between 0 and 1"),
            (self.accept_context_tok > 0, f"accept_context_tok {self.accept_context_tok}", "above 0 tokens"),
        )
        for fine, found, expected in checks:
            if not fine:
                raise ConfigError(found, where=_WHERE, expected=expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """n requests in any order. time_s: when they arrive. prompt_tok: their context, of which the prefix cache
    serves cached_tok. output_tok: tokens to write, the first by the prompt's last step. replica: where each
    is served; None takes the replicas in turn."""

    time_s: Array
    prompt_tok: Ints
    output_tok: Ints
    cached_tok: Ints | None = None
    replica: Ints | None = None

    def __post_init__(self) -> None:
        n = self.time_s.shape[0]
        for name in ("prompt_tok", "output_tok", "cached_tok", "replica"):
            given = getattr(self, name)
            if given is not None and given.shape != (n,):
                raise ConfigError(f"{name} of shape {given.shape}", where=_WHERE, expected=f"shape ({n},)")
        rows = (
            ("time_s", ~np.isfinite(self.time_s), "finite seconds"),
            ("prompt_tok", self.prompt_tok < 1, "at least 1 token"),
            ("output_tok", self.output_tok < 1, "at least 1 token"),
            ("cached_tok", (self.cached < 0) | (self.cached >= self.prompt_tok), "0 to prompt_tok - 1"),
        )
        for name, wrong, expected in rows:
            if wrong.any():
                row = int(np.argmax(wrong))
                found = f"{name} {(self.cached if name == 'cached_tok' else getattr(self, name))[row]}"
                raise ConfigError(f"{found} in row {row}", where=_WHERE, expected=expected)

    @property
    def n(self) -> int:
        """Number of requests."""
        return self.time_s.shape[0]

    @property
    def cached(self) -> Ints:
        """(n,) prompt tokens that the prefix cache serves."""
        return np.zeros(self.n, dtype=np.int64) if self.cached_tok is None else self.cached_tok


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What became of the requests, in the order of the arrivals; seconds.

    queue_s: from arrival until first work. ttft_s: from arrival to the first token. decode_s: from the first
    token to the last. preemptions: times sent back to the queue. spec_drafted, spec_accepted: tokens.
    replica: where served. steps: one row per step and replica, see `engine_steps`; end_s: when it ended.
    """

    queue_s: Array
    ttft_s: Array
    decode_s: Array
    preemptions: Ints
    spec_drafted: Ints
    spec_accepted: Ints
    replica: Ints
    steps: pl.DataFrame

    @property
    def latency_s(self) -> Array:
        """(n,) from arrival to the last token."""
        return self.ttft_s + self.decode_s


def replica_name(index: int) -> str:
    """What the logs call replica `index`."""
    return f"vllm-{index}"


def engine_steps(steps: pl.DataFrame, *, epoch_s: float) -> pl.DataFrame:
    """`Served.steps` in the layout of the engine_steps table, second 0 of the arrivals being at epoch_s."""
    ended = ((pl.col("end_s") + epoch_s) * 1e6).round(0).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return steps.select(
        pl.format("vllm-{}", "replica").alias("replica"), ended.alias("ts"), pl.exclude("replica", "end_s")
    )
