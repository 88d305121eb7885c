"""Errors say what was found, where, what was expected and what to do."""

from shadowprice.errors import ConfigError, IngestError, OverlapError, ShadowpriceError


def test_a_message_holds_all_four_facts_in_order_and_as_attributes():
    """Kills: dropping the place or the cure from the message."""
    error = IngestError("total is 120", where="a.jsonl:8", expected="150", cure="Set the convention.")
    assert str(error) == "a.jsonl:8: total is 120. Expected 150. Set the convention."
    assert (error.found, error.where, error.expected, error.cure) == (
        "total is 120",
        "a.jsonl:8",
        "150",
        "Set the convention.",
    )


def test_an_unknown_key_without_a_near_name_lists_the_known_ones():
    """Kills: a wild guess presented as a suggestion."""
    assert "Known keys: a, b." in str(ConfigError.unknown_key("zzzzzz", where="f", known=["b", "a"]))


def test_only_a_lack_of_support_exits_with_3():
    """Kills: usage errors that look like refusals."""
    assert ShadowpriceError("x").exit_code == 2
    assert OverlapError("x").exit_code == 3
