"""Layers, forward + backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.ops import bias_leaky_relu_reference, linear_leaky_relu_reference, mlp_reference


def _contenders(reference: Callable[..., Tensor], ours: Callable[..., Tensor]) -> dict[str, object]:
    compiled = torch.compile(reference, dynamic=False)
    return {"reference": reference, "eager": reference, "torch.compile": compiled, "fastgan": ours}


def _leaf(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape).mul_(scale).requires_grad_()


@pytest.mark.parametrize(
    ("batch", "n_in", "n_out"), [(64, 2, 128), (128, 784, 256), (256, 256, 256), (1024, 1024, 1024)]
)
def test_linear_leaky_relu(compete: Callable[..., None], batch: int, n_in: int, n_out: int) -> None:
    inputs = [_leaf(batch, n_in), _leaf(n_out, n_in, scale=n_in**-0.5), _leaf(n_out)]
    forwards = _contenders(linear_leaky_relu_reference, fastgan.linear_leaky_relu)
    compete(forwards, inputs, torch.randn(batch, n_out))


@pytest.mark.parametrize("shape", [(128, 256), (64, 64, 16, 16), (8192, 1024)], ids=str)
def test_bias_leaky_relu(compete: Callable[..., None], shape: tuple[int, ...]) -> None:
    forwards = _contenders(bias_leaky_relu_reference, fastgan.bias_leaky_relu)
    compete(forwards, [_leaf(*shape), _leaf(shape[1])], torch.randn(*shape))


@pytest.mark.parametrize(
    ("batch", "features"),
    [(256, (2, 128, 128, 1)), (256, (784, 256, 256, 1)), (1024, (784, 1024, 1024, 1))],
    ids=str,
)
def test_mlp(compete: Callable[..., None], batch: int, features: tuple[int, ...]) -> None:
    depth = len(features) - 1
    weights = [_leaf(features[i + 1], features[i], scale=features[i] ** -0.5) for i in range(depth)]
    biases = [_leaf(n) for n in features[1:]]

    def reference(input: Tensor, *parameters: Tensor) -> Tensor:
        return mlp_reference(input, parameters[:depth], parameters[depth:])

    def ours(input: Tensor, *parameters: Tensor) -> Tensor:
        return fastgan.mlp(input, parameters[:depth], parameters[depth:])

    inputs = [_leaf(batch, features[0]), *weights, *biases]
    compete(_contenders(reference, ours), inputs, torch.randn(batch, 1))
