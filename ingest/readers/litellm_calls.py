"""A file of LiteLLM calls to items, whichever log it is, with the states of adaptive routers in between.

A state that stands before the calls it led to, in the same file, makes the odds of their choice known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...schemas.config import Config
from ..lines import CsvRecord, JsonRecord
from ..seam import EntangledError, Ignored, Item, Rejected
from .litellm_rows import Call, call_items
from .litellm_state import STATE, StateBook, is_state

CallOf = Callable[[dict[str, Any], Config], Call]


def items_of(
    records: Iterable[JsonRecord | CsvRecord | Rejected], config: Config, call_of: CallOf, *, apart: bool
) -> Iterator[Item]:
    """The items of every record: a call's rows, or why it has none; `apart`: records before are not seen.

    Raises: EntangledError for a state among records that are read apart, since it tells of calls in others.
    """
    book = StateBook()
    for record in records:
        if isinstance(record, Rejected):
            yield record
        elif apart and is_state(record[1].keys()):
            raise EntangledError
        else:
            yield from record_items(*record, config=config, call_of=call_of, book=book)


def record_items(
    line: int, fields: Mapping[str, Any], *, config: Config, call_of: CallOf, book: StateBook
) -> list[Item]:
    """The items of one record; a state is noted in `book`, a call is read with what the book knows."""
    try:
        if is_state(fields.keys()):
            book.note(dict(fields))
            return [Ignored(line, STATE)]
        return call_items(line, call_of(dict(fields), config), config, book.chances)
    except ValueError as error:
        return [Rejected(line, str(error))]
