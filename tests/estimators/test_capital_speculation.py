"""Speculative decoding, make or buy: the threshold by hand, acceptance, cells, an engine with known truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import optimize
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.acceptance import (
    acceptance_of,
    censored_acceptance,
    threshold,
    tokens_per_verify,
)
from shadowprice.estimators.capital.spec_rows import read_rounds
from shadowprice.estimators.capital.spec_times import CellTimes, step_times
from shadowprice.estimators.capital.speculation import (
    SpeculationCell,
    speculation_cells,
    speculation_prices,
)
from shadowprice.estimators.confidence import critical_t
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, engine_steps, serve
from shadowprice.schemas.config import Config

SMALL = "batch_size=4-15, context_tok=0-2047"


def served(
    *, drafting: bool, prompt: int, accept: float, draft_s: float, seed: int, kv_s: float = 1e-7
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decisions and engine steps of one replica with eight requests running, as a log would hold them."""
    rng, n = np.random.default_rng(seed), 160
    arrivals = Arrivals(
        time_s=np.sort(rng.uniform(0, 1.0, n)),
        prompt_tok=np.full(n, prompt),
        output_tok=rng.integers(60, 140, n),
    )
    settings = EngineSettings(
        draft=4 if drafting else 0,
        accept=accept,
        draft_s=draft_s,
        kv_s=kv_s,
        max_seqs=8,
        kv_cap=2_000_000,
        accept_context_tok=200_000.0,
        prefill_s=1e-7,
        attention_s=0.0,
        token_budget=400_000,
    )
    out = serve(arrivals, settings, seed=seed)
    name = "spec" if drafting else "plain"
    frame = pl.DataFrame(
        {
            "decision_id": [f"{name}-{prompt}-{i}" for i in range(n)],
            "session_id": [f"{name}-{prompt}-s{i // 4}" for i in range(n)],
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "replica": f"{name}-0",
            "tok_output": arrivals.output_tok,
            "spec_drafted": out.spec_drafted,
            "spec_accepted": out.spec_accepted,
            "decode_s": out.decode_s,
            "batch_size": 8.0,
            "x_prompt_tokens": arrivals.prompt_tok,
        }
    )
    steps = engine_steps(out.steps, epoch_s=0.0).with_columns(replica=pl.lit(f"{name}-0"))
    return frame, steps


def engine_log(**settings: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A replica that drafts and one that does not, under the same load."""
    parts = [served(drafting=d, **settings) for d in (True, False)]
    return pl.concat([p[0] for p in parts]), pl.concat([p[1] for p in parts])


def rows(n: int = 400, *, rounds: int = 1, alpha: float = 0.6, seed: int = 0, seconds: float = 0.02):
    """Requests of `rounds` verifications of four drafts each, and as many without drafts, in 40 sessions."""
    rng = np.random.default_rng(seed)
    hits = np.minimum(rng.geometric(1 - alpha, size=(n, rounds)) - 1, 4).sum(axis=1)
    spec = pl.DataFrame(
        {
            "spec_drafted": np.full(n, 4 * rounds),
            "spec_accepted": hits,
            "tok_output": hits + rounds + (rounds > 1),
            "decode_s": np.full(n, seconds * rounds),
        }
    )
    plain = pl.DataFrame(
        {
            "spec_drafted": np.zeros(n, dtype=np.int64),
            "spec_accepted": np.zeros(n, dtype=np.int64),
            "tok_output": np.full(n, 11),
            "decode_s": np.full(n, 0.1),
        }
    )
    both = pl.concat([spec, plain])
    return both.with_columns(
        decision_id=pl.format("d{}", pl.int_range(2 * n)),
        session_id=pl.format("s{}", pl.int_range(2 * n) % 40),
        layer=pl.lit("serving"),
        decision_point=pl.lit("admit"),
        action=pl.lit("admit"),
        batch_size=pl.lit(8.0),
        x_prompt_tokens=pl.lit(500),
    )


def only_cell(frame: pl.DataFrame, times: CellTimes | None = None) -> SpeculationCell:
    """The one cell of a frame, which must be judged."""
    rounds = read_rounds(frame, Config())
    assert not isinstance(rounds, str)
    cells = speculation_cells(rounds, times=None if times is None else {SMALL: times})
    assert list(cells) == [SMALL]
    cell = cells[SMALL]
    assert isinstance(cell, SpeculationCell)
    return cell


def test_the_worked_example_needs_an_acceptance_of_a_third() -> None:
    """Kills a lost term of Tv + g Td or an exponent g: four drafts of .1, a verification of 1.1 -> .34."""
    found = threshold(4, step_s=1.0, verify_s=1.1, draft_s=0.1)
    assert found is not None
    assert round(found, 2) == 0.34
    assert 1 + found + found**2 + found**3 + found**4 == pytest.approx(1.5)
    assert threshold(4, step_s=10.0, verify_s=11.0, draft_s=1.0) == pytest.approx(found)


def test_drafting_that_is_free_always_pays_and_a_dear_one_never_does() -> None:
    """Kills a root outside [0, 1]: the ends of the range are answers of their own."""
    assert threshold(4, step_s=1.0, verify_s=0.9, draft_s=0.0) == 0.0
    assert threshold(4, step_s=1.0, verify_s=5.0, draft_s=0.0) is None
    nearly = threshold(4, step_s=1.0, verify_s=4.5, draft_s=0.0)
    assert nearly is not None
    assert tokens_per_verify(nearly, 4) == pytest.approx(4.5)
    assert tokens_per_verify(1.0, 4) == 5.0
    assert acceptance_of(tokens_per_verify(0.73, 3.4), 3.4) == pytest.approx(0.73)
    with pytest.raises(SchemaError, match="positive seconds"):
        threshold(4, step_s=0.0, verify_s=1.0, draft_s=0.1)


def test_the_acceptance_is_the_maximum_of_the_censored_likelihood() -> None:
    """Kills accepted / drafted, which counts drafts behind a rejection; another optimiser agrees."""
    rng = np.random.default_rng(1)
    accepted = np.minimum(rng.geometric(0.3, size=2000) - 1, 4).astype(float)
    found = censored_acceptance(accepted, np.full(2000, 4.0), np.arange(2000) % 50)
    best = optimize.minimize_scalar(
        lambda a: -(accepted.sum() * np.log(a) + (accepted < 4).sum() * np.log(1 - a)),
        bounds=(0.01, 0.99),
        method="bounded",
    )
    assert found is not None
    assert found.value == pytest.approx(best.x, abs=1e-4)
    assert found.lower < 0.7 < found.upper
    assert abs(accepted.sum() / 8000 - 0.7) > 0.1


def test_rounds_without_a_rejection_have_no_interval() -> None:
    """Kills log(0): all accepted is no rate of exactly 1."""
    assert censored_acceptance(np.full(20, 4.0), np.full(20, 4.0), np.arange(20)) is None


@pytest.mark.parametrize("rounds", [1, 30])
def test_requests_and_single_rounds_give_the_same_acceptance(rounds: int) -> None:
    """Kills a count of rounds that is off by the prompt's own token."""
    cell = only_cell(rows(2000, rounds=rounds, alpha=0.6))
    assert cell.acceptance.value == pytest.approx(0.6, abs=0.03)
    assert cell.acceptance.lower < 0.6 < cell.acceptance.upper
    assert ("single rounds" in cell.method) == (rounds == 1)
    assert cell.needed.value == pytest.approx(2.0)
    assert cell.threshold is not None
    assert tokens_per_verify(cell.threshold.value, 4) == pytest.approx(2.0)


def test_drafts_that_do_not_pay_are_counted_in_tokens_and_seconds() -> None:
    """Kills misallocation of the wrong side: all drafting decisions, their seconds above plain decoding."""
    frame = rows(rounds=30, alpha=0.3)
    cell = only_cell(frame)
    spec = frame.filter(pl.col("spec_drafted") > 0)
    tokens = int((spec["tok_output"] - 1).sum())
    assert cell.verdict == "do not buy"
    assert cell.wrong_tok == tokens
    assert cell.wrong_s == pytest.approx(spec["decode_s"].sum() - tokens * 0.01)
    (price,) = speculation_prices(frame, config=Config())
    assert price.reason is not None
    assert price.reason.startswith("do not buy")


def test_plain_decoding_where_drafts_pay_is_the_other_mistake() -> None:
    """Kills a verdict that only ever stops drafting: plain seconds times the share saved."""
    cell = only_cell(rows(rounds=30, alpha=0.8))
    assert cell.verdict == "buy"
    assert cell.wrong_tok == 400 * 10
    assert cell.wrong_s == pytest.approx(400 * 0.1 * cell.saved.value)


def test_few_decisions_near_the_threshold_are_undecided() -> None:
    """Kills a verdict from the sign of the estimate; nothing is then called misallocated."""
    cell = only_cell(rows(40, alpha=0.52))
    assert cell.verdict == "undecided"
    assert (cell.wrong_tok, cell.wrong_s) == (0.0, 0.0)


def test_stated_times_decide_where_nothing_ran_without_drafts() -> None:
    """Kills a refusal that ignores what the user states, and a statement that is not used."""
    frame = rows(rounds=30).filter(pl.col("spec_drafted") > 0)
    (alone,) = speculation_prices(frame, config=Config())
    assert alone.value is None
    assert alone.reason is not None
    assert "speculation off" in alone.reason
    times = CellTimes(step_s=1.0, verify_s=1.1, draft_s=0.1)
    (price,) = speculation_prices(frame, config=Config(), times={SMALL: times})
    assert price.value == pytest.approx(0.34, abs=0.01)
    assert price.method is not None
    assert "times as stated" in price.method


def test_a_draft_that_can_never_pay_has_no_threshold_but_a_verdict() -> None:
    """Kills a threshold of 1, which perfect drafts would reach."""
    (price,) = speculation_prices(
        rows(rounds=30), config=Config(), times={SMALL: CellTimes(step_s=1.0, verify_s=6.0)}
    )
    assert price.value is None
    assert price.reason is not None
    assert "more than 4.0 drafts can yield" in price.reason
    assert "do not buy" in price.reason


@pytest.mark.parametrize("route", ["decisions", "steps"])
def test_long_contexts_that_still_pay_are_not_told_to_stop(route: str) -> None:
    """Kills a rule on the context alone: fewer are accepted there, but the KV cache makes steps dear."""
    logs = [
        engine_log(prompt=p, accept=0.55, draft_s=5e-4, kv_s=kv, seed=3)
        for p, kv in ((400, 1e-7), (40_000, 1e-7))
    ]
    frame = pl.concat([log[0] for log in logs])
    steps = pl.concat([log[1] for log in logs])
    if route == "steps":
        frame = frame.with_columns(decode_s=pl.lit(None, dtype=pl.Float64))
    prices = speculation_prices(frame, config=Config(), steps=steps if route == "steps" else None)
    said = {p.segment: p for p in prices}
    short, long = said[SMALL], said["batch_size=4-15, context_tok=32768+"]
    for price, verdict in ((short, "do not buy"), (long, "buy")):
        assert price.reason is not None
        assert price.reason.startswith(verdict)
    assert short.value is not None
    assert long.value is not None
    assert long.value < short.value


def test_the_engines_acceptance_and_times_are_recovered() -> None:
    """Kills rounds counted with the prompt's step: alpha .7 and the ratio of the step law are found."""
    frame, _ = engine_log(prompt=400, accept=0.7, draft_s=5e-5, seed=4)
    cell = only_cell(frame)
    truth = 0.7 * np.exp(-450 / 200_000)
    assert cell.acceptance.lower < truth < cell.acceptance.upper
    plain = 0.008 + 8 * 1e-4 + 1e-7 * 8 * 450
    assert cell.needed.value == pytest.approx((plain + 8 * 4 * 5e-5) / plain, rel=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec_drafted": None}, "spec_drafted is not logged"),
        ({"tok_output": None}, "logs spec_accepted and tok_output"),
        ({"spec_accepted": None}, "logs spec_accepted and tok_output"),
        ({"layer": "router"}, "no serving decision"),
    ],
)
def test_a_log_that_lacks_something_is_told_what_to_log(change: dict[str, Any], said: str) -> None:
    """Kills a crash or a silent absence."""
    frame = rows().with_columns(pl.lit(v).alias(k) for k, v in change.items())
    (price,) = speculation_prices(frame, config=Config())
    assert price.value is None
    assert price.reason is not None
    assert said in price.reason


def test_decoding_in_no_time_was_not_measured() -> None:
    """Kills the log of 0 seconds: a clock that stood still says nothing of what a step takes."""
    (price,) = speculation_prices(rows(rounds=5).with_columns(decode_s=pl.lit(0.0)), config=Config())
    assert price.value is None
    assert price.reason is not None
    assert "decode_s" in price.reason


def test_few_clusters_have_no_verdict() -> None:
    """Kills a t interval over three sessions."""
    frame = rows().with_columns(session_id=pl.format("s{}", pl.int_range(pl.len()) % 3))
    (price,) = speculation_prices(frame, config=Config())
    assert price.reason is not None
    assert "3 clusters" in price.reason


@pytest.mark.parametrize(
    "change", [{"spec_accepted": 9}, {"decode_s": -1.0}, {"spec_drafted": -2}, {"tok_output": "many"}]
)
def test_impossible_counts_are_one_clear_error(change: dict[str, Any]) -> None:
    """Kills rates above 1 and negative seconds."""
    with pytest.raises(SchemaError):
        speculation_prices(rows().with_columns(**{k: pl.lit(v) for k, v in change.items()}), config=Config())


def test_row_order_does_not_matter() -> None:
    """Kills sums that depend on the order of the log."""
    frame = rows(rounds=5)
    assert speculation_prices(frame.reverse(), config=Config()) == speculation_prices(frame, config=Config())


def test_steps_that_cannot_be_are_clear_errors() -> None:
    """Kills a KeyError, a ratio over 0 seconds and times that nobody stated."""
    frame, steps = engine_log(prompt=400, accept=0.7, draft_s=5e-5, seed=4)
    with pytest.raises(SchemaError, match="kv_tok"):
        speculation_prices(frame, config=Config(), steps=steps.drop("kv_tok"))
    with pytest.raises(SchemaError, match="step_s"):
        speculation_prices(frame, config=Config(), steps=steps.with_columns(step_s=pl.lit(0.0)))
    with pytest.raises(SchemaError, match="verify_s"):
        CellTimes(step_s=1.0, verify_s=0.0)


def test_steps_of_replicas_that_do_both_say_nothing() -> None:
    """Kills a time with drafts that is half without: the cell is judged by its decisions instead."""
    frame, steps = engine_log(prompt=400, accept=0.7, draft_s=5e-5, seed=4)
    one = frame.with_columns(replica=pl.lit("plain-0"))
    rounds = read_rounds(one, Config())
    assert not isinstance(rounds, str)
    assert step_times(steps, rounds) == {}
    clear = read_rounds(frame, Config())
    assert not isinstance(clear, str)
    assert list(step_times(steps, clear)) == [SMALL]


def test_times_read_off_steps_bring_their_error_along() -> None:
    """Kills times that are taken as known: the error of their ratio is that of the means of twenty
    stretches."""
    frame, steps = engine_log(prompt=400, accept=0.7, draft_s=5e-5, seed=4)
    rounds = read_rounds(frame, Config())
    assert not isinstance(rounds, str)
    times = step_times(steps, rounds)[SMALL]
    assert 1e-4 < times.log_se < 0.02
    cell = only_cell(frame, times)
    half = (np.log(cell.needed.upper) - np.log(cell.needed.lower)) / 2
    assert half == pytest.approx(critical_t(39) * times.log_se, rel=0.02)
    stated = only_cell(frame, replace(times, log_se=0.0))
    assert stated.needed.lower == pytest.approx(stated.needed.upper)
    assert stated.saved.upper - stated.saved.lower < cell.saved.upper - cell.saved.lower
