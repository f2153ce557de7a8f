"""Which leaky ReLU can be fused into the layer before it, and what stands in the way of the others."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan import nn as fused
from fastgan.fusion.tracing import Untraceable, is_layer, trace
from fastgan.hooks import has_hooks, sees_the_output

FUSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: fused.LinearLeakyReLU,
    nn.Conv1d: fused.Conv1dLeakyReLU,
    nn.Conv2d: fused.Conv2dLeakyReLU,
    nn.Conv3d: fused.Conv3dLeakyReLU,
    nn.ConvTranspose1d: fused.ConvTranspose1dLeakyReLU,
    nn.ConvTranspose2d: fused.ConvTranspose2dLeakyReLU,
    nn.ConvTranspose3d: fused.ConvTranspose3dLeakyReLU,
}

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
_IN_PLACE_OPERATORS = {"iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor"}


@dataclass
class Calls:
    """Every call of a layer that a forward of the model makes."""

    names: dict[nn.Module, str]
    of: dict[nn.Module, list[fx.Node]] = field(default_factory=dict)
    untraceable: dict[nn.Module, Untraceable] = field(default_factory=dict)

    def called(self, node: object) -> str:
        """A node, in words."""
        if not isinstance(node, fx.Node):
            return "a constant"
        if node.op == "call_module":
            module = node.meta["module"]
            return f"{type_before_parametrizations(module).__name__} '{self.names[module]}'"
        if node.op in ("placeholder", "output"):
            return {"placeholder": "the input", "output": "the output"}[node.op]
        return f"'{_operation(node)}'"


def calls_in(model: nn.Module) -> Calls:
    calls = Calls({module: name for name, module in model.named_modules()})
    for module in calls.names:
        if is_layer(module):
            continue
        try:
            graphs = trace(module)
        except Untraceable as reason:
            calls.untraceable[module] = reason
            continue
        for node in (node for graph in graphs for node in graph.nodes if node.op == "call_module"):
            calls.of.setdefault(node.meta["module"], []).append(node)
    return calls


def find(model: nn.Module) -> tuple[dict[nn.Module, nn.LeakyReLU], dict[str, str]]:
    """The pairs that can be fused, layer to activation; and why each other leaky ReLU cannot be, by name."""
    calls = calls_in(model)
    left: dict[nn.Module, str] = {}
    activations = [module for module in calls.names if type(module) is nn.LeakyReLU]
    before = -1
    while before < len(left):  # a layer that one activation has to leave is lost to its others
        before = len(left)
        for activation in activations:
            if activation not in left:
                reason = _why_not(activation, calls, left)
                if reason is not None:
                    left[activation] = reason
    pairs = {
        node.args[0].meta["module"]: activation  # type: ignore[union-attr]
        for activation in activations
        if activation not in left
        for node in calls.of[activation]
    }
    reasons = {calls.names[activation]: reason for activation, reason in left.items()}
    return pairs, reasons | dict(_functions(calls))


def _why_not(activation: nn.LeakyReLU, calls: Calls, left: dict[nn.Module, str]) -> str | None:
    if not 0.0 <= activation.negative_slope < float("inf"):
        return (
            f"its negative slope is {activation.negative_slope}; the fused backward needs one of at least 0"
        )
    if has_hooks(activation):
        return "it has a hook"
    if activation not in calls.of:
        return _why_never_called(activation, calls)
    for node in calls.of[activation]:
        reason = _why_not_here(node, activation, calls, left)
        if reason is not None:
            return reason
    return None


def _why_never_called(activation: nn.Module, calls: Calls) -> str:
    name = calls.names[activation]
    for module, reason in reversed(calls.untraceable.items()):  # the innermost around it
        path = calls.names[module]
        if name.startswith(f"{path}." if path else ""):
            return f"torch.fx cannot trace the forward of {type(module).__name__}: {reason}"
    return "no traced forward calls it"


def _why_not_here(
    node: fx.Node, activation: nn.LeakyReLU, calls: Calls, left: dict[nn.Module, str]
) -> str | None:
    argument = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(argument, fx.Node) or argument.op != "call_module":
        return f"follows {calls.called(argument)}, not a layer"
    layer = argument.meta["module"]
    name = calls.called(argument)
    if type_before_parametrizations(layer) not in FUSED:
        return f"follows {name}, which has no fused form"
    if sees_the_output(layer):
        return f"a hook sees the output of {name}"
    for call in calls.of[layer]:
        for user in call.users:
            other = user.meta.get("module")
            if type(other) is not nn.LeakyReLU or other in left:
                return f"the output of {name} also goes to {calls.called(user)}"
            if other.negative_slope != activation.negative_slope:
                return f"{name} is followed by another slope elsewhere"
        if not call.users:
            return f"the output of {name} is not always used"
    writer = _overwriter(node)
    return f"{calls.called(writer)} overwrites its output in place" if writer is not None else None


def _overwriter(node: fx.Node) -> fx.Node | None:
    """Who writes into the memory of a result: the fused backward reads the slope from it."""
    for user in node.users:
        if _writes_into(user, node):
            return user
        if _is_view(user):
            writer = _overwriter(user)
            if writer is not None:
                return writer
    return None


def _writes_into(user: fx.Node, node: fx.Node) -> bool:
    if user.op == "call_module":
        module = user.meta["module"]
        return bool(getattr(module, "inplace", False)) and not isinstance(module, fused.AppliedLeakyReLU)
    if node is user.kwargs.get("out"):
        return True
    name = _operation(user)
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
    return _operation(node).lower() in _VIEWS


def _operation(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _functions(calls: Calls) -> Iterator[tuple[str, str]]:
    """Layers before a leaky ReLU that is a function call: nothing there to put another module for."""
    for layer, nodes in calls.of.items():
        if type_before_parametrizations(layer) in FUSED:
            for user in (user for node in nodes for user in node.users):
                if user.op != "call_module" and _operation(user) in ("leaky_relu", "leaky_relu_"):
                    yield calls.names[layer], "is followed by F.leaky_relu; an nn.LeakyReLU could be fused"
