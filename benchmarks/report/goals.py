"""fastgan's goals on a GPU: ratios of contenders timed in interleaved rounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.gpu.record import Row


class Contests:
    """The latest row of each contender of each case, from the first stage that timed it."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.cases: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row["what"] == "contest" and "us" in row:
                members = self.cases.setdefault(row["case"], {})
                earlier = members.get(row["contender"])
                if earlier is None or earlier["stage"] == row["stage"]:
                    members[row["contender"]] = row

    def times(self, case: str, contender: str) -> float | None:
        """The contender's time relative to fastgan's; None if not measured."""
        row = self.cases.get(case, {}).get(contender)
        return row["times"][1] if row is not None and "times" in row else None


@dataclass(frozen=True)
class Goal:
    """The goal that ``contender`` takes at least ``least`` times as long as fastgan.

    Attributes:
        aim: a higher ratio to aim for, or None.
    """

    name: str
    case: str
    contender: str
    least: float
    aim: float | None = None

    @property
    def wanted(self) -> str:
        return self._shown(self.least) + (f", aim {self._shown(self.aim)}" if self.aim else "")

    def found(self, contests: Contests) -> tuple[str, str]:
        """The measured ratio and the verdict, as text."""
        times = contests.times(self.case, self.contender)
        if times is None:
            return "not measured", ""
        verdict = "reached" if times >= self.least else "**falls short**"
        if self.aim and times >= self.least:
            verdict += ", the aim too" if times >= self.aim else ", the aim not"
        return self._shown(times), verdict

    def _shown(self, times: float) -> str:
        if self.contender == "copy":
            return f"{times:.0%} of a copy's speed"
        if self.contender == "products":
            return f"{1 / times:.2f} of its products' time"
        return f"{times:.1f} × {self.contender}"


_LOSS = "discriminator_loss, 2 × 67,108,864, {dtype}, forward + backward"
_BIAS = "bias_leaky_relu, 65,536 × 1,024, {dtype}, {direction}"
_LAYER = "linear_leaky_relu, 8,192 × 4,096 → 4,096, bf16, forward + backward"
_STEP = "step, {kind}, batch 128, 256 wide"
STEP = _STEP.format(kind="alternating")
MOST_KERNELS = 40  # in a captured STEP; tests/test_step_launches.py counts the launches
_DTYPES = ("fp32", "bf16")
GOALS = [
    *(
        Goal(f"discriminator loss, 2 × 2²⁶, {dtype}", _LOSS.format(dtype=dtype), contender, least)
        for dtype in _DTYPES
        for contender, least in (("copy", 0.85), ("eager", 5.0), ("torch.compile", 1.4))
    ),
    *(
        Goal(
            f"`bias_leaky_relu`, 65,536 × 1,024, {direction}, {dtype}",
            _BIAS.format(dtype=dtype, direction=direction),
            "copy",
            0.85,
        )
        for direction in ("forward", "backward")
        for dtype in _DTYPES
    ),
    Goal("`linear_leaky_relu`, 8,192 × 4,096 → 4,096, bf16", _LAYER, "products", 1 / 1.10),
    *(
        Goal(f"{kind} step, batch 128, 256 wide", _STEP.format(kind=kind), contender, least, aim)
        for kind in ("alternating", "simultaneous")
        for contender, least, aim in (("eager", 8.0, 12.0), ("torch.compile, reduce-overhead", 2.0, None))
    ),
]
