"""``python -m benchmarks.gpu.captured BACKEND``: checks that CUDA graphs give the results of eager calls."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

import fastgan
from benchmarks.gpu.rows import DONE, attempt, done, is_lost, put
from benchmarks.machine import DEVICE
from benchmarks.operations import table
from benchmarks.operations.in_pytorch import InPyTorch
from benchmarks.operations.operation import Case

SECONDS = 40.0
CASES = (
    *table.tiny(),
    table.loss(table.DISCRIMINATOR_LOSS, 2**20, "bf16"),
    table.with_bias(table.BIAS_LEAKY_RELU, (4096, 1024), "fp32"),
    table.linear_leaky_relu(512, 256, 256, "bf16"),
)


def replayed(contender: InPyTorch) -> list[Tensor]:
    """Values and gradients of the third replay, to find state that earlier replays leave behind."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            contender.results()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = contender.results()
    for _ in range(3):
        graph.replay()
    torch.cuda.synchronize()
    return found


def check(backend: str, case: Case) -> None:
    """Requires equal bits, or only small errors with products: the library may choose another algorithm."""
    inputs = case.inputs(DEVICE)
    _, grad = case.expected(inputs)
    with fastgan.use_backend(backend):
        contender = InPyTorch(case.operation.ours, inputs, grad, DEVICE)
        eager = contender.results()
        found = replayed(contender) if DEVICE == "cuda" else contender.results()
    same = all(torch.equal(a, b) for a, b in zip(found, eager, strict=True))
    rtol = 1e-2 if case.dtype == "bf16" else 1e-5
    near = all(
        (a.double() - b.double()).norm() <= rtol * b.double().norm()
        for a, b in zip(found, eager, strict=True)
    )
    status = "ok" if same or (case.operation.has_products and near) else "failed"
    put("captured", f"{case}, {backend}", same_bits=same, status=status)


if __name__ == "__main__":
    for case in CASES:
        if str(case) not in DONE and not is_lost(str(case), sys.argv[1]):
            with attempt("captured", str(case), sys.argv[1], SECONDS):
                check(sys.argv[1], case)
            done(str(case))
