"""Losses of several discriminators in one call: a sequence of tensors on each side."""

from __future__ import annotations

import pytest
import torch
from backends import Backend
from oracle import OTHER_LOSSES, assert_as_exact, by_reference
from torch import Tensor

import fastgan
from fastgan import kernels
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops import labelled_loss

# As a vocoder's: patches of several scales and periods. Two are empty or of one logit, one has a tail.
SHAPES = [(2, 1, 40), (2, 1, 20, 3), (2, 1100), (1,), (0, 3), (7,), (3, 5), (2, 2)]


def logits(backend: Backend, shapes: list[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    return [(3 * torch.randn(shape)).to(backend.device).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("loss", ["bce", *OTHER_LOSSES])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sequence_is_the_sum_of_its_parts(backend: Backend, loss: str, reduction: str) -> None:
    shapes = [shape for shape in SHAPES if 0 not in shape or reduction == "sum"]
    real, fake = logits(backend, shapes), logits(backend, shapes[::-1])
    label = 0.9 if loss == "bce" else 1.0
    settings = {"loss": loss, "reduction": reduction, "real_label": label}
    total, terms, stats = fastgan.discriminator_loss(
        real, fake, **settings, return_terms=True, return_stats=True
    )
    each = [
        fastgan.discriminator_loss(r, f, **settings, return_stats=True)
        for r, f in zip(real, fake, strict=True)
    ]
    torch.testing.assert_close(terms, torch.stack([value for value, _ in each]).detach())
    torch.testing.assert_close(total, torch.stack([value for value, _ in each]).sum())
    means = torch.stack([of[:2] for _, of in each]).t().flatten()
    torch.testing.assert_close(stats[:-1], means, equal_nan=True)
    ours = torch.autograd.grad(total, [*real, *fake])
    expected = torch.autograd.grad(sum(value for value, _ in each), [*real, *fake])
    torch.testing.assert_close(ours, expected)


def test_the_mean_over_discriminators(backend: Backend) -> None:
    shapes = SHAPES[:3]
    real, fake = logits(backend, shapes), logits(backend, shapes)
    for ours in (
        lambda over: fastgan.discriminator_loss(real, fake, over=over, return_terms=True),
        lambda over: fastgan.generator_loss(fake, over=over, return_terms=True),
        lambda over: fastgan.generator_loss(fake, saturating=True, over=over, return_terms=True),
        lambda over: fastgan.relativistic_loss(real, fake, over=over, return_terms=True),
        lambda over: fastgan.relativistic_loss(real, fake, average=True, over=over, return_terms=True),
    ):
        (total, terms), (mean, same) = ours("sum"), ours("mean")
        torch.testing.assert_close(total, terms.sum())
        torch.testing.assert_close(mean, terms.mean())
        torch.testing.assert_close(same, terms)
        assert not terms.requires_grad
        grads = [torch.autograd.grad(each, fake) for each in (total, mean)]
        torch.testing.assert_close([3 * g for g in grads[1]], list(grads[0]))


def test_terms_unreduced(backend: Backend) -> None:
    real, fake = logits(backend), logits(backend)
    on_real, on_fake = fastgan.discriminator_loss(real, fake, real_label=0.9, reduction="none")
    for found, label, side in ((on_real, 0.9, real), (on_fake, 0.0, fake)):
        assert isinstance(found, tuple)
        torch.testing.assert_close(list(found), [labelled_loss(t, label, reduction="none") for t in side])
    assert [t.shape for t in fastgan.generator_loss(fake, reduction="none")] == [t.shape for t in fake]
    first, second = fastgan.relativistic_loss(real, fake, average=True, reduction="none")
    assert [t.shape for t in (*first, *second)] == [t.shape for t in (*real, *fake)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_as_exact_as_pytorch(backend: Backend, dtype: torch.dtype) -> None:
    real, fake = ([t.detach().to(dtype) for t in logits(backend, SHAPES[:4])] for _ in range(2))

    def gradients(function, *sides: list[Tensor]) -> list[Tensor]:
        leaves = [[t.detach().requires_grad_() for t in side] for side in sides]
        loss = function(*leaves)
        return [loss, *torch.autograd.grad(loss, leaves[0] + leaves[1])]

    plain = by_reference(fastgan.discriminator_loss)
    exact = gradients(plain, *([t.double() for t in side] for side in (real, fake)))
    for ours, usual, truth in zip(
        gradients(fastgan.discriminator_loss, real, fake), gradients(plain, real, fake), exact, strict=True
    ):
        assert_as_exact(ours, usual, truth)


def test_more_than_fit_one_launch(backend: Backend) -> None:
    """70 tensors: GPU backends take several launches, and add the shares up in order."""
    if backend.name == "triton" and backend.is_interpreted:
        pytest.skip("slow in Triton's interpreter: each program looks at every tensor")
    many = tuple(t.detach() for t in logits(backend, [(n % 5 + 1,) for n in range(70)]))
    spec = LossSpec("bce", (1.0, 0.0) * 35, (1.0, -0.5) * 35, mean=True)
    ours = kernels.load(backend.name).loss(many, spec, torch.float32, True, True)
    plain = kernels.reference.loss(many, spec, torch.float32, True)
    torch.testing.assert_close(ours[:2], plain[:2])


X = torch.ones(3)
MISTAKES = {
    "empty": (lambda: fastgan.discriminator_loss([], []), r"real_logits is empty, expected a tensor"),
    "none generated": (lambda: fastgan.generator_loss([]), r"fake_logits is empty, expected a tensor"),
    "lengths": (
        lambda: fastgan.discriminator_loss([X, X], [X]),
        r"real_logits has 2 tensors and fake_logits has 1, expected the same number, one per discriminator",
    ),
    "a tensor and a sequence": (
        lambda: fastgan.relativistic_loss(X, [X, X]),
        r"logits has 1 tensors and other_logits has 2, expected the same number",
    ),
    "dtypes": (
        lambda: fastgan.discriminator_loss([X, X.double()], [X, X]),
        r"real_logits\[1\] is torch.float64 but real_logits\[0\] torch.float32",
    ),
    "devices": (
        lambda: fastgan.discriminator_loss([X, X], [X, X.to("meta")]),
        r"fake_logits\[1\] is on meta but real_logits on cpu; move one",
    ),
    "no tensor": (
        lambda: fastgan.generator_loss([X, 3.0]),
        r"fake_logits\[1\] must be a torch.Tensor, but is float",
    ),
    "over": (lambda: fastgan.generator_loss([X], over="max"), r"over must be 'sum' or 'mean', but is 'max'"),
    "terms of terms": (
        lambda: fastgan.generator_loss([X], reduction="none", return_terms=True),
        r"return_terms must be False for reduction='none'",
    ),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_modules_take_sequences(backend: Backend) -> None:
    real, fake = logits(backend, SHAPES[:2]), logits(backend, SHAPES[:2])
    of_d, of_g = fastgan.nn.DiscriminatorLoss(over="mean"), fastgan.nn.GeneratorLoss(over="mean")
    torch.testing.assert_close(of_d(real, fake), fastgan.discriminator_loss(real, fake) / 2)
    torch.testing.assert_close(of_g(fake), fastgan.generator_loss(fake) / 2)


@pytest.mark.parametrize("loss", ["bce", *OTHER_LOSSES])
def test_a_head_of_any_loss(backend: Backend, loss: str) -> None:
    real, fake = logits(backend, [(9, 6), (4, 6)])
    weight, bias = logits(backend, [(1, 6), (1,)])
    ours = fastgan.discriminator_head_loss(real, fake, weight, bias, loss=loss)
    layers = [torch.nn.functional.linear(h, weight, bias) for h in (real, fake)]
    plain = by_reference(fastgan.discriminator_loss)(*layers, loss=loss)
    torch.testing.assert_close(ours, plain)
    leaves = real, fake, weight, bias
    torch.testing.assert_close(torch.autograd.grad(ours, leaves), torch.autograd.grad(plain, leaves))
