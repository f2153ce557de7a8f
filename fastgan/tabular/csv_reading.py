"""CSV files as Arrow's tables, without losing what Arrow's own choice of types loses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from fastgan.tabular.csv_codes import with_texts
from fastgan.tabular.csv_damage import check_encoding, check_lines, check_separator, is_cut_in_quotes
from fastgan.tabular.csv_parsing import parse
from fastgan.tabular.csv_slips import warn_of_codes_read_as_missing, warn_of_odd_fields


def read_csv(path: Path, columns: Mapping[Any, str], texts: Collection[Any]) -> pa.Table:
    """Read a CSV file, each column as the type that all its fields have.

    A column of codes such as 00123, +49301 or 12e5 is text, as numbers do not keep them. Integers beyond 64
    bits are text.

    Args:
        path: the file; tabs separate its columns if it ends in .tsv, commas otherwise.
        columns: kinds of columns that the user chose; a category of numbers is text unless its numbers are
            written as the fields are. A column of another kind is never text for the sake of its zeros.
        texts: columns that are text in any case.

    Raises:
        TableError: the file has another encoding or separator, or a line more or fewer fields than the
            header.
        pa.ArrowException or UnicodeDecodeError: it is damaged.
    """
    check_encoding(path)
    try:
        table = _parsed(path, {str(name): pa.string() for name in texts})
    except pa.ArrowInvalid:
        check_separator(path)
        check_lines(path)
        raise
    if table.num_columns == 1:
        check_separator(path)
    table = with_texts(path, table, columns)
    warn_of_odd_fields(
        path, table, {name for name, kind in columns.items() if kind == "category"}.union(texts)
    )
    warn_of_codes_read_as_missing(path, table, {*columns, *texts})
    return table


def _parsed(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    try:
        table = parse(path, types)
    except pa.ArrowInvalid:
        table = parse(path, types, use_threads=False)  # whose message has the row
    if is_cut_in_quotes(path, table):
        raise pa.ArrowInvalid(f"Row #{table.num_rows + 1}: ends within quotes")
    return table
