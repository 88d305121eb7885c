"""The knobs of a simulated world: how large, how hard to estimate, and what is misallocated in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import ConfigError

MODES: Final = (
    "over_routing",
    "under_routing",
    "over_delegation",
    "under_verification",
    "serving_congestion",
    "stale_rollouts",
    "cache_misuse",
)
"""The failures that can be injected."""
USUAL_MODES: Final = ("over_routing", "under_routing", "under_verification", "cache_misuse")
"""Injected when nothing else is asked for."""
USUAL_EVENT_RATE: Final = 0.0625
"""Share of requests with an incident before any decision adds to it."""
MIN_REQUESTS: Final = 20
MIN_TENANTS: Final = 2
MAX_ACTIONS: Final = 6
MAX_STEPS: Final = 8
MAX_EVENT_RATE: Final = 0.2
"""More incidents, and the effects of the decisions would no longer add up to a probability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What a world is like. Each knob moves one thing; the truth follows it exactly.

    requests, tenants: sizes. actions: router models. steps: work steps of an agent; with more than one its
    verifications are chosen step by step, on top of them. overlap: temperature of the logging policies, 1
    usual, below 1 less overlap. event_rate: incidents before any decision. icc: correlation of the luck of
    one tenant's requests (Gaussian copula, so that no probability moves). label_share: share that a person
    labels. judge_bias: by how much a judge, who scores every request, favours the dearest model; None for
    no judge. hidden: odds ratio by which an unlogged cause moves the single verification (exactly), and
    success with it. corrupt: share of router calls that log another policy's probabilities. keep_share:
    successes are kept in the logs with this probability, failures always. adaptive: the router learns in
    batches from its own log. loss_tail, latency_tail: exponent of Pareto losses and latencies; None for
    lognormal ones. inject: the failures. null: no action is better than another.
    """

    requests: int = 4000
    tenants: int = 60
    actions: int = 3
    steps: int = 1
    overlap: float = 1.0
    event_rate: float = USUAL_EVENT_RATE
    icc: float = 0.0
    label_share: float = 1.0
    judge_bias: float | None = None
    hidden: float = 1.0
    corrupt: float = 0.0
    keep_share: float = 1.0
    adaptive: bool = False
    loss_tail: float | None = None
    latency_tail: float | None = None
    inject: tuple[str, ...] = USUAL_MODES
    null: bool = False

    def __post_init__(self) -> None:
        unknown = [mode for mode in self.inject if mode not in MODES]
        checks = (
            (self.requests >= MIN_REQUESTS, f"{self.requests} requests", f"at least {MIN_REQUESTS}"),
            (self.tenants >= MIN_TENANTS, f"{self.tenants} tenants", f"at least {MIN_TENANTS}"),
            (2 <= self.actions <= MAX_ACTIONS, f"actions {self.actions}", f"2 to {MAX_ACTIONS}"),
            (1 <= self.steps <= MAX_STEPS, f"steps {self.steps}", f"1 to {MAX_STEPS}"),
            (0.2 <= self.overlap <= 10, f"overlap {self.overlap}", "a temperature from 0.2 to 10"),
            (
                0 < self.event_rate <= MAX_EVENT_RATE,
                f"event_rate {self.event_rate}",
                f"a share in (0, {MAX_EVENT_RATE}]",
            ),
            (0 <= self.icc < 1, f"icc {self.icc}", "a correlation in [0, 1)"),
            (0 < self.label_share <= 1, f"label_share {self.label_share}", "a share in (0, 1]"),
            (
                self.judge_bias is None or abs(self.judge_bias) <= 0.5,
                f"judge_bias {self.judge_bias}",
                "between -0.5 and 0.5",
            ),
            (1 <= self.hidden <= 20, f"hidden {self.hidden}", "an odds ratio from 1 to 20"),
            (self.hidden == 1 or self.steps == 1, f"hidden with {self.steps} steps", "steps 1"),
            (0 <= self.corrupt <= 1, f"corrupt {self.corrupt}", "a share"),
            (0 < self.keep_share <= 1, f"keep_share {self.keep_share}", "a share in (0, 1]"),
            (_has_mean(self.loss_tail), f"loss_tail {self.loss_tail}", "above 1, so that there is a mean"),
            (
                _has_mean(self.latency_tail),
                f"latency_tail {self.latency_tail}",
                "above 1, so that there is a mean",
            ),
            (not unknown, f"inject {', '.join(unknown)}", ", ".join(MODES)),
            (
                not self.null or self.inject == USUAL_MODES,
                "failures to inject into a null world",
                "null or inject, not both",
            ),
        )
        for fine, found, expected in checks:
            if not fine:
                raise ConfigError(found, where="simulate", expected=expected)

    @property
    def modes(self) -> tuple[str, ...]:
        """The failures of this world, in the order of MODES."""
        return () if self.null else tuple(mode for mode in MODES if mode in self.inject)

    @property
    def incident_scale(self) -> float:
        """What every probability of an incident is multiplied by."""
        return self.event_rate / USUAL_EVENT_RATE


def _has_mean(tail: float | None) -> bool:
    return tail is None or tail > 1
