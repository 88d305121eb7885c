"""Data with known answers: the NSW experiment, NHEFS, and the ten designs of the ACIC 2016 competition.

Outcomes that are no quality in [0, 1] enter as costs; a constant added to make them positive leaves every
contrast as it is. Data: PyPI `causaldata` 0.1.5 and `causallib` 0.10.0.
"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
import shadowprice as sp

causaldata = pytest.importorskip("causaldata", reason="causaldata carries NSW and NHEFS")
Columns = dict[str, object]


def log(took: np.ndarray, outcome: np.ndarray, **columns: object) -> pl.DataFrame:
    """A decision point that chose between treating and not."""
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:05d}" for i in range(took.size)],
            "layer": "router",
            "decision_point": "model",
            "action": np.where(took, "treat", "not"),
            "cost_usd": outcome - min(float(outcome.min()), 0.0),
            **columns,
        }
    )


def found(frame: pl.DataFrame, estimand: str) -> sp.Estimate:
    """The contrast in the outcome."""
    (estimate,) = sp.estimate(frame, "not").where(quantity="cost", segment="all", estimand=estimand)
    return estimate


def half(estimate: sp.Estimate) -> float:
    """Half the width of the interval."""
    assert estimate.lower is not None
    assert estimate.upper is not None
    return (estimate.upper - estimate.lower) / 2


def test_the_nsw_experiment_gives_its_difference_of_means_and_standard_error() -> None:
    """Kills: a score that is not centred, a variance that is not Neyman's. Published: 1794.34, SE 671.0;
    means fitted out of fold move the value by up to 4 % of its SE, which depends on the fold of each id."""
    data = causaldata.nsw_mixtape.load_pandas().data
    took = data["treat"].to_numpy().astype(bool)
    share = took.mean()
    frame = log(took, data["re78"].to_numpy(float), propensity=np.where(took, share, 1 - share))
    ate = found(frame, "ATE")
    assert ate.value == pytest.approx(1794.34, abs=25)
    assert half(ate) / 1.96 == pytest.approx(671.0, rel=0.02)
    assert ate.grade == "A"


def test_nhefs_is_adjusted_as_published() -> None:
    """Kills: no adjustment (the crude difference is 2.541). Published with parametric models: IPW 3.4405,
    standardisation 3.517, AIPW 3.457 with SE .489; splines and calibrated logits differ by a part of it."""
    data = causaldata.nhefs_complete.load_pandas().data
    data = data[data["wt82_71"].notna()]
    took = data["qsmk"].astype(int).to_numpy().astype(bool)
    context: Columns = {
        f"x_{name}": data[name].astype(str).to_numpy()
        for name in ("sex", "race", "education", "exercise", "active")
    }
    context |= {
        f"x_{name}": data[name].to_numpy(float) for name in ("age", "smokeintensity", "smokeyrs", "wt71")
    }
    gain = data["wt82_71"].to_numpy(float)
    assert gain[took].mean() - gain[~took].mean() == pytest.approx(2.541, abs=1e-3)
    frame = log(took, gain, **context)
    ato, ate = found(frame, "ATO"), found(frame, "ATE")
    assert ato.value == pytest.approx(3.457, abs=0.5 * 0.489)
    assert half(ato) / 1.96 == pytest.approx(0.489, rel=0.1)
    assert ate.value == pytest.approx(3.457, abs=0.489)
    assert abs(float(ate.value or 0.0) - 3.457) < half(ate)


@pytest.mark.slow
@pytest.mark.parametrize("design", [1, 2, 3, 7, 8])
def test_acic_designs_are_covered_where_means_mislead(design: int) -> None:
    """Kills: adjustment that breaks with 79 features. Both potential outcomes are in the data, so the truth
    is their mean difference. With 95 % coverage all five hold it with probability .77; all ten designs were
    run once and held, so a miss here is a change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # causallib reads its files the old way
        datasets = pytest.importorskip("causallib.datasets", reason="causallib carries ACIC 2016")
        data = datasets.load_acic16(instance=design)
    took = data.a.to_numpy().astype(bool)
    both = data.po.to_numpy(float)
    truth = float((both[:, 1] - both[:, 0]).mean())
    context: Columns = {f"x_{name}": data.X[name].to_numpy(float) for name in data.X.columns}
    ate = found(log(took, data.y.to_numpy(float), **context), "ATE")
    assert ate.lower is not None
    assert ate.upper is not None
    assert ate.lower <= truth <= ate.upper
    assert half(ate) < 0.6
