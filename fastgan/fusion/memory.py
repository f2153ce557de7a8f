"""Which calls write into the memory of a result, and which read only metadata such as shapes."""

from __future__ import annotations

import inspect
from typing import Any

from torch import fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.utils._pytree import tree_leaves

from fastgan import nn as fused
from fastgan.fusion.tracing import IN_PLACE_OPERATORS

# fmt: off
# Operations whose result is in new memory. All others may return a view of an argument.
_ALLOCATING = {
    "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "add", "addbmm", "addcdiv",
    "addcmul", "addmm", "all", "amax", "amin", "any", "argmax", "argmin", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "baddbmm", "batch_norm", "bilinear", "bmm", "cat", "celu", "clamp", "clamp_max",
    "clamp_min", "clip", "clone", "concat", "concatenate", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cos", "cosine_similarity", "cumsum", "div", "elu", "eq", "exp",
    "flip", "floordiv", "gather", "ge", "gelu", "glu", "group_norm", "gt", "hardswish", "hardtanh",
    "index_select", "instance_norm", "interpolate", "layer_norm", "le", "leaky_relu", "lerp", "linear", "log",
    "log1p", "log_softmax", "logsigmoid", "logsumexp", "lt", "masked_fill", "matmul", "max", "max_pool1d",
    "max_pool2d", "max_pool3d", "maximum", "mean", "min", "minimum", "mish", "mm", "mod", "mul", "multiply",
    "ne", "neg", "norm", "normalize", "ones_like", "outer", "pad", "pow", "prelu", "prod", "radd",
    "rand_like", "randn_like", "rdiv", "reciprocal", "relu", "repeat", "repeat_interleave", "rmatmul", "rmul",
    "roll", "rpow", "rsqrt", "rsub", "rtruediv", "selu", "sigmoid", "silu", "sin", "softmax", "softplus",
    "softsign", "sqrt", "square", "stack", "std", "sub", "sum", "tanh", "truediv", "var", "where",
    "zeros_like",
}
_METADATA = {
    "device", "dim", "dtype", "is_cpu", "is_cuda", "len", "ndim", "numel", "requires_grad", "shape", "size",
}
# fmt: on
_ALLOCATING_LAYERS = {
    f"torch.nn.modules.{name}"
    for name in (
        *("activation", "batchnorm", "conv", "instancenorm", "linear", "normalization", "padding", "pooling"),
        *("rnn", "upsampling"),
    )
}
# Operations that expose a tensor's memory as another type: graphs do not show writes to it.
_EXPOSING_MEMORY = {"array", "data_ptr", "dlpack", "numpy", "storage", "to_dlpack", "untyped_storage"}


def overwriter(node: fx.Node) -> tuple[fx.Node, str] | None:
    """Return a call that may write into a result's memory, and how. The fused backward needs the result."""
    views = [node]
    for view in views:
        for user in view.users:
            if view in _written(user):
                what = "its output in place" if view is node else "what may be a view of its output"
                return user, f"overwrites {what}"
            if user.op != "call_module" and operation(user) in _EXPOSING_MEMORY:
                return user, "hands out the memory of its output, where a write is not seen"
            if user not in views and _may_be_view(user):
                views.append(user)
    return None


def _written(call: fx.Node) -> list[Any]:
    """The arguments that a call writes into."""
    arguments = [*call.args, *call.kwargs.values()]
    first = tree_leaves(arguments[:1])
    if call.op == "call_module":
        module = call.meta["module"]
        is_in_place = getattr(module, "inplace", False) and not isinstance(module, fused.Applied)
        return first if is_in_place else []
    return tree_leaves(call.kwargs.get("out")) + (first if _is_in_place(call) else [])


def _is_in_place(call: fx.Node) -> bool:
    name = operation(call)
    if name == "requires_grad_":
        return False
    return name in (*IN_PLACE_OPERATORS, "setitem") or name.endswith("_") or _has_inplace_argument(call)


def _has_inplace_argument(call: fx.Node) -> bool:
    """Whether ``inplace`` is True, as in ``F.relu(x, True)`` or ``F.relu(x, inplace=True)``."""
    if not callable(call.target):
        return False
    try:
        arguments = inspect.signature(call.target).bind(*call.args, **call.kwargs).arguments
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    return arguments.get("inplace") is True


def _may_be_view(call: fx.Node) -> bool:
    """Whether the result may share memory with an argument that the call does not write into."""
    if call.op == "call_module":
        return not _is_allocating_layer(call.meta["module"])
    return not (operation(call) in _ALLOCATING or _is_in_place(call) or reads_metadata(call))


def _is_allocating_layer(module: nn.Module) -> bool:
    if isinstance(module, (nn.Identity, fused.Applied)):
        return False
    return any(cls.__module__ in _ALLOCATING_LAYERS for cls in type_before_parametrizations(module).__mro__)


def reads_metadata(user: fx.Node) -> bool:
    """Whether a call reads only a tensor's metadata, such as its shape; an activation does not change it."""
    return user.op != "call_module" and operation(user) in _METADATA


def operation(node: fx.Node) -> str:
    """The name of a node's target: ``iadd`` for ``Tensor.__iadd__``, ``data`` for a property's getter."""
    target = node.target
    name = str(getattr(target, "__name__", target))
    if name == "__get__":
        name = str(getattr(getattr(target, "__self__", None), "__name__", name))
    elif name == "getattr":
        name = str(node.args[1])
    if name.startswith("__") and name.endswith("__"):
        return name[2:-2]
    return name.partition(".")[0]  # neg_ from torch.ops.aten.neg_.default
