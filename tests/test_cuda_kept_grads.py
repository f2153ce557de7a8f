"""Gradients that the CUDA loss makes in its forward pass: left alone for an incoming 1, else made again."""

from __future__ import annotations

import pytest
import torch
from backends import GPU, Backend
from oracle import DTYPES
from tables import cases
from torch import Tensor

import fastgan
from fastgan.kernels import cuda

CUDA = Backend("cuda", device=GPU)
pytestmark = [
    pytest.mark.skipif(CUDA.why_not is not None, reason=str(CUDA.why_not)),
    *([pytest.mark.gpu] if GPU == "cuda" else []),  # elsewhere: the kernels on the host
]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def logits_of(sizes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.randn(size).to(CUDA.device, dtype) * 3 for size in sizes)


def keep(logits: tuple[Tensor, ...], kind: str = "bce") -> tuple[tuple[Tensor, ...], tuple[object, ...]]:
    call = logits, (0.9, 0.0)[: len(logits)], -1.0, True
    _, _, kept = cuda.loss_keeping_grads(*call, torch.float32, False, kind)
    return kept, (*call, kind)


def scalar(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(value, device=CUDA.device, dtype=dtype)


@pytest.mark.parametrize("incoming", [1.0, 3.0, 0.0])
@pytest.mark.parametrize(("dtype", "sizes"), cases([(3000, 17)], [(5,), (20_001, 9000), (0, 4)]))
def test_as_without_keeping(dtype: torch.dtype, sizes: tuple[int, ...], incoming: float) -> None:
    kept, call = keep(logits_of(sizes, dtype))
    grad = scalar(incoming)
    expected = cuda.loss_backward(grad, *call)
    for ours, exact in zip(cuda.loss_backward_from(kept, grad, *call), expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=2 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("kind", ["bce", "hinge", "least-squares", "wasserstein"])
@dtypes
def test_only_an_incoming_one_leaves_them_alone(dtype: torch.dtype, kind: str) -> None:
    for of_grad in DTYPES:
        kept, call = keep(logits_of((3000, 17), dtype), kind)
        for each in kept:
            each.fill_(7.0)
        found = cuda.loss_backward_from(kept, scalar(1.0, of_grad), *call)
        assert [t.data_ptr() for t in found] == [t.data_ptr() for t in kept]
        assert all((t == 7.0).all() for t in found)
        found = cuda.loss_backward_from(kept, scalar(0.5, of_grad), *call)
        assert [t.data_ptr() for t in found] == [t.data_ptr() for t in kept]
        for ours, exact in zip(found, cuda.loss_backward(scalar(0.5), *call), strict=True):
            assert torch.equal(ours, exact)


def test_nan_arrives() -> None:
    kept, call = keep(logits_of((100,), torch.float32))
    assert cuda.loss_backward_from(kept, scalar(float("nan")), *call)[0].isnan().all()


def test_two_backward_passes_of_one_graph() -> None:
    logits = logits_of((3000,), torch.float32)[0].requires_grad_()
    with fastgan.use_backend("cuda"):
        loss = fastgan.generator_loss(logits)
    (exact,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (third,) = torch.autograd.grad(3 * loss, logits, retain_graph=True)
    (again,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(third, 3 * exact)
    assert torch.equal(again, exact)
