"""Differentiable augmentation of D's images, its adaptive probability, and training with both."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import HostReads
from torch import Tensor, nn

import fastgan
from fastgan import AdaptiveProbability, TrainConfig, Trainer, augment
from fastgan.augmenting import DRAWN
from fastgan.training import Callback
from fastgan.training.capture import EagerSteps
from fastgan.training.config import ConfigError
from fastgan.training.source import Resident
from fastgan.training.state import PROBABILITY, TrainingState
from fastgan.training.step import _shown_generated
from fastgan.training.window import Window
from tests.test_cli import one_line, run

CONFIG = TrainConfig(
    steps=12,
    batch_size=8,
    latent_dim=3,
    log_interval=4,
    sample_interval=12,
    checkpoint_interval=4,
    augment=True,
    augment_images=200,
)


def one_by_one(images: Tensor, probability: float, numbers: Tensor) -> Tensor:
    """What :func:`augment` says it does, pixel by pixel."""
    results = []
    for image, row in zip(images, numbers.tolist(), strict=True):
        brighten, saturate, contrast, shift, cut = (number < probability for number in row[:5])
        channels, height, width = image.shape
        if brighten:
            image = image + (row[5] - 0.5)
        if saturate:
            grey = image.mean(0, keepdim=True)
            image = grey + 2 * row[6] * (image - grey)
        if contrast:
            mean = image.mean()
            image = mean + (0.5 + row[7]) * (image - mean)
        down, right = (
            int(number * (2 * int(size / 8 + 0.5) + 1)) - int(size / 8 + 0.5) if shift else 0
            for number, size in zip(row[8:10], (height, width), strict=True)
        )
        cuts = [
            cut_of(number, size) if cut else range(0)
            for number, size in zip(row[10:], (height, width), strict=True)
        ]
        result = torch.zeros(channels, height, width, dtype=image.dtype)
        for y in range(height):
            for x in range(width):
                is_cut = y in cuts[0] and x in cuts[1]
                if 0 <= y - down < height and 0 <= x - right < width and not is_cut:
                    result[:, y, x] = image[:, y - down, x - right]
        results.append(result)
    return torch.stack(results)


def cut_of(number: float, size: int) -> range:
    """As in the code of Zhao et al.: an offset, and the length around it."""
    length = int(size / 2 + 0.5)
    offset = int(number * (size + 1 - length % 2))
    return range(offset - length // 2, offset - length // 2 + length)


def images_and_numbers(shape: tuple[int, ...] = (6, 3, 8, 12)) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=rng, dtype=torch.float64) * 2 - 1
    return images, torch.rand(shape[0], DRAWN, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(20, 3, 8, 12), (20, 1, 7, 9), (20, 2, 20, 6), (5, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_images_are_changed_as_documented(shape: tuple[int, ...], probability: float) -> None:
    images, numbers = images_and_numbers(shape)
    expected = one_by_one(images, probability, numbers)
    torch.testing.assert_close(augment(images, probability, numbers), expected)
    on_device = torch.tensor(probability, dtype=torch.float64)
    assert torch.equal(augment(images, on_device, numbers), augment(images, probability, numbers))
    if probability == 0:
        assert torch.equal(expected, images)


def test_numbers_at_the_ends_of_their_range() -> None:
    images, _ = images_and_numbers()
    for number in (0.0, 1 - 2.0**-53):
        numbers = torch.full((len(images), DRAWN), number, dtype=torch.float64)
        torch.testing.assert_close(augment(images, 1.0, numbers), one_by_one(images, 1.0, numbers))


def test_derivatives_of_any_order() -> None:
    images, numbers = images_and_numbers((3, 2, 4, 8))
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, 0.8, numbers), images)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, 0.8, numbers).square(), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_dtypes_and_memory_formats(dtype: torch.dtype, layout: torch.memory_format) -> None:
    images, numbers = images_and_numbers()
    low = images.to(dtype, memory_format=layout).requires_grad_()
    made = augment(low, 1.0, numbers.float())
    assert made.dtype is dtype
    assert made.is_contiguous()
    expected = augment(low.detach().double(), 1.0, numbers.float())
    torch.testing.assert_close(made.double(), expected, atol=4 * torch.finfo(dtype).eps, rtol=0)
    (grad,) = torch.autograd.grad(made.float().sum(), low)
    assert grad.dtype is dtype


def test_transforms_differentiate_it_too() -> None:
    images, numbers = images_and_numbers()
    direction = torch.randn_like(images)
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad((augment(leaf, 0.8, numbers) * direction).sum(), leaf)
    found = torch.func.grad(lambda x: (augment(x, 0.8, numbers) * direction).sum())(images)
    torch.testing.assert_close(found, expected)
    _, along = torch.func.jvp(lambda x: augment(x, 0.8, numbers), (images,), (direction,))
    torch.testing.assert_close((along * direction).sum(), (expected * direction).sum())
    stacked = torch.func.vmap(lambda x: augment(x, 0.8, numbers))(torch.stack([images, -images]))
    torch.testing.assert_close(stacked[0], augment(images, 0.8, numbers))


def test_each_operation_is_applied_as_often_as_asked() -> None:
    torch.manual_seed(0)
    images = torch.rand(4000, 3, 8, 8) - 0.5
    changed = (augment(images, 0.25) != images).flatten(1).any(1).double().mean().item()
    # a shift is none in one of 9 draws; a square always cuts something, except in a corner of 9 * 9 places
    none = 0.75**3 * (1 - 0.25 * 8 / 9) * (1 - 0.25 * (1 - 1 / 81))
    assert changed == pytest.approx(1 - none, abs=4 * math.sqrt(none * (1 - none) / 4000))


def test_augmentation_keeps_nan_where_it_is_shown() -> None:
    images, numbers = images_and_numbers((2, 1, 8, 8))
    images[0] = math.nan
    numbers[:, 4] = 1.0  # no cut
    made = augment(images, 0.9, numbers)
    assert made[0].isnan().any()
    assert not made[1].isnan().any()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((torch.zeros(4, 2),), ValueError, r"images have shape \[4, 2\], expected \[N, C, H, W\]"),
        (
            (torch.zeros(4, 1, 8, 8, dtype=torch.uint8),),
            TypeError,
            r"images are torch.uint8, expected floats",
        ),
        (
            (torch.zeros(4, 1, 8, 8), 1.0, torch.zeros(4, 3)),
            ValueError,
            r"numbers have shape \[4, 3\], expected \[4, 12\]",
        ),
        ((torch.zeros(4, 1, 8, 8), 1.5), ValueError, "probability is 1.5, expected a number from 0 to 1"),
        (
            (torch.zeros(4, 1, 8, 8), math.nan),
            ValueError,
            "probability is nan, expected a number from",
        ),
        ((torch.zeros(5, 1, 8, 8), torch.ones(5)), ValueError, r"probability has shape \[5\], expected a sc"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[Any, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        augment(*arguments)


def test_probability_follows_the_sign() -> None:
    """Every fourth step by four steps' images, up above the target and down below it, within [0, 1]."""
    probability = AdaptiveProbability(target=0.5, images=100)
    signs = [1.0, 1.0, 0.0, 0.5] * 2 + [0.4] * 8 + [1.0] * 32
    seen = []
    for sign in signs:
        probability.adapt(torch.tensor(sign), 10)
        seen.append(round(probability.value.item(), 6))
    assert seen[:16] == [0, 0, 0, 0.4, 0.4, 0.4, 0.4, 0.8, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4, 0]
    assert seen[-1] == 1
    for _ in range(4):
        probability.adapt(torch.tensor(0.5), 10)  # exactly the target
    assert probability.value == 1
    probability.adapt(torch.tensor(math.nan), 10)
    for _ in range(7):
        probability.adapt(torch.tensor(0.0), 10)
    assert probability.value < 1  # nan lasts for four steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0,), "target is 1.0"), ((math.nan,), "target is nan"), ((0.6, 0), "images is 0")],
)
def test_bad_adaptive_probabilities_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptiveProbability(*arguments)


def networks(pack: int = 1) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64 * pack, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    return generator, discriminator


def data() -> Tensor:
    return torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def weights_after(config: TrainConfig) -> Tensor:
    state = Trainer(*networks(config.pack), config).fit(data())
    return torch.cat(
        [p.detach().flatten() for p in (*state.generator.parameters(), *state.discriminator.parameters())]
    )


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
def test_probability_0_changes_nothing(update: str) -> None:
    config = replace(CONFIG, augment_images=500_000, update=update, instance_noise=0.1, capture=False)
    without = weights_after(replace(config, augment=False))
    assert torch.equal(weights_after(replace(config, augment_probability=0.0)), without)
    assert not torch.allclose(weights_after(replace(config, augment_probability=1.0)), without, atol=1e-4)


@pytest.mark.parametrize("pack", [1, 2])
def test_the_gradient_of_generated_images_passes_through(pack: int) -> None:
    config = replace(CONFIG, augment_probability=0.7, augment_images=500_000, pack=pack, instance_noise=0.1)
    state = TrainingState(*networks(pack), config)
    fake = data()[:8]
    numbers: list[Tensor] = []
    draw = state.uniform
    state.uniform = lambda *shape: numbers.append(draw(*shape)) or numbers[-1]  # type: ignore[method-assign, func-returns-value]
    state.draws.begin_step(False)
    shown, reach_samples = _shown_generated(state, fake)
    assert shown.shape == (8 // pack, pack, 8, 8)
    grad = torch.randn_like(shown)
    leaf = fake.clone().requires_grad_()
    (expected,) = torch.autograd.grad(augment(leaf, 0.7, *numbers), leaf, grad.view_as(leaf))
    torch.testing.assert_close(reach_samples(grad), expected)
    assert not torch.equal(expected, grad.view_as(leaf))


class Rows(Callback):
    """Remembers the values of the log."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_log(self, state: TrainingState, row: Any) -> None:
        self.values.append(dict(row.values))


OBJECTIVES = ("bce", "hinge", "least-squares", "mse", "hinge-margin", "relativistic", "relativistic-average")


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_sign_is_that_of_the_logits_of_real_images(objective: str, update: str) -> None:
    """Against D's own logits in the first step, for which the probability is still 0."""
    config = replace(CONFIG, steps=1, log_interval=1, objective=objective, update=update)
    seen: list[Tensor] = []
    generator, discriminator = networks()
    discriminator[-1].bias.data.fill_(0.4)
    before = copy.deepcopy(discriminator)
    pairs = (discriminator[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach())),)
    rows = Rows()
    Trainer(generator, discriminator, config, [rows]).fit(data())
    for hook in pairs:
        hook.remove()
    shown = torch.cat([batch for batch in seen if len(batch) < 64 and batch.unique().numel() > 1][1:])
    with torch.no_grad():
        real, fake = before(shown[:16]).split(8)
    neither = {"least-squares": 0.5, "mse": 0.5}.get(objective, 0.0)
    lead = real - {"relativistic": fake, "relativistic-average": fake.mean()}.get(objective, neither)
    assert rows.values[0]["sign(D(x))"] == pytest.approx(lead.sign().mean().item())


def test_the_probability_is_logged_and_adapts() -> None:
    rows = Rows()
    state = Trainer(*networks(), replace(CONFIG, augment_target=-0.99), [rows]).fit(data())
    # every sign is above the target: 3 changes by 4 * 8 / 200; rows are means of four steps, the last changed
    assert [row[PROBABILITY] for row in rows.values] == pytest.approx([0.04, 0.2, 0.36])
    assert state.adaptive is not None
    assert state.adaptive.value.item() == pytest.approx(0.48)
    rows = Rows()
    Trainer(*networks(), replace(CONFIG, augment_probability=0.5, augment_images=500_000), [rows]).fit(data())
    assert PROBABILITY not in rows.values[0]
    assert "sign(D(x))" in rows.values[0]


@pytest.mark.parametrize("settings", [{}, {"update": "simultaneous"}, {"precision": "bf16"}], ids=str)
def test_steps_do_not_wait_for_the_device(settings: dict[str, Any]) -> None:
    state = TrainingState(*networks(), replace(CONFIG, **settings))
    steps = EagerSteps(state, Resident(data()), Window(state))
    steps.advance(1)
    with HostReads() as reads:
        for _ in range(3):
            steps.advance(1)
    assert reads.count == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment_probability": 1.5}, "augment_probability is 1.5, expected a number from 0 to 1"),
        ({"augment_target": 1.0}, "augment_target is 1.0, expected a number between -1 and 1"),
        ({"augment_images": 0}, "augment_images is 0, expected a whole number from 1"),
        ({"objective": "wasserstein"}, "augment_probability is None, expected a number for the wasserstein"),
        ({"objective": "began"}, "augment is True, expected False for the began objective"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **settings)
    replace(CONFIG, objective="wasserstein", augment_probability=0.5, augment_images=500_000)


def test_points_are_not_augmented() -> None:
    pair = nn.Linear(3, 2), nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"augment is True, which is for images, and .* shape \[2\]"):
        Trainer(*pair, CONFIG).fit(torch.zeros(8, 2))


def test_a_resumed_run_is_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ("--log-interval", 4, "--checkpoint-interval", 4, "--sample-interval", 100, "--batch-size", 32)
    command = ("train", "digits", "--augment", "--augment-images", 500, "--augment-target", -0.9, *common)
    schedule = ("--learning-rate-decay", 0, "--instance-noise", 0)
    assert run(monkeypatch, *command, *schedule, "--steps", 12, "--out", "whole") == 0
    assert run(monkeypatch, *command, *schedule, "--steps", 8, "--out", "parts") == 0
    assert run(monkeypatch, "train", "--resume", "parts", "--steps", 12) == 0
    whole, parts = (fastgan.load(folder).state_dict() for folder in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [Path(folder, "metrics.jsonl").read_text() for folder in ("whole", "parts")]
    assert all(f'"{PROBABILITY}": 0.' in log for log in logs)
    capsys.readouterr()
    run(monkeypatch, "train", "digits", "--augment-probability", 0.5, "--steps", 1, "--out", "without")
    assert "augment_probability has no effect; give --augment" in capsys.readouterr().err
    assert run(monkeypatch, "train", "ring", "--augment") == 2
    assert "augment is True, which is for images" in one_line(capsys)
