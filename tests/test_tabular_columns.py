"""What columns are found to be, and what is refused with one line that names column and row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from fastgan.tabular import TableError
from fastgan.tabular.columns import kinds_of
from fastgan.tabular.frames import read_table, to_pandas, write_chunks, write_table

ROWS = 24
DAYS = pd.Series(pd.date_range("2020-02-27", periods=ROWS))
NUMBERS = np.arange(ROWS)
WORDS = [f"word {number % 5}" for number in NUMBERS]
ARROW = pd.ArrowDtype
COLUMNS: dict[str, tuple[Any, str]] = {
    "float64": (NUMBERS / 7, "continuous"),
    "float32": (NUMBERS.astype(np.float32), "continuous"),
    "Float64": (pd.array([None, *NUMBERS[1:]], dtype="Float64"), "continuous"),
    "arrow float": (pd.array(NUMBERS / 7, dtype=ARROW(pa.float32())), "continuous"),
    "two floats": (NUMBERS % 2 / 2, "continuous"),
    "int64": (NUMBERS, "integer"),
    "uint8": (NUMBERS.astype(np.uint8), "integer"),
    "Int8": (pd.array([None, *NUMBERS[1:]], dtype="Int8"), "integer"),
    "arrow uint64": (pd.array(NUMBERS, dtype=ARROW(pa.uint64())), "integer"),
    "ten integers": (NUMBERS % 10, "category"),
    "eleven integers": (NUMBERS % 11, "integer"),
    "ten Integers": (pd.array([None, *(NUMBERS[1:] % 10)], dtype="Int64"), "category"),
    "bool": (NUMBERS % 2 == 0, "boolean"),
    "boolean": (pd.array([None, *(NUMBERS[1:] % 2 == 0)], dtype="boolean"), "boolean"),
    "objects of bools": (pd.Series([None, *(NUMBERS[1:] % 2 == 0).tolist()], dtype=object), "boolean"),
    "arrow bool": (pd.array(NUMBERS % 2 == 0, dtype=ARROW(pa.bool_())), "boolean"),
    "datetime s": (DAYS.astype("datetime64[s]"), "datetime"),
    "datetime ns": (DAYS.astype("datetime64[ns]"), "datetime"),
    "datetime zone": (DAYS.dt.tz_localize("Europe/Berlin"), "datetime"),
    "arrow timestamp": (DAYS.astype(ARROW(pa.timestamp("us", "UTC"))), "datetime"),
    "timedelta": (DAYS - DAYS[0], "timedelta"),
    "arrow duration": ((DAYS - DAYS[0]).astype(ARROW(pa.duration("s"))), "timedelta"),
    "date": (pd.Series([None, *DAYS[1:].dt.date], dtype=object), "date"),
    "arrow date": (DAYS.astype(ARROW(pa.date32())), "date"),
    "time": ([dt.time(number) for number in NUMBERS], "time"),
    "arrow time": (pd.array([dt.time(number) for number in NUMBERS], dtype=ARROW(pa.time32("s"))), "time"),
    "str": (WORDS, "category"),
    "string": (pd.array(WORDS, dtype="string"), "category"),
    "arrow string": (pd.array(WORDS, dtype=ARROW(pa.large_string())), "category"),
    "category": (pd.Categorical(WORDS), "category"),
    "intervals": (pd.cut(NUMBERS, 3), "category"),
    "mixed": (pd.Series([1, 1.5, True, "x"] * (ROWS // 4), dtype=object), "category"),
    "constant": (np.ones(ROWS), "constant"),
    "constant text": (["x"] * ROWS, "constant"),
    "missing": (np.full(ROWS, np.nan), "constant"),
    "missing objects": (pd.Series([None] * ROWS, dtype=object), "constant"),
    "one and missing": ([1.0, np.nan] * (ROWS // 2), "continuous"),
    "1 and True": (pd.Series([1, True, 1] * (ROWS // 3), dtype=object), "category"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_kinds(name: str) -> None:
    column, kind = COLUMNS[name]
    assert kinds_of(pd.DataFrame({"x": column})) == {"x": kind}


@pytest.mark.parametrize(
    ("name", "chosen", "kind"),
    [
        ("int64", "category", "category"),
        ("float64", "category", "category"),
        ("datetime ns", "category", "category"),
        ("bool", "category", "category"),
        ("ten integers", "integer", "integer"),
        ("ten integers", "continuous", "integer"),
        ("float64", "continuous", "continuous"),
        ("float32", "integer", "integer"),
        ("date", "continuous", "date"),
        ("constant", "category", "constant"),
    ],
)
def test_chosen_kinds(name: str, chosen: str, kind: str) -> None:
    frame = pd.DataFrame({"x": COLUMNS[name][0], "y": NUMBERS})
    assert kinds_of(frame, {"x": chosen}) == {"x": kind, "y": "integer"}


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        (
            "str",
            "continuous",
            r"columns\['x'\] is 'continuous', which does not fit a column of str; .*to_numeric",
        ),
        ("bool", "continuous", r"columns\['x'\] is 'continuous', which does not fit a column of bool"),
        ("float64", "integer", r"columns\['x'\] is 'integer', .* float64; round it first"),
        ("str", "datetime", r"columns\['x'\] is 'datetime', .*pandas\.to_datetime"),
        ("int64", "constant", r"columns\['x'\] is 'constant', .*expected 'integer' or 'category'"),
        ("int64", "number", r"columns\['x'\] is 'number', expected one of continuous, .*, category$"),
    ],
)
def test_unfit_kinds(name: str, chosen: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        kinds_of(pd.DataFrame({"x": COLUMNS[name][0]}), {"x": chosen})


def objects(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


BAD: dict[str, tuple[Any, str]] = {
    "empty": (pd.DataFrame({"x": []}), "the table has 0 rows, expected at least 2; add rows"),
    "one row": (pd.DataFrame({"x": [1]}), "the table has 1 rows, expected at least 2; add rows"),
    "no columns": (pd.DataFrame(index=[0, 1]), "the table has no columns; add some"),
    "list": ([[1]], "the table is a list, expected a pandas.DataFrame; convert it, .*to_pandas"),
    "same names": (
        pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"]),
        "column 'x': occurs 2 times; rename or drop all but one",
    ),
    "tuple": (
        pd.DataFrame({("a", "b"): [1, 2]}),
        r"column \('a', 'b'\): expected a name that is a str or an int; rename it",
    ),
    "infinite": (
        pd.DataFrame({"x": [1.0, np.nan, -np.inf]}),
        "column 'x': row 2 is -inf; replace infinite values, for example by missing ones",
    ),
    "infinite object": (objects("a", float("inf")), "column 'x': row 1 is inf; replace"),
    "lists": (
        objects("a", [1]),
        r"column 'x': row 1 is \[1\], of type list, which is no category; give each",
    ),
    "dicts": (objects({"a": 1}, {}), "column 'x': row 0 is {'a': 1}, of type dict, .*give each key a column"),
    "bytes": (objects(None, b"a"), "column 'x': row 1 is b'a', of type bytes, .*decode them to strings"),
    "Decimal": (objects(Decimal(1), None), "of type Decimal, .*convert the column to floats"),
    "dates and text": (
        objects("a", dt.date(2020, 1, 1)),
        "column 'x': row 1 is .*of type date, .*of their own",
    ),
    "datetimes": (objects(dt.datetime(2020, 1, 1), None), "of type datetime, .*pandas.to_datetime"),
    "complex": (pd.DataFrame({"x": [1j, 2j]}), "column 'x': cannot model dtype complex128; convert it"),
    "periods": (pd.DataFrame({"x": pd.period_range("2020", periods=2)}), "dtype period.*to_timestamp"),
    "decimals": (
        pd.DataFrame({"x": pd.array(["1.5", "2"], dtype=ARROW(pa.decimal128(5, 2)))}),
        "cannot model dtype decimal128.*float64",
    ),
    "zone": (
        pd.DataFrame({"x": DAYS.dt.tz_localize(dt.timezone(dt.timedelta(hours=1), "here"))}),
        r"column 'x': the time zone of datetime64\[us, here\] has no name; use \.dt\.tz_convert\('UTC'\)",
    ),
    "sparse": (pd.DataFrame({"x": pd.array([0, 1], dtype="Sparse[int]")}), "dtype Sparse.*to_dense"),
    "arrow list": (pd.DataFrame({"x": pd.array([[1], []], dtype=ARROW(pa.list_(pa.int8())))}), "dtype list"),
    "categories of tuples": (
        pd.DataFrame({"x": pd.Categorical([("a", 1), ("b", 2)])}),
        r"column 'x': category 0 is \('a', 1\), of type tuple, which is no category; give each element",
    ),
    "categories of periods": (
        pd.DataFrame({"x": pd.Categorical(pd.period_range("2020", periods=2, freq="M"))}),
        "column 'x': category 0 is Period.*of type Period, which is no category; convert them",
    ),
    "categories of Decimal": (
        pd.DataFrame({"x": pd.Categorical([Decimal(1), Decimal(2)])}),
        "column 'x': category 0 is Decimal.*, of type Decimal, .*convert",
    ),
    "zoned times": (
        objects(dt.time(1, tzinfo=dt.timezone.utc), None),
        "column 'x': has times with time zones",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(case: str) -> None:
    table, message = BAD[case]
    with pytest.raises(TableError, match=message) as raised:
        kinds_of(table)
    assert "\n" not in str(raised.value)


def test_a_name_that_is_no_columns() -> None:
    with pytest.raises(TableError, match=r"columns names 'ages', which is no column; did you mean 'age'\?"):
        kinds_of(pd.DataFrame({"age": [1, 2], 3: [1, 2]}), {"ages": "category"})


def test_names_that_are_integers() -> None:
    names = list(kinds_of(pd.DataFrame(np.ones((2, 2)))))
    assert names == [0, 1]
    assert [type(name) for name in names] == [int, int]


def plain() -> pd.DataFrame:
    """Columns that CSV, Parquet, Arrow and polars keep as they are."""
    return pd.DataFrame(
        {
            "number": [0.1, np.nan, 1e300],
            "whole": [1, -2, 2**62],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "text": ['a "quote", a\ttab and\na line', "NA", None],
            "day": pd.Series([dt.date(1960, 1, 1), None, dt.date(2030, 12, 31)], dtype=object),
            "hour": pd.Series([dt.time(1, 2, 3), None, dt.time(23)], dtype=object),
            "moment": pd.Series(
                pd.to_datetime(["2020-01-01 12:00:00.5", None, "1999-01-01"], format="ISO8601")
            ),
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("rows", [1, 3])
def test_files(tmp_path: Path, suffix: str, rows: int) -> None:
    frame = plain()
    path = tmp_path / f"table{suffix}"
    write_chunks((frame[start : start + rows] for start in range(0, 3, rows)), path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    back = read_table(path)
    if suffix != ".parquet":
        frame["moment"] = frame["moment"].astype(back["moment"].dtype)  # a unit that is fine enough
    pd.testing.assert_frame_equal(back, frame)


def test_csv_of_dtypes_that_it_does_not_have(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "gap": pd.to_timedelta([1, None], unit="s"),
            "mixed": pd.Series([1, "a"], dtype=object),
            "cut": pd.cut([1, 2], 2, labels=False),
            "interval": pd.cut([1, 3], [0, 2, 4]),
            "level": pd.Categorical(["b", None], categories=["b", "a"]),
        }
    )
    write_table(frame, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines() == [
        '"gap","mixed","cut","interval","level"',
        '"0 days 00:00:01","1",0,"(0, 2]","b"',
        ',"a",1,"(2, 4]",',
    ]


def test_parquet_does_not_hold_mixed_objects(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"column 'm': Parquet cannot hold it \(.*\); write a \.csv file"):
        write_table(pd.DataFrame({"m": pd.Series([1, "a"], dtype=object)}), tmp_path / "table.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "arrow"])
def test_other_libraries(convert: Callable[[pd.DataFrame], Any]) -> None:
    frame = plain()
    back = to_pandas(convert(frame))
    frame["moment"] = frame["moment"].astype(back["moment"].dtype)
    pd.testing.assert_frame_equal(back, frame)
    assert to_pandas(frame) is frame


def test_polars_of_its_own_dtypes() -> None:
    table = pl.DataFrame(
        {
            "level": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])),
            "group": pl.Series(["x", "y"], dtype=pl.Categorical),
            "small": pl.Series([1, 2], dtype=pl.UInt8),
            "gap": [dt.timedelta(1), None],
        }
    )
    frame = to_pandas(table)
    assert list(kinds_of(frame).values()) == ["category", "category", "category", "timedelta"]
    assert list(frame["level"].cat.categories) == ["y", "x"]
    with pytest.raises(TableError, match=r"a LazyFrame, expected .*; call \.collect\(\) first"):
        to_pandas(table.lazy())
    with pytest.raises(TableError, match="the table is a dict, expected a DataFrame of pandas or polars"):
        to_pandas({"x": [1]})


CANNOT, IS_IT = "cannot be read", "is it complete?"
CORRECT = "correct it, or put quotes around a field with commas"
CUT: dict[str, tuple[bytes, str]] = {
    "in a row": (b"a,b,c\n1,2,x\n3,", "line 3 has 2 fields, expected 3; is the file complete?"),
    "in a field": (b"a,b,c\n1,2,x\n3", "line 3 has 1 field, expected 3; is the file complete?"),
    "in quotes": (
        b'a,b,c\n1,2,x\n3,4,"y',
        f"{CANNOT} (row 3, counting the header: ends within quotes); {IS_IT}",
    ),
    "nothing": (b"", f"{CANNOT} (Empty CSV file); {IS_IT}"),
    "long row": (b"a,b\n1,2\n1,2,3\n", f"line 3 has 3 fields, expected 2; {CORRECT}"),
    "short row": (b"a,b\r\n1\r\n1,2\r\n", f"line 2 has 1 field, expected 2; {CORRECT}"),
    "after empty lines": (
        b"\xef\xbb\xbfa,b\n\n1,2\n\n1,2,3\n",
        f"line 5 has 3 fields, expected 2; {CORRECT}",
    ),
    "after a long field": (b'a,b\n"x\ny",2\n"x\ny",2,3\n', f"line 4 has 3 fields, expected 2; {CORRECT}"),
    "a very long field": (
        b"a,b\n" + b"x" * 200_000 + b",2\n1,2,3\n",
        f"{CANNOT} (row 3, counting the header: Expected 2 columns, got 3: 1,2,3); {IS_IT}",
    ),
}


@pytest.mark.parametrize("case", CUT)
def test_damaged_csv(tmp_path: Path, case: str) -> None:
    content, message = CUT[case]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as raised:
        read_table(path)
    assert str(raised.value) == f"{path}: {message}"


def test_damage_far_down_in_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "1,2\n" * 600_000 + "1")
    with pytest.raises(TableError, match="line 600002 has 1 field, expected 2"):
        read_table(path)


@pytest.mark.parametrize("content", [b'a,b\n5" pipe,1\n6,2\n', b'a,b\n"x",1\n"5""",2\n', b'a,b\n1,5" pipe\n'])
def test_quotes_that_are_no_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert list(read_table(path)) == ["a", "b"]


def test_other_bad_files(tmp_path: Path) -> None:
    def refused(name: str, content: bytes | None) -> str:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(TableError) as raised:
            read_table(path)
        assert "\n" not in str(raised.value)
        return str(raised.value).removeprefix(f"{path}: ")

    assert refused("table.xyz", b"") == "expected a name that ends in .csv, .tsv or .parquet"
    assert refused("table.csv", None) == "is no file; check the path"
    assert refused("names.csv", b"a,a\n1,2\n") == "has several columns 'a'; rename them"
    assert refused("latin.csv", b"a\n\xe4\nb\n") == "column 'a' is not UTF-8; convert the file"
    assert refused("header.csv", b"\xe4,b\n1,2\n") == "is not UTF-8; convert it"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert refused("wide.csv", "a,b\n1,2\n".encode(encoding)) == "is UTF-16, not UTF-8; convert it"
    assert refused("rows.csv", b"a,b\n") == "the table has 0 rows; add rows"
    pyarrow.parquet.write_table(pa.table({"a": range(1000)}), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert refused("cut.parquet", whole[:-30]).startswith("cannot be read (")
    assert refused("short.parquet", b"PAR1").startswith("cannot be read (")
