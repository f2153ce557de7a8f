"""All parameters of a network in one buffer, so that one launch updates them.

The parameters stay the same objects; their memory becomes a part of the buffer. Gradients, moments and the
average of the weights have buffers of the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter

import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

from fastgan.training.rooms import Room, keep_room

_ALIGNMENT = 64  # elements: products are fastest if a matrix begins at a multiple of 128 bytes


class FlatParameters:
    """Parameters of one dtype and device in one buffer.

    Args:
        parameters: floating-point parameters that do not share memory.
        means: tensors of the same shapes that become the average of the weights; None for no average.
        halves: whether to keep a bfloat16 copy of the weights, for passes under autocast.

    Attributes:
        parameters: the parameters.
        values, grads: ``[n]``, with zeros between parameters.
        average: ``[n]`` or None.
        halves: ``[n]`` bfloat16 or None.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], means: Sequence[Tensor] | None = None, *, halves: bool
    ) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0]
        ends = [0]
        for p in self.parameters:
            ends.append(ends[-1] + -(-p.numel() // _ALIGNMENT) * _ALIGNMENT)
        self._ranges = list(pairwise(ends))
        self.values = torch.zeros(ends[-1], dtype=first.dtype, device=first.device)
        self.grads = torch.zeros_like(self.values)
        self.halves = torch.zeros_like(self.values, dtype=torch.bfloat16) if halves else None
        self._places = [_with_storage_of_its_own(view) for view in self.views(self.values)]
        self._addresses = [place.data_ptr() for place in self._places]
        halved = self.views(self.halves) if self.halves is not None else [None] * len(self.parameters)
        self._rooms = [Room(*each) for each in zip(self.views(self.grads), halved, strict=True)]
        self.average: Tensor | None = None
        if means is not None:
            self.average = torch.zeros_like(self.values)
            for mean, view in zip(means, self.views(self.average), strict=True):
                view.copy_(mean)
                mean.data = _with_storage_of_its_own(view)
        self.hold()

    def views(self, flat: Tensor) -> list[Tensor]:
        """Views of a buffer like ``values``: one for each parameter, with its shape and strides."""
        return [
            flat.as_strided(p.shape, _strides(p), start)
            for p, (start, _) in zip(self.parameters, self._ranges, strict=True)
        ]

    @torch.no_grad()
    def hold(self) -> None:
        """Move parameters back into the buffer if their memory is elsewhere, and update the bfloat16 copy.

        They are moved by another trainer of the same network, by ``load_state_dict(assign=True)`` and by
        ``p.data = ...``.

        Raises:
            ValueError: if a parameter has another shape than before.
        """
        for p, place, address in zip(self.parameters, self._places, self._addresses, strict=True):
            if p.data_ptr() != address:
                if p.shape != place.shape:
                    raise ValueError(
                        f"a parameter of shape {list(place.shape)} now has shape {list(p.shape)}, and its "
                        "moments would not fit; make another Trainer"
                    )
                place.copy_(p)
                p.data = place
        for p, room in zip(self.parameters, self._rooms, strict=True):
            keep_room(p, room)
        if self.halves is not None:
            self.halves.copy_(self.values)

    def take_back(self) -> None:
        """:meth:`hold`, if a parameter was moved."""
        if list(map(Tensor.data_ptr, self.parameters)) != self._addresses:
            self.hold()

    @torch.no_grad()
    def gather(self) -> None:
        """Copy gradients that autograd has stored elsewhere into the buffer."""
        self.take_back()  # both networks may share a parameter, and the other one's buffer took it
        outside = [
            (p, p.grad, room.grad)
            for p, room in zip(self.parameters, self._rooms, strict=True)
            if p.grad is not None and p.grad.data_ptr() != room.grad.data_ptr()
        ]
        if outside:
            torch._foreach_copy_([place for *_, place in outside], [grad for _, grad, _ in outside])
            for p, _, place in outside:
                p.grad = place

    def move_average(self, part: slice, weight: Tensor) -> None:
        """Move the average of a part, if there is one, towards the values."""
        if self.average is not None:
            self.average[part].lerp_(self.values[part], weight.to(self.average.dtype))

    def drop_gradients(self) -> None:
        for p in self.parameters:
            p.grad = None

    def parts(self) -> Iterator[tuple[slice, bool]]:
        """Ranges of the buffers, and whether the parameters in them have gradients; as few as possible."""
        pairs = [(p.grad is not None, each) for p, each in zip(self.parameters, self._ranges, strict=True)]
        for has_gradient, members in groupby(pairs, itemgetter(0)):
            ranges = [each for _, each in members]
            yield slice(ranges[0][0], ranges[-1][1]), has_gradient


def flat_parameters(
    parameters: Sequence[nn.Parameter], means: Sequence[Tensor] | None = None, *, halves: bool = False
) -> list[FlatParameters]:
    """The parameters that require a gradient, in a buffer for each dtype; arguments as in FlatParameters."""
    trained = [i for i, p in enumerate(parameters) if p.requires_grad]
    _check_apart([parameters[i] for i in trained])
    found = []
    for dtype in dict.fromkeys(parameters[i].dtype for i in trained):
        members = [i for i in trained if parameters[i].dtype is dtype]
        found.append(
            FlatParameters(
                [parameters[i] for i in members],
                None if means is None else [means[i] for i in members],
                halves=halves and dtype is torch.float32,
            )
        )
    return found


def _check_apart(parameters: Sequence[Tensor]) -> None:
    """Refuse parameters that share memory: in the buffer they would no longer be tied."""
    spans = sorted(
        (p.data_ptr(), p.data_ptr() + p.numel() * p.element_size(), p.shape) for p in parameters if p.numel()
    )
    for (_, stop, first), (start, _, second) in pairwise(spans):
        if start < stop:
            raise ValueError(
                f"two parameters, of shapes {list(first)} and {list(second)}, share memory; tie weights by "
                "giving both layers the same nn.Parameter"
            )


def _with_storage_of_its_own(view: Tensor) -> Tensor:
    """A tensor of the same memory, whose storage is only this part of the buffer.

    ``torch.save`` of a view would write the whole buffer; ``safetensors.torch.save_model`` refuses views.
    """
    return from_dlpack(view)


def _strides(parameter: Tensor) -> tuple[int, ...]:
    """Strides of a dense copy: the parameter's own (channels_last, for example) unless they leave gaps."""
    return torch.empty_like(parameter, device="meta").stride()
