"""Warnings of fields in a CSV file that may be slips."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fastgan.tabular.csv_codes import CODE, PLUS
from fastgan.tabular.errors import TableWarning, shown

_NEARLY_ALL = 0.95
_NEARLY = {
    "numbers": r"^\s*-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$",
    "dates": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+.*)?$",
}


def warn_of_odd_fields(path: Path, table: pa.Table, chosen: Collection[Any]) -> None:
    """Warn of text that is nearly all numbers or dates: a field may be a slip."""
    for field, column in zip(table.schema, table.columns, strict=True):
        if not pa.types.is_string(field.type) or field.name in chosen or _has_codes(column):
            continue
        for what, pattern in _NEARLY.items():
            fits = pc.match_substring_regex(column, pattern)
            share = pc.mean(fits).as_py() or 0.0
            if _NEARLY_ALL <= share < 1.0:
                row = pc.index(fits, False).as_py()
                warnings.warn(
                    f"{path}: column {field.name!r}: row {row + 2}, counting the header, is "
                    f"{shown(column[row].as_py())}, so the column is text, though {share:.1%} of its "
                    f"fields are {what}; correct such fields or leave them empty",
                    TableWarning,
                    stacklevel=2,
                )


def _has_codes(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, rf"{CODE}|{PLUS}")).as_py())
