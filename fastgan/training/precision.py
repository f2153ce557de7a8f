"""Switches TensorFloat-32 for float32 products, with either of PyTorch's two interfaces.

The older interface is ``set_float32_matmul_precision``. In the newer one each backend and each of its
operations has a setting ``fp32_precision``; "none" inherits the setting above. Reading the older one raises
if the newer one contradicts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

_Setting = tuple[str, str]
_ABOVE: dict[_Setting, Sequence[_Setting]] = {
    (backend, "matmul"): [(backend, "all"), ("generic", "all")] for backend in ("cuda", "mkldnn")
}


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Use TensorFloat-32 for float32 products if ``precision`` is "tf32", else full precision.

    Restores both interfaces afterwards.
    """
    before = {setting: _own_value(setting, above) for setting, above in _ABOVE.items()}
    for setting in before:
        _write(setting, "ieee")  # never contradicts the older interface
    older = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(older)
        for setting, value in before.items():
            _write(setting, value)


def _own_value(setting: _Setting, above: Sequence[_Setting]) -> str:
    """The setting's own value, perhaps "none"; reading the setting gives the inherited value instead."""
    value = _read(setting)
    if not above:
        return value
    before = _own_value(above[0], above[1:])
    seen = set()
    for tried in ("ieee", "tf32"):
        _write(above[0], tried)
        seen.add(_read(setting))
    _write(above[0], before)
    return value if len(seen) == 1 else "none"


def _read(setting: _Setting) -> str:
    # torch.backends can read these, but torch.backends.mkldnn.fp32_precision writes another setting
    value: str = torch._C._get_fp32_precision_getter(*setting)
    return value


def _write(setting: _Setting, value: str) -> None:
    torch._C._set_fp32_precision_setter(*setting, value)
