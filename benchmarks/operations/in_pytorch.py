"""Contenders in PyTorch, fastgan included: eager, compiled, or captured in a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from benchmarks.contest import Sample, timed
from benchmarks.machine import finish_of
from benchmarks.operations.operation import Direction, Forward


class InPyTorch:
    """Args:
    inputs: leaves, all with requires_grad.
    grad: gradient of the output.
    context: context manager around a sample, entered before the clock is read.
    """

    def __init__(
        self,
        forward: Forward,
        inputs: list[Tensor],
        grad: Tensor,
        device: str,
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.forward, self.inputs, self.context = forward, inputs, context
        self.grad, self.finish = grad if grad.dim() else None, finish_of(device)

    def results(self) -> list[Tensor]:
        with self.context():
            output = self.forward(*self.inputs)
            return [output.detach(), *torch.autograd.grad(output, self.inputs, self.grad)]

    def sample(self, direction: Direction) -> Sample | None:
        samples = {
            Direction.FORWARD: timed(lambda: self.forward(*self.inputs), self.finish),
            Direction.BACKWARD: self._backward,
            Direction.BOTH: timed(lambda: self.leave_gradients(self.forward(*self.inputs)), self.finish),
            Direction.CALL: timed(torch.no_grad()(lambda: self.forward(*self.inputs)), self.finish),
        }

        def sample(calls: int) -> float:
            with self.context():
                return samples[direction](calls)

        return sample

    def leave_gradients(self, output: Tensor) -> None:
        """Backward into fresh gradients, as after zero_grad."""
        output.backward(self.grad)
        for t in self.inputs:
            t.grad = None

    def _backward(self, calls: int) -> float:
        """Times backward through graphs made beforehand, the latest first: its tensors are in the cache."""
        outputs = [self.forward(*self.inputs) for _ in range(calls)]
        self.finish()
        start = time.perf_counter()
        while outputs:
            self.leave_gradients(outputs.pop())
        self.finish()
        return time.perf_counter() - start


class Graphed(InPyTorch):
    """Forward, or forward + backward, captured once in a CUDA graph and replayed."""

    def sample(self, direction: Direction) -> Sample | None:
        runs = {
            Direction.FORWARD: lambda: self.forward(*self.inputs),
            Direction.BOTH: lambda: torch.autograd.grad(self.forward(*self.inputs), self.inputs, self.grad),
        }
        if direction not in runs:
            return None
        run = runs[direction]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = run()

        def replay(kept: object = kept) -> None:
            graph.replay()

        return timed(replay, self.finish)
