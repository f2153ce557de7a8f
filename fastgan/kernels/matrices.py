"""The weights of a call of spectral_norm, as kernels take them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.native import DTYPES, addresses
from fastgan.kernels.reference import Tensors
from fastgan.kernels.sizes import matrix, of_size

_Ints = tuple[int, ...]


class Matrices:
    """Contiguous matrices of one dtype, with estimates of their singular vectors.

    Attributes:
        w, u, v: ``[rows[i], columns[i]]``, ``[rows[i]]`` and ``[columns[i]]``.
    """

    def __init__(self, weights: Sequence[Tensor], u: Sequence[Tensor], v: Sequence[Tensor]) -> None:
        if not 0 < len(weights) == len(u) == len(v):
            raise ValueError(
                f"got {len(weights)} weights with {len(u)} vectors u and {len(v)} vectors v, expected as "
                "many of each, and at least one"
            )
        sizes = [matrix(w, "weights") for w in weights]
        for (rows, columns), a, b in zip(sizes, u, v, strict=True):
            if rows * columns == 0:
                raise ValueError(
                    f"weights has a matrix of {rows} rows and {columns} columns, expected elements"
                )
            of_size(a, rows, "u")
            of_size(b, columns, "v")
        self.rows, self.columns = zip(*sizes, strict=True)
        self.w: Tensors = tuple(w.contiguous() for w in weights)
        self.u: Tensors = tuple(t.contiguous() for t in u)
        self.v: Tensors = tuple(t.contiguous() for t in v)

    def __len__(self) -> int:
        return len(self.w)

    def new_vectors(self) -> tuple[Tensors, Tensors]:
        """Allocate u and v for the end of the power iterations.

        Each starts at a multiple of 16 bytes, as kernels access others one element at a time.
        """
        sizes = [*self.rows, *self.columns]
        rooms = [-(-size // 8) * 8 for size in sizes]
        parts = self.w[0].new_empty(sum(rooms)).split(rooms)
        vectors: Tensors = tuple(part[:size] for part, size in zip(parts, sizes, strict=True))
        return vectors[: len(self)], vectors[len(self) :]

    def parts(self, most: int) -> list[slice]:
        """Slices of at most ``most`` matrices, for one launch each."""
        return [slice(first, first + most) for first in range(0, len(self), most)]

    def arguments(
        self, device_type: str, part: slice = slice(None)
    ) -> tuple[int, _Ints, _Ints, _Ints, _Ints, _Ints]:
        """Dtype code, addresses of w, rows, columns, and addresses of u and v."""
        dtype = self.w[0].dtype
        return (
            DTYPES[dtype],
            addresses(self.w[part], dtype, device_type),
            self.rows[part],
            self.columns[part],
            addresses(self.u[part], dtype, device_type),
            addresses(self.v[part], dtype, device_type),
        )
