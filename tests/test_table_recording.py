"""Recorded steps on a table: the bits of eager ones, what is recorded, and changes during a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastgan import Spans, TrainConfig
from fastgan.kernels.cpu.tape import Tape
from fastgan.kernels.spans import Table
from fastgan.models.ctgan import CTGANDiscriminator, CTGANGenerator
from fastgan.training import checkpoint
from fastgan.training.capture import EagerSteps, RecordedSteps
from fastgan.training.dropout_pass import layers_of
from fastgan.training.recording.pieces import balanced
from fastgan.training.state import TrainingState
from fastgan.training.table_source import TableSource
from fastgan.training.window import Window
from tests.test_recorded_steps import assert_same, recorded, rows_of
from tests.test_table_training import SPANS, config, networks, table

SETTINGS: dict[str, dict[str, Any]] = {
    "CTGAN's": {},
    "several turns of D": {"discriminator_steps": 3},
    "lazy penalties": {"r1_gamma": 1.0, "r2_gamma": 0.5, "penalty_interval": 3},
    "cross-entropy, DRAGAN": {"objective": "bce", "gp_weight": 0.0, "dragan_weight": 10.0},
    "relativistic": {"objective": "relativistic", "gp_weight": 0.0, "r1_gamma": 0.1, "r2_gamma": 0.1},
    "relativistic average": {"objective": "relativistic-average", "gp_weight": 0.0},
    "an average of the weights": {"ema_decay": 0.9, "weight_decay": 0.0},
    "clipped": {"gradient_clip": 0.1},
    "no packs": {"pack": 1},
    "SGD, uniform latents": {
        "optimizer": "sgd",
        "latent": "uniform",
        "learning_rate": 0.01,
        "weight_decay": 0.0,
    },
}


def run_of(settings: TrainConfig, spans: Spans = SPANS) -> tuple[TrainingState, TableSource, Window]:
    source = TableSource(table(spans))
    state = TrainingState(*networks(settings, spans), settings)
    return state, source, Window(state, source.statistics)


def assert_recorded_is_eager(settings: TrainConfig, spans: Spans = SPANS, steps: int = 30) -> None:
    expected, found = run_of(settings, spans), run_of(settings, spans)
    of_expected = rows_of(EagerSteps(*expected), steps)
    assert torch.equal(rows_of(recorded(*found), steps), of_expected)
    assert_same(found[0], expected[0])
    assert of_expected.isfinite().all()


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_the_same_bits_over_30_steps(changes: dict[str, Any]) -> None:
    assert_recorded_is_eager(config(steps=30, **changes))


@pytest.mark.parametrize(
    "spans",
    [Spans((1, 4, 1)), Spans((2,), (0,)), Spans((1, 300, 1, 40), (1, 3))],
    ids=["no conditions", "one column", "wide"],
)
def test_other_tables(spans: Spans) -> None:
    assert_recorded_is_eager(config(), spans, 6)


def test_each_instruction_set(instruction_set: None) -> None:
    """Sizes that fill no tile or panel, and penalties of both kinds."""
    settings = config(r1_gamma=1.0, penalty_interval=2, discriminator_steps=2)
    assert_recorded_is_eager(settings, Spans((1, 37, 1, 1, 5, 2), (1, 4)), 4)


def test_the_layers_own_numbers() -> None:
    """Dropout, slopes and batch norms that differ from layer to layer, and change during the run."""
    expected, found = run_of(config()), run_of(config())
    runs = EagerSteps(*expected), recorded(*found)

    def set_numbers(state: TrainingState, first: float) -> None:
        generator, discriminator = state.generator, state.discriminator
        assert isinstance(generator, CTGANGenerator)
        assert isinstance(discriminator, CTGANDiscriminator)
        hidden, _ = layers_of(discriminator)
        for i, layer in enumerate(hidden):
            layer.dropout.p = first + 0.25 * i
        for i, activation in enumerate(m for m in discriminator.layers if isinstance(m, nn.LeakyReLU)):
            activation.negative_slope = first + 0.1 * i
        for i, block in enumerate(generator.residual_blocks):
            block.norm.eps, block.norm.momentum = first / 10**i, first + 0.2 * i

    for first in (0.25, 0.0, 0.5):
        for steps in runs:
            set_numbers(steps.state, first)
        of_expected = rows_of(runs[0], 3)
        with pytest.warns(RuntimeWarning, match="is recorded anew: the generator changed"):
            assert torch.equal(rows_of(runs[1], 3), of_expected)
        assert of_expected.isfinite().all()
        assert_same(found[0], expected[0])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads: int) -> None:
    """In eager steps too: sums belong to ranges of rows and columns."""
    settings = config(batch_size=600, pack=2, discriminator_steps=2)
    expected, found = run_of(settings), run_of(settings)
    before = torch.get_num_threads()
    try:
        of_expected = rows_of(EagerSteps(*expected), 6)
        torch.set_num_threads(threads)
        assert torch.equal(rows_of(recorded(*found), 6), of_expected)
    finally:
        torch.set_num_threads(before)
    assert_same(found[0], expected[0])


def test_layers_whose_batch_norm_has_several_tiles() -> None:
    """Statistics of all columns are sums over tiles of rows, whose heights depend on the width."""

    def wide(settings: TrainConfig) -> TrainingState:
        torch.manual_seed(0)
        generator, discriminator = networks(settings)
        generator = type(generator)(settings.latent_dim, SPANS, (300, 130))
        return TrainingState(generator, discriminator, settings)

    settings = config(batch_size=2_000, pack=10, log_interval=2)
    states, source = [wide(settings) for _ in range(2)], TableSource(table())
    runs = [(state, source, Window(state, source.statistics)) for state in states]
    of_expected = rows_of(EagerSteps(*runs[0]), 2)
    assert torch.equal(rows_of(recorded(*runs[1]), 2), of_expected)
    assert_same(*states)


def test_evaluation_mode_has_no_dropout() -> None:
    expected, found = run_of(config()), run_of(config())
    for state, *_ in (expected, found):
        state.discriminator.eval()
    of_expected = rows_of(EagerSteps(*expected), 6)
    assert torch.equal(rows_of(recorded(*found), 6), of_expected)
    assert_same(found[0], expected[0])


@pytest.mark.parametrize("first", [True, False])
def test_resume_from_either_into_the_other(first: bool, tmp_path: Path) -> None:
    """To the bit, whatever PyTorch's generator has drawn since: it has no part in a step."""
    settings = config(steps=20)
    whole, *_ = run = run_of(settings)
    rows_of(recorded(*run), 20)
    half, *_ = run = run_of(settings)
    rows_of((recorded if first else EagerSteps)(*run), 9)
    checkpoint.save(tmp_path, half)
    rest, source, _ = run_of(settings)
    checkpoint.restore(checkpoint.read(tmp_path), rest)
    torch.rand(3)
    rows_of((EagerSteps if first else recorded)(rest, source, Window(rest, source.statistics)), 11)
    assert_same(rest, whole)


REASONS: dict[str, tuple[dict[str, Any], Callable[[TrainingState], object], str]] = {
    "simultaneous": ({"update": "simultaneous"}, lambda s: None, "update is 'simultaneous', expected 'alter"),
    "noise": ({"instance_noise": 0.1}, lambda s: None, "rows of a table have instance noise"),
    "bf16": ({"precision": "bf16"}, lambda s: None, "precision is 'bf16', expected 'fp32'"),
    "a hook": (
        {},
        lambda s: s.discriminator.layers[2].register_forward_hook(lambda *_: None),
        "discriminator: layers.2 has a hook",
    ),
    "batch norm in evaluation mode": (
        {},
        lambda s: s.generator.blocks[1].norm.eval(),
        "generator: blocks.1.norm is in evaluation mode",
    ),
    "a frozen weight": (
        {},
        lambda s: s.generator.last.weight.requires_grad_(False),
        "generator: last.weight is frozen",
    ),
}


@pytest.mark.parametrize(("changes", "change", "reason"), REASONS.values(), ids=REASONS)
def test_what_cannot_be_recorded_is_named_and_runs_eagerly(
    changes: dict[str, Any], change: Callable[[TrainingState], object], reason: str
) -> None:
    run = run_of(config(**changes))
    change(run[0])
    steps = RecordedSteps(*run, lambda: False)
    assert steps.recording is None
    assert (steps.reason or "").startswith(reason)
    steps.advance(3)
    assert steps.state.step == 1


def test_other_networks_are_not_recorded_on_a_table() -> None:
    settings = config()
    generator, discriminator = networks(settings)
    state = TrainingState(generator, nn.Sequential(*discriminator.layers), settings)
    steps = RecordedSteps(state, TableSource(table()), Window(state), lambda: False)
    assert (
        steps.reason == "discriminator: the network is a Sequential, expected CTGANDiscriminator for a table"
    )


def test_a_change_of_mode_is_noticed() -> None:
    expected, found = run_of(config()), run_of(config())
    eager, steps = EagerSteps(*expected), recorded(*found)
    for each in (eager, steps):
        rows_of(each, 3)
        each.state.discriminator.eval()
    with pytest.warns(RuntimeWarning, match="step 3 is recorded anew: the discriminator changed"):
        steps.advance(1)
    eager.advance(1)
    assert_same(found[0], expected[0])


def test_another_thread_stops_a_replay_which_does_not_hold_the_gil() -> None:
    settings = config(steps=100_000, log_interval=100_000, checkpoint_interval=100_000)
    state, source, window = run_of(settings)
    stopping = threading.Event()
    steps = RecordedSteps(state, source, window, stopping.is_set)
    state.hold()
    seen: list[int] = []

    def stop() -> None:
        while int(window._row) < 3:
            time.sleep(0)
        seen.append(int(window._row))
        stopping.set()

    other = threading.Thread(target=stop)
    other.start()
    while other.is_alive():
        steps.advance(100_000 - state.step)
    other.join()
    assert seen[0] <= state.step == int(state.clock) < 100_000


def test_pieces_that_threads_finish_at_the_same_time() -> None:
    assert balanced(500, 48, 1) == 528
    assert balanced(100, 24, 2) == 48
    for threads in (1, 2, 3, 8):
        assert balanced(500, 16, threads) * threads >= 500 // 4


def test_wrong_sizes_are_refused() -> None:
    tape = Tape()
    tape.stage()
    tape.unit(4, 2)
    weight = torch.zeros(3, 5)
    with pytest.raises(ValueError, match="dx has 6 columns, expected at most 5, those of the weight"):
        tape.dgrad(torch.zeros(4, 3), weight, torch.zeros(96), None, 1.0, torch.zeros(4, 6))
    with pytest.raises(
        ValueError, match=r"a matrix of a recorded step has shape \[4, 2\], expected \[4, 3\]"
    ):
        tape.copy_columns(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="expected adjacent columns"):
        tape.copy_columns(torch.zeros(3, 4).t(), torch.zeros(4, 3))


def test_a_tables_wrong_sizes_are_refused() -> None:
    tape, whole, spans = Tape(), table(), SPANS
    tape.stage()
    tape.unit(40, 8)
    conditions, uniform = torch.zeros(40, dtype=torch.int64), torch.rand(40)
    rows = torch.zeros(40, spans.width + spans.num_conditions)
    for name in ("order", "starts"):
        short = whole._replace(**{name: getattr(whole, name)[1:]})
        with pytest.raises(ValueError, match=rf"table.{name} has shape .* expected \d+ elements"):
            tape.table_rows(short, conditions, uniform, rows)
    nothing = Table(
        Spans((2,)), *(t[:0] for t in (whole.codes[:, :1], whole.values, whole.order)), whole.starts
    )
    with pytest.raises(ValueError, match="the table has no rows, but a batch of 40 is to be drawn"):
        tape.table_rows(nothing, None, uniform, torch.zeros(40, 2))
    with pytest.raises(ValueError, match="cumulative has no shares"):
        tape.draw_conditions(uniform, torch.zeros(0, dtype=torch.float64), conditions)
    logits, noise, output = (torch.zeros(80, spans.width) for _ in range(3))
    none = Spans((3,))
    to, y = torch.zeros(40, 3), torch.zeros(40, 3)
    with pytest.raises(ValueError, match=r"conditions are given, but spans.conditions is empty"):
        tape.span_activations(to, none, to, 0.2, conditions, y, None)
    with pytest.raises(ValueError, match="conditions is None, but the gradient of the cross-entropy"):
        tape.span_gradients(y, y, y, none, 0.2, None, to)
    with pytest.raises(ValueError, match="a call has 80 rows or columns, expected the unit's 40"):
        tape.span_activations(logits, spans, noise, 0.2, None, output, None)
    x, dx, y = (torch.zeros(80, 5) for _ in range(3))
    batch, norm, grads = (torch.zeros(5), torch.ones(5)), nn.BatchNorm1d(5), (torch.zeros(5), torch.zeros(5))
    with pytest.raises(ValueError, match="a call has 5 rows or columns, expected the unit's 40"):
        tape.batch_norm(x, batch, norm, 0.1, y)
    with pytest.raises(ValueError, match="a call has 5 rows or columns, expected the unit's 40"):
        tape.batch_norm_backward(y, x, batch, norm, dx, grads)


def test_the_average_of_a_tables_statistics_is_kept() -> None:
    """The average's buffers are the generator's after each step."""
    state, source, window = run_of(config(ema_decay=0.9))
    rows_of(recorded(state, source, window), 3)
    pairs: list[tuple[Tensor, Tensor]] = list(
        zip(state.average.buffers(), state.generator.buffers(), strict=True)
    )
    assert pairs
    assert all(torch.equal(kept, current) for kept, current in pairs)
