"""How many Python functions a call enters: each costs a tenth of a microsecond, and more where it is cold."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType

import pytest
import torch
from backends import Backend

import fastgan
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem

LIMITS = {"reference": 40, "cpu": 14, "cuda": 16, "triton": 26}


def frames_of(call: Callable[[], object]) -> list[str]:
    """The functions that a call enters, itself left out, and those of Triton's interpreter."""
    entered: list[str] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and not is_of_interpreter(frame):
            entered.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered[1:]


def is_of_interpreter(frame: FrameType | None) -> bool:
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("triton.") or name == "triton_interpreter":
            return True
        frame = frame.f_back
    return False


def test_a_discriminator_loss_with_its_gradient(backend: Backend) -> None:
    if backend.device != "cpu":
        pytest.skip("counted where the kernels run on the host")
    real, fake = (torch.randn(128, 1, device=backend.device).requires_grad_() for _ in range(2))

    def loss() -> object:
        return fastgan.discriminator_loss(real, fake)

    loss()  # what is found once, such as the backend
    entered = frames_of(loss)
    assert len(entered) <= LIMITS[backend.name], entered


@pytest.mark.skipif(fastgan.available_backends()[0] != "cpu", reason="the extension is not built")
def test_an_alternating_step() -> None:
    """As benchmarks/bench_step.py times it, of small networks."""
    contender = Fastgan(Problem(8, 16, simultaneous=False))
    for _ in range(2):
        contender.run()
    entered = [name for name in frames_of(contender.run) if name.startswith("fastgan.")]
    assert len(entered) <= 400, Counter(entered).most_common(20)
