"""Files of tables lose nothing silently, and what they cannot hold is refused with one line."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from fastgan.tabular import TableError, TableWarning
from fastgan.tabular.frames import read_table, to_pandas, write_chunks, write_table


def test_names_in_files(tmp_path: Path) -> None:
    numbered = pd.DataFrame({0: [1, 2], 1: ["x", "y"]})
    mixed = pd.DataFrame({0: [1, 2], "b": ["x", "y"]})
    for suffix, back in ((".csv", ["0", "1"]), (".parquet", [0, 1])):
        path = tmp_path / f"numbered{suffix}"
        write_chunks([numbered, numbered], path)
        assert list(read_table(path)) == back
        write_chunks([mixed, mixed], path)
        assert read_table(path)["b"].tolist() == ["x", "y", "x", "y"]
        with pytest.raises(TableError, match="column '1': is the name of 2 columns in a file; rename them"):
            write_table(pd.DataFrame({1: [1], "1": [2]}), path)
        with pytest.raises(TableError, match=r"column '.ud800': the name has a lone surrogate; rename it"):
            write_table(pd.DataFrame([[1]], columns=pd.Index(["\ud800"], dtype=object)), path)


@pytest.mark.parametrize("names", [["a", "b"], [0, 1]])
def test_the_name_of_the_columns_in_parquet(tmp_path: Path, names: list[Any]) -> None:
    path = tmp_path / "table.parquet"
    for name, kept in (("field", "field"), (None, None), (("x", 1), None)):
        frame = pd.DataFrame([[1, 2.5]], columns=pd.Index(names, name=name, tupleize_cols=False))
        write_chunks([frame, frame], path)
        assert read_table(path).columns.name == kept


def test_several_columns_of_a_name_in_arrow() -> None:
    table = pa.table([[1, 2], [3, 4]], names=["a", "a"])
    with pytest.raises(TableError, match="column 'a': occurs 2 times; rename or drop all but one"):
        to_pandas(table)


def test_a_named_index_is_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"], "c": [7, 8]})
    path = tmp_path / "table.parquet"
    for index in ("b", ["b", "c"]):
        indexed = frame.set_index(index)
        indexed.to_parquet(path)
        pd.testing.assert_frame_equal(read_table(path), indexed.reset_index())
        pd.testing.assert_frame_equal(to_pandas(pa.Table.from_pandas(indexed)), indexed.reset_index())
    frame.set_index("b").rename_axis("a").to_parquet(path)
    with pytest.raises(TableError, match="column 'a': occurs 2 times"):
        read_table(path)
    frame[frame["a"] > 2].to_parquet(path)  # an index without a name
    assert list(read_table(path)) == ["a", "b", "c"]


LONG = 2**63
KEPT: dict[str, tuple[list[str], list[Any], str | None]] = {
    "zeros": (
        ["7", "00123", "-5"],
        ["7", "00123", "-5"],
        "row 3, counting the header, is '00123', which a num",
    ),
    "zeros and missing": (["", "01"], [None, "01"], "row 3, counting the header, is '01'"),
    "hexadecimal": (["0x1F", "2"], ["0x1F", "2"], "row 2, .*'0x1F'"),
    "plus signs": (["+49301", "+49302"], ["+49301", "+49302"], r"row 2, .* is '\+49301'"),
    "long codes": (["1", f"0{LONG}"], ["1", f"0{LONG}"], "row 3, .*"),
    "beyond 64 bits": (["1", f"{LONG}0"], ["1", f"{LONG}0"], "has integers beyond 64 bits, so it is read as"),
    "unsigned": (["1", f"{LONG}"], [1, LONG], None),
    "zeros in front of a point": (["0.5", "007.5"], [0.5, 7.5], None),
    "signs of floats": (["+1.5", "-0"], [1.5, 0.0], None),
    "integers": (["0", "-0", " 5"], [0, 0, 5], None),
    "exponents": (
        ["3401", "12E5", "77e2"],
        ["3401", "12E5", "77e2"],
        "row 3, counting the header, is '12E5'",
    ),
    "exponents only": (["12E5", ""], ["12E5", None], "row 2, .*'12E5'"),
    "an exponent beyond floats": (["1", "-1E400"], ["1", "-1E400"], "row 3, .*'-1E400'"),
    "exponents of floats": (["12E5", "0.5"], [12e5, 0.5], None),
    "signs of exponents": (["1e+16", "1e-7", "5"], [1e16, 1e-7, 5.0], None),
}


@pytest.mark.parametrize("case", KEPT)
def test_numbers_that_are_codes(tmp_path: Path, case: str) -> None:
    fields, values, message = KEPT[case]
    path = tmp_path / "table.csv"
    path.write_text("".join(f"{field},1\n" for field in ["zip", *fields]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        column = read_table(path)["zip"]
    assert column.astype(object).where(column.notna(), None).tolist() == values
    assert len(caught) == (message is not None)
    if message:
        assert re.match(f"{path}: column 'zip': {message}", str(caught[0].message)), caught[0].message


@pytest.mark.filterwarnings("error")
def test_chosen_kinds_of_codes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"zip,size,big\n00123,1.50,1\n7,2,{LONG}0\n")
    texts = read_table(path, dict.fromkeys(["zip", "size", "big"], "category"))
    assert texts.to_numpy().tolist() == [["00123", "1.50", "1"], ["7", "2", f"{LONG}0"]]
    numbers = read_table(path, {"zip": "integer", "big": "continuous"})
    assert numbers.to_numpy().tolist() == [[123, 1.5, 1], [7, 2.0, LONG * 10.0]]
    path.write_text("code,size\n12E5,1\n7,2\n")
    assert read_table(path, {"code": "category"})["code"].tolist() == ["12E5", "7"]
    for kind in ("integer", "continuous"):
        assert read_table(path, {"code": kind})["code"].tolist() == [12e5, 7]
    path.write_text("zip,size\n +5,1\n-7,2\n")
    assert read_table(path, {"zip": "integer"})["zip"].tolist() == [5, -7]
    path.write_text("zip,size\n123,1\n7,2\n")
    assert read_table(path, {"zip": "category"})["zip"].tolist() == [123, 7]
    assert read_table(path, texts=["zip"])["zip"].tolist() == ["123", "7"]


def test_a_code_far_down(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "1,2\n" * 600_000 + "1,02\n")
    with pytest.warns(TableWarning, match="column 'b': row 600002, counting the header, is '02'"):
        assert read_table(path)["b"].iloc[-1] == "02"


def test_a_bad_field_among_numbers(tmp_path: Path) -> None:
    def warned(fields: list[str], columns: dict[str, str] | None = None) -> list[str]:
        path = tmp_path / "table.csv"
        path.write_text("".join(f"{field},1\n" for field in ["a", *fields]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_table(path, columns)
        return [str(each.message).removeprefix(f"{path}: ") for each in caught]

    numbers = ["", *map(str, range(18)), "-1.5e3"]
    assert warned([*numbers, "oops"]) == [
        "column 'a': row 22, counting the header, is 'oops', so the column is text, though 95.0% of its "
        "fields are numbers; correct such fields or leave them empty"
    ]
    assert "is '-', so the column is text" in warned(["-", *numbers])[0]
    assert "of its fields are dates" in warned(["?", *["2020-01-31"] * 30])[0]
    assert warned([*numbers, "oops"], {"a": "category"}) == []
    assert warned([*numbers, "oops", "uh"]) == []
    assert warned(["A12", *["00123"] * 30]) == []


@pytest.mark.parametrize("word", ["None", "?", "-", "unknown"])
def test_a_word_for_missing_numbers(tmp_path: Path, word: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "".join(f"{row},1\n{word},2\n" for row in range(11)))
    message = (
        f"row 3, counting the header, is '{word}', so the column is text, though 50.0% of its fields are numb"
    )
    with pytest.warns(TableWarning, match=re.escape(message)):
        read_table(path)
    path.write_text(path.read_text().replace("\n10,", "\n9,"))  # as few as categories
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_table(path)


def test_codes_that_are_read_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def warned(fields: str, columns: dict[str, str] | None = None) -> list[str]:
        path.write_text("".join(f"{field},1\n" for field in ["country", *fields.split()]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            column = read_table(path, columns)["country"]
        assert column.isna().any()
        return [str(each.message) for each in caught]

    assert warned("DE CH NA AT NA") == [
        f"{path}: column 'country': row 4, counting the header, is NA, which counts as missing, though it "
        "looks like the column's other values; write it in quotes if it is one, or make the column "
        "'category' in columns, or with --columns, if it is not"
    ]
    assert "is null, which counts" in warned("abcd null dcba cdab")[0]
    assert warned("DE CH NA AT", {"country": "category"}) == []
    assert warned('DE CH NA AT "NA"') == []
    assert warned("DE CH N/A AT") == []
    assert warned("yes no NA maybe") == []
    assert warned("OK NO NA") == []


def test_tables_with_tabs(tmp_path: Path) -> None:
    path = tmp_path / "table.TSV"
    path.write_text('zip\tnote\n00123\t"a\tb"\n7\ta,b\n')
    with pytest.warns(TableWarning, match="column 'zip': row 2, counting the header, is '00123'"):
        frame = read_table(path)
    assert frame.to_numpy().tolist() == [["00123", "a\tb"], ["7", "a,b"]]
    write_chunks([frame, frame], path)
    assert path.read_text().splitlines()[:2] == ['"zip"\t"note"', '"00123"\t"a\tb"']
    for content, message in (
        ("a\tb\n1\t2\n1,5\n1\t2\n", "line 3 has 1 field, expected 2; correct it, or put .* with tabs"),
        ('a\tb\n1\t"2', r"cannot be read \(row 2, counting the header: ends within quotes"),
        ("a,b\n1,2\n", "its columns are separated by commas; write it with tabs, or rename it to .csv"),
        ("a;b\n1;2\n", "its columns are separated by semicolons; write it with tabs$"),
    ):
        path.write_text(content)
        with pytest.raises(TableError, match=message):
            read_table(path)


OTHERS = {
    "people.xlsx": "convert it, for example with pandas.read_excel('people.xlsx').to_parquet('people.par",
    "people.JSON": "convert it, for example with pandas.read_json('people.JSON').to_parquet('people.parq",
    "people.jsonl": "convert it, for example with pandas.read_json('people.jsonl', lines=True).to_parque",
    "people.feather": "convert it, for example with pandas.read_feather('people.feather').to_parquet('peo",
    "people.csv.gz": "decompress it to people.csv",
    "people.json.zip": "decompress it to people.json",
    "people.txt": "if commas separate its columns, rename it to .csv, if tabs do, to .tsv",
}


@pytest.mark.parametrize("name", OTHERS)
def test_tables_in_other_forms(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(TableError) as raised:
        read_table(path)
    assert str(raised.value).startswith(
        f"{path}: expected a name that ends in .csv, .tsv or .parquet; {OTHERS[name]}"
    )


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_other_separators(tmp_path: Path, separator: str, name: str) -> None:
    path = tmp_path / "table.csv"
    for number in ("1", "1,5"):
        path.write_text(f"a{separator}b\n{number}{separator}x\n" * 2)
        with pytest.raises(TableError, match=f"its columns are separated by {name}; write it with commas"):
            read_table(path)
    path.write_text(f"notes{separator} free text\nnone\nfew\n")
    assert len(read_table(path)) == 2


HALVES = pd.Categorical.from_codes([0, 1], pd.Index(["a", "\ud800"], dtype=object))
UNWRITABLE: dict[str, tuple[pd.Series[Any], str, bool]] = {
    "integers": (pd.Series([1, 2**64], dtype=object), "Parquet cannot hold it .*write a .csv file", True),
    "intervals": (pd.Series(pd.cut([1, 3], [0, 2, 4])), "Parquet cannot hold it .*write a .csv file", True),
    "mixed": (pd.Series([1, "a"], dtype=object), "Parquet cannot hold it .*write a .csv file", True),
    "surrogates": (pd.Series(["a", "\ud800"], dtype=object), "'.ud800' has a lone surrogate.*replace", False),
    "mixed surrogates": (pd.Series([1, "\ud800"], dtype=object), "(.*surrogate|Parquet cannot)", False),
    "categories": (pd.Series(HALVES), "'.ud800' has a lone surrogate.*", False),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_columns_that_files_cannot_hold(tmp_path: Path, case: str) -> None:
    column, message, as_csv = UNWRITABLE[case]
    frame = pd.DataFrame({"a": [1, 2], "x": column})
    with pytest.raises(TableError, match=f"column 'x': {message}") as raised:
        write_chunks([frame, frame], tmp_path / "table.parquet")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
    path = tmp_path / "table.csv"
    if as_csv:
        write_table(frame, path)
        assert path.read_text().splitlines()[2].split(",", 1)[1].strip('"') == str(column[1])
        return
    with pytest.raises(TableError, match=r"column 'x': '.ud800' has a lone surrogate, which no file holds"):
        write_table(frame, path)
    assert not list(tmp_path.iterdir())
