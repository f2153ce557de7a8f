"""``python -m benchmarks.gpu_step OUT``: the training step on a GPU, captured, against PyTorch and JAX.

In float32 at a size where launches are the limit, and in bf16 at one where products are, with the share of
the measured matrix rate over the products that a step needs. Writes gpu-step.json and gpu-step.md into OUT.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks.contest import EFFORT, QUICK, Effort, Result, contest, timed
from benchmarks.gpu_options import parse
from benchmarks.machine import DEVICE, about, finish_of, matrix_rate
from benchmarks.step.agreement import check_agreement
from benchmarks.step.contenders import Make, contenders
from benchmarks.step.problem import Problem


@dataclass(frozen=True)
class Case:
    problem: Problem
    precision: str

    @property
    def name(self) -> str:
        return f"{self.problem}, {self.precision}"


def cases(quick: bool) -> Iterator[Case]:
    for simultaneous in (False, True):
        yield Case(Problem(*((16, 32) if quick else (128, 256)), simultaneous), "fp32")
        yield Case(Problem(*((32, 64) if quick else (8192, 4096)), simultaneous), "bf16")


def measure(case: Case, device: str, effort: Effort) -> Result:
    makes = contenders(case.problem, device, case.precision, modes=("reduce-overhead",))
    made = {name: make() for name, make in makes if _works(name, make, device)}
    check_agreement(case.problem, made, device, slack=0.5 if case.precision == "bf16" else 0.05)
    samples = {name: timed(contender.run, finish_of(device)) for name, contender in made.items()}
    result = contest(samples, effort, 0.02)
    return Result({n: [s / made[n].steps_a_run for s in seconds] for n, seconds in result.seconds.items()})


def _works(name: str, make: Make, device: str) -> bool:
    """Whether a step runs at all: of what others wrote, a version may fail where the rest is worth timing."""
    try:
        make().run()
        finish_of(device)()
    except Exception as error:
        if name.startswith("fastgan"):
            raise
        print(f"{name} is left out: {type(error).__name__}: {error}")
        return False
    finally:
        gc.collect()
    return True


def row(case: Case, result: Result, rate: float) -> dict[str, object]:
    found: dict[str, object] = {"case": case.name, "seconds": result.seconds}
    for name in result.seconds:
        found[f"{name}: steps/s"] = 1 / result.median(name)
        found[f"{name} / fastgan"] = result.ratio(name)
        if case.precision == "bf16":
            found[f"{name}: share of the matrix rate"] = case.problem.flops() / result.median(name) / rate
    return found


def table(case: Case, result: Result, rate: float) -> list[str]:
    lines = [f"### {case.name}", "", "| | us a step | times as long as fastgan |", "|---|---|---|"]
    for name in result.seconds:
        seconds = result.median(name)
        low, middle, high = result.ratio(name)
        share = f" ({case.problem.flops() / seconds / rate:.0%})" if case.precision == "bf16" else ""
        lines.append(f"| {name} | {seconds * 1e6:.1f}{share} | {middle:.2f} ({low:.2f}-{high:.2f}) |")
    return [*lines, ""]


def main() -> None:
    out, quick = parse("gpu_step", __doc__)
    rate = matrix_rate(DEVICE, torch.bfloat16)
    told = about(DEVICE) | {"bf16 matrix rate": f"{rate / 1e12:.2f} TFLOP/s"}
    rows: list[dict[str, object]] = []
    lines = [f"- {key}: {value}" for key, value in told.items()]
    lines += ["", "In brackets: share of the matrix rate; quartiles of the ratio.", ""]
    for case in cases(quick):
        torch.compiler.reset()
        result = measure(case, DEVICE, QUICK if quick else EFFORT)
        rows.append(row(case, result, rate))
        lines += table(case, result, rate)
    (out / "gpu-step.json").write_text(json.dumps({"about": told, "rows": rows}, indent=1))
    (out / "gpu-step.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
