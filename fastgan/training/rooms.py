"""What a trainer keeps for a parameter: memory for its gradient, and its value in bfloat16.

Passes that run without autograd look here: they write a gradient straight into the flat buffer that the
optimizer reads, and take a weight that autocast would cast once more on every use.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class Room(NamedTuple):
    """Shapes are the parameter's.

    Attributes:
        grad: of the parameter's dtype; what it holds means nothing until ``parameter.grad`` is this tensor.
        half: the parameter rounded to bfloat16, kept up to date by the optimizer; None without autocast.
    """

    grad: Tensor
    half: Tensor | None


_ROOMS = WeakTensorKeyDictionary()


def keep_room(parameter: Tensor, room: Room) -> None:
    """Let passes find the room of a parameter, for as long as the parameter lives."""
    _ROOMS[parameter] = room


def room_of(parameter: Tensor) -> Room | None:
    """The room of a parameter that a trainer holds; None of any other."""
    room: Room | None = _ROOMS.get(parameter)
    return room
