"""The backend in plain PyTorch, for every device and dtype.

Half types are computed in float32 and rounded once, as the kernels do. Every function is
differentiable, so the second derivatives of the losses come from here whatever backend served.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.logit_losses import LOSSES
from fastgan.kernels.optional import loss_backward_from as loss_backward_from
from fastgan.kernels.optional import loss_keeping_grads as loss_keeping_grads
from fastgan.kernels.optional import mlp as mlp
from fastgan.kernels.optional import mlp_backward as mlp_backward


def why_not(device: torch.device) -> str | None:
    return None


def _computed(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _slope(logits: Tensor, label: float, factor: float, kind: str) -> Tensor:
    return factor * LOSSES[kind].slope(_computed(logits), label)


def loss_stats(logits: tuple[Tensor, ...], labels: tuple[float, ...], kind: str = "bce") -> Tensor:
    of = LOSSES[kind]
    with torch.no_grad():
        computed = [_computed(t) for t in logits]
        means = [of.output(t).mean().float() for t in computed]
        saturated = torch.cat(
            [of.saturated(t, label).flatten() for t, label in zip(computed, labels, strict=True)]
        )
        return torch.stack([*means, saturated.float().mean()])


def loss(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None]:
    terms = [LOSSES[kind].term(_computed(t), label) for t, label in zip(logits, labels, strict=True)]
    total = sign * torch.stack([each.mean() if mean else each.sum() for each in terms]).sum()
    return total.to(loss_dtype), loss_stats(logits, labels, kind) if with_stats else None


def loss_backward(
    grad: Tensor,
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> tuple[Tensor, ...]:
    return tuple(
        (_computed(grad) * _slope(t, label, sign / t.numel() if mean and t.numel() else sign, kind)).to(
            t.dtype
        )
        for t, label in zip(logits, labels, strict=True)
    )


def loss_and_grad(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    kind: str = "bce",
) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    value, _ = loss(logits, labels, sign, mean, loss_dtype, False, kind)
    grad = logits[0].new_ones((), dtype=torch.float32) if scale is None else scale
    grads = loss_backward(grad, logits, labels, sign, mean, kind)
    return value, grads, loss_stats(logits, labels, kind)


def loss_terms(logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    return (sign * LOSSES[kind].term(_computed(logits), label)).to(logits.dtype)


def loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    return (_computed(grad) * _slope(logits, label, sign, kind)).to(logits.dtype)


def _difference(input: Tensor, reconstruction: Tensor) -> Tensor:
    return _computed(input) - _computed(reconstruction)


def reconstruction_loss(input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype) -> Tensor:
    terms = _difference(input, reconstruction).abs()
    return (terms.mean() if mean else terms.sum()).to(loss_dtype)


def reconstruction_loss_backward(
    grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    scale = 1 / input.numel() if mean and input.numel() else 1.0
    slope = _computed(grad) * scale * torch.sign(_difference(input, reconstruction))
    return slope.to(input.dtype) if needs[0] else None, (-slope).to(input.dtype) if needs[1] else None


def reconstruction_loss_and_grad(
    input: Tensor,
    reconstruction: Tensor,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    needs: tuple[bool, bool],
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
    loss = reconstruction_loss(input, reconstruction, mean, loss_dtype)
    grad = input.new_ones((), dtype=torch.float32) if scale is None else scale
    return loss, reconstruction_loss_backward(grad, input, reconstruction, mean, needs)


def reconstruction_terms(input: Tensor, reconstruction: Tensor) -> Tensor:
    return _difference(input, reconstruction).abs().to(input.dtype)


def _along(bias: Tensor, dim: int, like: Tensor) -> Tensor:
    return bias.view([-1 if i == dim else 1 for i in range(like.dim())])


def bias_leaky_relu(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    z = _computed(input)
    if bias is not None:
        z = z + _along(_computed(bias), dim, input)
    return F.leaky_relu(z, negative_slope).to(input.dtype)


def bias_leaky_relu_backward(
    grad: Tensor,
    output: Tensor,
    negative_slope: float,
    dim: int,
    with_bias: bool,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    g = _computed(grad)
    masked = torch.where(output > 0, g, negative_slope * g)
    others = [i for i in range(output.dim()) if i != dim]
    # sum(()) would mean all dimensions
    summed = (masked.sum(others) if others else masked.clone()).to(grad.dtype) if with_bias else None
    return masked.to(grad.dtype), summed if into is None or summed is None else into.copy_(summed)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(input, weight, bias)


def linear_leaky_relu(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    return F.leaky_relu(F.linear(input, weight, bias), negative_slope)


def linear_leaky_relu_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dz, db = bias_leaky_relu_backward(grad, output, negative_slope, 1, needs[2])
    return dgrad(dz, weight) if needs[0] else None, wgrad(dz, input) if needs[1] else None, db


def dgrad(grad: Tensor, weight: Tensor) -> Tensor:
    return grad @ weight


def dgrad_leaky_relu(
    grad: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    with_bias: bool,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    return bias_leaky_relu_backward(grad @ weight, output, negative_slope, 1, with_bias, into)


def wgrad(grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
    return torch.mm(grad.t(), input, out=into)


def head_loss(
    features: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    with_grads: bool,
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...], Tensor | None, Tensor | None]:
    w = _computed(weight).unsqueeze(0)
    b = None if bias is None else _computed(bias)
    logits = tuple(F.linear(_computed(h), w, b).squeeze(1) for h in features)
    value, stats = loss(logits, labels, sign, mean, loss_dtype, with_stats)
    if not with_grads:
        return value, stats, (), None, None
    slopes = tuple(
        _slope(t, label, sign / t.numel() if mean and t.numel() else sign, "bce")
        for t, label in zip(logits, labels, strict=True)
    )
    dw = torch.stack([s @ _computed(h) for s, h in zip(slopes, features, strict=True)]).sum(0)
    return value, stats, slopes, dw, torch.cat(slopes).sum().reshape(1)


def head_loss_backward(
    grad: Tensor,
    slopes: tuple[Tensor, ...],
    weight: Tensor,
    dw: Tensor,
    db: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
    g, dtype = grad.to(dw.dtype), weight.dtype
    return (
        tuple(torch.outer(g * s, _computed(weight)).to(dtype) if needs[0] else None for s in slopes),
        (g * dw).to(dtype) if needs[1] else None,
        (g * db).to(dtype) if needs[2] else None,
    )


def head_loss_and_grad(
    features: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    into: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor, Tensor]:
    value, stats, slopes, dw, db = head_loss(
        features, weight, bias, labels, sign, mean, loss_dtype, True, True
    )
    assert stats is not None
    assert dw is not None
    assert db is not None
    factor = dw.new_ones(()) if scale is None else scale
    grads, dweight, dbias = head_loss_backward(factor, slopes, weight, dw, db, (True, True, True))
    assert dweight is not None
    assert dbias is not None
    if into is not None:
        dweight, dbias = into[0].copy_(dweight), into[1].copy_(dbias)
    return value, grads, dweight, dbias, stats  # type: ignore[return-value]


def adam(
    values: Tensor,
    grads: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    count: Tensor,
    is_first: bool,
    learning_rate: Tensor,
    betas: tuple[float, float],
    eps: float,
    average: Tensor | None,
    average_weight: Tensor,
    halves: Tensor | None,
) -> None:
    if is_first:
        count += 1
    torch._fused_adam_(
        [values],
        [grads],
        [exp_avg],
        [exp_avg_sq],
        [],
        [count],
        lr=learning_rate,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=0.0,
        eps=eps,
        amsgrad=False,
        maximize=False,
    )
    if average is not None:
        average.lerp_(values, average_weight.to(average.dtype))
    if halves is not None:
        halves.copy_(values)


def record(
    table: Tensor, row: Tensor, scalars: list[Tensor], schedule: Tensor, settings: Tensor, clock: Tensor
) -> None:
    table.index_copy_(0, row, torch.stack(scalars).unsqueeze(0))
    row += 1
    clock += 1
    torch.index_select(schedule, 0, row, out=settings.view(1, -1))


def draw(
    integers: Tensor,
    normal: Tensor,
    uniform: Tensor,
    begins: tuple[int, int, int],
    high: int,
    seed: int,
    clock: Tensor,
) -> None:
    words = [
        _words(begin, len(room), kind, seed, clock)
        for kind, (begin, room) in enumerate(zip(begins, (integers, normal, uniform), strict=True))
    ]
    integers.copy_(words[0].flatten()[: len(integers)] * high >> 32)
    first, second = words[1][:, ::2].float(), words[1][:, 1::2].float()
    radius = torch.sqrt(-2 * torch.log(first * 2.0**-32 + 2.0**-33))  # of a number in (0, 1]
    angle = second * (2.0**-31 * math.pi)
    pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 2)
    normal.copy_(pairs.flatten()[: len(normal)])
    uniform.copy_((words[2].flatten()[: len(uniform)] >> 8) * 2.0**-24)


def _words(begin: int, count: int, kind: int, seed: int, clock: Tensor) -> Tensor:
    """The words behind so many numbers of a kind from a multiple of 4 on, four a row."""
    place = torch.arange(begin // 4, -(-(begin + count) // 4), device=clock.device)
    counter = [
        place & _WORD,
        kind + 4 * (place >> 32),
        (clock & _WORD).expand_as(place),
        clock.expand_as(place) >> 32,
    ]
    return torch.stack(philox(counter, (seed & _WORD, seed >> 32)), 1)


_WORD = 0xFFFFFFFF


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox 4x32-10 (Salmon et al., 2011): four words of each counter of four words, all of them int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # of a product of two words int64 has all 64 bits, the highest as its sign
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (second >> 32 & _WORD) ^ c1 ^ k0,
            second & _WORD,
            (first >> 32 & _WORD) ^ c3 ^ k1,
            first & _WORD,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return [c0, c1, c2, c3]
