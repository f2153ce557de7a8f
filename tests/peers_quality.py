"""Figures of synthetic tables against sdmetrics, which `make peers` installs.

sdmetrics asks for copulas and plotly, which the figures compared here do not use, and for pandas below 3.
"""

from __future__ import annotations

import importlib
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.metrics import f1_score

from fastgan.tabular.quality import detection, evaluate_tables, privacy, utility
from fastgan.tabular.quality.encoding import encode
from tests.peers import UNUSED, without_unused

UNUSED |= {"copulas", "plotly"}
SDTYPES = {"continuous": "numerical", "integer": "numerical", "datetime": "datetime", "boolean": "boolean"}
Tables = tuple[dict[str, pd.DataFrame], dict[Any, str]]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sdmetrics(module: str) -> types.ModuleType:
    with without_unused():
        return importlib.import_module(f"sdmetrics.{module}")


def metadata(kinds: dict[Any, str]) -> dict[str, Any]:
    columns = {name: {"sdtype": SDTYPES.get(kind, "categorical")} for name, kind in kinds.items()}
    return {"tables": {"table": {"columns": columns}}}


def mixed() -> Tables:
    """Columns of all kinds that sdmetrics has, missing values, and a category of one table only."""

    def table(seed: int, rows: int, cities: list[str]) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=rows)
        frame = pd.DataFrame(
            {
                "age": (40 + 12 * z).clip(17, 90).astype(int),
                "income": np.exp(10 + z + 0.5 * rng.normal(size=rows)),
                "noise": rng.normal(size=rows),
                "tiny": 1e-3 * rng.integers(5, size=rows),
                "joined": pd.Timestamp("2015-01-01") + pd.to_timedelta((z * 300 + 1_500).round(), unit="D"),
                "member": z + rng.normal(size=rows) > 0,
                "city": rng.choice(cities, rows),
                "band": pd.cut(z, [-9, -1, 0, 1, 9], labels=["a", "b", "c", "d"]).astype(object),
                "flat": 1.0,
                "same": "x",
            }
        )
        for name in ("income", "joined", "city", "band"):
            frame.loc[rng.random(rows) < 0.1, name] = None
        return frame

    cities = ["Berlin", "Paris", "Rome"]
    kinds = [
        "integer",
        *["continuous"] * 3,
        "datetime",
        "boolean",
        *["category"] * 2,
        "continuous",
        "category",
    ]
    tables = {
        "real": table(0, 700, cities),
        "synthetic": table(1, 500, [*cities, "Oslo"]),
        "holdout": table(2, 400, cities),
    }
    return tables, dict(zip(tables["real"], kinds, strict=True))


def shuffled(load: Callable[..., Any]) -> Tables:
    """A real table, and one with the same columns in other orders, blended."""
    frame = load(as_frame=True).frame
    rng = np.random.default_rng(0)
    synthetic = frame.apply(
        lambda column: column if column.name == "target" else column * rng.uniform(0.9, 1.1)
    )
    synthetic.loc[::3] = frame.loc[::3].apply(lambda column: rng.permutation(column))
    kinds = {name: "category" if name == "target" else "continuous" for name in frame}
    return {"real": frame[::2], "synthetic": synthetic, "holdout": frame[1::2]}, kinds


TABLES = {
    "mixed": mixed(),
    "breast cancer": shuffled(load_breast_cancer),
    "wine": shuffled(load_wine),
}
tables_of = pytest.mark.parametrize("name", TABLES)


@tables_of
def test_quality_report(name: str) -> None:
    tables, kinds = TABLES[name]
    real, synthetic = tables["real"], tables["synthetic"]
    ours = evaluate_tables(real, synthetic, kinds=kinds)
    report = sdmetrics("reports").QualityReport()
    report.generate({"table": real}, {"table": synthetic}, metadata(kinds), verbose=False)
    scores = dict(report.get_properties().itertuples(index=False))
    assert ours.shapes == pytest.approx(scores["Column Shapes"], abs=1e-12)
    assert ours.trends == pytest.approx(scores["Column Pair Trends"], abs=1e-12)
    assert ours.score == pytest.approx(report.get_score(), abs=1e-12)
    shapes = report.get_details("Column Shapes")
    np.testing.assert_allclose(ours.columns["score"], shapes["Score"], rtol=0, atol=1e-12)
    pairs = report.get_details("Column Pair Trends")
    by_pair = ours.column_pairs
    assert (by_pair["related"] == pairs["Meets Threshold?"].fillna(False)).all()
    related = by_pair["related"]
    assert 0 < related.sum() < len(related)
    np.testing.assert_allclose(by_pair["score"][related], pairs["Score"][related], rtol=0, atol=1e-12)
    correlated = related & pairs["Real Correlation"].notna()
    for mine, other in (("real", "Real Correlation"), ("synthetic", "Synthetic Correlation")):
        np.testing.assert_allclose(by_pair[mine][correlated], pairs[other][correlated], rtol=0, atol=1e-12)
    associated = pairs["Real Association"].notna()
    np.testing.assert_allclose(
        by_pair["real"][associated], pairs["Real Association"][associated], rtol=0, atol=1e-12
    )


@tables_of
def test_all_pairs(name: str) -> None:
    """Without thresholds, as before sdmetrics had them."""
    tables, kinds = TABLES[name]
    real, synthetic = tables["real"], tables["synthetic"]
    report = sdmetrics("reports").QualityReport()
    report.real_correlation_threshold = report.real_association_threshold = 0
    report.generate({"table": real}, {"table": synthetic}, metadata(kinds), verbose=False)
    ours = evaluate_tables(real, synthetic, kinds=kinds)
    pairs = report.get_details("Column Pair Trends")
    np.testing.assert_allclose(ours.column_pairs["score"], pairs["Score"], rtol=0, atol=1e-12)
    assert ours.pairs == pytest.approx(pairs["Score"].mean(), abs=1e-12)


@tables_of
def test_logistic_detection(name: str) -> None:
    """With the same folds; rows with a category that the real table lacks are an error in sdmetrics."""
    tables, kinds = TABLES[name]
    real, synthetic = tables["real"], tables["synthetic"]
    if name == "mixed":
        synthetic = synthetic[synthetic["city"] != "Oslo"].reset_index(drop=True)
    ours = detection(encode({"real": real, "synthetic": synthetic}, kinds), seed=3)
    np.random.seed(3)  # noqa: NPY002, sdmetrics draws its folds from NumPy's global generator
    theirs = sdmetrics("single_table").LogisticDetection.compute(
        real.copy(), synthetic.copy(), metadata(kinds)["tables"]["table"]
    )
    assert ours.logistic_score == pytest.approx(theirs, abs=1e-12)


def test_logistic_regression() -> None:
    tables, kinds = TABLES["breast cancer"]
    check_utility(tables, kinds, "target", "BinaryLogisticRegression", "F1")


@pytest.mark.parametrize(("name", "target"), [("wine", "alcohol"), ("mixed", "noise")])
def test_linear_regression(name: str, target: str) -> None:
    tables, kinds = TABLES[name]
    if name == "mixed":
        tables = tables | {"synthetic": tables["synthetic"].replace("Oslo", "Rome")}
    check_utility(tables, kinds, target, "LinearRegression", "R²")


def check_utility(
    tables: dict[str, pd.DataFrame], kinds: dict[Any, str], target: str, model: str, figure: str
) -> None:
    ours = utility(encode(tables, kinds), target).set_index(["model", "figure"]).loc[("linear", figure)]
    theirs = getattr(sdmetrics("single_table"), model)
    scorer = None if figure == "R²" else macro_f1
    for table in ("real", "synthetic"):
        found = theirs.compute(tables["holdout"].copy(), tables[table].copy(), target=target, scorer=scorer)
        assert ours[table] == pytest.approx(found, abs=1e-12)


def macro_f1(y: Any, predictions: Any) -> float:
    return float(f1_score(y, predictions, average="macro"))


@tables_of
def test_distance_to_the_closest_record(name: str) -> None:
    tables, kinds = TABLES[name]
    module = sdmetrics("single_table")
    theirs = module.DCROverfittingProtection.compute_breakdown(
        tables["real"], tables["synthetic"], tables["holdout"], metadata(kinds), "table"
    )
    ours = privacy(encode(tables, kinds))
    assert ours.score == pytest.approx(theirs["score"], abs=1e-12)
    share = theirs["synthetic_data_percentages"]["closer_to_training"]
    assert ours.closer_to_training == pytest.approx(share, abs=1e-12)
    medians = module.DCRBaselineProtection.compute_breakdown(
        tables["real"], tables["synthetic"], metadata(kinds), "table"
    )["median_DCR_to_real_data"]
    assert ours.distance == pytest.approx(medians["synthetic_data"], abs=1e-12)
