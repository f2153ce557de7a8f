"""Tables of other libraries and in files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from fastgan.data.table_files import SUFFIXES, other_form
from fastgan.files import write_whole
from fastgan.tabular.columns import check_unique
from fastgan.tabular.csv_parsing import separator_of
from fastgan.tabular.csv_reading import read_csv
from fastgan.tabular.errors import TableError, line_of
from fastgan.tabular.writing import write_csv, write_parquet

_ENDS = f"a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
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
            dtypes, dates and times become Python objects. The named levels of an index that pandas put
            into an Arrow table are columns.

    Raises:
        TableError: it is no table, or has several columns of a name.
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
        arrow = pa.table(table)
        check_unique(arrow.column_names)
        return _from_arrow(arrow)
    except (pa.ArrowException, TypeError) as error:
        raise TableError(f"the {type(table).__name__} is no table for pandas: {line_of(error)}") from error


def read_table(
    path: str | Path, columns: Mapping[Any, str] | None = None, texts: Collection[Any] = ()
) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Args:
        path: ends in .csv, .tsv or .parquet. A CSV file has a header, commas (.tsv: tabs) and UTF-8; columns
            of integers, floats, booleans (true, false) and ISO dates and times are recognized. A field is
            missing if it is empty, NA, N/A, NaN or null without quotes. A column of codes such as 00123 or
            12e5 is text, with a warning, and so are integers beyond 64 bits. The named index of a pandas
            frame in a Parquet file is a column.
        columns: kinds that the user chose, as :func:`fastgan.tabular.columns.kinds_of` takes them. In a CSV
            file, a category of numbers is text if numbers would be written otherwise; columns of other kinds
            are not read as text.
        texts: columns that are text in any case in a CSV file.

    Raises:
        TableError: the file is missing, damaged, cut off or without rows; the message names the file, and the
            row if known. A CSV file cut within its last field, or after a whole row, is a valid one.
    """
    path = Path(path)
    if convert := other_form(path):
        raise TableError(f"{path}: expected {_ENDS}; {convert}")
    suffix = _suffix(path)
    if not path.is_file():
        raise TableError(f"{path}: is no file; check the path")
    try:
        if suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:
            table = read_csv(path, columns or {}, texts)
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
    if not table.num_rows:
        raise TableError(f"{path}: the table has 0 rows; add rows")
    return _from_arrow(table)


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a CSV or Parquet file, completely or not at all.

    Args:
        frame: the table; its index is not written.
        path: ends in .csv, .tsv or .parquet.

    Raises:
        TableError: for other names, and for columns that the file cannot hold; the message names the column.
        fastgan.files.WriteError: the file cannot be written.
    """
    write_chunks([frame], path)


def write_chunks(chunks: Iterable[pd.DataFrame], path: str | Path) -> None:
    """Write a table of which one chunk is in memory at a time, completely or not at all.

    Args:
        chunks: frames with the same columns and dtypes; at least one.
        path: ends in .csv, .tsv or .parquet.

    Raises:
        TableError: for other names, and for columns that the file cannot hold; the message names the column.
        fastgan.files.WriteError: the file cannot be written.
    """
    path = Path(path)
    if _suffix(path) == ".parquet":
        write_whole(path, lambda whole: write_parquet(iter(chunks), whole))
    else:
        write_whole(path, lambda whole: write_csv(iter(chunks), whole, separator_of(path)))


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TableError(f"{path}: expected {_ENDS}")
    return suffix


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    if table.schema.pandas_metadata:  # tells all dtypes
        return _with_index_as_columns(table.to_pandas())
    columns = {
        name: column.to_pandas(types_mapper=_NULLABLE.get if column.null_count else None)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pd.DataFrame(columns)


def _with_index_as_columns(frame: pd.DataFrame) -> pd.DataFrame:
    named = [name for name in frame.index.names if name is not None]
    if not named:
        return frame
    check_unique([*named, *frame.columns])
    unnamed = [level for level, name in enumerate(frame.index.names) if name is None]
    return frame.reset_index(unnamed, drop=True).reset_index() if unnamed else frame.reset_index()


def _reason(error: Exception) -> str:
    line = line_of(error).removeprefix("CSV parse error: ")
    return re.sub(r"^Row #(\d+):", r"row \1, counting the header:", line)
