"""``torch_utils/ops/bias_act.py``."""

from __future__ import annotations

from types import SimpleNamespace

from torch import Tensor

import fastgan
from fastgan.compat.stylegan3.implementations import on
from fastgan.kernels.acts import ACTS

# Networks read the default gain of their activation here.
activation_funcs = {
    name: SimpleNamespace(def_alpha=row.alpha if name == "lrelu" else 0, def_gain=row.gain)
    for name, row in ACTS.items()
}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = "cuda",
) -> Tensor:
    """:func:`fastgan.bias_act`. ``impl="ref"`` computes it with PyTorch's operations, as in the original."""
    with on(impl):
        return fastgan.bias_act(x, b, dim, act, alpha, gain, clamp)
