"""tanh, Gumbel-softmax and the cross-entropy of conditions over the spans of an output layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from oracle import DTYPES, assert_as_exact, check
from torch import Tensor

import fastgan
from fastgan import Spans
from fastgan.kernels import choose

# sizes, spans that are conditions, and rows
LAYOUTS = {
    "tanh": ((1,), (), 3),
    "one softmax": ((2,), (0,), 5),
    "table": ((1, 6, 3, 1, 1, 2, 9), (2, 5), 50),
    "wide": ((1, 70, 2, 300), (1, 3), 7),
    "longest": ((2, 1_300), (1,), 3),
    "long": ((5, 1, 4), (0, 2), 1_100),
    "many": ((1, 11) * 30 + (4, 2, 13, 33), (60, 61, 62, 63), 3),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)
SMALLEST = 2.0**-25


def usual(
    x: Tensor, spans: Spans, noise: Tensor | None, conditions: Tensor | None, temperature: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Span by span; the cross-entropy row by row."""
    first, parts, numbers = 0, [], []
    for i, size in enumerate(spans.sizes):
        own = x[:, first : first + size]
        if size == 1:
            parts.append(torch.tanh(own))
        else:
            gumbel = 0.0
            if noise is not None:
                u = noise[:, first : first + size].to(x.dtype if x.dtype is torch.float64 else torch.float32)
                gumbel = (-torch.log(-torch.log(u.clamp(min=SMALLEST)))).to(x.dtype)
            parts.append(F.softmax((own + gumbel) / temperature, 1))
        if i in spans.conditions:
            numbers += [(slice(first, first + size), column) for column in range(size)]
        first += size
    entropy = x.new_zeros(())
    if conditions is not None:
        rows = [(row, *numbers[c]) for row, c in enumerate(conditions.tolist())]
        each = [F.cross_entropy(x[row, own], torch.tensor(c, device=x.device)) for row, own, c in rows]
        entropy = torch.stack(each).mean()
    return torch.cat(parts, 1), entropy


def sample(layout: str, dtype: torch.dtype, device: str) -> tuple[Tensor, Spans, Tensor, Tensor]:
    sizes, discrete, rows = LAYOUTS[layout]
    spans = Spans(sizes, discrete)
    x = torch.randn(rows, spans.width, device=device).to(dtype)
    noise = torch.rand(rows, spans.width, device=device)
    conditions = torch.randint(max(spans.num_conditions, 1), (rows,), device=device)
    return x, spans, noise, conditions


@layouts
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("with_noise", [True, False], ids=["noise", "no noise"])
def test_values_and_gradients(variant: Backend, layout: str, dtype: torch.dtype, with_noise: bool) -> None:
    if variant.is_interpreted and layout == "many":
        layout = "table"
    x, spans, drawn, _ = sample(layout, dtype, variant.device)
    noise = drawn if with_noise else None
    check(
        lambda x: fastgan.span_activations(x, spans, noise),
        lambda x: usual(x, spans, noise, None)[0],
        lambda x: usual(x, spans, noise, None)[0],
        [x],
    )


@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS.items() if layout[1]])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_with_conditions(variant: Backend, layout: str, dtype: torch.dtype) -> None:
    x, spans, noise, conditions = sample(layout, dtype, variant.device)

    def ours(x: Tensor) -> tuple[Tensor, Tensor]:
        return fastgan.span_activations(x, spans, noise, conditions)

    def by_pytorch(x: Tensor) -> tuple[Tensor, Tensor]:
        output, entropy = usual(x, spans, noise, conditions)
        return output, entropy.to(torch.float64 if x.dtype is torch.float64 else torch.float32)

    check(ours, by_pytorch, by_pytorch, [x])


def test_only_the_cross_entropy(variant: Backend) -> None:
    x, spans, noise, conditions = sample("table", torch.float32, variant.device)
    check(
        lambda x: fastgan.span_activations(x, spans, noise, conditions)[1],
        lambda x: usual(x, spans, noise, conditions)[1],
        lambda x: usual(x, spans, noise, conditions)[1],
        [x],
    )


def test_second_order(variant: Backend) -> None:
    x, spans, noise, conditions = sample("table", torch.float64, variant.device)
    x = x[:3].clone().requires_grad_()

    def each(x: Tensor) -> tuple[Tensor, Tensor]:
        return fastgan.span_activations(x, spans, noise[:3], conditions[:3], temperature=0.7)

    assert torch.autograd.gradcheck(each, [x])
    assert torch.autograd.gradgradcheck(each, [x])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rows_with_strides(variant: Backend, dtype: torch.dtype) -> None:
    """Activations go next to other columns, and their gradient comes from there, without a copy."""
    x, spans, noise, conditions = sample("table", dtype, variant.device)
    backend = choose(x)
    room = torch.full((len(x), spans.width + 5), 7.0, dtype=dtype, device=x.device)
    place = room[:, 2 : 2 + spans.width]
    found, entropy = backend.span_activations(x, spans, noise, 0.2, conditions, place)
    plain, same = backend.span_activations(x, spans, noise, 0.2, conditions)
    assert found.data_ptr() == place.data_ptr()
    assert torch.equal(place, plain)
    assert (room[:, [0, 1, -3, -2, -1]] == 7).all()
    assert entropy is not None
    assert same is not None
    assert torch.equal(entropy, same)
    grad = torch.randn(room.shape, device=x.device).to(dtype)
    incoming = grad[:, 2 : 2 + spans.width]
    scale = torch.tensor(0.5, device=x.device)
    call = scale, x, place, spans, 0.2, conditions
    expected = backend.span_activations_backward(incoming.contiguous(), scale, x, plain, *call[3:])
    assert torch.equal(backend.span_activations_backward(incoming, *call), expected)


def test_gumbel_noise_draws_with_the_probabilities(backend: Backend) -> None:
    """The shares of 40,000 draws are those of a softmax, within four standard deviations."""
    rows = 2_000 if backend.is_interpreted else 40_000
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0], device=backend.device)
    noise = torch.rand(rows, 4, generator=torch.Generator().manual_seed(0)).to(backend.device)
    drawn = fastgan.span_activations(
        logits.expand(rows, 4).contiguous(), Spans((4,)), noise, temperature=0.01
    )
    shares = F.one_hot(drawn.argmax(1), 4).double().mean(0)
    expected = logits.double().softmax(0)
    assert ((shares - expected).abs() < 4 * (expected * (1 - expected) / rows).sqrt()).all()


def test_the_ends_of_the_noise(variant: Backend) -> None:
    noise = torch.tensor([[0.0, 1 - 2.0**-24], [1 - 2.0**-24, 0.0], [0.0, 0.0]], device=variant.device)
    x = torch.zeros(3, 2, device=variant.device, requires_grad=True)
    output = fastgan.span_activations(x, Spans((2,)), noise)
    expected = usual(x.detach().double(), Spans((2,)), noise, None)[0]
    torch.testing.assert_close(output.detach().double(), expected, rtol=1e-5, atol=1e-12)
    (grad,) = torch.autograd.grad(output[:, 0].sum(), x)
    assert grad.isfinite().all()


def test_extreme_logits(variant: Backend) -> None:
    x = torch.tensor([[1e4, -1e4, 0.0, 1e4], [-1e4, -1e4, -1e4, -1e4]], device=variant.device)
    conditions = torch.tensor([1, 0], device=variant.device)
    spans = Spans((3, 1), (0,))
    x.requires_grad_()
    output, entropy = fastgan.span_activations(x, spans, None, conditions)
    assert_as_exact(entropy, entropy, torch.tensor((2e4 + math.log(3)) / 2, dtype=torch.float64).to(x.device))
    (grad,) = torch.autograd.grad(output.sum() + entropy, x)
    expected = torch.tensor([[0.5, -0.5, 0, 0], [-1 / 3, 1 / 6, 1 / 6, 0]], device=x.device)
    torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-6)


def test_nan_stays_in_its_row(variant: Backend) -> None:
    x, spans, noise, _ = sample("table", torch.float32, variant.device)
    x[3, 4] = math.nan
    output = fastgan.span_activations(x, spans, noise)
    assert output[3, 1:7].isnan().all()
    output[3, 1:7] = 0
    assert output.isfinite().all()


def test_no_rows(variant: Backend) -> None:
    spans = Spans((1, 3), (1,))
    x = torch.zeros(0, 4, device=variant.device, requires_grad=True)
    output, entropy = fastgan.span_activations(
        x, spans, torch.rand(0, 4, device=x.device), torch.zeros(0, dtype=torch.int64, device=x.device)
    )
    assert output.shape == (0, 4)
    assert entropy.item() == 0
    (output.sum() + entropy).backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 4)


def test_conditions_out_of_range_count_as_the_nearest(variant: Backend) -> None:
    x, spans, noise, conditions = sample("table", torch.float32, variant.device)
    last = spans.num_conditions - 1
    wild = torch.where(conditions < 3, -(2**40), 2**40)
    tame = torch.where(conditions < 3, 0, last)
    found, expected = (fastgan.span_activations(x, spans, noise, c)[1] for c in (wild, tame))
    assert torch.equal(found, expected)


def test_saves_only_the_output(backend: Backend) -> None:
    x, spans, noise, _conditions = sample("table", torch.float32, backend.device)
    if backend.name == "reference":
        pytest.skip("PyTorch differentiates the reference by itself")
    saved: list[Tensor] = []

    def keep(t: Tensor) -> Tensor:
        saved.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        fastgan.span_activations(x.requires_grad_(), spans, noise)
    assert [t.shape for t in saved] == [x.shape]


X = torch.zeros(2, 4)
S = Spans((1, 3), (1,))
C = torch.zeros(2, dtype=torch.int64)
WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "spans": (
        lambda: fastgan.span_activations(X, (1, 3)),
        TypeError,
        r"spans must be fastgan.Spans, but is tuple",
    ),  # type: ignore[arg-type]
    "width": (
        lambda: fastgan.span_activations(X[:, 1:], S),
        ValueError,
        r"input must be \[N, 4\], as the spans have 4 columns, but has shape \(2, 3\)",
    ),
    "noise": (
        lambda: fastgan.span_activations(X, S, X[:1]),
        ValueError,
        r"noise must have the shape of input",
    ),
    "noise dtype": (
        lambda: fastgan.span_activations(X, S, X.double()),
        TypeError,
        r"noise must be float32, but is torch.float64",
    ),
    "temperature": (
        lambda: fastgan.span_activations(X, S, temperature=0.0),
        ValueError,
        r"temperature must be positive and finite, but is 0.0",
    ),
    "conditions": (
        lambda: fastgan.span_activations(X, S, None, C[:1]),
        ValueError,
        r"conditions must have shape \(2,\), one for each row of input, but has \(1,\)",
    ),
    "dtype of conditions": (
        lambda: fastgan.span_activations(X, S, None, C.int()),
        TypeError,
        r"conditions must be an int64 tensor, but is torch.int32",
    ),
    "no discrete span": (
        lambda: fastgan.span_activations(X, Spans((1, 3)), None, C),
        ValueError,
        r"conditions are given, but spans.conditions is empty",
    ),
    "size": (lambda: Spans((1, 0)), ValueError, r"spans.sizes\[1\] is 0, expected a positive integer"),
    "no sizes": (lambda: Spans(()), ValueError, r"spans has no sizes"),
    "tanh as condition": (lambda: Spans((1, 3), (0,)), ValueError, r"spans.conditions has 0, expected"),
    "order": (lambda: Spans((2, 3), (1, 0)), ValueError, r"spans.conditions is \(1, 0\), expected ascending"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input(wrong: str) -> None:
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()
