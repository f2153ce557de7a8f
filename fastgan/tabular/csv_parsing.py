"""Arrow's parser of CSV files, with the same options wherever a file is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv


def separator_of(path: Path) -> str:
    """What separates the columns of a file of that name."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def parse(
    path: Path,
    types: Mapping[str, pa.DataType],
    only: Collection[str] = (),
    *,
    use_threads: bool = True,
    has_missing: bool = True,
    more: bytes = b"",
) -> pa.Table:
    """Parse a file.

    Args:
        path: the file.
        types: of columns; the others have the type that all their fields have.
        only: columns to read, by default all.
        use_threads: without, errors have the number of the row.
        has_missing: whether fields of text such as NA, without quotes, and empty ones are missing.
        more: bytes to parse after those of the file.

    Raises:
        pa.ArrowInvalid: the file is damaged.
    """
    return pyarrow.csv.read_csv(
        pa.BufferReader(path.read_bytes() + more) if more else path,
        read_options=pyarrow.csv.ReadOptions(use_threads=use_threads),
        parse_options=_options(path),
        convert_options=_conversion(types, only, has_missing),
    )


def parse_texts(path: Path, names: Collection[str], *, has_missing: bool = True) -> pa.Table:
    """Parse some columns, perhaps none, as text."""
    if not names:
        return pa.table({})
    return parse(path, dict.fromkeys(names, pa.string()), names, has_missing=has_missing)


def blocks_of_texts(path: Path, names: Collection[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Some columns as text, a block at a time, with the number of the block's first row."""
    if not names:
        return
    start = 0
    for batch in pyarrow.csv.open_csv(
        path,
        parse_options=_options(path),
        convert_options=_conversion(dict.fromkeys(names, pa.string()), names, has_missing=True),
    ):
        yield start, batch
        start += batch.num_rows


def _options(path: Path) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(delimiter=separator_of(path), newlines_in_values=True)


def _conversion(
    types: Mapping[str, pa.DataType], only: Collection[str], has_missing: bool
) -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(
        strings_can_be_null=has_missing,
        quoted_strings_can_be_null=False,
        column_types=dict(types),
        include_columns=list(only),
    )
