"""What fit takes and what it refuses, and what it leaves as the user wants it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from fastgan.nn import MLP
from fastgan.training import Callback, TrainConfig, Trainer
from fastgan.training.state import TrainingState

CONFIG = TrainConfig(steps=4, latent_dim=4, batch_size=8, log_interval=2, learning_rate_decay=0.0)


def points(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(64, 2, generator=torch.Generator().manual_seed(0)).to(dtype)


def networks(width: int = 2, *, pack: int = 1, outputs: int = 1) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return MLP([4, 8, width]), MLP([pack * width, 8, outputs])


def layered(pack: int = 1, outputs: int = 1) -> tuple[nn.Module, nn.Module]:
    """Networks that autograd trains."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    return generator, nn.Sequential(nn.Linear(2 * pack, 8), nn.LeakyReLU(0.2), nn.Linear(8, outputs))


def weights(state: TrainingState) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in state.tensors().items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Answers(nn.Module):
    """A discriminator that answers something else."""

    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.linear, self.answer = nn.Linear(2, 1), answer

    def forward(self, samples: Tensor) -> object:
        return self.answer(self.linear(samples))


@pytest.mark.parametrize(
    ("discriminator", "settings", "kind", "message"),
    [
        (
            MLP([250_000, 8, 1]),
            {},
            ValueError,
            r"discriminator does not take samples of shape \[2\]: weight 0",
        ),
        (nn.Linear(784, 1), {}, ValueError, r"does not take samples of shape \[2\]: mat1 and mat2"),
        (MLP([2, 8, 1]), {"pack": 4}, ValueError, r"does not take packs of 4 samples of shape \[8\]"),
        (nn.Linear(2, 1), {"pack": 2}, ValueError, r"does not take packs of 2 samples of shape \[4\]"),
        (nn.Bilinear(2, 2, 1), {}, ValueError, r"does not take samples of shape \[2\]: .*missing 1 required"),
        (nn.Linear(2, 1).double(), {}, ValueError, r"does not take samples of shape \[2\]: .*dtype"),
        (Answers(lambda y: y / 0), {}, ValueError, "returns nan or infinities for samples"),
        (Answers(lambda y: y[:0]), {}, ValueError, "returns no logit"),
        (Answers(lambda y: y.detach()), {}, ValueError, r"no gradient; remove no_grad\(\)"),
        (Answers(lambda y: y > 0), {}, TypeError, "returns a Tensor of torch.bool, expected floats"),
        (Answers(lambda y: y.long()), {}, TypeError, "returns a Tensor of torch.int64, expected floats"),
        (Answers(lambda y: (y, y)), {}, TypeError, "returns a tuple, expected a Tensor"),
        (nn.Linear(2, 3), {"objective": "began"}, ValueError, r"outputs of shape \[8, 3\] for .* \[8, 2\]"),
        (nn.Linear(2, 1), {"objective": "began"}, ValueError, "the began objective needs an autoencoder"),
    ],
)
def test_a_discriminator_that_does_not_fit_is_named(
    discriminator: nn.Module, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    before = copy.deepcopy(discriminator.state_dict())
    generator = MLP([4, 8, 2])
    with pytest.raises(kind, match=message):
        Trainer(generator, discriminator, replace(CONFIG, **settings)).fit(points())
    assert same(discriminator.state_dict(), before)


@pytest.mark.parametrize(
    ("generator", "kind", "message"),
    [
        (nn.Bilinear(4, 4, 2), ValueError, "generator does not take latent_dim=4: .*missing 1 required"),
        (nn.LSTM(4, 2), TypeError, "generator returns a tuple, expected a Tensor"),
        (nn.Linear(4, 3), ValueError, r"generator makes samples of shape \[3\], expected \[2\] as in data"),
    ],
)
def test_a_generator_that_does_not_fit_is_named(
    generator: nn.Module, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        Trainer(generator, nn.Linear(2, 1), CONFIG).fit(points())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_that_cannot_be_trained_are_named(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"discriminator has weights of torch\.\w*16, .*precision='bf16'"):
        Trainer(MLP([4, 2]), MLP([2, 1]).to(dtype), CONFIG)
    with pytest.raises(ValueError, match=r"generator has lazy layers.*call it on one batch first"):
        Trainer(nn.LazyLinear(2), MLP([2, 1]), CONFIG)


class Counts(nn.Module):
    """Moves what a pass can move: a buffer in place, another by a new one, a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(2))
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def forward(self, samples: Tensor) -> Tensor:
        self.seen += 1
        self.mean = 0.9 * self.mean + 0.1 * samples.detach().mean(dim=0)
        self.frozen.data = self.frozen.data + 1
        return samples + torch.randn_like(samples)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_look_at_the_networks_leaves_no_trace(precision: str) -> None:
    """Statistics, power iterations, weights and random numbers are as before."""
    torch.manual_seed(0)
    spectral = nn.utils.spectral_norm(nn.Linear(8, 8))
    parametrized = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 1))
    discriminator = nn.Sequential(
        Counts(),
        nn.Linear(2, 8),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        spectral,
        nn.LeakyReLU(0.2),
        parametrized,
    )
    generator = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    trainer = Trainer(generator, discriminator, replace(CONFIG, steps=1, precision=precision))
    trainer.state.step = 1  # nothing is left to train
    before = weights(trainer.state)
    random_states = trainer.state.random_states()
    trainer.fit(points())
    assert same(weights(trainer.state), before)
    assert same(trainer.state.random_states(), random_states)


class LeavesGradients(Callback):
    """As a callback does that measures the norm of a gradient."""

    def on_progress(self, state: TrainingState) -> None:
        leave_gradients(state.generator, state.discriminator)

    def on_log(self, state: TrainingState, row: object) -> None:
        leave_gradients(state.generator, state.discriminator)


def leave_gradients(*networks: nn.Module) -> None:
    for network in networks:
        for p in network.parameters():
            p.grad = torch.full_like(p, 1e3)


@pytest.mark.parametrize("of", [networks, layered], ids=["MLP", "autograd"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd"},
        {"gradient_clip": 0.1},
        {"update": "simultaneous"},
        {"pack": 2, "discriminator_steps": 2},
        {"precision": "bf16"},
        {"r1_gamma": 1.0, "r2_gamma": 1.0, "penalty_interval": 2},
        {"objective": "wasserstein", "gp_weight": 10.0, "dragan_weight": 1.0, "penalty_interval": 1},
        {"objective": "hinge"},
        {"objective": "least-squares"},
        {"objective": "relativistic"},
        {"objective": "relativistic-average"},
        {"objective": "began", "update": "simultaneous"},
        {"objective": "began"},
    ],
    ids=str,
)
def test_gradients_from_before_do_not_count(of: Callable[..., Any], settings: dict[str, Any]) -> None:
    """Those of a pretraining, and those that a callback leaves, of frozen parameters too."""
    config = replace(CONFIG, **settings)
    trained = []
    for leftover in (False, True):
        pair = of(pack=config.pack, outputs=2 if config.objective == "began" else 1)
        frozen = [next(network.parameters()).requires_grad_(False) for network in pair]
        if leftover:
            leave_gradients(*pair)
        state = Trainer(*pair, config, [LeavesGradients()] if leftover else []).fit(points())
        trained.append(weights(state))
        assert all((p.grad is not None) == leftover for p in frozen)
    assert same(*trained)


def test_a_parameter_that_is_unfrozen_later_is_named() -> None:
    generator, discriminator = layered()
    discriminator[0].weight.requires_grad_(False)
    trainer = Trainer(generator, discriminator, CONFIG)
    discriminator[0].weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"discriminator\.0\.weight requires a gradient, .*another Trainer"):
        trainer.fit(points())


def test_a_layer_that_is_added_later_is_named() -> None:
    class Adds(Callback):
        def on_log(self, state: TrainingState, row: object) -> None:
            state.generator.append(nn.Linear(2, 2))

    with pytest.raises(ValueError, match=r"generator\.4\.weight requires a gradient"):
        Trainer(*layered(), CONFIG, [Adds()]).fit(points())


@pytest.mark.parametrize("of", [networks, layered], ids=["MLP", "autograd"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_parameter_that_is_frozen_later_stays(of: Callable[..., Any], optimizer: str) -> None:
    """Before the first step, and between two steps, when it has momentum already."""
    generator, discriminator = of()
    at_once, later = next(discriminator.parameters()), next(generator.parameters())
    kept = []

    class Freezes(Callback):
        def on_log(self, state: TrainingState, row: object) -> None:
            later.requires_grad_(False)
            kept.append(later.clone())

    trainer = Trainer(generator, discriminator, replace(CONFIG, optimizer=optimizer), [Freezes()])
    at_once.requires_grad_(False)
    before = at_once.clone()
    trainer.fit(points())
    assert torch.equal(at_once, before)
    assert torch.equal(kept[0], later)


def test_a_frozen_part_in_evaluation_mode_stays_in_it() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8)).requires_grad_(False).eval()
    head = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    generator, _ = layered()
    discriminator = nn.Sequential(backbone, head)
    trainer = Trainer(generator, discriminator, CONFIG)
    for _ in range(2):
        trainer.state.step = 0
        trainer.fit(points())
        assert not any(module.training for module in backbone.modules())
        assert all(module.training for module in head.modules())
        assert backbone[1].num_batches_tracked == 0
        assert head[1].num_batches_tracked > 0
        generator.eval()  # to look at samples: a network as a whole, which the next fit trains again
        discriminator.eval()
    head[1].train()
    head[0].eval()
    trainer.fit(points())
    assert [module.training for module in head] == [False, True, False]


def gray_images() -> Tensor:
    return torch.randint(256, (64, 2), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class Pairs:
    """A map-style dataset of samples with labels."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.samples[row], 7


class Moved(TensorDataset):
    """As users give their samples a transform."""

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        return (super().__getitem__(row)[0] + 3,)


def loader(data: Any, **settings: Any) -> DataLoader[Any]:
    return DataLoader(data, **{"batch_size": 8, **settings})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (points().numpy(), points()),
        (points().double(), points()),
        (points().double().numpy(), points()),
        (points().half(), points().half().float()),
        (points().numpy().astype(">f4"), points()),
        (points().numpy()[::-1], points().flip(0)),
        (gray_images(), gray_images() / 127.5 - 1),
        (gray_images().numpy(), gray_images() / 127.5 - 1),
        (TensorDataset(points(), torch.zeros(64)), points()),
        (loader(TensorDataset(points()), shuffle=True), points()),
        (Pairs(points().double()), Pairs(points())),
        (Pairs(points().numpy()), Pairs(points())),
        (Pairs(gray_images()), Pairs(gray_images() / 127.5 - 1)),
        (Pairs(gray_images().numpy()), Pairs(gray_images() / 127.5 - 1)),
        (loader(Pairs(points())), Pairs(points())),
        (Moved(points()), Pairs(points() + 3)),
        (loader(Moved(points())), Pairs(points() + 3)),
        (np.ma.masked_greater(points().numpy(), 1e9), points()),
        (loader(Pairs(points()), sampler=RandomSampler(range(64))), Pairs(points())),
        (loader(Pairs(points()), sampler=DistributedSampler(range(64), 2, 0)), Pairs(points())),
        (Subset(Pairs(points()), range(32)), Pairs(points()[:32])),
        (Pairs(points()), points()),  # streamed or resident
    ],
)
def test_data_of_many_kinds_train_alike(data: Any, expected: Any) -> None:
    states = [Trainer(*networks(), CONFIG).fit(each, workers=0) for each in (data, expected)]
    assert same(*map(weights, states))


def test_a_loader_brings_its_workers_and_prepares_them() -> None:
    class Opened(Pairs):
        def __getitem__(self, row: int) -> tuple[Any, int]:
            assert worker_begun
            return super().__getitem__(row)

    worker_begun: list[int] = []
    data = loader(Opened(points()), num_workers=1, worker_init_fn=worker_begun.append)
    state = Trainer(*networks(), CONFIG).fit(data)
    assert same(weights(state), weights(Trainer(*networks(), CONFIG).fit(Pairs(points()), workers=0)))
    assert not worker_begun  # another process has it


def masked() -> Any:
    return np.ma.masked_greater(points().numpy(), 1)


class Many(Pairs):
    """More samples than a random integer can name."""

    def __init__(self) -> None:
        pass

    def __len__(self) -> int:
        return 2**31 + 1


class Endless(IterableDataset[Tensor]):
    def __iter__(self) -> Any:
        return iter(points())


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (loader(Pairs(points()), batch_size=4), ValueError, "batch_size 4, but the config has 8"),
        (loader(Pairs(points()), batch_size=None), ValueError, "batch_size None"),
        (
            loader(Pairs(points()), sampler=WeightedRandomSampler([1.0] * 64, 64)),
            ValueError,
            "DataLoader with a WeightedRandomSampler",
        ),
        (loader(Pairs(points()), collate_fn=list), ValueError, "collate_fn, which a Trainer does not call"),
        (
            loader(Pairs(points()), sampler=SequentialSampler(range(10))),
            ValueError,
            "DataLoader with a SequentialSampler of 10 of 64 samples, but a Trainer draws all .*Subset",
        ),
        (
            loader(TensorDataset(points()), sampler=RandomSampler(range(32))),
            ValueError,
            "RandomSampler of 32 of 64 samples",
        ),
        (
            loader(Pairs(points()), sampler=DistributedSampler(range(32), 2, 0)),
            ValueError,
            "DistributedSampler of 32 of 64 samples",
        ),
        (loader(Endless()), TypeError, "data is a Endless, an IterableDataset, but .*map-style dataset"),
        (Endless(), TypeError, "data is a Endless, an IterableDataset, but .*map-style dataset"),
        (masked(), ValueError, "data has masked values, .*fill them, or leave them out"),
        (Pairs(masked()), ValueError, "data has masked values"),
        (points().numpy().astype(np.int64), TypeError, "data is int64, expected floats, or pixels of uint8"),
        (points().bool(), TypeError, "data is torch.bool, expected floats, or pixels"),
        (np.array([["a"]]), TypeError, "data is <U1"),
        (Many(), ValueError, "data holds 2147483649 samples, expected at most 2147483648; train on a part"),
        (
            points().double() * 1e200,
            ValueError,
            "nan or infinite values, expected finite ones of torch.float32",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_are_named(data: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Trainer(*networks(), CONFIG).fit(data)


@pytest.mark.parametrize("of", [networks, layered], ids=["MLP", "autograd"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "instance_noise": 0.1, "latent": "uniform"},
        {"r1_gamma": 1.0, "dragan_weight": 1.0, "gp_weight": 1.0},
        {"objective": "began"},
        {"update": "simultaneous", "precision": "bf16"},
    ],
    ids=str,
)
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_networks_of_float64_train(
    of: Callable[..., Any], settings: dict[str, Any], default: torch.dtype
) -> None:
    """Whatever the default dtype is, with the numbers of float32 to rounding."""
    config, trained = replace(CONFIG, **settings), []
    outputs = 2 if config.objective == "began" else 1
    pairs = [of(outputs=outputs), [network.double() for network in of(outputs=outputs)]]
    try:
        torch.set_default_dtype(default)
        for pair, data in zip(pairs, (points(), points(torch.float64)), strict=True):
            trained.append(
                torch.cat(
                    [p.detach().flatten() for p in Trainer(*pair, config).fit(data).average.parameters()]
                )
            )
    finally:
        torch.set_default_dtype(torch.float32)
    assert trained[1].dtype is torch.float64
    if config.precision == "fp32":
        torch.testing.assert_close(trained[0].double(), trained[1], rtol=1e-2, atol=1e-4)


def test_settings_as_numpy_and_lists_have_them() -> None:
    config = TrainConfig(
        steps=np.int64(3),
        learning_rate=np.float32(0.5),
        betas=[0.5, np.float64(0.9)],
        device=torch.device("cpu"),
    )
    assert config == TrainConfig(steps=3, learning_rate=0.5, betas=(0.5, 0.9))
    assert [
        type(value) for value in (config.steps, config.learning_rate, config.betas[1], config.device)
    ] == [
        int,
        float,
        float,
        str,
    ]
