"""The evidence bar of the first screen, as one line of text."""

from __future__ import annotations

from typing import Final

import polars as pl

from . import numbers

_CHARS: Final = 40
_BANDS: Final = (("A-C", "ABC", "#"), ("D bounds", "D", "="), ("N not identified", "N", "."))


def evidence_line(coverage: pl.DataFrame) -> str:
    """The evidence bar with the share of spend, or of decisions where nothing is priced, by grade."""
    spend = float(coverage["spend_usd"].sum())
    weight = "spend_usd" if spend > 0 else "decisions"
    total = float(coverage[weight].sum()) or 1.0
    bar, words = "", list[str]()
    for label, grades, char in _BANDS:
        share = float(coverage.filter(pl.col("grade").is_in(list(grades)))[weight].sum()) / total
        bar += char * round(share * _CHARS)
        words.append(f"{label} {numbers.share(share)}")
    of = f"of spend {numbers.usd(spend)}" if weight == "spend_usd" else "of decisions, none of them priced"
    return f"Evidence  [{bar:<{_CHARS}}]  {' | '.join(words)}  {of}"
