"""Foreign units to ours, a column at a time: what `convert` makes of each value, for plain values only.

A value that is not plainly what it seems is doubted, never guessed at: `convert` then judges its row alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

import polars as pl

from .batches import numbers_as_texts
from .checks import MAX_TEXT
from .convert import FIRST_MICROS, LAST_MICROS, MISSING, Convention, TimeUnit

SPACES: Final = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
"""What Python strips from text; polars by itself would leave U+001C to U+001F."""
_DIGITS: Final[dict[TimeUnit, int]] = {"s": 6, "ms": 3, "us": 0, "ns": -3}
"""Decimal places of one unit in microseconds."""
_EXACT: Final = 2**53
"""Up to here every whole number is a double, so that one division rounds once."""
_EXACT_CHARS: Final = 16
"""Texts up to here, with their point, have at most 15 digits: different ones are different doubles."""
_DECIMAL_CHARS: Final = 25
"""Below the 28 digits at which decimal arithmetic rounds."""
_TINY: Final = 1e-300
_TIME: Final = pl.Datetime("us", "UTC")
_ISO: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?$"
)
_ISO_REST: Final = r"^(?:\.([0-9]{1,6})[0-9]*)?(?:Z|([+-])([0-9]{2}):([0-9]{2}))?$"
_NO_NUMBER: Final = r"[!-*,/:-DF-Z\[-^`a-df-z{-~]"
"""What stands in no finite number: ASCII letters but e, and punctuation but + - . _"""


@dataclass(frozen=True, slots=True)
class Cells:
    """A column in our unit, null where nothing was said or it is doubted; doubt: rows to be judged alone."""

    values: pl.Series
    doubt: pl.Series

    @classmethod
    def of(cls, values: pl.Series, given: pl.Series, fits: pl.Series | None = None) -> Cells:
        """`values` as made of `given`, doubted where a given value made none, or does not fit."""
        sound = values.is_not_null() if fits is None else (fits & values.is_not_null()).fill_null(value=False)
        doubt = given.is_not_null() & ~sound
        return cls(values.set(doubt, None) if doubt.any() else values, doubt)


def known(values: pl.Series, null_values: tuple[Any, ...]) -> pl.Series:
    """`values`, null where they spell "nothing", in general or in this mapping."""
    if values.dtype == pl.String:
        text = values.str.strip_chars(SPACES)
        nothing = (text.str.len_bytes() <= max(map(len, MISSING))) & text.str.to_lowercase().is_in(MISSING)
        if null_values:
            nothing |= text.is_in([str(null) for null in null_values])
    elif null_values and values.dtype.is_numeric():
        nothing = pl.repeat(False, len(values), dtype=pl.Boolean, eager=True)
        for null in null_values:
            if isinstance(null, int | float):
                nothing |= (values == int(null)) if null == int(null) else (values == null)
    else:
        return values
    return values.set(nothing.fill_null(value=False), None)


def counts(given: pl.Series) -> Cells:
    """What `convert.as_count` says."""
    values = given.cast(pl.Int64, strict=False)
    if given.dtype == pl.Boolean:
        return Cells.of(values.clear(len(values)), given)
    if given.dtype == pl.String and values.null_count() > given.null_count():
        numbers = given.cast(pl.Float64, strict=False)
        whole = _whole(numbers) & (given.str.len_bytes() <= _EXACT_CHARS) & ~_underflow(given, numbers)
        values = values.fill_null(numbers.set(~whole.fill_null(value=False), None).cast(pl.Int64))
    elif given.dtype.is_float():
        return Cells.of(values, given, _whole(given) & (values >= 0))
    return Cells.of(values, given, values >= 0)


def reals(given: pl.Series) -> Cells:
    """What `convert.as_real` says."""
    values = given.cast(pl.Float64, strict=False)
    if given.dtype == pl.Boolean:
        return Cells.of(values.clear(len(values)), given)
    return Cells.of(values, given, values.is_finite() & ~_underflow(given, values))


def scaled(given: pl.Series, places: int) -> Cells:
    """The decimal numbers `given` with their point moved `places` to the left, rounded once to doubles."""
    if given.dtype == pl.Boolean:
        return reals(given)
    if given.dtype == pl.String:
        return _scaled_text(given, places)
    numbers = given.cast(pl.Float64)
    whole = _whole(numbers) & (numbers.abs() < _EXACT)
    if places == 0:
        return Cells.of(numbers, given, numbers.is_finite() if given.dtype.is_float() else whole)
    divided = numbers / pl.repeat(10.0**places, len(numbers), eager=True)  # by a scalar, polars multiplies
    if given.dtype.is_integer() or whole.all():
        return Cells.of(divided, given, whole)
    whole = whole.fill_null(value=False)
    spelled = _scaled_text(numbers.set(whole, None).cast(pl.String), places)
    return Cells.of(divided.set(~whole, None).fill_null(spelled.values), given)


def _scaled_text(given: pl.Series, places: int) -> Cells:
    shifted = (
        given if places == 0 else given + f"e-{places}"
    )  # a text with an exponent of its own fits no more
    values = shifted.cast(pl.Float64, strict=False)
    short = given.str.len_bytes() <= _DECIMAL_CHARS
    return Cells.of(values, given, values.is_finite() & short & ~_underflow(given, values))


def _whole(numbers: pl.Series) -> pl.Series:
    return numbers.is_finite() & (numbers.floor() == numbers) & (numbers.abs() < _EXACT)


def _underflow(given: pl.Series, values: pl.Series) -> pl.Series:
    """Texts with an exponent so low that a decimal may not hold it, where a double says 0."""
    tiny = values.abs() < _TINY
    if given.dtype == pl.String and tiny.any():
        return tiny & given.str.contains("[eE]")
    return pl.repeat(False, len(given), dtype=pl.Boolean, eager=True)


def epochs(given: pl.Series, unit: TimeUnit) -> Cells:
    """What `convert.utc_from_epoch` says."""
    if given.dtype == pl.Boolean:
        return Cells.of(pl.Series([None] * len(given), dtype=_TIME), given)
    whole = given.cast(pl.Int64, strict=False)
    if given.dtype.is_float():
        plain = _whole(given).fill_null(value=False)
        whole = whole.set(~plain, None)
        micros = _micros(whole, unit)
        if whole.null_count() > given.null_count():
            micros = micros.fill_null(_decimal_micros(given.cast(pl.String), unit))
    else:
        micros = _micros(whole, unit)
        if given.dtype == pl.String and whole.null_count() > given.null_count():
            micros = micros.fill_null(_decimal_micros(given, unit))
    return _times(micros, given)


def _micros(whole: pl.Series, unit: TimeUnit) -> pl.Series:
    """Whole numbers of a unit as microseconds; null before 1970 and where they would not fit."""
    places = _DIGITS[unit]
    limit = LAST_MICROS // 10**places if places >= 0 else LAST_MICROS * 10**-places
    inside = whole.set(~whole.is_between(0, limit).fill_null(value=False), None)
    return inside * 10**places if places >= 0 else inside // 10**-places


def _decimal_micros(text: pl.Series, unit: TimeUnit) -> pl.Series:
    """Decimal texts of a unit as microseconds, digits beyond cut; null for other texts."""
    plain = text.str.contains(r"^[0-9]{1,19}\.[0-9]+$") & (text.str.len_bytes() <= _DECIMAL_CHARS)
    parts = text.set(~plain.fill_null(value=False), None).str.split_exact(".", 1).struct.unnest()
    whole, places = parts["field_0"].cast(pl.Int64, strict=False), max(_DIGITS[unit], 0)
    micros = _micros(whole, unit)
    if places == 0:
        return micros
    return micros + parts["field_1"].str.slice(0, places).str.pad_end(places, "0").cast(pl.Int64)


def _times(micros: pl.Series, given: pl.Series) -> Cells:
    plausible = (micros >= FIRST_MICROS) & (micros < LAST_MICROS)
    return Cells.of(micros.cast(_TIME), given, plausible)


def iso_times(given: pl.Series, zone: tzinfo) -> Cells:
    """What `convert.utc_from_text` says of text, for the spellings of RFC 3339."""
    text = given.set(~given.str.contains(_ISO).fill_null(value=False), None)
    clock = (text.str.slice(0, 10) + "T" + text.str.slice(11, 8)).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False
    )
    rest = text.str.slice(19)
    micros = clock.cast(pl.Int64)
    naive = clock if zone is not UTC else clock.clear()
    if (rest.str.len_bytes() > 0).any():
        parts = rest.str.extract_groups(_ISO_REST).struct.unnest()
        fraction, sign, hours, minutes = parts.iter_columns()
        micros += fraction.str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
        offset = (hours.cast(pl.Int64) * 60 + minutes.cast(pl.Int64)) * 60_000_000
        micros -= offset.zip_with((sign == "+").fill_null(value=False), -offset).fill_null(0)
        stated = (sign.is_not_null() | rest.str.ends_with("Z")).fill_null(value=False)
        naive = naive.set(stated, None) if len(naive) else naive
    return _times(micros - _zone_offsets(naive, zone) if len(naive) else micros, given)


def own_times(given: pl.Series, unit: TimeUnit, zone: tzinfo) -> Cells:
    """What `convert.utc_from_time` says of times of the log's own type, as `unit`s since 1970 in `zone`."""
    micros = _micros(given, unit)
    if zone is not UTC:
        micros -= _zone_offsets(micros.cast(pl.Datetime("us")), zone)
    return _times(micros, given)


def _zone_offsets(naive: pl.Series, zone: tzinfo) -> pl.Series:
    """Microseconds by which clocks in `zone` are ahead of UTC, 0 for null; asked of Python once a minute.

    Offsets change at whole minutes, and polars may know other rules for a zone than Python does.
    """
    minutes = naive.dt.truncate("1m").cast(pl.Int64).rename("minute")
    distinct = minutes.drop_nulls().unique()
    offsets = [_offset(minute, zone) for minute in distinct.to_list()]
    known_offsets = pl.DataFrame({"minute": distinct, "offset": pl.Series(offsets, dtype=pl.Int64)})
    joined = minutes.to_frame().join(known_offsets, on="minute", how="left", maintain_order="left")
    return joined["offset"].fill_null(0)


def _offset(minute: int, zone: tzinfo) -> int:
    ahead = (datetime(1970, 1, 1) + timedelta(microseconds=minute)).replace(tzinfo=zone).utcoffset()
    return (ahead or timedelta(0)) // timedelta(microseconds=1)


def texts(given: pl.Series) -> Cells:
    """The values as names: numbers as they are spelled, flags in lower case."""
    if given.dtype == pl.String:
        return Cells.of(given, given, given.str.len_bytes() <= MAX_TEXT)
    if given.dtype.is_float():
        return Cells.of(numbers_as_texts(given), given, given.is_finite())
    return Cells.of(given.cast(pl.String), given)


def numbers_or_texts(given: pl.Series) -> tuple[Cells, Cells]:
    """Texts that are finite numbers as numbers, and those that are none as texts."""
    values = given.cast(pl.Float64, strict=False)
    number = (values.is_finite() & ~_underflow(given, values)).fill_null(value=False)
    unlike = given.str.contains(_NO_NUMBER) | ~given.str.contains(r"\p{Nd}")
    text = ~number & unlike & (given.str.len_bytes() <= MAX_TEXT)
    doubt = given.is_not_null() & ~(number | text)
    return Cells(values.set(~number, None), doubt), Cells(
        given.set(~text.fill_null(value=False), None), doubt
    )


def by_distinct(given: pl.Series, convert: Callable[[Any], Any], dtype: pl.DataType) -> Cells:
    """What `convert` makes of each value, asked once for equal ones; doubted where it raises ValueError."""
    coded = given.rename("given").to_frame().with_columns(pl.col("given").rank("dense").alias("code"))
    distinct = coded.drop_nulls("given").unique("code").sort("code")
    made = pl.Series([_or_none(convert, value) for value in distinct["given"].to_list()], dtype=dtype)
    return Cells.of(made.gather(coded["code"].cast(pl.Int64) - 1), given)


def _or_none(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except ValueError:
        return None


def disjoint(total: Cells, read: Cells | None, write: Cells | None, convention: Convention) -> Cells:
    """The uncached input of `convert.input_tokens`; a negative one is doubted."""
    if convention == "exclusive":
        return total
    values = total.values
    for part in (read, write):
        if part is not None:
            values = values - part.values.fill_null(0)
    return Cells.of(values, total.values, values >= 0)
