"""How a product's tile is chosen: few candidates that fit, and never another result."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")
from triton.runtime.errors import OutOfResources

from fastgan.kernels.triton import tuning
from fastgan.kernels.triton.tuning import Config, Kind, Shape

FAMILIES = {"ampere": 163 << 10, "hopper": 227 << 10, "blackwell": 227 << 10, "cdna": 64 << 10}
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def offered(family: str, shape: Shape, kind: Kind, dtype: torch.dtype, tf32: bool) -> list[Config]:
    return tuning.candidates(family, shape, kind, dtype, FAMILIES[family], tf32)


@pytest.mark.parametrize("family", FAMILIES)
def test_candidates(family: str) -> None:
    for shape, kind, dtype, tf32 in product(Shape, Kind, DTYPES, (False, True)):
        configs = offered(family, shape, kind, dtype, tf32)
        assert 1 <= len(configs) <= 6
        assert len(set(configs)) == len(configs)
        assert len({c.depth for c in configs}) == 1  # one order of sums
        if kind is Kind.DGRAD_WITH_SUMS:
            assert len({c._replace(num_stages=0) for c in configs}) == 1
        for c in configs:
            assert c.shared_memory(dtype.itemsize) <= FAMILIES[family]
            assert min(c.rows, c.columns, c.depth) >= 16


def test_little_shared_memory_leaves_something() -> None:
    (config,) = tuning.candidates("hopper", Shape.LARGE, Kind.FORWARD, torch.bfloat16, 70 << 10, False)
    assert config.shared_memory(2) <= 70 << 10


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Hopper on which the last candidate is the fastest."""
    monkeypatch.setattr(tuning, "INTERPRETING", False)
    monkeypatch.setattr(tuning, "_chosen", {})
    monkeypatch.setattr(tuning, "_device", lambda _: ("hopper", FAMILIES["hopper"]))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.delenv("FASTGAN_AUTOTUNE", raising=False)

    def timed(run: Callable[[], None], warmup: int, rep: int) -> float:
        run()
        return -float(len(timings.append(None) or timings))

    timings: list[None] = []
    monkeypatch.setattr(tuning.triton.testing, "do_bench", timed)
    return monkeypatch


def chosen() -> list[Config]:
    """What two products in a row ran with."""
    ran: list[Config] = []
    for _ in range(2):
        tuning.run(ran.append, Kind.FORWARD, torch.empty(64, 64, dtype=torch.bfloat16), 64)
    return ran


def test_the_fastest_is_found_once(gpu: pytest.MonkeyPatch) -> None:
    configs = offered("hopper", Shape.SMALL, Kind.FORWARD, torch.bfloat16, False)
    assert chosen() == [*configs, configs[-1], configs[-1]]


def test_a_fixed_choice_on_request(gpu: pytest.MonkeyPatch) -> None:
    gpu.setenv("FASTGAN_AUTOTUNE", "0")
    first = offered("hopper", Shape.SMALL, Kind.FORWARD, torch.bfloat16, False)[0]
    assert chosen() == [first, first]


def test_nothing_is_timed_while_a_graph_is_captured(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    configs = offered("hopper", Shape.SMALL, Kind.FORWARD, torch.bfloat16, False)
    assert chosen() == [configs[0], configs[0]]
    gpu.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert chosen()[-1] == configs[-1]


def run_twice(fits: Callable[[Config], bool]) -> list[Config]:
    """The tiles that two products in a row run with, on a GPU where only some fit."""
    ran: list[Config] = []

    def product(config: Config) -> None:
        if not fits(config):
            raise OutOfResources(required=1 << 20, limit=227 << 10, name="shared memory")
        ran.append(config)

    for _ in range(2):
        tuning.run(product, Kind.FORWARD, torch.empty(64, 64, dtype=torch.bfloat16), 64)
    return ran


def test_a_tile_that_does_not_fit_is_never_chosen(gpu: pytest.MonkeyPatch) -> None:
    configs = offered("hopper", Shape.SMALL, Kind.FORWARD, torch.bfloat16, False)
    fastest = configs[-1]
    assert run_twice(lambda config: config != fastest)[-2:] == [configs[-2]] * 2


@pytest.mark.parametrize("capturing", [False, True])
def test_a_fixed_choice_that_does_not_fit(gpu: pytest.MonkeyPatch, capturing: bool) -> None:
    if capturing:
        gpu.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    else:
        gpu.setenv("FASTGAN_AUTOTUNE", "0")
    first, second, *_ = offered("hopper", Shape.SMALL, Kind.FORWARD, torch.bfloat16, False)
    assert run_twice(lambda config: config != first) == [second, second]


def test_a_choice_that_does_not_fit_another_epilogue(gpu: pytest.MonkeyPatch) -> None:
    """The compiled kernels of one class differ: what one of them has room for another may not have."""
    gpu.setenv("FASTGAN_AUTOTUNE", "0")
    first, second, *_ = offered("hopper", Shape.SMALL, Kind.FORWARD, torch.bfloat16, False)
    assert run_twice(lambda config: True) == [first, first]
    assert run_twice(lambda config: config != first) == [second, second]
    assert run_twice(lambda config: True) == [second, second]


def test_no_tile_fits(gpu: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RuntimeError,
        match=r"no tile of the forward product with a torch.bfloat16 result of \(64, 64\) fits this GPU; "
        r"set FASTGAN_PRODUCTS=library.*Tried Config\(rows=64.*shared memory, Required: 1048576",
    ):
        run_twice(lambda config: False)
