"""Guards fastgan's speed relative to eager PyTorch. ``.ci/run`` runs this file.

Uses one thread, and the fastest of many short samples of each: other load slows some samples but hardly all.
Each floor is well below the usual ratio, which depends on the machine, and a case may be tried three times.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import fastgan
from benchmarks.contest import Effort, check_agreement, contest
from benchmarks.operations import table
from benchmarks.operations.contenders import RTOL, Contender, samples_of
from benchmarks.operations.in_pytorch import InPyTorch
from benchmarks.operations.operation import Case, Direction

TRIES = 3
EFFORT = Effort(rounds=80, least=40, seconds=0.8)
SAMPLE_SECONDS = 5e-4  # much less than a time slice
LOSS = table.loss(table.DISCRIMINATOR_LOSS, 2**16, "fp32")
# The least time of eager PyTorch relative to fastgan's, forward + backward.
FLOORS = {
    LOSS: 1.5,
    table.loss(table.DISCRIMINATOR_LOSS, 128, "fp32"): 0.9,
    table.bias_leaky_relu((64, 64, 8, 8), "fp32"): 0.6,
    table.with_two_numbers(table.BATCH_NORM_LEAKY_RELU, (64, 64, 16, 16), "fp32"): 1.2,
    table.with_two_numbers(table.SNAKE, (2, 64, 2048), "fp32"): 2.0,
    table.with_two_numbers(table.ANTI_ALIASED_SNAKE, (2, 64, 2048), "fp32"): 3.0,
    table.resampling(table.UPSAMPLE2D, (4, 32, 32, 32), "fp32"): 2.0,
    table.resampling(table.DOWNSAMPLE2D, (4, 32, 32, 32), "fp32"): 2.0,
    table.linear_leaky_relu(128, 256, 256, "fp32"): 0.5,
    table.mlp(64, (256, 256, 256, 1), "fp32"): 0.5,
}

pytestmark = pytest.mark.skipif(
    fastgan.available_backends()[0] != "cpu", reason="the extension is not built: nothing to guard"
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ratio(case: Case) -> float:
    """The time of eager PyTorch relative to fastgan's."""
    inputs = case.inputs("cpu")
    expected, grad = case.expected(inputs)
    eager = next(iter(case.operation.eager.values()))
    made: dict[str, Contender] = {
        name: InPyTorch(forward, inputs, grad, "cpu")
        for name, forward in (("fastgan", case.operation.ours), ("eager", eager))
    }
    check_agreement({name: each.results() for name, each in made.items()}, expected, RTOL[case.dtype])
    result = contest(samples_of(made, Direction.BOTH), EFFORT, SAMPLE_SECONDS)
    return result.fastest("eager") / result.fastest("fastgan")


def ratios_below(case: Case, floor: float) -> list[float]:
    """The ratios of up to TRIES tries; empty if one of them reaches the floor."""
    found: list[float] = []
    for _ in range(TRIES):
        found.append(ratio(case))
        if found[-1] >= floor:
            return []
    return found


@pytest.mark.parametrize(("case", "floor"), FLOORS.items(), ids=map(str, FLOORS))
def test_is_as_fast_as_it_was(case: Case, floor: float) -> None:
    found = ratios_below(case, floor)
    assert not found, f"eager PyTorch takes {max(found):.2f} times as long at best, expected at least {floor}"


def test_the_guard_sees_a_slow_kernel() -> None:
    with fastgan.use_backend("reference"):
        assert len(ratios_below(LOSS, FLOORS[LOSS])) == TRIES
