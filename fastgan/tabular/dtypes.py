"""dtypes of pandas as JSON, and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

Json = Any
"""What the json module reads and writes."""

DAMAGES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What reading JSON of another shape raises; some errors of pyarrow are of the class ``RuntimeError``."""


def expect(is_valid: bool, expected: str) -> None:
    """Refuse JSON that describes nothing.

    Raises:
        ValueError: it is not valid.
    """
    if not is_valid:
        raise ValueError(f"expected {expected}")


def dtype_to_json(dtype: Any) -> Json:
    """Describe a dtype that is not categorical, so that :func:`dtype_from_json` returns an equal one."""
    if isinstance(dtype, pd.StringDtype):
        return {"string": dtype.storage, "missing": "nan" if dtype.na_value is np.nan else "NA"}
    if isinstance(dtype, pd.ArrowDtype):
        return {"arrow": str(dtype.pyarrow_dtype)}
    return str(dtype)


def dtype_from_json(json: Json) -> Any:
    """The dtype that :func:`dtype_to_json` described.

    Raises:
        TypeError, KeyError or ValueError: it describes none.
    """
    if isinstance(json, str):
        return pd.api.types.pandas_dtype(json)
    if "string" in json:
        return pd.StringDtype(json["string"], na_value=np.nan if json["missing"] == "nan" else pd.NA)
    return pd.ArrowDtype(_arrow_type(json["arrow"]))


def _arrow_type(name: str) -> Any:
    if zoned := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", name):
        return pa.timestamp(*zoned.groups())
    if coded := re.fullmatch(r"dictionary<values=(.+), indices=(\w+), ordered=([01])>", name):
        values, indices, ordered = coded.groups()
        return pa.dictionary(_arrow_type(indices), _arrow_type(values), ordered == "1")
    return pa.type_for_alias(name)
