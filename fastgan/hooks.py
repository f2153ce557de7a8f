"""Detects whether calling a module does more than the forward of its class."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as _of_all_modules


def has_hooks(module: nn.Module) -> bool:
    """Whether the module, or all modules, have hooks or a replaced forward."""
    if module._forward_pre_hooks or _of_all_modules._global_forward_pre_hooks:
        return True
    return sees_the_output(module)


def sees_the_output(module: nn.Module) -> bool:
    """Whether a hook or a replaced forward may see the module's output or its gradient."""
    return bool(
        module._forward_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl  # module.compile()
        or "forward" in vars(module)  # replaced on the instance
        or _of_all_modules._global_forward_hooks
        or _of_all_modules._global_backward_hooks
        or _of_all_modules._global_backward_pre_hooks
    )
