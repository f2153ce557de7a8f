"""The convolutional family: against plain PyTorch, in its memory order, and through every tool."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.data import Dataset
from fastgan.models import DCGANDiscriminator, DCGANGenerator
from fastgan.models.dcgan import dcgan_widths
from fastgan.training import ConfigError
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.recipes import recipe_for
from fastgan.training.run_config import RunConfig
from tests.test_cli import one_line, picture, run

IMAGE, WIDTHS = (3, 8, 12), [6, 10]


def test_widths_are_those_published() -> None:
    assert dcgan_widths((3, 64, 64)) == (64, 128, 256, 512)
    assert dcgan_widths((1, 32, 32)) == (64, 128, 256)
    assert dcgan_widths((1, 28, 28), first=32) == (32, 64)
    assert dcgan_widths((3, 32, 64)) == (64, 128, 256)


@pytest.mark.parametrize("size", [(33, 33), (64, 63), (4, 4), (36, 100), (72, 72)])
def test_sizes_that_do_not_halve_are_named(size: tuple[int, int]) -> None:
    """Odd ones, one too small, and two that are halved down to 9 pixels and no further."""
    data = Dataset("photos", torch.zeros(1, 3, *size))
    said = rf"photos: images of {size[0]} x {size[1]} pixels cannot be halved .* \(photos: --size\) to 28, 32"
    with pytest.raises(ConfigError, match=said):
        recipe_for(data, model="dcgan")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)], ids=str)
def test_recipe_builds_networks_that_fit(shape: tuple[int, ...]) -> None:
    data = Dataset("photos", torch.zeros(1, *shape))
    config = RunConfig.of("photos", data, recipe_for(data, model="dcgan"))
    fake = config.build_generator()(torch.randn(2, config.training.latent_dim))
    assert fake.shape == (2, *shape)
    assert config.build_discriminator()(fake).shape == (2, 1)


def test_initial_weights_are_those_published() -> None:
    for network in (DCGANGenerator(100, (3, 16, 16), [64, 32]), DCGANDiscriminator((3, 16, 16), [32, 64])):
        scales = []
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any()
            elif parameter.dim() > 1:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
                assert abs(parameter.mean()) < 0.002
            else:
                scales.append(parameter)
        assert torch.cat(scales).mean().item() == pytest.approx(1, abs=0.01)
        assert torch.cat(scales).std().item() == pytest.approx(0.02, rel=0.3)


def test_discriminator_is_plain_pytorch() -> None:
    ours = DCGANDiscriminator(IMAGE, WIDTHS).double()
    nn.init.normal_(ours.first.bias)
    samples = torch.randn(5, *IMAGE, dtype=torch.float64)

    def plain(samples: Tensor) -> Tensor:
        map = F.leaky_relu(F.conv2d(samples, ours.first.weight, ours.first.bias, 2, 1), 0.2)
        map = F.conv2d(map, ours.convolutions[0].weight, None, 2, 1)
        map = F.batch_norm(map, None, None, ours.norms[0].weight, ours.norms[0].bias, training=True)
        return F.conv2d(F.leaky_relu(map, 0.2), ours.last.weight, ours.last.bias).flatten(1)

    results: list[list[Tensor]] = []
    for network in (ours, plain):
        logits = network(samples)
        results.append([logits, *torch.autograd.grad(logits.square().sum(), list(ours.parameters()))])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


def test_symbolic_tracing() -> None:
    discriminator = DCGANDiscriminator((1, 16, 16), (4, 8)).eval()
    samples = torch.randn(2, 1, 16, 16)
    traced = torch.fx.symbolic_trace(discriminator)
    torch.testing.assert_close(traced(samples), discriminator(samples))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_maps_weights_and_gradients_are_channels_last(dtype: torch.dtype) -> None:
    def is_last(tensor: Tensor) -> bool:
        return tensor.is_contiguous(memory_format=torch.channels_last)

    maps: list[Tensor] = []
    generator, discriminator = DCGANGenerator(7, IMAGE, WIDTHS[::-1]), DCGANDiscriminator(IMAGE, WIDTHS)
    layers = [
        m for network in (generator, discriminator) for m in network.modules() if not list(m.children())
    ]
    for layer in layers[1:]:
        layer.register_forward_hook(lambda layer, inputs, output: maps.extend((*inputs, output)))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        logits = discriminator(generator(torch.randn(4, 7)))
    logits.float().mean().backward()
    assert len(maps) >= 2 * 8
    assert all(map(is_last, maps))
    assert {map.dtype for map in maps} == {dtype}
    parameters = [p for network in (generator, discriminator) for p in network.parameters() if p.dim() == 4]
    assert all(is_last(p) and p.grad is not None and is_last(p.grad) for p in parameters)


def test_discriminator_sees_real_and_fake_apart() -> None:
    batches: list[int] = []
    discriminator = DCGANDiscriminator(IMAGE, WIDTHS)
    discriminator.norms[0].register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    real, fake = torch.randn(6, *IMAGE), torch.randn(4, *IMAGE)
    LossObjective().discriminator_turn(discriminator, real, fake)
    assert batches == [6, 4]
    LossObjective().both_turns(discriminator, real, fake)
    assert batches == [6, 4, 6, 4]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour images of 8 x 8, with R1 and in bfloat16."""
    folder = tmp_path_factory.mktemp("dcgan")
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), np.uint8))
    settings: list[Any] = ["--steps", 3, "--batch-size", 4, "--r1-gamma", 1, "--precision", "bf16"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        command = ("train", folder / "a.npy", "--model", "dcgan", *settings, "--out", folder / "run")
        assert run(monkeypatch, *command) == 0
    return folder / "run"


def test_every_tool_takes_a_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", "--resume", trained, "--steps", 5) == 0
    assert run(monkeypatch, "evaluate", trained, "--count", 8) == 0
    assert "V(D, G)" in capsys.readouterr().out
    for tool in ("sample", "interpolate"):
        assert run(monkeypatch, tool, trained, "--out", tmp_path / "s.png") == 0
        assert picture(tmp_path / "s.png").ndim == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, of weights that are channels last
        for kind in ("torch-export", "safetensors"):
            assert run(monkeypatch, "export", trained, "--format", kind, "--out", tmp_path / kind) == 0
    assert run(monkeypatch, "train", "--resume", trained, "--model", "dcgan") == 2
    assert "omit --model" in one_line(capsys)


def test_a_config_with_other_sizes_is_one_line(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trained / "config.yaml"
    kept = config.read_text()
    config.write_text(kept.replace("generator:\n- 64\n", "generator:\n- 64\n- 64\n- 64\n- 64\n"))
    assert config.read_text() != kept
    assert run(monkeypatch, "sample", trained) == 2
    assert "model is 'dcgan': images of 8 x 8 pixels cannot be halved 4 times" in one_line(capsys)
    config.write_text(kept)
