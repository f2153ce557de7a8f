"""Vocoders, batch 2, segments of 8,192 samples: the parts of a step in which fastgan and PyTorch differ.

HiFi-GAN V1: feature matching or freezing alone. BigVGAN with 14 million parameters: steps of G. Both: memory.
Whole steps are in bench_scripts.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, Effort, contest, timed
from benchmarks.machine import DEVICE
from benchmarks.memory import found_alone, why_not
from benchmarks.replay import replay, replayed
from benchmarks.vocoder import BATCH, SEGMENT, STEPS, made_by, map_shapes

pytestmark = pytest.mark.benchmark(timer=replayed)
Maps = list[list[Tensor]]


def usual(real: Maps, fake: Maps) -> Tensor:
    loss = torch.zeros((), device=DEVICE)
    for real_maps, fake_maps in zip(real, fake, strict=True):
        for r, f in zip(real_maps, fake_maps, strict=True):
            loss = loss + torch.mean(torch.abs(r - f))
    return 2 * loss


def test_feature_matching(record: Record) -> None:
    """Forward and backward, with the real maps detached."""
    shapes = [[(3, 4)] * 6] * 9 if IS_QUICK else map_shapes()
    real, fake = (
        [[torch.randn(shape, device=DEVICE) for shape in each] for each in shapes] for _ in range(2)
    )
    leaves = [t.requires_grad_() for maps in fake for t in maps]

    def both(loss: Callable[[Maps, Maps], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(real, fake), leaves)

    losses = {
        "fastgan": lambda r, f: fastgan.feature_matching_loss(r, f, factor=2.0),
        "eager": usual,
        "torch.compile": torch.compile(usual),
    }
    torch.testing.assert_close(losses["fastgan"](real, fake), usual(real, fake))
    finish = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
    found = contest({name: timed(both(loss), finish) for name, loss in losses.items()})
    record("feature_matching_loss", f"{len(leaves)} maps", found, dtype="fp32", direction="both")


@pytest.mark.skipif(IS_QUICK, reason="takes two minutes")
def test_freezing(record: Record) -> None:
    """A step of the plain script, and one with D frozen in G's turn; nothing else is fastgan's."""
    made = made_by("hifigan", "plain")
    real = made["tones"](BATCH, SEGMENT)
    mel = made["log_mel"](real.squeeze(1))

    def step(context: Callable[..., AbstractContextManager[None]]) -> Callable[[], object]:
        def run() -> None:
            fake = made["G"](mel)
            made["discriminator_turn"](real, fake)
            with context(made["D"]):
                made["generator_turn"](real, fake, mel)

        return run

    steps = {"fastgan": timed(step(fastgan.frozen)), "eager": timed(step(nullcontext))}
    found = contest(steps, Effort(10, 10, 120.0))
    record("freezing", "HiFi-GAN V1, a step", found, dtype="fp32")


GENERATORS = {
    ("turn", "hifigan"): ("HiFi-GAN V1, G's turn", ()),
    ("turn", "bigvgan"): ("BigVGAN, G's turn", ("--channels", "512")),
    ("step", "bigvgan"): ("BigVGAN, a step of G without D", ("--channels", "512")),
}


@pytest.mark.skipif(IS_QUICK, reason="takes two minutes each")
@pytest.mark.parametrize("what", [each for each in GENERATORS if each[1] == "bigvgan"], ids="-".join)
def test_generator(record: Record, what: tuple[str, str]) -> None:
    step, name = what
    label, arguments = GENERATORS[what]
    kinds = {"fastgan": "fastgan", "eager": "plain"}
    steps = {each: timed(STEPS[step](name, kind, *arguments)) for each, kind in kinds.items()}
    record("generator", label, contest(steps, Effort(10, 10, 120.0)), dtype="fp32")


@pytest.mark.skipif(IS_QUICK or why_not() is not None, reason=f"takes a minute each; {why_not()}")
@pytest.mark.parametrize("what", GENERATORS, ids="-".join)
def test_memory(benchmark: Any, capsys: pytest.CaptureFixture[str], what: tuple[str, str]) -> None:
    label, arguments = GENERATORS[what]
    memory = {
        each: found_alone("benchmarks.vocoder", *what, kind, *arguments)
        for each, kind in (("fastgan", "fastgan"), ("eager", "plain"))
    }
    benchmark.group = "memory"
    benchmark.extra_info.update(suite="memory", case=label, dtype="fp32", memory=memory)
    replay(benchmark, [0.0])
    with capsys.disabled():
        print(f"\n{label}: {memory}")
