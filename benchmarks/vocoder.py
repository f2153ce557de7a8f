"""A HiFi-GAN V1 vocoder: shapes of its feature maps, and the networks of examples/hifigan_*.py.

``python -m benchmarks.vocoder plain`` (or ``fastgan``) prints the peak memory of G's turn as JSON.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

from benchmarks.contest import timed
from benchmarks.memory import peak_of

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH, SEGMENT = 2, 8192


def made_by(kind: str, *arguments: str) -> dict[str, Any]:
    """The names of a script that has not trained yet."""
    path = str(EXAMPLES / f"hifigan_{kind}.py")
    before = sys.argv
    sys.argv = [path, "--steps", "0", *arguments]
    try:
        return runpy.run_path(path)
    finally:
        sys.argv = before


def map_shapes() -> list[list[tuple[int, ...]]]:
    """The shapes of all feature maps of each discriminator."""
    made = made_by("plain")
    real = made["tones"](BATCH, SEGMENT)
    return [[tuple(t.shape) for t in maps] for maps in made["D"](real, real)[2]]


def peak_of_generator_turn(kind: str) -> int:
    made = made_by(kind)
    real = made["tones"](BATCH, SEGMENT)
    mel = made["log_mel"](real.squeeze(1))
    return peak_of(timed(lambda: made["generator_turn"](real, made["G"](mel), mel)))


if __name__ == "__main__":
    print(json.dumps({"peak": peak_of_generator_turn(sys.argv[1])}))
