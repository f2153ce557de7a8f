"""Records how a real call of a model calls its layers, as graphs like :mod:`fastgan.fusion.tracing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from fastgan.fusion.tracing import is_layer, undone
from fastgan.restoring import tensors_restored

_CONSTANTS = (bool, int, float, str)


def watch(model: nn.Module, example_input: Any) -> list[fx.Graph]:
    """Record calls of the model in training and evaluation mode; restore its state and the random numbers.

    Args:
        example_input: its argument, or a tuple of arguments.

    Raises:
        ValueError: a lazy layer has no weight yet, or the call fails.
    """
    if any(is_lazy(each) for each in [*model.parameters(), *model.buffers()]):
        raise ValueError("the model has lazy layers without a weight; call it once before fastgan.fuse")
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    modules = list(model.modules())
    graphs = []
    with undone(modules), tensors_restored(model), torch.random.fork_rng():
        for training in (True, False):
            for each in modules:
                each.training = training
            try:
                graphs.append(_record(model, arguments))
            except Exception as error:
                kind = f"one {type(example_input).__name__}" if len(arguments) == 1 else "a tuple"
                raise ValueError(
                    f"the model cannot be called with example_input, {kind}: {type(error).__name__}: "
                    f"{error}; give the argument of a call, or a tuple of several"
                ) from error
    return graphs


def _record(model: nn.Module, arguments: tuple[Any, ...]) -> fx.Graph:
    recorder = _Recorder()
    arguments = tuple(recorder.input(each) for each in arguments)
    before = register_module_forward_pre_hook(recorder.enter)
    after = register_module_forward_hook(recorder.leave)
    try:
        with recorder:
            output = model(*arguments)
    finally:
        before.remove()
        after.remove()
    recorder.graph.output(recorder.nodes_of(output))
    return recorder.graph


class _Recorder(TorchFunctionMode):
    """Records calls of layers, and of functions outside of layers, in a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self._nodes: dict[int, fx.Node] = {}
        self._alive: list[Tensor] = []  # otherwise another tensor could get the same id
        self._depth = 0
        self._owners: list[nn.Module] = []

    def input(self, argument: Any) -> Any:
        for tensor in tree_leaves(argument):
            self._know(tensor, self.graph.placeholder("input"))
        return argument

    def nodes_of(self, value: Any) -> Any:
        """Replace tensors by their nodes, keep plain constants, and replace everything else by None."""
        return tree_map(
            lambda leaf: leaf if isinstance(leaf, _CONSTANTS) else self._nodes.get(id(leaf)), value
        )

    def enter(self, module: nn.Module, _: Any) -> None:
        self._depth += _is_whole(module)
        self._owners.append(module)

    def leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self._depth -= _is_whole(module)
        self._owners.pop()
        if _is_whole(module) and self._depth == 0:
            node = self.graph.create_node("call_module", type(module).__name__, self.nodes_of(arguments))
            node.meta["module"] = module
            self._know(output, node)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._depth == 0:
            node = self.graph.call_function(func, *self.nodes_of((args, kwargs)))
            node.meta["owner"] = self._owners[-1] if self._owners else None
            self._know(result, node)
        return result

    def _know(self, value: Any, node: fx.Node) -> None:
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor):
                self._nodes[id(tensor)] = node
                self._alive.append(tensor)


def _is_whole(module: nn.Module) -> bool:
    """Whether a module is one step of a graph: torch's containers, like DistributedDataParallel, are not."""
    return is_layer(module) and all(name == "parametrizations" for name, _ in module.named_children())
