"""Mixed precision: the dtypes that PyTorch's own layers and losses have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from oracle import by_reference
from torch import Tensor, nn

import fastgan


@pytest.mark.parametrize("autocast_dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("input_dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_layers_compute_in_the_autocast_dtype(
    backend: Backend, autocast_dtype: torch.dtype, input_dtype: torch.dtype
) -> None:
    input = torch.randn(6, 5).to(backend.device, input_dtype)
    weight, bias = torch.randn(5, 5, device=backend.device), torch.randn(5, device=backend.device)
    with torch.autocast(backend.device, autocast_dtype):
        expected = F.leaky_relu(F.linear(input, weight, bias), 0.2)
        ours = fastgan.linear_leaky_relu(input, weight, bias)
        chain = fastgan.mlp(input, [weight, weight], [bias, None])
    assert ours.dtype is chain.dtype is expected.dtype is autocast_dtype
    torch.testing.assert_close(ours, expected, rtol=2e-2, atol=2e-2)


def test_double_stays_double(backend: Backend) -> None:
    input, weight = (torch.randn(5, 5, dtype=torch.float64, device=backend.device) for _ in range(2))
    with torch.autocast(backend.device, torch.bfloat16):
        assert (
            fastgan.linear_leaky_relu(input, weight).dtype is F.linear(input, weight).dtype is torch.float64
        )
        assert fastgan.generator_loss(input).dtype is torch.float64


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_losses_are_float32(backend: Backend, dtype: torch.dtype, reduction: str) -> None:
    fake = torch.randn(9).to(backend.device, dtype).requires_grad_()
    with torch.autocast(backend.device, torch.bfloat16):
        ours = fastgan.generator_loss(fake, reduction=reduction)
        pytorch = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake), reduction=reduction)
    assert ours.dtype is pytorch.dtype is torch.float32
    torch.testing.assert_close(ours, pytorch)
    grads = [torch.autograd.grad(loss.sum(), fake)[0] for loss in (ours, pytorch)]
    assert grads[0].dtype is dtype
    torch.testing.assert_close(*grads, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_reconstructions_of_another_dtype_meet_in_float32(
    backend: Backend, dtype: torch.dtype, reduction: str
) -> None:
    """Real samples stay float32 where an autoencoder computes in a half type."""
    real = torch.randn(6, 5, device=backend.device)
    output = torch.randn(6, 5, device=backend.device).to(dtype).requires_grad_()
    with torch.autocast(backend.device, torch.bfloat16):
        ours = fastgan.reconstruction_loss(real, output, reduction=reduction)
        pytorch = F.l1_loss(output, real, reduction=reduction)
    assert ours.dtype is pytorch.dtype is torch.float32
    torch.testing.assert_close(ours, pytorch)
    grads = [torch.autograd.grad(loss.sum(), output)[0] for loss in (ours, pytorch)]
    assert grads[0].dtype is dtype
    torch.testing.assert_close(*grads)


def test_bias_of_another_dtype_is_cast(backend: Backend) -> None:
    input = torch.randn(2, 3, 4, 4).to(backend.device, torch.bfloat16)
    bias = torch.randn(3, device=backend.device, requires_grad=True)
    with torch.autocast(backend.device, torch.bfloat16):
        output = fastgan.bias_leaky_relu(input, bias)
    output.sum().backward()
    assert output.dtype is torch.bfloat16
    assert bias.grad.dtype is torch.float32


@pytest.mark.parametrize(
    "build",
    [
        lambda: fastgan.nn.MLP([6, 8, 8, 1]),
        lambda: nn.Sequential(fastgan.nn.LinearLeakyReLU(6, 8), nn.Linear(8, 1)),
    ],
    ids=["MLP", "Sequential"],
)
@pytest.mark.parametrize("backward_inside", [False, True])
def test_gradients_reach_float32_parameters(
    backend: Backend, build: Callable[[], nn.Module], backward_inside: bool
) -> None:
    discriminator = build().to(backend.device)
    input = torch.randn(16, 6, device=backend.device)
    fastgan.generator_loss(discriminator(input)).backward()
    exact = [p.grad.clone() for p in discriminator.parameters()]
    discriminator.zero_grad()
    with torch.autocast(backend.device, torch.bfloat16):
        loss = fastgan.generator_loss(discriminator(input))
        if backward_inside:
            loss.backward()
    if not backward_inside:
        loss.backward()
    assert loss.dtype is torch.float32
    for parameter, expected in zip(discriminator.parameters(), exact, strict=True):
        assert parameter.grad.dtype is torch.float32
        torch.testing.assert_close(parameter.grad, expected, rtol=0.1, atol=0.02)


def test_backward_under_autocast_of_a_forward_outside(backend: Backend) -> None:
    def gradient(layers: Callable[[Tensor], Tensor]) -> Tensor:
        output = layers(input)
        with torch.autocast(backend.device, torch.bfloat16):
            return torch.autograd.grad(output.sum(), input)[0]

    input = torch.randn(4, 6, device=backend.device, requires_grad=True)
    weights = [torch.randn(6, 6, device=backend.device) for _ in range(3)]
    torch.testing.assert_close(
        gradient(lambda x: fastgan.mlp(x, weights, [None] * 3)),
        gradient(lambda x: by_reference(fastgan.mlp)(x, weights, [None] * 3)),
        rtol=0.05,
        atol=0.2,
    )


def test_integers_are_refused_under_autocast_too(backend: Backend) -> None:
    input = torch.ones(2, 2, dtype=torch.int64, device=backend.device)
    with torch.autocast(backend.device, torch.bfloat16), pytest.raises(TypeError, match=r"input .*int64"):
        fastgan.linear_leaky_relu(input, torch.ones(2, 2, device=backend.device))


def test_gradient_scaler(backend: Backend) -> None:
    """Scaled float16 gradients are unscaled exactly; a step whose gradients overflow is left out."""

    def train(loss_of: Callable[[Tensor], Tensor]) -> tuple[list[Tensor], list[float]]:
        torch.manual_seed(0)
        discriminator = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).to(backend.device)
        scaler = torch.amp.GradScaler(backend.device, init_scale=2.0**40)  # beyond float16
        optimizer = torch.optim.SGD(discriminator.parameters(), 0.1)
        scales = []
        for _ in range(40):
            optimizer.zero_grad()
            with torch.autocast(backend.device, torch.float16):
                loss = loss_of(discriminator(torch.randn(16, 6, device=backend.device)))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        return list(discriminator.parameters()), scales

    ours, scales = train(fastgan.generator_loss)
    theirs, expected = train(lambda f: F.binary_cross_entropy_with_logits(f, torch.ones_like(f)))
    assert scales == expected
    assert scales[0] == 2.0**39  # the first step overflowed
    assert scales[-1] == scales[-2]  # the last ones did not
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
