"""Modules for the fused operations, with the parameters and state_dict keys of their torch.nn versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd

from fastgan import ops
from fastgan.applying import is_running, mark, pass_mark, version_of
from fastgan.averaging import MovingAverage as MovingAverage
from fastgan.graphs import in_graph
from fastgan.hooks import has_hooks, sees_the_output
from fastgan.modulation import MinibatchStdDev as MinibatchStdDev
from fastgan.modulation import ModulatedConv2d as ModulatedConv2d
from fastgan.modulation import modulated_conv2d as modulated_conv2d
from fastgan.modulation import resampled_conv2d as resampled_conv2d
from fastgan.ops.arguments import check_negative_slope
from fastgan.snakes import AntiAliasedSnake as AntiAliasedSnake
from fastgan.snakes import Snake as Snake
from fastgan.snakes import SnakeBeta as SnakeBeta
from fastgan.snakes import kaiser_sinc_filter as kaiser_sinc_filter

Place = tuple[nn.Module, str, nn.Module]  # parent, name of the child, child

_REMEDY = "call fastgan.unfuse on the model before such a change, and fuse after it"


class WithLeakyReLU(nn.Module):
    """A layer that also applies the leaky ReLU that follows it.

    Attributes:
        applied: if :func:`fastgan.fuse` made this layer, the activations that follow and the modules
            between; otherwise empty.
        home: the places of the layer in the model when it was fused.
        held: the places of its activations then.
        owners: if ``fuse`` made it for an activation that forwards call as a function, their modules.
    """

    negative_slope: float
    applied: tuple[nn.Module, ...] = ()
    home: tuple[Place, ...] = ()
    held: tuple[Place, ...] = ()
    owners: tuple[nn.Module, ...] = ()

    def forward(self, input: Tensor, *arguments: Any) -> Tensor:
        if isinstance(input, fx.Proxy):
            return in_graph(self, input, *arguments)
        if self.owners:
            if is_running(self.owners) and not sees_the_output(self) and _hold(self.home):
                return mark(self._activated(input, *arguments), self.negative_slope)
            plain: Tensor = super().forward(input, *arguments)
            return plain
        if self.applied and _is_watched(self):
            result: Tensor = super().forward(input, *arguments)
            return result
        output = self._activated(input, *arguments)
        if self.applied:
            self._check_activations()
            version: Any = version_of(output)
            if version is not None or _hold(self.home):  # otherwise a wrapper could write into it unnoticed
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


def _is_watched(layer: WithLeakyReLU) -> bool:
    """Whether a hook sees the tensor between layer and activation: then each computes its own part."""
    return sees_the_output(layer) or any(map(has_hooks, layer.applied))


def _hold(places: tuple[Place, ...]) -> bool:
    """Whether each parent still holds its child, possibly under another name, as in a list that grew."""
    for parent, name, child in places:
        if parent._modules.get(name) is not child:
            expected = [p for p, _, c in places if p is parent and c is child]
            if len([each for each in parent._modules.values() if each is child]) < len(expected):
                return False
    return True


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
    """Whether PyTorch's convolution should add the bias: on a CPU it does so without another pass, forward
    and backward, and only an in-place activation remains."""
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
        channels = -1 - len(self.kernel_size)  # counted from the end: there may be no batch dimension
        return ops.bias_leaky_relu(product, self.bias, self.negative_slope, dim=channels)


class Conv1dLeakyReLU(_ConvLeakyReLU, nn.Conv1d):
    """``nn.Conv1d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``."""


class Conv2dLeakyReLU(_ConvLeakyReLU, nn.Conv2d):
    """``nn.Conv2d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``."""


class Conv3dLeakyReLU(_ConvLeakyReLU, nn.Conv3d):
    """``nn.Conv3d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``."""


_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _ConvTransposeLeakyReLU(_ConvLeakyReLU, _ConvTransposeNd):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(input, output_size)

    def _activated(self, input: Tensor, output_size: list[int] | None = None, *_: Any) -> Tensor:
        n = len(self.kernel_size)
        sizes: tuple[Any, Any, Any] = self.stride, self.padding, self.kernel_size  # the stubs require lists
        dilation: Any = self.dilation
        output_padding = self._output_padding(input, output_size, *sizes, n, dilation)
        geometry: Any = self.stride, self.padding, output_padding, self.groups, dilation
        bias = self.bias if _adds_bias(input) else None
        return self._activate(input, _CONV_TRANSPOSE[n](input, self.weight, bias, *geometry))


class ConvTranspose1dLeakyReLU(_ConvTransposeLeakyReLU, nn.ConvTranspose1d):
    """``nn.ConvTranspose1d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``."""


class ConvTranspose2dLeakyReLU(_ConvTransposeLeakyReLU, nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``."""


class ConvTranspose3dLeakyReLU(_ConvTransposeLeakyReLU, nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``."""


class _BatchNormLeakyReLU(WithLeakyReLU, _BatchNorm):
    """Batch norm, then a leaky ReLU: :func:`fastgan.batch_norm_leaky_relu`."""

    def __init__(self, *args: Any, negative_slope: float = 0.2, **kwargs: Any) -> None:
        check_negative_slope(negative_slope)
        super().__init__(*args, **kwargs)
        self.negative_slope = negative_slope

    def _activated(self, input: Tensor, *_: Any) -> Tensor:
        self._check_input_dim(input)
        updates = self.training and self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if updates or not self.training else (None, None)
        return ops.batch_norm_leaky_relu(
            input,
            mean,
            var,
            self.weight,
            self.bias,
            training=self.training or (mean is None and var is None),
            momentum=self._count_batch() if updates else 0.0,
            eps=self.eps,
            negative_slope=self.negative_slope,
        )

    def _count_batch(self) -> float:
        """Count this batch, and return its weight in the running statistics."""
        if self.num_batches_tracked is None:
            return self.momentum or 0.0
        self.num_batches_tracked.add_(1)
        return 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


class BatchNorm1dLeakyReLU(_BatchNormLeakyReLU, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``.

    ``nn.SyncBatchNorm.convert_sync_batchnorm`` would replace it by a layer without the activation.
    """


class BatchNorm2dLeakyReLU(_BatchNormLeakyReLU, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` followed by ``nn.LeakyReLU``; takes its arguments and ``negative_slope``.

    ``nn.SyncBatchNorm.convert_sync_batchnorm`` would replace it by a layer without the activation.
    """


def slope_of(activation: nn.Module) -> float:
    """The negative slope of an ``nn.LeakyReLU``; 0 for an ``nn.ReLU``."""
    return float(getattr(activation, "negative_slope", 0.0))


class Applied(nn.Module):
    """Replaces an activation that :func:`fastgan.fuse` moved into the layer before; returns its input.

    Attributes:
        layers: the layers that apply this activation.

    Raises:
        RuntimeError: the input is not the output of one of these layers, or was modified in place since.
    """

    layers: tuple[WithLeakyReLU, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, fx.Proxy):
            return in_graph(self, input)
        kind = type(self).__name__.removeprefix("Applied")
        if getattr(input, "applied_slope", None) == slope_of(self):
            before, now = input.applied_version, version_of(input)  # type: ignore[attr-defined]
            if before is not None and now is not None and before != now:
                raise RuntimeError(
                    f"the output of a fused layer was modified in place before its {kind}, for example "
                    f"by a wrapper around the layer; {_REMEDY}"
                )
            return input
        if any(map(_is_watched, self.layers)):
            result: Tensor = super().forward(input)
            return result
        raise RuntimeError(
            f"a fused {kind} got a tensor that is not the output of its layer: the layer was wrapped, "
            f"replaced or called in another way since fastgan.fuse; {_REMEDY}"
        )

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (super().extra_repr(), "applied by the layer before")))


class AppliedLeakyReLU(Applied, nn.LeakyReLU):
    """An ``nn.LeakyReLU`` that the layer before applies."""


class AppliedReLU(Applied, nn.ReLU):
    """An ``nn.ReLU`` that the layer before applies."""


class PassesOn(_DropoutNd):
    """A dropout between a layer and the activation that the layer applies.

    It scales an activated element, or sets it to zero, as it would have done before the activation. It never
    writes into its input, which the layer saves for the backward pass.

    Attributes:
        layers: the layers before it.
    """

    dropout: Callable[[Tensor, float, bool], Tensor]
    layers: tuple[WithLeakyReLU, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, fx.Proxy):
            return in_graph(self, input)
        output = self.dropout(input, self.p, self.training)
        slope = getattr(input, "applied_slope", None)
        if slope is not None and output is not input and input.applied_version == version_of(input):  # type: ignore[attr-defined]
            output.applied_slope, output.applied_version = slope, version_of(output)  # type: ignore[attr-defined]
        return pass_mark(input, output)


class DropoutBetween(PassesOn, nn.Dropout):
    """An ``nn.Dropout`` there."""

    dropout = staticmethod(F.dropout)


class Dropout1dBetween(PassesOn, nn.Dropout1d):
    """An ``nn.Dropout1d`` there."""

    dropout = staticmethod(F.dropout1d)


class Dropout2dBetween(PassesOn, nn.Dropout2d):
    """An ``nn.Dropout2d`` there."""

    dropout = staticmethod(F.dropout2d)


class Dropout3dBetween(PassesOn, nn.Dropout3d):
    """An ``nn.Dropout3d`` there."""

    dropout = staticmethod(F.dropout3d)


class MLP(nn.Module):
    """Linear layers with leaky ReLU between them, the last one linear: :func:`fastgan.mlp`.

    ``MLP([784, 256, 256, 1])`` is a discriminator with logits. Shape: [..., features[0]] to
    [..., features[-1]].

    ``layers`` may be hooked, parametrized, wrapped, replaced and appended to. Then the layers are called one
    by one, with a leaky ReLU between each two. There is no leaky ReLU next to an activation of torch.nn, such
    as an appended ``nn.Sigmoid``, and none after a dropout.

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
            raise ValueError(f"features must contain at least input and output size, but is {list(features)}")
        self.negative_slope = negative_slope
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out, device=device, dtype=dtype) for n_in, n_out in pairwise(features)
        )

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, fx.Proxy):
            is_whole = getattr(input.tracer, "root", None) is self  # not every tracer has a root
            return self._call_each(input) if is_whole else in_graph(self, input)
        layers = self.plain_layers()
        if layers is None:
            return self._call_each(input)
        # layer.weight would cost half a microsecond for the attribute search
        weights: list[Any] = [layer._parameters["weight"] for layer in layers]
        biases = [layer._parameters["bias"] for layer in layers]
        return ops.mlp(input, weights, biases, self.negative_slope)

    def plain_layers(self) -> list[nn.Linear] | None:
        """Return the layers if each only computes a matrix product and bias; None if one must be called."""
        layers: list[Any] = list(self.layers)
        return layers if all(map(is_plain_linear, layers)) else None

    def _call_each(self, input: Tensor) -> Tensor:
        layers = list(self.layers)
        for layer, following in zip_longest(layers, layers[1:]):
            input = layer(input)
            if following is not None and _has_leaky_relu_between(layer, following):
                input = F.leaky_relu(input, self.negative_slope)
        return input


def is_plain_linear(layer: nn.Module) -> bool:
    """Whether a layer only computes a matrix product and bias."""
    if type(layer) is not nn.Linear or has_hooks(layer):
        return False
    return "weight" in layer._parameters and "bias" in layer._parameters


def _has_leaky_relu_between(layer: nn.Module, following: nn.Module) -> bool:
    is_activation = any(type(each).__module__ == nn.LeakyReLU.__module__ for each in (layer, following))
    return not is_activation and not isinstance(layer, _DropoutNd)


class DiscriminatorLoss(nn.Module):
    """:func:`fastgan.discriminator_loss` as a module: (real_logits, fake_logits) -> loss."""

    def __init__(
        self,
        *,
        loss: str = "bce",
        real_label: float = 1.0,
        fake_label: float = 0.0,
        reduction: str = "mean",
        over: str = "sum",
    ) -> None:
        super().__init__()
        self.loss, self.real_label, self.fake_label = loss, real_label, fake_label
        self.reduction, self.over = reduction, over

    def forward(
        self, real_logits: Tensor | Sequence[Tensor], fake_logits: Tensor | Sequence[Tensor]
    ) -> Tensor | tuple[Tensor | tuple[Tensor, ...], ...]:
        return ops.discriminator_loss(
            real_logits,
            fake_logits,
            loss=self.loss,
            real_label=self.real_label,
            fake_label=self.fake_label,
            reduction=self.reduction,
            over=self.over,
        )


class GeneratorLoss(nn.Module):
    """:func:`fastgan.generator_loss` as a module: fake_logits -> loss."""

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
