"""Values and gradients of the reconstruction loss, in every form."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from oracle import DTYPES, assert_as_exact, by_reference, check, evaluate
from tables import cases, scales, views_and_dtypes
from torch import Tensor

import fastgan
from fastgan.ops import reconstruction_loss_value_and_grad

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
# Around a lane row (64), a chunk (16384), the size from which threads share (32768); several tiles on a GPU's
# kernels, one and none.
shapes = pytest.mark.parametrize(
    ("dtype", "shape"),
    cases(
        [(1025,)],
        [(), (0,), (1,), (65,), (4, 1, 7, 7), (0, 3), (16, 2, 50)],
        [(16383,), (16385,), (200, 200)],
    ),
)


def pair(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> list[Tensor]:
    """Samples and reconstructions, a few of which are exact."""
    input, reconstruction = torch.randn(shape), torch.randn(shape)
    exact = torch.rand(shape) < 0.1
    return [t.to(device, dtype) for t in (input, torch.where(exact, input, reconstruction))]


def eager(input: Tensor, reconstruction: Tensor, reduction: str = "mean") -> Tensor:
    return F.l1_loss(input, reconstruction, reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@shapes
def test_reconstruction_loss(
    variant: Backend, dtype: torch.dtype, reduction: str, shape: tuple[int, ...]
) -> None:
    check(
        lambda x, y: fastgan.reconstruction_loss(x, y, reduction=reduction),
        lambda x, y: eager(x, y, reduction),
        lambda x, y: by_reference(fastgan.reconstruction_loss)(x, y, reduction=reduction),
        pair(shape, dtype, variant.device),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("dtype", "shape"), cases([(1025,)], [(), (0,), (65,)], [(16385,)]))
def test_value_and_grad(variant: Backend, dtype: torch.dtype, reduction: str, shape: tuple[int, ...]) -> None:
    inputs = pair(shape, dtype, variant.device)
    scale = torch.tensor(-0.75, dtype=dtype, device=variant.device)
    ours = reconstruction_loss_value_and_grad(*inputs, reduction=reduction, scale=scale)
    pytorch = evaluate(lambda x, y: eager(x, y, reduction), inputs, [scale])
    exact = evaluate(
        lambda x, y: by_reference(fastgan.reconstruction_loss)(x, y, reduction=reduction),
        [t.double() for t in inputs],
        [scale.double()],
    )
    for each in zip(ours, pytorch, exact, strict=True):
        assert_as_exact(*each)
    loss, none, grad = reconstruction_loss_value_and_grad(
        *inputs, reduction=reduction, scale=scale, with_input_grad=False
    )
    assert none is None
    torch.testing.assert_close(loss, ours[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(grad, ours[2])


@scales
def test_scale_of_another_dtype_or_shape(
    backend: Backend, dtype: torch.dtype, scale_dtype: torch.dtype, scale_shape: tuple[int, ...]
) -> None:
    inputs = pair((15,), dtype, backend.device)
    scale = torch.full(scale_shape, 4.0, dtype=scale_dtype, device=backend.device)
    loss, *grads = reconstruction_loss_value_and_grad(*inputs, scale=scale)
    plain_loss, *plain_grads = reconstruction_loss_value_and_grad(*inputs)
    assert torch.equal(loss, plain_loss)
    torch.testing.assert_close(grads, [grad * 4 for grad in plain_grads])


@views_and_dtypes
@pytest.mark.parametrize("argument", [0, 1])
def test_strides(
    backend: Backend, dtype: torch.dtype, view: Callable[[Tensor], Tensor], argument: int
) -> None:
    inputs = pair((33, 31), dtype, backend.device)
    inputs[argument] = view(inputs[argument])
    for reduction in ("mean", "none"):
        check(
            partial(fastgan.reconstruction_loss, reduction=reduction),
            partial(eager, reduction=reduction),
            partial(by_reference(fastgan.reconstruction_loss), reduction=reduction),
            inputs,
        )


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_incoming_gradient_of_any_kind(backend: Backend, reduction: str) -> None:
    """A loss that is scaled, expanded and summed passes zero-stride gradients back."""
    x, y = (t.requires_grad_() for t in pair((65,), torch.float32, backend.device))

    def gradients(loss: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(x, y, reduction=reduction).expand(3, *x.shape).sum() * 2, [x, y])

    torch.testing.assert_close(gradients(fastgan.reconstruction_loss), gradients(eager))


@dtypes
def test_ties_have_no_slope_and_nan_stays(variant: Backend, dtype: torch.dtype) -> None:
    """As PyTorch's abs: a slope of 0 at a tie, and beside a nan, which the value keeps."""
    x, y = torch.tensor([[1.0, math.nan, math.inf, math.inf, -0.0], [1.0, 0.0, math.inf, 1.0, 0.0]])
    x, y = (t.to(variant.device, dtype).requires_grad_() for t in (x, y))
    terms = fastgan.reconstruction_loss(x, y, reduction="none")
    torch.testing.assert_close(terms.tolist(), [0.0, math.nan, math.nan, math.inf, 0.0], equal_nan=True)
    loss, dx, dy = reconstruction_loss_value_and_grad(x.detach(), y.detach())
    assert loss.isnan()
    assert (dx * 5).round().tolist() == (dy * -5).round().tolist() == [0, 0, 0, 1, 0]
    assert [g.tolist() for g in torch.autograd.grad(terms.sum(), [x, y])] == [
        [0, 0, 0, 1, 0],
        [0, 0, 0, -1, 0],
    ]


@dtypes
def test_the_smallest_difference_has_a_slope(variant: Backend, dtype: torch.dtype) -> None:
    """Neighbouring numbers, and denormal ones."""
    info = torch.finfo(dtype)
    x = torch.tensor([1.0, info.smallest_normal], dtype=dtype, device=variant.device)
    y = torch.tensor(
        [1.0 + info.eps, info.smallest_normal * (1 + info.eps)], dtype=dtype, device=variant.device
    )
    _, dx, dy = reconstruction_loss_value_and_grad(x, y, reduction="sum")
    assert dx.tolist() == [-1, -1]
    assert dy.tolist() == [1, 1]
