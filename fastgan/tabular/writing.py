"""Chunks of a table into CSV and Parquet files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastgan.tabular.columns import name_of_columns
from fastgan.tabular.errors import TableError, line_of, shown

_FAILURES = (pa.ArrowException, OverflowError, TypeError, ValueError)  # of Arrow, for values it cannot hold


def write_csv(chunks: Iterator[pd.DataFrame], path: Path, separator: str) -> None:
    """Write chunks with the same columns; what CSV has no form for becomes its text.

    Raises:
        TableError: two names are the same as text, or a name or value is no Unicode.
    """
    with path.open("wb") as file:
        for number, chunk in enumerate(chunks):
            names = _names(chunk)
            table = pa.table([_csv_column(chunk[name]) for name in chunk.columns], names=names)
            options = pyarrow.csv.WriteOptions(include_header=number == 0, delimiter=separator)
            pyarrow.csv.write_csv(table, file, options)


def write_parquet(chunks: Iterator[pd.DataFrame], path: Path) -> None:
    """Write chunks with the same columns and dtypes.

    Raises:
        TableError: two names are the same as text, or a column has values that Parquet cannot hold.
    """
    first = next(chunks)
    names = _names(first)
    with _naming_column(first):
        whole = pd.api.types.is_integer_dtype(first.columns.dtype)
        named = first if whole else first.set_axis(names, axis=1)
        named = named.rename_axis(columns=name_of_columns(first))
        # only with an index does the metadata say that names are integers; this one is none of the columns
        schema = pa.Table.from_pandas(named.reset_index(drop=True)).schema
        writer = pyarrow.parquet.ParquetWriter(path, schema)
    with writer:
        for chunk in itertools.chain([first], chunks):
            with _naming_column(chunk):  # pyarrow looks names up as the schema has them, which is as text
                texts = chunk.set_axis(names, axis=1)
                writer.write_table(pa.Table.from_pandas(texts, schema=schema, preserve_index=False))


def _names(chunk: pd.DataFrame) -> list[str]:
    names = [str(name) for name in chunk.columns]
    for name in names:
        if names.count(name) > 1:
            raise TableError(
                f"column {name!r}: is the name of {names.count(name)} columns in a file; rename them"
            )
        if not _is_unicode(name):
            raise TableError(f"column {name!r}: the name has a lone surrogate; rename it")
    return names


def _csv_column(column: pd.Series[Any]) -> pa.Array:
    try:
        array = pa.array(column, from_pandas=True)
    except UnicodeError as error:
        raise _no_unicode(column) from error
    except _FAILURES:
        return _as_strings(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if (
        pa.types.is_duration(array.type)
        or pa.types.is_nested(array.type)
        or pa.types.is_binary(array.type)
        or isinstance(array.type, pa.ExtensionType)
    ):
        return _as_strings(column)
    if pa.types.is_time(array.type):  # without a fraction, which is not recognized as a time
        with_seconds = array.cast(pa.time32("s"), safe=False)
        return with_seconds if with_seconds.cast(array.type).equals(array) else array
    return array


def _as_strings(column: pd.Series[Any]) -> pa.Array:
    missing = column.isna().to_numpy()
    strings = [None if absent else str(value) for value, absent in zip(column, missing, strict=True)]
    try:
        return pa.array(strings, type=pa.string())
    except UnicodeError as error:
        raise _no_unicode(column) from error


@contextmanager
def _naming_column(chunk: pd.DataFrame) -> Iterator[None]:
    """Name the column that Parquet cannot hold.

    Raises:
        TableError: replaces Arrow's error.
    """
    try:
        yield
    except _FAILURES as error:
        for name in chunk.columns:
            if reason := _reason_against(chunk[[name]]):
                raise reason from error
        raise TableError(f"Parquet cannot hold the table ({line_of(error)}); write a .csv file") from error


def _reason_against(column: pd.DataFrame) -> TableError | None:
    try:
        table = pa.Table.from_pandas(column, preserve_index=False)
        pyarrow.parquet.write_table(table, pa.BufferOutputStream())
    except UnicodeError:
        return _no_unicode(column.iloc[:, 0])
    except _FAILURES as error:
        name = column.columns[0]
        return TableError(f"column {name!r}: Parquet cannot hold it ({line_of(error)}); write a .csv file")
    return None


def _no_unicode(column: pd.Series[Any]) -> TableError:
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    value = next(value for value in values if not _is_unicode(str(value)))
    return TableError(
        f"column {column.name!r}: {shown(value)} has a lone surrogate, which no file holds; replace it, for "
        "example with .str.encode('utf-8', 'replace').str.decode('utf-8')"
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
