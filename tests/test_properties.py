"""Shapes, strides and values that nobody thought of."""

from __future__ import annotations

import torch
from backends import BACKENDS, Backend
from conftest import running_on
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import DTYPES, VIEWS, assert_as_exact, by_reference, eager_discriminator_loss, evaluate
from torch import Tensor

import fastgan

LIGHT = settings(max_examples=120, deadline=None, derandomize=True)
backends = st.sampled_from([b for b in BACKENDS if b.why_not is None])
dtypes = st.sampled_from(DTYPES)
# Up to where float16 still holds a mean over such logits.
values = st.floats(-3e4, 3e4) | st.sampled_from([0.0, -0.0, 1e-30, -1e-30, 20.0, -20.0, 88.0, -104.0])


@st.composite
def tensors(draw: st.DrawFn, dtype: torch.dtype, device: str, least_dim: int = 0) -> Tensor:
    shape = draw(st.lists(st.integers(1, 9), min_size=least_dim, max_size=4))
    few = draw(st.lists(values, min_size=1, max_size=7))
    count = torch.Size(shape).numel()
    tensor = torch.tensor(few, dtype=torch.float64).repeat(count)[:count].view(shape).to(device, dtype)
    if not shape:
        return tensor
    tensor = draw(st.sampled_from([lambda t: t, *VIEWS.values()]))(tensor)
    return tensor.permute(draw(st.permutations(range(len(shape)))))


@LIGHT
@given(st.data(), backends, dtypes, st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.sampled_from(["mean", "none"]))
def test_discriminator_loss(
    data: st.DataObject, backend: Backend, dtype: torch.dtype, real_label: float, reduction: str
) -> None:
    inputs = [data.draw(tensors(dtype, backend.device)) for _ in range(2)]
    options = {"real_label": real_label, "reduction": reduction}
    double = [t.double() for t in inputs]
    expected = by_reference(fastgan.discriminator_loss)(*double, **options)
    cotangents = [torch.ones_like(t, dtype=dtype) for t in (expected if reduction == "none" else [expected])]
    with running_on(backend):
        ours = evaluate(lambda r, f: fastgan.discriminator_loss(r, f, **options), inputs, cotangents)
    eager = evaluate(lambda r, f: eager_discriminator_loss(r, f, **options), inputs, cotangents)
    exact = evaluate(
        lambda r, f: by_reference(fastgan.discriminator_loss)(r, f, **options),
        double,
        [c.double() for c in cotangents],
    )
    for each in zip(ours, eager, exact, strict=True):
        assert_as_exact(*each)


@LIGHT
@given(st.data(), backends, dtypes, st.sampled_from(["mean", "none"]))
def test_reconstruction_loss(
    data: st.DataObject, backend: Backend, dtype: torch.dtype, reduction: str
) -> None:
    input = data.draw(tensors(dtype, backend.device))
    reconstruction = torch.tensor(data.draw(values), dtype=torch.float64).to(input) * input
    inputs, double = [input, reconstruction], [input.double(), reconstruction.double()]
    assume(reconstruction.isfinite().all())
    cotangents = [torch.ones_like(input.sum() if reduction == "mean" else input)]

    def reference(x: Tensor, y: Tensor) -> Tensor:
        return by_reference(fastgan.reconstruction_loss)(x, y, reduction=reduction)

    with running_on(backend):
        ours = evaluate(
            lambda x, y: fastgan.reconstruction_loss(x, y, reduction=reduction), inputs, cotangents
        )
    eager = evaluate(reference, inputs, cotangents)
    exact = evaluate(reference, double, [c.double() for c in cotangents])
    for each in zip(ours, eager, exact, strict=True):
        assert_as_exact(*each)


@LIGHT
@given(st.data(), backends, dtypes, st.sampled_from([0.0, 0.01, 0.2, 1.0]), st.booleans())
def test_bias_leaky_relu(
    data: st.DataObject, backend: Backend, dtype: torch.dtype, negative_slope: float, with_bias: bool
) -> None:
    input = data.draw(tensors(dtype, backend.device, least_dim=1))
    dim = data.draw(st.integers(-input.dim(), input.dim() - 1))
    inputs = [input]
    if with_bias:
        inputs.append(torch.linspace(-1, 1, input.shape[dim]).to(input))
    cotangent = torch.ones(input.shape, dtype=dtype, device=backend.device)

    def reference(x: Tensor, b: Tensor | None = None) -> Tensor:
        return by_reference(fastgan.bias_leaky_relu)(x, b, negative_slope, dim=dim)

    with running_on(backend):
        ours = evaluate(
            lambda x, b=None: fastgan.bias_leaky_relu(x, b, negative_slope, dim=dim), inputs, [cotangent]
        )
    eager = evaluate(reference, inputs, [cotangent])
    exact = evaluate(reference, [t.double() for t in inputs], [cotangent.double()])
    for each in zip(ours, eager, exact, strict=True):
        assert_as_exact(*each)
