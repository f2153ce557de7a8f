"""The gradient that a loss's forward pass leaves for its backward pass."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from backends import Backend
from oracle import DTYPES, OTHER_LOSSES, assert_as_exact, by_reference, eager_discriminator_loss, evaluate
from torch import Tensor

import fastgan
from fastgan import kernels
from fastgan.kernels.counters import SOME_CAPTURE
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops import logit_loss

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
INCOMING = [1.0, 3.5, -0.25, 0.0, math.nan]
incoming = pytest.mark.parametrize("incoming", INCOMING)
LABELS = (0.9, 0.0)


def logits(dtype: torch.dtype, device: str) -> list[Tensor]:
    """More blocks than the interpreter has programs for, and fewer."""
    return [(torch.randn(size) * 3).to(device, dtype) for size in (20001, 7)]


@pytest.mark.parametrize(
    ("dtype", "incoming"),
    [
        *[(torch.float32, number) for number in INCOMING],
        *[(dtype, 3.5) for dtype in DTYPES if dtype.itemsize != 4],
    ],
    ids=str,
)
def test_any_incoming_gradient(backend: Backend, dtype: torch.dtype, incoming: float) -> None:
    inputs = logits(dtype, backend.device)
    grad = torch.tensor(incoming, dtype=dtype, device=backend.device)

    def ours(real: Tensor, fake: Tensor) -> Tensor:
        return fastgan.discriminator_loss(real, fake, real_label=0.9, reduction="sum")

    for each in zip(
        evaluate(ours, inputs, [grad]),
        evaluate(lambda r, f: eager_discriminator_loss(r, f, 0.9, "sum"), inputs, [grad]),
        evaluate(
            lambda r, f: by_reference(fastgan.discriminator_loss)(r, f, real_label=0.9, reduction="sum"),
            [t.double() for t in inputs],
            [grad.double()],
        ),
        strict=True,
    ):
        assert_as_exact(*each)


@pytest.mark.parametrize("loss", OTHER_LOSSES)
@pytest.mark.parametrize("incoming", [1.0, 3.5, math.nan])
def test_other_losses(backend: Backend, loss: str, incoming: float) -> None:
    inputs = [t.requires_grad_() for t in logits(torch.float32, backend.device)]
    grad = torch.tensor(incoming, device=backend.device)
    ours = torch.autograd.grad(fastgan.discriminator_loss(*inputs, loss=loss), inputs, grad)
    one = torch.autograd.grad(eager_discriminator_loss(*inputs, loss=loss), inputs)
    expected = tuple(incoming * g for g in one)
    if backend.name == "reference":  # PyTorch's relu does not let nan pass where it is flat
        expected = torch.autograd.grad(eager_discriminator_loss(*inputs, loss=loss), inputs, grad)
    torch.testing.assert_close(ours, expected, equal_nan=True)


# The kept gradient is given away by the first pass, as it is or times a number.
@pytest.mark.parametrize(
    ("incoming", "then"),
    [
        (1.0, 1.0),
        (1.0, 3.5),
        (3.5, 1.0),
        (3.5, -0.25),
        (0.0, 1.0),
        (1.0, 0.0),
        (math.nan, 1.0),
        (1.0, math.nan),
    ],
)
def test_a_second_backward_pass(backend: Backend, incoming: float, then: float) -> None:
    """It has gradients of its own: the first pass gave away what was kept."""
    inputs = [t.requires_grad_() for t in logits(torch.float32, backend.device)]
    one = torch.autograd.grad(fastgan.discriminator_loss(*inputs), inputs)
    loss = fastgan.discriminator_loss(*inputs)

    def backward(number: float) -> tuple[Tensor, ...]:
        grad = torch.tensor(number, device=backend.device)
        return torch.autograd.grad(loss, inputs, grad, retain_graph=True)

    first = backward(incoming)
    before = tuple(g.clone() for g in first)
    second = backward(then)
    torch.testing.assert_close(first, before, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(first, tuple(incoming * g for g in one), equal_nan=True)
    torch.testing.assert_close(second, tuple(then * g for g in one), equal_nan=True)


@pytest.mark.parametrize("captures", [(0, 7), (7, 8), (SOME_CAPTURE, SOME_CAPTURE)], ids=str)
def test_a_graph_of_the_backward_pass_alone_leaves_them_alone(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, captures: tuple[int, int]
) -> None:
    """It may be replayed more than once after one forward pass, with other incoming gradients."""
    inputs = [t.requires_grad_() for t in logits(torch.float32, backend.device)]
    one = torch.autograd.grad(fastgan.discriminator_loss(*inputs), inputs)
    loaded = kernels.load(backend.name)
    backward = loaded.loss_backward

    def without_kept(*arguments: Any) -> tuple[Tensor, ...]:
        grad, inputs, spec, kept = arguments
        assert kept == ()
        return backward(grad, inputs, spec)

    monkeypatch.setattr(loaded, "loss_backward", without_kept)
    numbers = iter(captures)
    monkeypatch.setattr(logit_loss, "capture_of", lambda _: next(numbers))
    loss = fastgan.discriminator_loss(*inputs)
    found = torch.autograd.grad(loss, inputs, torch.tensor(3.0, device=backend.device))
    torch.testing.assert_close(found, tuple(3 * g for g in one))


def test_accumulated_over_two_passes(backend: Backend) -> None:
    inputs = [t.requires_grad_() for t in logits(torch.float32, backend.device)]
    one = torch.autograd.grad(fastgan.discriminator_loss(*inputs), inputs)
    loss = fastgan.discriminator_loss(*inputs)
    loss.backward(retain_graph=True)
    (loss * 2).backward()
    torch.testing.assert_close([t.grad for t in inputs], [3 * g for g in one])


@incoming
def test_create_graph_has_gradients_of_its_own(backend: Backend, incoming: float) -> None:
    inputs = [t.requires_grad_() for t in logits(torch.float64, backend.device)]
    grad = torch.tensor(incoming, dtype=torch.float64, device=backend.device)
    results = []
    for function in (fastgan.discriminator_loss, by_reference(fastgan.discriminator_loss)):
        loss = function(*inputs)
        first = torch.autograd.grad(loss, inputs, grad, create_graph=True)
        second = torch.autograd.grad([g.square().sum() for g in first], inputs, retain_graph=True)
        without = torch.autograd.grad(loss, inputs, grad)
        results.append((*first, *second, *without))
    torch.testing.assert_close(*results, equal_nan=True)


@dtypes
def test_an_incoming_one_writes_nothing(backend: Backend, dtype: torch.dtype) -> None:
    """Any other number's gradients are written over what was kept, on the device, which alone knows it."""
    loaded, inputs = kernels.load(backend.name), tuple(logits(dtype, backend.device))
    spec = LossSpec("bce", LABELS, (1.0, 1.0), mean=False)
    _, _, kept = loaded.loss(inputs, spec, dtype, keep_grads=True)
    if not kept:
        assert backend.name == "reference"
        return
    one = torch.ones((), dtype=dtype, device=backend.device)
    for mine, plain in zip(kept, loaded.loss_backward(one, inputs, spec), strict=True):
        torch.testing.assert_close(mine, plain)
    for g in kept:
        g.fill_(5)
    for mine, unchanged in zip(loaded.loss_backward(one, inputs, spec, kept), kept, strict=True):
        assert mine.data_ptr() == unchanged.data_ptr()
        assert (mine == 5).all()
    two = loaded.loss_backward(one * 2, inputs, spec)
    for mine, plain in zip(loaded.loss_backward(one * 2, inputs, spec, kept), two, strict=True):
        assert torch.equal(mine, plain)
