"""Spectral norms of several weights: power iterations, division by sigma, gradients.

A power iteration is two launches for all weights: products of rows, W v, and of columns, W.T u. A program
multiplies a block of rows over a range of columns, or a block of columns over a range of rows. The last
program of a weight adds up the ranges, in order, and normalizes the product. Ranges depend only on sizes.

Whether rows are read 16 bytes at a time is decided for each weight: columns that 16 bytes do not divide, as
in a first layer, must not slow down the other weights of the launch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.matrices import Matrices
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import of_size, same_size
from fastgan.kernels.triton.launch import INTERPRETING, for_each_tensor, threads
from fastgan.kernels.triton.reduction import (
    FINISH,
    add_up,
    pick,
    pick_number,
    ranges_of,
    sums_of_columns,
    tensor_of,
)
from fastgan.kernels.triton.scalar_math import number

_MOST_WEIGHTS = 32  # per launch, whose arguments hold up to nine numbers and addresses for each
_LOADS_IN_FLIGHT = 1 if INTERPRETING else 4  # 16-byte loads per thread
_SUMS = 16 if INTERPRETING else 64  # bytes per thread of the sums over tiles
_ROWS = 8  # of a block that multiplies rows
_LINE = 128  # bytes of a row in a block that multiplies columns
_MAX_PROGRAMS = 512  # per weight, or one for each block if those are more
_MAX_RANGES = 1024  # of an inner product, for all weights
_MIN_TILES = 1 if INTERPRETING else 2  # per range


@triton.jit
def _multiply(
    weight,  # [rows, columns]
    factors,  # [columns] if OF_ROWS, else [rows]
    first,  # first row of the block if OF_ROWS, else first column
    start,  # first column of the range if OF_ROWS, else first row
    stop,  # end of the range
    rows,
    columns,
    OF_ROWS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    MASKED: tl.constexpr,
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
    COMPUTE: tl.constexpr,
):
    """The products of the elements with their factors, added up over tiles: [ROWS, COLUMNS]."""
    STEP: tl.constexpr = COLUMNS if OF_ROWS else ROWS
    columns = columns // COLUMNS_BY * COLUMNS_BY  # no change: tells the compiler a divisor
    sums = tl.zeros([ROWS, COLUMNS], COMPUTE)
    for tile in range(tl.cdiv(stop - start, STEP)):
        base = start + tile * STEP
        row = (first if OF_ROWS else base) + tl.arange(0, ROWS)
        column = (base if OF_ROWS else first) + tl.arange(0, COLUMNS)
        at = row[:, None] * columns + column[None, :]
        along = column if OF_ROWS else row
        if MASKED:
            values = tl.load(weight + at, mask=(row < rows)[:, None] & (column < columns)[None, :], other=0.0)
            factor = tl.load(factors + along, mask=along < (columns if OF_ROWS else rows), other=0.0)
        else:
            values = tl.load(weight + at)
            factor = tl.load(factors + along)
        factor = factor.to(COMPUTE)
        sums += values.to(COMPUTE) * (factor[None, :] if OF_ROWS else factor[:, None])
    return sums


@triton.jit
def _finish(
    product,  # [ranges, stride], of which ``size`` count: the sums of each range
    vector,  # [size]: written if NORMALIZE
    sigma,  # [], if SIGMA: the inner product of the product and the vector
    size,
    stride,
    ranges,
    eps,  # the least norm by which the product is divided
    NORMALIZE: tl.constexpr,  # the product, normalized, becomes the vector
    SIGMA: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    HEIGHT: tl.constexpr = 64 // COMPUTE.primitive_bitwidth  # ranges added at a time
    lane = tl.arange(0, FINISH)
    squares = tl.zeros([FINISH], COMPUTE)
    for base in range(0, size, FINISH):
        sums = sums_of_columns(product, base + lane, ranges, size, stride, HEIGHT, FINISH, COMPUTE)
        squares += sums * sums
        tl.store(product + base + lane, sums, mask=lane < size - base)
    tl.debug_barrier()  # other threads read what these have stored
    norm = tl.sqrt(tl.sum(squares))
    inverse = 1.0 / tl.where(norm < eps, eps, norm)  # unlike maximum, this keeps nan
    shares = tl.zeros([FINISH], COMPUTE)
    for base in range(0, size, FINISH):
        inside = lane < size - base
        sums = tl.load(product + base + lane, mask=inside, other=0.0)
        if NORMALIZE:
            here = (sums * inverse).to(vector.dtype.element_ty)
            tl.store(vector + base + lane, here, mask=inside)
        else:
            here = tl.load(vector + base + lane, mask=inside, other=0.0)
        shares += sums * here.to(COMPUTE)
    if SIGMA:
        tl.store(sigma, tl.sum(shares))


@for_each_tensor("weights", "factors", "vectors", "rows", "columns", "spans", "firsts")
def multiply_kernel(
    weights,  # [rows[i], columns[i]] each
    factors,  # [columns[i]] each if OF_ROWS, else [rows[i]]
    vectors,  # [rows[i]] each if OF_ROWS, else [columns[i]]: results if NORMALIZE
    sigma,  # [n], if SIGMA: output
    partials,  # [programs, rows of a tile if OF_ROWS, else columns]: the sums of each program
    arrived,  # [n]: zero before and after
    rows: tl.int64,
    columns: tl.int64,
    spans: tl.int64,  # columns of a range if OF_ROWS, else rows; multiples of those of a tile
    firsts: tl.int64,  # first program of each weight
    eps: tl.float64,
    OF_ROWS: tl.constexpr,  # W v; otherwise W.T u
    NORMALIZE: tl.constexpr,
    SIGMA: tl.constexpr,
    VECTOR: tl.constexpr,  # elements of 16 bytes
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program multiplies a block of one weight over a range."""
    COMPUTE: tl.constexpr = tl.float64 if weights[0].dtype.element_ty == tl.float64 else tl.float32
    BLOCK: tl.constexpr = ROWS if OF_ROWS else COLUMNS
    STEP: tl.constexpr = COLUMNS if OF_ROWS else ROWS
    part = tl.program_id(0).to(tl.int64)
    index = tensor_of(part, firsts)
    before = pick_number(firsts, index, tl.int64)
    height = pick_number(rows, index, tl.int64)
    width = pick_number(columns, index, tl.int64)
    span = pick_number(spans, index, tl.int64) // STEP * STEP  # no change
    size = height if OF_ROWS else width
    length = width if OF_ROWS else height
    blocks = tl.cdiv(size, BLOCK)
    first = (part - before) % blocks * BLOCK
    start = (part - before) // blocks * span
    stop = tl.minimum(start + span, length)
    # unmasked loads are 16 bytes wide
    whole = tl.where(first + BLOCK <= size, start + (stop - start) // STEP * STEP, start)
    weight = pick(weights, index)
    factor = pick(factors, index)
    if width % VECTOR == 0:
        sums = _multiply(
            weight, factor, first, start, whole, height, width,
            OF_ROWS, VECTOR, False, ROWS, COLUMNS, COMPUTE,
        )  # fmt: skip
    else:
        sums = _multiply(
            weight, factor, first, start, whole, height, width,
            OF_ROWS, 1, False, ROWS, COLUMNS, COMPUTE,
        )  # fmt: skip
    sums += _multiply(
        weight, factor, first, whole, stop, height, width,
        OF_ROWS, 1, True, ROWS, COLUMNS, COMPUTE,
    )  # fmt: skip
    tl.store(partials + part * BLOCK + tl.arange(0, BLOCK), tl.sum(sums, 1 if OF_ROWS else 0))
    tl.debug_barrier()  # all threads must have stored before one signals arrival
    ranges = tl.cdiv(length, span)
    if tl.atomic_add(arrived + index, 1, sem="acq_rel") == blocks * ranges - 1:
        tl.store(arrived + index, 0)
        _finish(
            partials + before * BLOCK, pick(vectors, index), sigma + index if SIGMA else arrived,
            size, blocks * BLOCK, ranges, number(eps, COMPUTE), NORMALIZE, SIGMA, COMPUTE,
        )  # fmt: skip


@triton.jit
def _divide(
    weight,  # one tensor
    result,  # like weight
    base,  # first element of the block
    n,
    inverse,  # 1 / sigma
    MASKED: tl.constexpr,  # unmasked loads are 16 bytes wide
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    at = base + tl.arange(0, BLOCK)
    inside = at < n if MASKED else None
    values = tl.load(weight + at, mask=inside).to(COMPUTE)
    tl.store(result + at, (values * inverse).to(result.dtype.element_ty), mask=inside)


@for_each_tensor("weights", "results", "sizes", "firsts")
def divide_kernel(
    weights,  # [sizes[i]] each
    results,  # like weights: weights / sigma
    sigma,  # [n]
    sizes: tl.int64,
    firsts: tl.int64,  # first range of each tensor
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per range
):
    """Each program handles one range of one weight."""
    COMPUTE: tl.constexpr = tl.float64 if weights[0].dtype.element_ty == tl.float64 else tl.float32
    part = tl.program_id(0).to(tl.int64)
    index = tensor_of(part, firsts)
    start = (part - pick_number(firsts, index, tl.int64)) * (BLOCK * STEPS)
    n = pick_number(sizes, index, tl.int64)
    weight = pick(weights, index)
    result = pick(results, index)
    inverse = 1.0 / tl.load(sigma + index)
    for step in tl.static_range(STEPS):
        base = start + step * BLOCK
        if base + BLOCK <= n:
            _divide(weight, result, base, n, inverse, False, BLOCK, COMPUTE)
        else:
            _divide(weight, result, base, n, inverse, True, BLOCK, COMPUTE)


@for_each_tensor("weights", "grads", "sizes", "firsts")
def inner_product_kernel(
    weights,  # [sizes[i]] each
    grads,  # like weights
    partials,  # [programs]: the sum of weight * grad in each range
    sizes: tl.int64,
    firsts: tl.int64,  # first range of each tensor
    span: tl.int64,  # elements per range, a multiple of BLOCK
    BLOCK: tl.constexpr,
):
    """Each program handles one range of one weight."""
    COMPUTE: tl.constexpr = tl.float64 if weights[0].dtype.element_ty == tl.float64 else tl.float32
    span = span // BLOCK * BLOCK  # no change
    part = tl.program_id(0).to(tl.int64)
    index = tensor_of(part, firsts)
    start = (part - pick_number(firsts, index, tl.int64)) * span
    stop = tl.minimum(start + span, pick_number(sizes, index, tl.int64))
    weight = pick(weights, index)
    grad = pick(grads, index)
    lane = tl.arange(0, BLOCK)
    sums = tl.zeros([BLOCK], COMPUTE)
    full = (stop - start) // BLOCK
    for block in range(full):
        at = start + block * BLOCK + lane
        sums += tl.load(weight + at).to(COMPUTE) * tl.load(grad + at).to(COMPUTE)
    at = start + full * BLOCK + lane
    values = tl.load(weight + at, mask=at < stop, other=0.0).to(COMPUTE)
    sums += values * tl.load(grad + at, mask=at < stop, other=0.0).to(COMPUTE)
    tl.store(partials + part, tl.sum(sums))


@triton.jit
def _backward(
    grad,  # [rows, columns]
    result,  # [rows, columns]: the gradient of the weight
    u,  # [rows]
    along,  # [COLUMNS]: <grad, W / sigma> v
    first,  # first column of the block
    start,  # first row of the range
    stop,  # end of the range
    columns,
    inverse,  # 1 / sigma
    COLUMNS_BY: tl.constexpr,  # divides columns
    MASKED: tl.constexpr,
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
    COMPUTE: tl.constexpr,
):
    columns = columns // COLUMNS_BY * COLUMNS_BY  # no change
    column = first + tl.arange(0, COLUMNS)
    for tile in range(tl.cdiv(stop - start, ROWS)):
        row = start + tile * ROWS + tl.arange(0, ROWS)
        at = row[:, None] * columns + column[None, :]
        inside = (row < stop)[:, None] & (column < columns)[None, :] if MASKED else None
        factor = tl.load(u + row, mask=row < stop if MASKED else None).to(COMPUTE)
        g = tl.load(grad + at, mask=inside).to(COMPUTE)
        dw = (g - factor[:, None] * along[None, :]) * inverse
        tl.store(result + at, dw.to(result.dtype.element_ty), mask=inside)


@for_each_tensor("grads", "results", "u", "v", "rows", "columns", "spans", "firsts", "ends")
def backward_kernel(
    grads,  # [rows[i], columns[i]] each: the gradients of W / sigma
    results,  # like grads: the gradients of W
    u,  # [rows[i]] each
    v,  # [columns[i]] each
    sigma,  # [n]
    partials,  # the sums of weight * grad in each range of inner_product_kernel
    rows: tl.int64,
    columns: tl.int64,
    spans: tl.int64,  # rows of a range, multiples of ROWS
    firsts: tl.int64,  # first program of each weight
    ends: tl.int64,  # end of each weight's partials
    VECTOR: tl.constexpr,  # elements of 16 bytes
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """(grad - <grad, W / sigma> u v.T) / sigma. Each program handles a block of columns over a range of rows.

    It adds up the inner product again, in the same order.
    """
    COMPUTE: tl.constexpr = tl.float64 if grads[0].dtype.element_ty == tl.float64 else tl.float32
    part = tl.program_id(0).to(tl.int64)
    index = tensor_of(part, firsts)
    within = part - pick_number(firsts, index, tl.int64)
    width = pick_number(columns, index, tl.int64)
    span = pick_number(spans, index, tl.int64) // ROWS * ROWS  # no change
    blocks = tl.cdiv(width, COLUMNS)
    first = within % blocks * COLUMNS
    start = within // blocks * span
    stop = tl.minimum(start + span, pick_number(rows, index, tl.int64))
    whole = tl.where(first + COLUMNS <= width, start + (stop - start) // ROWS * ROWS, start)
    inverse = 1.0 / tl.load(sigma + index)
    begin = pick_number(ends, index - 1, tl.int64)
    inner = add_up(partials, begin, pick_number(ends, index, tl.int64), FINISH, COMPUTE) * inverse
    column = first + tl.arange(0, COLUMNS)
    along = inner * tl.load(pick(v, index) + column, mask=column < width, other=0.0).to(COMPUTE)
    grad = pick(grads, index)
    result = pick(results, index)
    one_u = pick(u, index)
    if width % VECTOR == 0:
        _backward(
            grad, result, one_u, along, first, start, whole, width, inverse,
            VECTOR, False, ROWS, COLUMNS, COMPUTE,
        )  # fmt: skip
    else:
        _backward(
            grad, result, one_u, along, first, start, whole, width, inverse,
            1, False, ROWS, COLUMNS, COMPUTE,
        )  # fmt: skip
    _backward(
        grad, result, one_u, along, first, whole, stop, width, inverse,
        1, True, ROWS, COLUMNS, COMPUTE,
    )  # fmt: skip


class SpectralNorm(Reference):
    def spectral_norm(
        self, weights: Tensors, u: Tensors, v: Tensors, eps: float, iterations: int, columns_first: bool
    ) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        matrices = Matrices(weights, u, v)
        first = matrices.w[0]
        vectors = matrices.new_vectors() if iterations else (matrices.u, matrices.v)
        scaled = tuple(map(torch.empty_like, matrices.w))
        sigma = first.new_empty(len(matrices), dtype=compute_dtype(first.dtype))
        for part in matrices.parts(_MOST_WEIGHTS):
            known = matrices.u[part], matrices.v[part]
            new = vectors[0][part], vectors[1][part]
            for step in range(2 * iterations):
                side = int((step % 2 == 0) == columns_first)  # 0: u from v, 1: v from u
                factors = (new if step else known)[1 - side]
                is_last = step + 1 == 2 * iterations
                multiply_all(matrices, part, side, factors, new[side], sigma if is_last else None, eps)
            if not iterations:
                multiply_all(matrices, part, 0, known[1], known[0], sigma, None)
            divide_all(matrices, part, scaled[part], sigma[part])
        return scaled, *(vectors if iterations else (u, v)), sigma

    def spectral_norm_backward(
        self, grads: Tensors, weights: Tensors, u: Tensors, v: Tensors, sigma: Tensor
    ) -> Tensors:
        matrices = Matrices(weights, u, v)
        grads = tuple(same_size(g, w, "grads").contiguous() for g, w in zip(grads, matrices.w, strict=True))
        sigma = of_size(sigma, len(matrices), "sigma").contiguous()
        results = tuple(map(torch.empty_like, matrices.w))
        for part in matrices.parts(_MOST_WEIGHTS):
            products = inner_products(matrices, part, grads[part])
            weight_gradients(matrices, part, grads[part], results[part], sigma[part], *products)
        return results


def multiply_all(
    matrices: Matrices,
    part: slice,
    side: int,
    factors: Tensors,
    vectors: Tensors,
    sigma: Tensor | None,
    eps: float | None,
) -> None:
    """Multiply some matrices by factors: their rows (side 0) or their columns (side 1).

    The products, divided by their norms of at least ``eps``, become the vectors; None keeps the vectors.
    ``sigma`` receives the inner products of both.
    """
    weights, of_rows = matrices.w[part], side == 0
    first, tile = weights[0], _tile(weights[0], of_rows)
    sizes = matrices.rows[part], matrices.columns[part]
    block = tile[side]
    spans, firsts, programs = _cut(sizes[side], sizes[1 - side], block, tile[1 - side])
    partials = first.new_empty(programs * block, dtype=compute_dtype(first.dtype))
    multiply_kernel.of(len(weights)).launch(
        programs,
        (
            *(*weights, *factors, *vectors),
            *(None if sigma is None else sigma[part], partials, arrivals(first, len(weights))),
        ),
        (*sizes[0], *sizes[1], *spans, *firsts, eps or 0.0),
        (of_rows, eps is not None, sigma is not None, _vector(first), *tile),
    )


def divide_all(matrices: Matrices, part: slice, results: Tensors, sigma: Tensor) -> None:
    weights = matrices.w[part]
    sizes = tuple(map(Tensor.numel, weights))
    block = threads() * _vector(weights[0])
    firsts, programs = ranges_of(sizes, block * _LOADS_IN_FLIGHT)
    divide_kernel.of(len(weights)).launch(
        programs, (*weights, *results, sigma), (*sizes, *firsts), (block, _LOADS_IN_FLIGHT)
    )


def inner_products(matrices: Matrices, part: slice, grads: Tensors) -> tuple[Tensor, list[int]]:
    """Return the sums of weight * grad over ranges, and the end of each weight's ranges."""
    weights = matrices.w[part]
    first, sizes = weights[0], tuple(map(Tensor.numel, weights))
    block = threads() * _vector(first) * _LOADS_IN_FLIGHT
    span = block * max(1, triton.cdiv(sum(sizes), block * _MAX_RANGES))
    firsts, programs = ranges_of(sizes, span)
    partials = first.new_empty(programs, dtype=compute_dtype(first.dtype))
    inner_product_kernel.of(len(weights)).launch(
        programs, (*weights, *grads, partials), (*sizes, *firsts, span), (block,)
    )
    return partials, [*firsts[1:], programs]


def weight_gradients(
    matrices: Matrices,
    part: slice,
    grads: Tensors,
    results: Tensors,
    sigma: Tensor,
    partials: Tensor,
    ends: Sequence[int],
) -> None:
    """Write the gradients of some weights; ``partials`` and ``ends`` are those of :func:`inner_products`."""
    rows, columns = matrices.rows[part], matrices.columns[part]
    tile = _tile(matrices.w[0], False)
    spans, firsts, programs = _cut(columns, rows, tile[1], tile[0])
    backward_kernel.of(len(rows)).launch(
        programs,
        (*grads, *results, *matrices.u[part], *matrices.v[part], sigma, partials),
        (*rows, *columns, *spans, *firsts, *ends),
        (_vector(matrices.w[0]), *tile),
    )


def _vector(weight: Tensor) -> int:
    """Elements of 16 bytes."""
    return 16 // weight.element_size()


def _tile(weight: Tensor, of_rows: bool) -> tuple[int, int]:
    """Rows and columns of a tile."""
    elements = threads() * _SUMS // compute_dtype(weight.dtype).itemsize
    rows = _ROWS if of_rows else elements * weight.element_size() // _LINE
    return rows, elements // rows


def _cut(
    sizes: Sequence[int], lengths: Sequence[int], block: int, step: int
) -> tuple[list[int], list[int], int]:
    """Return the span of each weight's ranges, its first program, and the number of programs.

    Args:
        sizes: rows or columns that a product keeps; a program has ``block`` of them.
        lengths: columns or rows that it adds up; a range is a multiple of ``step``.
    """
    spans, firsts, programs = [], [], 0
    for size, length in zip(sizes, lengths, strict=True):
        blocks, steps = triton.cdiv(size, block), triton.cdiv(length, step)
        ranges = max(1, min(steps // _MIN_TILES, _MAX_PROGRAMS // blocks))
        spans.append(triton.cdiv(steps, ranges) * step)
        firsts.append(programs)
        programs += blocks * triton.cdiv(length, spans[-1])
    return spans, firsts, programs
