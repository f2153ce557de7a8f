"""Steps as replays: of CUDA graphs on a GPU, of recorded native calls on a CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch

from fastgan.training.recording.recording import Recording, situation_of
from fastgan.training.source import Source, Streamed
from fastgan.training.state import TrainingState
from fastgan.training.step import train_step
from fastgan.training.window import Window

LOG = logging.getLogger(__name__)
"""Says, as steps begin on a CPU, whether they are recorded; if not, why."""

_SECONDS = 0.1  # of a replay on a CPU: the progress bar moves ten times a second
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


class RecordedSteps(EagerSteps):
    """The same steps as replays of a recording on a CPU, if networks and settings allow it; else eager steps.

    Before each replay, what the recording depends on is compared with what it was: a callback or another
    thread may have changed the networks. After a change the step is recorded anew or, if that is not
    possible, run eagerly.

    Args:
        state, source, window: as for EagerSteps.
        is_stopping: called about once a millisecond during a replay. Once it returns True, the replay ends
            after the current step.

    Attributes:
        recording: the current recording; None while steps run eagerly.
        reason: why steps run eagerly, or None.
    """

    def __init__(
        self, state: TrainingState, source: Source, window: Window, is_stopping: Callable[[], bool]
    ) -> None:
        super().__init__(state, source, window)
        self._is_stopping = is_stopping
        self.recording: Recording | None = None
        self.reason: str | None = None
        self._update()
        if self.recording is not None:
            megabytes, threads = self.recording.bytes / 1e6, self.recording.situation.threads
            LOG.debug("steps are recorded: %.1f MB, threads: %d", megabytes, threads)
        else:
            LOG.info("steps run eagerly: %s", self.reason)

    def advance(self, most: int) -> None:
        if change := self._update():
            warnings.warn(change, RuntimeWarning, stacklevel=2)
        if self.recording is None:
            super().advance(most)
            return
        self.source.prepare(self.state)
        state, config = self.state, self.state.config
        # the host reads streamed data between steps; a run that is to stop makes one more step, as if eager
        count = 1 if isinstance(self.source, Streamed) or self._is_stopping() else most
        penalties = [config.penalizes_at(state.step + i) for i in range(count)]
        try:
            state.step += self.recording.run(penalties, _SECONDS, self._is_stopping)
        except BaseException:  # of a signal's handler: it ended the replay after a step
            state.step = int(state.clock)
            raise
        finally:
            for p in (*state.generator.parameters(), *state.discriminator.parameters()):
                torch.autograd.graph.increment_version(p)

    def _update(self) -> str | None:
        """Record if the situation has changed since the last call; return what has changed, as a sentence."""
        situation = situation_of(self.state, self.source)
        before = self.recording
        if isinstance(situation, str):
            is_new = before is not None or situation != self.reason
            self.recording, self.reason = None, situation
            return f"from step {self.state.step} on, steps run eagerly: {situation}" if is_new else None
        change = None if before is None else situation.change_from(before.situation)
        if before is not None and change is None:
            return None
        self.recording, self.reason = Recording(self.state, self.source, self.window, situation), None
        return f"step {self.state.step} is recorded anew: {change or 'it can be recorded now'}"


def steps_of(
    state: TrainingState, source: Source, window: Window, is_stopping: Callable[[], bool] = lambda: False
) -> EagerSteps:
    """Captured or recorded steps if the config allows them, else eager ones.

    Args:
        state, source, window: as for :func:`fastgan.training.step.train_step`.
        is_stopping: ends a replay of recorded steps early, once it returns True.
    """
    if not state.config.capture:
        return EagerSteps(state, source, window)
    if state.device.type == "cuda":
        return CapturedSteps(state, source, window)
    return RecordedSteps(state, source, window, is_stopping)
