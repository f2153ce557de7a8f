"""Zeros in which the blocks of one launch count each other, so that the last of them knows that it is.

The last block leaves zeros behind, so zeros that lie in a place of their own cost a launch nothing. That
place is a *slot* of a *bank*, and a slot belongs to one user:

- a stream of a device, whose launches run one after another. It keeps the slot until the process ends.
- a stream of a graph that is being captured, as the graph may be replayed on any stream. It keeps the slot
  until the graph, whatever was instantiated from it, and their last replays are gone; then CUDA itself frees
  it (``take_slot`` in csrc/cuda/counters.cu).

On a GPU whose CUDA kernels can run, the bank lies in the compiled module's own memory, for Triton's kernels
too. Elsewhere (Triton alone, AMD) it is a tensor that the first call allocates and nothing frees. It is never
allocated during a capture or inside an operator of ``torch.library``, where the memory may be a graph's own:
``torch.compile(mode="reduce-overhead")`` accepts no tensor there that outlives the call. Without the module
nobody would say when a graph is gone, so a graph gets no slot.

Whoever gets no slot, because all are taken, because more counters are wanted than one has, or for the reasons
above, gets fresh zeros: as right, but a kernel more, which writes them.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

from fastgan.kernels.cuda import module

SLOTS, SIZE = 256, 1024  # kSlots and kCountersOfSlot of csrc/cuda/counters.h

_Owner = tuple[int, int, int]  # device, stream, capture
NO_CAPTURE, SOME_CAPTURE = 0, -1  # else the capture's number, where the module tells it

_slots: dict[_Owner, Tensor] = {}
_owners: dict[tuple[int, int], _Owner] = {}  # of each slot of each device, the last
_tensor_banks: dict[int, Tensor] = {}
_one_at_a_time = threading.Lock()
_in_operator: ContextVar[bool] = ContextVar("fastgan_in_operator", default=False)


def arrivals(like: Tensor, count: int = 1, stream: int | None = None) -> Tensor:
    """At least ``count`` zeros for one launch on a stream (the current one) of a tensor's device.

    On a CPU, where tests run the kernels, a thread counts as a stream.
    """
    device = like.get_device()
    if not like.is_cuda:
        owner = device, threading.get_ident(), NO_CAPTURE
    else:
        if stream is None:
            stream = torch._C._cuda_getCurrentRawStream(device)
        owner = device, stream, _capture(device, stream)
    found = _slots.get(owner)
    if found is None:
        with _one_at_a_time:
            found = _take_slot(like, owner)
    if found is None or count > SIZE:
        return torch.zeros(count, dtype=torch.int32, device=like.device)
    return found


@contextlib.contextmanager
def in_operator() -> Iterator[None]:
    """Inside, no bank is allocated: a graph of torch.compile may own the memory that PyTorch allocates."""
    token = _in_operator.set(True)
    try:
        yield
    finally:
        _in_operator.reset(token)


def capture_of(tensor: Tensor) -> int:
    """Which graph the launches on a tensor's device are captured in: a number, NO_CAPTURE or SOME_CAPTURE."""
    if not tensor.is_cuda:
        return NO_CAPTURE
    device = tensor.get_device()
    return _capture(device, torch._C._cuda_getCurrentRawStream(device))


def _capture(device: int, stream: int) -> int:
    if _module_bank(device) is not None:
        return module._cuda.capture_id(stream)
    return SOME_CAPTURE if torch.cuda.is_current_stream_capturing() else NO_CAPTURE


def _take_slot(like: Tensor, owner: _Owner) -> Tensor | None:
    device, stream, capture = owner
    bank = _module_bank(device) if like.is_cuda else None
    if bank is not None:
        slot = module._cuda.take_slot(device, stream)
    elif capture == NO_CAPTURE:
        bank, slot = _tensor_bank(like), sum(1 for known, *_ in _slots if known == device)
    if bank is None or not 0 <= slot < SLOTS:
        return None
    _slots.pop(_owners.get((device, slot), owner), None)  # a graph that is gone
    _owners[device, slot] = owner
    _slots[owner] = bank[slot]
    return _slots[owner]


@cache
def _module_bank(device: int) -> Tensor | None:
    """The compiled module's counters on a GPU, [SLOTS, SIZE]; None where its kernels cannot run."""
    if module.why_not(torch.device("cuda", device)) is not None:
        return None
    with torch.cuda.device(device):
        try:
            return torch.as_tensor(_Memory(module._cuda.counter_bank()), device=f"cuda:{device}")
        except RuntimeError as error:
            message = (
                f"fastgan's CUDA graphs take a kernel more a launch on cuda:{device}: PyTorch cannot use"
            )
            warnings.warn(f"{message} the module's counters ({error})", RuntimeWarning, stacklevel=2)
            return None


class _Memory:
    """Counters that PyTorch did not allocate."""

    def __init__(self, address: int) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": (SLOTS, SIZE),
            "typestr": "<i4",
            "version": 2,
        }


def _tensor_bank(like: Tensor) -> Tensor | None:
    device = like.get_device()
    if device not in _tensor_banks and not _in_operator.get():
        _tensor_banks[device] = torch.zeros(SLOTS, SIZE, dtype=torch.int32, device=like.device)
    return _tensor_banks.get(device)
