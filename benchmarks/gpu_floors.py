"""``python -m benchmarks.gpu_floors OUT``: what a call costs on a GPU beside what it cannot do without.

Of small losses the time on the host, against eager PyTorch's, and on the device, against a kernel that does
nothing; of a wide layer the time forward and backward, against its three products alone. Writes
gpu-floors.json and gpu-floors.md into OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import fastgan
from benchmarks.contest import QUICK, Effort, Result, Run, contest, timed
from benchmarks.machine import DEVICE, about, finish_of
from fastgan.ops import discriminator_loss_value_and_grad

EFFORT = Effort(rounds=30, least=7, seconds=1.0)
LAUNCHES = 100  # of a graph
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def eager_loss(real: Tensor, fake: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


def served_by(backend: str, run: Run) -> Run:
    def served() -> object:
        with fastgan.use_backend(backend):
            return run()

    return served


def repeated(run: Run) -> Run:
    """So many calls, on a GPU as one graph, in which the host has no part."""

    def calls() -> None:
        for _ in range(LAUNCHES):
            run()

    if DEVICE == "cpu":
        return calls
    run()  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        calls()
    return graph.replay


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


def contests(effort: Effort, sizes: tuple[int, ...], layer: tuple[int, int, int]) -> Iterator[dict[str, Any]]:
    backends = [name for name in fastgan.available_backends(DEVICE) if name != "reference"]
    finish = finish_of(DEVICE)

    def row(what: str, floor: str, runs: dict[str, Run], calls: int = 1) -> dict[str, Any]:
        result: Result = contest({name: timed(run, finish) for name, run in runs.items()}, effort)
        medians = {name: result.median(name) / calls for name in runs}
        ratios = {name: result.ratio(name, floor)[1] for name in runs if name != floor}
        return {"case": what, "floor": floor, "medians": medians, "ratios": ratios}

    for name, dtype in DTYPES.items():
        for size in sizes:
            real, fake = (torch.randn(size, dtype=dtype, device=DEVICE) for _ in range(2))
            label = f"{size:,} logits each, {name}"
            loss = {
                b: served_by(b, lambda r=real, f=fake: fastgan.discriminator_loss(r, f)) for b in backends
            }
            yield row(f"a call, {label}", "eager", {"eager": lambda r=real, f=fake: eager_loss(r, f)} | loss)
            both = {
                f"{b}, with gradients": served_by(
                    b, lambda r=real, f=fake: discriminator_loss_value_and_grad(r, f)
                )
                for b in backends
            }
            runs = {each: repeated(run) for each, run in {"nothing": nothing(), **loss, **both}.items()}
            yield row(f"on the device, {label}", "nothing", runs, LAUNCHES)
    yield row("a layer", "products", layer_and_products(backends, *layer))


def layer_and_products(backends: list[str], rows: int, features: int, outputs: int) -> dict[str, Run]:
    """``linear_leaky_relu`` in bf16, forward and backward, and the products that it cannot do without."""
    shapes = [(rows, features), (outputs, features), (outputs,)]
    x, weight, bias = (
        torch.randn(shape, dtype=torch.bfloat16, device=DEVICE).requires_grad_() for shape in shapes
    )
    grad = torch.randn(rows, outputs, dtype=torch.bfloat16, device=DEVICE)

    def products() -> object:
        with torch.no_grad():
            return x @ weight.t(), grad @ weight, grad.t() @ x

    def both(forward: Run) -> Run:
        return lambda: torch.autograd.grad(forward(), [x, weight, bias], grad)  # type: ignore[call-overload]

    layers = {b: both(served_by(b, lambda: fastgan.linear_leaky_relu(x, weight, bias))) for b in backends}
    return {
        "products": products,
        "eager": both(lambda: F.leaky_relu(F.linear(x, weight, bias), 0.2)),
        **layers,
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| case | against | us | times as long |", "|---|---|--:|---|"]
    for row in rows:
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
        floor = row["floor"]
        lines.append(f"| {row['case']} | {floor} | {row['medians'][floor] * 1e6:.2f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_floors", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="small sizes, on the CPU where there is no GPU")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if DEVICE == "cpu" and not options.quick:
        parser.error("there is no GPU here; --quick tries the benchmark itself on the CPU")
    if options.quick:
        rows = list(contests(QUICK, (128,), (64, 64, 64)))
    else:
        rows = list(contests(EFFORT, (128, 1024, 4096), (8192, 4096, 4096)))
    text = table(rows)
    (options.out / "gpu-floors.json").write_text(json.dumps({"about": about(DEVICE), "rows": rows}, indent=1))
    (options.out / "gpu-floors.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
