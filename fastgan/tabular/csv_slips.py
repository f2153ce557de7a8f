"""Warnings of fields in a CSV file that may be slips, or values that were taken for missing."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fastgan.tabular.csv_codes import CODE, PLUS
from fastgan.tabular.csv_parsing import parse_texts
from fastgan.tabular.errors import TableWarning, shown

_NEARLY_ALL = 0.95
_MANY = 10  # numbers or dates that differ, and so are no categories
_NEARLY = {
    "numbers": r"^\s*-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$",
    "dates": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+.*)?$",
}
_WITHOUT_DIGITS = r"^[^0-9]*$"
_SEVERAL = 3  # codes of a form from which on NA is taken for another one
_LIKE_MISSING = {"NA": "^[A-Z]{2}$", "nan": "^[a-z]{3}$", "NULL": "^[A-Z]{4}$", "null": "^[a-z]{4}$"}


def warn_of_odd_fields(path: Path, table: pa.Table, chosen: Collection[Any]) -> None:
    """Warn of text that is nearly all numbers or dates: a field may be a slip, or a sign for missing ones."""
    for field, column in zip(table.schema, table.columns, strict=True):
        if not pa.types.is_string(field.type) or field.name in chosen or _has_codes(column):
            continue
        for what, pattern in _NEARLY.items():
            fits = pc.match_substring_regex(column, pattern)
            share = pc.mean(fits).as_py() or 0.0
            if share < 1.0 and (share >= _NEARLY_ALL or _has_one_word(column, fits)):
                row = pc.index(fits, False).as_py()
                _warn(
                    *(path, field.name, row, shown(column[row].as_py())),
                    f"so the column is text, though {share:.1%} of its fields are {what}; correct such "
                    "fields or leave them empty",
                )


def warn_of_codes_read_as_missing(path: Path, table: pa.Table, chosen: Collection[Any]) -> None:
    """Warn of NA, null and the like in a column of codes of that form, such as those of countries."""
    suspects = {
        field.name: sign
        for field, column in zip(table.schema, table.columns, strict=True)
        if pa.types.is_string(field.type) and column.null_count and field.name not in chosen
        if (sign := _sign_like(column.drop_null().unique()))
    }
    texts = parse_texts(path, suspects, has_missing=False)
    for name, sign in suspects.items():
        row = pc.index(texts.column(name), sign).as_py()
        if row >= 0:
            _warn(
                *(path, name, row, sign),
                "which counts as missing, though it looks like the column's other values; write it in quotes "
                "if it is one, or make the column 'category' in columns, or with --columns, if it is not",
            )


def _warn(path: Path, name: str, row: int, field: str, said: str) -> None:
    warnings.warn(
        f"{path}: column {name!r}: row {row + 2}, counting the header, is {field}, {said}",
        TableWarning,
        stacklevel=3,
    )


def _has_codes(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, rf"{CODE}|{PLUS}")).as_py())


def _has_one_word(column: pa.ChunkedArray, fits: pa.ChunkedArray) -> bool:
    """Whether all other fields are the same word or sign, such as None, among many numbers or dates."""
    others = column.filter(pc.invert(fits)).unique()
    if len(others) != 1 or not pc.match_substring_regex(others, _WITHOUT_DIGITS)[0].as_py():
        return False
    return bool(pc.count_distinct(column.filter(fits)).as_py() > _MANY)


def _sign_like(values: pa.Array) -> str | None:
    """The sign for missing values that has the form of all these, but is none of them."""
    for sign, form in _LIKE_MISSING.items():
        if len(values) >= _SEVERAL and pc.all(pc.match_substring_regex(values, form)).as_py():
            return None if pc.is_in(pa.array([sign]), values)[0].as_py() else sign
    return None
