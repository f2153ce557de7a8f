"""Who writes into the memory of a result, and who reads more of a tensor than its shape."""

from __future__ import annotations

import inspect

from torch import fx, nn

from fastgan import nn as fused

# What may return the memory it was given.
_VIEWS = {
    *("chunk", "contiguous", "data", "detach", "dropout", "expand", "expand_as", "flatten", "getattr"),
    *("getitem", "moveaxis", "movedim", "narrow", "permute", "reshape", "reshape_as", "select", "split"),
    *("squeeze", "swapaxes", "t", "to", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as"),
}
_VIEWING_LAYERS = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
    fused.AppliedLeakyReLU,
)
_IN_PLACE_OPERATORS = {
    "iadd",
    "isub",
    "imul",
    "itruediv",
    "ifloordiv",
    "imod",
    "ipow",
    "iand",
    "ior",
    "ixor",
    "setitem",
}
_METADATA = {
    "device",
    "dim",
    "dtype",
    "is_cpu",
    "is_cuda",
    "len",
    "ndim",
    "numel",
    "requires_grad",
    "shape",
    "size",
}


def overwriter(node: fx.Node) -> fx.Node | None:
    """Who writes into the memory of a result: the fused backward reads the slope from it."""
    for user in node.users:
        if _writes_into(user, node):
            return user
        if _is_view(user):
            writer = overwriter(user)
            if writer is not None:
                return writer
    return None


def _writes_into(user: fx.Node, node: fx.Node) -> bool:
    if user.op == "call_module":
        module = user.meta["module"]
        return bool(getattr(module, "inplace", False)) and not isinstance(module, fused.AppliedLeakyReLU)
    if node is user.kwargs.get("out"):
        return True
    name = operation(user)
    if not user.args or user.args[0] is not node:
        return False
    return (
        name in _IN_PLACE_OPERATORS or (name.endswith("_") and name[-2:] != "__") or _is_told_in_place(user)
    )


def _is_told_in_place(call: fx.Node) -> bool:
    """``F.relu(x, True)``, ``F.relu(x, inplace=True)``."""
    if not callable(call.target):
        return False
    try:
        arguments = inspect.signature(call.target).bind(*call.args, **call.kwargs).arguments
    except (TypeError, ValueError):  # built in, without a signature
        return False
    return arguments.get("inplace") is True


def _is_view(node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(node.meta["module"], _VIEWING_LAYERS)
    return operation(node).lower() in _VIEWS


def reads_metadata(user: fx.Node) -> bool:
    """Whether a call asks for a tensor's shape, or its like, which an activation does not change."""
    if user.op == "call_module":
        return False
    name = operation(user)
    return (user.args[1] if name == "getattr" else name) in _METADATA


def operation(node: fx.Node) -> str:
    """The name of what a node calls: ``iadd`` of ``Tensor.__iadd__``, ``data`` of the property's getter."""
    target = node.target
    name = str(getattr(target, "__name__", target))
    if name == "__get__":
        name = str(getattr(getattr(target, "__self__", None), "__name__", name))
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name
