"""Finds each (leaky) ReLU that can be fused into the layer before, and the reasons why others cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan.applying import slope_of_call
from fastgan.fusion.classes import APPLIED, BETWEEN, why_no_fused_form
from fastgan.fusion.memory import operation, overwriter, reads_metadata
from fastgan.fusion.tracing import Untraceable, is_layer, trace
from fastgan.fusion.watching import watch
from fastgan.hooks import has_hooks, sees_the_output
from fastgan.nn import PassesOn, slope_of


@dataclass
class Calls:
    """All calls of layers in the forward passes of a model."""

    names: dict[nn.Module, str]
    graphs: list[tuple[nn.Module, fx.Graph]] = field(default_factory=list)
    untraceable: dict[nn.Module, Untraceable] = field(default_factory=dict)
    watched: bool = False

    def __post_init__(self) -> None:
        self.of: dict[nn.Module, list[fx.Node]] = {}
        self.within: dict[fx.Graph, nn.Module] = {}
        for owner, graph in self.graphs:
            self.within[graph] = owner
            for node in graph.nodes:
                if node.op == "call_module":
                    self.of.setdefault(node.meta["module"], []).append(node)

    def called(self, node: object) -> str:
        """Describe a node in words."""
        if not isinstance(node, fx.Node):
            return "a constant"
        if node.op == "call_module":
            return self.named(node.meta["module"])
        if node.op in ("placeholder", "output"):
            return {"placeholder": "the input", "output": "the output"}[node.op]
        return f"'{operation(node)}'"

    def named(self, module: nn.Module) -> str:
        cls = type_before_parametrizations(module).__name__
        if module not in self.names:
            return f"{cls}, which is not registered in the model"
        return f"{cls} '{self.names[module]}'"

    def holds(self, outer: nn.Module, inner: nn.Module) -> bool:
        path = self.names[outer]
        return self.names[inner].startswith(f"{path}." if path else "")

    def untraceable_around(self, inner: nn.Module) -> nn.Module | None:
        """Return the innermost untraceable module that contains ``inner``, if any."""
        return next((each for each in reversed(self.untraceable) if self.holds(each, inner)), None)


@dataclass(frozen=True)
class Pair:
    """The activations of a layer (several if it is called several times) and the modules between."""

    activations: list[nn.Module]
    between: list[nn.Module]


@dataclass(frozen=True)
class Call:
    """The activation that forwards call as a function on a layer's output: its slope, and their modules.

    ``between`` are the modules between the layer and the call.
    """

    negative_slope: float
    owners: tuple[nn.Module, ...]
    between: tuple[nn.Module, ...]

    @property
    def name(self) -> str:
        return "F.leaky_relu" if self.negative_slope else "F.relu"


def calls_in(model: nn.Module, example_input: Any = None) -> Calls:
    """Find all calls: by calling the model with an example input if given, otherwise by tracing."""
    names = {module: name for name, module in model.named_modules()}
    if example_input is not None:
        return Calls(names, [(model, graph) for graph in watch(model, example_input)], watched=True)
    graphs: list[tuple[nn.Module, fx.Graph]] = []
    untraceable: dict[nn.Module, Untraceable] = {}
    for module in names:
        if not is_layer(module):
            try:
                graphs += [(module, graph) for graph in trace(module)]
            except Untraceable as reason:
                untraceable[module] = reason
    return Calls(names, graphs, untraceable)


Found = tuple[dict[nn.Module, Pair], dict[nn.Module, Call], dict[str, str]]


def find(model: nn.Module, example_input: Any = None) -> Found:
    """Find the layers that can be fused.

    Returns the layers before activations that are modules, those before activations that are functions, and
    the reason for each activation that cannot be fused, by name.
    """
    calls = calls_in(model, example_input)
    left: dict[nn.Module, str] = {}
    activations = [module for module in calls.names if type(module) in APPLIED]
    before = -1
    while before < len(left):  # if one activation cannot be fused, others of the same layer cannot either
        before = len(left)
        for activation in activations:
            if activation not in left:
                reason = _why_not(activation, calls, left)
                if reason is not None:
                    left[activation] = reason
    pairs: dict[nn.Module, Pair] = {}
    for activation in activations:
        for node in calls.of[activation] if activation not in left else ():
            source, between = _source(node)
            assert isinstance(source, fx.Node)
            pair = pairs.setdefault(source.meta["module"], Pair([], []))
            _add(pair.activations, [activation])
            _add(pair.between, between)
    reasons = {calls.names[activation]: reason for activation, reason in left.items()}
    functions, unfit = _functions(calls)
    return pairs, functions, reasons | unfit | dict(_hidden(calls, left))


def _add(modules: list[Any], others: list[Any]) -> None:
    modules += [each for each in others if each not in modules]


def _why_not(activation: nn.Module, calls: Calls, left: dict[nn.Module, str]) -> str | None:
    if not 0.0 <= slope_of(activation) < float("inf"):
        return f"its negative slope is {slope_of(activation)}; the fused backward needs at least 0"
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
    if calls.watched:
        return "the call with example_input does not reach it"
    module = calls.untraceable_around(activation)
    if module is not None:
        return f"torch.fx cannot trace the forward of {type(module).__name__}: {calls.untraceable[module]}"
    return "no traced forward calls it"


def _why_not_here(
    node: fx.Node, activation: nn.Module, calls: Calls, left: dict[nn.Module, str]
) -> str | None:
    source, _ = _source(node)
    if not isinstance(source, fx.Node) or source.op != "call_module":
        return f"follows {calls.called(source)}, not a layer"
    layer = source.meta["module"]
    name = calls.named(layer)
    if type(layer) in BETWEEN and not has_hooks(layer):
        return f"follows {name}, which overwrites its input; set inplace=False there"
    if isinstance(layer, (nn.Identity, _DropoutNd)) and has_hooks(layer):
        return f"a hook sees the output of {name}"
    if layer not in calls.names:
        return f"follows {name}"
    no_form = why_no_fused_form(layer)
    if no_form is not None:
        return f"follows {name}, which {no_form}"
    if sees_the_output(layer):
        return f"a hook sees the output of {name}"
    for call in calls.of[layer]:
        users = list(_users(call))
        for user in users:
            other = user.meta.get("module")
            owner = calls.within[user.graph]
            if user.op == "output" and not calls.holds(owner, activation):
                return f"{name} is a part of {calls.named(owner)}, and this activation is not"
            if type(other) not in APPLIED or other in left or other not in calls.names:
                return f"the output of {name} also goes to {calls.called(user)}"
            if slope_of(other) != slope_of(activation):
                return f"{name} is followed by another slope elsewhere"
        if not users:
            return f"the output of {name} is not always used"
    found = overwriter(node)
    return f"{calls.called(found[0])} {found[1]}" if found is not None else None


def _source(node: fx.Node) -> tuple[object, list[nn.Module]]:
    """Return the source of a node's input, and the modules between, which may change places with it."""
    between: list[nn.Module] = []
    source: object = node
    while source is node or _passes_on(source):
        assert isinstance(source, fx.Node)
        if source is not node:
            between.append(source.meta["module"])
        source = source.args[0] if source.args else source.kwargs.get("input")
    return source, between


def _users(node: fx.Node) -> Iterator[fx.Node]:
    """Yield the calls that read a result, directly or behind modules that may change places with them."""
    for user in node.users:
        if _passes_on(user):
            yield from _users(user)
        elif not reads_metadata(user):
            yield user


def _passes_on(node: object) -> bool:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return False
    module = node.meta["module"]
    is_dropout = type(module) in BETWEEN or isinstance(module, PassesOn)
    if is_dropout and module.inplace and module.p > 0:  # others may read what it writes
        return False
    return (is_dropout or type(module) is nn.Identity) and not has_hooks(module)


def _functions(calls: Calls) -> tuple[dict[nn.Module, Call], dict[str, str]]:
    """The layers followed by a call of F.leaky_relu or F.relu, and the reasons why others cannot be fused."""
    fit: dict[nn.Module, Call] = {}
    unfit: dict[str, str] = {}
    for layer, nodes in calls.of.items():
        users = [list(_users(node)) for node in nodes]
        is_followed = any(_slope(user) is not None for each in users for user in each)
        if not is_followed or why_no_fused_form(layer) is not None:
            continue
        found = _call_after(layer, nodes, calls)
        if isinstance(found, Call):
            fit[layer] = found
        else:
            unfit[calls.names.get(layer, type(layer).__name__)] = f"is followed by a function, but {found}"
    return fit, unfit


def _call_after(layer: nn.Module, nodes: list[fx.Node], calls: Calls) -> Call | str:
    """The call that follows a layer wherever it is called, or the reason why it cannot be fused."""
    if layer not in calls.names:
        return "is not registered in the model"
    if sees_the_output(layer):
        return "a hook sees its output"
    slopes: list[float] = []
    owners: list[nn.Module] = []
    between: list[nn.Module] = []
    for node in nodes:
        users = list(_users(node))
        if len(users) != 1:
            return f"its output goes to {len(users)} calls"
        slope = _slope(users[0])
        if slope is None:
            return f"its output goes to {calls.called(users[0])}"
        owner = users[0].meta.get("owner")
        if owner is None or owner not in calls.names:
            return "the call is not in the forward of a module of the model"
        found = overwriter(users[0])
        if found is not None:
            return f"{calls.called(found[0])} {found[1]}"
        _add(slopes, [slope])
        _add(owners, [owner])
        _add(between, _source(users[0])[1])
    if len(slopes) > 1:
        return f"with slopes of {' and '.join(map(str, sorted(slopes)))}"
    if not 0.0 <= slopes[0] < float("inf"):
        return f"its negative slope is {slopes[0]}; the fused backward needs at least 0"
    return Call(slopes[0], tuple(owners), tuple(between))


def _slope(node: fx.Node) -> float | None:
    """The slope of a call of F.leaky_relu or F.relu, or of Tensor.relu; None for other calls."""
    if node.op == "call_method" and node.target in ("relu", "relu_"):
        return 0.0
    if node.op != "call_function":
        return None
    return slope_of_call(node.target, node.args, dict(node.kwargs))


def _hidden(calls: Calls, left: dict[nn.Module, str]) -> Iterator[tuple[str, str]]:
    """Yield untraceable modules with layers, unless an activation's reason already names them."""
    named = {calls.untraceable_around(activation) for activation in left if activation not in calls.of}
    layers = [each for each in calls.names if each not in calls.of and why_no_fused_form(each) is None]
    for module in dict.fromkeys(map(calls.untraceable_around, layers)):
        if module is not None and module not in named and not _is_followed(module, calls):
            yield (
                calls.names[module] or type(module).__name__,
                "its forward holds layers, and torch.fx cannot trace it; an F.leaky_relu behind them is seen "
                f"only with example_input: {calls.untraceable[module]}",
            )


def _is_followed(module: nn.Module, calls: Calls) -> bool:
    """Whether the trace of an enclosing module went through this module."""
    return module not in calls.of and any(calls.holds(owner, module) for owner, _ in calls.graphs)
