"""Tiles and ranges of the kernels for layers with channels, which view memory as a matrix.

If channels are innermost (linear layers, channels_last), a row is a sample and the columns are channels.
Otherwise a row is the plane of one channel of one sample.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.triton.launch import divisor, threads

Tile = tuple[int, int]  # rows, columns

_MAX_PROGRAMS = 1024  # limits the partial sums of a column
_MIN_TILES = 4  # per range
LOADS_IN_FLIGHT = 4  # 16-byte loads per thread


def matrix(layout: tuple[int, int, int]) -> tuple[int, int, bool]:
    """Return rows, columns, and whether the columns are channels."""
    outer, channels, inner = layout
    return (outer, channels, True) if inner == 1 else (outer * channels, inner, False)


def tile_of(rows: int, columns: int, widest: int, dtype: torch.dtype, loads: int = LOADS_IN_FLIGHT) -> Tile:
    """Return a tile that keeps every thread busy with ``loads`` 16-byte loads."""
    elements = threads() * loads * 16 // dtype.itemsize
    width = min(triton.next_power_of_2(columns), widest, elements)
    return min(triton.next_power_of_2(rows), elements // width), width


def ranges_of_rows(
    rows: int, columns: int, dtype: torch.dtype, loads: int = LOADS_IN_FLIGHT
) -> tuple[Tile, int, int, int]:
    """Split a matrix whose columns are summed: tile, tiles along a row, ranges of rows, rows of a range."""
    tile = tile_of(rows, columns, 256, dtype, loads)
    column_tiles = triton.cdiv(columns, tile[1])
    span = _tiles_per_range(triton.cdiv(rows, tile[0]), column_tiles) * tile[0]
    return tile, column_tiles, triton.cdiv(rows, span), span


def ranges_of_planes(
    layout: tuple[int, int, int], dtype: torch.dtype, loads: int = LOADS_IN_FLIGHT
) -> tuple[Tile, int, int]:
    """Split each channel's planes: tile of [outer, inner], ranges per channel, tiles of a range."""
    outer, channels, inner = layout
    tile = tile_of(outer, inner, inner * 2, dtype, loads)
    tiles = triton.cdiv(outer, tile[0]) * triton.cdiv(inner, tile[1])
    span = _tiles_per_range(tiles, channels)
    return tile, triton.cdiv(tiles, span), span


def _tiles_per_range(tiles: int, others: int) -> int:
    """The number of tiles, if they are split into ranges for each of ``others`` channels or column tiles."""
    span: int = triton.cdiv(tiles, max(1, _MAX_PROGRAMS // others))
    return max(_MIN_TILES, span)


def rows_apart(t: Tensor) -> tuple[int, int]:
    """Return the elements between rows of a matrix, and a divisor of them; zeros if it is dense."""
    if t.dim() != 2 or t.is_contiguous():
        return 0, 0
    return t.stride(0), divisor(t.stride(0))


@triton.jit
def first_row_of_program(columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The first row of this program's tile of a matrix."""
    return (tl.program_id(0) // tl.cdiv(columns, COLUMNS).to(tl.int32)).to(tl.int64) * ROWS


@triton.jit
def in_rows_apart(at, row, columns, apart, APART_BY: tl.constexpr):
    """Offsets in a matrix with ``apart`` elements between rows, given those in a dense one.

    APART_BY: divides apart; 0: the rows are dense as well.
    """
    if APART_BY == 0:
        return at
    else:
        return at + row * (apart // APART_BY * APART_BY - columns)


@triton.jit
def tile_of_program(
    rows, columns, channels, ALONG_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """This program's tile of a matrix: its offsets and their mask, its channels and theirs."""
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    first = first_row_of_program(columns, ROWS, COLUMNS)
    row = first + tl.arange(0, ROWS)
    column = (tl.program_id(0) % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    at = row[:, None] * columns + column[None, :]
    if ALONG_COLUMNS:
        return at, inside, column[None, :], (column < columns)[None, :]
    else:
        channel = ((first % channels).to(tl.int32) + tl.arange(0, ROWS)) % channels.to(tl.int32)
        return at, inside, channel[:, None], (row < rows)[:, None]
