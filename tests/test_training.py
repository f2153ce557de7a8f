"""The trainer: what it computes, what it never waits for, and what a checkpoint brings back."""

from __future__ import annotations

import copy
import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils._python_dispatch import TorchDispatchMode

from fastgan.data import Dataset, load
from fastgan.files import WriteError, write_text
from fastgan.plots import save_samples
from fastgan.training import Callback, ConfigError, DivergenceError, TrainConfig, Trainer, checkpoint
from fastgan.training.capture import EagerSteps
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.recipes import RECIPES, recipe_for
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import sample
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState, packed
from fastgan.training.window import Window

CONFIG = TrainConfig(
    steps=20, batch_size=16, latent_dim=3, log_interval=4, sample_interval=10, checkpoint_interval=10
)


def networks(batch_norm: bool = False) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8) if batch_norm else nn.Identity()
    generator = nn.Sequential(nn.Linear(3, 8), copy.deepcopy(norm), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    discriminator = nn.Sequential(nn.Linear(2, 8), norm, nn.LeakyReLU(0.2), nn.Linear(8, 1))
    return generator, discriminator


def data() -> Tensor:
    return load("ring").samples[:100]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_discriminator_turn_is_bce(batch_norm: bool) -> None:
    _, discriminator = networks(batch_norm)
    reference = copy.deepcopy(discriminator)
    real, fake = torch.randn(6, 2), torch.randn(4, 2)
    statistics = LossObjective().discriminator_turn(discriminator, real, fake)
    real_logits, fake_logits = reference(real), reference(fake)
    expected = bce(real_logits, torch.ones(6, 1)) + bce(fake_logits, torch.zeros(4, 1))
    expected.backward()
    torch.testing.assert_close(statistics["loss_D"], expected.detach())
    torch.testing.assert_close(statistics["D(x)"], real_logits.sigmoid().mean().detach())
    torch.testing.assert_close(statistics["D(G(z))"], fake_logits.sigmoid().mean().detach())
    for ours, theirs in zip(discriminator.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


class Centred(nn.Module):
    """A layer of someone else's, which looks at the whole batch."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples - samples.mean(dim=0)


@pytest.mark.parametrize("layer", [Centred(), nn.Dropout(0.5), nn.utils.spectral_norm(nn.Linear(2, 2))])
def test_unknown_layers_see_real_and_fake_apart(layer: nn.Module) -> None:
    batches: list[int] = []
    discriminator = nn.Sequential(layer, nn.Linear(2, 1))
    layer.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    LossObjective().discriminator_turn(discriminator, torch.randn(6, 2), torch.randn(4, 2))
    assert batches == [6, 4]


def test_known_layers_see_real_and_fake_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    forward = nn.Linear.forward
    monkeypatch.setattr(
        nn.Linear, "forward", lambda self, samples: batches.append(len(samples)) or forward(self, samples)
    )
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 1))
    LossObjective().discriminator_turn(discriminator, torch.randn(6, 2), torch.randn(4, 2))
    assert batches == [10, 10]


@pytest.mark.parametrize("saturating", [False, True])
def test_generator_turn_is_bce_and_leaves_the_discriminator_alone(saturating: bool) -> None:
    generator, discriminator = networks()
    discriminator[0].bias.requires_grad_(False)
    reference = copy.deepcopy(generator)
    latent = torch.randn(6, 3)
    objective = LossObjective(saturating=saturating)
    fake = generator(latent)
    grad, statistics = objective.generator_turn(discriminator, torch.randn(6, 2), fake)
    fake.backward(grad)
    logits = discriminator(reference(latent))
    expected = -bce(logits, torch.zeros(6, 1)) if saturating else bce(logits, torch.ones(6, 1))
    expected.backward(inputs=list(reference.parameters()))
    torch.testing.assert_close(statistics["loss_G"], expected.detach())
    for ours, theirs in zip(generator.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert [p.requires_grad for p in discriminator.parameters()] == [True, False, True, True]


def test_the_average_has_the_generators_buffers_and_frozen_parameters() -> None:
    generator, discriminator = networks(batch_norm=True)
    frozen = generator[0].bias.requires_grad_(False)
    state = TrainingState(generator, discriminator, CONFIG)
    steps = EagerSteps(state, Resident(data()), Window(state))
    steps.advance(1)
    with torch.no_grad():
        frozen.add_(1)
    steps.advance(1)
    buffers = dict(state.average.named_buffers())
    assert buffers["1.num_batches_tracked"] > 0
    for name, buffer in generator.named_buffers():
        assert torch.equal(buffers[name], buffer), name
    assert torch.equal(state.average[0].bias, frozen)


def test_penalties_come_once_in_an_interval_and_count_as_many() -> None:
    config = replace(CONFIG, r1_gamma=1.0, penalty_interval=3)
    assert [config.penalizes_at(step) for step in range(7)] == [True, False, False, True, False, False, True]
    assert not any(replace(config, r1_gamma=0.0).penalizes_at(step) for step in range(7))

    def first_step(config: TrainConfig) -> Tensor:
        state = TrainingState(*networks(), config)
        EagerSteps(state, Resident(data()), Window(state)).advance(1)
        return torch.cat([p.detach().flatten() for p in state.discriminator.parameters()])

    for name in ("r1_gamma", "r2_gamma", "gp_weight", "dragan_weight"):
        at_once = replace(CONFIG, penalty_interval=1, optimizer="sgd", **{name: 6.0})
        spread = replace(at_once, penalty_interval=3, **{name: 2.0})
        torch.testing.assert_close(first_step(spread), first_step(at_once))
        assert not torch.equal(first_step(at_once), first_step(replace(at_once, **{name: 2.0})))


class HostReads(TorchDispatchMode):
    """Counts the operations that make the host wait for a value."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"discriminator_steps": 2},
        {"update": "simultaneous"},
        {"r1_gamma": 1.0, "penalty_interval": 2, "gradient_clip": 1.0},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_steps_do_not_wait_for_the_device(settings: dict[str, Any]) -> None:
    state = TrainingState(*networks(), replace(CONFIG, instance_noise=0.1, **settings))
    window = Window(state)
    steps = EagerSteps(state, Resident(data()), window)
    steps.advance(1)
    with HostReads() as reads:
        for _ in range(3):
            steps.advance(1)
    assert reads.count == 0
    assert window.close().shape == (4, 7)


class Events(Callback):
    """Remembers when it was called."""

    def __init__(self) -> None:
        self.logs: list[int] = []
        self.samples: list[int] = []
        self.checkpoints: list[int] = []

    def on_log(self, state: TrainingState, row: Any) -> None:
        self.logs.append(row.step)

    def on_sample(self, state: TrainingState) -> None:
        self.samples.append(state.step)

    def on_checkpoint(self, state: TrainingState) -> None:
        self.checkpoints.append(state.step)


def test_callbacks_come_at_their_intervals() -> None:
    events = Events()
    Trainer(*networks(), CONFIG, [events]).fit(data())
    assert events.logs == [4, 8, 10, 12, 16, 20]
    assert events.samples == events.checkpoints == [10, 20]


def test_takes_a_data_set_and_trains_any_pair_in_place() -> None:
    generator, discriminator = networks(batch_norm=True)
    before = copy.deepcopy(generator.state_dict())
    state = Trainer(generator, discriminator, CONFIG).fit(load("ring"))
    assert state.step == CONFIG.steps
    assert all(not torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert sample(state.average, 5, 3, seed=0).shape == (5, 2)


@pytest.mark.parametrize(
    ("samples", "kind", "message"),
    [
        ([[0.0, 1.0]], TypeError, "data is a list"),
        (torch.zeros(3, 2, dtype=torch.int64), TypeError, "data is torch.int64"),
        (torch.zeros(0, 2), ValueError, "data holds no sample"),
        (torch.tensor([[0.0, float("nan")]]), ValueError, "data holds nan"),
        (torch.zeros(3, 5), ValueError, r"shape \[2\], expected \[5\] as in data"),
    ],
)
def test_bad_data_is_named(samples: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Trainer(*networks(), CONFIG).fit(samples)


@pytest.mark.parametrize("player", [0, 1], ids=["generator", "discriminator"])
def test_a_player_without_anything_to_train_is_named(player: int) -> None:
    pair = networks()
    pair[player].requires_grad_(False)
    with pytest.raises(ValueError, match=f"{('generator', 'discriminator')[player]} has no parameter"):
        Trainer(*pair, CONFIG)


def test_generator_of_another_latent_dim_is_named() -> None:
    with pytest.raises(ValueError, match="latent_dim=7"):
        Trainer(*networks(), replace(CONFIG, latent_dim=7)).fit(data())


def test_a_stopped_trainer_can_go_on() -> None:
    trainer = Trainer(*networks(), CONFIG)
    trainer.stop()
    assert trainer.fit(data()).step == 1
    assert trainer.fit(data()).step == CONFIG.steps


def test_threads_are_set_while_training() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    events = Events()
    events.on_log = lambda state, row: seen.append(torch.get_num_threads())  # type: ignore[method-assign]
    Trainer(*networks(), replace(CONFIG, threads=before + 1), [events]).fit(data())
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_same_seed_gives_the_same_weights() -> None:
    runs = [Trainer(*networks(), CONFIG).fit(data()).average.state_dict() for _ in range(2)]
    other = Trainer(*networks(), replace(CONFIG, seed=1)).fit(data()).average.state_dict()
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not torch.equal(runs[0]["0.weight"], other["0.weight"])


def test_sample_depends_on_the_seed_alone() -> None:
    generator, _ = networks()
    first = sample(generator, 2_500, 3, seed=1)
    assert torch.equal(first, sample(generator, 2_500, 3, seed=1))
    assert not torch.equal(first, sample(generator, 2_500, 3, seed=2))


def test_stop_ends_after_the_step_with_a_checkpoint() -> None:
    events = Events()
    trainer = Trainer(*networks(), CONFIG, [events])
    events.on_log = lambda state, row: trainer.stop()  # type: ignore[method-assign]
    trainer.fit(data())
    assert events.checkpoints == [5]


def test_divergence_names_the_first_bad_step() -> None:
    generator, discriminator = networks()

    class Breaks(Callback):
        def on_log(self, state: TrainingState, row: Any) -> None:
            if row.step == 8:
                nn.init.constant_(discriminator[0].weight, float("nan"))

    with pytest.raises(DivergenceError, match="step 9"):
        Trainer(generator, discriminator, CONFIG, [Breaks()]).fit(data())


@pytest.mark.parametrize("batch_norm", [False, True])
def test_resumed_training_is_bit_for_bit_the_same(tmp_path: Path, batch_norm: bool) -> None:
    whole = Trainer(*networks(batch_norm), CONFIG).fit(data())

    class Saves(Callback):
        def on_checkpoint(self, state: TrainingState) -> None:
            if state.step == 10:
                checkpoint.save(tmp_path, state)

    Trainer(*networks(batch_norm), CONFIG, [Saves()]).fit(data())
    resumed = Trainer(*networks(batch_norm), CONFIG)
    checkpoint.restore(checkpoint.read(tmp_path), resumed.state)
    assert resumed.state.step == 10
    resumed.fit(data())
    for name in ("generator", "discriminator", "average"):
        ours, theirs = (getattr(state, name).state_dict() for state in (resumed.state, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_checkpoint_replaces_the_one_before(tmp_path: Path) -> None:
    state = TrainingState(*networks(), CONFIG)
    checkpoint.save(tmp_path, state)
    state.step = 7
    checkpoint.save(tmp_path, state)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-00000007.safetensors",
        "checkpoint.json",
    ]
    assert checkpoint.read(tmp_path).step == 7


def test_nan_weights_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    state = TrainingState(*networks(), CONFIG)
    checkpoint.save(tmp_path, state)
    state.step = 7
    nn.init.constant_(next(state.generator.parameters()), float("nan"))
    with pytest.raises(DivergenceError, match=r"generator\.0\.weight.*step 7"):
        checkpoint.save(tmp_path, state)
    assert checkpoint.read(tmp_path).step == 0


class Tied(nn.Module):
    """Two layers of one weight, a third of a part of it, and a buffer that is a view of another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.last = nn.Linear(3, 2)
        self.register_buffer("whole", torch.arange(6.0))
        self.register_buffer("part", self.whole[2:4])

    def forward(self, latent: Tensor) -> Tensor:
        return self.last(self.second(self.first(latent).relu()).relu())


def test_tied_weights_are_resumed_bit_for_bit(tmp_path: Path) -> None:
    class Saves(Callback):
        def on_checkpoint(self, state: TrainingState) -> None:
            if state.step == 10:
                checkpoint.save(tmp_path, state)

    def trainer(callbacks: list[Callback]) -> Trainer:
        torch.manual_seed(0)
        return Trainer(Tied(), networks()[1], CONFIG, callbacks)

    whole = trainer([Saves()]).fit(data())
    resumed = trainer([])
    checkpoint.restore(checkpoint.read(tmp_path), resumed.state)
    state = resumed.fit(data())
    theirs = whole.tensors()
    assert [name for name, t in state.tensors().items() if not torch.equal(t, theirs[name])] == []
    assert state.generator.second.weight is state.generator.first.weight
    generator = Tied()
    checkpoint.read(tmp_path).load_module("generator", generator)
    assert torch.equal(generator.part, generator.whole[2:4])


def test_buffers_and_frozen_weights_may_hold_infinities(tmp_path: Path) -> None:
    generator, discriminator = networks()
    generator.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    generator.register_buffer("kept", torch.ones(2, dtype=torch.bool))
    generator.register_buffer("place", torch.arange(2))
    discriminator.bound = nn.Parameter(torch.tensor(torch.inf), requires_grad=False)
    state = Trainer(generator, discriminator, CONFIG).fit(data())
    checkpoint.save(tmp_path, state)
    other = TrainingState(copy.deepcopy(generator), copy.deepcopy(discriminator), CONFIG)
    checkpoint.restore(checkpoint.read(tmp_path), other)
    assert torch.equal(other.average.mask, generator.mask)
    for name in ("generator", "discriminator", "average"):
        broken = copy.deepcopy(state)
        getattr(broken, name)[0].weight.data[0] = torch.nan
        with pytest.raises(DivergenceError, match=rf"{name}\.0\.weight is nan or infinite"):
            checkpoint.save(tmp_path, broken)
    broken = copy.deepcopy(state)
    broken.average.mask[0, 0] = torch.nan  # as a running variance becomes
    with pytest.raises(DivergenceError, match=r"average\.mask is nan or infinite"):
        checkpoint.save(tmp_path, broken)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk_of_safetensors(tensors: object, path: Path, metadata: object) -> None:
    path.write_bytes(b"half")
    raise SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("module", ["safetensors", "os"])
def test_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    state = TrainingState(*networks(), CONFIG)
    checkpoint.save(tmp_path, state)
    before = sorted(tmp_path.iterdir())
    state.step = 7
    if module == "os":
        monkeypatch.setattr(os, "fsync", full_disk)
    else:
        monkeypatch.setattr("fastgan.files.save_file", full_disk_of_safetensors)
    with pytest.raises(checkpoint.CheckpointError, match=r"00000007\.safetensors: cannot.*No space.*--out"):
        checkpoint.save(tmp_path, state)
    assert sorted(tmp_path.iterdir()) == before
    assert checkpoint.read(tmp_path).step == 0


def test_full_disk_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError, match=rf"{path}: cannot be written \(No space"):
        write_text(path, "after")
    with pytest.raises(WriteError, match=r"d\.png: cannot be written"):
        save_samples(tmp_path / "d.png", data(), "points")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    "damage", ["missing", "truncated", "flipped", "no json", "old json", "elsewhere", "no step"]
)
def test_damaged_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    path = checkpoint.save(tmp_path, TrainingState(*networks(), CONFIG))
    content = path.read_bytes()
    index = tmp_path / checkpoint.INDEX
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-10])
    elif damage == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "no json":
        index.write_text("{")
    else:
        content_of_index = json.loads(index.read_text())
        (entry,) = content_of_index["checkpoints"]
        change = {
            "old json": {"format": 0},
            "elsewhere": {"checkpoints": [{**entry, "tensors": f"../{path.name}"}]},
            "no step": {"checkpoints": [{**entry, "step": "1"}]},
        }
        index.write_text(json.dumps({**content_of_index, **change[damage]}))
    with pytest.raises(checkpoint.CheckpointError, match=r"checkpoint.*(restore|use)"):
        checkpoint.read(tmp_path)


def test_checkpoint_of_other_networks_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, TrainingState(*networks(), CONFIG))
    other = TrainingState(nn.Linear(3, 2), nn.Linear(2, 1), CONFIG)
    with pytest.raises(checkpoint.CheckpointError, match=r"its generator is not that of .*restore both"):
        checkpoint.restore(checkpoint.read(tmp_path), other)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("steps", True),
        ("steps", 2**31),
        ("learning_rate", "0.1"),
        ("betas", (0.5,)),
        ("device", None),
        ("device", "meta"),
        ("batch_size", -1),
        ("latent_dim", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("discriminator_learning_rate", 0.0),
        ("learning_rate_decay", 1.5),
        ("betas", (0.5, 1.0)),
        ("instance_noise", -0.1),
        ("ema_decay", 1.0),
        ("generator_loss", "wasserstein"),
        ("objective", "nonsaturating"),
        ("real_label", 0.0),
        ("real_label", 1.1),
        ("pack", 0),
        ("optimizer", "lion"),
        ("latent", "cauchy"),
        ("momentum", (0.5, 1.0)),
        ("learning_rate_half_life", 0),
        ("pack", 3),
        ("r2_gamma", -1.0),
        ("diversity_ratio", 0.0),
        ("diversity_ratio", 1.1),
        ("diversity_ratio", 0.9),  # of BEGAN alone
        ("balance_rate", 0.0),
        ("threads", 0),
        ("seed", -1),
        ("device", "toaster"),
    ],
)
def test_bad_setting_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        replace(CONFIG, **{field: value})


def test_learning_rate_falls_over_the_last_share_of_the_run() -> None:
    config = TrainConfig(steps=100, learning_rate=1.0, learning_rate_decay=0.5)
    rates = [config.learning_rates_at(step)[0] for step in (0, 50, 75, 99)]
    assert rates == pytest.approx([1, 1, 0.5, 0.02])
    assert replace(config, learning_rate_decay=0.0).learning_rates_at(99) == (1, 1)


def test_discriminator_has_a_learning_rate_of_its_own() -> None:
    moves = []
    for rate in (None, 0.05):
        config = replace(
            CONFIG,
            **{"optimizer": "sgd", "update": "simultaneous", "steps": 1, "learning_rate": 0.1},
            discriminator_learning_rate=rate,
        )
        players = networks()
        before = [[p.detach().clone() for p in player.parameters()] for player in players]
        Trainer(*players, config).fit(data())
        moves.append(
            [
                [p.detach() - q for p, q in zip(player.parameters(), old, strict=True)]
                for player, old in zip(players, before, strict=True)
            ]
        )
    (g, d), (g_again, d_slower) = moves
    torch.testing.assert_close(g_again, g, rtol=0, atol=0)
    torch.testing.assert_close(d_slower, [move / 2 for move in d])


def test_instance_noise_falls_to_zero_over_the_first_half() -> None:
    config = TrainConfig(steps=100, instance_noise=0.4)
    assert [config.noise_at(step) for step in (0, 25, 50, 99)] == pytest.approx([0.4, 0.2, 0, 0])


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_recipe_of_began_builds_an_autoencoder(name: str) -> None:
    shape = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}[name]
    data = Dataset(name, torch.zeros(1, *shape))
    config = RunConfig.of(name, data, recipe_for(data, "began"))
    fake = sample(config.build_generator(), 4, config.training.latent_dim, seed=0)
    assert config.build_discriminator()(fake).shape == fake.shape == (4, *shape)
    with pytest.raises(ConfigError, match="model is 'autoencoder', which the bce objective cannot train"):
        replace(
            config,
            training=replace(config.training, objective="bce", diversity_ratio=0.5, balance_rate=1e-3),
        )


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_builds_networks_that_fit(name: str) -> None:
    shape = {"ring": (2,), "grid": (2,), "digits": (1, 8, 8), "mnist": (1, 28, 28)}[name]
    recipe = recipe_for(Dataset(name, torch.zeros(1, *shape)))
    assert recipe is RECIPES[name]
    config = RunConfig.of(name, Dataset(name, torch.zeros(1, *shape)), recipe)
    fake = sample(config.build_generator(), 4, recipe.config.latent_dim, seed=0)
    assert fake.shape == (4, *shape)
    pack = recipe.config.pack
    assert config.build_discriminator()(packed(fake, pack)).shape == (4 // pack, 1)
