"""Squared distances without rounding, for comparisons that float64 cannot decide.

Floats are multiples of a power of two, and so are squared distances between points of floats. They are stored
as digits in a base that is a power of two, small enough that sums of products of digits are exact in float64.
Coordinates 0 and 1 take one digit, standard normal float32 coordinates two or three.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ELEMENTS = 2**16  # digits at a time, few enough to stay in the cache
_MANTISSA = 53


class ExactDistances:
    """Squared distances between points of two sets, as digits.

    Args:
        rows: float64 ``[N, D]`` between -1 and 1.
        columns: float64 ``[M, D]`` between -1 and 1.

    Attributes:
        places: number of digits of a squared distance.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        width = rows.shape[1]
        # the difference of two digits has one bit more, and the sum of D squares must fit into a mantissa
        self._bits = (_MANTISSA - width.bit_length()) // 2 - 1
        self._digits = max(1, *(-(_lowest_bit(samples) // self._bits) for samples in (rows, columns)))
        self.places = 2 * self._digits - 1
        self._pairs_at_once = max(1, _ELEMENTS // (width * self._digits))

    def of_pairs(self, rows: Tensor, columns: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Squared distances of P pairs, from ``rows[row[p]]`` to ``columns[column[p]]``.

        Returns:
            Digits, int64 ``[P, places]``, the most significant first. Their lexicographic order is that of
            the numbers.
        """
        size = self._pairs_at_once
        parts = [
            self._carried(self._split(rows[i]) - self._split(columns[j]))
            for i, j in zip(row.split(size), column.split(size), strict=True)
        ]
        return torch.cat(parts)

    def rounded(self, digits: Tensor) -> Tensor:
        """The numbers in float64 with a relative error below 2⁻⁴⁴; 0 only for 0 or below 1e-308."""
        total = torch.zeros(len(digits), dtype=torch.float64, device=digits.device)
        for place, digit in enumerate(digits.unbind(1)):
            total += digit.double() * 2.0 ** (-self._bits * (place + 2))
        return total

    def _split(self, points: Tensor) -> Tensor:
        """Digits ``[P, D, digits]`` of coordinates, with the sign of the coordinate."""
        digits = []
        for _ in range(self._digits):
            points = points * 2.0**self._bits
            digits.append(points.trunc())  # floor would leave 1 - 1e-30 for -1e-30, which is rounded
            points = points - digits[-1]
        return torch.stack(digits, dim=2)

    def _carried(self, differences: Tensor) -> Tensor:
        products = (differences.mT @ differences).long().flip(2)
        # place i + j sums the products of digits i and j: an antidiagonal
        last = self._digits - 1
        sums = [products.diagonal(last - place, 1, 2).sum(1) for place in range(self.places)]
        for place in range(len(sums) - 1, 0, -1):
            sums[place - 1] = sums[place - 1] + (sums[place] >> self._bits)
            sums[place] = sums[place] & (2**self._bits - 1)
        return torch.stack(sums, dim=1)


def below(digits: Tensor, limits: Tensor) -> Tensor:
    """Whether numbers ``[P, places]`` are below limits ``[P, places]``."""
    result = torch.zeros(len(digits), dtype=torch.bool, device=digits.device)
    for digit, limit in zip(digits.unbind(1)[::-1], limits.unbind(1)[::-1], strict=True):
        result = (digit < limit) | ((digit == limit) & result)
    return result


def order_of(digits: Tensor) -> Tensor:
    """Indices that sort numbers ``[P, places]``, the smallest first."""
    order = torch.arange(len(digits), device=digits.device)
    for digit in digits.unbind(1)[::-1]:
        order = order[digit[order].argsort(stable=True)]
    return order


def _lowest_bit(samples: Tensor) -> int:
    """The largest exponent e, at most 0, such that all values are multiples of 2 to the power e."""
    mantissa, exponent = torch.frexp(samples[samples != 0])
    whole = (mantissa * 2.0**_MANTISSA).long()
    _, trailing = torch.frexp((whole & -whole).double())
    powers = exponent + trailing - 1 - _MANTISSA
    return min(0, int(powers.min())) if len(powers) else 0
