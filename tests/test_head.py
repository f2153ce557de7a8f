"""Values and gradients of the fused discriminator head."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from backends import Backend
from oracle import assert_as_exact, by_reference, check, eager_discriminator_loss, evaluate
from tables import cases, views_and_dtypes
from torch import Tensor
from torch.utils._pytree import tree_leaves

import fastgan
from fastgan.ops import discriminator_head_loss_value_and_grad

# rows of real features, rows of generated ones, width
FEW_SIZES = [(16, 16, 33), (70, 9, 96)]
MORE_SIZES = [(1, 1, 1), (3, 5, 2), (300, 300, 16), (0, 4, 8), (5, 6, 4200)]


def head_inputs(
    real: int, fake: int, width: int, dtype: torch.dtype, device: str, with_bias: bool
) -> list[Tensor]:
    features = [torch.randn(n, width) for n in (real, fake)]
    weight = torch.randn(1, width) / width**0.5
    bias = [torch.randn(1)] if with_bias else []
    return [t.to(device, dtype) for t in (*features, weight, *bias)]


def eager_head(
    real: Tensor,
    fake: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    real_label: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    logits = [torch.nn.functional.linear(h, weight.reshape(1, -1), bias) for h in (real, fake)]
    loss = eager_discriminator_loss(*logits, real_label, reduction)
    assert isinstance(loss, Tensor)
    return loss


@pytest.mark.parametrize(("real_label", "reduction", "with_bias"), [(1.0, "mean", True), (0.9, "sum", False)])
@pytest.mark.parametrize(("dtype", "sizes"), cases(FEW_SIZES, MORE_SIZES))
def test_discriminator_head_loss(
    variant: Backend,
    dtype: torch.dtype,
    with_bias: bool,
    real_label: float,
    reduction: str,
    sizes: tuple[int, int, int],
) -> None:
    settings = {"real_label": real_label, "reduction": reduction}
    check(
        lambda *t: fastgan.discriminator_head_loss(*t, **settings),
        lambda *t: eager_head(*t, **settings),
        lambda *t: by_reference(fastgan.discriminator_head_loss)(*t, **settings),
        head_inputs(*sizes, dtype, variant.device, with_bias),
    )


@pytest.mark.parametrize("argument", [0, 1, 2])
@views_and_dtypes
def test_strides(
    backend: Backend, dtype: torch.dtype, view: Callable[[Tensor], Tensor], argument: int
) -> None:
    inputs = head_inputs(9, 7, 31, dtype, backend.device, True)
    inputs[argument] = view(inputs[argument])
    if argument == 2:
        inputs[2] = inputs[2][0]
    check(fastgan.discriminator_head_loss, eager_head, by_reference(fastgan.discriminator_head_loss), inputs)


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize(("dtype", "sizes"), cases([(70, 9, 100)], [(5, 6, 4200)]))
def test_value_and_grad(
    variant: Backend, dtype: torch.dtype, with_bias: bool, sizes: tuple[int, int, int]
) -> None:
    inputs = head_inputs(*sizes, dtype, variant.device, with_bias)
    scale = torch.tensor(0.75, dtype=dtype, device=variant.device)
    loss, *grads, stats = discriminator_head_loss_value_and_grad(*inputs, scale=scale)
    if not with_bias:
        assert grads.pop() is None
    eager = evaluate(eager_head, inputs, [scale])
    exact = evaluate(
        by_reference(fastgan.discriminator_head_loss), [t.double() for t in inputs], [scale.double()]
    )
    for each in zip([loss, *grads], eager, exact, strict=True):
        assert_as_exact(*each)
    assert_stats(stats, inputs)


def assert_stats(stats: Tensor, inputs: list[Tensor]) -> None:
    real, fake, weight, *bias = (t.double() for t in inputs)
    logits = [torch.nn.functional.linear(h, weight, *bias) for h in (real, fake)]
    saturated = torch.cat([(torch.sigmoid(-t.abs()) < 1e-3).flatten() for t in logits])
    means = [torch.sigmoid(t).mean() for t in logits]
    torch.testing.assert_close(stats, torch.stack([*means, saturated.double().mean()]).float())


def test_return_stats_and_leading_dimensions(backend: Backend) -> None:
    real, fake, weight, bias = head_inputs(12, 8, 10, torch.float32, backend.device, True)
    shaped = real.view(3, 4, 10).requires_grad_()
    loss, stats = fastgan.discriminator_head_loss(shaped, fake, weight, bias, return_stats=True)
    assert not stats.requires_grad
    assert_stats(stats, [real, fake, weight, bias])
    (grad,) = torch.autograd.grad(loss, shaped)
    assert grad.shape == shaped.shape
    torch.testing.assert_close(loss, eager_head(real, fake, weight, bias))


def test_second_derivative_by_a_penalty(backend: Backend) -> None:
    """R1 through the head reaches the weight."""
    inputs = head_inputs(6, 5, 7, torch.float64, backend.device, True)

    def penalized(head: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        leaves = [t.clone().requires_grad_() for t in inputs]
        loss = head(*leaves)
        (grad,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
        return torch.autograd.grad(loss + grad.square().sum(), leaves)

    for ours, exact in zip(
        penalized(fastgan.discriminator_head_loss),
        penalized(by_reference(fastgan.discriminator_head_loss)),
        strict=True,
    ):
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_like_a_linear_layer_and_a_loss(backend: Backend, dtype: torch.dtype) -> None:
    inputs = head_inputs(6, 5, 7, torch.float32, backend.device, True)
    with torch.autocast(backend.device, dtype):
        ours = evaluate(fastgan.discriminator_head_loss, inputs, [torch.tensor(1.0, device=backend.device)])
        eager = evaluate(eager_head, inputs, [torch.tensor(1.0, device=backend.device)])
    for mine, usual in zip(ours, eager, strict=True):
        assert mine.dtype is usual.dtype is torch.float32
        torch.testing.assert_close(mine, usual, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, r"weight must be \[1, features\].*has shape \(2, 3\)"),
        ({"fake_features": torch.zeros(4, 2)}, r"fake_features must be \[..., 3\].*has shape \(4, 2\)"),
        ({"bias": torch.zeros(2)}, r"bias must have shape \(1,\), but has \(2,\)"),
        ({"reduction": "none"}, "use discriminator_loss on the logits"),
        ({"real_label": 1.5}, "real_label must lie in"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {
        "real_features": torch.zeros(5, 3), "fake_features": torch.zeros(5, 3), "weight": torch.zeros(1, 3)
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        fastgan.discriminator_head_loss(**{**arguments, **change})


@pytest.mark.parametrize(("dtype", "sizes"), cases([(40, 9, 64)], [(300, 2, 16), (5, 6, 4200)]))
def test_the_same_bits_wherever_the_features_lie(
    backend: Backend, dtype: torch.dtype, sizes: tuple[int, int, int]
) -> None:
    """CUDA's kernel keeps rows in shared memory where they fit and their addresses allow it."""
    if backend.name == "reference":
        pytest.skip("PyTorch's sums depend on alignment")
    real, fake, weight, bias = head_inputs(*sizes, dtype, backend.device, True)
    moved = torch.cat([real.new_zeros(1), real.flatten()])[1:].view(real.shape)
    found, again = (
        tree_leaves(discriminator_head_loss_value_and_grad(features, fake, weight, bias))
        for features in (real, moved)
    )
    assert len(found) >= 6  # the loss, four gradients and statistics
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
