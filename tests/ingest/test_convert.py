"""Units: one wrong power of ten is a wrong dollar figure, so each conversion is held to a hand-made value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.ingest.convert import (
    as_count,
    as_real,
    as_seconds,
    as_usd,
    input_tokens,
    missing,
    utc_from_epoch,
    utc_from_offset,
    utc_from_text,
)

WHEN = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1700000000.123456, "s"),
        ("1700000000.123456", "s"),
        (1700000000123.456, "ms"),
        (1700000000123456, "us"),
        (1700000000123456789, "ns"),
        ("1700000000123456789", "ns"),
        (Decimal("1700000000.1234569"), "s"),
    ],
)
def test_every_unit_of_an_epoch_gives_the_same_time(value: Any, unit: Any) -> None:
    """Kills a wrong factor, and the loss of microseconds in nanoseconds held as floats."""
    assert utc_from_epoch(value, unit) == WHEN


@pytest.mark.parametrize(
    ("value", "unit"),
    [(1700000000000, "s"), (1700000000, "ms"), (0, "s"), (27, "ms"), ("1e30", "s"), ("9" * 500, "ns")],
)
def test_an_epoch_in_the_wrong_unit_is_refused(value: Any, unit: Any) -> None:
    """Kills years such as 55840 or 1970 that only a wrong unit can give."""
    with pytest.raises(ValueError, match=r"check the unit|not a finite number"):
        utc_from_epoch(value, unit)


@pytest.mark.parametrize("value", [True, None, "soon", float("nan"), float("inf"), "nan", "1e9999999", [1]])
def test_what_is_no_number_is_no_epoch(value: Any) -> None:
    """Kills treating flags as numbers, and arithmetic on texts with giant exponents."""
    with pytest.raises(ValueError, match=r"not a (finite )?number"):
        utc_from_epoch(value, "s")


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2023-11-14T22:13:20.123456Z", WHEN),
        ("2023-11-14 22:13:20.1234569", WHEN),
        ("2023-11-14T23:13:20.123456+01:00", WHEN),
        ("2023-11-14 22:13:20.123456 UTC", WHEN),
        ("2023-11-14", datetime(2023, 11, 14, tzinfo=UTC)),
    ],
)
def test_text_times_are_utc_unless_they_say_otherwise(text: str, when: datetime) -> None:
    """Kills reading naive text in the machine's zone, and failing on 100 ns digits."""
    assert utc_from_text(text) == when


def test_naive_text_is_read_in_the_stated_zone() -> None:
    """Kills ignoring the zone of a mapping, or applying it to text that has its own."""
    zone = ZoneInfo("Europe/Amsterdam")
    assert utc_from_text("2023-07-01T12:00:00", zone=zone) == datetime(2023, 7, 1, 10, tzinfo=UTC)
    assert utc_from_text("2023-07-01T12:00:00Z", zone=zone) == datetime(2023, 7, 1, 12, tzinfo=UTC)
    assert utc_from_text("2023-07-01 12:00:00 UTC", zone=zone) == datetime(2023, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "1700000000", "2023-13-01", "0001-01-01", 5, None])
def test_other_text_is_no_time(text: Any) -> None:
    """Kills guessing a time from what is not one."""
    with pytest.raises(ValueError, match=r"not a time|check the unit"):
        utc_from_text(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_utc_cannot_hold_is_refused(text: str) -> None:
    """Kills an OverflowError, on which a whole file of logs would end."""
    with pytest.raises(ValueError, match=r"is in no year from 1 to 9999"):
        utc_from_text(text)


def test_a_relative_clock_starts_at_the_declared_epoch() -> None:
    """Kills reading an offset as an epoch."""
    assert utc_from_offset(1500, "ms") == datetime(2000, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


def test_inclusive_input_is_split_into_disjoint_parts() -> None:
    """Kills counting cached tokens twice."""
    assert input_tokens(15_235, 9_088, 100, convention="inclusive") == {
        "tok_input_uncached": 6_047,
        "tok_cache_read": 9_088,
        "tok_cache_write": 100,
    }


def test_exclusive_input_is_uncached_as_it_stands() -> None:
    """Kills subtracting the cache from a count that never held it."""
    assert input_tokens("12", 9_088, None, convention="exclusive") == {
        "tok_input_uncached": 12,
        "tok_cache_read": 9_088,
        "tok_cache_write": None,
    }


def test_parts_that_exceed_the_input_prove_the_wrong_convention() -> None:
    """Kills clipping a negative count at zero."""
    with pytest.raises(ValueError, match="the convention looks exclusive"):
        input_tokens(120, 100, 50, convention="inclusive")


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_parts_of_an_inclusive_input_add_up_to_it(uncached: int, read: int, write: int) -> None:
    """Kills any loss of tokens in the split."""
    parts = input_tokens(uncached + read + write, read, write, convention="inclusive")
    assert sum(v or 0 for v in parts.values()) == uncached + read + write


@pytest.mark.parametrize("value", [None, "", " ", "None", "null", "NULL", "-", "{}", "[]", [], {}, ()])
def test_every_spelling_of_nothing_is_missing(value: Any) -> None:
    """Kills an id called 'None' that ties strangers together."""
    assert missing(value) is None


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "nothing", [0]])
def test_zero_and_false_are_not_missing(value: Any) -> None:
    """Kills deciding for the caller that 0 means unknown."""
    assert missing(value) == value


@pytest.mark.parametrize(
    ("value", "count"), [(None, None), (3, 3), (3.0, 3), ("3", 3), ("3.0", 3), ("1e3", 1000)]
)
def test_counts_are_whole_numbers(value: Any, count: int | None) -> None:
    """Kills truncation of text or floats."""
    assert as_count(value) == count


@pytest.mark.parametrize("value", [True, 1.5, -1, "x", float("nan"), 2**63, [3]])
def test_what_is_no_count_is_refused(value: Any) -> None:
    """Kills rounding, flags as counts, and counts that Arrow cannot hold."""
    with pytest.raises(ValueError, match=r"not a"):
        as_count(value)


@pytest.mark.parametrize(("value", "real"), [(None, None), (1, 1.0), ("0.25", 0.25), (Decimal("0.1"), 0.1)])
def test_reals_are_finite_floats(value: Any, real: float | None) -> None:
    """Kills passing Decimals or text on."""
    assert as_real(value) == real


@pytest.mark.parametrize("value", [True, "x", float("inf"), "NaN", 10**400, {}])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    """Kills infinities and overflows that poison every mean."""
    with pytest.raises(ValueError, match=r"not a (finite )?number"):
        as_real(value)


def test_durations_and_money_are_scaled_from_their_unit() -> None:
    """Kills a wrong factor; 0.1 + 0.2 style rounding included."""
    assert as_seconds(1500, "ms") == 1.5
    assert as_seconds("2500000000", "ns") == 2.5
    assert as_seconds(-3, "s") == -3.0
    assert as_usd(300, "usd_micro") == 0.0003
    assert as_usd("12", "cents") == 0.12
    assert as_usd(None, "USD") is None


def test_a_bad_number_names_its_field_when_the_reader_gives_it() -> None:
    """Kills: a quarantine that says 'many' is no number, but not of which field."""
    with pytest.raises(ValueError, match=r"^prompt_tokens: 'many' is not a number"):
        as_count("many", "prompt_tokens")
    with pytest.raises(ValueError, match=r"^cost: nan is not a finite number"):
        as_real(float("nan"), "cost")
