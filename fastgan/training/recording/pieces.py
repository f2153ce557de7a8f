"""How the rows of a batch are divided among threads."""

from __future__ import annotations


def balanced(rows: int, multiple: int, threads: int) -> int:
    """Rows of a piece, a multiple of some number, with which threads that take pieces finish first."""
    a_piece = 4  # the time of so many rows

    def time(step: int) -> int:
        loads = [0] * threads
        for first in range(0, rows, step):
            loads[loads.index(min(loads))] += min(step, rows - first) + a_piece
        return max(loads)

    return min(range(multiple, rows + multiple, multiple), key=time)
