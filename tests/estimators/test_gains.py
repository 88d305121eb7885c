"""Dollars added over clusters: the jackknife by hand, and contrasts that share clusters."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.gains import Total, total_gain


def gains(seed: int = 0, clusters: int = 25, *, action: str = "large", offset: int = 0) -> pl.DataFrame:
    """Dollars and moved decisions of one contrast in clusters of unequal size."""
    rng = np.random.default_rng(seed)
    moved = rng.uniform(1.0, 9.0, size=clusters)
    return pl.DataFrame(
        {
            "layer": "router",
            "decision_point": "model",
            "segment": "all",
            "action": action,
            "baseline": "small",
            "direction": "over",
            "cluster": [f"s{i + offset}" for i in range(clusters)],
            "usd": moved * rng.normal(0.4, 0.3, size=clusters),
            "decisions": moved,
        }
    )


def total(frame: pl.DataFrame) -> Total:
    """The total of `frame`, which must exist."""
    found = total_gain(frame)
    assert found is not None
    return found


def by_hand(frames: list[pl.DataFrame]) -> tuple[float, float]:
    """Dollars and standard error: every cluster left out in turn from every contrast."""
    ids = sorted(set().union(*(f["cluster"] for f in frames)))

    def dollars(without: str | None) -> float:
        out = 0.0
        for frame in frames:
            kept = frame.filter(pl.col("cluster") != without) if without else frame
            out += kept["usd"].sum() / kept["decisions"].sum() * frame["decisions"].sum()
        return out

    whole = dollars(None)
    squares = sum((dollars(g) - whole) ** 2 for g in ids)
    return whole, math.sqrt((len(ids) - 1) / len(ids) * squares)


def test_the_total_equals_a_jackknife_by_hand() -> None:
    """Kills a wrong factor, a sum instead of a ratio, or leverage that is forgotten."""
    frame = gains()
    usd, se = by_hand([frame])
    got = total(frame)
    assert got.usd == pytest.approx(usd)
    assert got.usd == pytest.approx(frame["usd"].sum())
    assert got.se == pytest.approx(se)
    assert got.decisions == pytest.approx(frame["decisions"].sum())
    shares = frame["decisions"] / frame["decisions"].sum()
    assert got.df == pytest.approx(1 / (shares**2).sum() - 1)
    assert got.upper - got.usd == pytest.approx(critical_t(got.df) * se)


def test_two_contrasts_that_share_clusters_are_not_taken_for_independent() -> None:
    """Kills adding variances: the same dollars counted twice have twice the error, not 1.4 times."""
    one, same = gains(), gains(action="huge")
    both = total(pl.concat([one, same]))
    assert both.se == pytest.approx(by_hand([one, same])[1])
    assert both.se == pytest.approx(2 * total(one).se)


def test_two_contrasts_on_different_clusters_are_independent() -> None:
    """Kills adding standard errors where nothing is shared."""
    one, other = gains(), gains(seed=1, action="huge", offset=100)
    both = total(pl.concat([one, other]))
    usd, se = by_hand([one, other])
    assert (both.usd, both.se) == (pytest.approx(usd), pytest.approx(se))
    assert both.clusters == 50
    assert both.se == pytest.approx(math.hypot(total(one).se, total(other).se), rel=0.03)  # up to (G-1)/G


def test_segments_of_one_contrast_have_their_own_ratio() -> None:
    """Kills pooling the ratio of two segments with different gains per decision."""
    chat, code = (gains(seed=s).with_columns(segment=pl.lit(n)) for s, n in ((0, "chat"), (1, "code")))
    assert total(pl.concat([chat, code])).se == pytest.approx(by_hand([chat, code])[1])


def test_row_order_and_split_rows_do_not_matter() -> None:
    """Kills counting a cluster that arrives in two parts as two clusters."""
    frame = gains()
    halves = frame.with_columns(pl.col("usd", "decisions") / 2)
    again = total(pl.concat([halves, halves]).sample(fraction=1.0, shuffle=True, seed=1))
    whole = total(frame)
    for name in ("usd", "se", "df", "lower", "upper", "decisions"):
        assert getattr(again, name) == pytest.approx(getattr(whole, name))


def test_dollars_scale_everything_that_is_in_dollars() -> None:
    """Kills a unit hidden in the formula."""
    cents = total(gains().with_columns(pl.col("usd") * 100))
    dollars = total(gains())
    for name in ("usd", "se", "lower", "upper"):
        assert getattr(cents, name) == pytest.approx(100 * getattr(dollars, name))
    assert cents.df == pytest.approx(dollars.df)


def test_the_p_value_is_against_the_materiality() -> None:
    """Kills testing against 0 where a threshold was asked for."""
    got = total(gains())
    assert got.p_value(got.usd) == pytest.approx(0.5)
    assert got.p_value() < got.p_value(got.usd / 2) < 0.5


@pytest.mark.parametrize("frame", [gains().clear(), gains(clusters=1)])
def test_without_two_clusters_there_is_no_total(frame: pl.DataFrame) -> None:
    """Kills an interval of width 0, or a division by zero."""
    assert total_gain(frame) is None


def test_a_contrast_that_lives_in_one_cluster_has_no_total() -> None:
    """Kills an infinite standard error that is shown as a number."""
    assert total_gain(pl.concat([gains(), gains(clusters=1, action="huge")])) is None


def test_clusters_of_another_kind_add_their_variance_with_the_degrees_of_welch() -> None:
    """Kills one factor (G - 1) / G over tenants and updates together, and clusters matched by their name."""
    tenants, updates = gains(seed=0, clusters=25), gains(seed=1, clusters=8, action="keep")
    both = total_gain(tenants, updates)
    one, two = total(tenants), total(updates)
    assert both is not None
    assert both.usd == pytest.approx(one.usd + two.usd)
    assert both.se == pytest.approx(math.hypot(one.se, two.se))
    assert both.df == pytest.approx(both.se**4 / (one.se**4 / one.df + two.se**4 / two.df))
    assert (both.lower, both.clusters) == (pytest.approx(both.usd - critical_t(both.df) * both.se), 33)


def test_a_frame_without_rows_changes_nothing_and_one_without_an_interval_everything() -> None:
    """Kills a total that leaves out the part it cannot judge."""
    assert total_gain(gains(), gains().clear()) == total(gains())
    assert total_gain(gains(), gains(clusters=1, action="keep")) is None
