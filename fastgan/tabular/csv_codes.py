"""Columns of a CSV file that are codes, though Arrow takes them for numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fastgan.tabular.csv_parsing import blocks_of_texts, parse_texts
from fastgan.tabular.errors import TableWarning, shown

CODE = r"^\s*(-?0[0-9]+|0[xX].*)\s*$"
"""What Arrow reads as an integer, without its zeros."""
PLUS = r"^\s*\+"
_EXPONENT = r"^\s*-?[0-9]+[eE][0-9]+\s*$"  # programs write floats otherwise, as 1.2e6 or 12e+05
_WHOLE = r"^\s*[-+]?[0-9]+([eE][0-9]+)?\s*$"


def with_texts(path: Path, table: pa.Table, columns: Mapping[Any, str]) -> pa.Table:
    """The table, with columns read again as text that are no numbers, though Arrow took them for such.

    The file is parsed a second time, a block at a time, so that the texts of all numbers are never in memory.
    """
    checks = [
        _NumberCheck(field, columns.get(field.name))
        for field in table.schema
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if table.column_names.count(field.name) == 1  # others are refused
    ]
    for start, batch in blocks_of_texts(path, [check.name for check in checks]):
        for check in checks:
            check.look(batch.column(check.name), start)
    lost = [check.name for check in checks if check.is_lost]
    texts = parse_texts(path, lost)
    for check in checks:
        if check.is_lost:
            column = check.kept(path, table.column(check.name), texts.column(check.name))
            table = table.set_column(table.column_names.index(check.name), check.name, column)
    return table


class _NumberCheck:
    """Whether a column of numbers has fields that numbers do not keep.

    Floats whose fields are all whole are integers with a plus sign, codes such as 12e5, or beyond 64 bits:
    Arrow reads others as integers.
    """

    def __init__(self, field: pa.Field, kind: str | None) -> None:
        self.name, self.type, self.kind = field.name, field.type, kind
        self.code: tuple[int, str] | None = None  # row and text of the first one
        self.form: tuple[int, str] | None = None  # likewise, with a plus sign or an exponent
        self.whole = pa.types.is_floating(field.type)
        self.changed = False

    @property
    def is_lost(self) -> bool:
        if self.kind == "category":
            return self.changed
        return self.whole or (self.code is not None and self.kind is None)

    def look(self, texts: pa.Array, start: int) -> None:
        """Check the fields of a block, which begins with that row."""
        if self.kind == "category":
            self.changed = self.changed or not _comes_back(texts, self.type)
            return
        if self.code is None:
            self.code = _first(texts, CODE, start)
        if self.whole:
            self.form = self.form or _first(texts, rf"{PLUS}|{_EXPONENT}", start)
            self.whole = pc.all(pc.match_substring_regex(texts, _WHOLE)).as_py() is not False

    def kept(self, path: Path, numbers: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """The column as unsigned integers or text, which keep it; warns of text that was not chosen."""
        if self.kind == "category":
            return texts
        code = self.code or self.form
        if code is None or self.kind is not None:
            try:
                return texts.cast(pa.uint64())
            except pa.ArrowInvalid:
                if self.kind is not None:
                    return numbers
        column = f"{path}: column {self.name!r}"
        if code is None:
            said = f"{column}: has integers beyond 64 bits, so it is read as text"
        else:
            said = (
                f"{column}: row {code[0] + 2}, counting the header, is {shown(code[1])}, which a number does "
                "not keep, so the column is read as text"
            )
        kind = "continuous" if code is None else "integer"
        warnings.warn(
            f"{said}; make it 'category' or {kind!r} in columns, or with --columns",
            TableWarning,
            stacklevel=2,
        )
        return texts


def _comes_back(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        return bool(texts.cast(kind).cast(pa.string()).equals(texts))
    except pa.ArrowInvalid:
        return False


def _first(texts: pa.Array, pattern: str, start: int) -> tuple[int, str] | None:
    row = pc.index(pc.match_substring_regex(texts, pattern), True).as_py()
    return None if row < 0 else (start + row, texts[row].as_py())
