"""Training on an encoded table: passes without autograd, batches, and whole runs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fastgan import Spans, TrainConfig, Trainer
from fastgan.kernels.spans import Table
from fastgan.models.ctgan import CTGANDiscriminator, CTGANGenerator
from fastgan.training.config import ConfigError
from fastgan.training.distributed import World
from fastgan.training.dropout_pass import dropout_drawn_by, dropout_pass
from fastgan.training.objectives.passes import AutogradPass as AutogradDiscriminatorPass
from fastgan.training.state import TrainingState
from fastgan.training.table_generation import AutogradPass, DirectPass, TableGeneration
from fastgan.training.table_source import ENTROPY, TableSource, cumulative_shares
from fastgan.training.trainer import Callback, LogRow

SPANS = Spans((1, 4, 3, 1, 1, 5, 2), (2, 5, 6))
ROWS = 300
LATENT = 8


def table(spans: Spans = SPANS, rows: int = ROWS) -> Table:
    """Codes of which some are rare."""
    rng = torch.Generator().manual_seed(3)
    wide = [size for size in spans.sizes if size > 1]
    codes = torch.stack([(torch.rand(rows, generator=rng) ** 2 * size).int() for size in wide], 1)
    values = torch.rand(rows, spans.num_values, generator=rng) * 2 - 1
    kinds = [i for i, size in enumerate(spans.sizes) if size > 1]
    orders, starts = [torch.zeros(0, dtype=torch.int64)], [0]
    for span in spans.conditions:
        own = codes[:, kinds.index(span)].long()
        orders.append(own.argsort(stable=True))
        for count in own.bincount(minlength=spans.sizes[span]).tolist():
            starts.append(starts[-1] + count)
    return Table(spans, codes, values, torch.cat(orders).int(), torch.tensor(starts))


def networks(config: TrainConfig, spans: Spans = SPANS) -> tuple[CTGANGenerator, CTGANDiscriminator]:
    torch.manual_seed(config.seed)
    width = spans.width + spans.num_conditions
    return CTGANGenerator(LATENT, spans, (16, 8)), CTGANDiscriminator(width * config.pack, (16, 8))


def config(**changes: object) -> TrainConfig:
    settings = {
        "steps": 6,
        "batch_size": 40,
        "latent_dim": LATENT,
        "pack": 4,
        "objective": "wasserstein",
        "gp_weight": 10.0,
        "penalty_interval": 1,
        "learning_rate": 2e-3,
        "learning_rate_decay": 0.0,
        "betas": (0.5, 0.9),
        "weight_decay": 1e-6,
        "ema_decay": 0.0,
        "log_interval": 3,
        "threads": 1,
    }
    return TrainConfig(**{**settings, **changes})  # type: ignore[arg-type]


def gradients(network: nn.Module) -> list[Tensor]:
    return [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("discrete", [SPANS.conditions, ()], ids=["conditions", "none"])
def test_the_generators_pass_is_autograds(discrete: tuple[int, ...]) -> None:
    spans = Spans(SPANS.sizes, discrete)
    torch.manual_seed(0)
    generator = CTGANGenerator(LATENT, spans, (16, 8, 4)).double()
    copied = copy.deepcopy(generator)
    latent = torch.randn(20, LATENT, dtype=torch.float64)
    conditions = torch.randint(spans.num_conditions, (20,)) if discrete else None
    noise = torch.rand(20, spans.width)
    direct, usual = (
        DirectPass(generator, latent, conditions, noise),
        AutogradPass(copied, latent, conditions, noise),
    )
    # the usual pass's rows are float32, as D's are
    torch.testing.assert_close(direct.rows, usual.rows.double(), rtol=1e-6, atol=1e-6)
    grad = torch.randn_like(direct.rows)
    for each in (direct, usual):
        each.reach_parameters(grad)
    for ours, expected in zip(gradients(generator), gradients(copied), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
    for ours, expected in zip(generator.buffers(), copied.buffers(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("discrete", [SPANS.conditions, ()], ids=["conditions", "none"])
def test_the_generators_pass_in_evaluation_mode_uses_running_statistics(discrete: tuple[int, ...]) -> None:
    spans = Spans(SPANS.sizes, discrete)
    torch.manual_seed(0)
    generator = CTGANGenerator(LATENT, spans, (16, 8)).double()
    conditions = torch.randint(spans.num_conditions, (20,)) if discrete else None
    noise = torch.rand(20, spans.width)
    DirectPass(generator, torch.randn(20, LATENT, dtype=torch.float64), conditions, noise)
    generator.eval()
    before = [buffer.clone() for buffer in generator.buffers()]
    latent = torch.randn(20, LATENT, dtype=torch.float64)
    rows = DirectPass(generator, latent, conditions, noise).rows
    torch.testing.assert_close(rows, generator(latent, conditions, noise).detach(), rtol=1e-6, atol=1e-6)
    for buffer, kept in zip(generator.buffers(), before, strict=True):
        assert torch.equal(buffer, kept)


class SameDropout(nn.Module):
    """Dropout that draws as the pass does."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand_like(x).lt(1 - self.p) / (1 - self.p)


def discriminators() -> tuple[CTGANDiscriminator, nn.Module]:
    torch.manual_seed(0)
    ours = CTGANDiscriminator(12, (16, 8)).double()
    usual = copy.deepcopy(ours.layers)
    for i, layer in enumerate(usual):
        if isinstance(layer, nn.Dropout):
            usual[i] = SameDropout(layer.p)
    return ours, usual


def seeded(call: object) -> object:
    torch.manual_seed(1)
    return call()  # type: ignore[operator]


def test_the_discriminators_pass_is_autograds() -> None:
    ours, usual = discriminators()
    real, fake = torch.randn(5, 12, dtype=torch.float64), torch.randn(7, 12, dtype=torch.float64)
    seen = seeded(lambda: dropout_pass(ours, [real, fake]))
    logits = seeded(lambda: usual(torch.cat([real, fake])))
    assert isinstance(logits, Tensor)
    torch.testing.assert_close(torch.cat(seen.outputs), logits)  # type: ignore[attr-defined]
    grads = torch.randn(5, 1, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
    seen.reach_parameters(grads)  # type: ignore[attr-defined]
    logits.backward(torch.cat(grads))
    for mine, expected in zip(gradients(ours), gradients(usual), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-13)


def test_the_gradient_of_samples() -> None:
    ours, usual = discriminators()
    fake = torch.randn(7, 12, dtype=torch.float64)
    leaf = fake.clone().requires_grad_()
    grad = torch.randn(7, 1, dtype=torch.float64)
    reached = seeded(lambda: dropout_pass(ours, [fake])).reach_samples(grad)  # type: ignore[attr-defined]
    (expected,) = torch.autograd.grad(seeded(lambda: usual(leaf)), leaf, grad)  # type: ignore[arg-type]
    torch.testing.assert_close(reached, expected)
    assert not gradients(ours)


def test_both_gradients_at_once() -> None:
    ours, usual = discriminators()
    real, fake = torch.randn(5, 12, dtype=torch.float64), torch.randn(7, 12, dtype=torch.float64)
    leaf = fake.clone().requires_grad_()
    grads = torch.randn(5, 1, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
    grad = torch.randn(7, 1, dtype=torch.float64)
    seen = seeded(lambda: dropout_pass(ours, [real, fake]))
    reached = seen.reach_both(grads, grad)  # type: ignore[attr-defined]
    logits = seeded(lambda: usual(torch.cat([real, leaf])))
    assert isinstance(logits, Tensor)
    (expected,) = torch.autograd.grad(logits[5:], leaf, grad, retain_graph=True)
    logits.backward(torch.cat(grads))
    torch.testing.assert_close(reached, expected)
    for mine, theirs in zip(gradients(ours), gradients(usual), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


def test_the_gradient_penalty() -> None:
    """WGAN-GP through dropout, to the derivatives of its weights, in float64."""
    ours, usual = discriminators()
    points = torch.randn(6, 12, dtype=torch.float64)
    seen = seeded(lambda: dropout_pass(ours, [points]))
    slope = seen.slope()  # type: ignore[attr-defined]
    norm = slope.norm(dim=1, keepdim=True)
    seen.reach_parameters_by_slope(10 * 2 / 6 * (1 - 1 / norm) * slope)  # type: ignore[attr-defined]
    leaf = points.clone().requires_grad_()
    logits = seeded(lambda: usual(leaf))
    assert isinstance(logits, Tensor)
    (expected,) = torch.autograd.grad(logits.sum(), leaf, create_graph=True)
    torch.testing.assert_close(slope, expected.detach())
    (10 * (expected.norm(dim=1) - 1).square().mean()).backward()
    weights = [p for p in ours.parameters() if p.dim() == 2]
    theirs = [p for p in usual.parameters() if p.dim() == 2]
    for mine, other in zip(weights, theirs, strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-10)


def test_evaluation_mode_has_no_dropout() -> None:
    ours, _ = discriminators()
    x = torch.randn(7, 12, dtype=torch.float64)
    seen = dropout_pass(ours.eval(), [x])
    assert seen is not None
    torch.testing.assert_close(seen.outputs[0], ours(x))


def test_processes_share_the_dropout_of_one() -> None:
    """Each has the numbers that one process would draw for its packs, both real and generated ones."""
    settings = config()
    _, discriminator = networks(settings)
    packs = torch.randn(2, 10, 4 * (SPANS.width + SPANS.num_conditions))

    def logits(world: World) -> list[Tensor]:
        state = TrainingState(networks(settings)[0], discriminator, settings, world)
        state.draws.begin_step(True)
        own = [each.chunk(world.size)[world.rank] for each in packs]
        with dropout_drawn_by(state.draws.uniform, discriminator):
            passes = [dropout_pass(discriminator, batches) for batches in (own, own[1:])]
        return [output for each in passes if each is not None for output in each.outputs]

    first, second = logits(World(0, 2)), logits(World(1, 2))
    for halves, whole in zip(zip(first, second, strict=True), logits(World()), strict=True):
        torch.testing.assert_close(torch.cat(halves), whole)


def test_others_take_autograd() -> None:
    ours, usual = discriminators()
    x = torch.randn(7, 12, dtype=torch.float64)
    assert dropout_pass(usual, [x]) is None
    ours.layers[2].register_forward_hook(lambda *_: None)
    assert dropout_pass(ours, [x]) is None
    AutogradDiscriminatorPass(ours, [x], of_parameters=True, of_samples=False)


class Rows(Callback):
    def __init__(self) -> None:
        self.rows: list[LogRow] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append(row)


def trained(settings: TrainConfig, spans: Spans = SPANS) -> tuple[TrainingState, list[LogRow]]:
    rows = Rows()
    trainer = Trainer(*networks(settings, spans), settings, [rows])
    return trainer.fit(TableSource(table(spans))), rows.rows


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": "bce", "gp_weight": 0.0},
        {"objective": "hinge", "gp_weight": 0.0, "r1_gamma": 1.0},
        {"pack": 1},
        {"update": "simultaneous"},
        {"discriminator_steps": 3},
        {"precision": "bf16"},
        {"ema_decay": 0.9, "objective": "relativistic", "r1_gamma": 0.1, "r2_gamma": 0.1, "gp_weight": 0.0},
    ],
    ids=str,
)
def test_a_run(changes: dict[str, object]) -> None:
    settings = config(**changes)
    state, rows = trained(settings)
    assert state.step == 6
    assert {"loss_D", "loss_G", ENTROPY, "gradient", "diversity"} <= rows[-1].values.keys()
    drawn = state.average(state.latent(10), torch.arange(10))
    assert drawn.shape == (10, SPANS.width + SPANS.num_conditions)
    assert drawn.isfinite().all()


def test_a_table_without_discrete_columns() -> None:
    state, rows = trained(config(), Spans((1, 4, 1)))
    assert ENTROPY not in rows[-1].values
    assert state.average(state.latent(3)).shape == (3, 6)


def test_the_conditions_are_learnt() -> None:
    """From log C on, the cross-entropy falls towards zero."""
    _, rows = trained(config(steps=300, log_interval=100, learning_rate=1e-2))
    assert rows[-1].values[ENTROPY] < 0.5 * rows[0].values[ENTROPY]


def test_a_run_is_repeatable() -> None:
    (first, _), (second, _) = trained(config()), trained(config())
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


def test_real_rows_have_other_conditions_than_generated_ones() -> None:
    """Those of the next pack: so a pair between which a penalty interpolates has independent conditions."""
    settings = config()
    generator, discriminator = networks(settings)
    state, source = TrainingState(generator, discriminator, settings), TableSource(table())
    state.draws.begin_step(False)
    generation = TableGeneration(generator, state, source, 2)
    real, fake = generation.batches(0)
    of_real, of_fake = (t[:, SPANS.width :].argmax(1) for t in (real, fake))
    assert torch.equal(of_real, of_fake.roll(4))
    assert not torch.equal(of_real, of_fake)


def test_shares_of_conditions() -> None:
    """Every column has the same share; values by the logarithm of their frequency, or by the frequency."""
    counts = table().starts.diff().double()
    parts = counts.split([3, 5, 2])
    for weights in (counts, counts.log1p()):
        cumulative = cumulative_shares(weights, SPANS)
        assert cumulative is not None
        shares = cumulative.diff(prepend=torch.zeros(1, dtype=torch.float64))
        for own, part in zip(shares.split([3, 5, 2]), weights.split([3, 5, 2]), strict=True):
            torch.testing.assert_close(own.sum(), torch.tensor(1 / 3, dtype=torch.float64))
            torch.testing.assert_close(own * 3, part / part.sum())
    assert sum(map(len, parts)) == 10


@pytest.mark.parametrize("name", ["labels", "augment"])
def test_settings_that_are_for_images(name: str) -> None:
    changes: dict[str, object] = {name: True}
    if name == "labels":
        changes["pack"] = 1
    else:
        changes |= {"augment_probability": 0.5}
    settings = config(**changes)
    with pytest.raises(ConfigError, match=f"{name} is True, expected False for a table"):
        Trainer(*networks(settings), settings).fit(TableSource(table()))
