"""Zeroed counters that the blocks of a launch increment on arrival; the last block finishes the reduction.

The last block resets its counters to zero, so a launch can reuse them without clearing them first. Counters
come in *slots* of a *bank*. A slot has one owner at a time:

- a stream of a device. Its launches run one after another. It keeps the slot until the process ends.
- a stream of a graph under capture, because the graph may be replayed on any stream. It keeps the slot until
  the graph, everything instantiated from it and their last replays are gone; then CUDA frees the slot
  (``take_slot`` in csrc/cuda/counters.cu).

Where the CUDA kernels can run, the bank is in the compiled module's memory, and Triton uses it too. Elsewhere
(only Triton, AMD) the bank is a tensor that the first call allocates and nothing frees. It is never allocated
during a capture or inside an operator of ``torch.library``, where the memory may belong to a graph:
``torch.compile(mode="reduce-overhead")`` accepts no tensor that outlives the call. Without the module nothing
reports the end of a graph, so graphs get no slots.

A launch without a slot gets fresh zeros, which cost one more kernel. This happens if all slots are taken, if
a launch needs more counters than a slot has, or in the cases above.
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

SLOTS, SIZE = 256, 1024  # equal to kSlots and kCountersOfSlot in csrc/cuda/counters.h

_Owner = tuple[int, int, int]  # device, stream, capture
NO_CAPTURE, SOME_CAPTURE = 0, -1  # SOME_CAPTURE: without the module the capture's number is unknown

_slots: dict[_Owner, Tensor] = {}
_owners: dict[tuple[int, int], _Owner] = {}  # (device, slot) -> latest owner
_tensor_banks: dict[int, Tensor] = {}
_lock = threading.Lock()
_in_operator: ContextVar[bool] = ContextVar("fastgan_in_operator", default=False)


def arrivals(like: Tensor, count: int = 1, stream: int | None = None) -> Tensor:
    """Return at least ``count`` int32 zeros for one launch on a stream (default: the current one).

    On a CPU, where tests run the kernels, each thread counts as a stream.
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
        with _lock:
            found = _take_slot(like, owner)
    if found is None or count > SIZE:
        return torch.zeros(count, dtype=torch.int32, device=like.device)
    return found


@contextlib.contextmanager
def in_operator() -> Iterator[None]:
    """Allocate no bank in this context: a graph of torch.compile may own the memory PyTorch allocates."""
    token = _in_operator.set(True)
    try:
        yield
    finally:
        _in_operator.reset(token)


def capture_of(tensor: Tensor) -> int:
    """Return the current capture on a tensor's device: its number, NO_CAPTURE or SOME_CAPTURE."""
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
    _slots.pop(_owners.get((device, slot), owner), None)  # the previous owner was a graph, now destroyed
    _owners[device, slot] = owner
    _slots[owner] = bank[slot]
    return _slots[owner]


@cache
def _module_bank(device: int) -> Tensor | None:
    """The compiled module's counters on a GPU, [SLOTS, SIZE]; None if they cannot be used."""
    if module.why_not(torch.device("cuda", device)) is not None:
        return None
    with torch.cuda.device(device):
        try:
            return torch.as_tensor(_Memory(module._cuda.counter_bank()), device=f"cuda:{device}")
        except RuntimeError as error:
            message = f"fastgan's CUDA graphs run one more kernel per launch on cuda:{device}: PyTorch cannot"
            warnings.warn(f"{message} use the module's counters ({error})", RuntimeWarning, stacklevel=2)
            return None


class _Memory:
    """Presents the module's counters to torch.as_tensor, which then shares their memory."""

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
