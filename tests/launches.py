"""How many kernels a GPU would run, counted on the host: PyTorch's by its profiler, ours by their calls."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.autograd.profiler_util import FunctionEvent

from fastgan.kernels.cuda.module import _cuda
from fastgan.kernels.triton.launch import Kernel

_OURS = "a launch of fastgan"
# what only looks at memory or takes some
_FREE = {
    *("alias", "as_strided", "chunk", "detach", "detach_", "empty", "empty_like", "empty_strided", "expand"),
    *("expand_as", "is_nonzero", "lift_fresh", "narrow", "new_empty", "numpy_T", "permute", "resize_"),
    *("resolve_conj", "resolve_neg", "result_type", "select", "set_", "slice", "split", "split_with_sizes"),
    *("squeeze", "t", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as", "_reshape_alias"),
}
# what is made of others
_COMPOSITE = {
    *("_to_copy", "clone", "contiguous", "flatten", "linear", "matmul", "movedim", "ones", "ones_like"),
    *("rand", "randint", "randn", "reshape", "to", "zeros", "zeros_like"),
}
_NO_LAUNCH = {"capture_id", "device_error", "head_workspace", "layer_workspace", "spectral_workspace"}


@contextlib.contextmanager
def counted_launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """By the name of what launches, complete when the block ends."""
    found: Counter[str] = Counter()

    def counting(name: str, call: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            found[name] += 1
            with torch.profiler.record_function(_OURS):
                return call(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        for name, value in vars(_cuda).items():
            if callable(value) and name not in _NO_LAUNCH:
                patch.setattr(_cuda, name, counting(name, value))
        launch = Kernel.launch
        patch.setattr(
            Kernel,
            "launch",
            lambda self, *rest, **options: counting(self.jit.fn.__name__, launch)(self, *rest, **options),
        )
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            yield found
    for event in profile.events() or []:
        if event.cpu_parent is None:
            _count(event, found)


def _count(event: FunctionEvent, found: Counter[str]) -> None:
    if event.name == _OURS:
        return
    name = event.name.removeprefix("aten::")
    if event.name.startswith("aten::") and name not in _FREE | _COMPOSITE:
        found[name] += 1
        return
    for child in event.cpu_children:
        _count(child, found)
