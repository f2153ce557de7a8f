"""Who gets which counters: planted streams and captures, as a GPU would report them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan import kernels
from fastgan.kernels import counters


class Gpu:
    """A device whose current stream and capture are said by a test; its tensors lie on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stream, self.capture = 1, 0
        self.allocated: list[weakref.ref[Tensor]] = []
        self.like: Any = SimpleNamespace(is_cuda=True, get_device=lambda: 0, device=torch.device("cpu"))
        zeros = torch.zeros

        def allocate(*shape: int, **options: Any) -> Tensor:
            made = zeros(*shape, **options)
            self.allocated.append(weakref.ref(made))
            return made

        for name in ("_slots", "_owners", "_tensor_banks"):
            monkeypatch.setattr(counters, name, {})
        monkeypatch.setattr(torch, "zeros", allocate)
        monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda _: self.stream, raising=False)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: self.capture > 0)

    def counters(self, count: int = 1, stream: int = 1, capture: int = 0) -> Tensor:
        self.stream, self.capture = stream, capture
        found = counters.arrivals(self.like, count)
        assert found.numel() >= count
        assert not found.any()
        return found

    def address(self, count: int = 1, stream: int = 1, capture: int = 0) -> int:
        return self.counters(count, stream, capture).data_ptr()

    def persistent(self) -> list[Tensor]:
        """What PyTorch allocated and is still there."""
        return [made for each in self.allocated if (made := each()) is not None]


class Module:
    """What the compiled module does for slots: those of a graph come back when it is gone."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.capture_of_slot: dict[int, int] = {}

    def capture_id(self, _: int) -> int:
        return self.gpu.capture

    def take_slot(self, device: int, stream: int) -> int:
        assert (device, stream) == (0, self.gpu.stream)
        free = (slot for slot in range(counters.SLOTS) if slot not in self.capture_of_slot)
        slot = next(free, -1)
        self.capture_of_slot[slot] = self.gpu.capture
        return slot

    def destroy(self, capture: int) -> None:
        self.capture_of_slot = {s: c for s, c in self.capture_of_slot.items() if c != capture}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """With Triton alone."""
    found = Gpu(monkeypatch)
    monkeypatch.setattr(counters, "_module_bank", lambda _: None)
    return found


@pytest.fixture
def module(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """With the compiled module."""
    bank = torch.zeros(counters.SLOTS, counters.SIZE, dtype=torch.int32)
    gpu.allocated.clear()
    found = Module(gpu)
    monkeypatch.setattr(counters, "_module_bank", lambda _: bank)
    monkeypatch.setattr(counters.module, "_cuda", found)
    yield found
    assert counters._tensor_banks == {}  # nothing of PyTorch's is ever kept


def test_the_module_says_how_many_there_are() -> None:
    module = counters.module._cuda
    if module is None:
        pytest.skip("the CUDA kernels are not built, nor can they be for the host")
    assert (module.COUNTER_SLOTS, module.COUNTERS_OF_SLOT) == (counters.SLOTS, counters.SIZE)


def test_each_stream_of_each_capture_has_a_slot(gpu: Gpu, module: Module) -> None:
    owners = [(stream, capture) for capture in (0, 2, 3) for stream in (1, 2)]
    first = [gpu.address(1, *owner) for owner in owners]
    assert len(set(first)) == 6
    assert [gpu.address(counters.SIZE, *owner) for owner in owners] == first
    assert gpu.allocated == []


def test_a_slot_comes_back_with_its_graph(gpu: Gpu, module: Module) -> None:
    eager = gpu.address()
    for capture in range(1, 5 * counters.SLOTS):
        address = gpu.address(1, 1, capture)
        assert address != eager
        module.destroy(capture)
    assert gpu.allocated == []
    assert len(counters._slots) == 2  # what is known of graphs that are gone does not pile up
    assert gpu.address() == eager


def test_a_graph_that_lives_shares_with_nobody(gpu: Gpu, module: Module) -> None:
    alive = gpu.address(1, 1, 1)
    others = set()
    for capture in range(2, 10):
        others.add(gpu.address(1, 1, capture))
        module.destroy(capture)
    assert alive not in others
    assert gpu.address(1, 1, 1) == alive


def test_fresh_zeros_where_no_slot_is_left(gpu: Gpu, module: Module) -> None:
    found = [gpu.counters(stream=stream) for stream in range(1, counters.SLOTS + 1)]
    assert gpu.allocated == []
    found += [gpu.counters(stream=1000), gpu.counters(stream=1001), gpu.counters(counters.SIZE + 1)]
    assert len(gpu.allocated) == 3
    assert len({t.data_ptr() for t in found}) == counters.SLOTS + 3


def test_triton_alone(gpu: Gpu) -> None:
    streams = [gpu.address(1, stream) for stream in (1, 2)]
    assert len(set(streams)) == 2
    assert [gpu.address(counters.SIZE, stream) for stream in (1, 2)] == streams
    assert len(gpu.allocated) == 1
    bank = counters._tensor_banks[0]
    for capture in (1, 2):
        assert gpu.address(1, 1, capture) not in range(bank.data_ptr(), bank.data_ptr() + bank.nbytes)
    assert gpu.address(1, 1) == streams[0]
    assert [kept is bank for kept in gpu.persistent()] == [True]


def test_nothing_is_kept_of_a_capture_or_a_compiled_call(gpu: Gpu) -> None:
    """With Triton alone: the first calls of all allocate what goes with them."""
    gpu.address(1, 1, 5)
    with counters.in_operator():
        gpu.address()
    assert counters._slots == {}
    assert gpu.persistent() == []
    eager = gpu.address()
    with counters.in_operator():
        assert gpu.address() == eager  # which was there before
    assert len(gpu.persistent()) == 1


@pytest.mark.parametrize("name", ["cuda", "triton"])
def test_compiled_calls_keep_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an operator of torch.compile allocates may lie in the memory of a graph."""
    why_not = kernels.why_not(name, torch.device("cpu"))
    if why_not is not None:
        pytest.skip(f"its kernels do not run on this host: {why_not}")
    for of_process in ("_slots", "_owners", "_tensor_banks"):
        monkeypatch.setattr(counters, of_process, {})
    torch._dynamo.reset()

    @torch.compile(backend="aot_eager", fullgraph=True)
    def loss_of(x: Tensor) -> Tensor:
        loss = fastgan.generator_loss(fastgan.bias_leaky_relu(x, x[0]))
        assert isinstance(loss, Tensor)
        return loss

    x = torch.randn(2000, 16, requires_grad=True)
    with fastgan.use_backend(name):
        loss_of(x).backward()
    assert counters._slots == {}
    assert counters._tensor_banks == {}
    with fastgan.use_backend(name):  # and outside of a compiled call something is kept
        fastgan.generator_loss(fastgan.bias_leaky_relu(x, x[0])).backward()
    assert len(counters._tensor_banks) == 1
