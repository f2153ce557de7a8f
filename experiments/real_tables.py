"""Real tables that packages ship: breast cancer and wine of scikit-learn, arrests of scikit-lego."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn import datasets


@dataclass(frozen=True)
class RealTable:
    """A table split at random into four fifths to train on and a fifth to test on; both have a target.

    Attributes:
        train: rows that a GAN learns from.
        test: the other rows.
        discrete: the columns of categories; the others are numbers.
        target: the column that a classifier predicts, one of ``discrete``.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    discrete: tuple[str, ...]
    target: str


def real_table(name: str) -> RealTable:
    """One of ``NAMES``; always the same split."""
    frame, discrete, target = NAMES[name]()
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    count = len(frame) * 4 // 5
    return RealTable(shuffled[:count], shuffled[count:].reset_index(drop=True), discrete, target)


_Found = tuple[pd.DataFrame, tuple[str, ...], str]


def _breast_cancer() -> _Found:
    return _of_sklearn(datasets.load_breast_cancer(as_frame=True), "diagnosis")


def _wine() -> _Found:
    return _of_sklearn(datasets.load_wine(as_frame=True), "class")


def _of_sklearn(bunch: datasets.Bunch, target: str) -> _Found:
    names = dict(enumerate(map(str, bunch.target_names)))
    return bunch.data.assign(**{target: bunch.target.map(names)}), (target,), target


def _arrests() -> _Found:
    """Arrests for marijuana in Toronto: was the arrested released with a summons?

    Read without importing the package, which needs more.

    Raises:
        ValueError: if scikit-lego is not installed.
    """
    found = importlib.util.find_spec("sklego")
    if found is None or found.origin is None:
        raise ValueError(
            "arrests: scikit-lego, which has it, is not installed; pip install --no-deps scikit-lego"
        )
    discrete = ("released", "colour", "year", "sex", "employed", "citizen", "checks")
    frame = pd.read_csv(
        Path(found.origin).parent / "data" / "arrests.zip", dtype=dict.fromkeys(discrete, str)
    )
    return frame, discrete, "released"


NAMES = {"breast cancer": _breast_cancer, "wine": _wine, "arrests": _arrests}
