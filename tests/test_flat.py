"""Parameters end to end in one buffer, whatever their owner does with them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from fastgan.models import MLPDiscriminator, MLPGenerator
from fastgan.training import TrainConfig, Trainer, checkpoint
from fastgan.training.adam import Adam
from fastgan.training.flat import FlatParameters, flat_parameters
from fastgan.training.sgd import SGD
from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow

CONFIG = TrainConfig(steps=6, batch_size=16, latent_dim=3, log_interval=2)


def networks() -> tuple[MLPGenerator, MLPDiscriminator]:
    torch.manual_seed(0)
    return MLPGenerator(3, (2,), [8], bounded=False), MLPDiscriminator((2,), [8])


def data() -> Tensor:
    return torch.randn(100, 2, generator=torch.Generator().manual_seed(1))


def flat_of(network: nn.Module) -> FlatParameters:
    (flat,) = flat_parameters(list(network.parameters()))
    return flat


def test_values_and_objects_stay() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = copy.deepcopy(network.state_dict())
    parameters = list(network.parameters())
    flat = flat_of(network)
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    flat.values.add_(1)
    assert all(torch.equal(before[name] + 1, t) for name, t in network.state_dict().items())
    assert all(p.data_ptr() % 128 == flat.values.data_ptr() % 128 for p in parameters)


def test_strides_stay() -> None:
    network = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    before = network.weight.detach().clone(memory_format=torch.preserve_format)
    flat = flat_of(network)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(network.weight, before)
    assert flat.views(flat.grads)[0].stride() == before.stride()


def test_a_buffer_for_each_dtype_and_none_for_what_is_frozen() -> None:
    network = nn.ModuleList(
        [nn.Linear(2, 2), nn.Linear(2, 2).double(), nn.Linear(2, 2).requires_grad_(False)]
    )
    flats = flat_parameters(list(network.parameters()))
    assert [(flat.values.dtype, len(flat.parameters)) for flat in flats] == [
        (torch.float32, 2),
        (torch.float64, 2),
    ]


@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_the_average_follows_a_parameter_without_a_gradient(optimizer: type[Adam] | type[SGD]) -> None:
    """As one has in a step in which stochastic depth leaves its layer out."""
    parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.float64))]
    means = [torch.zeros(3), torch.zeros(3, dtype=torch.float64)]
    flats = flat_parameters(parameters, means)
    numbers = torch.tensor(0.5), torch.tensor(0.25)  # the rate, and how far an average goes
    if optimizer is Adam:
        mover: Adam | SGD = Adam(flats, numbers[0], (0.5, 0.999), numbers[1])
    else:
        mover = SGD(flats, numbers[0], torch.tensor(0.9), numbers[1])
    mover.step()
    assert all(p.eq(1).all() for p in parameters)
    assert all(mean.eq(0.25).all() for mean in means)


def test_weights_tied_by_their_memory_are_refused() -> None:
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = nn.Parameter(first.weight.detach().t())
    with pytest.raises(
        ValueError, match=r"shapes \[3, 3\] and \[3, 3\], share memory; tie weights by giving"
    ):
        flat_parameters([*first.parameters(), *second.parameters()])


@pytest.mark.parametrize("move", ["data", "assign", "trainer"])
def test_weights_that_were_moved_are_trained_on(move: str) -> None:
    """By ``p.data = ...``, by load_state_dict(assign=True), by another trainer of the same networks."""

    def train(between: bool) -> dict[str, Tensor]:
        generator, discriminator = networks()
        trainer = Trainer(generator, discriminator, CONFIG)
        if between and move == "data":
            for p in generator.parameters():
                p.data = p.detach().clone()
        elif between and move == "assign":
            state = {name: t.clone() for name, t in generator.state_dict().items()}
            with torch.no_grad():
                for p, t in zip(generator.parameters(), state.values(), strict=True):
                    p.set_(t)
        elif between:
            Trainer(generator, discriminator, CONFIG)
        trainer.fit(data())
        assert trainer.state.generator is generator
        return generator.state_dict()

    moved, usual = train(True), train(False)
    assert all(torch.equal(moved[name], usual[name]) for name in usual)


def test_a_parameter_of_both_players() -> None:
    """Each player moves it in its own turn, as two optimizers of PyTorch would."""
    shared = nn.Linear(2, 2)
    generator, discriminator = nn.Sequential(shared), nn.Sequential(shared, nn.Linear(2, 1))
    config = TrainConfig(steps=3, batch_size=8, latent_dim=2, log_interval=1, ema_decay=0.0)
    seen: list[Tensor] = []

    class Look(Callback):
        def on_log(self, state: TrainingState, row: LogRow) -> None:
            seen.append(shared.weight.detach().clone())
            assert generator[0].weight is discriminator[0].weight

    trainer = Trainer(generator, discriminator, config, [Look()])
    trainer.fit(data())
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    mean = next(trainer.state.average.parameters())
    assert torch.equal(mean, shared.weight)


def test_what_a_callback_does_to_weights_counts_under_autocast() -> None:
    """The bfloat16 copy follows what is changed from outside."""
    seen = []

    class Clip(Callback):
        def on_log(self, state: TrainingState, row: LogRow) -> None:
            with torch.no_grad():
                for p in state.discriminator.parameters():
                    p.zero_()

    class Look(Callback):
        def on_log(self, state: TrainingState, row: LogRow) -> None:
            seen.append(row.values["loss_D"])

    config = TrainConfig(
        steps=3, batch_size=16, latent_dim=3, log_interval=1, precision="bf16", learning_rate=1e-30
    )
    Trainer(*networks(), config, [Clip(), Look()]).fit(data())
    assert seen[0] != pytest.approx(2 * 0.6931472, abs=1e-4)
    assert seen[1:] == pytest.approx([2 * 0.6931472] * 2, abs=1e-6)


def test_a_checkpoint_is_of_each_parameter(tmp_path: Path) -> None:
    trainer = Trainer(*networks(), CONFIG)
    trainer.fit(data())
    path = checkpoint.save(tmp_path, trainer.state)
    read = checkpoint.read(tmp_path)
    assert path.stat().st_size < 40_000
    assert read.tensors["generator_optimizer.exp_avg.0"].shape == (8, 3)
    other = Trainer(*networks(), CONFIG).state
    checkpoint.restore(read, other)
    for name, t in other.tensors().items():
        assert torch.equal(t, trainer.state.tensors()[name]), name


def test_trained_networks_are_saved_by_others(tmp_path: Path) -> None:
    """Nothing shows them that the parameters lie in one buffer: neither an error nor the whole of it."""
    trainer = Trainer(*networks(), CONFIG)
    state = trainer.fit(data())
    for network in (state.generator, state.discriminator, state.average):
        save_model(network, str(tmp_path / "all.safetensors"))
        found = load_file(tmp_path / "all.safetensors")
        assert all(torch.equal(found[name], t) for name, t in network.state_dict().items())
        for p in network.parameters():
            assert p.untyped_storage().nbytes() == p.numel() * p.element_size()


def test_a_hook_on_a_weight_counts() -> None:
    """Without autograd there would be no gradient to call it with."""
    calls = []
    generator, discriminator = networks()
    for network in (generator, discriminator):
        next(network.parameters()).register_hook(lambda grad: calls.append(tuple(grad.shape)))
    Trainer(generator, discriminator, TrainConfig(steps=1, batch_size=8, latent_dim=3)).fit(data())
    assert sorted(calls) == [(8, 2), (8, 3)]
