"""``python -m benchmarks.gpu.correct [--quick] BACKEND OPERATION ...``: compares with float64.

Sizes alternate between large and odd, to find a kernel that is specialized for one size and used for another.
Tolerances are those of the tests (``tests/oracle.py``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from benchmarks.gpu.rows import DONE, attempt, done, is_lost, put
from benchmarks.machine import DEVICE
from benchmarks.operations import table
from fastgan import ops
from fastgan.kernels.acts import ACTS
from fastgan.ops.spectral_norm import spectral_norms, with_gradient

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from oracle import (  # type: ignore[import-not-found]
    OTHER_LOSSES,
    Function,
    as_tuple,
    assert_as_exact,
    by_reference,
    eager_discriminator_loss,
    eager_generator_loss,
    evaluate,
    off_the_kink,
)

DTYPES = (torch.float32, torch.bfloat16)
SECONDS = 60.0  # limit per dtype
KINDS = ("bce", *OTHER_LOSSES)
Check = tuple[str, Function, Function, Function, list[Tensor]]  # what, ours, eager, reference, inputs
Checks = Callable[[torch.dtype, bool], Iterator[Check]]


def logit_counts(quick: bool) -> tuple[int, ...]:
    return (4096, 37) if quick else (1 << 20, 101, 4096, 8193, 1 << 22, 5, 40_000, 300_001, 37)


def _logits(count: int, dtype: torch.dtype, middle: float = -1.0) -> Tensor:
    """Logits with a mean other than 0, as the Wasserstein loss would otherwise be all rounding error."""
    return (torch.randn(count, 1, device=DEVICE) * 3 + middle).to(dtype)


def _pair(count: int, dtype: torch.dtype) -> list[Tensor]:
    return [_logits(count, dtype, 1.5), _logits(count, dtype)]


def discriminator_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for count in logit_counts(quick):
        inputs = [_logits(count, dtype, 1.5), _logits(count + 3, dtype)]
        for kind in KINDS:
            ours, eager = (
                partial(function, loss=kind)
                for function in (fastgan.discriminator_loss, eager_discriminator_loss)
            )
            yield f"{kind}, {count}", ours, eager, eager, inputs


def generator_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for count in logit_counts(quick):
        for options in ({}, {"saturating": True}, *({"loss": kind} for kind in OTHER_LOSSES)):
            ours, eager = (
                partial(function, **options) for function in (fastgan.generator_loss, eager_generator_loss)
            )
            yield f"{options}, {count}", ours, eager, eager, [_logits(count, dtype)]


def labelled_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for count in logit_counts(quick):
        ours = partial(fastgan.ops.labelled_loss, label=0.9)
        reference = by_reference(ours)
        yield f"{count}", ours, reference, reference, [_logits(count, dtype)]


def relativistic_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    reference = by_reference(ops.relativistic_loss)
    for count in logit_counts(quick):
        inputs = _pair(count, dtype)
        yield f"{count}", ops.relativistic_loss, reference, reference, inputs


def reconstruction_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for count in logit_counts(quick):
        inputs = _pair(count, dtype)
        yield f"{count}", fastgan.reconstruction_loss, F.l1_loss, F.l1_loss, inputs


def feature_matching_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    """Eight pairs of maps, the first as large as a case has logits."""

    def ours(*maps: torch.Tensor) -> torch.Tensor:
        return fastgan.feature_matching_loss([maps[:8]], [maps[8:]], detach_real=False)

    def usual(*maps: torch.Tensor) -> torch.Tensor:
        return torch.stack([F.l1_loss(a, b) for a, b in zip(maps[:8], maps[8:], strict=True)]).sum()

    for count in logit_counts(quick):
        sizes = [count, *range(1, 8)] * 2
        yield f"{count}", ours, usual, usual, [_logits(size, dtype) for size in sizes]


def discriminator_head_loss(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    reference = by_reference(ops.discriminator_head_loss)
    for rows, width in ((32, 16), (5, 7)) if quick else ((8192, 1024), (37, 97), (8192, 512), (101, 8)):
        real, fake = (torch.randn(rows, width, device=DEVICE).to(dtype) for _ in range(2))
        weight = (torch.randn(1, width, device=DEVICE) * width**-0.5).to(dtype)
        inputs = [real, fake, weight, torch.randn(1, device=DEVICE).to(dtype)]
        yield f"{rows} x {width}", fastgan.discriminator_head_loss, reference, reference, inputs


def _layers(dtype: torch.dtype, quick: bool) -> Iterator[tuple[str, Tensor]]:
    """Inputs of layers with channels: what they are, and values."""
    shapes: tuple[tuple[int, ...], ...] = ((64, 32), (5, 3, 2, 2))
    if not quick:
        shapes = ((8192, 1024), (500, 97), (64, 64, 32, 32), (37, 5, 3, 3), (64, 3, 2, 2), (512, 96))
    for shape in shapes:
        for layout in ("rows", "channels_last") if len(shape) == 4 else ("rows",):
            input = torch.randn(shape, device=DEVICE).to(dtype)
            if layout == "channels_last":
                input = input.contiguous(memory_format=torch.channels_last)
            yield f"{shape}, {layout}", input


def bias_leaky_relu(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for what, input in _layers(dtype, quick):
        inputs = [input, torch.randn(input.shape[1], device=DEVICE).to(dtype)]
        yield what, fastgan.bias_leaky_relu, table.eager_bias, table.eager_bias, inputs


def bias_act(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for what, input in _layers(dtype, quick):
        inputs = [input, torch.randn(input.shape[1], device=DEVICE).to(dtype)]
        for act in ACTS:

            def ours(x: Tensor, b: Tensor, act: str = act) -> Tensor:
                return fastgan.bias_act(x, b, act=act)

            plain = by_reference(ours)
            yield f"{what}, {act}", ours, plain, plain, inputs


def batch_norm_leaky_relu(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    """Signs alternate, so that no normalized value is near zero, where rounding would change the slope."""

    def of(norm: Function, training: bool) -> Function:
        def call(input: Tensor, *parameters: Tensor) -> Tensor | tuple[Tensor, ...]:
            running = input.new_zeros(input.shape[1]), input.new_ones(input.shape[1])
            return norm(input, *running, *parameters, training)

        return call

    def usual(*call: Any) -> Tensor:
        return F.leaky_relu(F.batch_norm(*call), 0.2)

    for what, input in _layers(dtype, quick):
        sign = 1 - 2 * (torch.arange(len(input), device=DEVICE) % 2)
        input = (0.5 + input.float().abs()).mul(sign.view(-1, *[1] * (input.dim() - 1))).to(dtype)
        weight, bias = (torch.rand(input.shape[1], device=DEVICE) for _ in "wb")
        inputs = [input, (weight + 0.5).to(dtype), (bias * 0.05).to(dtype)]
        for training in (True, False):
            references = [of(usual, training)] * 2
            yield f"{what}, {training=}", of(fastgan.batch_norm_leaky_relu, training), *references, inputs


def _signals(dtype: torch.dtype, quick: bool) -> Iterator[tuple[str, list[Tensor]]]:
    """Signals, and numbers for each channel: what they are, and values."""
    shapes = (
        ((2, 5, 40), (1, 3, 7))
        if quick
        else ((4, 192, 4096), (3, 5, 1001), (4, 24, 32768), (2, 7, 33), (1, 1, 1))
    )
    for shape in shapes:
        for layout in ("contiguous", "channels last"):
            x = torch.randn(shape, device=DEVICE).to(dtype)
            if layout == "channels last":
                x = x.mT.contiguous().mT
            alpha, beta = ((torch.rand(shape[1], device=DEVICE) + 0.5).to(dtype) for _ in "ab")
            yield f"{shape}, {layout}", [x, alpha, beta]


def snake(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for what, inputs in _signals(dtype, quick):
        yield what, fastgan.snake, table.eager_snake, table.eager_snake, inputs


def anti_aliased_snake(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    for what, inputs in _signals(dtype, quick):
        for taps in ((12, 12), (24, 7)):
            filters = [torch.randn(n, device=DEVICE) / n for n in taps]

            def ours(x: Tensor, *numbers: Tensor, filters: Sequence[Tensor] = tuple(filters)) -> Tensor:
                return fastgan.anti_aliased_snake(x, *numbers, *(f.to(x) for f in filters))

            plain = by_reference(ours)
            yield f"{what}, {taps} taps", ours, plain, plain, inputs


def upfirdn2d(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    shapes: tuple[tuple[int, ...], ...] = ((2, 3, 8, 6), (1, 1, 2, 2))
    if not quick:
        shapes = ((8, 64, 64, 64), (3, 5, 33, 70), (2, 512, 4, 4))
    several = {"up": (1, 3), "down": (2, 1), "padding": (12, -1, 9, 12), "flip_filter": True}
    calls: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
        ((4, 4), {"up": 2, "padding": (2, 1, 2, 1), "gain": 4.0}),
        ((4, 4), {"down": 2, "padding": (1, 1, 1, 1)}),
        ((4, 4), {"padding": (2, 1, 1, 2)}),
        ((12,), several),
        ((7, 2), several),
    )
    for shape, (taps, call) in product(shapes, calls):
        f = torch.randn(taps, device=DEVICE)
        ours: Function = partial(lambda x, f, call: fastgan.upfirdn2d(x, f.to(x), **call), f=f, call=call)
        plain = by_reference(ours)
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(shape, device=DEVICE).to(dtype).contiguous(memory_format=layout)
            yield f"{shape}, {layout}, {taps} taps, {call}", ours, plain, plain, [x]


def linear_leaky_relu(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    sizes: tuple[tuple[int, int, int], ...] = ((32, 16, 8), (5, 7, 3))
    if not quick:
        sizes = ((1024, 784, 256), (37, 96, 64), (512, 512, 512), (500, 97, 33), (4096, 1024, 1024))
    for n, k, m in sizes:
        inputs = off_the_kink([n], [k, m], dtype, DEVICE)
        eager = table.eager_linear
        yield f"{n} x {k} x {m}", fastgan.linear_leaky_relu, eager, eager, inputs


def mlp(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    chains: tuple[tuple[int, ...], ...] = ((32, 16, 16, 1), (5, 7, 3, 2))
    if not quick:
        chains = ((1024, 784, 256, 256, 1), (37, 97, 33, 1), (256, 64, 128, 784))
    for n, *features in chains:
        inputs = off_the_kink([n], features, dtype, DEVICE)
        yield f"{n} x {features}", table.MLP.ours, table.eager_mlp, table.eager_mlp, inputs


def spectral_norm(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    """Weights and singular vectors in training, and weights in evaluation, whose vectors fit them."""
    small, large = ((8, 12), (5, 7), (1, 9)), ((64, 27), (128, 1024), (512, 4608), (33, 129), (1, 8192))
    sizes = small if quick else large
    weights = [torch.randn(size, device=DEVICE).to(dtype) for size in sizes]
    vectors = [w.new_ones(w.shape[side]) for side in (0, 1) for w in weights]

    def joined(vectors: Sequence[Tensor], iterations: int, columns_first: bool, *weights: Tensor) -> Tensor:
        """The divided weights, u and v, one after the other."""
        u_and_v = tuple(t.to(weights[0].dtype) for t in vectors)
        u, v = u_and_v[: len(weights)], u_and_v[len(weights) :]
        call = weights, [0] * len(weights), u, v, 1e-12, iterations, columns_first
        found = spectral_norms(*call)
        scaled = [with_gradient(w, divided).flatten() for w, divided in zip(weights, found, strict=True)]
        return torch.cat([*scaled, *(divided.u for divided in found), *(divided.v for divided in found)])

    lengths = [t.numel() for t in (*weights, *vectors)]
    fitted = by_reference(joined)(vectors, 5, False, *weights).split(lengths)[len(sizes) :]
    for given, iterations, columns_first in (
        *((vectors, 1, False), (vectors, 1, True), (vectors, 2, False)),
        (fitted, 0, False),
    ):
        ours = partial(joined, given, iterations, columns_first)
        usual = by_reference(ours)
        yield f"{iterations} iterations, columns first: {columns_first}", ours, usual, usual, weights


def span_activations(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    """Activations and the cross-entropy of conditions, one after the other."""
    layouts: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...] = ((9, (1, 6, 3, 1, 2), (2, 4)),)
    if not quick:
        large = (500, (1, 10) * 20 + (2, 70, 12, 500), (40, 41, 42, 43))
        layouts = (*layouts, large, (101, (3000, 1, 2), (0,)), (40_000, (1, 10, 5, 2), (2, 3)))
    for rows, sizes, discrete in layouts:
        spans = fastgan.Spans(sizes, discrete)
        x = torch.randn(rows, spans.width, device=DEVICE).to(dtype)
        noise = torch.rand(rows, spans.width, device=DEVICE)
        conditions = torch.randint(spans.num_conditions, (rows,), device=DEVICE)

        def ours(
            x: Tensor, spans: fastgan.Spans = spans, noise: Tensor = noise, conditions: Tensor = conditions
        ) -> Tensor:
            output, entropy = fastgan.span_activations(x, spans, noise, conditions=conditions)
            return torch.cat([output.flatten(), entropy.view(1).to(x.dtype)])

        plain = by_reference(ours)
        yield f"{rows} rows of {spans.width} columns", ours, plain, plain, [x]


def value_and_grad(dtype: torch.dtype, quick: bool) -> Iterator[Check]:
    """Value and gradients in one call, as in the training step. Each loss has a separate kernel for it."""
    relativistic = by_reference(ops.relativistic_loss)
    for count in logit_counts(quick):
        pair = _pair(count, dtype)
        for kind in KINDS:
            at_once: Function = partial(ops.discriminator_loss_value_and_grad, loss=kind)
            eager = partial(eager_discriminator_loss, loss=kind)
            yield f"D, {kind}, {count}", at_once, eager, eager, pair
        eager = eager_generator_loss
        yield f"G, {count}", ops.generator_loss_value_and_grad, eager, eager, pair[:1]
        yield f"L1, {count}", ops.reconstruction_loss_value_and_grad, F.l1_loss, F.l1_loss, pair
        at_once = ops.relativistic_loss_value_and_grad
        yield f"relativistic, {count}", at_once, relativistic, relativistic, pair
    for what, _, *references, inputs in discriminator_head_loss(dtype, quick):
        yield f"head, {what}", ops.discriminator_head_loss_value_and_grad, *references, inputs


OPERATIONS: dict[str, Checks] = {
    each.__name__: each
    for each in (
        *(discriminator_loss, generator_loss, labelled_loss, relativistic_loss, reconstruction_loss),
        *(feature_matching_loss, discriminator_head_loss, bias_leaky_relu, bias_act, batch_norm_leaky_relu),
        *(linear_leaky_relu, mlp, snake, anti_aliased_snake, upfirdn2d, spectral_norm, span_activations),
        value_and_grad,
    )
}


def worst_of(ours: Function, eager: Function, reference: Function, inputs: Sequence[Tensor]) -> float:
    """The largest relative error of values and gradients, after asserting that each is within tolerance."""
    outputs = as_tuple(ours(*inputs))
    if len(outputs) > 1:  # value, gradient of each input, and perhaps statistics
        cotangents = [torch.ones_like(outputs[0])]
        found = list(outputs[: 1 + len(inputs)])
    else:
        cotangents = [torch.rand_like(y) + 0.5 for y in outputs]
        found = evaluate(ours, inputs, cotangents)
    usual = evaluate(eager, inputs, cotangents)
    exact = evaluate(reference, [t.double() for t in inputs], [c.double() for c in cotangents])
    worst = 0.0
    for mine, theirs, right in zip(found, usual, exact, strict=True):
        mine, right = mine.detach(), right.detach()
        assert_as_exact(mine, theirs.detach().to(mine.dtype), right)
        worst = max(worst, float((mine.double() - right).norm() / right.norm().clamp_min(1e-300)))
    return worst


def check(case: str, backend: str, checks: Iterator[Check]) -> None:
    wrong: list[str] = []
    count, worst = 0, 0.0
    with fastgan.use_backend(backend):
        for what, ours, eager, reference, inputs in checks:
            count += 1
            try:
                worst = max(worst, worst_of(ours, eager, reference, inputs))
            except AssertionError as error:
                wrong.append(f"{what}: {' '.join(str(error).split())}"[:300])
    assert count, "nothing was checked"
    row = {"checks": count, "worst": worst, "status": "failed" if wrong else "ok"}
    put("correct", case, **row, **({"error": "; ".join(wrong)[:1500]} if wrong else {}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.correct", description=__doc__)
    parser.add_argument("backend")
    parser.add_argument("operation", nargs="+", choices=OPERATIONS)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the check itself")
    options = parser.parse_args()
    torch.manual_seed(0)
    for operation in options.operation:
        for dtype in DTYPES:
            case = f"{operation}, {options.backend}, {str(dtype).removeprefix('torch.')}"
            if case in DONE or is_lost(case, "its checks"):
                continue
            with attempt("correct", case, "its checks", SECONDS):
                check(case, options.backend, OPERATIONS[operation](dtype, options.quick))
            done(case)


if __name__ == "__main__":
    main()
