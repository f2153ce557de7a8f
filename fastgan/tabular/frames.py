"""Tables of other libraries and in files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastgan.files import write_whole
from fastgan.tabular.errors import TableError

_SUFFIXES = (".csv", ".parquet")
_NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    **{
        pa.type_for_alias(name.lower()): pd.api.types.pandas_dtype(name)
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    },
}


def to_pandas(table: Any) -> pd.DataFrame:
    """A table of any library as a pandas frame.

    Args:
        table: a pandas.DataFrame, which is returned as it is; or a polars.DataFrame, a pyarrow.Table or
            another table with Arrow's C stream. Integers and booleans with missing values get nullable
            dtypes, dates and times become Python objects.

    Raises:
        TableError: it is no table.
    """
    if isinstance(table, pd.DataFrame):
        return table
    if not hasattr(table, "__arrow_c_stream__"):
        collect = "; call .collect() first" if hasattr(table, "collect") else ""
        raise TableError(
            f"the table is a {type(table).__name__}, expected a DataFrame of pandas or polars, or a "
            f"pyarrow.Table{collect}"
        )
    try:
        return _from_arrow(pa.table(table))
    except (pa.ArrowException, TypeError) as error:
        raise TableError(f"the {type(table).__name__} is no table for pandas: {_line(error)}") from error


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Args:
        path: ends in .csv or .parquet. A CSV file has a header, commas and UTF-8; columns of integers,
            floats, booleans (true, false) and ISO dates and times are recognized. A field is missing if it is
            empty, NA, NaN or null without quotes.

    Raises:
        TableError: the file is missing, damaged or cut off; the message names the file, and the row if known.
            A CSV file cut within its last field, or after a whole row, is a valid one.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise TableError(f"{path}: is no file; check the path")
    try:
        table = _read_csv(path) if suffix == ".csv" else pyarrow.parquet.read_table(path)
        names = table.column_names
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8; convert it") from error
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: cannot be read ({_reason(error)}); is it complete?") from error
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"{path}: has several columns {name!r}; rename them")
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise TableError(f"{path}: column {field.name!r} is not UTF-8; convert the file")
    return _from_arrow(table)


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a CSV or Parquet file, completely or not at all.

    Args:
        frame: the table; its index is not written.
        path: ends in .csv or .parquet.

    Raises:
        TableError: for other names, and for values that Parquet cannot hold.
        fastgan.files.WriteError: the file cannot be written.
    """
    write_chunks([frame], path)


def write_chunks(chunks: Iterable[pd.DataFrame], path: str | Path) -> None:
    """Write a table of which one chunk is in memory at a time, completely or not at all.

    Args:
        chunks: frames with the same columns and dtypes; at least one.
        path: ends in .csv or .parquet.

    Raises:
        TableError: for other names, and for values that Parquet cannot hold.
        fastgan.files.WriteError: the file cannot be written.
    """
    path = Path(path)
    write = _write_csv if _suffix(path) == ".csv" else _write_parquet
    write_whole(path, lambda whole: write(iter(chunks), whole))


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise TableError(f"{path}: expected a name that ends in {' or '.join(_SUFFIXES)}")
    return suffix


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    if table.schema.pandas_metadata:  # tells all dtypes
        return table.to_pandas()
    columns = {
        name: column.to_pandas(types_mapper=_NULLABLE.get if column.null_count else None)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pd.DataFrame(columns)


def _read_csv(path: Path) -> pa.Table:
    try:
        table = _parse_csv(path, use_threads=True)
    except pa.ArrowInvalid:
        table = _parse_csv(path, use_threads=False)  # whose message has the row
    if _is_cut_in_quotes(path, table):
        raise pa.ArrowInvalid(f"Row #{table.num_rows + 1}: ends within quotes")
    return table


def _parse_csv(source: Path | pa.BufferReader, use_threads: bool) -> pa.Table:
    return pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(use_threads=use_threads),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _is_cut_in_quotes(path: Path, table: pa.Table) -> bool:
    """Whether the last field lacks its closing quote: Arrow accepts that, and adds a further row to it."""
    with path.open("rb") as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2 == 0:
        return False
    row = b"\n" + b"," * (table.num_columns - 1) + b'""\n'
    longer = _parse_csv(pa.BufferReader(path.read_bytes() + row), use_threads=False)
    return bool(longer.num_rows == table.num_rows)


def _write_csv(chunks: Iterable[pd.DataFrame], path: Path) -> None:
    with path.open("wb") as file:
        for number, chunk in enumerate(chunks):
            table = pa.table({str(name): _csv_column(chunk[name]) for name in chunk.columns})
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=number == 0))


def _csv_column(column: pd.Series[Any]) -> pa.Array:
    try:
        array = pa.array(column, from_pandas=True)
    except pa.ArrowException:
        return _as_strings(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_duration(array.type) or isinstance(array.type, pa.ExtensionType):
        return _as_strings(column)
    if pa.types.is_time(array.type):  # without a fraction, which is not recognized as a time
        with_seconds = array.cast(pa.time32("s"), safe=False)
        return with_seconds if with_seconds.cast(array.type).equals(array) else array
    return array


def _as_strings(column: pd.Series[Any]) -> pa.Array:
    missing = column.isna().to_numpy()
    strings = [None if absent else str(value) for value, absent in zip(column, missing, strict=True)]
    return pa.array(strings, type=pa.string())


def _write_parquet(chunks: Iterable[pd.DataFrame], path: Path) -> None:
    chunks = iter(chunks)
    first = next(chunks)
    schema = _parquet_table(first, None).schema
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for chunk in itertools.chain([first], chunks):
            writer.write_table(_parquet_table(chunk, schema))


def _parquet_table(chunk: pd.DataFrame, schema: pa.Schema | None) -> pa.Table:
    try:
        return pa.Table.from_pandas(chunk, schema=schema, preserve_index=False)
    except pa.ArrowException as error:
        raise TableError(f"Parquet cannot hold the table ({_line(error)}); write a .csv file") from error


def _reason(error: Exception) -> str:
    line = _line(error).removeprefix("CSV parse error: ")
    return re.sub(r"^Row #(\d+):", r"row \1, counting the header:", line)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
