"""Compares one step of every contender with a step in float64."""

from __future__ import annotations

import torch

from benchmarks.step.in_pytorch import Eager
from benchmarks.step.problem import LATENT_DIM, Contender, Problem


def check_agreement(
    problem: Problem, made: dict[str, Contender], device: str = "cpu", slack: float = 0.05
) -> None:
    """Asserts that every contender's weights after one step agree with those of a step in float64.

    Adam's first step has the length of the learning rate even for a tiny gradient, so a rounding error that
    changes a gradient's sign counts fully. The error may be ``slack`` plus twice eager PyTorch's. Libraries
    round products differently: an error of 0.05 is one weight in 1,600 that moves the other way.
    """
    rng = torch.Generator().manual_seed(2)
    real = problem.data("cpu")[: problem.batch].to(device)
    first, second = (torch.randn(problem.batch, LATENT_DIM, generator=rng).to(device) for _ in range(2))
    exact = Eager(problem, device)
    exact.generator.double()
    exact.discriminator.double()
    exact.step(real.double(), first.double(), second.double())
    before = [t for layers in problem.weights() for layer in layers for t in layer]
    expected = [after - b for after, b in zip(exact.weights(), before, strict=True)]
    errors: dict[str, list[float]] = {}
    for name, contender in made.items():
        contender.step(real, first, second)
        found = [after.double() - b for after, b in zip(contender.weights(), before, strict=True)]
        errors[name] = [
            float((ours - theirs).norm() / theirs.norm())
            for ours, theirs in zip(found, expected, strict=True)
        ]
    for name in errors:
        for i, (ours, eager) in enumerate(zip(errors[name], errors["eager"], strict=True)):
            assert ours <= 2 * eager + slack, (
                f"{name}: step of tensor {i} is off by {ours:.1e}, eager {eager:.1e}"
            )
