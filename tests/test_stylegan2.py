"""StyleGAN2's networks against plain PyTorch in float64, with R1 and path lengths through them."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from plain_images import (
    assert_same,
    assert_same_r1,
    doubled,
    halved,
    modulated,
    plain_r1,
    randomized,
)
from torch import Tensor

import fastgan
from fastgan import penalties
from fastgan.models import StyleGAN2Discriminator, StyleGAN2Generator, image_widths

IMAGE, WIDTHS, LATENT, CLASSES = (3, 8, 8), (4, 6), 5, 3
TAPS = (1.0, 3.0, 3.0, 1.0)
Architecture = Literal["resnet", "skip"]
State = dict[str, Tensor]


def build_generator(num_classes: int = 0) -> Any:
    return randomized(StyleGAN2Generator(LATENT, IMAGE, WIDTHS[::-1], num_classes=num_classes))


def build_discriminator(architecture: Architecture = "resnet", num_classes: int = 0) -> Any:
    return randomized(
        StyleGAN2Discriminator(IMAGE, WIDTHS, num_classes=num_classes, architecture=architecture)
    )


def drawn(n: int = 4, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Images and labels."""
    images = torch.randn(n, *IMAGE, dtype=torch.float64, device=device)
    return images, torch.arange(n, device=device) % CLASSES


def plain_dense(x: Tensor, at: State, name: str, rate: float = 1.0) -> Tensor:
    weight = at[f"{name}.weight"]
    return x @ (rate * weight / math.sqrt(weight.shape[1])).t() + rate * at[f"{name}.bias"]


def plain_lrelu(x: Tensor) -> Tensor:
    return math.sqrt(2) * F.leaky_relu(x, 0.2)


def plain_conv(x: Tensor, at: State, name: str, *, blur: bool = False) -> Tensor:
    weight = at[f"{name}.weight"]
    k = weight.shape[-1]
    weight = weight / math.sqrt(weight.shape[1] * k * k)
    if not blur:
        return F.conv2d(x, weight, at[f"{name}.bias"], padding=k // 2)
    if k == 1:
        return F.conv2d(halved(x, TAPS), weight)
    blurred = F.conv2d(
        F.pad(x, (2, 2, 2, 2)),
        torch.outer(*[torch.tensor(TAPS, dtype=x.dtype, device=x.device) / 8] * 2).expand(
            x.shape[1], 1, 4, 4
        ),
        groups=x.shape[1],
    )
    return F.conv2d(blurred, weight, at[f"{name}.bias"], stride=2)


def plain_discriminator(at: State, x: Tensor, y: Tensor | None, architecture: Architecture) -> Tensor:
    image = x
    x = plain_lrelu(plain_conv(x, at, "from_image.0"))
    z = plain_lrelu(plain_conv(x, at, "blocks.0.keep"))
    z = plain_lrelu(plain_conv(z, at, "blocks.0.halve", blur=True))
    if architecture == "resnet":
        x = (z + plain_conv(x, at, "blocks.0.shortcut", blur=True)) / math.sqrt(2)
    else:
        x = z + plain_lrelu(plain_conv(halved(image, TAPS), at, "from_image.1"))
    n, _, h, w = x.shape
    deviation = ((x - x.mean(0)).pow(2).mean(0) + 1e-8).sqrt().mean()  # one group
    x = torch.cat([x, deviation.expand(n, 1, h, w)], 1)
    x = plain_lrelu(plain_conv(x, at, "conv"))
    features = plain_dense(plain_lrelu(plain_dense(x.flatten(1), at, "dense")), at, "out")
    if y is None:
        return features
    return (features * at["labels.vectors.weight"][y]).sum(1, keepdim=True) / math.sqrt(features.shape[1])


def plain_mapping(at: State, latent: Tensor, y: Tensor | None) -> Tensor:
    parts = [latent] if y is None else [latent, at["mapping.labels.vectors.weight"][y]]
    x = torch.cat([p / (p.pow(2).mean(1, keepdim=True) + 1e-8).sqrt() for p in parts], 1)
    for i in range(8):
        x = plain_lrelu(plain_dense(x, at, f"mapping.layers.{i}", 0.01))
    return x


def plain_synthesis(at: State, styles: Tensor) -> Tensor:
    def conv(x: Tensor, name: str, up: bool = False) -> Tensor:
        style = plain_dense(styles, at, f"{name}.affine")
        y = modulated(x, at[f"{name}.conv.weight"], style, demodulate=True, up=up)
        y = y + at[f"{name}.strength"] * at[f"{name}.noise"]
        return plain_lrelu(y + at[f"{name}.bias"][:, None, None])

    def part(x: Tensor, i: int) -> Tensor:
        weight = at[f"to_image.{i}.conv.weight"]
        style = plain_dense(styles, at, f"to_image.{i}.affine") / math.sqrt(weight.shape[1])
        return modulated(x, weight, style, demodulate=False) + at[f"to_image.{i}.bias"][:, None, None]

    x = conv(at["constant"].repeat(len(styles), 1, 1, 1), "first")
    image = part(x, 0)
    x = conv(conv(x, "doubling.0", up=True), "keeping.0")
    return doubled(image, TAPS) + part(x, 1)


def state_of(network: torch.nn.Module) -> State:
    """Parameters with their graphs, and buffers."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@pytest.mark.parametrize("architecture", ["resnet", "skip"])
@pytest.mark.parametrize("num_classes", [0, CLASSES])
def test_r1_through_the_discriminator_is_that_of_plain_pytorch(
    backend: Backend, architecture: Architecture, num_classes: int
) -> None:
    """To 1e-10, and the logits, and the gradient of every parameter."""
    network = build_discriminator(architecture, num_classes).to(backend.device)
    real, labels = drawn(device=backend.device)
    y = labels if num_classes else None

    def plain(x: Tensor) -> Tensor:
        return plain_discriminator(state_of(network), x, y, architecture)

    torch.testing.assert_close(network(real, y), plain(real), rtol=1e-12, atol=1e-12)
    conditions = () if y is None else (y,)
    assert_same_r1(
        lambda: penalties.r1(network, real, 3.0, conditions=conditions),
        lambda: plain_r1(plain, real, 3.0),
        network,
    )


@pytest.mark.parametrize("num_classes", [0, CLASSES])
def test_the_generator_is_plain_pytorch(backend: Backend, num_classes: int) -> None:
    """With all first and second derivatives."""
    network = build_generator(num_classes).to(backend.device).eval()
    latent = torch.randn(2, LATENT, dtype=torch.float64, device=backend.device)
    y = torch.tensor([2, 0], device=backend.device) if num_classes else None
    names = [name for name, _ in network.named_parameters()]
    buffers = dict(network.named_buffers())

    def ours(latent: Tensor, *parameters: Tensor) -> Tensor:
        state = {**dict(zip(names, parameters, strict=True)), **buffers}
        return torch.func.functional_call(network, state, (latent, y))

    def plain(latent: Tensor, *parameters: Tensor) -> Tensor:
        state = {**dict(zip(names, parameters, strict=True)), **buffers}
        return plain_synthesis(state, plain_mapping(state, latent, y))

    assert_same(ours, plain, [latent, *network.parameters()], tolerance=1e-9)


def test_path_lengths_through_the_generator_are_those_of_plain_pytorch() -> None:
    network = build_generator().eval()
    latent = torch.randn(3, LATENT, dtype=torch.float64)

    def ours() -> Tensor:
        mean, rng = torch.tensor(0.5, dtype=torch.float64), torch.Generator().manual_seed(1)
        return penalties.path_length(network.synthesize, network.mapping(latent), mean, 1.5, generator=rng)

    def plain() -> Tensor:
        state, rng = state_of(network), torch.Generator().manual_seed(1)
        styles = plain_mapping(state, latent, None)
        images = plain_synthesis(state, styles)
        noise = torch.randn(images.shape, generator=rng, dtype=torch.float64) / 8  # of 8 x 8 pixels
        (slope,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
        lengths = slope.norm(dim=1)
        mean = 0.99 * 0.5 + 0.01 * lengths.detach().mean()
        return 1.5 * (lengths - mean).pow(2).mean()

    assert_same_r1(ours, plain, network, tolerance=1e-9)


def test_networks_have_the_channels_of_their_width() -> None:
    assert image_widths((3, 32, 32), 64) == (64, 128, 256, 512)
    assert image_widths((1, 128, 64), 16, 100) == (16, 32, 64, 100, 100)
    assert image_widths((1, 28, 28), 8) == (8, 16, 32)
    hidden = image_widths((1, 32, 32), 4, 8)
    generator = StyleGAN2Generator(6, (1, 32, 32), hidden[::-1])
    assert generator.constant.shape == (8, 4, 4)
    assert [layer.conv.weight.shape[0] for layer in generator.keeping] == [8, 8, 4]
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, 1, 32, 32)
    assert StyleGAN2Discriminator((1, 32, 32), hidden)(images).shape == (2, 1)


def test_first_outputs_have_unit_scale() -> None:
    hidden = image_widths((3, 32, 32), 16, 64)
    images = StyleGAN2Generator(64, (3, 32, 32), hidden[::-1])(torch.randn(16, 64))
    smooth = F.interpolate(torch.randn(16, 3, 4, 4), 32)
    logits = StyleGAN2Discriminator((3, 32, 32), hidden)(smooth)
    assert 0.3 < images.std() < 6  # the images of four sizes are added up
    assert 0.1 < logits.std() < 3


def test_styles_may_differ_from_layer_to_layer() -> None:
    generator = build_generator().eval()
    styles = torch.randn(2, LATENT, dtype=torch.float64)
    each = styles[:, None].repeat(1, generator.n_styles, 1)
    torch.testing.assert_close(generator.synthesize(each), generator.synthesize(styles))
    for i in range(generator.n_styles):
        mixed = each.clone()
        mixed[:, i] += 1
        assert not torch.allclose(generator.synthesize(mixed), generator.synthesize(styles)), i


def test_noise_is_drawn_while_training_and_kept_in_evaluation() -> None:
    generator = build_generator()
    latent = torch.randn(2, LATENT, dtype=torch.float64)
    assert not torch.equal(generator(latent), generator(latent))
    generator.eval()
    assert torch.equal(generator(latent), generator(latent))
    other = StyleGAN2Generator(LATENT, IMAGE, WIDTHS[::-1]).double().eval()
    other.load_state_dict(generator.state_dict())
    assert torch.equal(other(latent), generator(latent))


def test_classes_have_samples_and_logits_of_their_own() -> None:
    generator, discriminator = build_generator(CLASSES).eval(), build_discriminator("skip", CLASSES)
    latent = torch.randn(1, LATENT, dtype=torch.float64).expand(CLASSES, -1)
    y = torch.arange(CLASSES)
    images = generator(latent, y)
    assert torch.pdist(images.flatten(1)).min() > 1e-3
    same = images[:1].expand(CLASSES, -1, -1, -1)
    assert torch.pdist(discriminator(same, y)).min() > 1e-3
    other = copy.deepcopy(discriminator)
    other.load_state_dict(discriminator.state_dict())
    assert torch.equal(other(images, y), discriminator(images, y))


LABELS: dict[str, tuple[int, Tensor | None, type[Exception], str]] = {
    "missing": (3, None, ValueError, "y is missing, expected labels of 3 classes for 4 samples"),
    "not expected": (0, torch.zeros(4).long(), ValueError, "y was given to a network without classes"),
    "float": (3, torch.zeros(4), TypeError, "y must be int64, but is torch.float32"),
    "too few": (3, torch.zeros(3).long(), ValueError, r"y must have shape \[4\].* but has \[3\]"),
    "too large": (3, torch.tensor([0, 1, 2, 3]), ValueError, "y has labels from 0 to 3, expected 0 to 2"),
    "negative": (3, torch.tensor([0, -1, 2, 1]), ValueError, "y has labels from -1 to 2, expected 0 to 2"),
}


@pytest.mark.parametrize(("num_classes", "y", "error", "message"), LABELS.values(), ids=LABELS)
def test_labels_that_do_not_fit(
    num_classes: int, y: Tensor | None, error: type[Exception], message: str
) -> None:
    for network, input in (
        (build_generator(num_classes), torch.randn(4, LATENT, dtype=torch.float64)),
        (build_discriminator(num_classes=num_classes), drawn()[0]),
    ):
        with pytest.raises(error, match=message):
            network(input, y)


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="num_classes must not be negative, but is -1"):
        StyleGAN2Generator(4, IMAGE, WIDTHS, num_classes=-1)
    with pytest.raises(ValueError, match="architecture is 'orig', expected resnet or skip"):
        StyleGAN2Discriminator(IMAGE, WIDTHS, architecture="orig")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hidden is empty"):
        StyleGAN2Generator(4, IMAGE, ())
    for shape in ((3, 8, 6), (8,)):
        with pytest.raises(ValueError, match=r"not images whose sides can be divided by 4, which the 3 maps"):
            StyleGAN2Discriminator(shape, (4, 4, 4))
    for shape in ((3, 36, 36), (3, 2, 2), (3, 33, 32)):
        with pytest.raises(ValueError, match="cannot be halved down to 4 to 7 pixels a side; resize"):
            image_widths(shape)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_under_autocast(dtype: torch.dtype) -> None:
    """Also of activations that would overflow: those of float16 are bounded."""
    generator, discriminator = build_generator().float(), build_discriminator().float()
    with torch.no_grad():
        generator.constant.mul_(1e3)
        discriminator.conv.bias.add_(6e4)
    with torch.autocast("cpu", dtype):
        images = generator(torch.randn(4, LATENT))
        logits = discriminator(images)
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert logits.isfinite().all()


@pytest.mark.parametrize("architecture", ["resnet", "skip"])
def test_a_few_steps(architecture: Architecture) -> None:
    """With R1 and path lengths; all parameters move, and losses are finite."""
    hidden = image_widths((1, 16, 16), 4, 8)
    generator = StyleGAN2Generator(6, (1, 16, 16), hidden[::-1], num_classes=2)
    discriminator = StyleGAN2Discriminator((1, 16, 16), hidden, num_classes=2, architecture=architecture)
    before = [p.detach().clone() for net in (generator, discriminator) for p in net.parameters()]
    of_g, of_d = (torch.optim.Adam(net.parameters(), 2e-3, (0.0, 0.99)) for net in (generator, discriminator))
    mean, y = torch.zeros(()), torch.tensor([0, 1, 0, 1])
    for _ in range(3):
        real = torch.randn(4, 1, 16, 16)
        fake = generator(torch.randn(4, 6), y)
        loss_d = fastgan.discriminator_loss(discriminator(real, y), discriminator(fake.detach(), y))
        loss_d = loss_d + penalties.r1(discriminator, real, conditions=[y])
        of_d.zero_grad()
        loss_d.backward()
        of_d.step()
        loss_g = fastgan.generator_loss(discriminator(fake, y))
        lengths = penalties.path_length(generator.synthesize, generator.mapping(torch.randn(4, 6), y), mean)
        of_g.zero_grad()
        (loss_g + lengths).backward()
        of_g.step()
        assert math.isfinite(loss_d.item() + loss_g.item() + lengths.item())
    after = [p for net in (generator, discriminator) for p in net.parameters()]
    assert not any(map(torch.equal, before, after))
    assert 0 < mean < 10
