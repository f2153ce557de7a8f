"""Figures of synthetic tables: by hand, and by SciPy and scikit-learn."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy import stats

from fastgan.plots.tables import save_tables
from fastgan.tabular.quality import (
    contingency_similarity,
    correlation,
    detection,
    evaluate_tables,
    features,
    histogram,
    ks_complement,
    marginals,
    pairs,
    privacy,
    tv_complement,
    utility,
)
from fastgan.tabular.quality.encoding import Column, encode
from fastgan.tabular.quality.privacy import closest

NAN = float("nan")


def encoded(kind: str, *values: list[Any]) -> Column:
    """One column of several tables."""
    names = ("real", "synthetic", "holdout")
    (column,) = encode(
        {name: pd.DataFrame({"x": each}) for name, each in zip(names, values, strict=False)}, {"x": kind}
    )
    return column


def correlated(rows: int, seed: int, shift: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows)
    return pd.DataFrame(
        {
            "x": z + shift,
            "y": 2 * z + 0.1 * rng.normal(size=rows),
            "n": (10 * z).astype(int),
            "noise": rng.normal(size=rows),
            "high": z > 0,
            "letter": rng.choice(["a", "b"], rows),
        }
    )


KINDS = {
    **dict.fromkeys(("x", "y", "noise"), "continuous"),
    "n": "integer",
    "high": "boolean",
    "letter": "category",
}

# --- columns


def test_ks_complement_by_hand() -> None:
    # distribution functions 1/4, 1/2, 3/4, 1 and 0, 1/2, 1/2, 1 at 1, 2, 3, 4
    assert ks_complement(np.array([1.0, 2, 3, 4, NAN]), np.array([2.0, 4])) == 0.75
    assert ks_complement(np.array([1.0, 2]), np.array([3.0])) == 0.0
    assert math.isnan(ks_complement(np.array([NAN]), np.array([1.0])))


numbers = st.lists(
    st.sampled_from([-1e300, -2.0, 0.0, 0.1, 0.3, 1e-300, 5e15, 1e300]), min_size=1, max_size=9
)


@pytest.mark.filterwarnings("ignore:ks_2samp")
@given(numbers, numbers)
@settings(max_examples=50, deadline=None)
def test_ks_complement_against_scipy(real: list[float], synthetic: list[float]) -> None:
    expected = 1 - stats.ks_2samp(real, synthetic).statistic
    # SciPy does not round: all but 1e-300 keep their order, and that is 0 next to the others
    if not {1e-300} & {*real, *synthetic}:
        assert ks_complement(np.array(real), np.array(synthetic)) == pytest.approx(expected, abs=1e-12)


def test_rounding_follows_the_scale_of_small_values() -> None:
    """sdmetrics rounds picoseconds in seconds to 14 decimals, and so to 0."""
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert ks_complement(values * 1e-15, values[::2] * 1e-15) == ks_complement(values, values[::2]) == 0.75
    assert ks_complement(np.array([0.1 + 0.2]), np.array([0.3])) == 1.0


def test_tv_complement_by_hand() -> None:
    # shares 1/2, 1/4, 1/4, 0 and 1/2, 0, 0, 1/2; missing values have code 0
    real, synthetic = np.array([1, 1, 2, 3, 0]), np.array([1, 4])
    assert tv_complement(real, synthetic) == pytest.approx(0.5, abs=1e-6)
    assert tv_complement(real, real[::-1]) == 1.0
    assert math.isnan(tv_complement(real, np.array([0])))


def test_marginals() -> None:
    real = pd.DataFrame({"x": [1.0, 2, 3, None], "letter": ["a", "a", "b", None]})
    synthetic = pd.DataFrame({"x": [3.0, 2, 1, 1], "letter": ["a", "b", "b", "b"]})
    table = marginals(encode({"r": real, "s": synthetic}, {"x": "continuous", "letter": "category"}))
    assert list(table["measure"]) == ["KS complement", "TV complement"]
    assert list(table["score"]) == pytest.approx([1 - (1 / 2 - 1 / 3), 1 - (2 / 3 - 1 / 4)])
    assert table[["missing_real", "missing_synthetic"]].to_numpy().tolist() == [[0.25, 0], [0.25, 0]]


# --- encoding

DAY = dt.date(2020, 2, 29)
ENCODED = {
    "integer": ("integer", [3, 1], [1, 2], [3, 1], [1, 2]),
    "nullable integer": ("integer", pd.array([3, None], dtype="Int64"), [1, 2], [3, NAN], [1, 2]),
    "large integer": ("integer", [2**62 + 1, 2**62], [2**62 + 3, 2**62], [1, 0], [3, 0]),
    "extreme integer": ("integer", [-(2**63), 2**63 - 1], [0, 1], [-(2.0**63), 2.0**63], [0, 1]),
    "unsigned integer": ("integer", pd.array([2**64 - 1, 1], dtype="UInt64"), [0, 1], [2.0**64, 1], [0, 1]),
    "time": ("time", [dt.time(1), None], [dt.time(0, 0, 1), dt.time(0)], [3.6e9, NAN], [1e6, 0]),
    "date": ("date", [dt.date(1970, 1, 2), None], [dt.date(1, 1, 1), DAY], [1, NAN], [-719162, 18321]),
    "boolean": ("boolean", [True, None], [False, True], [1, 0], [2, 1]),
    "category": ("category", ["a", None], ["b", "a"], [1, 0], [2, 1]),
    "other types": ("category", pd.Categorical(["a", None]), ["b", "a"], [1, 0], [2, 1]),
    "constant number": ("constant", [2, 2], [2, 3], [2, 2], [2, 3]),
    "constant text": ("constant", ["a", "a"], ["b", "a"], [1, 1], [2, 1]),
    "nothing": ("constant", [None, None], ["b", "a"], [0, 0], [1, 2]),
}


@pytest.mark.parametrize(("kind", "real", "synthetic", *"ab"), ENCODED.values(), ids=ENCODED)
def test_encoding(kind: str, real: Any, synthetic: Any, a: list[float], b: list[float]) -> None:
    column = encoded(kind, real, synthetic)
    found = column.values or column.codes
    assert column.is_continuous == (kind not in ("boolean", "category") and "a" not in column.levels)
    for mine, expected in zip(found, (a, b), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert list(column.is_missing(0)) == [pd.isna(value) for value in real]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_of_other_units_are_the_same(unit: str, zone: str | None) -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=4, freq="D", tz=zone)).astype(
        f"datetime64[ns{', ' + zone if zone else ''}]"
    )
    column = encoded("datetime", days, days.dt.as_unit(unit))
    np.testing.assert_array_equal(*column.values)
    assert ks_complement(*column.values) == 1.0
    waits = encoded("timedelta", days - days[0], (days - days[0]).dt.as_unit(unit))
    np.testing.assert_array_equal(*waits.values)
    assert list(np.diff(waits.values[0])) == [86_400 * 10**9] * 3


# --- pairs


def test_correlation_against_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100))
    for scale in (1.0, 1e-200, 1e200):
        assert correlation(x * scale, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-14)
    x[:10], y[5:20] = NAN, NAN
    assert correlation(x, y) == pytest.approx(stats.pearsonr(x[20:], y[20:]).statistic, abs=1e-14)
    assert correlation(x, 2 * x) == 1.0
    assert math.isnan(correlation(x, np.full_like(x, 3.0)))
    assert math.isnan(correlation(x, np.full_like(x, NAN)))


def test_contingency_by_hand() -> None:
    # tables [[1/2, 0], [0, 1/2]] and [[1/4, 1/4], [1/4, 1/4]]
    real = np.array([1, 1, 2, 2]), np.array([1, 1, 2, 2])
    synthetic = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    assert contingency_similarity(real, synthetic) == (0.5, 1.0, 0.0)


@pytest.mark.parametrize("codes", [3, 100_000])
def test_cramers_v_against_scipy(codes: int) -> None:
    """With few codes, and with so many that only the cells that occur are counted."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(1, 4, (2, 50))
    first[0], second[:3] = 1, 0
    moved = first * (codes // 3), second * (codes // 3)
    table = stats.contingency.crosstab(first, second).count
    expected = stats.contingency.association(table, method="cramer")
    score, real, synthetic = contingency_similarity(moved, (moved[0][:20], moved[1][:20]))
    assert real == pytest.approx(expected, abs=1e-14)
    table = stats.contingency.crosstab(first[:20], second[:20]).count
    assert synthetic == pytest.approx(stats.contingency.association(table, method="cramer"), abs=1e-14)
    shares = [np.zeros((4, 4)), np.zeros((4, 4))]
    for share, rows in zip(shares, (50, 20), strict=True):
        np.add.at(share, (first[:rows], second[:rows]), 1 / rows)
    assert score == pytest.approx(1 - np.abs(shares[0] - shares[1]).sum() / 2, abs=1e-14)


def test_pairs() -> None:
    real, synthetic = correlated(400, 0), correlated(300, 1)
    real.loc[:50, "y"] = NAN
    table = pairs(encode({"r": real, "s": synthetic}, KINDS)).set_index(["first", "second"])
    assert len(table) == math.comb(len(KINDS), 2)
    assert list(table.index) == list(itertools.combinations(real.columns[[0, 1, 3, 2, 4, 5]], 2))
    row = table.loc[("x", "y")]
    expected = [each[["x", "y"]].corr().iloc[0, 1] for each in (real, synthetic)]
    assert [row["real"], row["synthetic"]] == pytest.approx(expected, abs=1e-12)
    assert row["score"] == pytest.approx(1 - abs(expected[0] - expected[1]) / 2, abs=1e-12)
    related = set(table.index[table["related"]])
    assert related == {("x", "y"), ("x", "n"), ("y", "n"), ("x", "high"), ("y", "high"), ("n", "high")}


# --- detection and utility


def test_detection() -> None:
    """Equal distributions, shifted ones, and ones in which only a relation is lost, which no line can see."""
    real = correlated(600, 0)
    equal = detection(encode({"r": real, "s": correlated(600, 1)}, KINDS))
    assert abs(equal.logistic - 0.5) < 0.06
    assert abs(equal.boosting - 0.5) < 0.06
    assert equal.logistic_score > 0.9
    shifted = detection(encode({"r": real, "s": correlated(600, 1, shift=5.0)}, KINDS))
    assert shifted.logistic > 0.99
    assert shifted.logistic_score < 0.02
    lost = correlated(600, 1)
    lost["y"] = np.random.default_rng(2).permutation(lost["y"])
    lost = detection(encode({"r": real, "s": lost}, KINDS))
    assert abs(lost.logistic - 0.5) < 0.06
    assert lost.boosting > 0.95


def test_detection_of_missing_values() -> None:
    """Boosting sees which are missing, also in a table of booleans, which logistic regression leaves out."""
    rng = np.random.default_rng(0)
    real = pd.DataFrame({"b": rng.random(300) > 0.5})
    synthetic = pd.DataFrame({"b": rng.choice([True, False, None], 300)})
    found = detection(encode({"r": real, "s": synthetic}, {"b": "boolean"}))
    assert math.isnan(found.logistic)
    assert math.isnan(found.logistic_score)
    assert found.boosting > 0.6


def test_linear_features() -> None:
    table = pd.DataFrame(
        {
            "x": [1.0, 2, None, 6],
            "b": [True, True, None, False],
            "n": pd.array([1, None, 3, 3], dtype="Int64"),
            "c": ["u", "v", None, "v"],
        }
    )
    other = pd.DataFrame({"x": [None], "b": [None], "n": [None], "c": ["w"]})
    kinds = {"x": "continuous", "b": "boolean", "n": "category", "c": "category"}
    fitted, unseen = features.linear_features(encode({"r": table, "s": other}, kinds), 0, (0, 1))
    third = 7 / 3
    assert fitted[:, :3].tolist() == [[1, 1, 1], [2, 1, third], [3, 1, 3], [6, 0, 3]]
    # v, missing and u, or in another order
    assert sorted(map(tuple, fitted[:, 3:].T)) == [(0, 0, 1, 0), (0, 1, 0, 1), (1, 0, 0, 0)]
    assert unseen.tolist() == [[3, 1, third, 0, 0, 0]]


def test_boosted_categories() -> None:
    column = encoded("category", [*"aaabbc", None], list(map(str, range(300))))
    real, synthetic = features.boosted_features([column])
    np.testing.assert_array_equal(real[:, 0], [0, 0, 0, 1, 1, 2, NAN])
    assert sorted(synthetic[:, 0]) == [*range(3, 254), *[254] * 49]


def test_large_tables_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ROWS", 5)
    column = encoded("integer", list(range(9)), list(range(4)))
    (sampled,) = features.sampled([column], seed=0)
    assert len(set(sampled.values[0])) == 5
    assert list(sampled.values[0]) == sorted(sampled.values[0])
    np.testing.assert_array_equal(sampled.values[1], column.values[1])


@pytest.mark.parametrize(("target", "figures"), [("high", ["F1", "ROC AUC", "accuracy"]), ("y", ["R²"])])
def test_utility(target: str, figures: list[str]) -> None:
    tables = {"real": correlated(300, 0), "synthetic": correlated(300, 1), "holdout": correlated(200, 2)}
    tables["real"][target] = tables["real"][target].where(tables["real"].index > 20, None)
    good = utility(encode(tables, KINDS), target)
    assert list(good["figure"]) == figures * 2
    assert (good[["synthetic", "real"]] > 0.9).all(axis=None)
    tables["synthetic"][target] = np.random.default_rng(3).permutation(tables["synthetic"][target])
    poor = utility(encode(tables, KINDS), target)
    assert (poor["synthetic"] < 0.7).all()
    assert (poor["real"] == good["real"]).all()


def test_utility_of_a_collapsed_generator() -> None:
    tables = {"real": correlated(90, 0), "synthetic": correlated(90, 1), "holdout": correlated(90, 2)}
    tables["synthetic"]["high"] = True
    found = utility(encode(tables, KINDS), "high").set_index("figure")["synthetic"]
    share = tables["holdout"]["high"].mean()
    assert list(found["accuracy"]) == pytest.approx([share] * 2)
    assert list(found["ROC AUC"]) == [0.5, 0.5]
    assert list(found["F1"]) == pytest.approx([share / (1 + share)] * 2)


# --- privacy


def test_distances_by_hand() -> None:
    # ranges of the real table: 10 and 0; a distance is at most 1 in each of three columns
    real = pd.DataFrame({"x": [0.0, 10, None], "flat": [5, 5, 5], "c": ["a", "b", None]})
    rows = [(1.0, 5, "a"), (12.0, 5, "b"), (99.0, 6, "c"), (None, 5, None), (None, 5, "a"), (0.0, 5, "a")]
    synthetic = pd.DataFrame(rows, columns=list(real))
    kinds = {"x": "continuous", "flat": "integer", "c": "category"}
    columns = encode({"r": real, "s": synthetic}, kinds)
    found = closest(columns, np.arange(6), 1, 0)
    assert list(found) == pytest.approx([0.1 / 3, 0.2 / 3, 1, 0, 1 / 3, 0])
    alone = privacy(columns)
    assert alone.copies == 2 / 6
    assert alone.distance == pytest.approx(0.15 / 3)
    assert math.isnan(alone.closer_to_training)


def test_distances_of_many_rows() -> None:
    """More than a tile."""
    tables = {"r": correlated(2_100, 0), "s": correlated(70, 1)}
    columns = encode(tables, KINDS)
    spans = tables["r"].select_dtypes("number").apply(np.ptp)
    rows = np.array([69, 3, 68])
    expected = []
    for row in rows:
        numeric = (tables["r"][spans.index] - tables["s"].loc[row, spans.index]).abs() / spans
        others = (tables["r"][["high", "letter"]] != tables["s"].loc[row, ["high", "letter"]]).astype(float)
        expected.append((numeric.clip(upper=1).sum(axis=1) + others.sum(axis=1)).min() / 6)
    assert list(closest(columns, rows, 1, 0)) == pytest.approx(expected, abs=1e-14)


def test_copies_and_rows_closer_to_training() -> None:
    real, holdout = correlated(200, 0), correlated(100, 1)
    fresh = privacy(encode({"r": real, "s": correlated(300, 2), "h": holdout}, KINDS))
    assert fresh.copies == fresh.holdout_copies == 0
    assert fresh.closer_by_chance == 2 / 3
    assert abs(fresh.closer_to_training - 2 / 3) < 0.1
    assert fresh.score == 2 - 2 * fresh.closer_to_training
    memorized = pd.concat([real[:50], correlated(50, 2)])
    copied = privacy(encode({"r": real, "s": memorized, "h": pd.concat([holdout, real[:25]])}, KINDS))
    assert (copied.copies, copied.holdout_copies) == (0.5, 0.2)
    assert copied.distance < fresh.distance


# --- all of it


def test_evaluate_tables(tmp_path: Path) -> None:
    real, synthetic, holdout = correlated(300, 0), correlated(200, 1), correlated(150, 2)
    # other columns' order and index, and columns that say nothing
    real, synthetic, holdout = (each.assign(flat=1, void=None) for each in (real, synthetic, holdout))
    synthetic = synthetic[synthetic.columns[::-1]].sample(frac=1, random_state=0)
    kinds = KINDS | {"flat": "constant", "void": "constant"}
    quality = evaluate_tables(real, synthetic, holdout=holdout, target="high", kinds=kinds)
    assert quality.shapes == quality.columns["score"].mean()
    assert quality.score == (quality.shapes + quality.trends) / 2
    assert 0.9 < quality.trends < 1
    told = json.loads(json.dumps(quality.as_json(), allow_nan=False))
    assert told["columns"][-1] == {
        **{"column": "void", "measure": "TV complement", "score": None},
        **{"missing_real": 1.0, "missing_synthetic": 1.0},
    }
    assert told["target"] == "high"
    assert len(told["utility"]) == 6
    assert told["detection"]["boosting"] == quality.detection.boosting
    lines = quality.summary().splitlines()
    assert len(lines) == 15
    assert re.match(r"columns +0\.9\d\d  lowest: \w+, 0\.9", lines[0])
    assert re.match(r"F1 of high, linear +0\.9\d\d  trained on real rows: 0\.9", lines[6])
    quality.plot(tmp_path / "tables.svg")
    text = (tmp_path / "tables.svg").read_text()
    assert all(f"<!-- {name}" in text for name in kinds)
    again = evaluate_tables(real, synthetic, holdout=holdout, target="high", kinds=kinds)
    assert again.as_json() == quality.as_json()


def test_nothing_to_compare() -> None:
    table = pd.DataFrame({"void": [None] * 4})
    quality = evaluate_tables(table, table, kinds={"void": "constant"})
    assert all(map(math.isnan, (quality.shapes, quality.trends, quality.score, quality.pairs)))
    assert len(quality.summary().splitlines()) == 4


@pytest.mark.parametrize(
    ("kind", "values", "edges", "unit"),
    [
        ("integer", [1, 2, 2, 4], [0.5, 1.5, 2.5, 3.5, 4.5], ""),
        ("integer", [2**60, 2**60 + 1], [2**60, 2**60 + 1, 2**60 + 2], ""),
        ("continuous", [4.0, 4.0], [2, 6], ""),
        ("continuous", [None, NAN], [0, 1], ""),
        ("date", [dt.date(1970, 1, 3)] * 2, [1, 3], "date"),
        ("timedelta", pd.to_timedelta([12, 12], unit="h"), [0.25, 0.75], "days"),
        ("time", [dt.time(2)] * 2, [1, 3], "hours"),
    ],
)
def test_histograms(kind: str, values: Any, edges: list[float], unit: str) -> None:
    found = histogram(encoded(kind, values, values))
    assert found.edges is not None
    np.testing.assert_allclose(found.edges, edges, rtol=1e-12)
    assert found.unit == unit
    assert found.real.sum() == pytest.approx(np.mean([not pd.isna(value) for value in values]))
    np.testing.assert_array_equal(found.real, found.synthetic)


def test_histogram_of_categories() -> None:
    found = histogram(encoded("category", [*"aabb", *map(str, range(12))], [None, *"aaab"]))
    assert found.labels == (*"ab", *map(str, range(8)), "4 others", "missing")
    assert list(found.synthetic) == pytest.approx([0.6, 0.2, *[0] * 9, 0.2])
    assert list(found.real) == pytest.approx([2 / 16, 2 / 16, *[1 / 16] * 8, 4 / 16, 0])


def test_picture_of_many_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows those with the lowest scores, and leaves the names next to the maps out."""
    rng = np.random.default_rng(0)
    real = pd.DataFrame(rng.normal(size=(30, 42)), columns=[f"column {n}" for n in range(42)])
    synthetic = real + 30 * (np.arange(42) % 41 > 0)
    columns = encode({"r": real, "s": synthetic}, dict.fromkeys(real, "continuous"))
    drawn: list[Figure] = []
    monkeypatch.setattr("fastgan.plots.tables.save_figure", lambda figure, path: drawn.append(figure))
    save_tables("no file", [histogram(each) for each in columns], marginals(columns), pairs(columns))
    above, below = drawn[0].subfigs
    titles = [axes.get_title() for axes in above.axes]
    assert titles == [f"column {n}  0.000" for n in range(1, 41)]
    assert "40 of 42 columns" in above.get_suptitle()
    maps = below.axes[:3]
    assert [axes.get_title() for axes in maps] == ["real", "synthetic", "synthetic − real"]
    for axes, frame in zip(maps, (real, synthetic, None), strict=False):
        cells = axes.collections[0].get_array().filled(NAN)
        expected = np.zeros((42, 42)) if frame is None else frame.corr().to_numpy()
        np.testing.assert_allclose(cells, np.where(np.eye(42), NAN, expected), atol=1e-12)
        assert len(axes.get_xticks()) == 0


TABLE = correlated(9, 0)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({"synthetic": TABLE[:0]}, "the synthetic table has 0 rows, expected at least 3"),
    "no columns": ({"real": TABLE[[]]}, "the real table has no columns, expected at least one"),
    "two of a name": (
        {"synthetic": TABLE[["x", "x"]]},
        "the synthetic table has two columns named 'x', expected one; rename one",
    ),
    "a column less": (
        {"holdout": TABLE.drop(columns="n")},
        "the holdout table has no column 'n', which the real one has",
    ),
    "a column more": (
        {"synthetic": TABLE.assign(id=1)},
        "the real table has no column 'id', which the synthetic one has",
    ),
    "no kind": ({"kinds": {"x": "float"}}, "the kind of column 'x' is 'float', expected one of continuous, "),
    "unknown target": (
        {"target": "age"},
        "target is 'age', expected one of the columns x, y, n, noise, high, letter",
    ),
    "no holdout": (
        {"target": "x", "holdout": None},
        "target is 'x', but holdout is None; give real rows that are in no other table",
    ),
    "infinite": (
        {"synthetic": TABLE.assign(x=[1.0, math.inf, *[0] * 7])},
        "column 'x' of the synthetic table is infinite in row 1; remove the row",
    ),
    "text": (
        {"synthetic": TABLE.assign(x="high")},
        "column 'x' of the synthetic table is not of kind 'continuous' (",
    ),
    "no boolean": (
        {"synthetic": TABLE.assign(high="yes")},
        "column 'high' of the synthetic table is not of kind 'boolean' (it has 'yes'); convert it, or",
    ),
    "no value of the target": (
        {"target": "y", "synthetic": TABLE.assign(y=NAN)},
        "target 'y' is missing in all rows of the synthetic table",
    ),
}


@pytest.mark.parametrize(("changed", "message"), BAD.values(), ids=BAD)
def test_bad_tables(changed: dict[str, Any], message: str) -> None:
    given = {"real": TABLE, "synthetic": TABLE, "holdout": TABLE, "kinds": KINDS} | changed
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        evaluate_tables(**given)
    assert "\n" not in str(error.value)


def test_a_target_alone() -> None:
    with pytest.raises(ValueError, match="target 'x' is the only column, expected another one"):
        evaluate_tables(*[TABLE[["x"]]] * 2, holdout=TABLE[["x"]], target="x", kinds={"x": "continuous"})


def test_columns_without_a_value_do_not_count() -> None:
    tables = [correlated(60, seed) for seed in range(3)]
    voids = [
        each.assign(
            number=NAN,
            nullable=pd.array([pd.NA] * 60, "Int64"),
            when=pd.to_datetime([pd.NaT] * 60),
        )
        for each in tables
    ]
    kinds = KINDS | {"number": "continuous", "nullable": "integer", "when": "datetime"}
    for target in ("x", "letter"):
        with_voids = evaluate_tables(*voids[:2], holdout=voids[2], target=target, kinds=kinds)
        without = evaluate_tables(*tables[:2], holdout=tables[2], target=target, kinds=KINDS)
        assert with_voids.detection == without.detection
        pd.testing.assert_frame_equal(with_voids.utility, without.utility)
        assert (with_voids.shapes, with_voids.trends) == (without.shapes, without.trends)


def test_a_value_that_only_a_test_fold_has() -> None:
    real, synthetic = correlated(30, 0), correlated(30, 1)
    rare = [each.assign(rare=[value, *[NAN] * 29]) for each, value in ((real, 1.0), (synthetic, NAN))]
    assert not math.isnan(evaluate_tables(*rare, kinds=KINDS | {"rare": "continuous"}).detection.boosting)


@pytest.mark.parametrize("size", [1.797e308, 1e-310, 5e-324])
def test_the_largest_and_smallest_numbers(tmp_path: Path, size: float) -> None:
    signs = [np.random.default_rng(seed).choice([-1.0, 1.0], 40) for seed in range(3)]
    figures = []
    for scale in (size, 1.0):
        tables = [
            correlated(40, seed)[["y", "letter"]].assign(x=scale * sign, high=scale * (sign > 0))
            for seed, sign in enumerate(signs)
        ]
        kinds = {"y": "continuous", "letter": "category", "x": "continuous", "high": "continuous"}
        quality = evaluate_tables(*tables[:2], holdout=tables[2], target="x", kinds=kinds)
        quality.plot(tmp_path / "tables.png")
        figures.append(quality)
    extreme, plain = figures
    assert extreme.shapes == pytest.approx(plain.shapes)
    assert extreme.privacy == plain.privacy
    np.testing.assert_allclose(extreme.detection.logistic, plain.detection.logistic, atol=0.1)
    np.testing.assert_allclose(extreme.utility["real"], plain.utility["real"], atol=1e-3)
    assert extreme.histograms[2].real.sum() == pytest.approx(1.0)


def test_the_score_of_one_figure_does_not_call_itself_a_mean() -> None:
    tables = [correlated(40, seed) for seed in range(2)]
    assert "mean of both" in evaluate_tables(*tables, kinds=KINDS).summary()
    unrelated = [each[["noise", "x"]] for each in tables]
    assert "mean of both" not in evaluate_tables(*unrelated, kinds=KINDS).summary()


@pytest.mark.filterwarnings("error")
def test_utility_of_held_out_rows_with_one_class_or_value() -> None:
    real, synthetic = correlated(40, 0), correlated(40, 1)
    held = correlated(40, 2).assign(letter="a", x=[0.5, *[NAN] * 39])
    for target, figure in (("letter", "ROC AUC"), ("x", "R²")):
        found = evaluate_tables(real, synthetic, holdout=held, target=target, kinds=KINDS).utility
        assert found is not None
        assert found[found["figure"] == figure][["synthetic", "real"]].isna().all(axis=None)
