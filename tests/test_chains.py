"""Chains of layers with any activations: recognition, gradients without autograd, and training."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from backends import VARIANTS, Backend
from conftest import as_parameters
from oracle import assert_as_exact
from torch import Tensor, nn

import fastgan
from fastgan import kernels
from fastgan.chains import Chain, chain_of
from fastgan.kernels.activations import Activation
from fastgan.kernels.logit_losses import LossSpec
from fastgan.models import (
    GoodfellowDiscriminator,
    Maxout,
    MLPDiscriminator,
    MLPGenerator,
    PacGANDiscriminator,
    PacGANGenerator,
)
from fastgan.nn import MLP, LinearLeakyReLU
from fastgan.training import TrainConfig
from fastgan.training import state as states
from fastgan.training.capture import EagerSteps
from fastgan.training.draws import CounterDraws
from fastgan.training.generation import AutogradGeneration, ChainGeneration, generation_of
from fastgan.training.mlp_pass import MLPPass
from fastgan.training.objectives.passes import AutogradPass, through, through_head
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.window import Window

Make = Callable[[], nn.Module]


def discriminator_of(*hidden: nn.Module, last: int = 1) -> nn.Sequential:
    """A chain of these hidden layers, from 6 features; each may be an activation, after 37 units."""
    modules: list[nn.Module] = []
    width = 6
    for each in hidden:
        if not isinstance(each, Maxout):
            modules.append(nn.Linear(width, 37))
        modules.append(each)
        width = 37
    return nn.Sequential(*modules, nn.Linear(width, last))


CURVED: dict[str, Make] = {
    "tanh": lambda: discriminator_of(nn.Tanh()),
    "sigmoid": lambda: discriminator_of(nn.Sigmoid(), nn.Sigmoid()),
    "all kinds": lambda: discriminator_of(
        nn.LeakyReLU(0.1), nn.Tanh(), Maxout(37, 37, 3), nn.Identity(), nn.Sigmoid(), nn.ReLU()
    ),
    "ends with a sigmoid": lambda: discriminator_of(nn.ReLU()).append(nn.Sigmoid()),
}
PIECEWISE: dict[str, Make] = {
    "maxout": lambda: discriminator_of(Maxout(6, 37, 5), Maxout(37, 37, 2)),
    "two slopes": lambda: discriminator_of(nn.LeakyReLU(0.3), nn.ReLU()),
    "maxout and ReLU": lambda: discriminator_of(nn.ReLU(), Maxout(37, 37, 1), Maxout(37, 37, 4)),
    "no activation": lambda: discriminator_of(nn.Identity(), nn.LeakyReLU(0.2)),
    "ends with a leaky ReLU": lambda: discriminator_of(Maxout(6, 37, 2)).append(nn.LeakyReLU(0.1)),
    "no biases": lambda: nn.Sequential(nn.Linear(6, 37, bias=False), nn.ReLU(), nn.Linear(37, 1, bias=False)),
}
CHAINS = CURVED | PIECEWISE


def made(make: Make, device: str) -> tuple[nn.Module, Tensor]:
    """A network, and samples of two batches, of 203 and 67 rows."""
    torch.manual_seed(0)
    return make().to(device), torch.randn(270, 6, device=device)


def grads(network: nn.Module) -> list[Tensor]:
    """What the parameters got, apart from biases without a gradient."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]


def by_autograd(network: nn.Module, dtype: torch.dtype, run: Callable[[nn.Module], Tensor]) -> list[Tensor]:
    """The result of a run in PyTorch with a copy of the network, and the parameters' gradients."""
    again = copy.deepcopy(network).to(dtype)
    return [run(again), *grads(again)]


def check(found: list[Tensor], network: nn.Module, run: Callable[[nn.Module], Tensor]) -> None:
    expected = (by_autograd(network, dtype, run) for dtype in (torch.float32, torch.float64))
    for each in zip(found, *expected, strict=True):
        assert_as_exact(*each)


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
def test_one_way_back(variant: Backend, make: Make) -> None:
    network, samples = made(make, variant.device)
    of_d, of_g = (torch.rand(rows, 1, device=variant.device) + 0.5 for rows in (270, 67))

    def run(net: nn.Module) -> Tensor:
        dtype = next(net.parameters()).dtype
        leaf = samples.to(dtype).requires_grad_()
        logits = net(leaf)
        logits.backward(of_d.to(dtype), retain_graph=True, inputs=list(net.parameters()))
        (at_samples,) = torch.autograd.grad(logits[203:], leaf, of_g.to(dtype))
        return at_samples[203:]

    expected_by = copy.deepcopy(network)
    seen = through(network, *samples.split([203, 67]), of_parameters=True, of_samples=True)
    assert isinstance(seen, MLPPass)
    reaching = seen.reach_both(of_d.split([203, 67]), of_g)
    check([reaching, *grads(network)], expected_by, run)

    alone = through(network, samples[203:], of_samples=True).reach_samples(of_g)
    torch.testing.assert_close(alone, reaching, rtol=1e-4, atol=1e-6)
    network.zero_grad()
    through(network, samples, of_parameters=True).reach_parameters([of_d])
    check([reaching, *grads(network)], expected_by, run)


@pytest.mark.parametrize("make", PIECEWISE.values(), ids=PIECEWISE)
def test_penalties_without_autograd(variant: Backend, make: Make) -> None:
    network, samples = made(make, variant.device)
    arriving = torch.randn_like(samples)

    def run(net: nn.Module) -> Tensor:
        dtype = next(net.parameters()).dtype
        leaf = samples.to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(net(leaf).sum(), leaf, create_graph=True)
        slope.backward(arriving.to(dtype), inputs=list(net.parameters()))
        return slope.detach()

    expected_by = copy.deepcopy(network)
    seen = through(network, samples, of_slope=True)
    assert isinstance(seen, MLPPass)
    slope = seen.slope()
    seen.reach_parameters_by_slope(arriving)
    check([slope, *grads(network)], expected_by, run)


@pytest.mark.parametrize("make", CURVED.values(), ids=CURVED)
def test_a_curved_activation_takes_a_penalty_with_autograd(make: Make) -> None:
    network, samples = made(make, "cpu")
    assert isinstance(through(network, samples, of_slope=True), AutogradPass)


def test_equal_pieces_share_the_gradient(variant: Backend) -> None:
    """As in PyTorch, forward and in a penalty.

    Numbers are short, so that sums are exact: equal pieces are then equal in whatever order a product adds.
    """
    torch.manual_seed(0)
    maxout = Maxout(6, 70, 3)
    network = nn.Sequential(maxout, nn.Linear(70, 1)).to(variant.device)
    with torch.no_grad():
        for part in maxout.linear.parameters():
            part.copy_((16 * part).round() / 16)
            first, second, third = part.view(3, 70, -1)
            second.copy_(first)
            third[:9].copy_(first[:9])
    samples = (4 * torch.randn(11, 6, device=variant.device)).round() / 4
    again = copy.deepcopy(network).double()
    leaf = samples.double().requires_grad_()
    (slope,) = torch.autograd.grad(again(leaf).sum(), leaf, create_graph=True)
    (slope.square().sum() + again(leaf).sum()).backward(inputs=list(again.parameters()))

    seen = through(network, samples, of_slope=True)
    assert isinstance(seen, MLPPass)
    found = seen.slope()
    seen.reach_parameters_by_slope(2 * found)
    seen.reach_parameters([torch.ones(11, 1, device=variant.device)])
    torch.testing.assert_close(found.double(), slope.detach(), rtol=1e-5, atol=1e-6)
    for ours, usual in zip(grads(network), grads(again), strict=True):
        torch.testing.assert_close(ours.double(), usual, rtol=1e-5, atol=1e-5)


KINDS = {"leaky_relu": 0.1, "tanh": 1.0, "sigmoid": 1.0}
on_each_instruction_set = pytest.mark.parametrize(
    "variant", as_parameters([each for each in VARIANTS if each.name == "cpu"]), indirect=True
)


@on_each_instruction_set
@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_an_activation_is_exact(variant: Backend, kind: Any) -> None:
    scales = [10.0**power for power in range(-40, 3)]
    z = torch.cat([torch.linspace(-scale, scale, 2001, dtype=torch.float64) for scale in scales]).float()
    z = torch.cat([z, torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])]).view(1, -1)
    y = kernels.choose(z).activate(z, Activation(kind))
    exact = getattr(torch, kind)(z.double())
    below = exact.abs().float()
    ulp = torch.nextafter(below, torch.tensor(2.0)) - below
    torch.testing.assert_close(y.isnan(), z.isnan())
    assert ((y.double() - exact).abs() / ulp).nan_to_num().max() <= 2
    if kind == "tanh":
        assert (y.signbit() == z.signbit()).all()


@on_each_instruction_set
@pytest.mark.parametrize("kind", KINDS)
def test_an_element_does_not_depend_on_its_place(variant: Backend, kind: Any) -> None:
    backend, activation = kernels.choose(torch.ones(1)), Activation(kind, KINDS[kind])
    z, grad = torch.randn(2, 1, 333)
    y = backend.activate(z, activation)
    dz, _ = backend.activation_backward(grad, None, y, activation, False)
    for first in range(0, 333, 7):
        part = slice(first, first + 1 + first % 70)
        assert backend.activate(z[:, part], activation).equal(y[:, part])
        alone, _ = backend.activation_backward(grad[:, part], None, y[:, part], activation, False)
        assert alone.equal(dz[:, part])


@pytest.mark.parametrize("middle", [nn.Sigmoid, nn.ReLU])
def test_the_number_of_threads_changes_nothing(middle: type[nn.Module]) -> None:
    torch.manual_seed(0)
    modules = nn.Linear(32, 200), nn.LeakyReLU(0.1), Maxout(200, 150, 3), nn.Linear(150, 64), middle()
    network = nn.Sequential(*modules, nn.Linear(64, 1))
    samples = torch.randn(700, 32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            network.zero_grad(set_to_none=True)
            seen = through(network, samples, of_parameters=True, of_samples=True)
            assert isinstance(seen, MLPPass)
            reaching = seen.reach_both([torch.ones(700, 1)], torch.ones(700, 1))
            if middle is nn.ReLU:
                seen.reach_parameters_by_slope(seen.slope())
            results.append([*seen.outputs, reaching, *grads(network)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


LEAKY = Activation("leaky_relu", 0.2)
TANH = Activation("tanh")
NETWORKS: dict[str, tuple[Make, list[Activation], tuple[int, ...], bool]] = {
    "MLP": (lambda: MLP([3, 5, 4]), [LEAKY, Activation("none")], (4,), False),
    "MLPGenerator": (
        lambda: MLPGenerator(3, (1, 2, 2), [5], bounded=True),
        [LEAKY, TANH],
        (1, 2, 2),
        False,
    ),
    "MLPDiscriminator": (lambda: MLPDiscriminator((2, 2), [5]), [LEAKY, Activation("none")], (1,), True),
    "PacGANDiscriminator": (
        lambda: PacGANDiscriminator((2, 2), [5]),
        [Activation("maxout", pieces=5), Activation("none")],
        (1,),
        True,
    ),
    "nested": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.ReLU(inplace=True), nn.Identity())),
            MLP([6, 5, 4]),
            nn.Sigmoid(),
            nn.Flatten(),
            LinearLeakyReLU(4, 12, negative_slope=0.3),
            nn.Unflatten(1, (3, -1)),
        ),
        [Activation("leaky_relu", 0.0), LEAKY, Activation("sigmoid"), Activation("leaky_relu", 0.3)],
        (3, 4),
        True,
    ),
    "tanh after a change of shape": (
        lambda: nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (2, 2)), nn.Tanh()),
        [TANH],
        (2, 2),
        False,
    ),
    "fused": (
        lambda: fastgan.fuse(nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.2), nn.Linear(3, 1))),
        [LEAKY, Activation("none")],
        (1,),
        False,
    ),
}


@pytest.mark.parametrize(("make", "activations", "shape", "flattens"), NETWORKS.values(), ids=NETWORKS)
def test_a_chain(make: Make, activations: list[Activation], shape: tuple[int, ...], flattens: bool) -> None:
    network = make()
    chain = chain_of(network)
    assert isinstance(chain, Chain)
    assert [layer.activation for layer in chain.layers] == activations
    assert chain.sample_shape == shape
    assert chain.flattens == flattens
    linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [layer.linear for layer in chain.layers] == linears
    samples = torch.randn(7, linears[0].in_features)
    seen = MLPPass.of([samples], chain)
    torch.testing.assert_close(seen.outputs[0].view(7, *shape), network(samples))


def changed(change: Callable[[nn.Sequential], object]) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())
    change(net)
    return net


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def share(net: nn.Sequential) -> None:
    net[2].weight = net[0].weight


def wrapped() -> MLP:
    mlp = MLP([4, 4, 1])
    mlp.layers[0] = nn.Sequential(mlp.layers[0])
    return mlp


OTHERS: dict[str, tuple[Callable[[], object], str]] = {
    "a function": (lambda: torch.tanh, "the network is a builtin_function_or_method"),
    "batch norm": (lambda: changed(lambda n: n.insert(1, nn.BatchNorm1d(4))), "1 is a BatchNorm1d"),
    "dropout": (lambda: changed(lambda n: n.insert(2, nn.Dropout())), "2 is a Dropout"),
    "a subclass": (lambda: changed(lambda n: n.insert(2, Doubled(4, 4))), "2 is a Doubled"),
    "within": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.GELU())),
        "1.1 is a GELU",
    ),
    "maxout with dropout": (lambda: GoodfellowDiscriminator((4,), [5]), "the network is a Goodfellow"),
    "a Sequential of its own": (lambda: PacGANGenerator(3, (2,), [5]), "the network is a PacGANGenerator"),
    "nothing": (lambda: nn.Sequential(nn.Flatten()), "the network has no linear layer"),
    "activation first": (lambda: changed(lambda n: n.insert(0, nn.Tanh())), "0 comes before the first"),
    "two activations": (lambda: changed(lambda n: n.insert(2, nn.Tanh())), "2 follows another activation"),
    "a slope below zero": (
        lambda: changed(lambda n: n.__setitem__(1, nn.LeakyReLU(-0.5))),
        "1 has a negative slope of -0.5",
    ),
    "a hook": (lambda: changed(lambda n: n[1].register_forward_hook(lambda *_: None)), "1 has a hook"),
    "a hook on a weight": (
        lambda: changed(lambda n: next(n[2].parameters()).register_hook(lambda g: g)),
        "the weight of 2 has a hook",
    ),
    "a forward of its own": (
        lambda: changed(lambda n: setattr(n[0], "forward", torch.tanh)),
        "0 has a hook, or a forward of its own",
    ),
    "weight norm": (
        lambda: changed(lambda n: nn.utils.parametrizations.weight_norm(n[2])),
        "2 is a ParametrizedLinear",
    ),
    "a shared weight": (lambda: changed(share), "2 shares its weight with 0"),
    "a layer twice": (lambda: changed(lambda n: n.__setitem__(2, n[0])), "2 shares its weight with 0"),
    "two dtypes": (
        lambda: changed(lambda n: n.insert(4, nn.Linear(4, 4).double())),
        "the weight of 4 is torch.float64, and that of 0 is torch.float32",
    ),
    "a part of each sample": (
        lambda: changed(lambda n: n.insert(2, nn.Unflatten(1, (2, 2)))),
        r"3 acts on a part of each sample, of shape \(2, 2\)",
    ),
    "other dimensions": (lambda: changed(lambda n: n.append(nn.Flatten(0))), "4 flattens dimensions 0 to -1"),
    "a wrong shape": (
        lambda: changed(lambda n: n.append(nn.Unflatten(1, (3, 2)))),
        r"4 makes samples of shape \(3, 2\) from 4 features",
    ),
    "an MLP's wrapped layer": (wrapped, "layers.0 is a Sequential"),
}


@pytest.mark.parametrize(("make", "reason"), OTHERS.values(), ids=OTHERS)
def test_no_chain(make: Callable[[], object], reason: str) -> None:
    found = chain_of(make())
    assert isinstance(found, str)
    assert re.match(reason, found), found


def test_samples_that_are_no_rows_are_left_to_the_network() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
    assert isinstance(through(network, torch.randn(3, 2, 4)), AutogradPass)
    flattened = nn.Sequential(nn.Flatten(), nn.Linear(8, 1))
    assert isinstance(through(flattened, torch.randn(3, 2, 4)), MLPPass)
    last = nn.Sequential(nn.Linear(4, 5), Maxout(5, 1, 2))
    assert isinstance(through(last, torch.randn(3, 4)), AutogradPass)


class Called(nn.Module):
    """A network that a step does not look into."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.network(x)
        return result


def leaky() -> nn.Sequential:
    modules = nn.Linear(4, 8), nn.LeakyReLU(0.1), nn.Linear(8, 6), nn.LeakyReLU(0.2)
    return nn.Sequential(nn.Flatten(), *modules, nn.Linear(6, 1))


def with_maxout() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), Maxout(4, 8, 3), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))


SETTINGS: dict[str, dict[str, Any]] = {
    "alternating": {"r1_gamma": 1.0, "penalty_interval": 2},
    "simultaneous": {"update": "simultaneous", "r1_gamma": 1.0, "r2_gamma": 1.0, "penalty_interval": 2},
    "WGAN-GP": {
        "objective": "wasserstein",
        "gp_weight": 10.0,
        "penalty_interval": 1,
        "discriminator_steps": 2,
    },
    "relativistic": {"objective": "relativistic"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("discriminator", [leaky, with_maxout])
def test_a_step_is_that_of_autograd(
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    discriminator: Callable[[], nn.Sequential],
    settings: dict[str, Any],
) -> None:
    """In float64, where nothing but the order of sums differs."""
    config = TrainConfig(steps=24, batch_size=16, latent_dim=3, log_interval=8, device=backend.device)
    config = replace(config, **settings)
    draw = states.draw_latent
    monkeypatch.setattr(states, "draw_latent", lambda *arguments: draw(*arguments).double())
    data = torch.randn(60, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for is_chain in (True, False):
        torch.manual_seed(0)
        modules = nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 7), nn.Sigmoid(), nn.Linear(7, 4), nn.Tanh()
        g, d = nn.Sequential(*modules, nn.Unflatten(1, (1, 2, 2))).double(), discriminator().double()
        state = TrainingState(g if is_chain else Called(g), d if is_chain else Called(d), config)
        state.draws = CounterDraws(config.seed, state.clock)
        source, window = Resident(data.to(backend.device)), Window(state)
        expected = ChainGeneration if is_chain else AutogradGeneration
        assert type(generation_of(state, source, 2)) is expected
        for _ in range(4):
            EagerSteps(state, source, window).advance(1)
        results.append([*g.state_dict().values(), *d.state_dict().values()])
    for ours, usual in zip(*results, strict=True):
        torch.testing.assert_close(ours, usual, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
def test_the_head_of_a_chain(backend: Backend, make: Make) -> None:
    """On backends with a kernel for the last layer and the loss, which must be linear."""
    network, samples = made(make, backend.device)
    expected_by = copy.deepcopy(network)
    spec = LossSpec("bce", (1.0, 0.0), (1.0, 0.25), True)  # with equal weights, derivatives cancel
    seen = through_head(network, *samples.split([203, 67]), spec=spec)
    is_linear = isinstance(network[-1], nn.Linear)  # type: ignore[index]
    assert (seen is not None) == (is_linear and not kernels.choose(samples).chains_layers)
    if seen is None:
        return

    def run(net: nn.Module) -> Tensor:
        of_real, of_fake = net(samples.to(next(net.parameters()).dtype)).split([203, 67])
        loss = nn.functional.softplus(-of_real).mean() + 0.25 * nn.functional.softplus(of_fake).mean()
        loss.backward()
        return loss.detach()

    seen.reach_parameters()
    check([seen.loss, *grads(network)], expected_by, run)


ENDS: dict[str, Make] = {
    "linear": lambda: nn.Linear(9, 4),
    "tanh": lambda: nn.Sequential(nn.Linear(9, 4), nn.Tanh()),
    "sigmoid": lambda: nn.Sequential(nn.Linear(9, 4), nn.Sigmoid()),
    "maxout": lambda: Maxout(9, 4, 2),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_generator_under_autocast(backend: Backend, end: Make) -> None:
    """It makes float32 samples, within bfloat16's precision of those of the network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), end()).to(backend.device)
    config = TrainConfig(steps=8, batch_size=16, latent_dim=3, precision="bf16", device=backend.device)
    state = TrainingState(network, MLP([4, 5, 1]).to(backend.device), config)
    source = Resident(torch.randn(60, 4, device=backend.device))
    state.draws.begin_step(False)
    with torch.autocast(backend.device, torch.bfloat16, cache_enabled=False):
        made = generation_of(state, source, 1)
    assert type(made) is ChainGeneration
    samples, grad = made.batch_of_generator(), torch.randn(16, 4, device=backend.device)
    assert samples.dtype is torch.float32
    made.reach_parameters(grad)
    found = grads(network)
    network.zero_grad(set_to_none=True)
    latents = made._seen.seen.input.float()
    network(latents).backward(grad)
    torch.testing.assert_close(samples, network(latents).detach(), rtol=0.02, atol=0.02)
    for ours, usual in zip(found, grads(network), strict=True):
        assert (ours - usual).norm() <= 0.05 * usual.norm()
