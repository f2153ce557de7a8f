"""fastgan.compat for vocoders, tokenizers, upscalers and tables, compared with formulas in float64.

``make peers`` compares with the packages themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import run_together
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fastgan.compat import (
    audiocraft,
    basicsr,
    ctgan,
    dac,
    hifigan,
    lucidrains,
    monai,
    parallel_wavegan,
    pix2pix,
    r3gan,
    spade,
    taming,
    vocos,
)

relu, softplus = torch.relu, F.softplus


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [(torch.randn(shape) * 2).requires_grad_() for shape in shapes]


def maps() -> list[list[Tensor]]:
    return [leaves((2, 3, 4), (2, 5)), leaves((3, 2), (1, 7), (6,))]


def flat(nested: Any) -> list[Tensor]:
    return [nested] if isinstance(nested, Tensor) else [t for each in nested for t in flat(each)]


def compare(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours.reshape(()), theirs.reshape(()), rtol=1e-12, atol=1e-12)
    grads = (
        torch.autograd.grad(t.sum(), inputs, retain_graph=True, allow_unused=True) for t in (ours, theirs)
    )
    for a, b in zip(*grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def l1(real: Any, fake: Any) -> list[list[Tensor]]:
    return [[F.l1_loss(f, r) for r, f in zip(*pair, strict=True)] for pair in zip(real, fake, strict=True)]


def test_hifigan() -> None:
    real, fake = leaves((2, 5), (3, 1)), leaves((2, 5), (3, 1))
    loss, on_real, on_fake = hifigan.discriminator_loss(real, fake)
    compare(
        loss,
        sum((1 - r).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True)),
        real + fake,
    )
    torch.testing.assert_close(on_real, [(1 - r).square().mean() for r in real])
    torch.testing.assert_close(on_fake, [f.square().mean() for f in fake])
    assert not any(t.requires_grad for t in on_real + on_fake)
    loss, each = hifigan.generator_loss(fake)
    compare(loss, sum((1 - f).square().mean() for f in fake), fake)
    torch.testing.assert_close(each, [(1 - f).square().mean() for f in fake])
    real_maps, fake_maps = maps(), maps()
    ours = hifigan.feature_loss(real_maps, fake_maps)
    compare(ours, 2 * sum(map(sum, l1(real_maps, fake_maps))), flat(real_maps) + flat(fake_maps))


class Counted(TorchDispatchMode):
    """Operators other than views and detach, and copies of scalars to the host."""

    def __enter__(self) -> Counted:
        self.calls, self.waits = 0, 0
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits += func is torch.ops.aten._local_scalar_dense.default
        is_view = any(each.alias_info is not None for each in func._schema.returns)
        self.calls += not is_view
        return func(*args, **(kwargs or {}))


def test_the_loss_part_of_a_hifigan_step_is_few_calls() -> None:
    """8 discriminators and 54 maps: D's loss, then G's with feature matching, and their backward passes.

    The usual script takes 645 calls, 16 of which wait for the device.
    """
    torch.set_default_dtype(torch.float32)
    counts = [6] * 5 + [8] * 3
    real_maps, fake_maps = ([leaves(*[(2, 3)] * n) for n in counts] for _ in range(2))
    real_maps = [[t.detach() for t in each] for each in real_maps]  # D is frozen
    real, fake, fake_of_g = (leaves(*[(2, 5)] * 8) for _ in range(3))
    with Counted() as counted:
        loss, _, _ = hifigan.discriminator_loss(real, fake)
        torch.autograd.grad(loss, real + fake)
        adversarial, _ = hifigan.generator_loss(fake_of_g)
        loss = adversarial + hifigan.feature_loss(real_maps, fake_maps)
        torch.autograd.grad(loss, fake_of_g + flat(fake_maps))
    assert counted.waits == 0
    assert counted.calls <= 12


def test_vocos() -> None:
    real, fake = leaves((2, 5), (3, 1)), leaves((2, 5), (3, 1))
    loss, on_real, on_fake = vocos.DiscriminatorLoss()(real, fake)
    assert loss.shape == (1,)
    compare(
        loss,
        sum(relu(1 - r).mean() + relu(1 + f).mean() for r, f in zip(real, fake, strict=True)),
        real + fake,
    )
    torch.testing.assert_close(
        on_real + on_fake, [relu(1 - r).mean() for r in real] + [relu(1 + f).mean() for f in fake]
    )
    loss, each = vocos.GeneratorLoss()(fake)
    compare(loss, sum(relu(1 - f).mean() for f in fake), fake)
    torch.testing.assert_close(each, [relu(1 - f).mean() for f in fake])
    real_maps, fake_maps = maps(), maps()
    ours = vocos.FeatureMatchingLoss()(real_maps, fake_maps)
    compare(ours, sum(map(sum, l1(real_maps, fake_maps))), flat(real_maps) + flat(fake_maps))


class Maps(nn.Module):
    """Feature maps of two discriminators, the last one logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(1, 2, 3), nn.Conv1d(2, 1, 3), nn.Conv1d(1, 1, 5)])

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        first = self.layers[0](x)
        return [[first, self.layers[1](first)], [x * 2, self.layers[2](x)]]


def test_dac() -> None:
    net, (real, fake) = Maps(), leaves((2, 1, 9), (2, 1, 9))
    loss, parameters = dac.GANLoss(net), list(net.parameters())
    logits_real, logits_fake = ([each[-1] for each in net(t)] for t in (real, fake.detach()))
    theirs = sum(
        (1 - r).square().mean() + f.square().mean() for r, f in zip(logits_real, logits_fake, strict=True)
    )
    compare(loss.discriminator_loss(fake, real), theirs, parameters)
    adversarial, features = loss.generator_loss(fake, real)
    compare(adversarial, sum((1 - each[-1]).square().mean() for each in net(fake)), [fake])
    theirs = sum(F.l1_loss(f[0], r[0].detach()) for r, f in zip(net(real), net(fake), strict=True))
    compare(features, theirs, [fake])


CRITERIA: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "adv mse": (audiocraft.get_adv_criterion("mse"), lambda t: (t - 1).square().mean()),
    "adv hinge": (audiocraft.get_adv_criterion("hinge"), lambda t: -t.mean()),
    "adv hinge2": (audiocraft.get_adv_criterion("hinge2"), lambda t: relu(1 - t).mean()),
    "real mse": (audiocraft.get_real_criterion("mse"), lambda t: (t - 1).square().mean()),
    "real hinge2": (audiocraft.get_real_criterion("hinge2"), lambda t: relu(1 - t).mean()),
    "fake mse": (audiocraft.get_fake_criterion("mse"), lambda t: t.square().mean()),
    "fake hinge": (audiocraft.get_fake_criterion("hinge"), lambda t: relu(1 + t).mean()),
    "hinge_gen_loss": (taming.hinge_gen_loss, lambda t: -t.mean()),
    "non_saturating_gen_loss": (taming.non_saturating_gen_loss, lambda t: softplus(-t).mean()),
    "low is real, G": (lucidrains.gen_hinge_loss, lambda t: t.mean()),
    "gigagan, G": (lucidrains.generator_hinge_loss, lambda t: t.mean()),
    "magvit2, G": (lucidrains.hinge_gen_loss, lambda t: -t.mean()),
    "ctgan, G": (lambda t: ctgan.generator_loss(t, 0.5), lambda t: 0.5 - t.mean()),
}


@pytest.mark.parametrize(("ours", "theirs"), CRITERIA.values(), ids=CRITERIA)
def test_losses_of_one_side(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]) -> None:
    (t,) = leaves((4, 5))
    compare(ours(t), theirs(t), [t])


PAIRS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "taming, hinge": (taming.hinge_d_loss, lambda r, f: (relu(1 - r).mean() + relu(1 + f).mean()) / 2),
    "taming, vanilla": (taming.vanilla_d_loss, lambda r, f: (softplus(-r).mean() + softplus(f).mean()) / 2),
    "llamagen": (taming.non_saturating_d_loss, lambda r, f: (softplus(-r).mean() + softplus(f).mean()) / 2),
    "lightweight-gan": (lucidrains.hinge_loss, lambda r, f: (relu(1 + r) + relu(1 - f)).mean()),
    "stylegan2-pytorch": (
        lambda r, f: lucidrains.hinge_loss_fake_first(f, r),
        lambda r, f: (relu(1 + r) + relu(1 - f)).mean(),
    ),
    "gigagan": (lucidrains.discriminator_hinge_loss, lambda r, f: (relu(1 + r) + relu(1 - f)).mean()),
    "magvit2": (
        lambda r, f: lucidrains.hinge_discr_loss(f, r),
        lambda r, f: (relu(1 - r) + relu(1 + f)).mean(),
    ),
    "ctgan": (ctgan.discriminator_loss, lambda r, f: f.mean() - r.mean()),
}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.values(), ids=PAIRS)
def test_losses_of_both_sides(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, Tensor], Tensor]
) -> None:
    real, fake = leaves((4, 5), (4, 5))
    compare(ours(real, fake), theirs(real, fake), [real, fake])


BALANCED_BY_TWO = """
import sys
import torch
from fastgan.compat.audiocraft import Balancer

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
rows = (1, 3)[rank]
output = torch.full((rows, 4), 1.0 + rank, requires_grad=True)
Balancer({"a": 1.0}).backward({"a": output.square().sum()}, output)
norms = [2 * (1.0 + each) * 4**0.5 for each in (0, 1)]  # of the gradient of a row in each process
average = (norms[0] * 1 + norms[1] * 3) / 4
torch.testing.assert_close(output.grad, 2 * output.detach() / average)
print("done")
"""


def test_audiocrafts_balancer_in_two_processes(tmp_path: Path) -> None:
    run_together([["-c", BALANCED_BY_TWO, str(tmp_path), str(rank)] for rank in (0, 1)])


def test_audiocrafts_features_and_balancer() -> None:
    real, fake = maps()[1], maps()[1]
    terms = l1([real], [fake])[0]
    compare(audiocraft.FeatureMatchingLoss()(fake, real), sum(terms) / 3, real + fake)
    compare(
        audiocraft.FeatureMatchingLoss(normalize=False)(fake, real), sum(l1([real], [fake])[0]), real + fake
    )
    (weight,) = leaves((3, 4))
    balancer = audiocraft.Balancer({"a": 3.0, "b": 1.0}, total_norm=2.0, ema_decay=0.5)
    x = torch.randn(5, 3)
    totals, counts = {"a": 0.0, "b": 0.0}, 0.0
    for _ in range(3):
        output = x @ weight
        losses = {"a": output.square().sum(), "b": output.sin().sum() * 10}
        grads = {
            name: torch.autograd.grad(loss, output, retain_graph=True)[0] for name, loss in losses.items()
        }
        counts = counts * 0.5 + 1
        totals = {name: totals[name] * 0.5 + grad.norm(dim=1).mean() for name, grad in grads.items()}
        scales = {
            name: share * 2 / (1e-12 + totals[name] / counts) for name, share in (("a", 0.75), ("b", 0.25))
        }
        expected = torch.autograd.grad(
            output, weight, sum(scales[n] * grads[n] for n in grads), retain_graph=True
        )
        weight.grad = None
        total = balancer.backward(losses, output)
        torch.testing.assert_close(weight.grad, expected[0])
        torch.testing.assert_close(total, sum(scales[n] * losses[n].detach() for n in losses))


@pytest.mark.parametrize("average", [True, False])
def test_parallel_wavegan(average: bool) -> None:
    real, fake = leaves((2, 5), (3, 1)), leaves((2, 5), (3, 1))
    scale = 2 if average else 1
    nested = [[t * 3, t] for t in real], [[t * 3, t] for t in fake]
    for outputs, outputs_hat in ((real, fake), nested):
        losses = parallel_wavegan.DiscriminatorAdversarialLoss(average)(outputs_hat, outputs)
        compare(losses[0], sum((r - 1).square().mean() for r in real) / scale, real)
        compare(losses[1], sum(f.square().mean() for f in fake) / scale, fake)
        ours = parallel_wavegan.GeneratorAdversarialLoss(average, "hinge")(outputs_hat)
        compare(ours, -sum(f.mean() for f in fake) / scale, fake)
    real_maps, fake_maps = maps(), maps()
    terms = l1([[t.detach() for t in each] for each in real_maps], fake_maps)
    ours = parallel_wavegan.FeatureMatchLoss(average, average)(fake_maps, real_maps)
    kept = [each[:-1] for each in terms]
    theirs = sum(sum(each) / (len(each) if average else 1) for each in kept) / scale
    compare(ours, theirs, flat(fake_maps) + flat(real_maps))


@pytest.mark.parametrize("is_real", [True, False])
def test_basicsr(is_real: bool) -> None:
    (t,), sign = leaves((2, 5)), -1 if is_real else 1
    label = 0.9 if is_real else 0.1
    expected = {
        "vanilla": F.binary_cross_entropy_with_logits(t, torch.full_like(t, label)),
        "lsgan": (t - label).square().mean(),
        "wgan": sign * t.mean(),
        "wgan_softplus": softplus(sign * t).mean(),
        "hinge": relu(1 + sign * t).mean(),
    }
    for kind, theirs in expected.items():
        criterion = basicsr.GANLoss(kind, 0.9, 0.1, loss_weight=0.5)
        compare(criterion(t, is_real, is_disc=True), theirs, [t])
        of_generator = -t.mean() if kind == "hinge" else expected[kind]
        compare(criterion(t, is_real), of_generator * 0.5, [t])
    several = leaves((2, 5), (3,))
    ours = basicsr.MultiScaleGANLoss("lsgan")([[several[0] * 2, several[0]], several[1]], True, True)
    compare(ours, sum((each - 1).square().mean() for each in several) / 2, several)


def test_basicsrs_penalties() -> None:
    net, (x, fake) = nn.Conv2d(3, 1, 3), leaves((4, 3, 6, 6), (4, 3, 6, 6))
    slope = torch.autograd.grad(net(x).sum(), x, create_graph=True)[0].flatten(1)
    compare(basicsr.r1_penalty(net(x), x), slope.square().sum(1).mean(), [net.weight])
    ours = basicsr.gradient_penalty_loss(net, x, fake)
    compare(ours, (slope.norm(dim=1) - 1).square().mean(), [net.weight])


@pytest.mark.parametrize("is_real", [True, False])
def test_pix2pix_and_spade(is_real: bool) -> None:
    several, sign, label = leaves((2, 5), (3,)), -1 if is_real else 1, 0.9 if is_real else 0.1

    def bce(t: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(t, torch.full_like(t, label))

    def square(t: Tensor) -> Tensor:
        return (t - label).square().mean()

    for kind, theirs in {"lsgan": square, "vanilla": bce, "wgangp": lambda t: sign * t.mean()}.items():
        compare(pix2pix.GANLoss(kind, 0.9, 0.1)(several[0], is_real), theirs(several[0]), several[:1])
    nested = [[several[0] * 2, several[0]], several[1]]
    for kind, theirs in {
        "ls": square,
        "original": bce,
        "w": lambda t: sign * t.mean(),
        "hinge": lambda t: relu(1 + sign * t).mean(),
    }.items():
        criterion = spade.GANLoss(kind, 0.9, 0.1)
        compare(criterion(several[0], is_real), theirs(several[0]), several[:1])
        assert criterion(nested, is_real).shape == (1,)
        compare(criterion(nested, is_real), sum(map(theirs, several)) / 2, several)
    compare(
        spade.GANLoss("hinge")(several[0], True, for_discriminator=False), -several[0].mean(), several[:1]
    )
    with pytest.raises(ValueError, match="target_is_real must be True for G's hinge loss"):
        spade.GANLoss("hinge")(several[0], False, for_discriminator=False)
    real_maps, fake_maps = maps(), maps()
    terms = l1([[t.detach() for t in each] for each in real_maps], fake_maps)
    theirs = 10 * sum(sum(each[:-1]) for each in terms) / 2
    compare(spade.feature_loss(fake_maps, real_maps), theirs, flat(fake_maps))


def test_monai() -> None:
    several = leaves((2, 1, 5), (3, 1))
    for is_real, label in ((True, 1.0), (False, 0.0)):
        ours = monai.PatchAdversarialLoss()(several, is_real, True)
        activated = [F.leaky_relu(t, 0.05) for t in several]
        compare(ours, sum((t - label).square().mean() for t in activated) / 2, several)
        ours = monai.PatchAdversarialLoss(criterion="bce", reduction="sum")(several, is_real, True)
        theirs = sum(
            F.binary_cross_entropy_with_logits(t, torch.full_like(t, label), reduction="sum") for t in several
        )
        compare(ours, theirs, several)
        ours = monai.PatchAdversarialLoss(criterion="hinge")(several[0], is_real, True)
        compare(ours, relu(1 + (1 - 2 * label) * several[0]).mean(), several[:1])
    none = monai.PatchAdversarialLoss(reduction="none", no_activation_leastsq=True)(several, False, False)
    torch.testing.assert_close(none, [(t - 1).square() for t in several])


def test_tamings_weights() -> None:
    (last,) = leaves((3,))
    ours = taming.calculate_adaptive_weight((last * 2).sum(), last.sum(), last, 0.5)
    torch.testing.assert_close(ours, torch.tensor(0.5 * 2 * 3**0.5 / (3**0.5 + 1e-4)))
    assert [taming.adopt_weight(0.5, step, threshold=3) for step in (2, 3)] == [0.0, 0.5]


def test_ctgans_penalty() -> None:
    """On packs of rows, with one place on the line for each pack."""
    net = nn.Sequential(nn.Unflatten(0, (-1, 5)), nn.Flatten(1), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 1))
    real, fake = leaves((10, 4), (10, 4))
    torch.manual_seed(5)
    ours = ctgan.calc_gradient_penalty(net, real, fake, pac=5)
    torch.manual_seed(5)
    share = torch.rand(2, 1).repeat_interleave(5, 0)
    points = (share * real + (1 - share) * fake).detach().requires_grad_()
    slope = torch.autograd.grad(net(points).sum(), points, create_graph=True)[0].view(2, -1)
    compare(ours, 10 * (slope.norm(dim=1) - 1).square().mean(), [net[2].weight])


class Conditional(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body, self.of_class = nn.Linear(n_in, n_out), nn.Embedding(3, n_out)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        return (torch.tanh(self.body(x)) + self.of_class(conditions)).squeeze(1)


def test_r3gan() -> None:
    G, D = Conditional(2, 4), Conditional(4, 1)  # noqa: N806
    training = r3gan.AdversarialTraining(G, D)
    noise, real, labels = torch.randn(5, 2), torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    terms, differences = training.AccumulateGeneratorGradients(
        noise, real, labels, Scale=2, Preprocessor=torch.sin
    )
    fake = D(G(noise, labels).sin(), labels) - D(real.sin(), labels)
    expected = torch.autograd.grad(2 * softplus(-fake).mean(), list(G.parameters()))
    torch.testing.assert_close([p.grad for p in G.parameters()], list(expected))
    torch.testing.assert_close([terms, differences], [softplus(-fake).detach(), fake.detach()])
    assert all(p.grad is None and p.requires_grad for p in D.parameters())

    *parts, r1, r2 = training.AccumulateDiscriminatorGradients(noise, real, labels, 3.0)
    x, y = (t.detach().requires_grad_() for t in (real, G(noise, labels)))
    difference = D(x, labels) - D(y, labels)
    penalties = [
        torch.autograd.grad(D(t, labels).sum(), t, create_graph=True)[0].square().sum(1) for t in (x, y)
    ]
    loss = (softplus(-difference) + 1.5 * sum(penalties)).mean()
    expected = torch.autograd.grad(loss, list(D.parameters()))
    torch.testing.assert_close([p.grad for p in D.parameters()], list(expected))
    torch.testing.assert_close(
        [*parts, r1, r2], [t.detach() for t in (softplus(-difference), difference, *penalties)]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: basicsr.GANLoss("gan"), "gan_type must be one of 'vanilla', .* but is 'gan'"),
        (lambda: pix2pix.GANLoss("gan"), "gan_mode must be 'lsgan', .* but is 'gan'"),
        (lambda: spade.GANLoss("gan"), "gan_mode must be 'ls', .* but is 'gan'"),
        (
            lambda: monai.PatchAdversarialLoss(criterion="gan"),
            "criterion must be one of 'bce', .* but is 'gan'",
        ),
        (lambda: monai.PatchAdversarialLoss("max"), "reduction must be 'mean', .* but is 'max'"),
        (
            lambda: parallel_wavegan.GeneratorAdversarialLoss(loss_type="ls"),
            "loss_type must be .* but is 'ls'",
        ),
        (lambda: audiocraft.get_adv_criterion("ls"), "loss_type must be one of 'mse', .* but is 'ls'"),
    ],
)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
