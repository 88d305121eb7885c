"""Regret of the logged policy: honest splits, bounds in dollars, joint totals, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from regrets import MINUTE_US, choice
from scipy import stats
from shadowprice.estimators.learners import ridge
from shadowprice.estimators.regret import asked
from shadowprice.estimators.regret.forward import blocks_of, forward_chain, ranks
from shadowprice.estimators.regret.groups import groups_of, learned
from shadowprice.estimators.regret.regret import Refused, regret_frame
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import REGRET
from worlds import decisions, repeated_contexts_world, router_world, threshold_world

PRICED = parse_config({"prices": {"task_value": "2 USD/task"}})
START_US = 1_793_577_600_000_000


def timed(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a timestamp per row, a minute apart."""
    us = START_US + MINUTE_US * np.arange(frame.height)
    return frame.with_columns(ts=pl.Series(us).cast(pl.Datetime("us", "UTC")))


def whole(frame: pl.DataFrame) -> dict[str, float]:
    """The row of all decision points."""
    return frame.filter(pl.col("layer") == "all").row(0, named=True)


def test_the_bounds_hold_the_truth_where_an_action_is_better() -> None:
    """Kills a bound in dollars per decision, and a gain with its sign turned round."""
    made, truth = choice(n=2000, gain=0.4)
    row = regret_frame([made]).row(0, named=True)
    assert 0 < row["lower_usd"] < truth < row["upper_usd"]
    assert row["lower_usd"] > 0.5 * truth
    assert row["value_usd"] == pytest.approx(truth, rel=0.2)


def test_a_lower_bound_below_zero_is_told_as_it_is() -> None:
    """Kills a bound that is cut off at 0, where it could no longer be told from a small gain."""
    rows = [regret_frame([choice(seed)[0]]).row(0, named=True) for seed in range(8)]
    assert min(r["lower_usd"] for r in rows) < -5.0
    assert all(r["lower_usd"] <= r["value_usd"] <= r["upper_usd"] for r in rows)


def test_a_policy_never_sees_the_block_that_it_is_judged_on() -> None:
    """Kills nuisances, policies or weights that learn from their own or later blocks."""
    made, _ = choice(gain=0.2, spread=0.5)
    (order, _time) = ranks([made])["session_id"]
    block = blocks_of(made, np.array([order[i] for i in made.cluster_ids]))
    last = block == block.max()
    other = made.done.copy()
    other[last, 0] = -other[last, 0] + 3.0
    was, now = (forward_chain(m, block) for m in (made, replace(made, done=other)))
    np.testing.assert_array_equal(was.stake, now.stake)
    np.testing.assert_array_equal(was.gain[~last], now.gain[~last])
    np.testing.assert_array_equal(was.gain[last] != 0, now.gain[last] != 0)
    assert (was.gain[last] != now.gain[last]).any()


def test_blocks_hold_whole_clusters_in_order_of_time() -> None:
    """Kills blocks of decisions, whose policies would be judged on the tenants that taught them."""
    made, _ = choice(n=1200, clusters=60)
    (order, time) = ranks([made])["session_id"]
    block = blocks_of(made, np.array([order[i] for i in made.cluster_ids]))
    assert time
    assert made.clock_us is not None
    per_cluster = {c: set(block[made.cluster == c].tolist()) for c in range(made.clusters)}
    assert all(len(found) == 1 for found in per_cluster.values())
    first = [made.clock_us[made.cluster == c].min() for c in range(made.clusters)]
    in_time = np.argsort(first)
    assert (np.diff([per_cluster[c].copy().pop() for c in in_time]) >= 0).all()
    assert block.max() == 9
    assert np.bincount(block).min() > 60


def test_the_lower_bound_is_that_of_the_formula() -> None:
    """Kills a wrong weight, variance, tail or scale: everything recomputed by loops, without context."""
    made, _ = choice(n=600, actions=2, gain=0.5, clusters=40, context=False)
    (order, _) = ranks([made])["session_id"]
    block = blocks_of(made, np.array([order[i] for i in made.cluster_ids]))
    y, e, took, c = made.done[:, 0], made.chosen, made.took, made.cluster
    gain, weight = np.zeros(made.n), np.zeros(made.n)
    largest = 0.0
    for j in range(1, int(block.max()) + 1):
        past, now = block < j, block == j
        mean = [y[past & took[:, k]].mean() for k in (0, 1)]
        d = np.column_stack([mean[k] + took[:, k] / e * (y - mean[k]) - y for k in (0, 1)])
        best = int(d[past].mean(axis=0).argmax())
        gain[now] = d[now, best]
        centred = d[past, best] - d[past, best].mean()
        sigma = np.sqrt(sum(centred[c[past] == g].sum() ** 2 for g in np.unique(c[past])) / past.sum())
        largest = max(largest, sigma)
        weight[now] = 1 / max(sigma, largest / 4)
    theta = (weight * gain).sum() / weight.sum()
    seen = np.unique(c[weight > 0])
    left = [(weight * gain)[c != g].sum() / weight[c != g].sum() for g in seen]
    se = np.sqrt((seen.size - 1) / seen.size * ((np.array(left) - theta) ** 2).sum())
    share = np.array([weight[c == g].sum() for g in seen]) / weight.sum()
    expected = made.n * (theta - stats.t.isf(0.05, 1 / (share**2).sum() - 1) * se)
    assert regret_frame([made])["lower_usd"][0] == pytest.approx(expected, rel=1e-9)


def test_the_upper_bound_is_the_largest_upper_limit_of_each_decision() -> None:
    """Kills a mean of maxima of estimates, and limits that hold one by one only."""
    made, _ = choice(n=2000, spread=0.5)
    groups = groups_of(made, learned(made).predicted)
    top = np.zeros(made.n)
    for g in groups:
        for i in g.rows.tolist():
            top[i] = max(top[i], g.mean + stats.norm.isf(0.05) * g.se)
    assert regret_frame([made])["upper_usd"][0] > 1.02 * top.sum()
    assert {(g.action, i) for g in groups for i in g.rows.tolist()} == {
        (k, i) for k in range(3) for i in range(made.n)
    }


def test_the_learned_policy_is_judged_by_folds_that_did_not_teach_it() -> None:
    """Kills a policy valued on its own data, which gains .2 where there is nothing to gain."""
    values = [regret_frame([choice(seed, actions=5)[0]])["value_usd"][0] / 1000 for seed in range(30)]
    assert abs(np.mean(values)) < 0.04
    scores = []
    for seed in range(30):
        made = choice(seed, actions=5)[0]
        gains = made.psi[:, :, 0] - made.done[:, :1]
        scores.append(gains[np.arange(made.n), ridge(made.basis, gains, made.basis).argmax(axis=1)].mean())
    assert np.mean(scores) > 0.08


def test_points_that_share_clusters_are_not_taken_for_independent() -> None:
    """Kills a total whose variances are added although one tenant moves both points."""
    one, _ = choice(n=800, clusters=50, gain=0.3)
    twin = replace(one, decision_point="again")
    other = replace(twin, cluster_ids=tuple(f"other-{i}" for i in one.cluster_ids))
    alone = regret_frame([one])["lower_usd"][0]
    assert whole(regret_frame([one, twin]))["lower_usd"] == pytest.approx(2 * alone, rel=1e-9)
    assert whole(regret_frame([one, other]))["lower_usd"] > 2.05 * alone


def test_points_with_other_kinds_of_clusters_may_move_together_in_any_way() -> None:
    """Kills a total that takes tenants and sessions for strangers: they may be the same people."""
    one, _ = choice(n=800, clusters=50, gain=0.3)
    other = replace(one, decision_point="again", cluster_key="tenant_id")
    alone = regret_frame([one])["lower_usd"][0]
    assert whole(regret_frame([one, other]))["lower_usd"] == pytest.approx(2 * alone, rel=1e-9)


def test_the_upper_bound_of_the_total_holds_for_all_points_at_once() -> None:
    """Kills a sum of bounds each of which may fail on its own."""
    made = [choice(seed, point=f"p{seed}")[0] for seed in range(3)]
    frame = regret_frame(made)
    assert whole(frame)["upper_usd"] > frame.filter(pl.col("layer") != "all")["upper_usd"].sum()


def test_without_timestamps_clusters_stand_in_an_order_of_their_ids() -> None:
    """Kills an order of rows, which a sorted export makes anything but random."""
    made, _ = choice(clusters=50, timed=False, gain=0.3)
    flipped = np.arange(made.n)[::-1]
    moved = {
        name: getattr(made, name)[flipped]
        for name in (
            "done",
            "psi",
            "price",
            "took",
            "chosen",
            "offered",
            "basis",
            "weight",
            "cluster",
            "fold",
        )
    }
    a, b = (regret_frame([m]).row(0, named=True) for m in (made, replace(made, **moved)))
    assert a["order"] == "hash"
    assert "for want of timestamps" in a["method"]
    assert a["lower_usd"] == pytest.approx(b["lower_usd"], rel=1e-6)


@pytest.mark.parametrize(
    ("frame", "config", "reason"),
    [
        (router_world(n=400).frame, Config(), "no task value is set"),
        (decisions(100, action=["only"] * 100, quality=[1.0] * 100), PRICED, "only one action"),
        (threshold_world(n=600), PRICED, "a rule makes the choice"),
        (repeated_contexts_world(), PRICED, "within repeated contexts"),
        (router_world(n=400, clusters=6).frame, PRICED, "clusters"),
    ],
)
def test_what_cannot_be_known_is_refused_with_the_reason(
    frame: pl.DataFrame, config: Config, reason: str
) -> None:
    """Kills a refusal that becomes a zero, an error or a missing row."""
    (row,) = sp.regret(timed(frame), config=config).to_dicts()
    assert row["value_usd"] is None
    assert row["lower_usd"] is None
    assert reason in row["reason"]
    assert row["grade"] == "N"


def test_too_few_blocks_of_clusters_are_refused() -> None:
    """Kills a policy that is learned and judged on a handful of tenants."""
    made, _ = choice(n=400, clusters=4)
    found = regret_frame([made, Refused(layer="a", decision_point="b", n=3, decisions=3.0, reason="none")])
    assert found["reason"].to_list() == [
        "too few to learn from earlier decisions and judge on later ones: 4 blocks of clusters; 5 are needed",
        "none",
    ]
    assert found["left_out"].to_list() == [400.0, 3.0]


def test_what_it_costs_and_what_is_sampled_scale_the_dollars() -> None:
    """Kills weights that are dropped, and a V or a cost that is left out of the sum."""
    frame = timed(router_world(n=900, gain=0.2).frame)
    base = whole(sp.regret(frame, config=PRICED))
    half = whole(sp.regret(frame.with_columns(keep_prob=pl.lit(0.5)), config=PRICED))
    assert half["decisions"] == pytest.approx(2 * base["decisions"])
    assert half["value_usd"] == pytest.approx(2 * base["value_usd"], rel=1e-6)
    twice = parse_config({"prices": {"task_value": "4 USD/task"}})
    dear = whole(sp.regret(frame.with_columns(pl.col("cost_usd") * 2), config=twice))
    assert dear["lower_usd"] == pytest.approx(2 * base["lower_usd"], rel=1e-6)
    assert dear["upper_usd"] == pytest.approx(2 * base["upper_usd"], rel=1e-6)
    assert dear["spend_usd"] == pytest.approx(2 * base["spend_usd"], rel=1e-6)


def test_what_the_better_policy_spends_more_is_told() -> None:
    """Kills a change of spend that is the gain, or has its sign turned round: the dear model is better."""
    row = whole(sp.regret(timed(router_world(n=900, gain=0.2).frame), config=PRICED))
    assert 0 < row["spend_lower"] < row["spend_usd"] < row["spend_upper"]
    assert row["spend_usd"] < 0.05 * 900


def test_estimates_hold_the_same_rows_as_asked_for_alone() -> None:
    """Kills a second arithmetic in the audit."""
    frame = timed(router_world(n=700, gain=0.2).frame)
    est = sp.estimate(frame, config=PRICED, seed=3)
    assert est.regret.schema == pl.Schema(REGRET)
    assert est.regret.equals(sp.regret(frame, config=PRICED, seed=3))


def test_a_large_log_is_sampled_and_speaks_for_all_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Kills a sample whose dollars are those of the sample."""
    frame = timed(router_world(n=3000, gain=0.2).frame)
    full = whole(sp.regret(frame, config=PRICED))
    monkeypatch.setattr(asked, "MOST", 1500)
    ledger = tmp_path_factory.mktemp("run") / "ledger.parquet"
    part = whole(sp.estimate(frame, config=PRICED, ledger=ledger).regret)
    assert part["n"] < 1700
    assert part["decisions"] == pytest.approx(full["decisions"], rel=0.1)
    assert part["lower_usd"] < full["value_usd"] < part["upper_usd"]


def test_labels_that_are_missing_do_not_move_the_value() -> None:
    """Kills failures that count as missing, or missing ones that count as failures."""
    frame = timed(router_world(n=3000, gain=0.2).frame)
    seen = np.random.default_rng(0).random(3000) < 0.5
    labelled = frame.with_columns(
        quality=pl.when(pl.Series(seen)).then("quality"),
        label_prob=pl.lit(0.5),
        quality_observed=pl.Series(seen),
    )
    full, part = (whole(sp.regret(f, config=PRICED)) for f in (frame, labelled))
    assert part["value_usd"] == pytest.approx(full["value_usd"], rel=0.3)
    assert part["upper_usd"] > full["upper_usd"]
