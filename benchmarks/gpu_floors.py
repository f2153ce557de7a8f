"""``python -m benchmarks.gpu_floors OUT``: what a call costs on a GPU beside what it cannot do without.

Of small losses the time on the host, against eager PyTorch's, and on the device, against a kernel that does
nothing; of a wide layer the time forward and backward, against its three products alone. Writes
gpu-floors.json and gpu-floors.md into OUT.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

import fastgan
from benchmarks.contest import QUICK, Effort, Run, Sample, contest, timed
from benchmarks.gpu_options import parse
from benchmarks.machine import DEVICE, about, finish_of
from benchmarks.operations import table
from benchmarks.operations.contenders import contenders, samples_of
from benchmarks.operations.operation import DTYPES, Case, Direction
from fastgan.ops import discriminator_loss_value_and_grad

EFFORT = Effort(rounds=30, least=7, seconds=1.0)
LAUNCHES = 100  # of a graph
Row = dict[str, Any]


def measure(
    what: str, case: Case, floor: str, samples: dict[str, Sample], effort: Effort, calls: int = 1
) -> Row:
    result = contest(samples, effort)
    return {
        "case": f"{what}: {case.operation.name}, {case.label}, {case.dtype}",
        "floor": floor,
        "medians": {name: result.median(name) / calls for name in samples},
        "ratios": {name: result.ratio(name, floor)[1] for name in samples if name != floor},
    }


def call(case: Case, effort: Effort) -> Row:
    made = contenders(case, DEVICE, tuned=False)
    return measure("a call, no grad", case, "eager", samples_of(made, Direction.CALL), effort)


def on_device(case: Case, effort: Effort) -> Row:
    inputs = case.inputs(DEVICE)
    samples = {"nothing": many(nothing())}
    for backend in fastgan.available_backends(DEVICE)[:-1]:  # the last one is the reference
        with fastgan.use_backend(backend):
            samples[backend] = many(partial(case.operation.ours, *inputs))
            samples[f"{backend}, with gradients"] = many(partial(discriminator_loss_value_and_grad, *inputs))
    return measure("on the device", case, "nothing", samples, effort, LAUNCHES)


@torch.no_grad()
def many(run: Run) -> Sample:
    """So many calls, on a GPU as one graph, in which the host has no part."""

    def calls() -> None:
        for _ in range(LAUNCHES):
            run()

    if DEVICE == "cpu":
        return timed(torch.no_grad()(calls))
    run()  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        calls()
    return timed(graph.replay, finish_of(DEVICE))


def nothing() -> Run:
    """A kernel that does nothing, launched."""
    if DEVICE == "cpu":
        return lambda: None
    import triton

    @triton.jit
    def empty(somewhere) -> None:  # type: ignore[no-untyped-def]
        pass

    somewhere = torch.empty(1, device=DEVICE)
    return lambda: empty[(1,)](somewhere)


def layer(case: Case, effort: Effort) -> Row:
    samples = samples_of(contenders(case, DEVICE, tuned=False), Direction.BOTH)
    x, weight, _ = case.inputs(DEVICE)
    grad = torch.randn_like(x @ weight.t())

    @torch.no_grad()
    def products() -> object:
        return x @ weight.t(), grad @ weight, grad.t() @ x

    samples["products"] = timed(products, finish_of(DEVICE))
    return measure("a layer", case, "products", samples, effort)


def rows(effort: Effort, sizes: tuple[int, ...], features: tuple[int, int, int]) -> Iterator[Row]:
    for dtype in DTYPES:
        for size in sizes:
            case = table.loss(table.DISCRIMINATOR_LOSS, size, dtype)
            yield call(case, effort)
            yield on_device(case, effort)
    yield layer(table.linear_leaky_relu(*features, "bf16"), effort)


def lines(found: list[Row]) -> Iterator[str]:
    yield "| case | against | us | times as long |"
    yield "|---|---|--:|---|"
    for row in found:
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
        floor = row["floor"]
        yield f"| {row['case']} | {floor} | {row['medians'][floor] * 1e6:.2f} | {ratios} |"


def main() -> None:
    out, quick = parse("gpu_floors", __doc__)
    wanted = (QUICK, (128,), (64, 64, 64)) if quick else (EFFORT, (128, 1024, 4096), (8192, 4096, 4096))
    found = list(rows(*wanted))
    text = "\n".join(lines(found))
    (out / "gpu-floors.json").write_text(json.dumps({"about": about(DEVICE), "rows": found}, indent=1))
    (out / "gpu-floors.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
