"""Tables as the numbers that networks generate, and back."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastgan.tabular.coders import Coded, Coder, Discrete, coder_from_json, fit_coder
from fastgan.tabular.columns import (
    Kind,
    check_finite,
    check_kind,
    check_table,
    is_name,
    kinds_of,
    name_of_columns,
    names_of,
    no_column,
)
from fastgan.tabular.dtypes import DAMAGES, Json, expect
from fastgan.tabular.errors import TableError, shown
from fastgan.tabular.storage import Storage


class Encoded(NamedTuple):
    """A table as numbers.

    Attributes:
        codes: ``[rows, softmax spans]``, int32: the column of each softmax that is 1.
        values: ``[rows, tanh spans]``, float64 in [-1, 1].
    """

    codes: NDArray[np.int32]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: its name.
        kind: what it is modelled as.
        storage: how pandas stores it.
        coder: its spans.
    """

    name: str | int
    kind: Kind
    storage: Storage
    coder: Coder


@dataclass(frozen=True)
class TableTransform:
    """The columns of a table, each as spans of a network's output.

    A span of width 1 is a tanh, whose value is in [-1, 1]; a wider one is a softmax. A continuous column has
    a tanh and, if it has several modes, a softmax; a discrete column has a softmax, a constant one nothing.

    Attributes:
        columns: in the table's order.
        name: of the columns' index; None for one without a name, or whose name is neither text nor integer.
    """

    columns: tuple[Column, ...]
    name: str | int | None = None

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        *,
        columns: Mapping[Any, str] | None = None,
        max_categories: int = 500,
        seed: int = 0,
    ) -> TableTransform:
        """Find the columns' kinds, categories and modes.

        Args:
            frame: the table, of at least two rows.
            columns: kinds of columns, as in :func:`fastgan.tabular.columns.kinds_of`. A category that is not
                among them, and of whose values most occur once, brings a warning.
            max_categories: if a column has more, the least frequent share a code; at least 2. Warns.
            seed: of the rows that mixtures are fitted to, and of their start.

        Raises:
            TableError: the table or a column cannot be used.
        """
        if max_categories < 2:
            raise TableError(f"max_categories is {max_categories}, expected at least 2")
        kinds = kinds_of(frame, columns)
        if all(kind == "constant" for kind in kinds.values()):
            raise TableError("all columns are constant, so there is nothing to generate; add other columns")
        fitted = []
        for name, rng in _with_rngs(list(kinds), seed):
            storage = Storage.of(frame[name])
            raw = storage.read(frame[name])
            is_chosen = name in (columns or {})
            coder = fit_coder(name, kinds[name], storage, raw, max_categories, rng, is_chosen=is_chosen)
            fitted.append(Column(name, kinds[name], storage, coder))
        return cls(tuple(fitted), name_of_columns(frame))

    @property
    def kinds(self) -> dict[Hashable, str]:
        """Kinds of the columns by name, as quality's functions take them."""
        return {column.name: column.kind for column in self.columns}

    @property
    def spans(self) -> tuple[int, ...]:
        """Widths of the spans of the network's output, in order."""
        return tuple(span for column in self.columns for span in column.coder.spans)

    @property
    def conditions(self) -> tuple[int, ...]:
        """Which softmax spans, counted without the others, are discrete columns, in the columns' order."""
        return tuple(
            softmaxes.start for column, softmaxes, _ in self._placed() if isinstance(column.coder, Discrete)
        )

    def encode(self, frame: pd.DataFrame, seed: int) -> Encoded:
        """The table as numbers.

        Args:
            frame: a table with the fitted columns. Numbers out of a column's range are clipped to it.
            seed: draws of the modes, with probabilities.

        Raises:
            TableError: the columns are others, or one has an infinite value or a category that it was not
                fitted with.
        """
        self.check(frame)
        softmaxes = sum(span > 1 for span in self.spans)
        encoded = Encoded(
            np.empty((len(frame), softmaxes), dtype=np.int32),
            np.empty((len(frame), len(self.spans) - softmaxes)),
        )
        for (column, codes, values), (name, rng) in zip(self._placed(), self._rngs(seed), strict=True):
            raw = column.storage.read(frame[name])
            check_finite(name, raw)
            encoded.codes[:, codes], encoded.values[:, values] = column.coder.encode(name, raw, rng)
        return encoded

    def decode(self, encoded: Encoded, seed: int) -> pd.DataFrame:
        """The table of numbers: columns, dtypes and categories as they were, rows numbered from 0.

        Args:
            encoded: codes and values. Values out of [-1, 1] are clipped.
            seed: draws the values of categories that share a code.

        Raises:
            TableError: shapes or codes are not those of this transform, or a value is nan.
        """
        self._check_encoded(encoded)
        decoded = {}
        for (column, codes, values), (name, rng) in zip(self._placed(), self._rngs(seed), strict=True):
            coded = Coded(encoded.codes[:, codes], encoded.values[:, values])
            raw = column.coder.decode(coded, column.storage.raw_dtype, rng)
            decoded[name] = column.storage.build(raw.values, raw.missing)
        frame = pd.DataFrame(decoded, index=pd.RangeIndex(len(encoded.codes)), columns=list(decoded))
        frame.columns.name = self.name
        return frame

    def code_of(self, column: str | int, value: object) -> tuple[int, int]:
        """The code of a value, for samples with that value.

        Args:
            column: a discrete column.
            value: one of its values; None, nan or NA for a missing one.

        Returns:
            The position in :attr:`conditions`, and the code.

        Raises:
            TableError: there is no such column, it is not discrete, or the value never occurs or shares its
                code with others.
        """
        discrete = [other for other in self.columns if isinstance(other.coder, Discrete)]
        for position, other in enumerate(discrete):
            if other.name == column:
                return position, _code(other, value)
        kinds = {other.name: other.kind for other in self.columns}
        if column not in kinds:
            raise TableError(f"condition on {column!r}, {no_column(list(kinds), column)}")
        raise TableError(
            f"condition on {column!r}, which is {kinds[column]}; conditions are values of discrete columns, "
            f"here {', '.join(repr(other.name) for other in discrete) or 'there are none'}"
        )

    def spelled(self, column: str, value: str) -> tuple[str | int, object]:
        """The discrete column and the value that are written so, for :meth:`code_of`; as given if none are.

        An empty value means a missing one, unless the column has the empty text.
        """
        for other in self.columns:
            if str(other.name) == column and isinstance(other.coder, Discrete):
                values = _values(other)
                same = [known for known in values if str(known) == value]
                same += [known for known in values if str(known).lower() == value.lower()]
                return other.name, same[0] if same else value or None
        return column, value

    def check(self, frame: pd.DataFrame) -> None:
        """Refuse a table that has other columns or dtypes than the one that was fitted; their order is free.

        Raises:
            TableError: the message names the first difference.
        """
        check_table(frame, min_rows=1)
        fitted = {column.name: column.storage.dtype for column in self.columns}
        names = names_of(frame)
        for name in names:
            if name not in fitted:
                raise TableError(f"column {name!r}: was not there when the model was fitted; drop it")
        for name, dtype in fitted.items():
            if name not in names:
                raise TableError(f"column {name!r}: is missing from the table; add it")
            if frame[name].dtype != dtype:
                raise TableError(
                    f"column {name!r}: dtype is {_described(frame[name].dtype)}, but was {_described(dtype)} "
                    "when the model was fitted; convert it"
                )

    def to_json(self) -> Json:
        """The columns as JSON; floats are exact. The name of their index is not in it."""
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "storage": column.storage.to_json(),
                "coder": column.coder.to_json(),
            }
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, json: Json, name: Json = None) -> TableTransform:
        """The transform whose columns :meth:`to_json` described.

        Args:
            json: the columns.
            name: of the columns' index.

        Raises:
            TableError: it describes none.
        """
        if name is not None and not is_name(name):
            raise TableError(f"columns_name is {shown(name)}, expected a string, an integer or null")
        if not isinstance(json, list):
            raise TableError(f"columns is {shown(json)}, expected a list")
        columns = tuple(_column_from_json(place, entry) for place, entry in enumerate(json))
        names = [column.name for column in columns]
        if twice := [name for name in names if names.count(name) > 1]:
            raise TableError(f"column {twice[0]!r} occurs twice")
        if all(column.kind == "constant" for column in columns):
            raise TableError("no column is generated, expected at least one")
        return cls(columns, name)

    def _placed(self) -> Iterator[tuple[Column, slice, slice]]:
        """Columns, with their columns of ``Encoded.codes`` and ``Encoded.values``."""
        codes = values = 0
        for column in self.columns:
            tanhs = column.coder.spans.count(1)
            softmaxes = len(column.coder.spans) - tanhs
            yield column, slice(codes, codes + softmaxes), slice(values, values + tanhs)
            codes, values = codes + softmaxes, values + tanhs

    def _rngs(self, seed: int) -> Iterator[tuple[Any, np.random.Generator]]:
        return _with_rngs([column.name for column in self.columns], seed)

    def _check_encoded(self, encoded: Encoded) -> None:
        widths = [span for span in self.spans if span > 1]
        tanhs = len(self.spans) - len(widths)
        for name, array, width in (("codes", encoded.codes, len(widths)), ("values", encoded.values, tanhs)):
            if array.shape != (len(encoded.codes), width):
                raise TableError(f"{name} has shape {array.shape}, expected [rows, {width}]")
        if np.isnan(encoded.values).any():
            raise TableError("values has nan; did training diverge?")
        bad = (encoded.codes < 0) | (encoded.codes >= np.array(widths, dtype=np.int32))
        if bad.any():
            row, span = (int(index) for index in np.argwhere(bad)[0])
            raise TableError(
                f"codes[{row}, {span}] is {encoded.codes[row, span]}, expected 0 to {widths[span] - 1}"
            )


def _with_rngs(names: Sequence[Any], seed: int) -> Iterator[tuple[Any, np.random.Generator]]:
    """Names with generators of their own: a column's draws do not depend on the other columns."""
    for name in names:
        yield name, np.random.default_rng([seed, zlib.crc32(repr(name).encode())])


def _code(column: Column, value: object) -> int:
    assert isinstance(column.coder, Discrete)
    categories = column.coder.categories
    if pd.api.types.is_scalar(value) and pd.isna(value):
        if not categories.has_missing:
            raise TableError(f"condition on {column.name!r}: no value of that column is missing")
        return len(categories) - 1
    if not pd.api.types.is_scalar(value):
        raise TableError(f"condition on {column.name!r}: {shown(value)} is no single value; give one")
    values = _values(column)
    equal = [index for index, known in enumerate(values) if known == value]
    # where True == 1, the value of the same type
    equal.sort(key=lambda index: type(values[index]) is not type(value))
    if not equal:
        hint = _hint(values, value)
        raise TableError(f"condition on {column.name!r}: {shown(value)} never occurs there; {hint}")
    if equal[0] >= categories.frequent:
        raise TableError(
            f"condition on {column.name!r}: {shown(value)} is rare and shares its code with others; raise "
            "max_categories and fit again"
        )
    return equal[0]


def _values(column: Column) -> list[Any]:
    """The values of a discrete column but a missing one, in the order of their codes."""
    assert isinstance(column.coder, Discrete)
    raw = column.coder.categories.values
    values: list[Any] = column.storage.build(raw, np.zeros(len(raw), dtype=bool)).tolist()
    return values


def _hint(values: Sequence[object], value: object) -> str:
    names = {str(known): known for known in values}
    if close := get_close_matches(str(value), names, n=3):
        return f"did you mean {' or '.join(repr(names[name]) for name in close)}?"
    return f"it has {', '.join(map(repr, values[:5]))}{' and others' if len(values) > 5 else ''}"


def _described(dtype: Any) -> str:
    if isinstance(dtype, pd.CategoricalDtype):
        return f"category of {shown(list(dtype.categories))}{', ordered' if dtype.ordered else ''}"
    return str(dtype)


def _column_from_json(place: int, entry: Json) -> Column:
    try:
        name, kind, storage = entry["name"], entry["kind"], Storage.from_json(entry["storage"])
        expect(is_name(name), f"a name that is a string or integer, not {name!r}")
        check_kind(kind, storage)
        return Column(name, kind, storage, coder_from_json(entry["coder"], kind, storage))
    except KeyError as error:
        raise TableError(f"column {place} lacks {error}") from error
    except DAMAGES as error:
        raise TableError(f"column {place}: {error}") from error
