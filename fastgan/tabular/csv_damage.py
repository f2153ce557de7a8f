"""What is wrong with a CSV file that Arrow cannot parse, or parses into something else."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pyarrow as pa

from fastgan.tabular.csv_parsing import parse, separator_of
from fastgan.tabular.errors import TableError

_HEAD = 1 << 16  # bytes that tell encoding and separator
_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|[^\0]\0[^\0]\0|\0[^\0]\0[^\0]")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SUFFIXES = {",": ".csv", "\t": ".tsv"}


def check_encoding(path: Path) -> None:
    """Refuse a file in UTF-16.

    Raises:
        TableError: it is.
    """
    if _UTF_16.match(_head(path)):
        raise TableError(f"{path}: is UTF-16, not UTF-8; convert it")


def check_separator(path: Path) -> None:
    """Refuse a file whose rows have one column by its own separator, and several by another sign.

    Raises:
        TableError: the message names the sign.
    """
    own = separator_of(path)
    lines = _head(path).decode("utf-8", "replace").splitlines()[:20]
    if not lines or len(next(csv.reader(lines[:1], delimiter=own), [])) != 1:
        return
    for separator, name in _SEPARATORS.items():
        widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if len(widths) > 1 and widths[0] > 1 and len(set(widths[:-1])) == 1:  # the last may be cut off
            renamed = f", or rename it to {_SUFFIXES[separator]}" if separator in _SUFFIXES else ""
            raise TableError(
                f"{path}: its columns are separated by {name}; write it with {_SEPARATORS[own]}{renamed}"
            )


def check_lines(path: Path) -> None:
    """Refuse a file of which a line has more or fewer fields than the header.

    Raises:
        TableError: the message has the number of the first such line.
    """
    separator = separator_of(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        expected = end = 0
        try:
            for fields in reader:
                line, end = end + 1, reader.line_num  # a field in quotes may have several lines
                expected = expected or len(fields)
                if fields and len(fields) != expected:
                    is_cut = len(fields) < expected and next(reader, None) is None
                    break
            else:
                return
        except csv.Error:  # of a very long field; Arrow's own error is raised
            return
    remedy = f"correct it, or put quotes around a field with {_SEPARATORS[separator]}"
    raise TableError(
        f"{path}: line {line} has {len(fields)} field{'s' * (len(fields) > 1)}, expected {expected}; "
        f"{'is the file complete?' if is_cut else remedy}"
    )


def is_cut_in_quotes(path: Path, table: pa.Table) -> bool:
    """Whether the last field lacks its closing quote: Arrow accepts that, and adds a further row to it."""
    with path.open("rb") as file:
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2 == 0:
        return False
    row = f'\n{separator_of(path) * (table.num_columns - 1)}""\n'
    longer = parse(path, {}, use_threads=False, more=row.encode())
    return bool(longer.num_rows == table.num_rows)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)
