"""Modules over the fused operations, with the parameters and state_dict keys of their torch.nn twins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd

from fastgan import ops
from fastgan.hooks import has_hooks, sees_the_output
from fastgan.ops.arguments import check_negative_slope

# What holds a module, the name by which it does, and that module.
Place = tuple[nn.Module, str, nn.Module]

_REMEDY = "call fastgan.unfuse on the model before such a change, and fuse after it"


class WithLeakyReLU(nn.Module):
    """A layer that applies the leaky ReLU behind it.

    Attributes:
        applied: of a layer that :func:`fastgan.fuse` has changed, the activations behind it and what lies
            between; empty in a layer that was built as it is.
        home: where the layer was held then.
        held: where its activations were.
    """

    negative_slope: float
    applied: tuple[nn.Module, ...] = ()
    home: tuple[Place, ...] = ()
    held: tuple[Place, ...] = ()

    def forward(self, input: Tensor, *arguments: Any) -> Tensor:
        if isinstance(input, fx.Proxy):
            return _in_graph(self, input, *arguments)
        if self.applied and _is_watched(self):
            result: Tensor = super().forward(input, *arguments)
            return result
        output = self._activated(input, *arguments)
        if self.applied:
            self._check_activations()
            version: Any = _version(output)
            if version is not None or _hold(self.home):  # or a wrapper may write into it without a trace
                output.applied_slope = self.negative_slope  # type: ignore[attr-defined]
                output.applied_version = version  # type: ignore[attr-defined]
        return output

    def _activated(self, input: Tensor, *arguments: Any) -> Tensor:
        raise NotImplementedError

    def _check_activations(self) -> None:
        if not _hold(self.held):
            raise RuntimeError(
                f"the activation of a fused {type(self).__name__} was replaced or removed since "
                f"fastgan.fuse; {_REMEDY}"
            )
        for each in self.applied:
            if isinstance(each, AppliedLeakyReLU) and each.negative_slope != self.negative_slope:
                raise RuntimeError(
                    f"a fused {type(self).__name__} has a negative slope of {self.negative_slope} and its "
                    f"activation one of {each.negative_slope}; call fastgan.unfuse on the model, change the "
                    "activation, and fuse again"
                )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, negative_slope={self.negative_slope}"


def _in_graph(module: nn.Module, input: Any, *arguments: Any) -> Tensor:
    """A call of the whole module in a torch.fx graph, as torch.fx records those of torch.nn."""
    tracer = input.tracer
    call: Tensor = tracer.create_proxy("call_module", tracer.path_of_module(module), (input, *arguments), {})
    return call


def _is_watched(layer: WithLeakyReLU) -> bool:
    """Whether a hook sees what lies between a layer and its activation: then each computes its own part."""
    return sees_the_output(layer) or any(map(has_hooks, layer.applied))


def _hold(places: tuple[Place, ...]) -> bool:
    """Whether each of the places still holds its module; other names, as in a list that grew, are fine."""
    for parent, name, child in places:
        if parent._modules.get(name) is not child:
            expected = [p for p, _, c in places if p is parent and c is child]
            if len([each for each in parent._modules.values() if each is child]) < len(expected):
                return False
    return True


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written into; None where PyTorch does not count."""
    if torch.compiler.is_compiling() or tensor.is_inference():
        return None
    return tensor._version


class LinearLeakyReLU(WithLeakyReLU, nn.Linear):
    """``nn.Linear`` followed by ``nn.LeakyReLU``, fused: :func:`fastgan.linear_leaky_relu`.

    Shape: [..., in_features] to [..., out_features].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        negative_slope: float = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_negative_slope(negative_slope)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.negative_slope = negative_slope

    def _activated(self, input: Tensor, *_: Any) -> Tensor:
        return ops.linear_leaky_relu(input, self.weight, self.bias, self.negative_slope)


def _adds_bias(input: Tensor) -> bool:
    """Whether a convolution is to have its bias: PyTorch's adds it as it writes, on a CPU, and finds its
    gradient as it reads. That leaves the activation, which in place is nothing to fuse."""
    return input.is_cpu


class _ConvLeakyReLU(WithLeakyReLU, _ConvNd):
    """A convolution, then :func:`fastgan.bias_leaky_relu` over its channels."""

    def __init__(self, *args: Any, negative_slope: float = 0.2, **kwargs: Any) -> None:
        check_negative_slope(negative_slope)
        super().__init__(*args, **kwargs)
        self.negative_slope = negative_slope

    def _activated(self, input: Tensor, *_: Any) -> Tensor:
        bias = self.bias if _adds_bias(input) else None
        return self._activate(input, self._conv_forward(input, self.weight, bias))

    def _activate(self, input: Tensor, product: Tensor) -> Tensor:
        if _adds_bias(input):
            return F.leaky_relu_(product, self.negative_slope)
        channels = -1 - len(self.kernel_size)  # without a batch too
        return ops.bias_leaky_relu(product, self.bias, self.negative_slope, dim=channels)


class Conv1dLeakyReLU(_ConvLeakyReLU, nn.Conv1d):
    """``nn.Conv1d`` followed by ``nn.LeakyReLU``; the arguments of the first, and ``negative_slope``."""


class Conv2dLeakyReLU(_ConvLeakyReLU, nn.Conv2d):
    """``nn.Conv2d`` followed by ``nn.LeakyReLU``; the arguments of the first, and ``negative_slope``."""


class Conv3dLeakyReLU(_ConvLeakyReLU, nn.Conv3d):
    """``nn.Conv3d`` followed by ``nn.LeakyReLU``; the arguments of the first, and ``negative_slope``."""


_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _ConvTransposeLeakyReLU(_ConvLeakyReLU, _ConvTransposeNd):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(input, output_size)

    def _activated(self, input: Tensor, output_size: list[int] | None = None, *_: Any) -> Tensor:
        n = len(self.kernel_size)
        sizes: tuple[Any, Any, Any] = self.stride, self.padding, self.kernel_size  # the stubs want lists
        dilation: Any = self.dilation
        output_padding = self._output_padding(input, output_size, *sizes, n, dilation)
        geometry: Any = self.stride, self.padding, output_padding, self.groups, dilation
        bias = self.bias if _adds_bias(input) else None
        return self._activate(input, _CONV_TRANSPOSE[n](input, self.weight, bias, *geometry))


class ConvTranspose1dLeakyReLU(_ConvTransposeLeakyReLU, nn.ConvTranspose1d):
    """``nn.ConvTranspose1d`` followed by ``nn.LeakyReLU``; its arguments, and ``negative_slope``."""


class ConvTranspose2dLeakyReLU(_ConvTransposeLeakyReLU, nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` followed by ``nn.LeakyReLU``; its arguments, and ``negative_slope``."""


class ConvTranspose3dLeakyReLU(_ConvTransposeLeakyReLU, nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` followed by ``nn.LeakyReLU``; its arguments, and ``negative_slope``."""


class AppliedLeakyReLU(nn.LeakyReLU):
    """A LeakyReLU that the layer before it applies: what :func:`fastgan.fuse` leaves in its place.

    Attributes:
        layers: those that do.

    Raises:
        RuntimeError: the input comes from elsewhere, so that nobody knows whether it is activated, or was
            written in place.
    """

    layers: tuple[WithLeakyReLU, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, fx.Proxy):
            return _in_graph(self, input)
        if getattr(input, "applied_slope", None) == self.negative_slope:
            before, now = input.applied_version, _version(input)  # type: ignore[attr-defined]
            if before is not None and now is not None and before != now:
                raise RuntimeError(
                    "the output of a fused layer was written in place before its LeakyReLU got it, as by a "
                    f"wrapper around the layer; {_REMEDY}"
                )
            return input
        if any(map(_is_watched, self.layers)):
            return super().forward(input)
        raise RuntimeError(
            "a fused LeakyReLU got a tensor that is not the output of its layer: the layer was wrapped, "
            f"replaced or called in another way since fastgan.fuse; {_REMEDY}"
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, applied by the layer before"


class MLP(nn.Module):
    """Linear layers with leaky ReLU between them, the last one linear: :func:`fastgan.mlp`.

    ``MLP([784, 256, 256, 1])`` is a discriminator with logits. Shape: [..., features[0]] to
    [..., features[-1]].

    ``layers`` may be hooked, parametrized, wrapped, replaced and appended to: each is then called by itself.
    A leaky ReLU stands between every two of them. An activation of torch.nn among them, such as an appended
    ``nn.Sigmoid``, takes its place, and a dropout has it in front only.

    Raises:
        ValueError: fewer than two feature counts, or a negative slope.
    """

    def __init__(
        self,
        features: Sequence[int],
        negative_slope: float = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_negative_slope(negative_slope)
        if len(features) < 2:
            raise ValueError(f"features must hold at least input and output size, but is {list(features)}")
        self.negative_slope = negative_slope
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out, device=device, dtype=dtype) for n_in, n_out in pairwise(features)
        )

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, fx.Proxy):
            is_whole = getattr(input.tracer, "root", None) is self  # not every tracer has one
            return self._call_each(input) if is_whole else _in_graph(self, input)
        layers = self.plain_layers()
        if layers is None:
            return self._call_each(input)
        # layer.weight would search the module, at half a microsecond each
        weights: list[Any] = [layer._parameters["weight"] for layer in layers]
        biases = [layer._parameters["bias"] for layer in layers]
        return ops.mlp(input, weights, biases, self.negative_slope)

    def plain_layers(self) -> list[nn.Linear] | None:
        """The layers, if each is a matrix product and nothing else; None if one of them must be called."""
        layers: list[Any] = list(self.layers)
        return layers if all(map(_is_plain_linear, layers)) else None

    def _call_each(self, input: Tensor) -> Tensor:
        layers = list(self.layers)
        for layer, following in zip_longest(layers, layers[1:]):
            input = layer(input)
            if following is not None and _has_leaky_relu_between(layer, following):
                input = F.leaky_relu(input, self.negative_slope)
        return input


def _is_plain_linear(layer: nn.Module) -> bool:
    if type(layer) is not nn.Linear or has_hooks(layer):
        return False
    return "weight" in layer._parameters and "bias" in layer._parameters


def _has_leaky_relu_between(layer: nn.Module, following: nn.Module) -> bool:
    is_activation = any(type(each).__module__ == nn.LeakyReLU.__module__ for each in (layer, following))
    return not is_activation and not isinstance(layer, _DropoutNd)


class DiscriminatorLoss(nn.Module):
    """:func:`fastgan.discriminator_loss` as a module: (real_logits, fake_logits) to the loss."""

    def __init__(
        self, *, loss: str = "bce", real_label: float = 1.0, reduction: str = "mean", over: str = "sum"
    ) -> None:
        super().__init__()
        self.loss, self.real_label, self.reduction, self.over = loss, real_label, reduction, over

    def forward(
        self, real_logits: Tensor | Sequence[Tensor], fake_logits: Tensor | Sequence[Tensor]
    ) -> Tensor | tuple[Tensor | tuple[Tensor, ...], ...]:
        return ops.discriminator_loss(
            real_logits,
            fake_logits,
            loss=self.loss,
            real_label=self.real_label,
            reduction=self.reduction,
            over=self.over,
        )


class GeneratorLoss(nn.Module):
    """:func:`fastgan.generator_loss` as a module: fake_logits to the loss."""

    def __init__(
        self, *, loss: str = "bce", saturating: bool = False, reduction: str = "mean", over: str = "sum"
    ) -> None:
        super().__init__()
        self.loss, self.saturating, self.reduction, self.over = loss, saturating, reduction, over

    @overload
    def forward(self, fake_logits: Tensor) -> Tensor: ...
    @overload
    def forward(self, fake_logits: Sequence[Tensor]) -> Tensor | tuple[Tensor | tuple[Tensor, ...], ...]: ...
    def forward(
        self, fake_logits: Tensor | Sequence[Tensor]
    ) -> Tensor | tuple[Tensor | tuple[Tensor, ...], ...]:
        return ops.generator_loss(
            fake_logits,
            loss=self.loss,
            saturating=self.saturating,
            reduction=self.reduction,
            over=self.over,
        )
