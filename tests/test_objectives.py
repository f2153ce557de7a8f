"""Objectives against autograd on the formulas of their papers, and what D is shown."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from oracle import eager_discriminator_loss, eager_generator_loss, softplus
from torch import Tensor, nn

from fastgan.data import load
from fastgan.kernels.logit_losses import LOSSES
from fastgan.models import MLPAutoencoder, MLPDiscriminator
from fastgan.nn import MLP
from fastgan.penalties import around, between
from fastgan.training import ConfigError, TrainConfig, Trainer
from fastgan.training.distributed import World
from fastgan.training.objectives import OBJECTIVES
from fastgan.training.objectives.began import BEGAN
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.objectives.penalty import lipschitz_penalty_turn, penalty_turn
from fastgan.training.objectives.relativistic import Relativistic
from fastgan.training.setting import OBJECTIVE_NAMES
from fastgan.training.state import TrainingState, packed

if TYPE_CHECKING:
    from conftest import Python

CONFIG = TrainConfig(steps=4, batch_size=16, latent_dim=3, log_interval=2)
CPU = torch.device("cpu")
DISCRIMINATORS = {
    "MLP": lambda: MLP([6, 9, 1]),
    "another network": lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Linear(9, 1)),
}


def expected_gradients(discriminator: nn.Module, real: Tensor, latent: Tensor) -> tuple[Tensor, ...]:
    """Of the relativistic losses: D's losses by its parameters, G's by what is behind the samples."""
    lead = discriminator(real) - discriminator(latent.tanh())
    of_d = torch.autograd.grad(
        softplus(-lead).mean(), list(discriminator.parameters()), retain_graph=True, allow_unused=True
    )
    (of_g,) = torch.autograd.grad(softplus(lead).mean(), latent)
    return (*(torch.zeros(()) if g is None else g for g in of_d), of_g, lead.detach())


@pytest.mark.parametrize("together", [False, True], ids=["alternating", "simultaneous"])
@pytest.mark.parametrize("make", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_relativistic_pairs(make: Any, together: bool) -> None:
    torch.manual_seed(0)
    discriminator = make().double()
    real = torch.randn(5, 6, dtype=torch.float64)
    latent = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    *expected, of_g, lead = expected_gradients(copy.deepcopy(discriminator), real, latent)
    objective = Relativistic()
    fake = latent.tanh()
    if together:
        grad, statistics = objective.both_turns(discriminator, real, fake)
    else:
        statistics = objective.discriminator_turn(discriminator, real, fake)
        before = [p.grad.clone() for p in discriminator.parameters() if p.grad is not None]
        grad, of_generator = objective.generator_turn(discriminator, real, fake)
        statistics |= of_generator
        assert all(map(torch.equal, before, [p.grad for p in discriminator.parameters()]))
    fake.backward(grad)
    assert set(statistics) == set(objective.statistics)
    torch.testing.assert_close(statistics["loss_D"], softplus(-lead).mean())
    torch.testing.assert_close(statistics["loss_G"], softplus(lead).mean())
    torch.testing.assert_close(statistics["D(x, G(z))"].double(), lead.sigmoid().mean())
    torch.testing.assert_close(latent.grad, of_g, rtol=1e-12, atol=1e-14)
    for parameter, grad in zip(discriminator.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad.expand_as(parameter), rtol=1e-12, atol=1e-14)


def losses_of(name: str, r: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """D's and G's, as their papers have them."""
    if name == "relativistic-average":
        return (
            softplus(f.mean() - r).mean() + softplus(f - r.mean()).mean(),
            softplus(r.mean() - f).mean() + softplus(r - f.mean()).mean(),
        )
    of_d = eager_discriminator_loss(r, f, loss=name)
    assert isinstance(of_d, Tensor)
    return of_d, eager_generator_loss(f, loss=name)


@pytest.mark.parametrize("together", [False, True], ids=["alternating", "simultaneous"])
@pytest.mark.parametrize("name", [*LOSSES, "relativistic-average"])
@pytest.mark.parametrize("make", [DISCRIMINATORS["MLP"], DISCRIMINATORS["batch norm"]])
def test_losses_by_name(make: Any, name: str, together: bool) -> None:
    torch.manual_seed(0)
    discriminator = make().double()
    reference = copy.deepcopy(discriminator)
    real = torch.randn(5, 6, dtype=torch.float64)
    latent = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    loss_d, loss_g = losses_of(name, reference(real), reference(latent.tanh()))
    weights = list(reference.parameters())
    of_d = torch.autograd.grad(loss_d, weights, retain_graph=True, allow_unused=True)
    (of_g,) = torch.autograd.grad(loss_g, latent)
    objective = OBJECTIVES[name](replace(CONFIG, objective=name), CPU, World())
    fake = latent.tanh()
    if together:
        grad, statistics = objective.both_turns(discriminator, real, fake)
    else:
        statistics = objective.discriminator_turn(discriminator, real, fake)
        grad, of_generator = objective.generator_turn(discriminator, real, fake)
        statistics |= of_generator
    fake.backward(grad)
    torch.testing.assert_close(statistics["loss_D"], loss_d.detach())
    torch.testing.assert_close(statistics["loss_G"], loss_g.detach())
    torch.testing.assert_close(latent.grad, of_g, rtol=1e-12, atol=1e-14)
    for parameter, grad in zip(discriminator.parameters(), of_d, strict=True):
        expected = torch.zeros_like(parameter) if grad is None else grad
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-12, atol=1e-14)


def test_a_difference_of_large_half_precision_logits_is_exact() -> None:
    real, fake = (torch.full((4, 1), value, dtype=torch.bfloat16) for value in (300.0, 302.0))
    with torch.autocast("cpu", torch.bfloat16):
        grad_real, grad_fake, statistics = Relativistic().discriminator_loss(real, fake)
    assert grad_real.dtype is grad_fake.dtype is torch.bfloat16
    torch.testing.assert_close(statistics["loss_D"], softplus(torch.tensor(2.0)))


AUTOENCODERS = {
    "autoencoder": lambda: MLPAutoencoder((6,), [9, 3]),
    "another network": lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 6)),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Linear(9, 6)),
}


def began(**settings: Any) -> BEGAN:
    return BEGAN(**{"diversity_ratio": 0.5, "balance_rate": 0.1, "device": CPU, "world": World(), **settings})


def l1(discriminator: nn.Module, samples: Tensor) -> Tensor:
    return (samples - discriminator(samples)).abs().mean()


@pytest.mark.parametrize("together", [False, True], ids=["alternating", "simultaneous"])
@pytest.mark.parametrize("make", AUTOENCODERS.values(), ids=AUTOENCODERS)
def test_began(make: Any, together: bool) -> None:
    """Gradients, k and M against the formulas: L_D = L(x) - k L(G(z)), L_G = L(G(z))."""
    torch.manual_seed(0)
    discriminator = make().double()
    reference = copy.deepcopy(discriminator)
    real = torch.randn(5, 6, dtype=torch.float64)
    latent = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    objective = began(diversity_ratio=0.7)
    objective.k.fill_(0.25)
    of_real, of_fake = l1(reference, real), l1(reference, latent.tanh())
    weights = list(reference.parameters())
    of_d = torch.autograd.grad(of_real - 0.25 * of_fake, weights, retain_graph=True)
    (of_g,) = torch.autograd.grad(of_fake, latent)
    fake = latent.tanh()
    if together:
        grad, statistics = objective.both_turns(discriminator, real, fake)
    else:
        statistics = objective.discriminator_turn(discriminator, real, fake)
        before = [p.grad.clone() for p in discriminator.parameters()]
        grad, of_generator = objective.generator_turn(discriminator, real, fake)
        statistics |= of_generator
        assert all(map(torch.equal, before, [p.grad for p in discriminator.parameters()]))
    fake.backward(grad)
    lead = (0.7 * of_real - of_fake).item()
    expected = {
        "loss_D": (of_real - 0.25 * of_fake).item(),
        "loss_G": of_fake.item(),
        "k": 0.25 + 0.1 * lead,
        "M": of_real.item() + abs(lead),
        "L(x)": of_real.item(),
    }
    assert {name: t.item() for name, t in statistics.items()} == pytest.approx(expected, rel=1e-6)
    assert objective.k.item() == pytest.approx(expected["k"], rel=1e-6)
    torch.testing.assert_close(latent.grad, of_g, rtol=1e-12, atol=1e-14)
    for parameter, grad in zip(discriminator.parameters(), of_d, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("start", "rate", "end"), [(0.0, 10.0, 0.0), (0.9, -10.0, 1.0)])
def test_k_stays_within_0_and_1(start: float, rate: float, end: float) -> None:
    """Generated samples that D reconstructs worse than the real ones pull it down."""
    objective = began(balance_rate=rate)
    objective.k.fill_(start)
    objective.discriminator_turn(nn.Linear(6, 6), torch.zeros(4, 6), torch.full((4, 6), 9.0))
    assert objective.k.item() == end


def test_all_processes_move_k_by_the_losses_of_all() -> None:
    class Others(World):
        def mean(self, values: Tensor) -> Tensor:
            return torch.tensor([4.0, 1.0])

    objective = began(world=Others())
    statistics = objective.discriminator_turn(nn.Linear(6, 6), torch.randn(4, 6), torch.randn(4, 6))
    assert objective.k.item() == pytest.approx(0.1 * (0.5 * 4 - 1))
    assert statistics["M"].item() == 4 + 1


def test_an_autoencoder_under_autocast() -> None:
    """Its bfloat16 reconstructions meet the float32 samples."""
    discriminator = MLPAutoencoder((6,), [9, 3])
    fake = torch.randn(4, 6)
    objective = began()
    with torch.autocast("cpu", torch.bfloat16):
        objective.discriminator_turn(discriminator, torch.randn(4, 6), fake)
        alternating, _ = objective.generator_turn(discriminator, torch.randn(4, 6), fake)
        together, _ = objective.both_turns(discriminator, torch.randn(4, 6), fake)
    assert all(grad.dtype is fake.dtype and grad.isfinite().all() for grad in (alternating, together))
    assert all(p.grad.isfinite().all() for p in discriminator.parameters())


def test_what_began_says_of_a_trained_pair() -> None:
    real, fake = torch.randn(2300, 6), torch.randn(1200, 6)
    discriminator = nn.Linear(6, 6)
    found = began().evaluate(discriminator, real, fake)
    of_real, of_fake = l1(discriminator, real).item(), l1(discriminator, fake).item()
    expected = {"L(x)": of_real, "L(G(z))": of_fake, "M": of_real + abs(0.5 * of_real - of_fake)}
    assert found == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_reaches_the_loss() -> None:
    logits = torch.randn(8, 1), torch.randn(8, 1)
    *_, smoothed = LossObjective(real_label=0.9).discriminator_loss(*logits)
    expected = 0.9 * softplus(-logits[0]) + 0.1 * softplus(logits[0]) + softplus(logits[1])
    torch.testing.assert_close(smoothed["loss_D"], expected.mean())


NEW_LOSS = """
import sys
from dataclasses import replace
from fastgan import use_backend
from fastgan.kernels.logit_losses import LOSSES
LOSSES["quadratic"] = replace(LOSSES["least-squares"], generator="quadratic", lipschitz=True)
from fastgan.cli import main
codes = []
for options in ("--real-label 0.9 --r1-gamma 0", "--generator-loss saturating", "--help"):
    sys.argv[1:] = f"train --objective quadratic --steps 2 --out run {options}".split()
    try:
        with use_backend("reference"):
            main()
    except SystemExit as stop:
        codes.append(stop.code or 0)
print("codes", codes)
"""


def test_a_row_of_losses_is_all_that_training_needs(
    tmp_path: Path, python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains and warns; it refuses what the loss does not have; the help names it."""
    monkeypatch.chdir(tmp_path)
    done = python(NEW_LOSS, COLUMNS="200")
    assert "codes [0, 2, 0]" in done.stdout, done.stdout + done.stderr
    for said in (
        "nothing keeps D Lipschitz, which quadratic needs",
        "expected non-saturating for the quadratic objective",
        "only with bce, least-squares, mse or quadratic",
    ):
        assert said in done.stdout + done.stderr
    assert "objective: quadratic" in (tmp_path / "run" / "config.yaml").read_text()


def test_every_objective_has_a_name_and_says_what_it_logs() -> None:
    assert set(OBJECTIVES) == set(OBJECTIVE_NAMES)
    fake = torch.randn(4, 6)
    for name, make in OBJECTIVES.items():
        objective = make(replace(CONFIG, objective=name), CPU, World())
        discriminator = MLP([6, 9, 6 if name == "began" else 1])
        grad, statistics = objective.both_turns(discriminator, torch.randn(4, 6), fake)
        assert grad.shape == fake.shape, name
        assert set(statistics) == set(objective.statistics), name


def test_a_pack_is_seen_at_once() -> None:
    images = torch.arange(4 * 3 * 2 * 2.0).view(4, 3, 2, 2)
    shown = packed(images, 2)
    assert shown.shape == (2, 6, 2, 2)
    assert torch.equal(shown[1], torch.cat([images[2], images[3]]))
    assert packed(torch.zeros(6, 2), 3).shape == (2, 6)


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
@pytest.mark.parametrize("objective", ["bce", "relativistic"])
def test_packs_train(objective: str, update: str) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, objective=objective, update=update, pack=2, r1_gamma=0.1, r2_gamma=0.1)  # type: ignore[arg-type]
    seen: list[tuple[int, ...]] = []
    discriminator = MLPDiscriminator((4,), [8])
    discriminator.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    state = Trainer(MLP([3, 8, 2]), discriminator, config).fit(torch.randn(64, 2))
    assert state.step == 4
    assert {shape[1] for shape in seen} == {4}
    assert {shape[0] for shape in seen} == {8}


def test_r2_is_the_penalty_on_generated_samples() -> None:
    torch.manual_seed(0)
    discriminator = MLP([2, 8, 1]).double()
    fake = torch.randn(5, 2, dtype=torch.float64)
    penalty_turn(discriminator, fake, 3.0)
    weights = [p for p in discriminator.parameters() if p.grad is not None]
    wanted = fake.clone().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(wanted).sum(), wanted, create_graph=True)
    expected = torch.autograd.grad(1.5 * slope.square().sum(1).mean(), weights)
    for parameter, grad in zip(weights, expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.parametrize("make", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
@pytest.mark.parametrize("where", ["between", "around"])
def test_lipschitz_penalties(make: Any, where: str) -> None:
    """WGAN-GP's and DRAGAN's against autograd."""
    torch.manual_seed(0)
    discriminator = make().double()
    reference = copy.deepcopy(discriminator)
    real, fake, noise = (torch.rand(5, 6, dtype=torch.float64) for _ in range(3))
    share = torch.rand(5, 1, dtype=torch.float64)
    if where == "between":
        points, expected = between(real, fake, share), share * real + (1 - share) * fake
    else:
        points, expected = around(real, share, noise), real + share * 0.5 * real.std() * noise
    torch.testing.assert_close(points, expected)
    lipschitz_penalty_turn(discriminator, points, 3.0)
    points = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(reference(points).sum(), points, create_graph=True)
    weights = list(reference.parameters())
    penalty = 3 * (slope.norm(dim=1) - 1).square().mean()
    for parameter, grad in zip(
        discriminator.parameters(), torch.autograd.grad(penalty, weights, allow_unused=True), strict=True
    ):
        ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(ours, torch.zeros_like(ours) if grad is None else grad)


def test_a_flat_discriminator_has_a_finite_penalty() -> None:
    discriminator = MLP([2, 8, 1])
    torch.nn.init.zeros_(discriminator.layers[-1].weight)
    lipschitz_penalty_turn(discriminator, torch.randn(5, 2), 10.0)
    assert all(p.grad is None or not p.grad.any() for p in discriminator.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "hinge", "dragan_weight": 1.0},
        {"objective": "wasserstein", "gp_weight": 10.0, "penalty_interval": 1},
        {"objective": "least-squares", "update": "simultaneous"},
        {"objective": "relativistic-average", "r1_gamma": 1.0, "r2_gamma": 1.0},
    ],
    ids=str,
)
def test_a_ring_stays_finite(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, steps=200, batch_size=64, log_interval=100, **settings)
    state = Trainer(MLP([3, 32, 2]), MLP([2, 32, 32, 1]), config).fit(load("ring").samples)
    assert all(t.isfinite().all() for t in state.tensors().values())
    samples = state.average(state.latent(500))
    assert 0.3 < samples.norm(dim=1).mean() / load("ring").samples.norm(dim=1).mean() < 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"objective": "hinge", "real_label": 0.9}, "real_label is 0.9, expected 1.0 for the hinge"),
        ({"objective": "wasserstein", "generator_loss": "saturating"}, "generator_loss is 'saturating'"),
        ({"objective": "began", "gp_weight": 1.0}, "gp_weight is 1.0, expected 0.0 for the began"),
        ({"dragan_weight": -1.0}, "dragan_weight is -1.0, expected a number at least 0"),
        (
            {"objective": "relativistic", "real_label": 0.9},
            "real_label is 0.9, expected 1.0 for the relativistic",
        ),
        ({"objective": "relativistic", "generator_loss": "saturating"}, "generator_loss is 'saturating'"),
        ({"objective": "began", "r1_gamma": 1.0}, "r1_gamma is 1.0, expected 0.0 for the began"),
        ({"objective": "began", "r2_gamma": 1.0}, "r2_gamma is 1.0, expected 0.0 for the began"),
        ({"objective": "began", "pack": 2}, "pack is 2, expected 1 for the began"),
        ({"objective": "began", "instance_noise": 0.1}, "instance_noise is 0.1, expected 0.0 for the began"),
        ({"objective": "began", "real_label": 0.9}, "real_label is 0.9, expected 1.0 for the began"),
        ({"objective": "began", "generator_loss": "saturating"}, "generator_loss is 'saturating'"),
        ({"batch_size": 9, "pack": 2}, "pack is 2, expected a divisor of batch_size, 9"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(CONFIG, **settings)


def test_packs_must_be_shared_out_whole() -> None:
    with pytest.raises(ConfigError, match="multiple of the 4 processes times packs of 8"):
        TrainingState(MLP([3, 2]), MLP([16, 1]), replace(CONFIG, pack=8), World(0, 4))
