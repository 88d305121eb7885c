"""One step ahead: the same items in the same order, errors in their place, and nothing is left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from shadowprice.ingest.ahead import ahead


def test_the_next_item_is_made_while_one_is_used() -> None:
    """Kills an iterator that waits until it is asked, and one that runs away with the memory."""
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    found = ahead(items())
    assert next(found) == 0
    assert second.wait(5)
    assert made == [0, 1]
    assert [*found] == [1, 2, 3]


def test_an_error_is_raised_where_its_item_would_be() -> None:
    """Kills an error that overtakes the items before it, or vanishes in its thread."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(found)


def test_no_thread_is_left_when_the_reader_stops_early() -> None:
    """Kills a thread that goes on reading a log after the ingest was refused."""
    before = threading.active_count()
    found = ahead(iter(range(100)))
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
