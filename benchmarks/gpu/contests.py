"""``python -m benchmarks.gpu.contests [--quick] WHICH``: operations' contenders, checked, then timed in turn.

Each contender of each case is made and checked by itself. Those that agree are timed in interleaved rounds,
together with what cannot be beaten: a copy of as many random bytes, or the bare products.
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
from benchmarks.gpu.rows import DONE, LOST, attempt, done, put
from benchmarks.machine import DEVICE, finish_of
from benchmarks.operations import table
from benchmarks.operations.contenders import check, makes
from benchmarks.operations.operation import DTYPES, Case, Direction

EFFORT = Effort(rounds=30, least=7, seconds=1.0)
BRIEF = Effort(rounds=3, least=3, seconds=0.0)
SECONDS = 45.0  # of one contender, compiled and checked
TIMING = 20.0  # of all of a case


class Sizes(NamedTuple):
    losses: tuple[int, ...]
    biases: tuple[tuple[int, ...], ...]
    head: tuple[int, int]
    small: int  # logits, where a call's time is all there is
    linear: tuple[int, int, int]


FULL = Sizes(
    losses=(2**26,),
    biases=((65536, 1024), (256, 256, 64, 64)),
    head=(65536, 1024),
    small=128,
    linear=(8192, 4096, 4096),
)
QUICK = Sizes(losses=(2**10,), biases=((64, 32),), head=(32, 16), small=128, linear=(32, 16, 16))


@dataclass(frozen=True)
class Contest:
    """Attributes:
    wanted: names of contenders, besides fastgan's other backends where there is eager PyTorch.
    floor: what cannot be beaten: ``"copy"``, ``"products"``, or nothing.
    """

    case: Case
    direction: Direction
    wanted: tuple[str, ...]
    floor: str = ""

    @property
    def name(self) -> str:
        return f"{self.case.operation.name}, {self.case.label}, {self.case.dtype}, {self.direction.value}"


OURS = ("fastgan", "eager")
FLOORED = (Direction.BOTH, Direction.FORWARD, Direction.BACKWARD)


def contests(which: str, sizes: Sizes) -> Iterator[Contest]:
    """The most wanted ones first."""
    if which == "layer":
        yield Contest(table.linear_leaky_relu(*sizes.linear, "bf16"), Direction.BOTH, OURS, "products")
    elif which == "bandwidth":
        for direction in FLOORED:
            for case in _memory_bound(sizes, direction is Direction.BOTH):
                yield Contest(case, direction, OURS, "copy")
        yield Contest(table.loss(table.DISCRIMINATOR_LOSS, sizes.small, "fp32"), Direction.CALL, OURS)


def rival(name: str, sizes: Sizes) -> Iterator[Contest]:
    """fastgan against one other, on what it is held to."""
    for case in [*_memory_bound(sizes, False), table.linear_leaky_relu(*sizes.linear, "bf16")]:
        yield Contest(case, Direction.BOTH, ("fastgan", name))


def _memory_bound(sizes: Sizes, with_others: bool) -> Iterator[Case]:
    for dtype in DTYPES:
        yield from (table.loss(table.DISCRIMINATOR_LOSS, n, dtype) for n in sizes.losses)
        yield from (table.bias_leaky_relu(shape, dtype) for shape in sizes.biases[: 2 if with_others else 1])
    if with_others:
        for dtype in DTYPES:
            yield from (table.loss(table.GENERATOR_LOSS, n, dtype) for n in sizes.losses)
            yield from (table.loss(table.RECONSTRUCTION_LOSS, n, dtype) for n in sizes.losses)
            yield table.head(*sizes.head, dtype)


def run(each: Contest, effort: Effort) -> None:
    forget()
    case = each.case
    inputs = case.inputs(DEVICE)
    expected, grad = case.expected(inputs)
    samples: dict[str, Sample] = {}
    if each.floor:
        samples[each.floor] = _floor(each, inputs, grad)
    missing = each.wanted[-1]
    for name, make in makes(case, inputs, grad, DEVICE):
        missing = missing if name != missing else ""
        if not _is_wanted(name, each.wanted):
            continue
        with attempt("contest", each.name, name, SECONDS):
            contender = make()
            check(name, contender, expected, case)
            if (sample := contender.sample(each.direction)) is not None:
                samples[name] = sample
        if not missing:
            break  # before JAX is imported to be asked
    if missing:
        put("contest", each.name, contender=missing, status="left out", error=f"it does not run on {DEVICE}")
    expected.clear()
    done(each.name)  # whatever becomes of the next line: it is not tried twice
    with attempt("contest", each.name, "all of them, timed", TIMING):
        tell(each.name, contest(samples, effort))


def forget() -> None:
    """What the case before compiled and allocated."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    gc.collect()


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    is_meant = name in wanted or (name.startswith("fastgan,") and "eager" in wanted)
    return is_meant and name != "fastgan, reference" and name not in LOST


def _floor(each: Contest, inputs: list[Tensor], grad: Tensor) -> Sample:
    """Random numbers, as a card draws less power, and is faster, on zeros."""
    if each.floor == "products":
        x, weight = inputs[0].detach(), inputs[1].detach()

        def products() -> object:
            return x @ weight.t(), grad @ weight, grad.t() @ x

        return timed(products, finish_of(DEVICE))
    dtype = DTYPES[each.case.dtype]
    count = each.case.work(each.direction).bytes // 2 // dtype.itemsize
    source = torch.randn(count, device=DEVICE).to(dtype)
    target = torch.empty_like(source)
    return timed(lambda: target.copy_(source), finish_of(DEVICE))


def tell(case: str, result: Result, steps: dict[str, int] | None = None) -> None:
    """A row for each contender: its median, and how many times as long as fastgan's, with quartiles."""
    for name, rounds in result.seconds.items():
        per = (steps or {}).get(name, 1)
        row: dict[str, object] = {"contender": name, "us": result.median(name) / per * 1e6}
        if "fastgan" in result.seconds:
            row["times"] = [ratio * (steps or {}).get("fastgan", 1) / per for ratio in result.ratio(name)]
        put("contest", case, **row, rounds=len(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.contests", description=__doc__)
    parser.add_argument("which", choices=("bandwidth", "layer"))
    parser.add_argument("--quick", action="store_true", help="sizes that say nothing")
    options = parser.parse_args()
    sizes, effort = (QUICK, BRIEF) if options.quick else (FULL, EFFORT)
    found = list(contests(options.which, sizes))
    for each in found[:2] if options.quick else found:
        if each.name not in DONE:
            run(each, effort)


if __name__ == "__main__":
    main()
