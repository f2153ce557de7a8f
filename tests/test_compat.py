"""fastgan.compat: each adapter is the function of its library, in value and gradient."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
import types
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.compat import lightning, mimicry, pytorch, studiogan, stylegan, tf_gan, torchgan
from fastgan.ops import labelled_loss

Loss = Callable[..., Tensor]


def log_sigmoid(t: Tensor) -> Tensor:
    return -torch.log1p(torch.exp(-t))


def bce(t: Tensor, label: float) -> Tensor:
    return -label * log_sigmoid(t) - (1 - label) * log_sigmoid(-t)


def tf_cross_entropy(t: Tensor, label: float, smoothing: float = 0.0) -> Tensor:
    """tf.compat.v1.losses.sigmoid_cross_entropy, and its way to smooth labels."""
    return bce(t, label * (1 - smoothing) + 0.5 * smoothing).mean()


def tf_discriminator(r: Tensor, f: Tensor, s: float = 0.25) -> Tensor:
    return tf_cross_entropy(r, 1, s) + tf_cross_entropy(f, 0)


# ours; and as the library writes it
OF_THE_DISCRIMINATOR: dict[str, tuple[Loss, Loss]] = {
    "tf_gan.minimax": (tf_gan.minimax_discriminator_loss, tf_discriminator),
    "tf_gan.minimax, 0.1": (
        lambda r, f: tf_gan.minimax_discriminator_loss(r, f, 0.1),
        lambda r, f: tf_discriminator(r, f, 0.1),
    ),
    "tf_gan.modified": (tf_gan.modified_discriminator_loss, tf_discriminator),
    "torchgan": (torchgan.minimax_discriminator_loss, lambda r, f: bce(r, 1).mean() + bce(f, 0).mean()),
    "torchgan, 0.1": (
        lambda r, f: torchgan.minimax_discriminator_loss(r, f, 0.1, "sum"),
        lambda r, f: bce(r, 0.9).sum() + bce(f, 0).sum(),
    ),
    "torchgan, none": (
        lambda r, f: torchgan.minimax_discriminator_loss(r, f, reduction="none"),
        lambda r, f: bce(r, 1) + bce(f, 0),
    ),
    "studiogan.vanilla": (
        lambda r, f: studiogan.d_vanilla(r, f, False),
        lambda r, f: torch.log1p(torch.exp(-r)).mean() + torch.log1p(torch.exp(f)).mean(),
    ),
    "studiogan.logistic": (
        studiogan.d_logistic,
        lambda r, f: (torch.log1p(torch.exp(-r)) + torch.log1p(torch.exp(f))).mean(),
    ),
    "studiogan.vanilla, before": (  # the docstring's remark
        lambda r, f: studiogan.d_vanilla(r, f - 1),
        lambda r, f: -(log_sigmoid(r) + log_sigmoid(1 - f)).mean(),
    ),
    "mimicry": (
        lambda r, f: mimicry.minimax_loss_dis(f, r),
        lambda r, f: bce(r, 1).mean() + bce(f, 0).mean(),
    ),
    "mimicry, labels": (
        lambda r, f: mimicry.minimax_loss_dis(f, r, 0.9, 0.1, reduction="sum"),
        lambda r, f: bce(r, 0.9).sum() + bce(f, 0.1).sum(),
    ),
    "stylegan": (
        stylegan.d_logistic_loss,
        lambda r, f: torch.log1p(torch.exp(-r)).mean() + torch.log1p(torch.exp(f)).mean(),
    ),
    "stylegan.softplus": (
        lambda r, f: stylegan.softplus(f).mean() + stylegan.softplus(-r).mean(),
        lambda r, f: torch.log1p(torch.exp(f)).mean() + torch.log1p(torch.exp(-r)).mean(),
    ),
    "lightning": (lightning.discriminator_loss, lambda r, f: (bce(r, 1).mean() + bce(f, 0).mean()) / 2),
    "lightning.adversarial_loss": (
        lambda r, f: (lightning.adversarial_loss(r, 1.0) + lightning.adversarial_loss(f, 0.0)) / 2,
        lambda r, f: (bce(r, 1).mean() + bce(f, 0).mean()) / 2,
    ),
    "pytorch": (
        lambda r, f: pytorch.BCEWithLogitsLoss()(r, 1.0) + pytorch.BCEWithLogitsLoss(reduction="sum")(f, 0.2),
        lambda r, f: bce(r, 1).mean() + bce(f, 0.2).sum(),
    ),
    "tf_gan.wasserstein": (tf_gan.wasserstein_discriminator_loss, lambda r, f: f.mean() - r.mean()),
    "tf_gan.hinge": (
        tf_gan.wasserstein_hinge_discriminator_loss,
        lambda r, f: (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(),
    ),
    "tf_gan.least_squares": (
        tf_gan.least_squares_discriminator_loss,
        lambda r, f: ((r - 1) ** 2 / 2).mean() + (f**2 / 2).mean(),
    ),
    "tf_gan.least_squares, labels": (
        lambda r, f: tf_gan.least_squares_discriminator_loss(r, f, 2.0, -1.0),
        lambda r, f: ((r - 2) ** 2 / 2).mean() + ((f + 1) ** 2 / 2).mean(),
    ),
    "torchgan.wasserstein": (torchgan.wasserstein_discriminator_loss, lambda r, f: (f - r).mean()),
    "torchgan.wasserstein, none": (
        lambda r, f: torchgan.wasserstein_discriminator_loss(r, f, "none"),
        lambda r, f: f - r,
    ),
    "torchgan.least_squares": (
        torchgan.least_squares_discriminator_loss,
        lambda r, f: 0.5 * (((r - 1) ** 2).mean() + (f**2).mean()),
    ),
    "torchgan.least_squares, labels": (
        lambda r, f: torchgan.least_squares_discriminator_loss(r, f, -1.0, 1.0, "sum"),
        lambda r, f: 0.5 * (((r - 1) ** 2).sum() + ((f + 1) ** 2).sum()),
    ),
    "studiogan.hinge": (
        studiogan.d_hinge,
        lambda r, f: (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(),
    ),
    "studiogan.wasserstein": (studiogan.d_wasserstein, lambda r, f: (f - r).mean()),
    "studiogan.ls": (studiogan.d_ls, lambda r, f: (0.5 * (r - 1) ** 2 + 0.5 * f**2).mean()),
    "mimicry.hinge": (
        lambda r, f: mimicry.hinge_loss_dis(f, r),
        lambda r, f: (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(),
    ),
    "mimicry.wasserstein": (mimicry.wasserstein_loss_dis, lambda r, f: f.mean() - r.mean()),
}

OF_THE_GENERATOR: dict[str, tuple[Loss, Loss]] = {
    "tf_gan.minimax": (
        tf_gan.minimax_generator_loss,
        lambda f: -tf_discriminator(torch.ones_like(f), f, 0.0),
    ),
    "tf_gan.minimax, 0.2": (
        lambda f: tf_gan.minimax_generator_loss(f, 0.2),
        lambda f: -tf_discriminator(torch.ones_like(f), f, 0.2),
    ),
    "tf_gan.modified": (tf_gan.modified_generator_loss, lambda f: tf_cross_entropy(f, 1)),
    "tf_gan.modified, 0.2": (
        lambda f: tf_gan.modified_generator_loss(f, 0.2),
        lambda f: tf_cross_entropy(f, 1, 0.2),
    ),
    "torchgan": (torchgan.minimax_generator_loss, lambda f: bce(f, 1).mean()),
    "torchgan, saturating": (
        lambda f: torchgan.minimax_generator_loss(f, False, "sum"),
        lambda f: -bce(f, 0).sum(),
    ),
    "studiogan.vanilla": (studiogan.g_vanilla, lambda f: torch.log1p(torch.exp(-f)).mean()),
    "studiogan.logistic": (
        lambda f: studiogan.g_logistic(f, DDP=True),
        lambda f: torch.log1p(torch.exp(-f)).mean(),
    ),
    "mimicry": (mimicry.minimax_loss_gen, lambda f: bce(f, 1).mean()),
    "mimicry, label": (
        lambda f: mimicry.minimax_loss_gen(f, 0.9, reduction="none"),
        lambda f: bce(f, 0.9),
    ),
    "stylegan": (stylegan.g_nonsaturating_loss, lambda f: torch.log1p(torch.exp(-f)).mean()),
    "lightning": (lambda f: lightning.adversarial_loss(f, 1.0), lambda f: bce(f, 1).mean()),
    "pytorch": (
        lambda f: pytorch.BCEWithLogitsLoss(reduction="none")(f, 0.3),
        lambda f: bce(f, 0.3),
    ),
    "tf_gan.wasserstein": (tf_gan.wasserstein_generator_loss, lambda f: -f.mean()),
    "tf_gan.hinge": (tf_gan.wasserstein_hinge_generator_loss, lambda f: -f.mean()),
    "tf_gan.least_squares": (
        lambda f: tf_gan.least_squares_generator_loss(f, 2.0),
        lambda f: ((f - 2) ** 2 / 2).mean(),
    ),
    "torchgan.wasserstein": (
        lambda f: torchgan.wasserstein_generator_loss(f, "none"),
        lambda f: -f,
    ),
    "torchgan.least_squares": (
        torchgan.least_squares_generator_loss,
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "studiogan.hinge": (studiogan.g_hinge, lambda f: -f.mean()),
    "studiogan.wasserstein": (studiogan.g_wasserstein, lambda f: -f.mean()),
    "studiogan.ls": (studiogan.g_ls, lambda f: (0.5 * (f - 1) ** 2).mean()),
    "mimicry.hinge": (mimicry.hinge_loss_gen, lambda f: -f.mean()),
    "mimicry.wasserstein": (mimicry.wasserstein_loss_gen, lambda f: -f.mean()),
}


def logits(number: int, scale: float = 3.0) -> list[Tensor]:
    return [(torch.randn(7, 1, dtype=torch.float64) * scale).requires_grad_() for _ in range(number)]


def assert_same(ours: Loss, theirs: Loss, inputs: list[Tensor], tolerance: float = 1e-13) -> None:
    value, expected = ours(*inputs), theirs(*inputs)
    assert value.shape == expected.shape
    assert value.dtype is expected.dtype
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    grads = (torch.autograd.grad(loss.sum(), inputs) for loss in (value, expected))
    torch.testing.assert_close(*grads, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("ours", "theirs"), OF_THE_DISCRIMINATOR.values(), ids=OF_THE_DISCRIMINATOR)
def test_losses_of_the_discriminator(ours: Loss, theirs: Loss) -> None:
    assert_same(ours, theirs, logits(2))


@pytest.mark.parametrize(("ours", "theirs"), OF_THE_GENERATOR.values(), ids=OF_THE_GENERATOR)
def test_losses_of_the_generator(ours: Loss, theirs: Loss) -> None:
    assert_same(ours, theirs, logits(1))


def test_published_constants() -> None:
    """At D = 1/2: TF-GAN's smoothed label changes nothing, its generator has an offset, Lightning halves."""
    zero = torch.zeros(4, 1, dtype=torch.float64)
    assert tf_gan.minimax_discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    (grad,) = torch.autograd.grad(
        tf_gan.minimax_discriminator_loss(real := zero.clone().requires_grad_(), zero), real
    )
    torch.testing.assert_close(grad, torch.full_like(zero, (0.5 - 0.875) / 4))
    assert tf_gan.minimax_generator_loss(zero).item() == pytest.approx(-math.log(2) - 0.31326168751822286)
    assert lightning.discriminator_loss(zero, zero).item() == pytest.approx(math.log(2))


def test_mimicrys_epsilon() -> None:
    """-log(sigmoid(f) + 1e-8): the same while D is unsure, no gradient where G needs one."""

    def theirs(f: Tensor) -> Tensor:
        return -torch.log(torch.sigmoid(f) + 1e-8).mean()

    assert_same(mimicry.ns_loss_gen, theirs, logits(1, scale=1), tolerance=1e-6)
    lost = torch.full((1,), -30.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(theirs(lost), lost)[0].item() == pytest.approx(-9e-6, rel=0.1)
    assert torch.autograd.grad(mimicry.ns_loss_gen(lost), lost)[0].item() == pytest.approx(-1)


def test_softplus_has_no_threshold() -> None:
    t = torch.tensor([20.5], dtype=torch.float64, requires_grad=True)
    assert F.softplus(t).item() == 20.5
    assert stylegan.softplus(t).item() - 20.5 == pytest.approx(math.log1p(math.exp(-20.5)), rel=1e-5)


def test_a_tensor_of_targets_is_pytorchs(recwarn: pytest.WarningsRecorder) -> None:
    criterion = pytorch.BCEWithLogitsLoss(reduction="sum")
    assert isinstance(criterion, torch.nn.BCEWithLogitsLoss)
    (t,) = logits(1)
    target = torch.rand_like(t)
    assert torch.equal(criterion(t, target), F.binary_cross_entropy_with_logits(t, target, reduction="sum"))
    assert "give the number" in str(recwarn.pop(UserWarning).message)


def test_labels() -> None:
    (t,) = logits(1)
    with pytest.raises(ValueError, match=r"label must lie in \[0, 1\] for the bce loss, but is 1.5"):
        labelled_loss(t, 1.5)
    with pytest.raises(ValueError, match=r"label must be 0 or 1 for the hinge loss, but is 0.5"):
        labelled_loss(t, 0.5, loss="hinge")
    torch.testing.assert_close(labelled_loss(t, 1.0), fastgan.generator_loss(t), rtol=0, atol=0)


def installed(package: str, module: str) -> types.ModuleType:
    """A module of a package that may be there, without what the package imports (torchvision, TensorFlow)."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    stub = types.ModuleType(package)
    stub.__path__ = list(found.submodule_search_locations or ())
    sys.modules[package] = stub
    return importlib.import_module(f"{package}.{module}")


@pytest.mark.parametrize(
    ("package", "module", "adapters"),
    [("torchgan", "losses.functional", torchgan), ("torch_mimicry", "modules.losses", mimicry)],
    ids=["torchgan", "torch_mimicry"],
)
def test_the_package_itself(package: str, module: str, adapters: types.ModuleType) -> None:
    """Each function of ours is there, with our arguments in our order; in float32, as mimicry is."""
    original = installed(package, module)
    for name, ours in inspect.getmembers(adapters, inspect.isfunction):
        if ours.__module__ != adapters.__name__:
            continue
        theirs = getattr(original, name)
        names, others = (
            [p for p in inspect.signature(loss).parameters if p not in ("reduction", "kwargs")]
            for loss in (ours, theirs)
        )
        assert names == others
        tensors = sum(p.default is p.empty for p in inspect.signature(ours).parameters.values())
        inputs = [t.detach().float().requires_grad_() for t in logits(tensors, scale=1)]
        assert_same(ours, theirs, inputs, tolerance=1e-6)
