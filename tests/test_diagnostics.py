"""Diagnostics leave no trace in training, and alarms come on runs that fail and on no others."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from experiments.diagnostics import Run, watch
from fastgan.data import Dataset, Transform, load
from fastgan.metrics import mean_distance
from fastgan.training import TrainConfig, Trainer, trainer
from fastgan.training.alarms import RULES, Alarm, Rule, Watch
from fastgan.training.capture import EagerSteps
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.objectives.logits import LogitObjective
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.objectives.relativistic import Relativistic, RelativisticAverage
from fastgan.training.source import Resident
from fastgan.training.state import DivergenceError, TrainingState
from fastgan.training.window import Window
from tests.test_resume import Items, networks
from tests.test_training import data

CONFIG = TrainConfig(
    steps=20, batch_size=16, latent_dim=3, log_interval=4, sample_interval=20, checkpoint_interval=10
)
BARE = {"instance_noise": 0.0, "pack": 1, "r1_gamma": 0.0}  # a ring without what keeps it healthy
LOW = Rule(
    name="low",
    needs=("x",),
    begins=lambda row: row["x"] < 1,
    ends=lambda row: row["x"] > 2,
    patience=200,
    says=lambda row: f"x is {row['x']:g}",
    remedy="raise it",
)


def watched(values: Iterable[float], interval: int = 100) -> list[tuple[Alarm, ...]]:
    watch = Watch([LOW])
    return [watch.update(interval * (1 + i), {"x": x}) for i, x in enumerate(values)]


def test_an_alarm_is_raised_when_patience_ends() -> None:
    assert watched([0.5, 0.4, 3, 0.3, 0.2]) == [()] * 5  # never for long enough
    alarm = Alarm("low", since=100, raised=300, message="x is 0.3; raise it")
    assert watched([0.5, 0.4, 0.3]) == [(), (), (alarm,)]
    assert str(alarm) == "x is 0.3; raise it (since step 100)"
    assert watched([0.5, 0.4], interval=1000)[-1][0].raised == 2000  # two rows at the least


def test_an_alarm_lasts_between_the_thresholds_and_ends_beyond() -> None:
    *_, lasting, ends, after = watched([0.5, 0.4, 0.3, 1.5, 0.2, 3, 1.5, 3, 3, 3, 3])
    assert [(a.raised, a.ended) for a in lasting] == [(300, None)]
    assert str(ends[0]) == "over at step 1,000: x is 0.2; raise it (since step 100)"
    assert after == ()


def test_a_rule_has_no_say_where_its_column_is_missing() -> None:
    watch = Watch([LOW])
    assert watch.update(100, {"y": 0.0}) == ()
    watch.update(200, {"x": 0.0})
    watch.update(300, {"y": 0.0})  # nor does a gap count as recovery
    assert len(watch.update(400, {"x": 0.0})) == 1


def test_an_alarm_may_come_again() -> None:
    watch = Watch([LOW])
    for i, x in enumerate([0, 0, 0, 3, 3, 3, 0, 0, 0]):
        watch.update(100 * (1 + i), {"x": x})
    assert [(a.raised, a.ended) for a in watch.alarms] == [(300, 600), (900, None)]


def test_mean_distance_is_that_of_neighbours() -> None:
    assert mean_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])) == 3
    assert mean_distance(torch.zeros(1, 2)).isnan()
    normal = torch.randn(20_000, 8, 8, generator=torch.Generator().manual_seed(0))
    assert mean_distance(normal) == pytest.approx(2**0.5 * 63.5**0.5, rel=0.005)  # of all pairs
    with pytest.raises(ValueError, match=r"samples have shape \[5\], expected \[N, ...\]"):
        mean_distance(torch.zeros(5))


class Noisy(nn.Module):
    """Draws from torch's own stream whatever its mode."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples + 0.1 * torch.randn_like(samples)


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("settings", [{}, {"update": "simultaneous", "precision": "bf16"}], ids=str)
def test_diagnostics_leave_no_trace(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], streamed: bool
) -> None:
    """Weights, batch statistics, moments, average and random streams, bit for bit."""

    def trained() -> tuple[TrainingState, Tensor]:
        generator, discriminator = networks(dropout=True)
        trainer = Trainer(nn.Sequential(generator, Noisy()), discriminator, replace(CONFIG, **settings))
        samples = load("ring").samples[:100]
        state = trainer.fit(Items(samples) if streamed else Dataset("ring", samples), workers=0)
        return state, torch.get_rng_state()

    found, stream = trained()
    monkeypatch.setattr(Diagnostics, "measure", lambda self: {})
    expected, expected_stream = trained()
    ours, theirs = found.tensors(), expected.tensors()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert torch.equal(stream, expected_stream)


def test_diagnostics_know_samples_that_are_the_data() -> None:
    ring = load("ring")
    state = TrainingState(nn.Linear(2, 2), nn.Linear(2, 1), replace(CONFIG, batch_size=250, latent_dim=2))
    state.look = lambda latent, labels=None, live=False: ring.samples[: len(latent)]  # type: ignore[method-assign]
    values = Diagnostics(state, Resident(ring.samples), ring).measure()
    assert values["diversity"] == pytest.approx(1, abs=0.05)
    assert values["modes_covered"] == values["modes"] == 8
    assert values["high_quality"] == pytest.approx(0.989, abs=0.01)
    state.look = lambda latent, labels=None, live=False: ring.samples[:1].expand(len(latent), 2)  # type: ignore[method-assign]
    values = Diagnostics(state, Resident(ring.samples), ring).measure()
    assert values["diversity"] == 0
    assert values["modes_covered"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38], ids=str)
def test_samples_that_are_not_finite_leave_the_coverage_out(value: float) -> None:
    ring = replace(load("ring"), transform=Transform((1e3,)))
    state = TrainingState(nn.Linear(2, 2), nn.Linear(2, 1), replace(CONFIG, batch_size=250, latent_dim=2))
    state.look = lambda latent, labels=None, live=False: torch.full((len(latent), 2), value)  # type: ignore[method-assign]
    values = Diagnostics(state, Resident(ring.samples), ring).measure()
    assert values.keys() <= {"diversity"}


class Breaking(nn.Linear):
    """Gives nan wherever it is looked at, while what it trains on is finite."""

    def forward(self, latent: Tensor) -> Tensor:
        return super().forward(latent) if self.training else super().forward(latent) * math.nan


def test_a_generator_that_makes_nan_ends_training_by_its_losses_or_not_at_all() -> None:
    ring = load("ring")
    trainer = Trainer(Breaking(3, 2), nn.Linear(2, 1), CONFIG)
    assert trainer.fit(ring).step == CONFIG.steps
    trainer = Trainer(nn.Linear(3, 2), nn.Linear(2, 1), replace(CONFIG, learning_rate=1e30))
    with pytest.raises(DivergenceError, match="training diverged: nan or infinite at step"):
        trainer.fit(ring)


def test_the_live_generator_is_looked_at_in_evaluation_mode() -> None:
    generator, discriminator = networks(dropout=True)
    generator.append(nn.Dropout(0.5))
    state = TrainingState(generator, discriminator, replace(CONFIG, ema_decay=0.9))
    steps = EagerSteps(state, Resident(data()), Window(state))
    for _ in range(3):
        steps.advance(1)
    latent = torch.randn(5, 3)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    found, of_average = state.look(latent, live=True), state.look(latent)
    assert [name for name, tensor in state.tensors().items() if not torch.equal(tensor, before[name])] == []
    assert torch.equal(found, copy.deepcopy(generator).eval()(latent))
    assert torch.equal(of_average, state.average(latent))
    assert not torch.equal(found, of_average)


def test_data_without_two_that_differ_have_no_diversity() -> None:
    state = TrainingState(*networks(dropout=True), CONFIG)
    assert Diagnostics(state, Resident(torch.ones(5, 2))).measure() == {}
    assert Diagnostics(state, Resident(data())).measure().keys() == {"diversity"}


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
@pytest.mark.parametrize("saturating", [False, True])
def test_the_gradient_that_reaches_the_generator(update: str, saturating: bool) -> None:
    """Both measures, sample by sample in plain PyTorch, at the weights of the turn."""
    config = replace(
        CONFIG,
        update=update,  # type: ignore[arg-type]
        generator_loss="saturating" if saturating else "non-saturating",
        learning_rate=1e-12,
    )
    state = TrainingState(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)), config)
    drawn: list[Tensor] = []
    draw = state.latents
    state.latents = lambda turns: drawn.append(draw(turns)) or drawn[-1]  # type: ignore[method-assign, func-returns-value]
    window = Window(state)
    EagerSteps(state, Resident(data()), window).advance(1)
    found = dict(zip(window.names, window.close()[0].tolist(), strict=True))
    fake = state.generator(drawn[-1][-state.share :]).detach().requires_grad_()  # those of G's turn
    logits = state.discriminator(fake)
    terms = -softplus(logits) if saturating else softplus(-logits)
    by_logit, by_sample = torch.autograd.grad(terms.sum(), [logits, fake])
    assert found["gradient"] == pytest.approx(by_sample.square().sum(dim=1).mean().sqrt().item(), rel=1e-4)
    assert found["gradient_share"] == pytest.approx(by_logit.abs().mean().item(), rel=1e-4)
    assert found["gradient_share"] == pytest.approx(
        logits.sigmoid().mean().item() if saturating else 1 - logits.sigmoid().mean().item(), rel=1e-4
    )


SURE, UNSURE = 20.0, 0.0
GAMES: dict[str, tuple[LogitObjective, str, str]] = {
    "bce": (LossObjective(), "discriminator won", "generator won"),
    "saturating": (LossObjective(saturating=True), "vanishing gradient", "generator won"),
    "relativistic": (Relativistic(), "discriminator won all pairs", "generator won all pairs"),
    "relativistic-average": (
        RelativisticAverage(),
        "discriminator won on average",
        "generator won on average",
    ),
    "hinge": (LossObjective("hinge"), "discriminator won beyond the margin", ""),
}


@pytest.mark.parametrize(("objective", "of_d", "of_g"), GAMES.values(), ids=GAMES)
def test_who_has_won(objective: LogitObjective, of_d: str, of_g: str) -> None:
    """By the statistics of logits that the objective itself gives."""

    def alarms(of_real: float, of_fake: float) -> list[str]:
        real, fake = torch.full((8, 1), of_real), torch.full((8, 1), of_fake)
        *_, statistics = objective.discriminator_loss(real, fake)
        statistics |= objective.generator_loss(real, fake)[1]
        watch = Watch()
        for step in range(100, 1_100, 100):
            watch.update(step, {name: value.item() for name, value in statistics.items()})
        return [alarm.name for alarm in watch.alarms]

    assert alarms(SURE, -SURE) == [of_d]
    assert alarms(-SURE, SURE) == ([of_g] if of_g else [])
    assert alarms(UNSURE, UNSURE) == []


@pytest.mark.parametrize(
    "objective", [LossObjective(), Relativistic(), RelativisticAverage()], ids=lambda o: type(o).__name__
)
def test_the_share_of_the_gradient_tends_to_1_where_d_wins(objective: LogitObjective) -> None:
    real, fake = torch.full((8, 1), SURE), torch.full((8, 1), -SURE)
    _, statistics = objective.generator_loss(real, fake)
    assert statistics["gradient_share"].item() == pytest.approx(1)


def alarms_of(run: Run) -> dict[str, Alarm]:
    return {alarm["name"]: Alarm(**alarm) for alarm in watch(run)["alarms"]}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms come after a third of the steps, so that runs may be short; how failures look is the same."""
    rules = [replace(rule, patience=rule.patience // 3) for rule in RULES]
    monkeypatch.setattr(trainer, "Watch", partial(Watch, rules))


@pytest.mark.parametrize(
    ("name", "row", "patience"),
    [
        ("vanishing gradient", {"gradient_share": 0.0, "D(G(z))": 0.0}, 300),
        ("discriminator won", {"D(x)": 1.0, "D(G(z))": 0.0, "gradient_share": 1.0}, 300),
        ("generator won", {"D(x)": 0.5, "D(G(z))": 1.0}, 300),
        ("idle balance", {"k": 0.0, "loss_G": 0.5, "L(x)": 1.0}, 1000),
        ("collapse", {"diversity": 0.0}, 500),
        ("missing modes", {"modes_covered": 1.0, "modes": 8.0, "high_quality": 1.0}, 500),
        ("escape", {"diversity": 9.0}, 500),
    ],
)
def test_how_long_rules_wait(name: str, row: dict[str, float], patience: int) -> None:
    watch = Watch()
    for step in range(100, 1_200, 100):
        watch.update(step, row)
    (alarm,) = (alarm for alarm in watch.alarms if alarm.name == name)
    assert (alarm.since, alarm.raised) == (100, 100 + patience)


def test_a_healthy_ring_raises_no_alarm() -> None:
    assert alarms_of(Run("ring", {"steps": 1_200, "batch_size": 64})) == {}


def test_healthy_digits_raise_no_alarm() -> None:
    assert alarms_of(Run("digits", {"steps": 600, "batch_size": 64})) == {}


@pytest.mark.usefixtures("impatient")
def test_a_ring_that_falls_apart_raises_one() -> None:
    alarms = alarms_of(Run("ring", {"steps": 700, "batch_size": 128, "learning_rate": 1e-2, **BARE}))
    assert alarms.keys() & {"collapse", "missing modes"}
    assert all(alarm.ended is None for alarm in alarms.values())


@pytest.mark.usefixtures("impatient")
def test_a_generator_that_has_won_is_told() -> None:
    """D hardly learns, and the non-saturating gradient vanishes: not as that of the saturating one does."""
    settings = {"steps": 400, "batch_size": 64, "discriminator_learning_rate": 1e-7, **BARE}
    alarms = alarms_of(Run("ring", settings))
    assert "vanishing gradient" not in alarms
    assert alarms["generator won"].message.startswith("the generator has won: D(x) is ")


@pytest.mark.usefixtures("impatient")
def test_a_generator_that_runs_away_is_told() -> None:
    run = Run("ring", {"steps": 400, "batch_size": 128, "learning_rate": 1e-3, **BARE}, discriminator=(2,))
    message = alarms_of(run)["escape"].message
    assert re.match(
        r"samples are \d+ times more diverse than the data: the discriminator does not hold", message
    )


@pytest.mark.usefixtures("impatient")
def test_a_collapsed_generator_is_told() -> None:
    """Adam's β₁ of 0.9 and a learning rate a hundred times the recipe's: one digit, and D knows it."""
    settings = {"steps": 400, "batch_size": 64, "instance_noise": 0.0}
    alarms = alarms_of(Run("digits", {**settings, "learning_rate": 5e-2, "betas": (0.9, 0.999)}))
    assert alarms["collapse"].message.startswith("samples are all alike: the generator has collapsed; try")
    assert alarms["discriminator won"].message.startswith("the discriminator has won: D(x) is 1.00")


@pytest.mark.usefixtures("impatient")
def test_an_idle_balance_of_began_is_told() -> None:
    """L(G(z)) cannot fall to a twentieth of L(x)."""
    settings = {"objective": "began", "steps": 500, "batch_size": 32, "diversity_ratio": 0.05}
    alarm = alarms_of(Run("digits", settings, discriminator=(32, 16)))["idle balance"]
    assert re.match(r"k stays at 0, as L\(G\(z\)\) is 0\.\d\d of L\(x\) and above the", alarm.message)
    assert alarm.ended is None


@pytest.mark.usefixtures("impatient")
def test_a_vanishing_gradient_is_told_and_so_is_its_end() -> None:
    settings = {"steps": 700, "batch_size": 32, "instance_noise": 0.0, "generator_loss": "saturating"}
    alarm = alarms_of(Run("digits", settings, frozen=400))["vanishing gradient"]
    assert alarm.raised <= 400
    assert alarm.message.startswith("the discriminator has won: the generator's gradient is 0.000")
    assert alarm.message.endswith("of the non-saturating limit; try --generator-loss non-saturating")
    assert alarm.ended is not None
