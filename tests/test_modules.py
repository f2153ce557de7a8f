"""fastgan.nn: the parameters and state_dict keys of torch.nn, and what modules must survive."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fastgan

MODULES = {
    "LinearLeakyReLU": lambda: fastgan.nn.LinearLeakyReLU(3, 4, negative_slope=0.1),
    "MLP": lambda: fastgan.nn.MLP([3, 5, 1], negative_slope=0.1),
}


def test_state_dict_of_a_linear_fits() -> None:
    plain, fused = nn.Linear(3, 4), fastgan.nn.LinearLeakyReLU(3, 4)
    assert isinstance(fused, nn.Linear)
    fused.load_state_dict(plain.state_dict())
    input = torch.randn(5, 3)
    torch.testing.assert_close(fused(input), F.leaky_relu(plain(input), 0.2))


def test_the_same_start_as_a_linear() -> None:
    torch.manual_seed(1)
    plain = nn.Linear(3, 4)
    torch.manual_seed(1)
    assert torch.equal(fastgan.nn.LinearLeakyReLU(3, 4).weight, plain.weight)


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_copies(build: object) -> None:
    module = build()
    input = torch.randn(5, 3)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
    ]
    for other in copies:
        assert torch.equal(other(input), module(input))
        assert repr(other) == repr(module)


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_negative_slope_is_used(build: object) -> None:
    module = build()
    input = torch.randn(5, 3)
    expected = input
    for layer in [module] if isinstance(module, nn.Linear) else module.layers:
        expected = F.linear(expected, layer.weight, layer.bias)
        if layer.out_features > 1:
            expected = F.leaky_relu(expected, 0.1)
    torch.testing.assert_close(module(input), expected)


def test_losses() -> None:
    real, fake = torch.randn(4, 1), torch.randn(4, 1)
    ours = fastgan.nn.DiscriminatorLoss(real_label=0.9, reduction="sum")(real, fake)
    assert torch.equal(ours, fastgan.discriminator_loss(real, fake, real_label=0.9, reduction="sum"))
    ours = fastgan.nn.GeneratorLoss(saturating=True)(fake)
    assert torch.equal(ours, fastgan.generator_loss(fake, saturating=True))


def test_in_place_operations_on_an_output() -> None:
    """As after any layer of PyTorch; channels_last outputs too."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        input = torch.randn(2, 3, 4, 4).contiguous(memory_format=memory_format).requires_grad_()
        output = fastgan.bias_leaky_relu(input)
        output.clone().mul_(2).sum().backward()
        with torch.no_grad():
            fastgan.bias_leaky_relu(input).mul_(2)
        fastgan.bias_leaky_relu(input).add_(1)


def test_bad_features() -> None:
    with pytest.raises(ValueError, match=r"features .*\[3\]"):
        fastgan.nn.MLP([3])
    with pytest.raises(ValueError, match=r"negative_slope .*-1"):
        fastgan.nn.LinearLeakyReLU(3, 4, negative_slope=-1)
