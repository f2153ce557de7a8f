"""Recognizes networks that are chains of linear layers, each followed by at most one activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastgan import ops
from fastgan.hooks import has_hooks
from fastgan.kernels.activations import NONE, Activation
from fastgan.models.maxout import Maxout
from fastgan.models.mlp import MLPDiscriminator, MLPGenerator
from fastgan.models.pacgan import PacGANDiscriminator
from fastgan.nn import MLP, Applied, AppliedLeakyReLU, AppliedReLU, LinearLeakyReLU, slope_of

_RELU, _TANH = Activation("leaky_relu", 0.0), Activation("tanh")


class Layer(NamedTuple):
    """A linear layer and the activation after it."""

    linear: nn.Linear
    activation: Activation


@dataclass(frozen=True)
class Chain:
    """A network that is a chain of layers.

    Attributes:
        layers: at least one.
        flattens: whether it makes a row of each sample first; else it takes rows only.
        sample_shape: shape of the output for one row.
    """

    layers: tuple[Layer, ...]
    flattens: bool
    sample_shape: tuple[int, ...]

    @property
    def linears(self) -> list[nn.Linear]:
        return [layer.linear for layer in self.layers]

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Those between the layers."""
        return tuple(layer.activation for layer in self.layers[:-1])

    @property
    def last_activation(self) -> Activation:
        return self.layers[-1].activation

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the gradient of an output with respect to the sample is constant between kinks."""
        return all(layer.activation.is_piecewise_linear for layer in self.layers)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all parameters."""
        return _weight(self.layers[0].linear).dtype

    def takes(self, samples: Tensor) -> bool:
        """Whether a row of the chain is a sample: otherwise layers act on its last dimension."""
        return self.flattens or samples.dim() == 2


def chain_of(network: object) -> Chain | str:
    """The chain that a network is, or the reason why it is none.

    The network is one of fastgan's MLPs or an ``nn.Sequential``, nested or fused, of linear layers, maxout
    layers, activations and changes of shape. Hooks, subclasses and parametrizations exclude it: they may do
    more. So do parameters that several layers share or that differ in dtype.
    """
    walk = _Walk()
    reason = walk.enter(network, "") or walk.check()
    if reason is not None:
        return reason
    layers = tuple(map(Layer, walk.linears, walk.activations))
    return Chain(layers, walk.flattens, walk.shape or (walk.width,))


def one_call(network: object) -> Callable[[Tensor], Tensor] | None:
    """A function that computes a chain in one call, also differentiated twice; None for other networks.

    All activations have one slope, and the last layer is linear.
    """
    chain = chain_of(network)
    if isinstance(chain, str) or chain.last_activation != NONE:
        return None
    activations = set(chain.activations)
    if len(activations) != 1 or len(chain.sample_shape) != 1:
        return None
    (activation,) = activations
    if activation.kind != "leaky_relu":
        return None
    parameters = [layer._parameters for layer in chain.linears]
    flattens, slope = chain.flattens, activation.negative_slope

    def call(input: Tensor) -> Tensor:
        weights = [each["weight"] for each in parameters]
        biases = [each["bias"] for each in parameters]
        return ops.mlp(input.flatten(1) if flattens else input, weights, biases, slope)  # type: ignore[arg-type]

    return call


class _Walk:
    """A walk through the modules of a network, in the order of their calls.

    Methods for a module return the reason why the network is no chain, or None.

    Attributes:
        linears: the linear layers so far.
        names: their names, for messages.
        activations: one for each layer; NONE until one follows.
        flattens: whether a Flatten came before the first layer.
        shape: shape of one sample after an Unflatten; None if it is a row.
        width: number of features of the row.
    """

    def __init__(self) -> None:
        self.linears: list[nn.Linear] = []
        self.names: list[str] = []
        self.activations: list[Activation] = []
        self.flattens = False
        self.shape: tuple[int, ...] | None = None
        self.width = 0

    def enter(self, module: object, name: str) -> str | None:
        kind = type(module)
        add = _ADDING.get(kind)
        if add is None:
            return f"{name or 'the network'} is a {kind.__name__}"
        assert isinstance(module, nn.Module)
        if has_hooks(module):
            return f"{name or 'the network'} has a hook, or a forward of its own"
        return add(self, module, name)

    def check(self) -> str | None:
        """Check all parameters."""
        if not self.linears:
            return "the network has no linear layer"
        dtype = _weight(self.linears[0]).dtype
        owners: dict[int, str] = {}
        for layer, name in zip(self.linears, self.names, strict=True):
            for key, p in layer._parameters.items():
                if p is None:
                    continue
                owner = owners.setdefault(id(p), name)
                if owner is not name:
                    return f"{name} shares its {key} with {owner}"
                if p.dtype is not dtype:
                    return f"the {key} of {name} is {p.dtype}, and that of {self.names[0]} is {dtype}"
                if p._backward_hooks or p._post_accumulate_grad_hooks:
                    return f"the {key} of {name} has a hook"
        return None

    def children(self, module: nn.Module, name: str) -> str | None:
        prefix = f"{name}." if name else ""
        for key, child in module._modules.items():
            reason = self.enter(child, prefix + key)
            if reason is not None:
                return reason
        return None

    def identity(self, module: nn.Module, name: str) -> str | None:
        return None

    def linear(self, module: nn.Linear, name: str) -> str | None:
        parameters = module._parameters
        weight = parameters.get("weight")
        if weight is None or "bias" not in parameters:
            return f"{name} computes its weight or bias"
        if self.shape is not None:
            return f"{name} acts on a part of each sample, of shape {self.shape}"
        self.linears.append(module)
        self.names.append(name)
        self.activations.append(NONE)
        self.width = weight.shape[0]
        return None

    def fused(self, module: LinearLeakyReLU, name: str) -> str | None:
        if module.owners:
            return f"{name} applies an activation that a forward calls"
        return self.linear(module, name) or self.activate(
            Activation("leaky_relu", float(module.negative_slope)), name
        )

    def applied(self, module: Applied, name: str) -> str | None:
        before: list[nn.Module] = [*self.linears[-1:]]
        is_known = any(layer is each for layer in module.layers for each in before)
        if is_known and self.activations[-1].negative_slope == slope_of(module):
            return None
        return f"{name} is not applied by the layer before"

    def maxout(self, module: Maxout, name: str) -> str | None:
        reason = self.enter(module.linear, f"{name}.linear") or self.activate(
            Activation("maxout", pieces=module.pieces), name
        )
        if reason is None and self.width != module.pieces * module.out_features:
            reason = f"{name} has {self.width} features, not {module.pieces} times {module.out_features}"
        self.width = module.out_features
        return reason

    def mlp(self, module: MLP, name: str) -> str | None:
        if has_hooks(module.layers):
            return f"{name}.layers has a hook, or a forward of its own".lstrip(".")
        between = Activation("leaky_relu", float(module.negative_slope))
        last = len(module.layers) - 1
        for i, (key, layer) in enumerate(module.layers._modules.items()):
            place = f"{name}.layers.{key}".lstrip(".")
            if type(layer) is not nn.Linear:
                return f"{place} is a {type(layer).__name__}"
            reason = self.enter(layer, place) or (self.activate(between, place) if i < last else None)
            if reason is not None:
                return reason
        return None

    def generator(self, module: MLPGenerator, name: str) -> str | None:
        reason = self.children(module, name)
        if reason is None and module.bounded:
            reason = self.activate(_TANH, name)
        return reason or self.reshape(module.sample_shape, name)

    def discriminator(self, module: MLPDiscriminator | PacGANDiscriminator, name: str) -> str | None:
        return self.flatten_all() or self.children(module, name)

    def activate(self, activation: Activation, name: str) -> str | None:
        if not self.linears:
            return f"{name} comes before the first linear layer"
        if self.activations[-1] is not NONE:
            return f"{name} follows another activation"
        if not 0 <= activation.negative_slope < math.inf:
            return f"{name} has a negative slope of {activation.negative_slope}"
        self.activations[-1] = activation
        return None

    def leaky_relu(self, module: nn.LeakyReLU, name: str) -> str | None:
        return self.activate(Activation("leaky_relu", float(module.negative_slope)), name)

    def relu(self, module: nn.ReLU, name: str) -> str | None:
        return self.activate(_RELU, name)

    def tanh(self, module: nn.Module, name: str) -> str | None:
        return self.activate(_TANH, name)

    def sigmoid(self, module: nn.Module, name: str) -> str | None:
        return self.activate(Activation("sigmoid"), name)

    def flatten(self, module: nn.Flatten, name: str) -> str | None:
        if module.start_dim != 1 or module.end_dim != -1:
            return f"{name} flattens dimensions {module.start_dim} to {module.end_dim}, not 1 to -1"
        return self.flatten_all()

    def flatten_all(self) -> str | None:
        self.flattens = self.flattens or not self.linears
        self.shape = None
        return None

    def unflatten(self, module: nn.Unflatten, name: str) -> str | None:
        sizes = tuple(module.unflattened_size)
        if module.dim != 1 or not all(isinstance(size, int) for size in sizes):
            return f"{name} names dimensions, or changes another one than 1"
        return self.reshape(sizes, name)

    def reshape(self, shape: tuple[int, ...], name: str) -> str | None:
        if not self.linears:
            return f"{name} comes before the first linear layer"
        if self.shape is not None:
            return f"{name} changes the shape again"
        known = math.prod(size for size in shape if size != -1)
        free = self.width // known if shape.count(-1) == 1 and known > 0 else -1
        sizes = tuple(free if size == -1 else size for size in shape)
        if math.prod(sizes) != self.width:
            return f"{name or 'the network'} makes samples of shape {shape} from {self.width} features"
        self.shape = sizes
        return None


_ADDING: dict[type, Callable[..., str | None]] = {
    AppliedLeakyReLU: _Walk.applied,
    AppliedReLU: _Walk.applied,
    LinearLeakyReLU: _Walk.fused,
    MLP: _Walk.mlp,
    MLPDiscriminator: _Walk.discriminator,
    MLPGenerator: _Walk.generator,
    Maxout: _Walk.maxout,
    PacGANDiscriminator: _Walk.discriminator,
    nn.Flatten: _Walk.flatten,
    nn.Identity: _Walk.identity,
    nn.LeakyReLU: _Walk.leaky_relu,
    nn.Linear: _Walk.linear,
    nn.ReLU: _Walk.relu,
    nn.Sequential: _Walk.children,
    nn.Sigmoid: _Walk.sigmoid,
    nn.Tanh: _Walk.tanh,
    nn.Unflatten: _Walk.unflatten,
}


def _weight(layer: nn.Linear) -> Tensor:
    weight = layer._parameters["weight"]
    assert weight is not None
    return weight
