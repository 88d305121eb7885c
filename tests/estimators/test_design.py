"""Context as matrices: what becomes a column, what is left out, and what is said about it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.design import make_design


def frame(n: int = 200, seed: int = 0) -> pl.DataFrame:
    """A number with gaps, a flag, a text with rare levels, an id and a constant."""
    rng = np.random.default_rng(seed)
    kinds = ["chat"] * 120 + ["code"] * 60 + [f"odd{i}" for i in range(n - 180)]
    return pl.DataFrame(
        {
            "x_size": pl.Series(rng.normal(size=n)).set(pl.Series(np.arange(n) < 20), None),
            "x_flag": rng.random(n) < 0.5,
            "x_kind": rng.permutation(kinds),
            "x_prompt": [f"prompt {i}" for i in range(n)],
            "x_constant": 3.0,
        }
    )


def test_a_text_with_a_level_per_row_is_dropped_and_named() -> None:
    """Kills one column per row, which would predict every choice from its id."""
    design = make_design(frame(), ("x_prompt", "x_size"))
    assert design.dropped == ("x_prompt",)
    assert design.raw.shape == (200, 1)


def test_a_text_with_few_levels_in_a_short_log_is_kept() -> None:
    """Kills dropping a real category because the log is short."""
    short = pl.DataFrame({"x_kind": ["a", "b", "c", "d", "e", "f"]})
    assert make_design(short, ("x_kind",)).dropped == ()


def test_a_missing_number_has_an_indicator_of_its_own() -> None:
    """Kills imputing in silence: missing rows must be tellable from rows at the median."""
    design = make_design(frame(), ("x_size",))
    missing = np.arange(200) < 20
    matches = [abs(np.corrcoef(column, missing)[0, 1]) > 1 - 1e-12 for column in design.linear.T]
    assert sum(matches) == 1
    assert np.array_equal(np.isnan(design.raw[:, 0]), missing)


def test_a_number_without_gaps_has_no_indicator() -> None:
    """Kills an indicator column that is constant."""
    full = frame().with_columns(pl.col("x_size").fill_null(0.0))
    assert (
        make_design(full, ("x_size",)).linear.shape[1]
        == make_design(frame(), ("x_size",)).linear.shape[1] - 1
    )


def test_nan_counts_as_missing_like_null() -> None:
    """Kills NaN spreading through the standardised basis."""
    with_nan = frame().with_columns(pl.col("x_size").fill_null(float("nan")))
    assert np.array_equal(make_design(with_nan, ("x_size",)).linear, make_design(frame(), ("x_size",)).linear)


def test_rare_levels_share_one_column() -> None:
    """Kills a column for each level seen fewer than ten times."""
    design = make_design(frame(), ("x_kind",))
    assert design.linear.shape[1] == 3  # chat, code, the rest
    rare = frame()["x_kind"].str.starts_with("odd").to_numpy()
    assert np.unique(design.raw[rare, 0]).size == 1
    assert not np.isin(design.raw[~rare, 0], design.raw[rare, 0]).any()


def test_a_missing_text_is_a_level_like_any_other() -> None:
    """Kills merging 'not logged' with the rare levels."""
    texts = ["chat"] * 30 + [None] * 30 + ["a", "b", "c"]
    design = make_design(pl.DataFrame({"x_kind": texts}, schema={"x_kind": pl.String}), ("x_kind",))
    assert design.linear.shape[1] == 3
    assert np.unique(design.raw[30:60, 0]).size == 1
    assert design.raw[30, 0] not in design.raw[60:, 0]


def test_a_categorical_column_is_read_like_text() -> None:
    """Kills treating a dictionary-encoded column by the order of its dictionary."""
    as_text = make_design(frame(), ("x_kind",))
    encoded = make_design(frame().with_columns(pl.col("x_kind").cast(pl.Categorical)), ("x_kind",))
    assert np.array_equal(as_text.raw, encoded.raw)


def test_trees_are_told_which_columns_are_categories() -> None:
    """Kills codes of a category being split like a number."""
    assert make_design(frame(), ("x_flag", "x_kind", "x_size")).categorical == (False, True, False)


def test_columns_of_the_linear_basis_are_standardised_and_never_constant() -> None:
    """Kills a penalty that depends on units, and a division by a zero scale."""
    linear = make_design(frame(), ("x_constant", "x_flag", "x_kind", "x_size")).linear
    assert linear.mean(axis=0) == pytest.approx(np.zeros(linear.shape[1]), abs=1e-12)
    assert linear.std(axis=0) == pytest.approx(np.ones(linear.shape[1]))


def test_the_basis_bends_so_that_a_curve_can_be_followed() -> None:
    """Kills a basis that is only linear: |x| is far from a line."""
    x = np.linspace(-1, 1, 200)
    linear = make_design(pl.DataFrame({"x_a": x}), ("x_a",)).linear
    basis = np.column_stack([np.ones(200), linear])
    fitted = basis @ np.linalg.lstsq(basis, np.abs(x), rcond=None)[0]
    assert np.abs(fitted - np.abs(x)).max() < 0.15


def test_units_of_a_feature_do_not_matter() -> None:
    """Kills knots or scales that are not carried along with the unit."""
    scaled = frame().with_columns(pl.col("x_size") * 1000.0 + 7.0)
    assert make_design(scaled, ("x_size",)).linear == pytest.approx(
        make_design(frame(), ("x_size",)).linear, abs=1e-9
    )


def test_no_features_make_empty_matrices() -> None:
    """Kills an error where nothing is known about the context."""
    design = make_design(frame(), ())
    assert (design.linear.shape, design.raw.shape) == ((200, 0), (200, 0))
