"""``python -m benchmarks.gpu.contests [--quick] WHICH``: checks and times the contenders of operations.

Each contender is made and checked separately. Those with correct results are timed in interleaved rounds,
together with the floor: a copy of as many bytes, or the bare matrix products.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.contest import Effort, Result, Sample, contest, timed
from benchmarks.gpu.rows import DONE, attempt, done, is_lost, put
from benchmarks.machine import DEVICE, finish_of
from benchmarks.operations import table
from benchmarks.operations.contenders import Contender, check, makes, samples_of
from benchmarks.operations.operation import DTYPES, Case, Direction

EFFORT = Effort(rounds=30, least=7, seconds=0.6)
BRIEF = Effort(rounds=3, least=3, seconds=0.0)
SECONDS = 45.0  # limit for compiling and checking a contender
TIMING = 20.0  # limit for timing a case


class Sizes(NamedTuple):
    loss: int  # logits
    biases: tuple[tuple[int, ...], ...]
    head: tuple[int, int]
    small: int  # logits, so few that only the overhead of a call counts
    linear: tuple[int, int, int]


FULL = Sizes(
    loss=2**26,
    biases=((65536, 1024), (256, 256, 64, 64)),
    head=(65536, 1024),
    small=128,
    linear=(8192, 4096, 4096),
)
QUICK = Sizes(loss=2**10, biases=((64, 32),), head=(32, 16), small=128, linear=(32, 16, 16))


@dataclass(frozen=True)
class Contest:
    """Attributes:
    wanted: names of contenders. If "eager" is one of them, fastgan's other backends compete too.
    floor: ``"copy"``, ``"products"``, or ``""`` for none.
    """

    case: Case
    directions: tuple[Direction, ...]
    wanted: tuple[str, ...]
    floor: str = ""

    @property
    def name(self) -> str:
        return self.in_direction(self.directions[0])

    def in_direction(self, direction: Direction) -> str:
        return f"{self.case.operation.name}, {self.case.label}, {self.case.dtype}, {direction.value}"


OURS = ("fastgan", "eager")
BOTH = (Direction.BOTH,)
EACH = (Direction.BOTH, Direction.FORWARD, Direction.BACKWARD)


def contests(which: str, sizes: Sizes) -> Iterator[Contest]:
    """The contests in order of importance."""
    if which == "layer":
        yield Contest(table.linear_leaky_relu(*sizes.linear, "bf16"), BOTH, OURS, "products")
        return
    for case in _headline(sizes):
        # a loss may write its gradients in either pass, so only both passes together have a floor
        directions = EACH if case.operation is table.BIAS_LEAKY_RELU else BOTH
        yield Contest(case, directions, OURS, "copy")
    for dtype in DTYPES:
        for case in _others(sizes, dtype):
            yield Contest(case, BOTH, OURS, "copy")
    yield Contest(table.loss(table.DISCRIMINATOR_LOSS, sizes.small, "fp32"), (Direction.CALL,), OURS)


def rival(name: str, sizes: Sizes) -> Iterator[Contest]:
    """fastgan and one other contender, on the cases that have goals."""
    for case in [*_headline(sizes), table.linear_leaky_relu(*sizes.linear, "bf16")]:
        yield Contest(case, BOTH, ("fastgan", name))


def _headline(sizes: Sizes) -> Iterator[Case]:
    for dtype in DTYPES:
        yield table.loss(table.DISCRIMINATOR_LOSS, sizes.loss, dtype)
        yield table.with_bias(table.BIAS_LEAKY_RELU, sizes.biases[0], dtype)


def _others(sizes: Sizes, dtype: str) -> Iterator[Case]:
    yield from (table.with_bias(table.BIAS_LEAKY_RELU, shape, dtype) for shape in sizes.biases[1:])
    yield table.loss(table.GENERATOR_LOSS, sizes.loss, dtype)
    yield table.loss(table.RECONSTRUCTION_LOSS, sizes.loss, dtype)
    yield table.head(*sizes.head, dtype)


def run(each: Contest, effort: Effort) -> None:
    forget()
    case = each.case
    inputs = case.inputs(DEVICE)
    expected, grad = case.expected(inputs)
    made: dict[str, Contender] = {}
    missing = each.wanted[-1]
    for name, make in makes(case, inputs, grad, DEVICE):
        missing = missing if name != missing else ""
        if not _is_wanted(name, each.wanted) or is_lost(each.name, name):
            continue
        with attempt("contest", each.name, name, SECONDS):
            contender = make()
            check(name, contender, expected, case)
            made[name] = contender
        if not missing:
            break  # before the generator imports JAX
    if missing:
        put("contest", each.name, contender=missing, status="left out", error=f"it does not run on {DEVICE}")
    expected.clear()
    done(each.name)  # before timing: a case that fails there is not tried again
    for direction in each.directions:
        with attempt("contest", each.in_direction(direction), "all of them, timed", TIMING):
            floor = {each.floor: _floor(each, direction, inputs, grad)} if each.floor else {}
            tell(each.in_direction(direction), contest(floor | samples_of(made, direction), effort))


def forget() -> None:
    """Frees what the previous case compiled and allocated."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    gc.collect()


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    is_meant = name in wanted or (name.startswith("fastgan,") and "eager" in wanted)
    return is_meant and name != "fastgan, reference"


def _floor(each: Contest, direction: Direction, inputs: list[Tensor], grad: Tensor) -> Sample:
    """The floor's sample. Copies random numbers, as a GPU needs less power for zeros and is faster."""
    if each.floor == "products":
        x, weight = inputs[0].detach(), inputs[1].detach()

        def products() -> object:
            return x @ weight.t(), grad @ weight, grad.t() @ x

        return timed(products, finish_of(DEVICE))
    dtype = DTYPES[each.case.dtype]
    count = each.case.work(direction).bytes // 2 // dtype.itemsize
    source = torch.randn(count, device=DEVICE).to(dtype)
    target = torch.empty_like(source)
    return timed(lambda: target.copy_(source), finish_of(DEVICE))


def tell(case: str, result: Result, steps: dict[str, int] | None = None) -> None:
    """Puts a row for each contender: its median time, and the quartiles of its ratio to fastgan's time."""
    for name, rounds in result.seconds.items():
        per = (steps or {}).get(name, 1)
        row: dict[str, object] = {"contender": name, "us": result.median(name) / per * 1e6}
        if "fastgan" in result.seconds:
            row["times"] = [ratio * (steps or {}).get("fastgan", 1) / per for ratio in result.ratio(name)]
        put("contest", case, **row, rounds=len(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.contests", description=__doc__)
    parser.add_argument("which", choices=("bandwidth", "layer"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the check itself")
    options = parser.parse_args()
    sizes, effort = (QUICK, BRIEF) if options.quick else (FULL, EFFORT)
    found = list(contests(options.which, sizes))
    for each in found[:2] if options.quick else found:
        if each.name not in DONE:
            with attempt("contest", each.name, "what all of them need", SECONDS):
                run(each, effort)


if __name__ == "__main__":
    main()
