"""The records of a mapped log in batches, for a log whose mapping can be followed by column."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from ..batch_columns import Batch, parquet_columns
from ..checks import MAX_FEATURES
from ..csv_columns import csv_columns, splits_columns
from ..seam import LogFile
from .mapping_spec import Mapping, mapped_columns

_MAX_NULL: Final = 2**53
"""A number that spells "nothing" may be compared as a double up to here."""


def in_columns(mapping: Mapping) -> bool:
    """Whether the mapping can be followed by column; each of its values, by itself, always can."""
    spec = mapping.spec
    if spec.format not in ("csv", "parquet") or (spec.format == "csv" and not splits_columns(spec.delimiter)):
        return False
    if any(outcome.name_from is not None for outcome in spec.outcomes):
        return False  # names that differ from row to row are read by record
    nulls = [null for cell in (*mapping.cells.values(), *spec.outcomes) for null in cell.null_values]
    features = sum(name.startswith("x_") for name in mapping.cells)
    return features <= MAX_FEATURES and all(map(_comparable, nulls))


def batches(mapping: Mapping, log: LogFile) -> Iterator[Batch]:
    """The records of the log, as far as the mapping reads them.

    Raises: IngestError when the file cannot be read.
    """
    columns = mapped_columns(mapping)
    if mapping.spec.format == "csv":
        return csv_columns(log, delimiter=mapping.spec.delimiter, columns=columns)
    return parquet_columns(log, columns=columns)


def _comparable(null: object) -> bool:
    if isinstance(null, int | float):
        return math.isfinite(null) and abs(null) <= _MAX_NULL
    return isinstance(null, str)
