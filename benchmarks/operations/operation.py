"""A case: an operation, the shapes of its inputs, and the least bytes and flops that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

Forward = Callable[..., Any]  # tensors -> tensor
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Direction(Enum):
    FORWARD = "forward"  # saves tensors for backward
    BACKWARD = "backward"
    BOTH = "forward + backward"
    CALL = "no grad"  # forward, saves nothing


@dataclass(frozen=True)
class Work:
    """The least work: bytes read and written, and floating-point operations of matrix products."""

    bytes: int
    flops: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.bytes + other.bytes, self.flops + other.flops)


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation and its implementations in PyTorch. in_jax.py has those in JAX, by name.

    Attributes:
        eager: implementations in plain PyTorch, the most common one first.
        axis: the unit of a case's size.
        has_products: whether there are matrix products. On a CPU torch.compile's max-autotune tunes only
            products; without one it compiles the same code as the default mode.
    """

    name: str
    reference: Forward
    eager: dict[str, Forward]
    ours: Forward
    axis: str
    has_products: bool


@dataclass(frozen=True)
class Case:
    operation: Operation
    label: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    size: int
    forward: Work
    backward: Work

    def __str__(self) -> str:
        """A name without spaces, such as ``mlp-64x(784,64,64,1)-fp32``."""
        label = self.label.replace("×", "x").replace("→", "to").replace(" ", "")
        return f"{self.operation.name}-{label}-{self.dtype}"

    def work(self, direction: Direction) -> Work:
        return {
            Direction.FORWARD: self.forward,
            Direction.BACKWARD: self.backward,
            Direction.BOTH: self.forward + self.backward,
            Direction.CALL: self.forward,
        }[direction]

    def inputs(self, device: str) -> list[Tensor]:
        """Leaves, scaled so that outputs are near 1."""
        rng = torch.Generator().manual_seed(0)
        scales = [shape[-1] ** -0.5 if len(shape) == 2 else 1.0 for shape in self.shapes]
        return [
            torch.randn(shape, generator=rng).mul_(scale).to(device, DTYPES[self.dtype]).requires_grad_()
            for shape, scale in zip(self.shapes, scales, strict=True)
        ]

    def expected(self, inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """[output, gradient of each input] in float64, and the output's gradient in the case's dtype."""
        double = [t.detach().double().requires_grad_() for t in inputs]
        output = self.operation.reference(*double)
        rng = torch.Generator().manual_seed(1)
        grad = torch.randn(output.shape, generator=rng) if output.dim() else torch.ones(())
        grad = grad.to(output.device, DTYPES[self.dtype])
        gradients = torch.autograd.grad(output, double, grad.double())
        return [output.detach(), *gradients], grad
