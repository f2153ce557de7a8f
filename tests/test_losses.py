"""Values and gradients of the losses, in every form."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from backends import INSTRUCTION_SETS, Backend
from oracle import (
    DTYPES,
    OTHER_LOSSES,
    REDUCTIONS,
    assert_as_exact,
    by_reference,
    check,
    eager_discriminator_loss,
    eager_generator_loss,
    evaluate,
)
from tables import cases, scales, views_and_dtypes
from torch import Tensor

import fastgan
from fastgan import _cpu
from fastgan.kernels import logit_losses
from fastgan.ops import (
    discriminator_loss_value_and_grad,
    generator_loss_value_and_grad,
    labelled_loss,
    relativistic_loss_value_and_grad,
)

Shape = tuple[int, ...]
# Around a lane row (64), a tile (1024), a chunk (16384) and the size from which threads share (32768).
FEW_SHAPES: list[Shape] = [(1025,)]
MORE_SHAPES: list[Shape] = [(), (0,), (1,), (15,), (64,), (65,), (1023,), (16385,), (40, 1), (4, 1, 7, 7)]
# The interpreter has enough with tensors of three tiles.
LONG_SHAPES: list[Shape] = [(16383,), (40000,)]
FEW_PAIRS: list[tuple[Shape, Shape]] = [((1025,), (16385,))]  # one range, and several
MORE_PAIRS = [*((s, s) for s in MORE_SHAPES), ((40,), (40, 1)), ((5,), (16385,)), ((7,), (0,))]
LONG_PAIRS = [(s, s) for s in LONG_SHAPES]

# A sum differs from a mean by a factor, for which the tests of value and gradient are enough. Labels of one
# and of zero have kernels of their own on a GPU.
label_and_reduction = pytest.mark.parametrize(
    ("real_label", "reduction"), [(1.0, "mean"), (1.0, "none"), (0.9, "mean"), (0.9, "none"), (0.0, "mean")]
)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def logits(shape: Shape, dtype: torch.dtype, device: str) -> Tensor:
    return (torch.randn(shape) * 3).to(device, dtype)


def sigmoid_stats(*tensors: Tensor) -> Tensor:
    exact = [t.double() for t in tensors]
    saturated = torch.cat([(torch.sigmoid(-t.abs()) < 1e-3).flatten() for t in exact])
    return torch.stack([*(torch.sigmoid(t).mean() for t in exact), saturated.double().mean()]).float()


@label_and_reduction
@pytest.mark.parametrize(("dtype", "shapes"), cases(FEW_PAIRS))
def test_discriminator_loss(
    variant: Backend, dtype: torch.dtype, real_label: float, reduction: str, shapes: tuple[Shape, Shape]
) -> None:
    check_discriminator_loss(variant, dtype, real_label, reduction, shapes)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(("dtype", "shapes"), cases([], MORE_PAIRS, LONG_PAIRS))
def test_discriminator_loss_of_any_size(
    variant: Backend, dtype: torch.dtype, reduction: str, shapes: tuple[Shape, Shape]
) -> None:
    check_discriminator_loss(variant, dtype, 1.0, reduction, shapes)


def check_discriminator_loss(
    variant: Backend, dtype: torch.dtype, real_label: float, reduction: str, shapes: tuple[Shape, Shape]
) -> None:
    def ours(real: Tensor, fake: Tensor) -> Tensor | tuple[Tensor, ...]:
        return fastgan.discriminator_loss(real, fake, real_label=real_label, reduction=reduction)

    check(
        ours,
        lambda real, fake: eager_discriminator_loss(real, fake, real_label, reduction),
        lambda real, fake: by_reference(fastgan.discriminator_loss)(
            real, fake, real_label=real_label, reduction=reduction
        ),
        [logits(shape, dtype, variant.device) for shape in shapes],
    )


@pytest.mark.parametrize(
    ("saturating", "reduction"), [(False, "mean"), (False, "none"), (True, "mean"), (True, "none")]
)
@pytest.mark.parametrize(("dtype", "shape"), cases(FEW_SHAPES))
def test_generator_loss(
    variant: Backend, dtype: torch.dtype, saturating: bool, reduction: str, shape: Shape
) -> None:
    check_generator_loss(variant, dtype, saturating, reduction, shape)


@pytest.mark.parametrize(("dtype", "shape"), cases([], MORE_SHAPES, LONG_SHAPES))
def test_generator_loss_of_any_size(variant: Backend, dtype: torch.dtype, shape: Shape) -> None:
    check_generator_loss(variant, dtype, False, "mean", shape)


def check_generator_loss(
    variant: Backend, dtype: torch.dtype, saturating: bool, reduction: str, shape: Shape
) -> None:
    check(
        lambda fake: fastgan.generator_loss(fake, saturating=saturating, reduction=reduction),
        lambda fake: eager_generator_loss(fake, saturating, reduction),
        lambda fake: by_reference(fastgan.generator_loss)(fake, saturating=saturating, reduction=reduction),
        [logits(shape, dtype, variant.device)],
    )


@pytest.mark.parametrize(("real_label", "reduction"), [(1.0, "mean"), (0.9, "sum"), (0.0, "mean")])
@pytest.mark.parametrize(
    ("dtype", "shapes"), cases([((1025,), (7,))], [(shape, (7,)) for shape in ((), (0,), (16385,))])
)
def test_discriminator_loss_value_and_grad(
    variant: Backend, dtype: torch.dtype, real_label: float, reduction: str, shapes: tuple[Shape, Shape]
) -> None:
    inputs = [logits(shape, dtype, variant.device) for shape in shapes]
    scale = torch.tensor(0.75, dtype=dtype, device=variant.device)
    *ours, stats = discriminator_loss_value_and_grad(
        *inputs, real_label=real_label, reduction=reduction, scale=scale
    )
    eager = evaluate(lambda r, f: eager_discriminator_loss(r, f, real_label, reduction), inputs, [scale])
    exact = evaluate(
        lambda r, f: by_reference(fastgan.discriminator_loss)(
            r, f, real_label=real_label, reduction=reduction
        ),
        [t.double() for t in inputs],
        [scale.double()],
    )
    for each in zip(ours, eager, exact, strict=True):
        assert_as_exact(*each)
    torch.testing.assert_close(stats, sigmoid_stats(*inputs), equal_nan=True)


@pytest.mark.parametrize(("saturating", "reduction"), [(False, "mean"), (True, "sum")])
@pytest.mark.parametrize(("dtype", "shape"), cases([(1025,)], [(), (0,), (65,), (16385,)]))
def test_generator_loss_value_and_grad(
    variant: Backend, dtype: torch.dtype, saturating: bool, reduction: str, shape: Shape
) -> None:
    fake = logits(shape, dtype, variant.device)
    *ours, stats = generator_loss_value_and_grad(fake, saturating=saturating, reduction=reduction)
    one = torch.ones((), dtype=dtype, device=variant.device)
    eager = evaluate(lambda f: eager_generator_loss(f, saturating, reduction), [fake], [one])
    exact = evaluate(
        lambda f: by_reference(fastgan.generator_loss)(f, saturating=saturating, reduction=reduction),
        [fake.double()],
        [one.double()],
    )
    for each in zip(ours, eager, exact, strict=True):
        assert_as_exact(*each)
    torch.testing.assert_close(stats, sigmoid_stats(fake), equal_nan=True)


@pytest.mark.parametrize("loss", OTHER_LOSSES)
@pytest.mark.parametrize(("dtype", "shapes"), cases([((1025,), (4, 1))], [((), (0,))]))
def test_other_losses(variant: Backend, dtype: torch.dtype, loss: str, shapes: tuple[Shape, Shape]) -> None:
    """Each row of the table in every form; in float64 PyTorch's own arithmetic is the oracle."""
    inputs = [logits(shape, dtype, variant.device) for shape in shapes]
    for reduction in REDUCTIONS:
        eager = partial(eager_discriminator_loss, reduction=reduction, loss=loss)
        check(partial(fastgan.discriminator_loss, reduction=reduction, loss=loss), eager, eager, inputs)
        eager = partial(eager_generator_loss, reduction=reduction, loss=loss)
        check(partial(fastgan.generator_loss, reduction=reduction, loss=loss), eager, eager, inputs[:1])
    scale = torch.tensor(0.75, dtype=dtype, device=variant.device)
    for reduction in ("mean", "sum"):
        eager = partial(eager_discriminator_loss, reduction=reduction, loss=loss)
        *ours, stats = discriminator_loss_value_and_grad(*inputs, loss=loss, reduction=reduction, scale=scale)
        usual, exact = (
            evaluate(eager, [t.to(wide) for t in inputs], [scale.to(wide)]) for wide in (dtype, torch.float64)
        )
        for each in zip(ours, usual, exact, strict=True):
            assert_as_exact(*each)
        torch.testing.assert_close(stats, logit_stats(loss, *inputs), equal_nan=True)
    *_, stats = fastgan.discriminator_loss(*inputs, loss=loss, reduction="none", return_stats=True)
    torch.testing.assert_close(stats, logit_stats(loss, *inputs), equal_nan=True)


@pytest.mark.parametrize("loss", ["least-squares", "mse"])
def test_labels_of_least_squares_are_any_number(variant: Backend, loss: str) -> None:
    """Mao et al. 2017, eq. 8: a = -1, b = 1."""
    inputs = [logits(shape, torch.float32, variant.device) for shape in ((1025,), (4, 1))]
    factor = {"least-squares": 0.5, "mse": 1.0}[loss]

    def eager(real: Tensor, fake: Tensor) -> Tensor:
        return factor * ((real - 2.5).square().mean() + (fake + 1).square().mean())

    check(
        partial(fastgan.discriminator_loss, loss=loss, real_label=2.5, fake_label=-1.0), eager, eager, inputs
    )
    on_fake = fastgan.labelled_loss(inputs[1], -1.0, loss=loss)
    torch.testing.assert_close(on_fake, factor * (inputs[1] + 1).square().mean())


def test_labels_of_both_sides_of_cross_entropy(variant: Backend) -> None:
    real, fake = (logits(shape, torch.float32, variant.device) for shape in ((1025,), (4, 1)))
    ours = fastgan.discriminator_loss(real, fake, real_label=0.9, fake_label=0.2)
    on_real, on_fake = (
        F.binary_cross_entropy_with_logits(t, torch.full_like(t, label))
        for t, label in ((real, 0.9), (fake, 0.2))
    )
    torch.testing.assert_close(ours, on_real + on_fake)
    terms = fastgan.discriminator_loss(real, fake, real_label=0.9, fake_label=0.2, reduction="none")
    torch.testing.assert_close(terms[1].mean(), on_fake)
    torch.testing.assert_close(fastgan.nn.DiscriminatorLoss(real_label=0.9, fake_label=0.2)(real, fake), ours)


@pytest.mark.parametrize("loss", ["bce", "mse", "hinge-margin", "wasserstein"])
@pytest.mark.parametrize("over", ["sum", "mean"])
def test_labelled_losses_of_several_discriminators(backend: Backend, loss: str, over: str) -> None:
    """Together with the other label they are D's loss; each discriminator's is that of its own tensor."""
    real, fake = ([logits((n, 3), torch.float32, backend.device) for n in (2, 5)] for _ in range(2))
    whole, terms = fastgan.discriminator_loss(real, fake, loss=loss, over=over, return_terms=True)
    parts = [
        fastgan.labelled_loss(side, label, loss=loss, over=over, return_terms=True)
        for side, label in ((real, 1.0), (fake, 0.0))
    ]
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole)
    torch.testing.assert_close(parts[0][1] + parts[1][1], terms)
    alone = torch.stack([fastgan.labelled_loss(t, 1.0, loss=loss) for t in real])
    torch.testing.assert_close(parts[0][1], alone)
    each = fastgan.labelled_loss(real, 1.0, loss=loss, over=over, reduction="none")
    torch.testing.assert_close(sum(t.mean() for t in each), parts[0][0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_relativistic_loss_with_detached_means(backend: Backend, dtype: torch.dtype) -> None:
    """The usual form: each side's mean is a constant for the other."""
    inputs = [logits(shape, dtype, backend.device) for shape in ((257,), (3, 5))]

    def usual(a: Tensor, b: Tensor) -> Tensor:
        wide = torch.promote_types(a.dtype, torch.float32)
        a, b = a.to(wide), b.to(wide)
        return eager_discriminator_loss(a - b.detach().mean(), b - a.detach().mean()).to(inputs[0].dtype)

    ours = partial(fastgan.relativistic_loss, average=True, detach_means=True)
    for each in zip(
        evaluate(ours, inputs, [torch.tensor(1.0, dtype=dtype, device=backend.device)]),
        evaluate(usual, inputs, [torch.tensor(1.0, dtype=dtype, device=backend.device)]),
        strict=True,
    ):
        torch.testing.assert_close(*each)
    loss, *grads, _ = relativistic_loss_value_and_grad(*inputs, average=True, detach_means=True)
    for each in zip([loss, *grads], evaluate(ours, inputs, [torch.ones_like(loss)]), strict=True):
        torch.testing.assert_close(*each)


def logit_stats(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """Mean logits, and the share of those beyond the hinge's margin."""
    real, fake = real.double(), fake.double()
    beyond = torch.cat([(real >= 1).flatten(), (fake <= -1).flatten()]).double().mean()
    return torch.stack([real.mean(), fake.mean(), beyond * loss.startswith("hinge")]).float()


@pytest.mark.parametrize(
    ("dtype", "average", "shapes"),
    [
        *[(dtype, False, ((130,), (130,))) for dtype in DTYPES],
        *[(dtype, True, ((257,), (3, 5))) for dtype in DTYPES],
        *[(torch.float32, average, (s, s)) for average in (False, True) for s in ((), (0,))],
    ],
    ids=str,
)
def test_relativistic_loss(
    backend: Backend, dtype: torch.dtype, average: bool, shapes: tuple[Shape, Shape]
) -> None:
    inputs = [logits(shape, dtype, backend.device) for shape in shapes]
    for reduction in REDUCTIONS:
        plain = partial(by_reference(fastgan.relativistic_loss), average=average, reduction=reduction)
        check(partial(fastgan.relativistic_loss, average=average, reduction=reduction), plain, plain, inputs)
    scale = torch.tensor(0.75, dtype=dtype, device=backend.device)
    for reduction in ("mean", "sum"):
        plain = partial(by_reference(fastgan.relativistic_loss), average=average, reduction=reduction)
        *ours, stats = relativistic_loss_value_and_grad(
            *inputs, average=average, reduction=reduction, scale=scale
        )
        usual, exact = (
            evaluate(plain, [t.to(wide) for t in inputs], [scale.to(wide)]) for wide in (dtype, torch.float64)
        )
        for each in zip(ours, usual, exact, strict=True):
            assert_as_exact(*each)
    a, b = (t.double() for t in inputs)
    expected = sigmoid_stats(a - b.mean(), b - a.mean()) if average else sigmoid_stats(a - b)
    torch.testing.assert_close(stats, expected, equal_nan=True, rtol=1e-4, atol=1e-5)


@dtypes
def test_targets_of_least_squares(backend: Backend, dtype: torch.dtype) -> None:
    real, fake = (logits((65,), dtype, backend.device) for _ in range(2))

    def eager(real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * ((real - 0.875) ** 2).mean() + 0.5 * (fake**2).mean()

    check(
        partial(fastgan.discriminator_loss, loss="least-squares", real_label=0.875),
        eager,
        eager,
        [real, fake],
    )


def test_the_compiled_losses_are_those_of_the_table() -> None:
    """Number by number: a term at t = 0.25, under either label, says which loss it is."""
    expected = {
        "bce": (0.5759, 0.8259),
        "hinge": (0.75, 1.25),
        "least-squares": (0.28125, 0.03125),
        "wasserstein": (-0.25, 0.25),
    }
    assert list(expected) == list(logit_losses.LOSSES)[: len(expected)]
    t = torch.tensor(0.25)
    with fastgan.use_backend("cpu" if INSTRUCTION_SETS else "reference"):
        for loss, values in expected.items():
            terms = fastgan.discriminator_loss(t, t, loss=loss, reduction="none")
            assert [term.item() for term in terms] == pytest.approx(values, abs=1e-4)


@scales
def test_scale_of_another_dtype_or_shape(
    backend: Backend, dtype: torch.dtype, scale_dtype: torch.dtype, scale_shape: Shape
) -> None:
    fake = logits((15,), dtype, backend.device)
    scale = torch.full(scale_shape, 4.0, dtype=scale_dtype, device=backend.device)
    loss, grad, _ = generator_loss_value_and_grad(fake, scale=scale)
    plain_loss, plain_grad, _ = generator_loss_value_and_grad(fake)
    assert torch.equal(loss, plain_loss)
    assert grad.shape == fake.shape
    torch.testing.assert_close(grad, plain_grad * 4)


@pytest.mark.parametrize("reduction", ["mean", "none"])  # one pass, and two
@pytest.mark.parametrize(("dtype", "shapes"), cases([((1025,), (3, 5))], [((), ())], [((40000,), (40000,))]))
def test_return_stats(
    backend: Backend, dtype: torch.dtype, reduction: str, shapes: tuple[Shape, Shape]
) -> None:
    real, fake = (logits(shape, dtype, backend.device).requires_grad_() for shape in shapes)
    *values, stats = fastgan.discriminator_loss(real, fake, reduction=reduction, return_stats=True)
    assert not stats.requires_grad
    torch.testing.assert_close(stats, sigmoid_stats(real, fake))
    without = fastgan.discriminator_loss(real, fake, reduction=reduction)
    torch.testing.assert_close(tuple(values), without if reduction == "none" else (without,))
    value, stats = fastgan.generator_loss(fake, reduction=reduction, return_stats=True)
    assert not stats.requires_grad
    torch.testing.assert_close(stats, sigmoid_stats(fake))
    torch.testing.assert_close(value, fastgan.generator_loss(fake, reduction=reduction))


@views_and_dtypes
@pytest.mark.parametrize("shape", [(33, 31), pytest.param((200, 170), marks=pytest.mark.long)], ids=str)
def test_strides(
    backend: Backend, dtype: torch.dtype, view: Callable[[Tensor], Tensor], shape: Shape
) -> None:
    inputs = [view(logits(shape, dtype, backend.device)) for _ in range(2)]
    for reduction in ("mean", "none"):
        check(
            partial(fastgan.discriminator_loss, reduction=reduction),
            partial(eager_discriminator_loss, reduction=reduction),
            partial(by_reference(fastgan.discriminator_loss), reduction=reduction),
            inputs,
        )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_incoming_gradient_of_any_kind(backend: Backend, reduction: str) -> None:
    """A loss that is scaled, expanded and summed passes zero-stride gradients back."""
    fake = torch.randn(65, device=backend.device, requires_grad=True)
    (ours,) = torch.autograd.grad(fastgan.generator_loss(fake, reduction=reduction).expand(3).sum() * 2, fake)
    (eager,) = torch.autograd.grad(eager_generator_loss(fake, reduction=reduction) * 6, fake)
    torch.testing.assert_close(ours, eager)


def test_one_term_of_the_pair_unused(backend: Backend) -> None:
    real, fake = (torch.randn(5, device=backend.device, requires_grad=True) for _ in range(2))
    _, on_fake = fastgan.discriminator_loss(real, fake, reduction="none")
    grad_real, grad_fake = torch.autograd.grad(on_fake.sum(), [real, fake], allow_unused=True)
    torch.testing.assert_close(grad_fake, fake.sigmoid())
    assert grad_real is None or not grad_real.any()


def test_saturated_means_the_same_everywhere() -> None:
    assert math.log(999) == pytest.approx(logit_losses.SATURATED_LOGIT, rel=1e-15)
    if INSTRUCTION_SETS:
        assert _cpu.SATURATED_LOGIT == logit_losses.SATURATED_LOGIT


def eager_labelled_loss(t: Tensor, label: float, loss: str, reduction: str) -> Tensor:
    """As it is usually written."""
    if loss == "bce":
        return F.binary_cross_entropy_with_logits(t, torch.full_like(t, label), reduction=reduction)
    terms = {
        "hinge": lambda: F.relu(1 + t if label == 0 else 1 - t),
        "least-squares": lambda: 0.5 * (t - label) ** 2,
        "wasserstein": lambda: t if label == 0 else -t,
    }[loss]()
    return terms if reduction == "none" else getattr(terms, reduction)()


@pytest.mark.parametrize(
    ("dtype", "reduction"),
    [(torch.float32, "mean"), (torch.float32, "none"), (torch.bfloat16, "mean")],
    ids=str,
)
@pytest.mark.parametrize(
    ("loss", "label"),
    [("bce", 1.0), ("bce", 0.3), ("bce", 0.0), ("hinge", 0.0), ("least-squares", -1.5), ("wasserstein", 1.0)],
)
def test_labelled_loss(backend: Backend, dtype: torch.dtype, reduction: str, loss: str, label: float) -> None:
    check(
        lambda t: labelled_loss(t, label, loss=loss, reduction=reduction),
        lambda t: eager_labelled_loss(t, label, loss, reduction),
        lambda t: by_reference(fastgan.ops.labelled_loss)(t, label, reduction=reduction, loss=loss),
        [logits((1025,), dtype, backend.device)],
    )
