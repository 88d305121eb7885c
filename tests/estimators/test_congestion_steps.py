"""Step logs: the law behind them, the limits that show in them, and what they cannot say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from congested import EPOCH_S, load, logs, requests_of
from paths import shared_data
from shadowprice.errors import SchemaError
from shadowprice.estimators.congestion.step_law import TERMS, StepLaw, fit_step_law
from shadowprice.estimators.congestion.step_log import (
    StepLog,
    attention_pairs,
    between,
    find_limits,
    read_steps,
)
from shadowprice.ingest.simulator.engine import EngineSettings

START_US = EPOCH_S * 1_000_000


def log_of(settings: EngineSettings, *, per_s: float = 2.0, n: int = 900) -> tuple[StepLog, pl.DataFrame]:
    frame, steps = logs(load(n, per_s=per_s), settings)
    found = read_steps(steps, requests_of(frame).start_us)
    assert not isinstance(found, str)
    return found["vllm-0"], frame


def made_up(n: int = 400, *, noise: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Steps of .01 + 2e-5 prefill + 3e-4 decode + 1e-7 kv."""
    rng = np.random.default_rng(seed)
    prefill = np.where(rng.random(n) < 0.3, rng.integers(1, 2_000, n), 0)
    decode, kv = rng.integers(0, 40, n), rng.integers(0, 100_000, n)
    took = 0.01 + 2e-5 * prefill + 3e-4 * decode + 1e-7 * kv
    return pl.DataFrame(
        {
            "step_s": took * np.exp(noise * rng.normal(size=n)),
            "prefill_tok": prefill,
            "decode_seqs": decode,
            "kv_tok": kv,
        }
    )


def test_the_law_of_a_noisy_engine_is_recovered_within_its_errors() -> None:
    """Kills: tokens of attention counted for the wrong step, and errors that promise too much.

    The true attention term is small, so a law that mistakes it gets the prompt's time wrong by 6 %.
    """
    settings = EngineSettings()
    log, frame = log_of(settings)
    law = fit_step_law(log.steps, replica="vllm-0", pairs=attention_pairs(log, requests_of(frame)))
    assert law.rate is not None
    assert (law.r2 or 0) > 0.98
    for name, error in zip(TERMS, law.errors, strict=True):
        assert error is not None
        assert abs(getattr(law.rate, name) - getattr(settings, name)) < 5 * error
        assert error < 0.05 * getattr(settings, name)


def test_exact_steps_give_the_exact_law_however_small_beside_others_a_step_is() -> None:
    """Kills: a scaled solver that loses small coefficients, an intercept left out."""
    law = fit_step_law(made_up(), replica="r")
    assert law.rate is not None
    assert law.rate.base_s == pytest.approx(0.01, rel=1e-6)
    assert law.rate.prefill_s == pytest.approx(2e-5, rel=1e-6)
    assert law.rate.decode_s == pytest.approx(3e-4, rel=1e-6)
    assert law.rate.kv_s == pytest.approx(1e-7, rel=1e-6)
    assert law.rate.attention_s == 0.0
    assert law.errors[-1] is None
    assert "R2 1.000, 400 steps" in str(law)


def test_errors_are_newey_west_as_statsmodels_has_them() -> None:
    """Kills: weights other than Bartlett's, scores without weights, a small-sample factor.

    The weighted regression is given to statsmodels as ordinary least squares of weighted rows.
    """
    frame = made_up(600, noise=0.1, seed=2)
    law = fit_step_law(frame, replica="r")
    assert law.rate is not None
    x = np.column_stack([np.ones(600), frame["prefill_tok"], frame["decode_seqs"], frame["kv_tok"]])
    y = frame["step_s"].to_numpy()
    fitted = y
    for _ in range(4):
        weight = 1 / np.maximum(fitted, np.quantile(y, 0.01))
        result = sm.OLS(y * weight, x * weight[:, None]).fit()
        fitted = x @ result.params
    robust = result.get_robustcov_results("HAC", maxlags=law.lags, use_correction=False)
    assert [getattr(law.rate, name) for name in TERMS[:4]] == pytest.approx(result.params, rel=1e-6)
    assert law.errors[:4] == pytest.approx(robust.bse, rel=1e-5)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (made_up().drop("kv_tok"), "kv_tok of steps is not logged"),
        (
            made_up().with_columns(decode_seqs=pl.lit(None, dtype=pl.Int64)),
            "decode_seqs of steps is not logged",
        ),
        (made_up(60), "60 complete steps; 100 are needed"),
        (made_up().with_columns(step_s=pl.lit(0.02)), "all steps look alike"),
        (
            made_up().with_columns(step_s=pl.Series(np.random.default_rng(0).exponential(0.02, 400))),
            "of the step times; 90% are needed",
        ),
    ],
)
def test_steps_that_no_law_explains_are_refused_with_what_to_log(frame: pl.DataFrame, said: str) -> None:
    """Kills: a law of averages or of half the columns, on which a replay would run all the same."""
    law = fit_step_law(frame, replica="r")
    assert law.rate is None
    assert law.reason is not None
    assert said in law.reason
    assert "log for every step" in law.reason or "not logged" in law.reason
    assert "no step-time law" in str(law)


def test_the_measured_engine_of_splitwise_decodes_in_45_ms_and_reads_512_tokens_in_95() -> None:
    """Kills: a fit by absolute errors, in which prompts of seconds leave decode steps a time of about 0.

    DATA.md names 96 ms for a prompt of 512 and 45 to 71 ms for a token of batches of 1 to 64.
    """
    table = pl.read_csv(shared_data("splitwise_perf_model") / "perf_model.csv").filter(
        (pl.col("model") == "llama2-70b")
        & (pl.col("hardware") == "a100-80gb")
        & (pl.col("tensor_parallel") == 8)
        & (pl.col("prompt_size") * pl.col("batch_size") <= 2048)
    )
    tokens = table["prompt_size"] * table["batch_size"]
    none = pl.zeros(table.height, dtype=pl.Int64, eager=True)
    prompts = pl.DataFrame(
        {"step_s": table["prompt_time"] / 1e3, "prefill_tok": tokens, "decode_seqs": none, "kv_tok": tokens}
    )
    decodes = pl.DataFrame(
        {
            "step_s": table["token_time"] / 1e3,
            "prefill_tok": none,
            "decode_seqs": table["batch_size"],
            "kv_tok": tokens,
        }
    )
    law: StepLaw = fit_step_law(pl.concat([prompts, decodes]), replica="engine")
    assert law.rate is not None
    assert 0.040 < law.rate.base_s + law.rate.decode_s < 0.047
    assert 0.085 < law.rate.base_s + 512 * law.rate.prefill_s < 0.115


def test_limits_are_read_off_the_steps_in_which_requests_waited() -> None:
    """Kills: a cap taken from a log in which nothing was ever full, and one that binds but is not found."""
    roomy, _ = log_of(EngineSettings(kv_cap=1_000_000), per_s=0.3, n=300)
    assert find_limits(roomy).kv_cap is None
    assert find_limits(roomy).max_seqs is None
    assert find_limits(roomy).token_budget == 2048
    full, _ = log_of(EngineSettings(kv_cap=50_000), per_s=2.5)
    found = find_limits(full)
    assert 49_000 < (found.kv_cap or 0) <= 50_000
    assert 48_500 < (found.kv_admit or 0) <= 50_000
    assert found.max_seqs is None
    seated, _ = log_of(EngineSettings(max_seqs=5), per_s=2.5)
    assert find_limits(seated).max_seqs == 5


def test_without_the_numbers_running_and_waiting_only_the_budget_is_known() -> None:
    """Kills: limits made up from columns that are null."""
    log, _ = log_of(EngineSettings(kv_cap=50_000), per_s=2.5, n=300)
    less = replace(log, steps=log.steps.with_columns(waiting=pl.lit(None, dtype=pl.Int64)))
    assert find_limits(less).token_budget == 2048
    assert find_limits(less).kv_cap is None
    none = replace(log, steps=log.steps.drop("prefill_tok"))
    assert find_limits(none).token_budget is None


def test_attention_of_a_prompt_in_chunks_counts_the_tokens_before_each_chunk() -> None:
    """Kills: tokens counted from the start of every chunk, cached ones forgotten, a wrong busy period.

    Request 0 (300 tokens, 100 cached) takes steps of 150 and 50; request 1 (80) shares the second step; after
    a pause request 2 (40) opens a new period.
    """
    frame, _ = logs(load(60, per_s=1.0), EngineSettings())
    three = requests_of(frame).rows(np.arange(3))
    given = replace(
        three,
        time_s=np.array([0.0, 0.1, 9.0]),
        prompt=np.array([300, 80, 40]),
        cached=np.array([100, 0, 0]),
    )
    start = np.array([0.0, 0.2, 9.0])
    steps = pl.DataFrame({"prefill_tok": [150, 130, 40]})
    log = StepLog(replica="r", steps=steps, start_s=start, end_s=start + 0.2)
    found = attention_pairs(log, given)
    assert found is not None
    expected = [150 * (100 + 75), 50 * (250 + 25) + 80 * 40, 40 * 20]
    assert found.tolist() == pytest.approx(expected)
    lost = replace(log, steps=pl.DataFrame({"prefill_tok": [150, 130, 90]}))
    partly = attention_pairs(lost, given)
    assert partly is not None
    assert np.isnan(partly).tolist() == [False, False, True]
    assert attention_pairs(replace(log, steps=pl.DataFrame({"prefill_tok": [15, 13, 9]})), given) is None


def test_steps_of_another_time_are_left_out() -> None:
    """Kills: a stretch of requests matched with the steps of all."""
    log, _ = log_of(EngineSettings(), n=300)
    part = between(log, 10.0, 40.0)
    assert 0 < part.steps.height < log.steps.height
    assert part.steps.height == part.start_s.size == part.end_s.size
    assert part.end_s.min() >= 10.0
    assert part.end_s.max() <= 40.0


def two_steps(**changes: object) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "replica": ["a", "a"],
            "ts": pl.Series([START_US + 1_000_000, START_US + 1_500_000]).cast(pl.Datetime("us", "UTC")),
            "step_s": [0.4, 0.4],
            "prefill_tok": [5, 5],
        }
    )
    return frame.with_columns(**{name: pl.Series(value) for name, value in changes.items()})


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (None, "no engine steps are logged"),
        (two_steps().clear(), "no engine steps are logged"),
        (two_steps(step_s=[None, None]), "no engine step has both its end"),
        (two_steps().drop("ts"), "no engine step has both its end"),
        (two_steps(step_s=[0.4, 1.2]), "clocks out of order: 1 of 2 steps of replica a begin before"),
    ],
)
def test_logs_without_usable_steps_say_why(steps: pl.DataFrame | None, said: str) -> None:
    """Kills: a law fitted to steps that overlap, and a crash for a log without any."""
    found = read_steps(steps, START_US)
    assert isinstance(found, str)
    assert said in found


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (two_steps(step_s=[0.4, -0.1]), "step_s is -0.1 in row 1"),
        (two_steps(prefill_tok=[5, -5]), "prefill_tok is -5 in row 1"),
        (two_steps(step_s=[0.4, np.inf]), "step_s is inf"),
        (two_steps(ts=["noon", "one"]), "ts has type String"),
        (two_steps().drop("replica"), "column 'replica' is missing"),
    ],
)
def test_steps_that_cannot_be_are_an_error_with_the_row(steps: pl.DataFrame, said: str) -> None:
    """Kills: a step of negative time that shortens every replay."""
    with pytest.raises(SchemaError, match="engine_steps") as error:
        read_steps(steps, START_US)
    assert said in str(error.value)
