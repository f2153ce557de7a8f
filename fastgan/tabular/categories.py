"""Categories of a column, and missing values as one of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastgan.tabular.dtypes import Json, expect
from fastgan.tabular.errors import TableError, TableWarning, shown
from fastgan.tabular.storage import Raw, Storage, as_objects
from fastgan.training.setting import is_whole

_UNSEEN = -1
_FEW = 10  # values that occur once and do not tell rows apart yet


@dataclass(frozen=True)
class Categories:
    """Codes of values: one for each frequent value, then one for all rare ones, then one for missing values.

    Attributes:
        values: ``[frequent + rare]``, raw values from the most to the least frequent.
        frequent: how many values have a code of their own.
        counts: ``[rare]``, int64: rows of the rare values.
        has_missing: whether missing values have a code.
    """

    values: NDArray[Any]
    frequent: int
    counts: NDArray[np.int64]
    has_missing: bool

    @classmethod
    def fit(cls, name: object, raw: Raw, most: int, *, is_chosen: bool = False) -> Categories:
        """Count a column's values.

        Warns of shared codes, and of values that tell most rows apart, as names and identifiers do.

        Args:
            name: the column's name, for the warning.
            raw: its values.
            most: if there are more values, the most - 1 most frequent have codes of their own and the others
                share one.
            is_chosen: whether the user said that it is a category, and so is not warned that its values are
                those of single rows.
        """
        codes, values = factorized(raw)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        order = np.argsort(-counts, kind="stable")
        frequent = len(values) if len(values) <= most else most - 1
        said, remedy = [], "drop the column or raise max_categories"
        if frequent < len(values):
            said.append(
                f"has {len(values)} categories, more than max_categories, {most}, so the "
                f"{len(values) - frequent} rarest share one code"
            )
        if not is_chosen and _tell_rows_apart(counts):
            said.append(
                f"has a value of its own in {(counts == 1).sum()} of {counts.sum()} rows, as names and "
                "identifiers do, and samples copy these values"
            )
            remedy = (
                "drop the column, convert it if it holds numbers or times, or make it 'category' in columns, "
                "or with --columns"
            )
        if said:
            warnings.warn(f"column {name!r}: {', and '.join(said)}; {remedy}", TableWarning, stacklevel=2)
        return cls(values[order], frequent, counts[order][frequent:], bool(raw.missing.any()))

    def __len__(self) -> int:
        return self.frequent + (len(self.counts) > 0) + self.has_missing

    def encode(self, name: object, raw: Raw) -> NDArray[np.int32]:
        """The codes ``[N]`` of a column's values.

        Raises:
            TableError: a value is none of the categories.
        """
        codes, values = factorized(raw)
        known = self._codes_of(values)
        missing = len(self) - 1 if self.has_missing else _UNSEEN
        encoded = np.append(known, missing)[codes]  # a missing value's code is -1, the last one
        if (encoded == _UNSEEN).any():
            row = int((encoded == _UNSEEN).argmax())
            value = "missing" if raw.missing[row] else shown(_plain(raw.values[row]))
            raise TableError(
                f"column {name!r}: row {row} is {value}, which is none of the categories it was fitted with; "
                "fit again with such rows, or drop them"
            )
        return encoded.astype(np.int32)

    def decode(self, codes: NDArray[np.int32], rng: np.random.Generator) -> Raw:
        """The values of codes ``[N]``; a rare one is drawn by its frequency."""
        indices = codes.astype(np.intp)
        if len(self.counts):
            rare = np.flatnonzero(codes == self.frequent)
            cumulated = np.cumsum(self.counts)
            drawn = np.searchsorted(cumulated, rng.integers(cumulated[-1], size=len(rare)), side="right")
            indices[rare] += drawn
        missing = codes == len(self) - 1 if self.has_missing else np.zeros(len(codes), dtype=bool)
        indices[missing] = 0
        return Raw(self.values[indices], missing)

    def to_json(self) -> Json:
        """These categories as JSON."""
        return {
            "values": self.values.tolist(),
            "frequent": self.frequent,
            "counts": self.counts.tolist(),
            "missing": self.has_missing,
        }

    @classmethod
    def from_json(cls, json: Json, storage: Storage) -> Categories:
        """The categories that :meth:`to_json` described, as raw values; raises ValueError for others."""
        values, frequent, missing = (
            storage.values_from_json(json["values"]),
            json["frequent"],
            json["missing"],
        )
        counts = json["counts"]
        expect(all(is_whole(count) and count > 0 for count in counts), "counts of categories from 1 on")
        expect(isinstance(missing, bool), f"missing as true or false, not {missing!r}")
        expect(
            is_whole(frequent) and 0 <= frequent == len(values) - len(counts),
            f"frequent and counts of {len(values)} categories, not {frequent!r} and {len(counts)}",
        )
        expect(len(set(map(_key, values.tolist()))) == len(values), "categories that differ")
        categories = cls(values, frequent, np.array(counts, dtype=np.int64), missing)
        expect(len(categories) > 1, "at least two categories")
        return categories

    def _codes_of(self, values: NDArray[Any]) -> NDArray[np.intp]:
        known = {_key(value): min(code, self.frequent) for code, value in enumerate(self.values.tolist())}
        return np.array([known.get(_key(value), _UNSEEN) for value in values.tolist()], dtype=np.intp)


def factorized(raw: Raw) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Number the distinct values of a column, in the order of their first rows.

    Returns:
        Numbers ``[N]``, -1 for missing values, and the distinct values. Mixed 1, 1.0 and True are distinct.
    """
    values = raw.values
    if raw.mixed:
        kinds, _ = pd.factorize(np.fromiter(map(id, map(type, values)), dtype=np.int64, count=len(values)))
    else:
        kinds = np.zeros(1, dtype=np.intp)
    codes = np.full(len(values), -1, dtype=np.intp)
    distinct: list[NDArray[Any]] = []
    for kind in range(int(kinds.max(initial=0)) + 1):
        rows = np.flatnonzero((kinds == kind) & ~raw.missing)
        numbers, found = pd.factorize(values[rows])
        codes[rows] = numbers + sum(map(len, distinct))
        distinct.append(found if found.dtype != object else as_objects([_plain(value) for value in found]))
    return codes, np.concatenate(distinct)


def _tell_rows_apart(counts: NDArray[np.int64]) -> bool:
    """Whether most rows have a value of their own, and more of them than a small table has categories."""
    once = int((counts == 1).sum())
    return once > _FEW and 2 * once > counts.sum()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _key(value: object) -> tuple[type, object]:
    return type(value), value
