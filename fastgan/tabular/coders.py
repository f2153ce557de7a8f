"""Columns as spans of a network's output, one class for each way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgan.tabular.categories import Categories, factorized
from fastgan.tabular.columns import DISCRETE, Kind
from fastgan.tabular.continuous import Modes
from fastgan.tabular.dtypes import Json, expect
from fastgan.tabular.errors import TableError
from fastgan.tabular.steps import Range, Steps, scale_from_json, scale_of
from fastgan.tabular.storage import Raw, Storage


class Coded(NamedTuple):
    """A column's part of an encoded table.

    Attributes:
        codes: ``[rows, softmax spans of the column]``, int32; no column or one.
        values: ``[rows, tanh spans of the column]``, float64; no column or one.
    """

    codes: NDArray[np.int32]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Constant:
    """A column with one value, which no network generates.

    Attributes:
        value: ``[1]``: the value, raw.
        missing: ``[1]``: whether that is missing.
    """

    value: NDArray[Any]
    missing: NDArray[np.bool_]

    spans = ()

    def encode(self, name: object, raw: Raw, rng: np.random.Generator) -> Coded:
        """Nothing; raises TableError for another value."""
        others = raw.missing != self.missing[0]
        if not self.missing[0]:
            others |= raw.values != self.value[0]
        if others.any():
            raise TableError(
                f"column {name!r}: row {int(others.argmax())} has another value than all rows that it was "
                "fitted with; fit again with such rows, or drop them"
            )
        return Coded(np.empty((len(others), 0), dtype=np.int32), np.empty((len(others), 0)))

    def decode(self, coded: Coded, raw_dtype: np.dtype[Any], rng: np.random.Generator) -> Raw:
        """The value, for each row."""
        rows = len(coded.codes)
        return Raw(self.value.repeat(rows), self.missing.repeat(rows))

    def to_json(self) -> Json:
        """This column as JSON."""
        return {"value": self.value.tolist(), "missing": self.missing.tolist()}


@dataclass(frozen=True)
class Discrete:
    """A column of categories: one softmax.

    Attributes:
        categories: their codes.
    """

    categories: Categories

    @property
    def spans(self) -> tuple[int, ...]:
        """Widths of the column's spans."""
        return (len(self.categories),)

    def encode(self, name: object, raw: Raw, rng: np.random.Generator) -> Coded:
        """The rows' codes; raises TableError for a value that is none of the categories."""
        codes = self.categories.encode(name, raw)
        return Coded(codes[:, None], np.empty((len(codes), 0)))

    def decode(self, coded: Coded, raw_dtype: np.dtype[Any], rng: np.random.Generator) -> Raw:
        """The values of codes."""
        return self.categories.decode(coded.codes[:, 0], rng)

    def to_json(self) -> Json:
        """This column as JSON."""
        return {"categories": self.categories.to_json()}


@dataclass(frozen=True)
class Continuous:
    """A column of numbers or times: one tanh, and a softmax if it has several modes.

    Attributes:
        scale: from raw values to numbers.
        modes: of the numbers.
        has_missing: whether missing values are a mode, the last one.
    """

    scale: Steps | Range
    modes: Modes
    has_missing: bool

    @property
    def spans(self) -> tuple[int, ...]:
        """Widths of the column's spans."""
        modes = len(self.modes) + self.has_missing
        return (1,) if modes == 1 else (1, modes)

    def encode(self, name: object, raw: Raw, rng: np.random.Generator) -> Coded:
        """Draw each row's mode; raises TableError for a missing value if there was none."""
        if raw.missing.any() and not self.has_missing:
            raise TableError(
                f"column {name!r}: row {int(raw.missing.argmax())} is missing, and no value was when it was "
                "fitted; fit again with such rows, or drop them"
            )
        present = np.flatnonzero(~raw.missing)
        codes = np.full(len(raw.missing), len(self.modes), dtype=np.int32)
        values = np.zeros(len(raw.missing))
        codes[present], values[present] = self.modes.encode(self.scale.to_numbers(raw.values[present]), rng)
        return Coded(codes[:, None][:, : len(self.spans) - 1], values[:, None])

    def decode(self, coded: Coded, raw_dtype: np.dtype[Any], rng: np.random.Generator) -> Raw:
        """The values of modes and values in [-1, 1]."""
        values = coded.values[:, 0]
        codes = coded.codes[:, 0] if coded.codes.shape[1] else np.zeros(len(values), dtype=np.int32)
        missing = codes == len(self.modes)
        numbers = self.modes.decode(np.where(missing, 0, codes), values)
        return Raw(self.scale.to_values(numbers, raw_dtype), missing)

    def to_json(self) -> Json:
        """This column as JSON."""
        return {
            "scale": self.scale.to_json(),
            "modes": self.modes.to_json(),
            "missing": self.has_missing,
        }


Coder = Constant | Discrete | Continuous


def fit_coder(
    name: object,
    kind: Kind,
    storage: Storage,
    raw: Raw,
    max_categories: int,
    rng: np.random.Generator,
    *,
    is_chosen: bool,
) -> Coder:
    """Fit the coder of a column of that kind, which the user may have chosen."""
    if kind == "constant":
        values = np.zeros_like(raw.values[:1]) if raw.missing[0] else factorized(raw)[1]
        return Constant(values, raw.missing[:1])
    if kind in DISCRETE:
        return Discrete(Categories.fit(name, raw, max_categories, is_chosen=is_chosen))
    present = raw.values[~raw.missing]
    scale = scale_of(present, storage)
    return Continuous(scale, Modes.fit(scale.to_numbers(present), rng), bool(raw.missing.any()))


def coder_from_json(json: Json, kind: Kind, storage: Storage) -> Coder:
    """The coder of a column of that kind that ``to_json`` described; raises ValueError for others."""
    if kind == "constant":
        value, missing = json["value"], json["missing"]
        expect(len(value) == 1 and missing in ([True], [False]), "one value, and whether it is missing")
        values = np.zeros(1, storage.raw_dtype) if missing[0] else storage.values_from_json(value)
        return Constant(values, np.array(missing))
    if kind in DISCRETE:
        return Discrete(Categories.from_json(json["categories"], storage))
    missing = json["missing"]
    expect(isinstance(missing, bool), f"missing as true or false, not {missing!r}")
    return Continuous(scale_from_json(json["scale"]), Modes.from_json(json["modes"]), missing)
