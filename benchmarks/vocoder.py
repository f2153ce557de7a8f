"""The vocoders of the examples, HiFi-GAN and BigVGAN, and steps of their generators.

``python -m benchmarks.vocoder turn hifigan plain`` prints the peak memory of G's turn as JSON; ``fastgan``
instead of ``plain``, ``bigvgan`` instead of ``hifigan``, and ``step`` for a step of G without D.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.nn.functional as F

from benchmarks.contest import timed
from benchmarks.memory import peak_of

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH, SEGMENT = 2, 8192


def made_by(name: str, kind: str, *arguments: str) -> dict[str, Any]:
    """The names of a script that has not trained yet."""
    path = str(EXAMPLES / f"{name}_{kind}.py")
    before = sys.argv
    sys.argv = [path, "--steps", "0", *arguments]
    try:
        return runpy.run_path(path)
    finally:
        sys.argv = before


def map_shapes() -> list[list[tuple[int, ...]]]:
    """The shapes of all feature maps of each discriminator."""
    made = made_by("hifigan", "plain")
    real = made["tones"](BATCH, SEGMENT)
    return [[tuple(t.shape) for t in maps] for maps in made["D"](real, real)[2]]


def generator_turn(name: str, kind: str, *arguments: str) -> Callable[[], object]:
    """G's forward pass, all losses, backward pass and update."""
    made = made_by(name, kind, *arguments)
    real = made["tones"](BATCH, SEGMENT)
    mel = made["log_mel"](real.squeeze(1))
    return lambda: made["generator_turn"](real, made["G"](mel), mel)


def generator_step(name: str, kind: str, *arguments: str) -> Callable[[], object]:
    """The same with the distance of spectra as the only loss, without D."""
    made = made_by(name, kind, *arguments)
    mel = made["log_mel"](made["tones"](BATCH, SEGMENT).squeeze(1))

    def step() -> None:
        loss = 45 * F.l1_loss(made["log_mel"](made["G"](mel).squeeze(1)), mel)
        made["optG"].zero_grad()
        loss.backward()
        made["optG"].step()

    return step


STEPS = {"turn": generator_turn, "step": generator_step}

if __name__ == "__main__":
    step, *script = sys.argv[1:]
    print(json.dumps({"peak": peak_of(timed(STEPS[step](*script)))}))
