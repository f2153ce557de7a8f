"""Gradient penalties, compared with formulas in plain PyTorch and float64."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fastgan
from fastgan import penalties
from fastgan.chains import one_call


def sequential(slope: float = 0.2, *, relu: bool = False, flatten: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()] if flatten else []
    for n_in, n_out in ((6, 8), (8, 5)):
        layers += [nn.Linear(n_in, n_out), nn.ReLU() if relu else nn.LeakyReLU(slope)]
    return nn.Sequential(*layers, nn.Linear(5, 1)).double()


def patches() -> nn.Module:
    """Logits of patches, not a chain."""
    layers = nn.Conv1d(1, 4, 3), nn.LeakyReLU(0.1), nn.Conv1d(4, 1, 2)
    return nn.Sequential(nn.Unflatten(1, (1, 6)), *layers).double()


DISCRIMINATORS: dict[str, Callable[[], nn.Module]] = {
    "chain": sequential,
    "chain of relu": lambda: sequential(relu=True),
    "chain, fused": lambda: fastgan.fuse(sequential()),
    "MLP": lambda: fastgan.nn.MLP([6, 8, 5, 1]).double(),
    "patches": patches,
}


def slope_of(net: Callable[..., Tensor], x: Tensor, *conditions: Any) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(net(x, *conditions).sum(), x, create_graph=True)[0]


def usual_r1(net: Callable[..., Tensor], x: Tensor, weight: float, *conditions: Any) -> Tensor:
    return weight / 2 * slope_of(net, x, *conditions).pow(2).sum(1).mean()


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    parameters = list(net.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def compare(ours: Tensor, theirs: Tensor, net: nn.Module) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    for pair in zip(gradients(ours, net), gradients(theirs, net), strict=True):
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_r1_and_r2(make: Callable[[], nn.Module]) -> None:
    net, x = make(), torch.randn(7, 6, dtype=torch.float64)
    compare(penalties.r1(net, x, 3.0), usual_r1(net, x, 3.0), net)
    compare(penalties.r2(net, x.requires_grad_(), 3.0), usual_r1(net, x, 3.0), net)
    assert x.grad is None


@pytest.mark.parametrize("pack", [1, 3])
@pytest.mark.parametrize("make", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_wgan_gp(make: Callable[[], nn.Module], pack: int) -> None:
    net = make()
    real, fake = (torch.randn(6, 6, dtype=torch.float64) for _ in range(2))
    generator = torch.Generator().manual_seed(3)
    ours = penalties.wgan_gp(net, real, fake, 10.0, pack=pack, generator=generator)
    share = torch.rand(6 // pack, 1, generator=generator.manual_seed(3), dtype=torch.float64)
    share = share.repeat_interleave(pack, 0)
    slope = slope_of(net, share * real + (1 - share) * fake)
    compare(ours, 10 * (slope.reshape(6 // pack, -1).norm(2, dim=1) - 1).square().mean(), net)


def test_dragan() -> None:
    net, real = sequential(), torch.randn(6, 6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    ours = penalties.dragan(net, real, 2.0, generator=generator)
    generator.manual_seed(3)
    noise = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    share = torch.rand(6, 1, generator=generator, dtype=torch.float64)
    slope = slope_of(net, real + share * real.std() / 2 * noise)
    compare(ours, 2 * (slope.norm(2, dim=1) - 1).square().mean(), net)


@pytest.mark.parametrize("penalty", [penalties.approximate_r1, penalties.approximate_r2])
def test_approximate(penalty: Callable[..., Tensor]) -> None:
    net, x = patches(), torch.randn(6, 6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    ours = penalty(net, x, 5.0, noise_std=0.3, generator=generator)
    noise = torch.randn(6, 6, generator=generator.manual_seed(3), dtype=torch.float64)
    compare(ours, 5 * (net(x) - net(x + 0.3 * noise)).square().mean(), net)


def test_the_approximation_tends_to_the_squared_slope() -> None:
    net, x = nn.Linear(6, 1).double(), torch.zeros(100_000, 6, dtype=torch.float64)
    ours = penalties.approximate_r1(net, x, 1 / 0.01**2, noise_std=0.01)
    torch.testing.assert_close(ours, net.weight.square().sum(), rtol=0.05, atol=0)


def test_a_slope_of_zero_has_a_finite_gradient() -> None:
    net = sequential()
    with torch.no_grad():
        net[-1].weight.zero_()
    real, fake = (torch.randn(4, 6, dtype=torch.float64) for _ in range(2))
    loss = penalties.wgan_gp(net, real, fake)
    assert loss == 10
    assert all(g.isfinite().all() for g in gradients(loss, net))


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes = nn.Linear(6, 5), nn.Embedding(3, 5)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        return (h * self.classes(labels)).sum(1)


def test_conditions() -> None:
    net, x, labels = (
        Conditional().double(),
        torch.randn(4, 6, dtype=torch.float64),
        torch.tensor([0, 1, 2, 0]),
    )
    compare(penalties.r1(net, x, 2.0, conditions=(labels,)), usual_r1(net, x, 2.0, labels), net)


@pytest.mark.parametrize("as_list", [list, tuple, nn.ModuleList])
def test_several_discriminators(as_list: Callable[[list[nn.Module]], Any]) -> None:
    net, x = nn.ModuleList([sequential(), patches()]), torch.randn(4, 6, dtype=torch.float64)
    compare(
        penalties.r1(as_list(list(net)), x, 2.0), usual_r1(net[0], x, 2.0) + usual_r1(net[1], x, 2.0), net
    )


def test_lazy_intervals() -> None:
    net, x = sequential(), torch.randn(4, 6, dtype=torch.float64)
    compare(penalties.r1(net, x, 2.0, interval=16, step=32), 16 * usual_r1(net, x, 2.0), net)

    def never(_: Tensor) -> Tensor:
        raise AssertionError("called on a step without penalty")

    for penalty in (penalties.r1, penalties.r2, penalties.dragan, penalties.approximate_r1):
        assert penalty(never, x, 2.0, interval=16, step=33) == 0
    assert penalties.wgan_gp(never, x, x, interval=2, step=1) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_squared_in_float32(dtype: torch.dtype) -> None:
    """The square of a slope of 300 is beyond float16."""
    net = nn.Linear(4, 1, bias=False, dtype=dtype)
    nn.init.constant_(net.weight, 300.0)
    penalty = penalties.r1(net, torch.zeros(2, 4, dtype=dtype), 2.0)
    assert penalty.dtype is torch.float32
    assert penalty == 4 * 300.0**2


def test_autocast() -> None:
    net, x = sequential().float(), torch.randn(7, 6)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = penalties.r1(net, x, 2.0)
    torch.testing.assert_close(penalty, usual_r1(net, x, 2.0), rtol=0.05, atol=0)
    assert all(g.isfinite().all() for g in gradients(penalty, net))


def test_a_discriminator_that_normalizes_its_batch_is_warned_of_once() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    x = torch.randn(4, 6)
    with pytest.warns(UserWarning, match="discriminator normalizes its batch in BatchNorm1d '1'") as found:
        penalties.r1(net, x)
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        penalties.r1(net, x)
        penalties.r1(nn.Sequential(*net).eval(), x)


CHAINS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "sequential": (sequential, True),
    "relu": (lambda: sequential(relu=True), True),
    "flattened": (lambda: sequential(flatten=True), True),
    "fused": (lambda: fastgan.fuse(sequential()), True),
    "identities between": (lambda: nn.Sequential(nn.Identity(), *sequential(), nn.Identity()), True),
    "one layer": (lambda: nn.Sequential(nn.Linear(6, 1)), False),
    "no activation": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 1)), False),
    "two slopes": (lambda: nn.Sequential(*sequential(0.1)[:2], *sequential(0.2)[2:]), False),
    "ends with an activation": (lambda: sequential()[:-1], False),
    "two activations": (lambda: nn.Sequential(*sequential()[:2], nn.ReLU(), *sequential()[2:]), False),
    "dropout": (lambda: nn.Sequential(*sequential()[:2], nn.Dropout(), *sequential()[2:]), False),
    "convolutions": (patches, False),
}


@pytest.mark.parametrize(("make", "is_chain"), CHAINS.values(), ids=CHAINS)
def test_chains(make: Callable[[], nn.Module], is_chain: bool) -> None:
    net = make()
    chain = one_call(net)
    assert (chain is not None) == is_chain
    if chain is not None:
        x = torch.randn(4, 6, dtype=torch.float64)
        torch.testing.assert_close(chain(x), net(x))


def test_hooked_and_parametrized_layers_are_called() -> None:
    for change in (
        lambda net: net[0].register_forward_hook(lambda *_: None),
        lambda net: nn.utils.parametrizations.weight_norm(net[2]),
        lambda net: net.register_forward_pre_hook(lambda *_: None),
    ):
        net = sequential()
        change(net)
        assert one_call(net) is None


def images_of(styles: Tensor) -> Tensor:
    """A curved function from styles [N, D] or [N, L, D] to images [N, 3, 2, 4]."""
    weight = torch.linspace(-1, 1, 24 * styles.shape[-1], dtype=styles.dtype).view(-1, 24)
    return (styles @ weight).tanh().view(len(styles), -1, 3, 2, 4).sin().sum(1)


@pytest.mark.parametrize("layers", [0, 3])
@pytest.mark.parametrize("interval", [1, 4])
def test_path_length(layers: int, interval: int) -> None:
    """Equals the squared difference of the lengths and their moving mean, which has no gradient.

    The lengths are of Jacobians that are computed one by one.
    """
    shape = (5, layers, 6) if layers else (5, 6)
    net = nn.Linear(6, 6).double()
    latent, mean = torch.randn(shape, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    noise = torch.randn(5, 3, 2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = penalties.path_length(
        images_of,
        net(latent),
        mean,
        3.0,
        decay=0.9,
        interval=interval,
        step=8,
        generator=torch.Generator().manual_seed(3),
    )
    squares = []
    for style, direction in zip(net(latent), noise, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda w: images_of(w[None])[0], style, create_graph=True
        )
        product = torch.tensordot(direction, jacobian, 3) / math.sqrt(2 * 4)
        squares.append(product.pow(2).sum(-1).mean())
    lengths = torch.stack(squares).sqrt()
    moved = 0.9 * 0.7 + 0.1 * lengths.mean().item()
    assert mean.item() == pytest.approx(moved, rel=1e-12)
    compare(ours, 3.0 * interval * (lengths - moved).pow(2).mean(), net)
    assert penalties.path_length(images_of, net(latent), mean, interval=4, step=9).item() == 0
    assert mean.item() == pytest.approx(moved, rel=1e-12)


def test_path_length_of_styles_without_a_gradient() -> None:
    """It reaches the parameters of the synthesis, and an image that does not move has a gradient of zero."""
    net, mean = nn.Linear(6, 12), torch.zeros(())
    penalties.path_length(lambda w: net(w).view(-1, 3, 2, 2), torch.randn(4, 6), mean).backward()
    assert net.weight.grad is not None
    assert net.weight.grad.abs().sum() > 0
    nn.init.zeros_(net.weight)
    net.zero_grad()
    penalties.path_length(lambda w: net(w).view(-1, 3, 2, 2), torch.randn(4, 6), mean).backward()
    assert net.weight.grad is not None
    assert not net.weight.grad.any()


X = torch.randn(4, 6)
PLAIN = nn.Linear(6, 1)
ERRORS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "negative weight": (
        lambda: penalties.r1(PLAIN, X, -1.0),
        ValueError,
        "weight must be finite",
    ),
    "nan weight": (lambda: penalties.dragan(PLAIN, X, math.nan), ValueError, "weight must be .* but is nan"),
    "interval": (
        lambda: penalties.r1(PLAIN, X, interval=0),
        ValueError,
        "interval must be a positive",
    ),
    "pack": (
        lambda: penalties.wgan_gp(PLAIN, X, X, pack=3),
        ValueError,
        "real has 4 samples, not a multiple of pack, 3",
    ),
    "shapes": (
        lambda: penalties.wgan_gp(PLAIN, X, X[:2]),
        ValueError,
        r"fake must have the shape of real, \(4, 6\), but has \(2, 6\)",
    ),
    "integers": (lambda: penalties.r2(PLAIN, X.long()), TypeError, "fake must be float32"),
    "several outputs": (
        lambda: penalties.r1(lambda x: (PLAIN(x), []), X),  # type: ignore[arg-type, return-value]
        TypeError,
        r"discriminator returned a tuple, expected a tensor of logits.* lambda x: D\(x\)\[0\]",
    ),
    "second of several": (
        lambda: penalties.r1([PLAIN, lambda x: None], X),  # type: ignore[list-item, arg-type, return-value]
        TypeError,
        r"discriminator\[1\] returned a NoneType",
    ),
    "no discriminators": (lambda: penalties.r1([], X), ValueError, "discriminator is an empty list"),
    "no function": (lambda: penalties.r1(3, X), TypeError, "discriminator must be .* but is int"),  # type: ignore[arg-type]
    "detached": (
        lambda: penalties.r1(lambda x: PLAIN(x.detach()), X),
        ValueError,
        "the output of discriminator does not depend on its input",
    ),
    "noise": (
        lambda: penalties.approximate_r1(PLAIN, X, noise_std=0.0),
        ValueError,
        "noise_std must be positive and finite, but is 0.0",
    ),
    "mean": (
        lambda: penalties.path_length(PLAIN, X, torch.zeros(1)),
        ValueError,
        r"mean must be a scalar tensor, but has shape \[1\]",
    ),
    "decay": (
        lambda: penalties.path_length(PLAIN, X, torch.zeros(()), decay=1.5),
        ValueError,
        "decay must be from 0 to 1, but is 1.5",
    ),
    "constant images": (
        lambda: penalties.path_length(lambda w: PLAIN(w.detach()), X, torch.zeros(())),
        ValueError,
        "the output of synthesis does not depend on its input",
    ),
    "no grad": (
        lambda: torch.no_grad()(penalties.r1)(PLAIN, X),
        RuntimeError,
        "a penalty needs gradients, which are disabled here",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
