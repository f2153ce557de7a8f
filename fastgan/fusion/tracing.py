"""Traces how a module's forward calls its layers, as torch.fx graphs.

``node.meta["module"]`` of a ``call_module`` node is the module that it calls, and ``node.meta["owner"]`` of
any node the module whose forward makes the call.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan.snakes import AntiAliasedSnake, Snake

IN_PLACE_OPERATORS = ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor")


class Untraceable(Exception):  # noqa: N818, describes the module
    """The reason why torch.fx cannot trace a forward."""


def is_layer(module: nn.Module) -> bool:
    """Whether a module is one step of a graph: modules of torch, subclasses of its layers, and Snakes."""
    if _is_sequential(module):
        return False
    home = type_before_parametrizations(module).__module__
    is_known = home.startswith("torch.") or home == "fastgan.nn"
    return is_known or isinstance(module, (nn.Linear, _ConvNd, _BatchNorm, Snake, AntiAliasedSnake))


def trace(module: nn.Module) -> list[fx.Graph]:
    """Trace ``module.forward`` in training and evaluation mode, with and without its optional arguments.

    Traces into the user's own modules; if one cannot be traced, they are all called as a whole. Does not
    change the module or its tensors.

    Raises:
        Untraceable: fx cannot trace it.
    """
    if "forward" in vars(module):
        raise Untraceable("forward was replaced on the instance")
    defaults = {
        name: p.default
        for name, p in inspect.signature(type(module).forward).parameters.items()
        if p.default is not p.empty
    }
    calls: list[dict[str, Any] | None] = [None, defaults] if defaults else [None]
    try:
        return _graphs(module, calls, into_modules=True)
    except Untraceable:
        return _graphs(module, calls, into_modules=False)


def _graphs(module: nn.Module, calls: list[dict[str, Any] | None], *, into_modules: bool) -> list[fx.Graph]:
    followed = [each for each in module.modules() if not is_layer(each)]
    try:
        with undone(list(module.modules())), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # fx warns about defaults that it cannot assert in its graph
            graphs = []
            for training, arguments in product((True, False), calls):
                for each in followed:
                    each.training = training
                graphs.append(_Tracer(into_modules).trace(module, arguments))
            return graphs
    except Exception as error:  # a forward may raise anything if its input is not a tensor
        message = str(error).partition("\n")[0]
        raise Untraceable(f"{type(error).__name__}: {message}") from error


@contextlib.contextmanager
def undone(modules: list[nn.Module]) -> Iterator[None]:
    """Restore attributes that a forward assigns, such as a counter or a cached feature."""
    before = [(each, dict(vars(each))) for each in modules]
    try:
        yield
    finally:
        for each, attributes in before:
            vars(each).clear()
            vars(each).update(attributes)


class _Proxy(fx.Proxy):
    """Records ``x += y`` as an in-place operation; fx would record ``x = x + y``."""

    def __getattr__(self, name: str) -> _Attribute:
        return _Attribute(self, name)


class _Attribute(fx.proxy.Attribute, _Proxy):
    """Does the same for ``x.data += y``."""

    __getattr__ = _Proxy.__getattr__


def _recording(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def record(self: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _name in IN_PLACE_OPERATORS:
    setattr(_Proxy, f"__{_name}__", _recording(getattr(operator, _name)))


class _Tracer(fx.Tracer):
    def __init__(self, into_modules: bool) -> None:
        super().__init__()
        self.into_modules = into_modules
        self.proxy_buffer_attributes = True  # otherwise a forward would update buffers during tracing
        self._owners: list[nn.Module] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_layer(m) or not (self.into_modules or _is_sequential(m))

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self.is_leaf_module(m, ""):
            result = super().call_module(m, forward, args, kwargs)
            result.node.meta["module"] = m
            return result
        self._owners.append(m)
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self._owners.pop()

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["owner"] = self._owners[-1] if self._owners else self.root
        return node


def _is_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
