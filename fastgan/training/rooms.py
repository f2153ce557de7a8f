"""A trainer's memory for each parameter: for its gradient, and for a bfloat16 copy of its value.

Passes without autograd write gradients directly into the flat buffer that the optimizer reads, and use the
copy in place of a cast in every pass.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class Room(NamedTuple):
    """Tensors of the parameter's shape.

    Attributes:
        grad: memory in the parameter's dtype; valid only if ``parameter.grad`` is this tensor.
        half: the parameter in bfloat16, updated by the optimizer; None without autocast.
    """

    grad: Tensor
    half: Tensor | None


_ROOMS = WeakTensorKeyDictionary()


def keep_room(parameter: Tensor, room: Room) -> None:
    """Register a parameter's room for the lifetime of the parameter."""
    _ROOMS[parameter] = room


def room_of(parameter: Tensor) -> Room | None:
    """The room of a parameter in training; None for other parameters."""
    room: Room | None = _ROOMS.get(parameter)
    return room
