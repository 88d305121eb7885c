"""The YAML of exports: names and numbers come back from PyYAML as themselves, and reading runs nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.errors import ExportError
from shadowprice.reports.exports.reading import read_document
from shadowprice.reports.exports.yaml_text import yaml_text

PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=40)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    PRINTABLE,
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3)
)


@given(st.dictionaries(PRINTABLE, TREES, max_size=4))
def test_what_is_written_is_what_pyyaml_reads(value: dict[str, Any]) -> None:
    """Kills: 'no' read as False, 1e-06 read as text, a name that opens an alias, a tag or a mapping."""
    assert yaml.safe_load(yaml_text(value, head=["a head: - &x !!y"])) == value


@pytest.mark.parametrize("price", [1e-06, 2.5e-07, 5e-324, 1.7e308, 1e22, 0.1, -0.0])
def test_a_price_in_scientific_notation_stays_a_number(price: float) -> None:
    """Kills: 1e-06, which YAML 1.1 takes for a text: LiteLLM would then have no price at all."""
    assert yaml.safe_load(yaml_text({"price": price})) == {"price": price}


def test_a_comment_cannot_break_out_of_its_line() -> None:
    """Kills: a model's name with a line break that adds a key to the configuration."""
    assert yaml.safe_load(yaml_text({"a": 1}, head=["x\nb: 2", "y\rc: 3"])) == {"a": 1}


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    """Kills: .nan in a router's weights."""
    with pytest.raises(ExportError, match="finite"):
        yaml_text({"weight": number})


def test_a_document_in_use_is_read_without_running_it() -> None:
    """Kills: a loader that constructs Python objects from a configuration."""
    with pytest.raises(ExportError, match=r"c\.yaml.*neither JSON nor YAML"):
        read_document("!!python/object/apply:os.system ['true']", where="c.yaml")
    assert read_document("a: 1\n---\nb: 2\n", where="c.yaml") == [{"a": 1}, {"b": 2}]
    assert read_document('{"a": [1e-6]}', where="c.json") == {"a": [1e-6]}
    with pytest.raises(ExportError, match="neither JSON nor YAML"):
        read_document("a: [1\nb: }", where="c.yaml")
