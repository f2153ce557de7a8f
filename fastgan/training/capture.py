"""Steps as CUDA graphs: one replay in place of hundreds of kernel launches."""

from __future__ import annotations

from typing import Any

import torch

from fastgan.training.source import Source
from fastgan.training.state import TrainingState
from fastgan.training.step import train_step
from fastgan.training.window import Window

_WARM_UP_RUNS = 3  # before a capture: compilers, autotuners and cuBLAS's workspaces need eager calls


class EagerSteps:
    """Steps run eagerly; the arguments are those of :func:`fastgan.training.step.train_step`."""

    def __init__(self, state: TrainingState, source: Source, window: Window) -> None:
        self.state, self.source, self.window = state, source, window

    def advance(self, most: int) -> None:
        """Do at least one step, and at most ``most``."""
        self.source.prepare(self.state)
        train_step(
            self.state, self.source, self.window, penalize=self.state.config.penalizes_at(self.state.step)
        )
        self.state.step += 1


class CapturedSteps(EagerSteps):
    """The same steps as replays of CUDA graphs, captured at first use.

    A graph holds ``steps_per_replay`` steps, or a single one if fewer are left before a log point. With lazy
    penalties there is a graph for each sequence of steps with and without a penalty.
    """

    def __init__(self, state: TrainingState, source: Source, window: Window) -> None:
        super().__init__(state, source, window)
        self._graphs: dict[tuple[bool, ...], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None

    def advance(self, most: int) -> None:
        self.source.prepare(self.state)
        config, step = self.state.config, self.state.step
        count = config.steps_per_replay if most >= config.steps_per_replay else 1
        penalties = tuple(config.penalizes_at(step + i) for i in range(count))
        if penalties not in self._graphs:
            self._graphs[penalties] = self._capture(penalties)
        self._graphs[penalties].replay()
        self.state.step += count

    def _capture(self, penalties: tuple[bool, ...]) -> torch.cuda.CUDAGraph:
        self._warm_up(penalties)
        graph = torch.cuda.CUDAGraph()
        # in "global" mode, the thread that pins memory of the next batches would invalidate the capture
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            self._run(penalties)
        self._pool = graph.pool()
        return graph

    def _warm_up(self, penalties: tuple[bool, ...]) -> None:
        """Run the steps and undo all their effects, including batch statistics and random draws."""
        live = {**self.state.tensors(), **self.window.tensors()}
        before = {name: tensor.clone() for name, tensor in live.items()}
        random = self.state.random_states()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                self._run(penalties)
                for name in self.window.tensors():
                    live[name].copy_(before[name])
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(before[name])
        self.state.hold()
        self.state.set_random_states(random)

    def _run(self, penalties: tuple[bool, ...]) -> None:
        for penalize in penalties:
            train_step(self.state, self.source, self.window, penalize=penalize)


def steps_of(state: TrainingState, source: Source, window: Window) -> EagerSteps:
    """Captured steps if the state is on a GPU and its config allows it, else eager ones."""
    captured = state.device.type == "cuda" and state.config.capture
    return (CapturedSteps if captured else EagerSteps)(state, source, window)
