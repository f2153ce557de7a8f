"""A step whose networks are chains of layers runs without autograd, and is the same step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any, Literal

import pytest
import torch
from backends import BACKENDS, Backend
from changed_layers import CHANGES, Change, changed_pair
from conftest import as_parameters, running_on
from torch import Tensor, nn

from fastgan.models import MLPAutoencoder, MLPDiscriminator, MLPGenerator
from fastgan.nn import MLP
from fastgan.training import TrainConfig
from fastgan.training import state as states
from fastgan.training.capture import EagerSteps
from fastgan.training.generation import AutogradGeneration, ChainGeneration, generation_of
from fastgan.training.objectives.passes import AutogradPass, through
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.window import Window

CONFIG = TrainConfig(steps=24, batch_size=16, latent_dim=3, log_interval=8)
SETTINGS: dict[str, dict[str, Any]] = {
    "alternating": {},
    "saturating, label 0.9": {"generator_loss": "saturating", "real_label": 0.9},
    "simultaneous": {"update": "simultaneous"},
    "three turns of D": {"discriminator_steps": 3},
    "clipped": {"gradient_clip": 0.1},
    "packs": {"pack": 4},
    "SGD": {"optimizer": "sgd", "latent": "uniform"},
    "hinge": {"objective": "hinge"},
    "relativistic with R1 and R2": {
        "objective": "relativistic",
        "r1_gamma": 1.0,
        "r2_gamma": 1.0,
        "penalty_interval": 2,
        "discriminator_steps": 2,
    },
    "WGAN-GP": {"objective": "wasserstein", "gp_weight": 10.0, "penalty_interval": 1},
    "BEGAN": {"objective": "began", "diversity_ratio": 1.0, "balance_rate": 0.5},
}


class AnyGenerator(MLPGenerator):
    """The same network, which a step must take for one it does not know."""


class AnyDiscriminator(MLPDiscriminator):
    pass


class AnyAutoencoder(MLPAutoencoder):
    pass


def networks(config: TrainConfig, known: bool, bounded: bool) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    make = MLPGenerator if known else AnyGenerator
    generator = make(3, (1, 2, 2), [9, 7], bounded=bounded)
    if config.objective == "began":
        return generator, (MLPAutoencoder if known else AnyAutoencoder)((1, 2, 2), [5])
    shape = (config.pack, 2, 2)
    return generator, (MLPDiscriminator if known else AnyDiscriminator)(shape, [8, 6])


def data(dtype: torch.dtype, device: str) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(100, 1, 2, 2, generator=rng, dtype=torch.float64).to(device, dtype)


def trained(
    config: TrainConfig, known: bool, bounded: bool, dtype: torch.dtype
) -> tuple[TrainingState, Tensor]:
    generator, discriminator = (network.to(dtype) for network in networks(config, known, bounded))
    state = TrainingState(generator, discriminator, config)
    window = Window(state)
    source = Resident(data(dtype, config.device))
    expected = ChainGeneration if known else AutogradGeneration
    assert type(generation_of(state, source, 2)) is expected
    steps = EagerSteps(state, source, window)
    for _ in range(3):  # two of them with a penalty of interval 2
        steps.advance(1)
    return state, window.close()


@pytest.fixture
def latents_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = states.draw_latent
    monkeypatch.setattr(states, "draw_latent", lambda *arguments: draw(*arguments).double())


# Every setting with one kind of samples, points or images. The interpreter has those whose kernels differ.
_INTERPRETED = ("alternating", "saturating, label 0.9", "relativistic with R1 and R2", "BEGAN")


@pytest.mark.parametrize(
    ("settings", "bounded"),
    [
        pytest.param(settings, bounded, id=name, marks=[pytest.mark.long] * (name not in _INTERPRETED))
        for (name, settings), bounded in zip(SETTINGS.items(), cycle((False, True)))
    ],
)
def test_the_same_step(
    backend: Backend, latents_in_double: None, settings: dict[str, Any], bounded: bool
) -> None:
    """In float64, where nothing but the order of sums differs."""
    config = replace(CONFIG, **settings, device=backend.device)
    found, rows = trained(config, True, bounded, torch.float64)
    expected, expected_rows = trained(config, False, bounded, torch.float64)
    for name, t in expected.tensors().items():
        torch.testing.assert_close(found.tensors()[name], t, rtol=1e-9, atol=1e-11, msg=name)
    torch.testing.assert_close(rows, expected_rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("widths", [(4, 4, 4, 1), (1, 1, 1)], ids=["hidden layers", "the last layer too"])
@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
def test_layers_that_share_their_parameters(
    backend: Backend,
    latents_in_double: None,
    update: Literal["alternating", "simultaneous"],
    widths: tuple[int, ...],
) -> None:
    """Each adds to the gradient, whichever of them is written first."""

    class Called(nn.Module):
        """The same network, by autograd."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.network(x)
            return result

    def weights(wrap: Callable[[nn.Module], nn.Module]) -> list[Tensor]:
        torch.manual_seed(0)
        config = replace(CONFIG, update=update, latent_dim=widths[0], device=backend.device)
        generator, discriminator = (MLP([*widths[:-1], last]).double() for last in (widths[0], widths[-1]))
        for network in (generator, discriminator):
            pairs = zip(network.layers, network.layers[1:], strict=False)
            for one, other in pairs:
                if one.weight.shape == other.weight.shape:
                    other.weight, other.bias = one.weight, one.bias
        state = TrainingState(wrap(generator), wrap(discriminator), config)
        source = Resident(torch.randn(50, widths[0], dtype=torch.float64).to(backend.device))
        window = Window(state)
        for _ in range(4):
            EagerSteps(state, source, window).advance(1)
        return [p.detach() for network in (generator, discriminator) for p in network.parameters()]

    for ours, usual in zip(weights(lambda network: network), weights(Called), strict=True):
        torch.testing.assert_close(ours, usual, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kept", as_parameters([b for b in BACKENDS if b.name != "reference"]))
def test_the_first_step_of_a_lower_precision(kept: Backend, precision: str) -> None:
    """Gradients of a step, which Adam's first moment keeps where its decay is 0."""
    config = replace(CONFIG, precision=precision, device=kept.device, betas=(0.0, 0.999))

    def moments(name: str, known: bool, dtype: torch.dtype, config: TrainConfig) -> Tensor:
        with running_on(kept):
            generator, discriminator = (n.to(dtype) for n in networks(config, known, True))
            state = TrainingState(generator, discriminator, config)
            EagerSteps(state, Resident(data(dtype, config.device)), Window(state)).advance(1)
        return torch.cat([t.flatten() for key, t in state.tensors().items() if f"{name}.exp_avg." in key])

    for name in ("discriminator_optimizer", "generator_optimizer"):
        ours = moments(name, True, torch.float32, config).double()
        usual = moments(name, False, torch.float32, config).double()
        eps = 2**-8 if precision == "bf16" else 2**-23
        exact = moments(name, False, torch.float32, replace(config, precision="fp32")).double()
        if name == "generator_optimizer" and precision == "bf16":  # D has moved by another rounding before
            assert (ours - usual).norm() <= 0.2 * usual.norm()
        else:
            assert (ours - exact).norm() <= 2 * (usual - exact).norm() + 8 * eps * exact.norm()


def test_a_generator_of_another_dtype_than_the_data(latents_in_double: None) -> None:
    generator, discriminator = (n.double() for n in networks(CONFIG, True, False))
    state = TrainingState(generator, discriminator, CONFIG)
    source = Resident(data(torch.float32, "cpu"))
    assert type(generation_of(state, source, 2)) is AutogradGeneration


@pytest.fixture
def hooked() -> Iterator[tuple[nn.Module, list[str]]]:
    calls: list[str] = []
    generator, _ = networks(CONFIG, True, False)
    handle = generator.mlp.layers[0].register_forward_hook(lambda *_: calls.append("forward"))  # type: ignore[union-attr,operator,index]
    yield generator, calls
    handle.remove()


def test_a_generator_with_a_hook_is_called(hooked: tuple[nn.Module, list[str]]) -> None:
    generator, _ = hooked
    state = TrainingState(generator, networks(CONFIG, True, False)[1], CONFIG)
    assert type(generation_of(state, Resident(data(torch.float32, "cpu")), 2)) is AutogradGeneration


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # no latent requires a gradient
@pytest.mark.parametrize("changed", ["generator", "discriminator"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_layers_train_as_in_a_sequential(
    latents_in_double: None, change: Change, changed: Literal["generator", "discriminator"]
) -> None:
    """Hooks, norms, pruning, wrappers: neither the step nor its passes go around a layer."""
    config = replace(CONFIG, latent_dim=3, r1_gamma=1.0, penalty_interval=2)

    def of(player: str, features: list[int]) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        return changed_pair(features, change if player == changed else lambda layer: layer)

    results = []
    for generator, discriminator in zip(
        of("generator", [3, 6, 4]), of("discriminator", [4, 6, 1]), strict=True
    ):
        state = TrainingState(generator, discriminator, config)
        source = Resident(torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
        window = Window(state)
        for _ in range(4):
            EagerSteps(state, source, window).advance(1)
        results.append([t for network in (generator, discriminator) for t in network.state_dict().values()])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "change",
    [
        lambda layers: layers.append(nn.Tanh()),
        lambda layers: layers.__setitem__(0, nn.Sequential(layers[0])),
        lambda layers: layers.insert(1, nn.ReLU()),
    ],
    ids=["appended", "wrapped", "inserted"],
)
def test_an_mlp_of_other_layers_is_no_chain(change: Callable[[nn.ModuleList], object]) -> None:
    config = replace(CONFIG, latent_dim=5)
    state = TrainingState(MLP([5, 8, 4]), MLP([4, 8, 1]), config)
    for network in (state.generator, state.discriminator):
        change(network.layers)  # type: ignore[arg-type]
    source = Resident(torch.randn(50, 4))
    assert type(generation_of(state, source, 2)) is AutogradGeneration
    assert type(through(state.discriminator, torch.randn(3, 4))) is AutogradPass
    EagerSteps(state, source, Window(state)).advance(1)


def test_an_mlp_is_a_chain_too() -> None:
    config = replace(CONFIG, latent_dim=5)
    state = TrainingState(MLP([5, 8, 4]), MLP([4, 8, 1]), config)
    source = Resident(torch.randn(50, 4))
    assert type(generation_of(state, source, 2)) is ChainGeneration
    EagerSteps(state, source, Window(state)).advance(1)


def test_turns_of_d_share_one_buffer() -> None:
    """A turn's real samples lie in front of its generated ones, and those of G's turn behind all."""
    config = replace(CONFIG, discriminator_steps=2)
    state = TrainingState(*networks(config, True, False), config)
    generation = generation_of(state, Resident(data(torch.float32, "cpu")), 3)
    size = config.batch_size * 4 * 4
    begin = None
    for turn in range(2):
        real, fake = generation.batches(turn)
        begin = real.data_ptr() if begin is None else begin
        assert (real.data_ptr() - begin, fake.data_ptr() - begin) == (turn * size, (turn + 1) * size)
    assert generation.batch_of_generator().data_ptr() - begin == 3 * size
