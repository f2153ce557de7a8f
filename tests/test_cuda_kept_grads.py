"""Gradients that the CUDA loss makes in its forward pass: left alone for an incoming 1, else made again."""

from __future__ import annotations

import pytest
import torch
from backends import GPU, Backend
from oracle import DTYPES
from tables import cases
from torch import Tensor

import fastgan
from fastgan.kernels import load
from fastgan.kernels.logit_losses import LOSSES, LossSpec

CUDA = Backend("cuda", device=GPU)
pytestmark = [
    pytest.mark.skipif(CUDA.why_not is not None, reason=str(CUDA.why_not)),
    *([pytest.mark.gpu] if GPU == "cuda" else []),  # elsewhere: the kernels on the host
]
cuda = load("cuda")
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def logits_of(sizes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.randn(size).to(CUDA.device, dtype) * 3 for size in sizes)


def keep(
    logits: tuple[Tensor, ...], loss: str = "bce"
) -> tuple[tuple[Tensor, ...], tuple[tuple[Tensor, ...], LossSpec]]:
    labels = tuple(0.9 if i % 2 == 0 else 0.0 for i in range(len(logits)))
    spec = LossSpec.of(loss, labels, (-1.0,) * len(logits), True)
    return cuda.loss(logits, spec, torch.float32, keep_grads=True)[2], (logits, spec)


def scalar(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(value, device=CUDA.device, dtype=dtype)


# one tensor, two, and several of which some are large or empty; more than one launch takes
SIZES = cases([(3000, 17)], [(5,), (20_001, 9000), (0, 4), (3, 9000, 0, 1, 70), (3,) * 70])


@pytest.mark.parametrize("incoming", [1.0, 3.0, 0.0])
@pytest.mark.parametrize(("dtype", "sizes"), SIZES)
def test_as_without_keeping(dtype: torch.dtype, sizes: tuple[int, ...], incoming: float) -> None:
    kept, call = keep(logits_of(sizes, dtype))
    grad = scalar(incoming)
    expected = cuda.loss_backward(grad, *call)
    for ours, exact in zip(cuda.loss_backward(grad, *call, kept), expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=2 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
@dtypes
def test_only_an_incoming_one_leaves_them_alone(dtype: torch.dtype, loss: str) -> None:
    for of_grad in DTYPES:
        kept, call = keep(logits_of((3000, 17), dtype), loss)
        for each in kept:
            each.fill_(7.0)
        found = cuda.loss_backward(scalar(1.0, of_grad), *call, kept)
        assert [t.data_ptr() for t in found] == [t.data_ptr() for t in kept]
        assert all((t == 7.0).all() for t in found)
        found = cuda.loss_backward(scalar(0.5, of_grad), *call, kept)
        assert [t.data_ptr() for t in found] == [t.data_ptr() for t in kept]
        for ours, exact in zip(found, cuda.loss_backward(scalar(0.5), *call), strict=True):
            assert torch.equal(ours, exact)


def test_nan_arrives() -> None:
    kept, call = keep(logits_of((100,), torch.float32))
    assert cuda.loss_backward(scalar(float("nan")), *call, kept)[0].isnan().all()


def test_two_backward_passes_of_one_graph() -> None:
    logits = logits_of((3000,), torch.float32)[0].requires_grad_()
    with fastgan.use_backend("cuda"):
        loss = fastgan.generator_loss(logits)
    (exact,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (third,) = torch.autograd.grad(3 * loss, logits, retain_graph=True)
    (again,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(third, 3 * exact)
    assert torch.equal(again, exact)
