"""Networks of classes, training with labels, and samples of a class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import fastgan
from fastgan import penalties
from fastgan.chains import chain_of
from fastgan.data import DataError, load
from fastgan.models import FAMILIES as ALL
from fastgan.models import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator, pretrained
from fastgan.models.labels import Labels
from fastgan.training import ConfigError, TrainConfig, Trainer, checkpoint
from fastgan.training.capture import EagerSteps
from fastgan.training.labels import in_order, picture_count
from fastgan.training.run import read_config
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback
from fastgan.training.window import Window
from tests.pictures import pixels_of, undrawn_pictures
from tests.test_cli import one_line, run

CLASSES = 3
CONFIG = TrainConfig(
    steps=6,
    batch_size=8,
    latent_dim=5,
    labels=True,
    r1_gamma=1.0,
    penalty_interval=2,
    log_interval=3,
    sample_interval=6,
    checkpoint_interval=3,
)


def samples(count: int = 40) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    return labels[:, None] + torch.randn(count, 2, generator=rng), labels


def mlps() -> tuple[MLPGenerator, MLPDiscriminator]:
    torch.manual_seed(0)
    generator = MLPGenerator(5, (2,), (9, 7), bounded=False, num_classes=CLASSES)
    return generator, MLPDiscriminator((2,), (8, 6), num_classes=CLASSES)


def dcgans() -> tuple[DCGANGenerator, DCGANDiscriminator]:
    torch.manual_seed(0)
    generator = DCGANGenerator(5, (1, 12, 16), (4, 3), num_classes=CLASSES)
    return generator, DCGANDiscriminator((1, 12, 16), (3, 4), num_classes=CLASSES)


FAMILIES = {"mlp": mlps, "dcgan": dcgans}
Networks = Callable[[], tuple[nn.Module, nn.Module]]


# --- networks


def plain_latent(generator: Any, latent: Tensor, y: Tensor) -> Tensor:
    vectors = generator.labels.vectors.weight[y]
    return torch.cat([latent, vectors / vectors.pow(2).sum(1, keepdim=True).sqrt()], 1)


def plain_generator(generator: Any, latent: Tensor, y: Tensor) -> Tensor:
    x = plain_latent(generator, latent, y)
    if isinstance(generator, MLPGenerator):
        *hidden, last = generator.mlp.layers
        for layer in hidden:
            x = F.leaky_relu(F.linear(x, layer.weight, layer.bias), 0.2)
        return F.linear(x, last.weight, last.bias)
    height, width, channels = generator.smallest
    x = F.linear(x, generator.project.weight).view(-1, height, width, channels).permute(0, 3, 1, 2)
    image: Tensor = generator.layers(x)
    return image


def plain_discriminator(discriminator: Any, x: Tensor, y: Tensor) -> Tensor:
    if isinstance(discriminator, MLPDiscriminator):
        *hidden, last = discriminator.mlp.layers
        for layer in hidden:
            x = F.leaky_relu(F.linear(x, layer.weight, layer.bias), 0.2)
        outputs = F.linear(x, last.weight, last.bias)
    else:
        first = discriminator.first
        x = F.leaky_relu(F.conv2d(x, first.weight, first.bias, 2, 1), 0.2)
        for convolution, norm in zip(discriminator.convolutions, discriminator.norms, strict=True):
            x = F.leaky_relu(norm(F.conv2d(x, convolution.weight, None, 2, 1)), 0.2)
        outputs = F.conv2d(x, discriminator.last.weight, discriminator.last.bias).flatten(1)
    vectors = discriminator.labels.vectors.weight[y]
    products = torch.einsum("nf,nf->n", outputs[:, 1:], vectors) / math.sqrt(outputs.shape[1] - 1)
    return outputs[:, :1] + products[:, None]


def gradients(network: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("networks", FAMILIES.values(), ids=FAMILIES)
def test_networks_compute_what_plain_pytorch_does(networks: Networks) -> None:
    generator, discriminator = (network.double() for network in networks())
    latent, y = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % CLASSES
    fake = generator(latent, y)
    expected = plain_generator(generator, latent, y)
    torch.testing.assert_close(fake, expected)
    weight = torch.randn_like(fake)
    torch.testing.assert_close(
        gradients(generator, (weight * fake).sum()), gradients(generator, (weight * expected).sum())
    )
    x = torch.randn_like(fake)
    logits, expected = discriminator(x, y), plain_discriminator(discriminator, x, y)
    assert logits.shape == (7, 1)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(
        gradients(discriminator, logits.square().sum()), gradients(discriminator, expected.square().sum())
    )


@pytest.mark.parametrize("networks", FAMILIES.values(), ids=FAMILIES)
def test_r1_of_a_discriminator_of_classes(networks: Networks) -> None:
    discriminator = networks()[1].double().eval()  # batch statistics would warn
    shape = (2,) if networks is mlps else (1, 12, 16)
    x, y = torch.randn(7, *shape, dtype=torch.float64), torch.arange(7) % CLASSES
    ours = penalties.r1(discriminator, x, 2.0, conditions=(y,))
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(plain_discriminator(discriminator, leaf, y).sum(), leaf, create_graph=True)
    theirs = slope.square().sum() / 7
    torch.testing.assert_close(ours, theirs)
    parameters = list(discriminator.parameters())
    got, expected = (torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (ours, theirs))
    for found, wanted in zip(got, expected, strict=True):
        # of biases, on which the slope does not depend: None or zeros
        found, wanted = (torch.zeros(()) if t is None or not t.any() else t for t in (found, wanted))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("networks", FAMILIES.values(), ids=FAMILIES)
def test_classes_matter_to_both(networks: Networks) -> None:
    generator, discriminator = (network.eval() for network in networks())
    latent, zeros = torch.randn(1, 5).expand(2, -1), torch.zeros(2, dtype=torch.int64)
    made = generator(latent, torch.tensor([0, 1]))
    assert not torch.equal(made[0], made[1])
    same = generator(latent, zeros)
    torch.testing.assert_close(same[0], same[1])
    logits = discriminator(same, torch.tensor([0, 1]))
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("name", [name for name, family in ALL.items() if family.has_classes])
def test_families_that_have_classes_take_labels(name: str) -> None:
    shape, y = (1, 32, 32), torch.arange(4)
    fake = ALL[name].generator(5, shape, [8, 7], num_classes=4)(torch.randn(4, 5), y)
    assert fake.shape == (4, *shape)
    assert ALL[name].discriminator(shape, [7, 8], num_classes=4)(fake, y).shape == (4, 1)


def test_without_classes_nothing_changes() -> None:
    generator, discriminator = MLPGenerator(5, (2,), (9,), bounded=True), MLPDiscriminator((2,), (8,))
    assert list(generator.state_dict()) == [f"mlp.layers.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")]
    assert not isinstance(chain_of(generator), str)
    assert not isinstance(chain_of(discriminator), str)
    assert chain_of(mlps()[0]) == "labels is a Labels"
    fused = fastgan.fuse(DCGANDiscriminator((1, 12, 16), (3, 4)))
    assert fused(torch.randn(2, 1, 12, 16)).shape == (2, 1)


LABELS: dict[str, tuple[Any, type[Exception], str]] = {
    "none": (None, ValueError, "y is missing, expected labels of 3 classes for 4 samples"),
    "floats": (torch.zeros(4), TypeError, "y must be int64, but is torch.float32"),
    "a column": (torch.zeros(4, 1, dtype=torch.int64), ValueError, r"y must have shape \[4\], one label"),
    "too few": (torch.zeros(3, dtype=torch.int64), ValueError, r"y must have shape \[4\], one label"),
    "too large": (torch.tensor([0, 3, 1, 2]), ValueError, "y has labels from 0 to 3, expected 0 to 2"),
    "negative": (torch.tensor([0, -1, 1, 2]), ValueError, "y has labels from -1 to 2, expected 0 to 2"),
}


@pytest.mark.parametrize("networks", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize(("y", "error", "message"), LABELS.values(), ids=LABELS)
def test_wrong_labels_are_named(networks: Networks, y: Any, error: type[Exception], message: str) -> None:
    generator, discriminator = networks()
    latent = torch.randn(4, 5)
    with pytest.raises(error, match=message):
        generator(latent, y)
    fake = generator(latent, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(error, match=message):
        discriminator(fake, y)


def test_networks_without_classes_take_no_labels() -> None:
    y = torch.zeros(4, dtype=torch.int64)
    for call in (
        lambda: MLPGenerator(5, (2,), (9,), bounded=True)(torch.randn(4, 5), y),
        lambda: MLPDiscriminator((2,), (8,))(torch.randn(4, 2), y),
        lambda: DCGANGenerator(5, (1, 12, 16), (4, 3))(torch.randn(4, 5), y),
        lambda: Labels(0, 5)(y, 4),
    ):
        with pytest.raises(ValueError, match="y was given to a network without classes; build it with"):
            call()
    with pytest.raises(ValueError, match="num_classes must not be negative, but is -1"):
        MLPDiscriminator((2,), (8,), num_classes=-1)


def test_compiled_networks_do_not_wait_for_labels() -> None:
    """The range of labels is not checked there, which would break the graph."""
    generator, _ = mlps()
    latent, y = torch.randn(4, 5), torch.arange(4) % CLASSES
    program = torch.export.export(generator, (latent, y)).module()
    torch.testing.assert_close(program(latent, y), generator(latent, y))


# --- steps


def discriminator_loss(
    discriminator: nn.Module, real: Tensor, fake: Tensor, y: Tensor, place: Tensor
) -> Tensor:
    """With R1 and WGAN-GP of weight 1."""
    loss = F.softplus(-discriminator(real, y)).mean() + F.softplus(discriminator(fake, y)).mean()
    between = fake + (real - fake) * place
    loss = loss + slope_of(discriminator, real, y).square().sum(1).mean() / 2
    return loss + (slope_of(discriminator, between, y).norm(dim=1) - 1).square().mean()


def slope_of(discriminator: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(leaf, y).sum(), leaf, create_graph=True)
    return slope


def moved(network: nn.Module, loss: Tensor) -> list[Tensor]:
    """Weights after a step of a quarter of the gradients."""
    parameters = list(network.parameters())
    grads = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return [p.detach() - grad / 4 for p, grad in zip(parameters, grads, strict=True)]


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
def test_a_step_has_the_gradients_of_plain_pytorch(update: Any) -> None:
    config = replace(CONFIG, update=update, gp_weight=0.5, r1_gamma=0.5, learning_rate=0.25)
    config = replace(config, optimizer="sgd", momentum=(0.0, 0.0), learning_rate_decay=0.0)
    x, y = samples()
    state, twin = (TrainingState(*(n.double() for n in mlps()), config) for _ in range(2))
    source, again = (Resident(x.double(), classes=y) for _ in range(2))
    state.hold()
    EagerSteps(state, source, Window(state)).advance(1)

    twin.draws.begin_step(True)
    real, latents = again.batch(twin, 0), [twin.latents(1), twin.latents(1)]
    labels = again.labels
    assert labels is not None
    generator, discriminator = twin.generator, twin.discriminator
    fake = generator(latents[0], labels)
    loss = discriminator_loss(discriminator, real, fake.detach(), labels, twin.uniform(len(real), 1))
    of_discriminator = moved(discriminator, loss)
    if update == "alternating":
        with torch.no_grad():
            for p, new in zip(discriminator.parameters(), of_discriminator, strict=True):
                p.copy_(new)
        fake = generator(latents[1], labels)
    of_generator = moved(generator, F.softplus(-discriminator(fake, labels)).mean())
    for found, expected in ((state.discriminator, of_discriminator), (state.generator, of_generator)):
        for p, wanted in zip(found.parameters(), expected, strict=True):
            torch.testing.assert_close(p.detach(), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("objective", ["bce", "relativistic", "hinge"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"update": "simultaneous"},
        {"discriminator_steps": 2},
        {"precision": "bf16", "instance_noise": 0.1},
    ],
    ids=str,
)
def test_real_and_generated_samples_of_a_turn_have_one_label(
    objective: str, settings: dict[str, Any]
) -> None:
    seen: list[tuple[str, Tensor]] = []

    class Noting(nn.Module):
        def __init__(self, name: str, network: nn.Module) -> None:
            super().__init__()
            self.name, self.network = name, network

        def forward(self, input: Tensor, y: Tensor) -> Tensor:
            seen.append((self.name, y.clone()))
            result: Tensor = self.network(input, y)
            return result

    x, y = samples()
    config = replace(CONFIG, objective=objective, **settings)
    networks = map(Noting, ("G", "D"), mlps())
    state = TrainingState(*networks, config)  # type: ignore[misc]
    EagerSteps(state, Resident(x, classes=y), Window(state)).advance(1)
    turns = config.discriminator_steps
    assert len({tuple(labels.tolist()) for _, labels in seen}) == turns
    last = seen[-1][1]
    assert all(torch.equal(labels, last) for name, labels in seen[-2:])
    assert sum(name == "G" for name, _ in seen) == (1 if settings.get("update") else turns + 1)
    assert all(t.isfinite().all() for t in state.tensors().values())


def test_labels_do_not_change_a_run_without_them() -> None:
    """Neither its random numbers nor its steps."""
    x, y = samples()
    networks = MLPGenerator(5, (2,), (9, 7), bounded=False), MLPDiscriminator((2,), (8, 6))
    initial = [{k: t.clone() for k, t in network.state_dict().items()} for network in networks]
    ends = []
    for data in (x, TensorDataset(x, y)):
        for network, start in zip(networks, initial, strict=True):
            network.load_state_dict(start)
        state = Trainer(*networks, replace(CONFIG, labels=False)).fit(data)
        ends.append([t.clone() for t in state.tensors().values()])
    assert all(map(torch.equal, *ends))


# --- data of a trainer


class Items(Dataset[tuple[Tensor, int]]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.x[row], int(self.y[row])


def as_dataset(x: Tensor, y: Tensor) -> fastgan.data.Dataset:
    return fastgan.data.Dataset("ours", x, labels=y)


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensors": lambda x, y: (x, y),
    "arrays": lambda x, y: (x.numpy(), y.numpy().astype(np.uint8)),
    "TensorDataset": TensorDataset,
    "Dataset": as_dataset,
    "items": Items,
    "DataLoader": lambda x, y: DataLoader(Items(x, y), batch_size=8, shuffle=True),
    "DataLoader of a TensorDataset": lambda x, y: DataLoader(TensorDataset(x, y), 8, shuffle=True),
}


@pytest.mark.parametrize("settings", [{}, {"discriminator_steps": 2}], ids=str)
def test_all_forms_of_data_give_the_same_bits(settings: dict[str, Any]) -> None:
    config = replace(CONFIG, **settings)
    ends = {}
    for name, form in FORMS.items():
        state = Trainer(*mlps(), config).fit(form(*samples()), workers=0)
        ends[name] = torch.cat([t.double().flatten() for t in state.tensors().values()])
    assert all(torch.equal(end, ends["tensors"]) for end in ends.values())
    made = state.average(state.latent(4), torch.tensor([0, 1, 2, 0]))
    assert made.shape == (4, 2)


def _without_label(x: Tensor, y: Tensor) -> Any:
    class Bare(Items):
        def __getitem__(self, row: int) -> Any:
            return self.x[row]

    return Bare(x, y)


MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no labels": (
        lambda: Trainer(*mlps(), CONFIG).fit(samples()[0]),
        ValueError,
        r"labels is True, but data has no labels; give \(samples, labels\) or a TensorDataset of both",
    ),
    "labels that are not wanted": (
        lambda: Trainer(*mlps(), replace(CONFIG, labels=False)).fit(samples()),  # type: ignore[arg-type]
        TypeError,
        r"data is a tuple, .*with labels=True also a tuple \(samples, labels\)",
    ),
    "classes without labels": (
        lambda: Trainer(*mlps(), replace(CONFIG, labels=False)).fit(samples()[0]),
        ValueError,
        "generator has num_classes=3, but labels is False; train with labels=True and data with labels",
    ),
    "networks without classes": (
        lambda: Trainer(nn.Linear(5, 2), nn.Linear(2, 1), CONFIG).fit(samples()),
        ValueError,
        "generator does not take latent_dim=5 with labels: ",
    ),
    "a discriminator without classes": (
        lambda: Trainer(mlps()[0], MLPDiscriminator((2,), (8,)), CONFIG).fit(samples()),
        ValueError,
        r"discriminator does not take samples of shape \[2\] with labels: y was given to a network without",
    ),
    "floats": (
        lambda: Trainer(*mlps(), CONFIG).fit((samples()[0], samples()[1].float())),
        TypeError,
        r"data has labels of torch.float32, expected whole numbers such as torch.int64",
    ),
    "too few": (
        lambda: Trainer(*mlps(), CONFIG).fit((samples()[0], samples()[1][:-1])),
        DataError,
        r"data: labels are torch.int64 of shape \[39\], expected torch.int64 of shape \[40\]",
    ),
    "negative": (
        lambda: Trainer(*mlps(), CONFIG).fit((samples()[0], samples()[1] - 1)),
        DataError,
        "data: a label is -1, expected classes counted from 0",
    ),
    "too many classes": (
        lambda: Trainer(*mlps(), CONFIG).fit((samples()[0], samples()[1] + 1)),
        ValueError,
        "data has labels up to 3, but the networks have num_classes=3",
    ),
    "items without a label": (
        lambda: Trainer(*mlps(), CONFIG).fit(_without_label(*samples()), workers=0),
        DataError,
        r"data\[\d+\] has no label; give items \(sample, label\), or train without labels",
    ),
    "items of a class that there is not": (
        lambda: Trainer(*mlps(), CONFIG).fit(Items(samples()[0], samples()[1] + 3), workers=0),
        DataError,
        r"data\[\d+\] has label \d, expected 0 to 2",
    ),
    "packs": (
        lambda: TrainConfig(labels=True, pack=2),
        ConfigError,
        "pack is 2, expected 1 with labels, as a pack would have several",
    ),
    "an autoencoder": (
        lambda: TrainConfig(labels=True, objective="began"),
        ConfigError,
        "labels is True, expected False for the began objective",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


class SavesAtThree(Callback):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_checkpoint(self, state: TrainingState) -> None:
        if state.step == 3:
            checkpoint.save(self.folder, state)


@pytest.mark.parametrize("form", ["tensors", "items"])
def test_a_resumed_run_has_the_same_bits(form: str, tmp_path: Path) -> None:
    data = FORMS[form](*samples())
    whole = Trainer(*mlps(), CONFIG, [SavesAtThree(tmp_path)]).fit(data, workers=0)
    rest = Trainer(*mlps(), CONFIG)
    checkpoint.restore(checkpoint.read(tmp_path), rest.state)
    assert rest.state.step == 3
    resumed = rest.fit(data, workers=0)
    expected = whole.tensors()
    assert all(torch.equal(t, expected[name]) for name, t in resumed.tensors().items())


# --- data sets


def test_labels_of_data_sets() -> None:
    digits = load("digits")
    assert digits.labels is not None
    assert digits.num_classes == 10
    with pytest.warns(UserWarning, match="stacks scikit-learn's"):
        stacked = load("stacked", Path("nowhere"))
    assert stacked.labels is not None
    assert stacked.num_classes == 1_000
    channel, number = stacked.samples[7], int(stacked.labels[7])
    for place, digit in enumerate(f"{number:03d}"):
        of_class = digits.samples[digits.labels == int(digit)]
        assert (of_class == channel[place]).flatten(1).all(1).any()
    assert load("ring").labels is None
    assert load("ring").num_classes == 0


def test_a_subfolder_is_a_class(tmp_path: Path) -> None:
    for number, name in enumerate(("cats/a", "dogs", "cats")):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 6), 40 * number).save(tmp_path / name / "x.png")
    data = load(str(tmp_path))
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1]
    Image.new("L", (6, 6)).save(tmp_path / "loose.png")
    assert load(str(tmp_path)).labels is None


def _write_idx(path: Path, array: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes())


def test_labels_next_to_idx_images(tmp_path: Path) -> None:
    images = tmp_path / "train-images-idx3-ubyte"
    _write_idx(images, np.arange(4 * 36).reshape(4, 6, 6))
    assert load(str(images)).labels is None
    _write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([2, 0, 1, 2]))
    labels = load(str(images)).labels
    assert labels is not None
    assert labels.tolist() == [2, 0, 1, 2]
    _write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([2, 0, 1]))
    with pytest.raises(DataError, match=r"labels are torch.int64 of shape \[3\], expected .* \[4\]"):
        load(str(images))


# --- commands


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as monkeypatch, undrawn_pictures():
        arguments = ("train", "digits", "--labels", "--steps", 20, "--batch-size", 16, "--out", folder)
        assert run(monkeypatch, *arguments) == 0
    return folder


def test_a_run_knows_its_classes(digits: Path) -> None:
    config = read_config(digits, device="cpu")
    assert config.training.labels
    assert config.num_classes == 10
    generator = fastgan.load(digits)
    assert generator.num_classes == 10
    assert generator.sample(20).shape == (20, 1, 8, 8)
    latent = torch.randn(2, generator.latent_dim)
    chosen = generator(latent, torch.tensor([3, 5]))
    assert not torch.equal(chosen, generator(latent, torch.tensor([5, 3])))


def test_a_resumed_command_has_the_same_bits(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run of 20 steps, and one that is stopped before its end, whose schedules are those of 20 too."""
    folder = tmp_path / "run"
    steps: Any = ("--steps", 20, "--batch-size", 16, "--checkpoint-interval", 10, "--keep", 5)
    with undrawn_pictures():
        assert run(monkeypatch, "train", "digits", "--labels", *steps, "--out", folder) == 0
        (folder / "checkpoint-00000020.safetensors").unlink()
        (folder / "summary.json").unlink()
        assert run(monkeypatch, "train", "--resume", folder) == 0
    of_whole, of_parts = (checkpoint.read(path).tensors for path in (digits, folder))
    assert all(torch.equal(t, of_whole[name]) for name, t in of_parts.items())


def test_sample_draws_the_classes_asked_for(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.npy"
    generator = fastgan.load(digits)
    for options, classes in (
        (("--class", "3"), [3]),
        (("--class", "3,5"), [3, 5]),
        (("--class", 7, "--class", 0), [7, 0]),
        ((), list(range(10))),
    ):
        assert run(monkeypatch, "sample", digits, "--out", out, "--count", 20, *options) == 0
        latent = torch.randn(20, generator.latent_dim, generator=torch.Generator().manual_seed(0))
        labels = torch.tensor(classes).repeat_interleave(20 // len(classes))
        expected = ((generator(latent, labels) + 1) * 127.5).clamp(0, 255).round().detach()
        found = torch.from_numpy(np.load(out)).movedim(3, 1).float()
        assert (found - expected).abs().max() <= 1


def test_a_picture_has_rows_of_each_class(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [picture_count(range(n)) for n in (0, 1, 2, 3, 10, 16, 17)] == [64, 64, 64, 81, 100, 256, 64]
    assert in_order([4, 7], 5).tolist() == [4, 4, 4, 7, 7]
    assert in_order(range(1_000), 4).tolist() == [0, 250, 500, 750]
    columns = in_order(range(10), 100).view(10, 10)
    assert torch.equal(columns, torch.arange(10)[:, None].expand(10, 10))
    for arguments in (("sample", "--class", 3), ("interpolate", "--rows", 2, "--class", 9)):
        out = tmp_path / "p.png"
        assert run(monkeypatch, arguments[0], digits, "--out", out, *arguments[1:]) == 0
        assert pixels_of(out).std() > 0


def test_evaluate_counts_the_samples_of_the_class_asked_for(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    options = ("--count", 200, "--classifier-dir", tmp_path)
    assert run(monkeypatch, "evaluate", digits, *options) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    share = float({name.strip(): value for name, value in rows.items()}["of the class asked for"])
    assert 0 <= share <= 1


@pytest.mark.parametrize("kind", ["onnx", "torch-export", "safetensors"])
def test_exports_take_labels(
    kind: str,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    out = tmp_path / f"g{'.onnx' if kind == 'onnx' else '.pt2' if kind == 'torch-export' else ''}"
    capsys.readouterr()
    assert run(monkeypatch, "export", digits, "--format", kind, "--out", out) == 0
    assert "from latent [N, 32] and labels [N] to samples, checked" in capsys.readouterr().out
    if kind == "safetensors":
        loaded = pretrained.load(out)
        latent, labels = torch.randn(3, 32), torch.tensor([1, 2, 9])
        torch.testing.assert_close(loaded(latent, labels), fastgan.load(digits)(latent, labels))


COMMANDS: dict[str, tuple[tuple[object, ...], str]] = {
    "a class that there is not": (
        ("sample", "RUN", "--class", "3,10"),
        "--class 10: unknown, expected 0 to 9",
    ),
    "no number": (("sample", "RUN", "--class", "three"), "--class three: unknown, expected 0 to 9"),
    "two classes between": (
        ("interpolate", "RUN", "--class", "3,5"),
        "--class 3,5: unknown, expected 0 to 9",
    ),
    "points": (("train", "ring", "--labels"), "--labels, but ring has none; use mnist, digits,"),
    "a paper's networks": (
        ("train", "digits", "--labels", "--recipe", "goodfellow2014"),
        "model is 'goodfellow', whose networks take no labels; omit --labels, or use mlp or dcgan",
    ),
    "packs": (("train", "digits", "--labels", "--pack", 2), "pack is 2, expected 1 with labels"),
    "another setting": (("train", "--resume", "RUN", "--no-labels", "--steps", 30), "labels is False"),
}


@pytest.mark.parametrize(("arguments", "message"), COMMANDS.values(), ids=COMMANDS)
def test_bad_input_is_one_line(
    arguments: tuple[object, ...],
    message: str,
    digits: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    assert run(monkeypatch, *(digits if word == "RUN" else word for word in arguments)) == 2
    assert message in one_line(capsys)


def test_a_run_without_labels_has_no_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with undrawn_pictures():
        assert run(monkeypatch, "train", "digits", "--steps", 2, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert run(monkeypatch, "sample", tmp_path / "run", "--class", 3) == 2
    assert "--class 3: the run was trained without labels; omit it, or train with" in one_line(capsys)
    with pytest.raises(ValueError, match="class 3: the run was trained without labels; omit it"):
        fastgan.load(tmp_path / "run").sample(4, classes=[3])
