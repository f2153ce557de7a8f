"""TensorFloat-32 in float32 products while training, whichever of PyTorch's two interfaces has set it before.

The older interface is ``set_float32_matmul_precision``. In the newer one ``fp32_precision`` is a setting of
each backend and of each of its operations, and one that is "none" follows the setting above it. The older
interface raises when asked what it says while the newer one says otherwise.
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
    """Let float32 products be of TensorFloat-32 if ``precision`` is "tf32", and not otherwise.

    Afterwards both interfaces are as they were before.
    """
    before = {setting: _own_value(setting, above) for setting, above in _ABOVE.items()}
    for setting in before:
        _write(setting, "ieee")  # with this the older interface agrees, whatever it says
    older = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(older)
        for setting, value in before.items():
            _write(setting, value)


def _own_value(setting: _Setting, above: Sequence[_Setting]) -> str:
    """What is set for itself; reading it gives the value that it follows where that is "none"."""
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
    # torch.backends reads these too, but torch.backends.mkldnn.fp32_precision writes another setting
    value: str = torch._C._get_fp32_precision_getter(*setting)
    return value


def _write(setting: _Setting, value: str) -> None:
    torch._C._set_fp32_precision_setter(*setting, value)
