"""CSV files as Arrow's tables, without losing what Arrow's own choice of types loses."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fastgan.tabular.errors import TableError, TableWarning, shown

_HEAD = 1 << 16  # bytes that tell encoding and separator
_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|[^\0]\0[^\0]\0|\0[^\0]\0[^\0]")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_CODE = r"^\s*(-?0[0-9]+|0[xX].*)\s*$"  # which Arrow reads as an integer
_PLUS = r"^\s*\+"
_WHOLE = r"^\s*[-+]?[0-9]+\s*$"
_NEARLY_ALL = 0.95
_NEARLY = {
    "numbers": r"^\s*-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$",
    "dates": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+.*)?$",
}


def read_csv(path: Path, columns: Mapping[Any, str], texts: Collection[Any]) -> pa.Table:
    """Read a CSV file, each column as the type that all its fields have.

    A column of codes such as 00123 or +49301 is text, as numbers do not keep their zeros and signs. Integers
    beyond 64 bits are text.

    Args:
        path: the file.
        columns: kinds of columns that the user chose; a category of numbers is text unless its numbers are
            written as the fields are. A column of another kind is never text for the sake of its zeros.
        texts: columns that are text in any case.

    Raises:
        TableError: the file has another encoding or separator.
        pa.ArrowException or UnicodeDecodeError: it is damaged.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if _UTF_16.match(head):
        raise TableError(f"{path}: is UTF-16, not UTF-8; convert it")
    strings = {str(name): pa.string() for name in texts}
    try:
        table = _parsed(path, strings)
    except pa.ArrowInvalid as error:
        _check_separator(path, head)
        raise error
    if table.num_columns == 1:
        _check_separator(path, head)
    table = _with_texts(path, table, columns)
    categories = {name for name, kind in columns.items() if kind == "category"}
    _warn_of_odd_fields(path, table, categories.union(texts))
    return table


def _parsed(path: Path, types: Mapping[str, pa.DataType], only: Collection[str] = ()) -> pa.Table:
    try:
        table = _parse(path, types, only, use_threads=True)
    except pa.ArrowInvalid:
        table = _parse(path, types, only, use_threads=False)  # whose message has the row
    if _is_cut_in_quotes(path, table):
        raise pa.ArrowInvalid(f"Row #{table.num_rows + 1}: ends within quotes")
    return table


def _parse(
    source: Path | pa.BufferReader, types: Mapping[str, pa.DataType], only: Collection[str], use_threads: bool
) -> pa.Table:
    return pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(use_threads=use_threads),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=_conversion(types, only),
    )


def _conversion(types: Mapping[str, pa.DataType], only: Collection[str]) -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        column_types=dict(types),
        include_columns=list(only),
    )


def _is_cut_in_quotes(path: Path, table: pa.Table) -> bool:
    """Whether the last field lacks its closing quote: Arrow accepts that, and adds a further row to it."""
    with path.open("rb") as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2 == 0:
        return False
    row = b"\n" + b"," * (table.num_columns - 1) + b'""\n'
    longer = _parse(pa.BufferReader(path.read_bytes() + row), {}, (), use_threads=False)
    return bool(longer.num_rows == table.num_rows)


def _check_separator(path: Path, head: bytes) -> None:
    """Refuse a file whose rows have one column by commas, and several by another sign."""
    lines = head.decode("utf-8", "replace").splitlines()[:20]
    if not lines or len(next(csv.reader(lines[:1]), [])) != 1:
        return
    for separator, name in _SEPARATORS.items():
        widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if len(widths) > 1 and widths[0] > 1 and len(set(widths[:-1])) == 1:  # the last may be cut off
            raise TableError(f"{path}: its columns are separated by {name}; write it with commas")


def _with_texts(path: Path, table: pa.Table, columns: Mapping[Any, str]) -> pa.Table:
    """The table, with columns read again as text that are no numbers, though Arrow took them for such.

    The file is parsed a second time, a block at a time, so that the texts of all numbers are never in memory.
    """
    checks = [
        _NumberCheck(field, columns.get(field.name))
        for field in table.schema
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if table.column_names.count(field.name) == 1  # others are refused
    ]
    for start, batch in _blocks_of_texts(path, [check.name for check in checks]):
        for check in checks:
            check.look(batch.column(check.name), start)
    lost = [check.name for check in checks if check.is_lost]
    texts = _parsed_again(path, lost)
    for check in checks:
        if check.is_lost:
            column = check.kept(path, table.column(check.name), texts.column(check.name))
            table = table.set_column(table.column_names.index(check.name), check.name, column)
    return table


def _blocks_of_texts(path: Path, names: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    if not names:
        return
    start = 0
    for batch in pyarrow.csv.open_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=_conversion(dict.fromkeys(names, pa.string()), names),
    ):
        yield start, batch
        start += batch.num_rows


def _parsed_again(path: Path, names: list[str]) -> pa.Table:
    if not names:
        return pa.table({})
    return _parse(path, dict.fromkeys(names, pa.string()), names, use_threads=True)


class _NumberCheck:
    """Whether a column of numbers has fields that numbers do not keep.

    Floats whose fields are all whole are integers with a plus sign, or beyond 64 bits: Arrow reads others as
    integers.
    """

    def __init__(self, field: pa.Field, kind: str | None) -> None:
        self.name, self.type, self.kind = field.name, field.type, kind
        self.code: tuple[int, str] | None = None  # row and text of the first one
        self.plus: tuple[int, str] | None = None
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
            self.code = _first(texts, _CODE, start)
        if self.whole:
            self.plus = self.plus or _first(texts, _PLUS, start)
            self.whole = pc.all(pc.match_substring_regex(texts, _WHOLE)).as_py() is not False

    def kept(self, path: Path, numbers: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """The column as unsigned integers or text, which keep it; warns of text that was not chosen."""
        if self.kind == "category":
            return texts
        code = self.code or self.plus
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


def _warn_of_odd_fields(path: Path, table: pa.Table, chosen: Collection[Any]) -> None:
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
    return bool(pc.any(pc.match_substring_regex(column, rf"{_CODE}|{_PLUS}")).as_py())
