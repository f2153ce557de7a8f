"""Argument checks of the operations. Messages name the argument, its value and the remedy."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, fx

from fastgan.kernels.acts import ACTS
from fastgan.kernels.logit_losses import LOSSES
from fastgan.kernels.native import PLAIN
from fastgan.kernels.reference_snake import FEWEST_TAPS, MOST_TAPS
from fastgan.kernels.reference_upfirdn import MOST_TAPS as MOST_IMAGE_TAPS
from fastgan.kernels.reference_upfirdn import Resampling, taps_of
from fastgan.kernels.spans import Spans

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
HALVES = (torch.float16, torch.bfloat16)
REDUCTIONS = ("mean", "sum", "none")
# types of arguments that determine what a loss returns
Reduced = Literal["mean", "sum"]
Terms = Literal["none"]
Yes = Literal[True]
No = Literal[False]


def check_tensor(tensor: Tensor, name: str) -> None:
    if type(tensor) in PLAIN and tensor.dtype in DTYPES and tensor.layout is torch.strided:
        return
    if isinstance(tensor, fx.Proxy):
        raise TypeError(
            f"{name} is a torch.fx.Proxy, but fastgan's functions need tensors: for each function NAME that "
            "a module calls, write torch.fx.wrap('NAME') below the imports of its file, and call NAME "
            "without a prefix; torch.fx then records the call"
        )
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, but is {type(tensor).__name__}")
    if type(tensor) not in PLAIN and _is_sharded(tensor):
        raise TypeError(
            f"{name} is a DTensor, which may lie on other processes too, and fastgan's operations are not "
            "distributed: apply fully_shard to the module in whose forward they are called, which then sees "
            "whole parameters, or pass .to_local() or .full_tensor()"
        )
    if tensor.dtype not in DTYPES:
        raise TypeError(
            f"{name} must be float32, bfloat16, float16 or float64, but is {tensor.dtype}; "
            "convert it, for example with .float()"
        )
    if tensor.layout is not torch.strided:
        raise TypeError(f"{name} must be a dense tensor, but is {tensor.layout}; convert it with .to_dense()")


def _is_sharded(tensor: Tensor) -> bool:
    # DTensors exist only after this import, which fastgan does not do
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def check_device(tensor: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Check that a tensor is on the device of another argument."""
    if not (tensor.is_cpu and other.is_cpu) and tensor.device != other.device:
        raise ValueError(
            f"{name} is on {tensor.device} but {other_name} on {other.device}; move one with .to(...)"
        )


def check_like(tensor: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Check that a tensor has the device and dtype of another argument."""
    if (
        type(tensor) in PLAIN
        and tensor.dtype in DTYPES
        and tensor.dtype is other.dtype
        and tensor.layout is torch.strided
        and tensor.is_cpu
        and other.is_cpu
    ):
        return  # fast path
    check_tensor(tensor, name)
    check_device(tensor, name, other, other_name)
    if tensor.dtype is not other.dtype:
        raise TypeError(
            f"{name} is {tensor.dtype} but {other_name} {other.dtype}; convert one with .to(dtype)"
        )


def check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', but is {reduction!r}")


def check_loss(loss: str, name: str = "loss") -> None:
    if loss not in LOSSES:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, LOSSES))}, but is {loss!r}")


def check_label(label: float, loss: str, name: str = "label") -> None:
    """Check that a loss allows a label."""
    check_finite(label, name)
    bounds = LOSSES[loss].labels
    if bounds is None and label not in (0.0, 1.0):
        raise ValueError(f"{name} must be 0 or 1 for the {loss} loss, but is {label}")
    if bounds is not None and not bounds[0] <= label <= bounds[1]:
        raise ValueError(
            f"{name} must lie in [{bounds[0]:g}, {bounds[1]:g}] for the {loss} loss, but is {label}"
        )


def check_same_shape(tensor: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Check that a tensor has the shape, device and dtype of another argument."""
    check_like(tensor, name, other, other_name)
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} must have the shape of {other_name}, {tuple(other.shape)}, but has {tuple(tensor.shape)}"
        )


def check_reduced(reduction: str) -> None:
    """Check the reduction of a function that returns both loss and gradients."""
    check_reduction(reduction)
    if reduction == "none":
        raise ValueError("reduction must be 'mean' or 'sum' for value and gradient, but is 'none'")


def check_negative_slope(negative_slope: float, name: str = "negative_slope") -> None:
    """Refuse negative slopes: the backward takes the sign of the input from the output."""
    if not 0.0 <= negative_slope < math.inf:
        raise ValueError(f"{name} must be finite and not negative, but is {negative_slope}")


def check_act(act: str) -> None:
    if act not in ACTS:
        raise ValueError(f"act must be one of {', '.join(map(repr, ACTS))}, but is {act!r}")


def check_gain(gain: float, clamp: float | None) -> None:
    """Check the gain and the bound of an activation."""
    check_finite(gain, "gain")
    if clamp is not None and not clamp >= 0:
        raise ValueError(f"clamp must not be negative, but is {clamp}; None means no bound")


def check_finite(number: float, name: str) -> None:
    if not -math.inf < number < math.inf:
        raise ValueError(f"{name} must be finite, but is {number}")


def check_scale(scale: Tensor | None, like: Tensor, name: str = "scale") -> None:
    if scale is None:
        return
    check_tensor(scale, name)
    if scale.numel() != 1:
        raise ValueError(f"{name} must be a scalar tensor, but has shape {tuple(scale.shape)}")
    if scale.device != like.device:
        raise ValueError(
            f"{name} is on {scale.device} but the other arguments on {like.device}; move it with .to(...)"
        )


def check_bias(
    bias: Tensor | None, channels: int, like: Tensor, name: str = "bias", like_name: str = "input"
) -> None:
    if bias is None:
        return
    check_like(bias, name, like, like_name)
    if bias.shape != (channels,):
        raise ValueError(f"{name} must have shape ({channels},), but has {tuple(bias.shape)}")


def check_like_or_float32(tensor: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Check that a tensor has the device and dtype of another argument, or float32 if that is a half type."""
    if other.dtype in HALVES and isinstance(tensor, Tensor) and tensor.dtype is torch.float32:
        check_tensor(tensor, name)
        check_device(tensor, name, other, other_name)
    else:
        check_like(tensor, name, other, other_name)


def check_of_channels(tensor: Tensor | None, name: str, input: Tensor) -> None:
    """Check a number for each channel: in the input's dtype, or in float32 for half types."""
    if tensor is None:
        return
    check_like_or_float32(tensor, name, input, "input")
    if tensor.dim() != 1 or tensor.numel() != input.shape[1]:
        raise ValueError(f"{name} must have shape ({input.shape[1]},), but has {tuple(tensor.shape)}")


def check_signal(x: Tensor, name: str) -> None:
    """Check a signal [N, C, T] that is repeated beyond its ends."""
    check_tensor(x, name)
    if x.dim() != 3 or x.shape[2] == 0:
        raise ValueError(f"{name} must be [N, C, T] with T at least 1, but has shape {tuple(x.shape)}")


def check_filter(taps: Tensor, name: str, x: Tensor, x_name: str) -> None:
    """Check the taps of a filter of Snake: in the signal's dtype, or in float32 for half types."""
    check_like_or_float32(taps, name, x, x_name)
    if taps.dim() != 1:
        raise ValueError(f"{name} must be [taps] or [1, 1, taps], but has shape {tuple(taps.shape)}")
    if not FEWEST_TAPS <= taps.numel() <= MOST_TAPS:
        raise ValueError(f"{name} must have {FEWEST_TAPS} to {MOST_TAPS} taps, but has {taps.numel()}")


def check_images(x: Tensor, name: str) -> None:
    check_tensor(x, name)
    if x.dim() != 4 or 0 in x.shape[2:]:
        raise ValueError(
            f"{name} must be [N, C, H, W] with H and W at least 1, but has shape {tuple(x.shape)}"
        )


def check_image_filter(filter: Tensor, name: str, x: Tensor, x_name: str) -> None:
    """Check a filter of images: in their dtype, or in float32."""
    check_tensor(filter, name)
    check_device(filter, name, x, x_name)
    if filter.dtype not in (x.dtype, torch.float32):
        raise TypeError(
            f"{name} must be {x.dtype}, as {x_name}, or float32, but is {filter.dtype}; convert it with "
            ".to(dtype)"
        )
    if filter.dim() not in (1, 2) or not all(1 <= taps <= MOST_IMAGE_TAPS for taps in filter.shape):
        raise ValueError(
            f"{name} must be [height, width] or [taps] with 1 to {MOST_IMAGE_TAPS} taps along each axis, but "
            f"has shape {tuple(filter.shape)}"
        )


def check_room(x: Tensor, filter: Tensor, resampling: Resampling) -> None:
    """Check that something is left of images after padding, for the filter to cover."""
    left, right, top, bottom = resampling.padding
    height, width = x.shape[2] * resampling.up[1] + top + bottom, x.shape[3] * resampling.up[0] + left + right
    taps = taps_of(filter)
    if height < taps[0] or width < taps[1]:
        raise ValueError(
            f"x of shape {tuple(x.shape)}, upsampled by {resampling.up} and padded by {resampling.padding}, "
            f"is {height} x {width}, less than the filter's {taps[0]} x {taps[1]} taps; pass more padding"
        )


def check_several_values(input: Tensor) -> None:
    if input.shape[1] and input.numel() == input.shape[1]:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {tuple(input.shape)}; "
            "use a larger batch, or evaluation"
        )


def check_eps(eps: float) -> None:
    if not 0.0 <= eps < math.inf:
        raise ValueError(f"eps must be finite and not negative, but is {eps}")


def check_linear(
    features: Sequence[int], input: Tensor, weight: Tensor, bias: Tensor | None, index: str = ""
) -> None:
    """Check a layer. ``features`` is the shape of its input; ``index`` names the layer in messages."""
    check_like(weight, f"weight{index}", input, "input")
    if weight.dim() != 2:
        raise ValueError(
            f"weight{index} must be [out_features, in_features], but has shape {tuple(weight.shape)}"
        )
    if len(features) == 0 or features[-1] != weight.shape[1]:
        raise ValueError(
            f"weight{index} of shape {tuple(weight.shape)} takes [..., {weight.shape[1]}], "
            f"but gets an input of shape {tuple(features)}"
        )
    check_bias(bias, weight.shape[0], input, f"bias{index}")


def check_span_input(input: Tensor, spans: Spans, noise: Tensor | None, temperature: float) -> None:
    check_tensor(input, "input")
    if not isinstance(spans, Spans):
        raise TypeError(f"spans must be fastgan.Spans, but is {type(spans).__name__}")
    if input.dim() != 2 or input.shape[1] != spans.width:
        raise ValueError(
            f"input must be [N, {spans.width}], as the spans have {spans.width} columns, but has shape "
            f"{tuple(input.shape)}"
        )
    if noise is not None:
        check_tensor(noise, "noise")
        if noise.dtype is not torch.float32:
            raise TypeError(f"noise must be float32, but is {noise.dtype}")
        check_device(noise, "noise", input, "input")
        if noise.shape != input.shape:
            raise ValueError(
                f"noise must have the shape of input, {tuple(input.shape)}, but has {tuple(noise.shape)}"
            )
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, but is {temperature}")


def check_conditions(conditions: Tensor, spans: Spans, input: Tensor) -> None:
    if not isinstance(conditions, Tensor) or conditions.dtype is not torch.int64:
        kind = conditions.dtype if isinstance(conditions, Tensor) else type(conditions).__name__
        raise TypeError(f"conditions must be an int64 tensor, but is {kind}")
    check_device(conditions, "conditions", input, "input")
    if conditions.shape != input.shape[:1]:
        raise ValueError(
            f"conditions must have shape {tuple(input.shape[:1])}, one for each row of input, but has "
            f"{tuple(conditions.shape)}"
        )
    if not spans.conditions:
        raise ValueError("conditions are given, but spans.conditions is empty; name the discrete spans there")
