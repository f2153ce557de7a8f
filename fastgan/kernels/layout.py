"""How a tensor with a channel dimension lies in memory."""

from __future__ import annotations

from torch import Tensor


def channel_layout(tensor: Tensor, dim: int) -> tuple[Tensor, tuple[int, int, int], bool]:
    """The tensor in an order the kernels know, its [outer, channels, inner], and whether channels are last.

    Channels innermost in memory (channels_last after a convolution) is kept, as [rows, channels, 1].
    """
    shape = tensor.shape
    channels = shape[dim]
    if not tensor.is_contiguous():
        if tensor.movedim(dim, -1).is_contiguous():
            return tensor, (tensor.numel() // max(channels, 1), channels, 1), True
        tensor = tensor.contiguous()
    return tensor, (shape[:dim].numel(), channels, shape[dim + 1 :].numel()), False
