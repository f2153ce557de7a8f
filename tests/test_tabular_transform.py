"""A table is encoded and decoded without loss, for all dtypes; what networks generate becomes a table."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgan.tabular import TableError, TableWarning
from fastgan.tabular.coders import Continuous
from fastgan.tabular.steps import Steps
from fastgan.tabular.storage import Storage
from fastgan.tabular.transform import Encoded, TableTransform

THOROUGH = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
MAX_EXACT = 2**50  # steps from the least to the greatest value
ARROW = pd.ArrowDtype
ZONES = ["UTC", "Europe/Berlin", "UTC+05:30"]

finite = st.floats(allow_nan=False, allow_infinity=False)
extreme = st.sampled_from(
    [0.0, -0.0, 5e-324, 1e-300, -1e-300, 1e300, -1e300, 1.7e308, -1.7e308, 1.0, 1 + 2**-52]
)
prices = st.integers(-(10**7), 10**7).map(lambda cents: cents / 100)
stamps = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
days = st.dates()
hours = st.times()
gaps = st.timedeltas(dt.timedelta(-(10**4)), dt.timedelta(10**4))
scalars = st.one_of(st.text(max_size=3), st.integers(-(2**70), 2**70), finite, st.booleans())


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(low, high), st.integers(0, min(high, 100)), st.sampled_from([low, high]))


def signed(bits: int) -> st.SearchStrategy[int]:
    return integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return integers(0, 2**bits - 1)


def zoned(zone: str) -> Callable[[list[Any]], pd.Series[Any]]:
    return lambda values: pd.Series(pd.to_datetime(values)).dt.tz_localize("UTC").dt.tz_convert(zone)


def intervals(values: list[Any]) -> pd.Series[Any]:
    return pd.Series(pd.cut(pd.Series(values, dtype=float), range(-1, 11, 3)))


def series(dtype: Any) -> Callable[[list[Any]], pd.Series[Any]]:
    return lambda values: pd.Series(values, dtype=dtype)


# values, whether some may be missing, and the column of a list of them
COLUMNS: dict[str, tuple[st.SearchStrategy[Any], bool, Callable[[list[Any]], pd.Series[Any]]]] = {
    "float64": (st.one_of(finite, extreme), True, series("float64")),
    "prices": (prices, True, series("float64")),
    "float32": (st.floats(width=32, allow_nan=False, allow_infinity=False), True, series("float32")),
    "float16": (st.floats(width=16, allow_nan=False, allow_infinity=False), True, series("float16")),
    "Float64": (finite, True, series("Float64")),
    "arrow float": (finite, True, series(ARROW(pa.float64()))),
    "arrow half": (
        st.floats(width=16, allow_nan=False, allow_infinity=False).map(np.float16),
        True,
        series(ARROW(pa.float16())),
    ),
    "int8": (signed(8), False, series("int8")),
    "int64": (signed(64), False, series("int64")),
    "uint32": (unsigned(32), False, series("uint32")),
    "uint64": (unsigned(64), False, series("uint64")),
    "Int64": (signed(64), True, series("Int64")),
    "UInt64": (unsigned(64), True, series("UInt64")),
    "arrow int16": (signed(16), True, series(ARROW(pa.int16()))),
    "arrow uint64": (unsigned(64), True, series(ARROW(pa.uint64()))),
    "bool": (st.booleans(), False, series("bool")),
    "boolean": (st.booleans(), True, series("boolean")),
    "objects of bools": (st.booleans(), True, series(object)),
    "arrow bool": (st.booleans(), True, series(ARROW(pa.bool_()))),
    "str": (st.text(max_size=5), True, series("str")),
    "string": (st.text(max_size=5), True, series("string")),
    "arrow string": (st.text(max_size=5), True, series(ARROW(pa.string()))),
    "arrow dictionary": (st.text(max_size=2), True, series(ARROW(pa.dictionary(pa.int32(), pa.string())))),
    "objects": (scalars, True, series(object)),
    "category": (st.sampled_from("abc"), True, series(pd.CategoricalDtype(list("dabc"), ordered=True))),
    "category of days": (
        st.integers(0, 3).map(lambda number: pd.Timestamp("2020-01-01") + pd.Timedelta(days=number)),
        True,
        series(pd.CategoricalDtype(list(pd.date_range("2020-01-01", periods=5)))),
    ),
    "category of objects": (st.sampled_from([1, "a"]), True, series(pd.CategoricalDtype([1, "a", 2.5]))),
    "intervals": (st.integers(0, 9), True, intervals),
    "datetime us": (stamps, True, series("datetime64[us]")),
    "datetime ns": (stamps, True, series("datetime64[ns]")),
    "datetime s": (stamps.map(lambda stamp: stamp.replace(microsecond=0)), True, series("datetime64[s]")),
    **{f"datetime {zone}": (stamps, True, zoned(zone)) for zone in ZONES},
    "arrow timestamp": (
        stamps.map(lambda stamp: stamp.replace(tzinfo=dt.timezone.utc)),
        True,
        series(ARROW(pa.timestamp("us", "Europe/Berlin"))),
    ),
    "timedelta": (gaps, True, series("timedelta64[ns]")),
    "arrow duration": (gaps, True, series(ARROW(pa.duration("us")))),
    "date": (days, True, series(object)),
    "arrow date32": (days, True, series(ARROW(pa.date32()))),
    "arrow date64": (days, True, series(ARROW(pa.date64()))),
    "time": (hours, True, series(object)),
    "arrow time32": (
        hours.map(lambda hour: hour.replace(microsecond=0)),
        True,
        series(ARROW(pa.time32("ms"))),
    ),
    "arrow time64": (hours, True, series(ARROW(pa.time64("ns")))),
}


@st.composite
def frames(draw: st.DrawFn, name: str) -> pd.DataFrame:
    """A column, next to one that is never constant."""
    values, may_miss, build = COLUMNS[name]
    few = draw(st.lists(values, min_size=1, max_size=30))
    rows = draw(st.integers(2, 60))
    listed = [few[number % len(few)] for number in range(rows)]
    if may_miss and (gap := draw(st.integers(0, 4))):
        listed = [None if row % gap == 0 else value for row, value in enumerate(listed)]
    return pd.DataFrame({"x": build(listed), 7: np.arange(rows) % 2 == 0})


def assert_kept(before: pd.DataFrame, after: pd.DataFrame, transform: TableTransform) -> None:
    column = transform.columns[0]
    if isinstance(column.coder, Continuous):
        assert_near(before, after, column.storage, column.coder)
        before, after = before.drop(columns="x"), after.drop(columns="x")
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def assert_near(before: pd.DataFrame, after: pd.DataFrame, storage: Storage, coder: Continuous) -> None:
    """Missing values and dtypes are equal; numbers too, but for a few roundings in a wide range."""

    assert after["x"].dtype == before["x"].dtype
    old, new = storage.read(before["x"]), storage.read(after["x"])
    np.testing.assert_array_equal(old.missing, new.missing)
    numbers = [coder.scale.to_numbers(raw.values[~raw.missing]) for raw in (old, new)]
    if isinstance(coder.scale, Steps):
        lost = 0 if coder.scale.count <= MAX_EXACT else coder.scale.count * 2.0**-50
    else:
        span = coder.scale.high / 2 - coder.scale.low / 2
        magnitude = max(abs(coder.scale.low), abs(coder.scale.high))
        lost = 2 * (1e-12 * span) + 2 * np.spacing(magnitude / 2)
    halves = [half / 2 for half in numbers]
    assert np.abs(halves[0] - halves[1]).max(initial=0) <= lost / 2


@pytest.mark.parametrize("name", COLUMNS)
def test_round_trip(name: str) -> None:
    @THOROUGH
    @given(frames(name), st.integers(0, 3))
    def check(frame: pd.DataFrame, seed: int) -> None:
        transform = TableTransform.fit(frame, seed=seed)
        encoded = transform.encode(frame, seed)
        assert_encoded(transform, encoded)
        decoded = transform.decode(encoded, seed)
        assert_kept(frame, decoded, transform)
        described = json.dumps(transform.to_json(), allow_nan=False)
        again = TableTransform.from_json(json.loads(described))
        assert json.dumps(again.to_json(), allow_nan=False) == described
        for ours, theirs in zip(encoded, again.encode(frame, seed), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        pd.testing.assert_frame_equal(again.decode(encoded, seed), decoded, check_exact=True)

    check()


def assert_encoded(transform: TableTransform, encoded: Encoded) -> None:
    widths = np.array([span for span in transform.spans if span > 1])
    assert encoded.codes.dtype == np.int32
    assert encoded.values.dtype == np.float64
    assert (encoded.codes >= 0).all()
    assert (encoded.codes < widths).all()
    assert (np.abs(encoded.values) <= 1).all()


def mixed(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "bell": rng.normal(size=rows),
            "two bells": np.where(rng.random(rows) < 0.3, rng.normal(-9, 1, rows), rng.normal(9, 2, rows)),
            "price": rng.lognormal(3, 1, rows).round(2),
            "age": rng.integers(18, 90, rows),
            "city": rng.choice(["Oslo", "Paris", "Rome"], rows),
            "level": pd.Categorical(rng.choice(["low", "high"], rows), ["low", "mid", "high"], ordered=True),
            "holes": np.where(rng.random(rows) < 0.2, np.nan, rng.random(rows)),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 999, rows), unit="D"),
            "flag": pd.Series(rng.choice(np.array([True, False, None], dtype=object), rows), dtype="boolean"),
            "one": "x",
        }
    )


def test_spans_and_conditions() -> None:
    frame = mixed()
    transform = TableTransform.fit(frame)
    by_name = {column.name: column.coder.spans for column in transform.columns}
    assert transform.spans == sum(by_name.values(), ())
    assert by_name["city"] == (3,)
    assert by_name["level"] == (2,)
    assert by_name["flag"] == (3,)
    assert by_name["one"] == ()
    assert all(by_name[name][0] == 1 for name in ("bell", "two bells", "price", "age", "holes", "day"))
    softmaxes = [(name, span) for name, spans in by_name.items() for span in spans if span > 1]
    assert [softmaxes[index] for index in transform.conditions] == [("city", 3), ("level", 2), ("flag", 3)]


def test_a_column_without_modes_has_no_softmax() -> None:
    transform = TableTransform.fit(pd.DataFrame({"x": [1.0, np.nan] * 9, "y": np.repeat([1.0, 3.0], 9)}))
    assert transform.columns[0].coder.spans == (1, 2)
    assert len(transform.columns[1].coder.spans) == 2 or transform.columns[1].coder.spans == (1,)


def test_modes_are_drawn_by_their_posterior_probabilities() -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=5000)})
    transform = TableTransform.fit(frame)
    modes = transform.columns[0].coder.modes
    components = len(modes.weights)
    at = 0.4
    encoded = transform.encode(pd.DataFrame({"x": np.full(40_000, at)}), seed=1)
    u = np.ldexp(at, -modes.exponent)
    means, deviations = modes.means[:components], modes.scales[:components] / 4
    density = modes.weights / deviations * np.exp(-(((u - means) / deviations) ** 2) / 2)
    density[np.abs(u - means) > 4 * deviations] = 0
    drawn = np.bincount(encoded.codes[:, 0], minlength=components)[:components] / 40_000
    np.testing.assert_allclose(drawn, density / density.sum(), atol=0.01)
    other = transform.encode(pd.DataFrame({"x": np.full(40_000, at)}), seed=2)
    assert (encoded.codes != other.codes).any()


def test_tails_and_gaps_have_modes_of_their_own() -> None:
    rng = np.random.default_rng(0)
    bulk = np.concatenate([rng.normal(-10, 1, 5000), rng.normal(10, 1, 5000)])
    outliers = [-900.0, -800.0, 0.0, 1e6]
    frame = pd.DataFrame({"x": np.concatenate([bulk, outliers])})
    transform = TableTransform.fit(frame)
    modes = transform.columns[0].coder.modes
    extra = np.ldexp(modes.means[len(modes.weights) :], modes.exponent)
    np.testing.assert_allclose(extra[[0, -1]], [-850, 1e6], rtol=1e-9)
    codes = transform.encode(frame, 0).codes[-4:, 0]
    assert (codes >= len(modes.weights)).all()
    assert codes[0] == codes[1]
    assert len(set(codes)) == 3
    assert_kept(frame, transform.decode(transform.encode(frame, 0), 0), transform)


@pytest.mark.parametrize("far", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("rows", [200, 20_000])
def test_numbers_that_stand_for_no_value_do_not_blur_the_others(far: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    whole, real = rng.integers(0, 1000, rows), rng.normal(size=rows)
    whole[7], real[7] = far, far * 1e200
    frame = pd.DataFrame({"whole": whole, "real": real})
    transform = TableTransform.fit(frame)
    encoded = transform.encode(frame, 0)
    decoded = transform.decode(encoded, 0)
    pd.testing.assert_series_equal(decoded["whole"], frame["whole"])
    pd.testing.assert_series_equal(decoded["real"], frame["real"], check_exact=False, rtol=1e-12, atol=1e-14)
    for column in (0, 1):
        codes = encoded.codes[:, column]
        assert (codes == codes[7]).sum() == 1
        assert np.std(encoded.values[codes != codes[7], column]) > 0.05


def test_samples_stay_in_the_range_and_keep_decimals() -> None:
    frame = mixed()
    transform = TableTransform.fit(frame)
    rng = np.random.default_rng(1)
    widths = [span for span in transform.spans if span > 1]
    rows = 5000
    encoded = Encoded(
        rng.integers(0, widths, (rows, len(widths)), dtype=np.int32),
        rng.uniform(-1.5, 1.5, (rows, len(transform.spans) - len(widths))),
    )
    sampled = transform.decode(encoded, 0)
    assert (sampled.dtypes == frame.dtypes).all()
    for name in ("bell", "two bells", "price", "age", "holes", "day"):
        assert sampled[name].min() == frame[name].min(), name
        assert sampled[name].max() == frame[name].max(), name
    assert (sampled["price"].round(2) == sampled["price"]).all()
    assert (sampled["day"].dt.floor("D") == sampled["day"]).all()
    assert set(sampled["level"]) == {"low", "high"}
    assert sampled["holes"].isna().any()
    assert not sampled["bell"].isna().any()
    assert set(sampled["one"]) == {"x"}
    pd.testing.assert_frame_equal(sampled, transform.decode(encoded, 0), check_exact=True)


def test_a_column_is_encoded_alike_next_to_others() -> None:
    frame = mixed()
    whole, part = (TableTransform.fit(table, seed=3) for table in (frame, frame[["city", "price"]]))
    assert json.dumps(whole.columns[2].coder.to_json()) == json.dumps(part.columns[1].coder.to_json())
    shuffled = frame[frame.columns[::-1]]
    for ours, theirs in zip(whole.encode(frame, 1), whole.encode(shuffled, 1), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def texts(once: int, others: int) -> list[str | None]:
    """Values of single rows, then rows with one of three values, then missing ones."""
    return [*(f"u{row}" for row in range(once)), *("abc"[row % 3] for row in range(others)), None, None]


TOLD_APART: dict[str, tuple[pd.Series[Any], int | None]] = {
    "names": (pd.Series(texts(11, 0)), 11),
    "nearly all": (pd.Series(texts(60, 30)), 60),
    "of pandas": (pd.Series(texts(600, 0), dtype="category"), 600),
    "objects": (pd.Series([*texts(20, 0), 1], dtype=object), 21),
    "few rows": (pd.Series(texts(10, 0)), None),
    "half of the rows": (pd.Series(texts(60, 60)), None),
    "integers": (pd.Series(range(100)), None),
}


@pytest.mark.parametrize("case", TOLD_APART)
def test_values_that_tell_rows_apart(case: str) -> None:
    column, rows = TOLD_APART[case]
    frame = pd.DataFrame({"x": column, "y": np.arange(len(column)) % 2})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        TableTransform.fit(frame, max_categories=1_000)
        TableTransform.fit(frame, max_categories=1_000, columns={"x": "category"})
    said = [str(each.message) for each in caught]
    assert len(said) == (rows is not None)
    if rows is not None:
        assert said[0].startswith(f"column 'x': has a value of its own in {rows} of ")


def test_names_that_share_a_code_bring_one_warning() -> None:
    frame = pd.DataFrame({"x": texts(600, 0), "y": np.arange(602)})
    with pytest.warns(TableWarning) as caught:
        TableTransform.fit(frame)
    (warning,) = caught
    assert str(warning.message) == (
        "column 'x': has 600 categories, more than max_categories, 500, so the 101 rarest share one code, "
        "and has a value of its own in 600 of 600 rows, as names and identifiers do, and samples copy these "
        "values; drop the column, convert it if it holds numbers or times, or make it 'category' in columns, "
        "or with --columns"
    )


def test_rare_categories_share_a_code() -> None:
    counts = {"a": 50, "b": 30, "c": 15, "d": 5}
    frame = pd.DataFrame({"x": np.repeat(list(counts), list(counts.values())), "y": np.arange(100)})
    with pytest.warns(
        TableWarning, match="column 'x': has 4 categories, more than max_categories, 3, so the 2 rarest"
    ):
        transform = TableTransform.fit(frame, max_categories=3)
    assert transform.spans[0] == 3
    encoded = transform.encode(frame, 0)
    assert encoded.codes[:, 0].tolist() == [0] * 50 + [1] * 30 + [2] * 20
    many = Encoded(encoded.codes.repeat(200, axis=0), encoded.values.repeat(200, axis=0))
    decoded = transform.decode(many, 1)["x"].value_counts()
    assert decoded["a"] == 10_000
    assert decoded["c"] / decoded["d"] == pytest.approx(3, rel=0.1)
    with pytest.raises(
        TableError, match="condition on 'x': 'd' is rare and shares its code with others; raise"
    ):
        transform.code_of("x", "d")


def test_conditions() -> None:
    frame = mixed()
    transform = TableTransform.fit(frame)
    encoded = transform.encode(frame, 0)
    for name, values in {
        "city": ["Rome", "Oslo"],
        "level": ["low"],
        "flag": [True, None, np.bool_(False)],
    }.items():
        for value in values:
            position, code = transform.code_of(name, value)
            rows = encoded.codes[:, transform.conditions[position]] == code
            expected = frame[name].isna() if value is None else (frame[name] == value).fillna(False)
            np.testing.assert_array_equal(rows, expected.to_numpy(dtype=bool))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("town", "Rome", "condition on 'town', which is no column; there are bell, two bells, price, "),
        ("citi", "Rome", r"condition on 'citi', which is no column; did you mean 'city'\?"),
        (
            "age",
            30,
            "condition on 'age', which is integer; conditions are values of discrete columns, here 'city', ",
        ),
        ("one", "x", "condition on 'one', which is constant; "),
        ("city", "Roma", r"condition on 'city': 'Roma' never occurs there; did you mean 'Rome'\?"),
        ("city", 5, "condition on 'city': 5 never occurs there; it has 'Oslo', 'Paris', 'Rome'|it has"),
        ("level", "mid", "condition on 'level': 'mid' never occurs there"),
        ("flag", "True", "condition on 'flag': 'True' never occurs there; did you mean True"),
        ("city", None, "condition on 'city': no value of that column is missing"),
    ],
)
def test_bad_conditions(column: str, value: object, message: str) -> None:
    with pytest.raises(TableError, match=message):
        TableTransform.fit(mixed()).code_of(column, value)


def test_conditions_tell_objects_apart() -> None:
    frame = pd.DataFrame({"x": pd.Series([True, True, True, 1, 1, 1.0, "1"], dtype=object), "y": range(7)})
    transform = TableTransform.fit(frame, columns={"y": "integer"})
    codes = [transform.code_of("x", value)[1] for value in (True, 1, 1.0, "1")]
    assert sorted(codes) == [0, 1, 2, 3]


OTHERS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "column less": (lambda frame: frame.drop(columns="age"), "column 'age': is missing from the table"),
    "column more": (lambda frame: frame.assign(x=1), "column 'x': was not there when the model was fitted"),
    "dtype": (
        lambda frame: frame.assign(age=frame["age"].astype("float64")),
        "column 'age': dtype is float64, but was int64 when the model was fitted; convert it",
    ),
    "categories": (
        lambda frame: frame.assign(level=frame["level"].cat.remove_unused_categories()),
        r"column 'level': dtype is category of \['low', 'high'\], ordered, but was category of .*'mid'",
    ),
    "new category": (
        lambda frame: frame.assign(city=["Bonn", *frame["city"][1:]]),
        "column 'city': row 0 is 'Bonn', which is none of the categories it was fitted with; fit again",
    ),
    "missing": (
        lambda frame: frame.assign(city=[*frame["city"][:-1], None]),
        "column 'city': row 399 is missing, which is none of the categories",
    ),
    "missing number": (
        lambda frame: frame.assign(bell=frame["bell"].where(frame.index != 5)),
        "column 'bell': row 5 is missing, and no value was when it was fitted",
    ),
    "infinite": (
        lambda frame: frame.assign(bell=frame["bell"].where(frame.index != 5, np.inf)),
        "column 'bell': row 5 is inf; replace infinite values",
    ),
    "constant": (
        lambda frame: frame.assign(one=[*frame["one"][:7], "y", *frame["one"][8:]]),
        "column 'one': row 7 has another value than all rows that it was fitted with",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_tables(case: str) -> None:
    change, message = OTHERS[case]
    frame = mixed()
    transform = TableTransform.fit(frame)
    with pytest.raises(TableError, match=message):
        transform.encode(change(frame), 0)


def test_numbers_out_of_the_range_are_clipped() -> None:
    frame = mixed()
    transform = TableTransform.fit(frame)
    wide = frame.assign(age=frame["age"] * 1000 - 2000, price=frame["price"] * 1e300 - 1e301, bell=1e308)
    decoded = transform.decode(transform.encode(wide, 0), 0)
    for name in ("age", "price", "bell"):
        assert decoded[name].between(frame[name].min(), frame[name].max()).all(), name


def test_encoded_tables_are_checked() -> None:
    frame = mixed()
    transform = TableTransform.fit(frame)
    codes, values = transform.encode(frame, 0)
    bad_codes = codes.copy()
    bad_codes[3, 1] = 99
    bad_values = values.copy()
    bad_values[3, 1] = np.nan
    for encoded, message in (
        (Encoded(codes[:, 1:], values), rf"codes has shape \(400, {codes.shape[1] - 1}\), expected \[rows, "),
        (Encoded(codes, values[1:]), r"values has shape \(399, \d\), expected \[rows, \d\]"),
        (Encoded(bad_codes, values), r"codes\[3, 1\] is 99, expected 0 to "),
        (Encoded(codes, bad_values), r"values has nan; did training diverge\?"),
    ):
        with pytest.raises(TableError, match=message):
            transform.decode(encoded, 0)


def test_bad_arguments() -> None:
    with pytest.raises(TableError, match="max_categories is 1, expected at least 2"):
        TableTransform.fit(mixed(), max_categories=1)
    with pytest.raises(TableError, match="all columns are constant, so there is nothing to generate"):
        TableTransform.fit(pd.DataFrame({"x": [1, 1]}))
    with pytest.raises(TableError, match="column 0 lacks 'kind'"):
        TableTransform.from_json([{"name": "x"}])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_the_largest_numbers_do_not_overflow(seed: int) -> None:
    largest, rng = np.finfo(np.float64).max, np.random.default_rng(seed)
    column = [*np.clip(rng.normal(size=40) / 5, -1, 1) * 1e308, -largest, largest]
    transform = TableTransform.fit(pd.DataFrame({"x": column}))
    decoded = transform.decode(transform.encode(pd.DataFrame({"x": column}), 0), 0)
    np.testing.assert_allclose(decoded["x"] / 4, np.array(column) / 4, rtol=1e-12, atol=1e293)
