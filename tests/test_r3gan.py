"""R3GAN's networks against plain PyTorch in float64, with R1 through the discriminator."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from plain_images import assert_same, assert_same_r1, doubled, halved, plain_r1, randomized
from torch import Tensor, nn

import fastgan
from fastgan import penalties
from fastgan.models import R3GANDiscriminator, R3GANGenerator, image_widths

IMAGE, WIDTHS, LATENT, CLASSES = (3, 8, 8), (4, 12), 5, 3
TAPS = (1.0, 2.0, 1.0)
State = dict[str, Tensor]


def build_generator(num_classes: int = 0) -> Any:
    return randomized(R3GANGenerator(LATENT, IMAGE, WIDTHS[::-1], num_classes=num_classes, blocks=1))


def build_discriminator(num_classes: int = 0) -> Any:
    return randomized(R3GANDiscriminator(IMAGE, WIDTHS, num_classes=num_classes, blocks=1))


def plain_block(x: Tensor, at: State, name: str) -> Tensor:
    """A group has at most 16 channels: 8 channels are one group, 24 are three of 8."""
    y = F.conv2d(x, at[f"{name}.expand.weight"])
    y = F.leaky_relu(y + at[f"{name}.bias"][:, None, None], 0.2)
    groups = {8: 1, 24: 3}[y.shape[1]]
    parts = zip(y.chunk(groups, 1), at[f"{name}.mix.weight"].chunk(groups), strict=True)
    y = torch.cat([F.conv2d(part, weight, padding=1) for part, weight in parts], 1)
    y = F.leaky_relu(y + at[f"{name}.mixed_bias"][:, None, None], 0.2)
    return x + F.conv2d(y, at[f"{name}.reduce.weight"])


def plain_generator(at: State, latent: Tensor, y: Tensor | None) -> Tensor:
    if y is not None:
        latent = torch.cat([latent, at["labels.vectors.weight"][y]], 1)
    x = torch.einsum("nl,cl,chw->nchw", latent, at["weights.weight"], at["basis"])
    x = plain_block(x, at, "stages.0.0")
    x = doubled(F.conv2d(x, at["doublings.0.convert.weight"]), TAPS)
    return F.conv2d(plain_block(x, at, "stages.1.0"), at["to_image.weight"])


def plain_discriminator(at: State, x: Tensor, y: Tensor | None) -> Tensor:
    x = plain_block(F.conv2d(x, at["from_image.weight"]), at, "stages.0.0")
    x = F.conv2d(halved(x, TAPS), at["halvings.0.convert.weight"])
    x = plain_block(x, at, "stages.1.0")
    features = torch.einsum("nchw,chw->nc", x, at["basis.weight"][:, 0]) @ at["out.weight"].t()
    if y is None:
        return features
    return (features * at["labels.vectors.weight"][y]).sum(1, keepdim=True) / math.sqrt(features.shape[1])


@pytest.mark.parametrize("num_classes", [0, CLASSES])
def test_r1_through_the_discriminator_is_that_of_plain_pytorch(backend: Backend, num_classes: int) -> None:
    network = build_discriminator(num_classes).to(backend.device)
    real = torch.randn(4, *IMAGE, dtype=torch.float64, device=backend.device)
    y = torch.tensor([0, 2, 1, 2], device=backend.device) if num_classes else None

    def plain(x: Tensor) -> Tensor:
        return plain_discriminator(dict(network.named_parameters()), x, y)

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
    network = build_generator(num_classes).to(backend.device)
    latent = torch.randn(2, LATENT, dtype=torch.float64, device=backend.device)
    y = torch.tensor([2, 0], device=backend.device) if num_classes else None
    names = [name for name, _ in network.named_parameters()]

    def ours(latent: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (latent, y))

    def plain(latent: Tensor, *parameters: Tensor) -> Tensor:
        return plain_generator(dict(zip(names, parameters, strict=True)), latent, y)

    assert_same(ours, plain, [latent, *network.parameters()])


def test_blocks_are_the_identity_at_first() -> None:
    """The other weights are scaled by the number of blocks to the power of -1/4 (fix-up, three layers)."""
    generator = R3GANGenerator(8, (3, 32, 32), (64, 64, 64, 32), blocks=4)
    x = torch.randn(2, 64, 4, 4)
    assert torch.equal(generator.stages[0](x), x)
    gain = math.sqrt(2 / 1.04) * 16**-0.25
    block = generator.stages[0][0]
    assert [block.mix.groups, block.mix.weight.shape[1]] == [8, 16]
    for layer, n_in in ((block.expand, 64), (block.mix, 16 * 9)):
        assert layer.weight.std().item() == pytest.approx(gain / math.sqrt(n_in), rel=0.05)
        assert layer.bias is None
    assert not block.reduce.weight.any()


def test_first_outputs_have_unit_scale() -> None:
    hidden = image_widths((3, 32, 32), 16, 64)
    images = R3GANGenerator(64, (3, 32, 32), hidden[::-1])(torch.randn(64, 64))
    logits = R3GANDiscriminator((3, 32, 32), hidden)(F.interpolate(torch.randn(64, 3, 4, 4), 32))
    assert 0.2 < images.std() < 3
    assert 0.2 < logits.std() < 3


def test_there_is_no_normalization() -> None:
    """So a sample's logit does not depend on the others."""
    discriminator = build_discriminator()
    images = torch.randn(4, *IMAGE, dtype=torch.float64)
    torch.testing.assert_close(discriminator(images)[1:2], discriminator(images[1:2]))
    assert not any(isinstance(layer, nn.BatchNorm2d | nn.GroupNorm) for layer in discriminator.modules())


def test_classes_have_samples_and_logits_of_their_own() -> None:
    generator, discriminator = build_generator(CLASSES), build_discriminator(CLASSES)
    latent, y = torch.randn(1, LATENT, dtype=torch.float64).expand(CLASSES, -1), torch.arange(CLASSES)
    images = generator(latent, y)
    assert torch.pdist(images.flatten(1)).min() > 1e-3
    same = images[:1].expand(CLASSES, -1, -1, -1)
    assert torch.pdist(discriminator(same, y)).min() > 1e-3
    for network, input in ((generator, latent), (discriminator, same)):
        with pytest.raises(ValueError, match="y is missing"):
            network(input)
        with pytest.raises(ValueError, match="y has labels from 1 to 3, expected 0 to 2"):
            network(input, y + 1)


def test_a_state_dict_has_all_of_a_network() -> None:
    for build, input in (
        (build_generator, torch.randn(2, LATENT, dtype=torch.float64)),
        (build_discriminator, torch.randn(2, *IMAGE, dtype=torch.float64)),
    ):
        network, other = build(), build()
        assert not torch.equal(network(input), other(input))
        other.load_state_dict(copy.deepcopy(network.state_dict()))
        assert torch.equal(network(input), other(input))


def test_symbolic_tracing() -> None:
    for network, shape in ((build_generator(), [LATENT]), (build_discriminator(), IMAGE)):
        input = torch.randn(2, *shape, dtype=torch.float64)
        traced = torch.fx.symbolic_trace(network, {"y": None})
        assert torch.equal(traced(input, None), network(input))


def test_a_few_steps() -> None:
    """With the paper's loss and both penalties; all parameters move."""
    hidden = image_widths((1, 32, 32), 4, 8)
    generator = R3GANGenerator(6, (1, 32, 32), hidden[::-1], num_classes=2, blocks=1)
    discriminator = R3GANDiscriminator((1, 32, 32), hidden, num_classes=2, blocks=1)
    before = [p.detach().clone() for net in (generator, discriminator) for p in net.parameters()]
    of_g, of_d = (torch.optim.Adam(net.parameters(), 2e-3, (0.0, 0.99)) for net in (generator, discriminator))
    y = torch.tensor([0, 1, 0, 1])
    for _ in range(3):
        real = torch.randn(4, 1, 32, 32)
        fake = generator(torch.randn(4, 6), y)
        loss_d = fastgan.relativistic_loss(discriminator(real, y), discriminator(fake.detach(), y))
        assert isinstance(loss_d, Tensor)
        loss_d = loss_d + penalties.r1(discriminator, real, conditions=[y])
        loss_d = loss_d + penalties.r2(discriminator, fake, conditions=[y])
        of_d.zero_grad()
        loss_d.backward()
        of_d.step()
        loss_g = fastgan.relativistic_loss(discriminator(fake, y), discriminator(real, y))
        assert isinstance(loss_g, Tensor)
        of_g.zero_grad()
        loss_g.backward()
        of_g.step()
        assert math.isfinite(loss_d.item() + loss_g.item())
    after = [p for net in (generator, discriminator) for p in net.parameters()]
    assert not any(map(torch.equal, before, after))
