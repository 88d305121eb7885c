"""Number formats: no figure loses its unit, its sign or its size."""

from __future__ import annotations

import math

import pytest
from shadowprice.reports import numbers as fmt
from shadowprice.reports.escape import markdown, short, visible


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6400.4, "$6,400"),
        (-148.2, "−$148"),
        (3.1, "$3.10"),
        (0.085, "$0.085"),
        (0.00042, "$0.00042"),
        (0.0, "$0.00"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_dollars_keep_their_size(value: float | None, text: str) -> None:
    """Kills rounding a small price to $0.00 and showing nan."""
    assert fmt.usd(value) == text


def test_effects_carry_sign_and_unit() -> None:
    """Kills a quality in [0, 1] shown as points, and a lost unit."""
    assert fmt.quantity("quality", -0.003) == "−0.3 pt"
    assert fmt.quantity("cost", 0.085) == "+$0.085"
    assert fmt.quantity("latency", 1.25) == "+1.25 s"
    assert fmt.quantity("risk", -0.0005) == "−0.5 per 1,000"
    assert fmt.quantity_interval("quality", -0.003, 0.005) == "[−0.3, +0.5]"


def test_a_share_never_rounds_to_none_or_all() -> None:
    """Kills '0 %' of something and '100 %' of almost everything."""
    assert fmt.share(0.004) == "< 1 %"
    assert fmt.share(0.996) == "> 99 %"
    assert fmt.share(0.0) == "0 %"
    assert fmt.share(1.0) == "100 %"


def test_probabilities_and_windows_read_well() -> None:
    """Kills '0.000' for a small p and a window of the wrong length."""
    assert fmt.probability(0.0001) == "< .001"
    assert fmt.probability(0.0314) == ".031"
    assert fmt.probability(1.0) == "1.000"
    assert fmt.window_days("2026-11-01T00:00:00+00:00", "2026-11-22T12:00:00+00:00") == 21.5
    assert fmt.window_days(None, None) is None


def test_hidden_characters_are_spelled_and_long_names_cut() -> None:
    """Kills escaping that misses tags, joiners or surrogates."""
    assert visible("a\u202eb\x1b\u200d\U000e0041") == "a⟨U+202E⟩b⟨U+001B⟩⟨U+200D⟩⟨U+E0041⟩"
    assert visible("grün 模型 🙂") == "grün 模型 🙂"
    assert short("x" * 130) == "x" * 120 + "… (10 more characters)"
    assert markdown("a|b<c>&`*_") == "a\\|b&lt;c&gt;&amp;\\`\\*\\_"
    assert markdown("@a https://b www.c") == "\\[@\\]a https\\[:\\]//b www\\[.\\]c"
    assert markdown("two\nlines") == "two⟨U+000A⟩lines"
