"""Families of networks, and what feeds and moves them in the papers that they are from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fastgan.data import Dataset, load
from fastgan.models import (
    FAMILIES,
    GoodfellowDiscriminator,
    Maxout,
    PacGANGenerator,
    UnrolledDiscriminator,
    UnrolledGenerator,
    pretrained,
)
from fastgan.training import ConfigError, TrainConfig, Trainer
from fastgan.training.draws import GeneratorDraws
from fastgan.training.flat import flat_parameters
from fastgan.training.latent import draw_latent
from fastgan.training.recipes import PUBLISHED, published_recipe, recipe_for
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import interpolation
from fastgan.training.sgd import SGD
from tests.test_cli import one_line, run

IMAGES = Dataset("mnist", torch.rand(40, 1, 6, 6) * 2 - 1)
SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 8, 12))
ONLY_IMAGES = "dcgan", "stylegan2", "r3gan"
DATA = {"points": load("ring"), "images": IMAGES}
RECIPES = [(name, kind) for name, recipes in PUBLISHED.items() for kind in recipes]


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in FAMILIES for shape in SHAPES if len(shape) == 3 or name not in ONLY_IMAGES],
)
def test_networks_of_a_family_fit_each_other(name: str, shape: tuple[int, ...]) -> None:
    family = FAMILIES[name]
    fake = family.generator(5, shape, [8, 7])(torch.randn(4, 5))
    assert fake.shape == (4, *shape)
    judged = family.discriminator(shape, [9, 7])(fake)
    assert judged.shape == (fake.shape if name == "autoencoder" else (4, 1))


@pytest.mark.parametrize("name", ["stylegan2", "r3gan"])
def test_image_families_are_exported_and_trained(name: str, tmp_path: Path) -> None:
    shape, hidden = (3, 8, 8), (4, 6)
    family = FAMILIES[name]
    generator, discriminator = family.generator(5, shape, hidden[::-1]), family.discriminator(shape, hidden)
    config = TrainConfig(
        steps=2, batch_size=4, latent_dim=5, r1_gamma=1.0, penalty_interval=2, precision="bf16"
    )
    average = Trainer(generator, discriminator, config).fit(torch.randn(8, *shape)).average
    latent = torch.randn(3, 5)
    samples = average(latent)
    program = torch.export.export(average, (latent[:2],), dynamic_shapes=({0: torch.export.Dim("N")},))
    torch.testing.assert_close(program.module()(latent), samples)
    pretrained.save(tmp_path, average, model=name, latent_dim=5, sample_shape=shape, hidden=hidden[::-1])
    torch.testing.assert_close(pretrained.load(tmp_path)(latent), samples)


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = Maxout(3, 4, pieces=5).double()
    input = torch.randn(6, 3, dtype=torch.float64)
    weight, bias = layer.linear.weight.view(5, 4, 3), layer.linear.bias.view(5, 4)
    for unit in range(4):
        pieces = input @ weight[:, unit].t() + bias[:, unit]
        torch.testing.assert_close(layer(input)[:, unit], pieces.max(dim=1).values)


def test_a_published_generator_normalizes_its_batch() -> None:
    generator = PacGANGenerator(2, (2,), [16, 16])
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in generator) == 2
    assert generator[0].bias is None
    assert generator[-2].bias is not None


def test_dropout_of_the_discriminator_is_drawn_anew() -> None:
    discriminator = GoodfellowDiscriminator((1, 6, 6), [12, 12])
    images = torch.rand(4, 1, 6, 6)
    assert not torch.equal(discriminator(images), discriminator(images))
    discriminator.eval()
    assert torch.equal(discriminator(images), discriminator(images))


def test_unrolled_networks_have_the_maps_of_the_paper() -> None:
    recipe = PUBLISHED["unrolled"]["images"]
    generator = UnrolledGenerator(256, (3, 28, 28), recipe.generator)
    discriminator = UnrolledDiscriminator((3, 28, 28), recipe.discriminator)
    kinds = nn.ConvTranspose2d, nn.Conv2d
    shapes = []
    for layer in (layer for net in (generator, discriminator) for layer in net.modules()):
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(output.shape[1:])))
    logits = discriminator(generator(torch.randn(2, 256)))
    assert shapes[:4] == [(32, 7, 7), (16, 14, 14), (8, 28, 28), (3, 28, 28)]
    assert shapes[4:] == [(2, 14, 14), (4, 7, 7), (8, 4, 4)]
    assert logits.shape == (2, 1)


def test_unrolled_networks_without_a_map_are_refused() -> None:
    for build in (lambda: UnrolledGenerator(5, (1, 8, 8), ()), lambda: UnrolledDiscriminator((1, 8, 8), ())):
        with pytest.raises(ValueError, match="hidden is empty, expected the channels"):
            build()


@pytest.mark.parametrize("side", [8, 12, 13, 14, 27, 28])
def test_unrolled_networks_fit_images_of_any_side(side: int) -> None:
    images = UnrolledGenerator(5, (1, side, side + 1), (8, 6, 4))(torch.randn(2, 5))
    assert images.shape == (2, 1, side, side + 1)
    assert UnrolledDiscriminator((1, side, side + 1), (3, 4))(images).shape == (2, 1)


def test_unrolled_networks_of_points_are_relu_layers_that_begin_orthogonal() -> None:
    recipe = PUBLISHED["unrolled"]["points"]
    generator = FAMILIES["unrolled"].generator(256, (2,), recipe.generator)
    discriminator = FAMILIES["unrolled"].discriminator((4,), recipe.discriminator)
    linear = [
        [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
        for net in (generator, discriminator)
    ]
    assert [[layer.out_features for layer in layers] for layers in linear] == [[128, 128, 2], [128, 1]]
    middle = linear[0][1].weight
    torch.testing.assert_close(middle @ middle.t(), 0.8**2 * torch.eye(128), atol=1e-4, rtol=0)
    points = torch.randn(3, 4)
    first, last = linear[1]
    torch.testing.assert_close(discriminator(points), last(first(points / 4).relu()))


@pytest.mark.parametrize(("name", "kind"), RECIPES)
def test_published_recipes_train(name: str, kind: str) -> None:
    data = DATA[kind]
    recipe = published_recipe(name, data)
    config = replace(recipe.config, steps=3, batch_size=8, log_interval=1)
    small = replace(recipe, generator=(16, 16), discriminator=(8, 8), config=config)
    config = RunConfig.of("data", data, small)
    before = config.build_generator()
    trainer = Trainer(config.build_generator(), config.build_discriminator(), config.training)
    trainer.state.generator.load_state_dict(before.state_dict())
    state = trainer.fit(data)
    for ours, theirs in zip(state.generator.parameters(), before.parameters(), strict=True):
        assert not torch.equal(ours, theirs)


@pytest.mark.parametrize(("name", "kind"), [("pacgan", "images"), ("goodfellow2014", "points")])
def test_a_recipe_of_other_samples_is_refused(name: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"recipe is '{name}', which is for .*, and .* of another kind"):
        published_recipe(name, DATA[kind])


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ConfigError, match="recipe is 'dcgan', expected pacgan, goodfellow2014, unrolled"):
        published_recipe("dcgan", IMAGES)


def test_sgd_is_classical_momentum() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    learning_rate, momentum = torch.tensor(0.1), torch.tensor(0.5)
    optimizer = SGD(flat_parameters([weight]), learning_rate, momentum, torch.tensor(0.0))
    expected, velocity = weight.detach().clone(), torch.zeros(2)
    for step in range(4):
        learning_rate.fill_(0.1 / (step + 1))
        momentum.fill_(0.5 + 0.1 * step)
        grad = torch.tensor([3.0, -1.0]) * (step + 1)
        weight.grad = grad.clone()
        optimizer.flats[0].gather()
        optimizer.step()
        velocity = momentum * velocity - learning_rate * grad
        expected += velocity
    torch.testing.assert_close(weight.detach(), expected)
    torch.testing.assert_close(optimizer.tensors()["velocity.0"], velocity)
    assert weight.grad is None


def test_momentum_rises_and_the_learning_rate_halves() -> None:
    config = TrainConfig(
        steps=400, learning_rate=1.0, learning_rate_decay=0.0, learning_rate_half_life=100, momentum_steps=200
    )
    assert [config.momentum_at(step) for step in (0, 100, 200, 399)] == pytest.approx([0.5, 0.6, 0.7, 0.7])
    assert [config.learning_rates_at(step)[0] for step in (0, 100, 200)] == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_latent_vectors_have_unit_variance(latent: str) -> None:
    drawn = draw_latent((50_000, 2), latent, GeneratorDraws(torch.Generator().manual_seed(0)))  # type: ignore[arg-type]
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1, abs=0.02)
    assert (drawn.abs().max() <= math.sqrt(3)) == (latent == "uniform")


def test_uniform_vectors_are_joined_by_lines_within_their_cube() -> None:
    identity = nn.Linear(3, 3, bias=False)
    nn.init.eye_(identity.weight)
    found = interpolation(identity, 4, 3, 0, "uniform").view(4, 4, 3)
    torch.testing.assert_close(found[:, 1], torch.lerp(found[:, 0], found[:, -1], 1 / 3))
    assert found.abs().max() <= math.sqrt(3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 48, 64), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("model", ["stylegan2", "r3gan"])
def test_recipes_of_image_models_fit_the_image(model: str, shape: tuple[int, ...]) -> None:
    data = Dataset("photos", torch.zeros(1, *shape))
    config = RunConfig.of("photos", data, recipe_for(data, model=model))
    fake = config.build_generator()(torch.randn(4, config.training.latent_dim))
    assert fake.shape == (4, *shape)
    assert config.build_discriminator()(fake).shape == (4, 1)


@pytest.mark.parametrize("model", ["stylegan2", "r3gan"])
def test_image_models_name_what_they_do_not_fit(model: str) -> None:
    with pytest.raises(ConfigError, match=f"model is '{model}', which is for images, and .* has points"):
        recipe_for(DATA["points"], model=model)
    odd = Dataset("photos", torch.zeros(1, 3, 33, 33))
    with pytest.raises(ConfigError, match=rf"model is '{model}', and photos: images of shape \(3, 33, 33\)"):
        recipe_for(odd, model=model)


def test_a_batch_of_stylegan2_consists_of_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", "digits", "--model", "stylegan2", "--batch-size", 30, "--out", tmp_path / "run")
    assert run(monkeypatch, *command) == 2
    assert "batch_size is 30, expected a multiple of 4: D of stylegan2 sees groups" in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["stylegan2", "r3gan"])
def test_image_models_are_trained_from_the_command_line(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("--steps", 2, "--batch-size", 8, "--latent-dim", 8, "--labels", "--augment")
    assert run(monkeypatch, "train", "digits", "--model", model, *settings, "--out", "run") == 0
    assert run(monkeypatch, "sample", "run", "--class", 3, "--count", 4, "--out", "threes.png") == 0
    assert Path("threes.png").exists()
    assert run(monkeypatch, "train", "--resume", "run", "--steps", 3) == 0
    assert "trained at step 3" in capsys.readouterr().out
