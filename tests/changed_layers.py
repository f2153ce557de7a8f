"""What people do to the layers of a model, for an MLP and for its twin in torch.nn."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from fastgan.nn import MLP

Change = Callable[[nn.Linear], nn.Module]


class Scaled(nn.Module):
    """A wrapper that changes what its layer returns."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base

    def forward(self, input: Tensor) -> Tensor:
        return 3 * self.base(input)


class Centred(nn.Linear):
    """A linear layer with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight - self.weight.mean(), self.bias)


def _centred(layer: nn.Linear) -> nn.Module:
    other = Centred(layer.in_features, layer.out_features, dtype=layer.weight.dtype)
    other.load_state_dict(layer.state_dict())
    return other


def _hooked(register: str, hook: Callable[..., object]) -> Change:
    def change(layer: nn.Linear) -> nn.Module:
        getattr(layer, register)(hook)
        return layer

    return change


def _double_what_reaches_the_input(_: nn.Module, grads: tuple[Tensor | None], __: object) -> object:
    return None if grads[0] is None else (2 * grads[0],)


def _by_old_hooks(norm: Callable[[nn.Linear], nn.Module]) -> Change:
    def change(layer: nn.Linear) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return norm(layer)

    return change


def _with_another_forward(layer: nn.Linear) -> nn.Module:
    layer.forward = types.MethodType(lambda self, input: F.linear(input, -self.weight, self.bias), layer)  # type: ignore[method-assign]
    return layer


CHANGES: dict[str, Change] = {
    "nothing": lambda layer: layer,
    "forward hook": _hooked("register_forward_hook", lambda _module, _inputs, output: 2 * output),
    "forward pre-hook": _hooked("register_forward_pre_hook", lambda _module, inputs: (2 * inputs[0],)),
    "backward hook": _hooked("register_full_backward_hook", _double_what_reaches_the_input),
    "backward pre-hook": _hooked("register_full_backward_pre_hook", lambda _module, grads: (2 * grads[0],)),
    "spectral norm by hooks": _by_old_hooks(nn.utils.spectral_norm),
    "weight norm by hooks": _by_old_hooks(nn.utils.weight_norm),
    "spectral norm": parametrizations.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "bias pruned": lambda layer: prune.l1_unstructured(layer, "bias", 0.5),
    "wrapped": Scaled,
    "in a Sequential": lambda layer: nn.Sequential(layer, nn.Tanh()),
    "replaced": _centred,
    "another forward": _with_another_forward,
    "compiled": lambda layer: (layer.compile(backend="eager"), layer)[1],
}


def changed_pair(features: Sequence[int], change: Change) -> tuple[MLP, nn.Sequential]:
    """An MLP in float64 and the same network of torch.nn, with every layer changed in the same way."""
    mlp = MLP(features, dtype=torch.float64)
    linear = [nn.Linear(*layer.weight.shape[::-1], dtype=torch.float64) for layer in mlp.layers]
    plain = nn.Sequential(*(each for layer in linear for each in (layer, nn.LeakyReLU(0.2))))[:-1]
    plain.load_state_dict(dict(zip(plain.state_dict(), mlp.state_dict().values(), strict=True)))
    for i in range(len(mlp.layers)):
        torch.manual_seed(i)
        mlp.layers[i] = change(mlp.layers[i])
        torch.manual_seed(i)
        plain[2 * i] = change(plain[2 * i])
    return mlp, plain
