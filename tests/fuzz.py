"""Calls of every operator, and of every function of a backend, with arguments that do not fit each other.

A program: ``python tests/fuzz.py BACKEND SEED CALLS``. A call that fits is changed in a few places; then it
may raise an error. What an operator takes after all, it must compute as the reference backend does. What is
read or written beyond a tensor is for a sanitizer to see: test_cpu_sanitizers.py, test_cuda_sanitizers.py.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import backends  # noqa: F401  (CUDA on the host, Triton interpreted)
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

import fastgan
from fastgan import kernels
from fastgan.kernels.activations import NONE, Activation, Forward, Kind
from fastgan.kernels.acts import FORMS, Act
from fastgan.kernels.cpu.tape import Tape, replay, rows_of_entropy
from fastgan.kernels.logit_losses import LOSSES, LossSpec
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference_snake import Scale
from fastgan.kernels.reference_upfirdn import Resampling
from fastgan.kernels.spans import Spans, Table
from fastgan.ops.registered import OPERATORS

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
OTHERS = (torch.int64, torch.bool, torch.complex64)
SIZES = (0, 1, 2, 3, 5, 16, 17, 31, 40, 64, 130)
Call = tuple[Any, ...]


def padded(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Columns of a wider matrix, which are to be written."""
    return torch.full((*shape[:-1], shape[-1] + 3), math.nan, dtype=dtype)[..., 2:-1]


class Fuzzer(random.Random):
    """Random tensors, calls, and changes to them."""

    def size(self) -> int:
        return self.choice(SIZES)

    def flag(self) -> bool:
        return self.random() < 0.5

    def tensor(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Dense, every other row, transposed, or columns of a wider matrix."""
        values = torch.randn(shape).to(dtype)
        way = self.randrange(4)
        if way == 0 and shape:
            return values.repeat_interleave(2, 0)[::2]
        if way == 1 and len(shape) > 1:
            return values.transpose(0, -1).contiguous().transpose(0, -1)
        if way == 2 and len(shape) > 1:
            return functional.pad(values, (2, 1))[..., 2:-1]
        return values

    def room(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor | None:
        """Memory for a result: a matrix, or some of its columns. Or None, for the callee to allocate it."""
        way = self.randrange(3)
        if way == 0:
            return None
        return torch.full(shape, math.nan, dtype=dtype) if way == 1 else padded(shape, dtype)

    def activation(self) -> Activation:
        kind = self.choice(get_args(Kind))
        return Activation(kind, self.choice((0.0, 0.2)), self.choice((1, 2, 5)) if kind == "maxout" else 1)

    def losses(self, dtype: torch.dtype) -> dict[str, Call]:
        shapes = [[self.size() for _ in range(self.randrange(3))] for _ in range(self.choice((1, 2, 3, 9)))]
        logits = tuple(self.tensor(*shape, dtype=dtype) for shape in shapes)
        mean, detailed = self.flag(), self.flag()
        spec, loss = self.spec(len(logits)), self.choice(tuple(LOSSES))
        label, weight = self.choice((0.0, 1.0)), self.choice((1.0, -1.0))
        grad = torch.rand((), dtype=dtype)
        terms = self.tensor(*shapes[0], dtype=dtype)
        x, y = logits[0], self.tensor(*shapes[0], dtype=dtype)
        needs = self.flag(), self.flag()
        pairs = logits, tuple(self.tensor(*shape, dtype=dtype) for shape in shapes), spec.weights
        as_lists = list(logits), spec.loss, list(spec.labels), list(spec.weights), spec.mean
        kept = tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in logits)
        return {
            "logit_loss": (*as_lists, dtype, detailed),
            "logit_loss_backward": (grad, *as_lists),
            "logit_loss_terms": (x, loss, label, weight),
            "logit_loss_terms_backward": (terms, x, loss, label, weight),
            "loss": (logits, spec, dtype, detailed, self.flag()),
            "loss_backward": (grad, logits, spec, self.choice(((), kept))),
            "loss_and_grad": (logits, spec, self.choice((None, grad)), dtype),
            "loss_terms": (x, loss, label, weight),
            "loss_terms_backward": (terms, x, loss, label, weight),
            "l1_loss": (*pairs, mean, dtype),
            "l1_loss_backward": (grad, *pairs, mean, needs),
            "l1_loss_and_grad": (*pairs, mean, self.choice((None, grad)), dtype, needs),
            "l1_terms": (x, y),
            "l1_terms_backward": (terms, x, y, needs),
        }

    def spec(self, count: int) -> LossSpec:
        labels = tuple(self.choice((0.0, 1.0)) for _ in range(count))
        return LossSpec(self.choice(tuple(LOSSES)), labels, (1.0,) * count, self.flag())

    def layers(self, dtype: torch.dtype) -> dict[str, Call]:
        n, k, m = self.size(), self.size(), self.size()
        dim = self.randrange(3)
        image, incoming = (self.tensor(n, k, 3, dtype=dtype) for _ in range(2))
        channels = self.choice((None, self.tensor(image.shape[dim], dtype=dtype)))
        x, w = self.tensor(n, k, dtype=dtype), self.tensor(m, k, dtype=dtype)
        y, dy, h = (self.tensor(*shape, dtype=dtype) for shape in ((n, m), (n, m), (n, k)))
        b = self.choice((None, self.tensor(m, dtype=dtype)))
        needs = self.flag(), self.flag(), self.flag()
        mean, var = (torch.rand(k, dtype=self.choice((dtype, compute_dtype(dtype)))) for _ in "mv")
        factor, shift = (self.choice((None, self.tensor(k, dtype=dtype))) for _ in "wb")
        norm = mean, var, factor, shift, 1e-5, 0.2
        leaky = Act("leaky", 0.2, self.choice((1.0, 1.5)), self.choice((0.5, math.inf)))
        # of a positive gain: a softplus has positive outputs
        act = leaky._replace(form=self.choice(tuple(FORMS)), gain=self.choice((0.0, 1.0, 1.5)))
        return {
            "batch_norm_statistics": (image, self.choice((None, mean)), self.choice((None, var)), 0.1),
            "batch_norm_leaky_relu": (image, *norm),
            "batch_norm_leaky_relu_backward": (incoming, image, *norm, self.flag(), needs),
            "bias_act": (image, channels, act, dim),
            "bias_act_backward": (incoming, image.abs(), channels, act, dim, needs[0]),
            "bias_act_curvature": (incoming, incoming, image.abs(), channels, act, dim, needs[0]),
            "linear": (x, w, b),
            "product": (x, self.tensor(k, m, dtype=dtype), b, self.room(n, m, dtype=dtype)),
            "row_sums": (dy, self.choice((None, torch.full((m,), math.nan, dtype=dtype)))),
            "linear_leaky_relu": (x, w, b, leaky),
            "linear_leaky_relu_backward": (dy, x, w, y, leaky, needs),
            "dgrad": (dy, w),
            "dgrad_leaky_relu": (dy, w, h, 0.2, needs[0]),
            "wgrad": (dy, x),
        }

    def snakes(self, dtype: torch.dtype) -> dict[str, Call]:
        """Sums are of few elements, and divisors are not small: so results are not far from 1."""
        channels, length = self.size(), self.size()
        x, grad = (self.tensor(self.choice((1, 2)), channels, length, dtype=dtype) for _ in "xg")
        of_channels = self.choice((dtype, torch.float32))
        alpha, beta = (torch.rand(channels).to(of_channels) + 0.5 for _ in "ab")
        numbers = alpha, self.choice((None, beta))
        filters = [torch.rand(self.randrange(2, 25)).to(dtype) / 8 for _ in range(2)]
        scale, needs = Scale(self.flag(), 1e-9), (self.flag(), self.flag(), self.flag())
        return {
            "snake": (x, *numbers, scale),
            "snake_backward": (grad, x, *numbers, scale, needs),
            "anti_aliased_snake": (x, *numbers, *filters, scale),
            "anti_aliased_snake_backward": (grad, x, *numbers, *filters, scale, needs),
        }

    def images(self, dtype: torch.dtype) -> dict[str, Call]:
        """Small images and filters with a sum of at most 1: a changed factor makes images large."""
        pair = lambda: (self.choice((1, 2, 3)), self.choice((1, 2, 3)))  # noqa: E731
        x = self.tensor(self.choice((0, 1, 2)), self.choice((1, 3, 17)), *pair(), dtype=dtype)
        taps = [self.choice((1, 2, 4, 12, 32)) for _ in range(self.choice((1, 2)))]
        filter = torch.rand(taps).to(self.choice((dtype, compute_dtype(dtype)))) / math.prod(taps)
        left, right, top, bottom = (self.randrange(-2, 40) for _ in range(4))
        call = Resampling(pair(), pair(), (left, right, top, bottom), self.flag(), 1.0)
        return {"upfirdn2d": (x, filter, call)}

    def networks(self, dtype: torch.dtype) -> dict[str, Call]:
        features = [self.size() + 1 for _ in range(self.randrange(1, 4))]
        features.append(self.choice((1, self.size() + 1)))  # one logit, as of a discriminator, or more
        n = self.size()
        pairs = list(pairwise(features))
        activations = tuple(self.activation() for _ in pairs[:-1])
        widths = [m * a.pieces for m, a in zip(features[1:], (*activations, NONE), strict=True)]
        weights = [self.tensor(width, k, dtype=dtype) for k, width in zip(features[:-1], widths, strict=True)]
        biases = [self.choice((None, self.tensor(width, dtype=dtype))) for width in widths]
        hidden = [self.tensor(n, m, dtype=dtype) for m in features[1:-1]]
        products = [
            self.tensor(n, width, dtype=dtype) if a.kind == "maxout" else None
            for width, a in zip(widths[:-1], activations, strict=True)
        ]
        needs = [self.flag() for _ in range(2 * len(pairs) + 1)]
        scale = self.tensor(n, 1, dtype=dtype)
        x, grad = self.tensor(n, features[0], dtype=dtype), self.tensor(n, features[-1], dtype=dtype)
        forward = Forward(x, weights, activations, products, hidden)
        dz = [self.tensor(n, width, dtype=dtype) for width in widths]
        after = self.activation()
        product = self.tensor(n, after.pieces * features[-1], dtype=dtype)
        h = features[0]
        maps = tuple(self.tensor(self.size(), h, dtype=dtype) for _ in range(self.choice((1, 2))))
        row, bias, factor = (
            self.tensor(h, dtype=dtype),
            self.tensor(1, dtype=dtype),
            torch.rand((), dtype=dtype),
        )
        compute = torch.float64 if dtype is torch.float64 else torch.float32
        slopes = tuple(torch.rand(len(t), dtype=compute) for t in maps)
        call = maps, row, self.choice((None, bias)), self.spec(len(maps))
        return {
            "activate": (product, after),
            "activation_backward": (grad, product, torch.rand_like(grad), after, self.flag()),
            "activation_tangent": (product, product, torch.rand_like(grad), after),
            "hidden_layers": (x, weights, biases, activations),
            "mlp": (x, weights, biases, activations),
            "mlp_backward": (grad, forward, needs, None),
            "mlp_chain": (grad, forward, needs, None),
            "mlp_slope_backward": (x, dz, forward, [None] * len(pairs)),
            "mlp_backward_of_both": (scale, self.randrange(n + 1), forward, needs, [None] * 2 * len(pairs)),
            "head_loss": (*call, dtype, self.flag(), self.flag()),
            "head_loss_and_grad": (*call, self.choice((None, factor)), dtype),
            "head_loss_backward": (
                *(factor, slopes, row, torch.rand(h, dtype=compute), torch.rand(1, dtype=compute)),
                (self.flag(), self.flag(), self.flag()),
            ),
        }

    def spectral_norms(self, dtype: torch.dtype) -> dict[str, Call]:
        """Positive matrices: those that are almost orthogonal to u and v would be divided by almost 0."""
        sizes = [(self.size() + 1, self.size() + 1) for _ in range(self.choice((1, 2, 9)))]
        weights, grads = (tuple(self.tensor(*size, dtype=dtype).abs() + 0.5 for size in sizes) for _ in "wg")
        u, v = (tuple(torch.rand(size[side]).to(dtype) + 0.5 for size in sizes) for side in (0, 1))
        sigma = torch.rand(len(sizes), dtype=torch.float64 if dtype is torch.float64 else torch.float32) + 0.5
        return {
            "spectral_norm": (weights, u, v, 1e-12, self.randrange(3), self.flag()),
            "spectral_norm_backward": (grads, weights, u, v, sigma),
        }

    def steps(self, dtype: torch.dtype) -> dict[str, Call]:
        values, grads, first, average = (torch.randn(self.size()).to(dtype) for _ in "vgfa")
        if self.random() < 0.9:
            grads, first, average = (torch.randn(values.shape).to(dtype) for _ in "gfa")
        second, halves = torch.rand(values.shape).to(dtype), torch.zeros(values.shape, dtype=torch.bfloat16)
        count, rate, weight = (torch.rand(()) for _ in "crw")
        followers = self.choice((None, average)), weight, self.choice((None, halves))
        n, width = self.size(), self.size()
        real, other, noise = (self.tensor(n, width, 3, dtype=dtype) for _ in "ron")
        share = self.tensor(n, 1, 1, dtype=dtype)
        data = self.choice((real, torch.randint(256, (n, width, 3), dtype=torch.uint8)))
        rows = torch.randint(-1 if self.random() < 0.1 else 0, max(n, 1), (self.size(),))
        return {
            "adam": (
                *(values, grads, first, second, count, self.flag(), rate, (0.5, 0.9), 1e-8),
                *(self.choice((0.0, 0.1)), *followers),
            ),
            "sgd": (values, grads, first, rate, weight, *followers),
            "norm": (real, self.choice((1, 2))),
            "clip": ([values, grads], 0.1),
            "gather": (data, rows, dtype, self.choice((None, torch.zeros(len(rows), width, 3, dtype=dtype)))),
            "add_noise": (real, noise, rate),
            "between": (real, other, share),
            "around": (real, share, noise),
            "lipschitz_grad": (real, 2.0),
        }

    def spans(self) -> Spans:
        sizes = tuple(self.choice((1, 1, 2, 3, 17)) for _ in range(self.randrange(1, 5)))
        return Spans(sizes, tuple(i for i, size in enumerate(sizes) if size > 1 and self.flag()))

    def tables(self, dtype: torch.dtype) -> dict[str, Call]:
        """Numbers of conditions and rows are random, so that some are out of range."""
        spans, n, rows = self.spans(), self.size(), self.size()
        x, grad, output = (self.tensor(n, spans.width, dtype=dtype) for _ in "xgo")
        noise, uniform = torch.rand(n, spans.width), torch.rand(n)
        conditions = torch.randint(-2, 40, (n,)) if spans.conditions else None
        entropy = None if conditions is None else torch.rand((), dtype=compute_dtype(dtype))
        known = self.choice((None, conditions))
        codes, values = torch.randint(-1, 20, (rows, spans.num_codes)), torch.rand(rows, spans.num_values)
        order, starts = (
            torch.randint(-1, 50, (k,)) for k in (len(spans.conditions) * rows, spans.num_conditions + 1)
        )
        table = Table(spans, codes.int(), values, order.int(), starts)
        columns = spans.width + (0 if known is None else spans.num_conditions)
        into = padded((n, columns), self.choice((torch.float32, torch.float64)))
        return {
            "span_activations": (
                *(x, spans, self.choice((None, noise)), 0.2, known),
                self.room(n, spans.width, dtype=dtype),
            ),
            "span_activations_backward": (grad, entropy, x, output, spans, 0.2, conditions),
            "table_batch": (table, known, uniform, into),
            "draw_conditions": (uniform, torch.rand(self.size(), dtype=torch.float64).cumsum(0)),
        }

    def recorded(self, _: torch.dtype) -> dict[str, Call]:
        """Calls of a recorded step, after the rows of their unit."""
        calls = self.tables(torch.float32)
        x, spans, _, _, known, _ = calls["span_activations"]
        table, _, uniform, into = calls["table_batch"]
        n, width = len(x), spans.width
        x, noise, dx = x.contiguous(), torch.rand(n, width), torch.zeros(n, width)
        grad, y = (padded((n, width), torch.float32).zero_() for _ in "gy")
        entropies = torch.zeros(-(-n // rows_of_entropy(spans)), dtype=torch.float64)
        drawn, norm = torch.zeros(n, dtype=torch.int64), nn.BatchNorm1d(width)
        return {
            "recorded draw_conditions": (1, *calls["draw_conditions"], drawn),
            "recorded table_rows": (n, table, known, uniform, into.float()),
            "recorded copy_columns": (n, grad, y),
            "recorded add_columns": (n, grad, y),
            "recorded multiply": (n, x, noise),
            "recorded dropout": (n, x, dx, 4, 0, drawn[:1], 0.5, 0.2),
            "recorded span_activations": (n, x, spans, noise, 0.2, known, y, self.choice((None, entropies))),
            "recorded span_gradients": (n, y, self.choice((None, x)), y, spans, 0.2, known, dx),
            "recorded normalize": (n, x, norm, y),
            "recorded mean_entropy": (1, n, spans, entropies, torch.zeros(1)),
        }

    def changed(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.changed_tensor(value)
        if isinstance(value, Spans):
            return self.spans()
        if isinstance(value, nn.Module):
            return nn.BatchNorm1d(self.size())
        if isinstance(value, (list, tuple)):
            items = list(value)
            has_names = hasattr(value, "_fields")  # a NamedTuple: the number of its items is fixed
            way = 2 if has_names else self.randrange(3)
            if way == 0 and items:
                del items[self.randrange(len(items))]
            elif way == 1 and items:
                items.append(self.choice(items))
            elif items:
                at = self.randrange(len(items))
                items[at] = self.changed(items[at])
            return type(value)(*items) if has_names else type(value)(items)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self.choice((-2, -1, 0, 1, 2, 3, 7, 1000))
        if isinstance(value, float):
            return self.choice((0.0, 0.5, 1.0, -1.0, 2.0, float("nan"), float("inf")))
        if isinstance(value, torch.dtype):
            return self.choice((*DTYPES, *OTHERS))
        if isinstance(value, str):
            return self.choice((*LOSSES, "nonsense", ""))
        return self.tensor(self.size())  # where None was

    def changed_tensor(self, value: Tensor) -> Tensor:
        way = self.randrange(6)
        if way == 0:
            return value.to(self.choice((*DTYPES, *OTHERS)))
        if way == 1:
            return value.to("meta")
        if way == 2 and value.numel():
            return value.flatten()[: self.randrange(value.numel())]
        if way == 3:
            return value.unsqueeze(self.randrange(value.dim() + 1))
        if way == 4 and value.dim() > 1:
            return value.transpose(0, -1)
        shape = list(value.shape) or [1]
        shape[self.randrange(len(shape))] = self.size()
        return self.tensor(*shape, dtype=value.dtype)

    def call(self) -> tuple[str, Call]:
        dtype = self.choice(DTYPES)
        kinds = self.losses, self.layers, self.snakes, self.networks, self.spectral_norms, self.steps
        calls = self.choice((*kinds, self.images, self.tables, self.recorded))(dtype)
        name = self.choice(tuple(calls))
        arguments = list(calls[name])
        is_recorded = name.startswith("recorded ")
        for _ in range(self.choice((0, 1, 1, 1, 2, 3))):
            at = self.randrange(is_recorded, len(arguments))
            arguments[at] = self.changed(arguments[at])
        return name, tuple(arguments)


INTO_LAST = ("product", "row_sums")
"""Methods without an operator, whose last argument receives the result."""
LAST_APART = (
    *("batch_norm_leaky_relu_backward", "l1_loss_backward", "l1_terms_backward"),
    *("snake", "anti_aliased_snake", "upfirdn2d"),
)
REFUSALS = (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError, ZeroDivisionError)


def outcome(function: Callable[..., Any], arguments: Call) -> Any:
    """Its result, or the error with which it refuses."""
    try:
        return function(*arguments)
    except REFUSALS as error:
        return error


def check_operator(name: str, arguments: Call, backend: str) -> bool:
    """Whether it took the call."""
    # an operator takes the items of these tuples one by one
    if name in LAST_APART:
        arguments = *arguments[:-1], *arguments[-1]
    elif name in ("snake_backward", "anti_aliased_snake_backward"):
        arguments = *arguments[:-2], *arguments[-2], *arguments[-1]
    elif name == "span_activations":
        arguments = arguments[:-1]  # an operator writes into no given memory
    arguments = tuple(
        item
        for each in arguments
        for item in (
            each[name == "linear_leaky_relu" :]
            if isinstance(each, Act)
            else (each.sizes, each.conditions)
            if isinstance(each, Spans)
            else (each,)
        )
    )
    results = []
    for each in (backend, "reference"):
        with fastgan.use_backend(each):
            results.append(outcome(getattr(torch.ops.fastgan, name), arguments))
    ours, expected = results
    if isinstance(ours, Exception):
        assert str(ours)
        return False
    assert not isinstance(expected, Exception), expected
    # sums of float32 logits are float32's, even where a float64 is asked for
    if not any(t.is_meta for t in tree_leaves(ours)):
        assert_close(ours, expected, (arguments, ours))
    return True


def assert_close(ours: Any, expected: Any, tensors: Any) -> None:
    """Compare results, as exactly as the least exact dtype among these tensors allows."""
    dtypes = {t.dtype for t in tree_leaves(tensors) if isinstance(t, Tensor) and t.is_floating_point()}
    close = 64 * max(torch.finfo(dtype).eps for dtype in dtypes)
    torch.testing.assert_close(ours, expected, rtol=close, atol=16 * close, equal_nan=True)


def check_method(backend: kernels.Reference, name: str, arguments: Call) -> bool:
    """Whether a method without an operator took the call, whose result is that of float64."""
    *operands, into = arguments
    whole = into if into is None or into._base is None else into._base
    before, shape = (None, None) if whole is None else (whole.clone(), into.shape)
    ours = outcome(getattr(backend, name), arguments)
    if isinstance(ours, Exception):
        assert str(ours)
        return False
    assert into is None or ours is into
    if any(t.is_meta for t in arguments if isinstance(t, Tensor)):
        return True  # PyTorch's products and sums take a meta tensor among others, and compute nothing
    is_broadcast = name == "product" and operands[2] is not None and operands[2].dim() != 1
    if ours.is_floating_point() and not is_broadcast:
        exact = [t.double() if isinstance(t, Tensor) else t for t in operands]
        expected = getattr(kernels.load("reference"), name)(*exact).to(ours.dtype)
        expected = expected.reshape(ours.shape)  # `into` may be one row
        assert_close(ours, expected, (ours, operands))
    if before is not None and into.shape == shape:  # PyTorch gives a tensor of another shape new memory
        place = before.as_strided(into.shape, into.stride(), into.storage_offset())
        place.copy_(into)
        assert torch.equal(before.nan_to_num(), whole.nan_to_num()), "wrote outside of `into`"
    return True


def run_recorded(name: str, rows: int, *arguments: Any) -> None:
    """Record the call by a unit of so many rows, in pieces, and replay it."""
    tape = Tape()
    tape.stage()
    tape.unit(max(rows, 1), 32)
    getattr(tape, name)(*arguments)
    replay([tape], [0], 1, 1, 1.0, lambda: False)


def main(backend: str, seed: int, count: int) -> None:
    module = kernels.load(backend)
    fuzzer, taken = Fuzzer(seed), Counter()
    for i in range(count):
        torch.default_generator.manual_seed(fuzzer.getrandbits(32))  # torch.manual_seed takes as long
        name, arguments = fuzzer.call()
        try:
            if name.startswith("recorded "):
                found = outcome(run_recorded, (name.removeprefix("recorded "), *arguments))
                taken[name, not isinstance(found, Exception)] += 1
            elif name in OPERATORS and (not hasattr(module, name) or fuzzer.flag()):
                taken[f"operator {name}", check_operator(name, arguments, backend)] += 1
            elif name in INTO_LAST:
                taken[name, check_method(module, name, arguments)] += 1
            else:
                result = outcome(getattr(module, name), arguments)
                taken[name, not isinstance(result, Exception)] += 1
        except BaseException:
            print(f"call {i}: {name}", *arguments, sep="\n  ", file=sys.stderr)
            raise
    for name in sorted({name for name, _ in taken}):
        print(f"{name}: {taken[name, True]} taken, {taken[name, False]} refused")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
