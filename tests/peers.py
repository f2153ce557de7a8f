"""fastgan.compat and the Fréchet distance against the packages themselves, in float64.

`make peers` installs them and runs this file.

A package's losses are imported without what the rest of the package needs, such as librosa and torchaudio.
"""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

import fastgan
from fastgan.compat import (
    audiocraft,
    basicsr,
    ctgan,
    dac,
    hifigan,
    lucidrains,
    mimicry,
    monai,
    parallel_wavegan,
    torchgan,
    vocos,
)
from fastgan.metrics import RunningMoments, frechet_distance
from fastgan.metrics.extractor import features_of

sys.path.append(str(Path(__file__).parents[1] / "build/peers"))
# what the packages import, and their losses and discriminators do not use
UNUSED = {
    *("adabelief_pytorch", "audiotools", "beartype", "cv2", "ema_pytorch", "einops", "fire", "h5py"),
    *("kornia", "librosa", "lpips", "pandas", "rdt", "scipy", "torchaudio", "torchvision", "tqdm"),
    *("vector_quantize_pytorch", "gateloop_transformer", "taylor_series_linear_attention", "accelerate"),
    *(
        "local_attention",
        "einops_exts",
        "flash_attn",
        "open_clip",
        "numerize",
        "diffusers",
        "pytorch_warmup",
        "flashy",
    ),
}


class Unused(types.ModuleType):
    """A module whose every name is a class."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(
            name, (), {"__init__": lambda *_, **__: None, "__call__": lambda self, f=None, *_, **__: f}
        )


class UnusedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name.split(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return Unused(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def without_unused() -> Any:
    finder = UnusedFinder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@functools.cache
def folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is not installed: run make peers"
    return Path(next(iter(found.submodule_search_locations or ())))


@functools.cache
def original(package: str, module: str, *bare: str) -> types.ModuleType:
    """A module of a package, whose ``__init__`` and those of ``bare`` subpackages do not run."""
    root = folder_of(package)
    for name in (package, *(f"{package}.{each}" for each in bare)):
        stub = types.ModuleType(name)
        stub.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = stub
    with without_unused():
        return importlib.import_module(f"{package}.{module}")


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [(torch.randn(shape, dtype=torch.float64) * 2).requires_grad_() for shape in shapes]


def scalars(value: Any) -> list[Tensor]:
    if isinstance(value, (list, tuple)):
        return [each for item in value for each in scalars(item)]
    return [value.reshape(()) if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)]


def assert_equal(ours: Any, theirs: Any, inputs: list[Tensor]) -> None:
    """Values, and gradients of the first value, to 1e-12."""
    mine, other = scalars(ours), scalars(theirs)
    assert len(mine) == len(other)
    for pair in zip(mine, other, strict=True):
        torch.testing.assert_close(*(t.detach() for t in pair), rtol=1e-12, atol=1e-12)
    grads = (torch.autograd.grad(t[0], inputs, retain_graph=True, allow_unused=True) for t in (mine, other))
    for a, b in zip(*grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


LOGITS = (2, 5), (3, 1), (4,)


def maps() -> tuple[list[list[Tensor]], list[list[Tensor]], list[Tensor]]:
    real, fake = ([leaves((2, 3, 4), (2, 5)), leaves((3, 2), (1, 7), (6,))] for _ in range(2))
    return real, fake, [t for side in (fake, real) for each in side for t in each]


def test_bigvgan() -> None:
    loss = original("bigvgan", "loss")
    real, fake = leaves(*LOGITS), leaves(*LOGITS)
    assert_equal(hifigan.discriminator_loss(real, fake), loss.discriminator_loss(real, fake), real + fake)
    assert_equal(hifigan.generator_loss(fake), loss.generator_loss(fake), fake)
    real_maps, fake_maps, all_maps = maps()
    ours, theirs = hifigan.feature_loss(real_maps, fake_maps), loss.feature_loss(real_maps, fake_maps)
    assert_equal(ours, theirs, all_maps)


@pytest.fixture
def float64() -> Iterator[None]:
    """For losses that start from zeros of the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
def test_vocos() -> None:
    loss = original("vocos", "loss")
    real, fake = leaves(*LOGITS), leaves(*LOGITS)
    ours, theirs = vocos.DiscriminatorLoss()(real, fake), loss.DiscriminatorLoss()(real, fake)
    assert ours[0].shape == theirs[0].shape == (1,)
    assert_equal(ours, theirs, real + fake)
    assert_equal(vocos.GeneratorLoss()(fake), loss.GeneratorLoss()(fake), fake)
    real_maps, fake_maps, all_maps = maps()
    ours = vocos.FeatureMatchingLoss()(real_maps, fake_maps)
    assert_equal(ours, loss.FeatureMatchingLoss()(real_maps, fake_maps), all_maps)


class Maps(nn.Module):
    """Feature maps of two discriminators, the last one logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(1, 2, 3), nn.Conv1d(2, 1, 3), nn.Conv1d(1, 1, 5)]).double()

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        first = self.layers[0](x)
        return [[first, self.layers[1](first)], [x * 2, self.layers[2](x)]]


def test_dac() -> None:
    loss = original("dac", "nn.loss", "nn")
    net, (real, fake) = Maps(), leaves((2, 1, 9), (2, 1, 9))
    ours, theirs = dac.GANLoss(net), loss.GANLoss(net)
    audio = [types.SimpleNamespace(audio_data=t, clone=lambda t=t: t) for t in (fake, real)]
    for t, each in zip((fake, real), audio, strict=True):
        each.detach = lambda t=t: types.SimpleNamespace(audio_data=t.detach())
        each.clone = lambda each=each: each
    parameters = list(net.parameters())
    assert_equal(ours.discriminator_loss(*audio), theirs.discriminator_loss(*audio), parameters)
    for mine, other in zip(ours.generator_loss(*audio), theirs.generator_loss(*audio), strict=True):
        assert_equal(mine, other, [fake, *parameters])


@pytest.mark.usefixtures("float64")
def test_audiocraft() -> None:
    theirs = original("audiocraft", "adversarial.losses", "adversarial")
    (t,) = leaves((3, 5))
    for criterion in ("get_adv_criterion", "get_real_criterion", "get_fake_criterion"):
        for kind in ("mse", "hinge", "hinge2"):
            ours, other = (getattr(module, criterion)(kind)(t) for module in (audiocraft, theirs))
            assert_equal(ours, other, [t])
    real, fake, _ = maps()
    for normalize in (True, False):
        ours, other = (
            module.FeatureMatchingLoss(normalize=normalize)(fake[1], real[1])
            for module in (audiocraft, theirs)
        )
        assert_equal(ours, other, fake[1] + real[1])


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("loss_type", ["mse", "hinge"])
def test_parallel_wavegan(loss_type: str, average: bool) -> None:
    adversarial = original("parallel_wavegan", "losses.adversarial_loss", "losses")
    options = {"average_by_discriminators": average, "loss_type": loss_type}
    real, fake = leaves(*LOGITS), leaves(*LOGITS)
    for outputs, outputs_hat in (
        (real, fake),
        (real[0], fake[0]),
        ([[t, t] for t in real], [[t, t] for t in fake]),
    ):
        ours = parallel_wavegan.DiscriminatorAdversarialLoss(**options)(outputs_hat, outputs)
        theirs = adversarial.DiscriminatorAdversarialLoss(**options)(outputs_hat, outputs)
        assert_equal(ours, theirs, real)
        assert_equal(ours[1], theirs[1], fake)
        ours = parallel_wavegan.GeneratorAdversarialLoss(**options)(outputs_hat)
        assert_equal(ours, adversarial.GeneratorAdversarialLoss(**options)(outputs_hat), fake)


@pytest.mark.parametrize("flags", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_parallel_wavegans_features(flags: tuple[int, ...]) -> None:
    matching = original("parallel_wavegan", "losses.feat_match_loss", "losses")
    real, fake, all_maps = maps()
    ours, theirs = (
        loss(*map(bool, flags))(fake, real)
        for loss in (parallel_wavegan.FeatureMatchLoss, matching.FeatureMatchLoss)
    )
    assert_equal(ours, theirs, all_maps)


@pytest.mark.parametrize("is_disc", [True, False])
@pytest.mark.parametrize("target_is_real", [True, False])
@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"])
def test_basicsr(gan_type: str, target_is_real: bool, is_disc: bool) -> None:
    theirs = original("basicsr", "losses.gan_loss", "losses", "utils")
    (t,) = leaves((2, 5))
    labels = {"real_label_val": 0.9, "fake_label_val": 0.1, "loss_weight": 0.3}
    call = t, target_is_real, is_disc
    assert_equal(basicsr.GANLoss(gan_type, **labels)(*call), theirs.GANLoss(gan_type, **labels)(*call), [t])
    several = leaves((2, 5), (3,))
    nested = [[several[0] * 2, several[0]], several[1]]
    ours = basicsr.MultiScaleGANLoss(gan_type, **labels)(nested, target_is_real, is_disc)
    assert_equal(ours, theirs.MultiScaleGANLoss(gan_type, **labels)(nested, target_is_real, is_disc), several)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("down", [1, 2])
def test_basicsrs_upfirdn2d(up: int, down: int) -> None:
    """On a CPU. Their fused_leaky_relu runs on a GPU only."""
    theirs = original("basicsr", "ops.upfirdn2d.upfirdn2d", "ops", "ops.upfirdn2d")
    (x,) = leaves((2, 3, 8, 6))
    kernel = torch.arange(16.0, dtype=torch.float64).view(4, 4)
    for pad in ((2, 1), (1, -1), (3, 3)):
        call = x, kernel, up, down, pad
        ours, plain = basicsr.upfirdn2d(*call), theirs.upfirdn2d(*call)
        assert_equal(ours.square().sum(), plain.square().sum(), [x])
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_basicsrs_penalties() -> None:
    """Its gradient penalty has a norm for each pixel; ours has one for each sample."""
    theirs = original("basicsr", "losses.gan_loss", "losses", "utils")
    net, (x, fake) = nn.Conv2d(3, 1, 3).double(), leaves((4, 3, 6, 6), (4, 3, 6, 6))
    parameters = [net.weight]
    assert_equal(basicsr.r1_penalty(net(x), x), theirs.r1_penalty(net(x), x), parameters)
    torch.manual_seed(3)
    per_pixel = theirs.gradient_penalty_loss(net, x, fake)
    ours = basicsr.gradient_penalty_loss(net, x, fake)
    slope = torch.autograd.grad(net(x).sum(), x)[0]
    torch.testing.assert_close(per_pixel, (slope.norm(dim=1) - 1).square().mean())
    torch.testing.assert_close(ours, (slope.flatten(1).norm(dim=1) - 1).square().mean())


@pytest.mark.parametrize("for_discriminator", [True, False])
@pytest.mark.parametrize("target_is_real", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"criterion": "bce"},
        {"criterion": "least_squares"},
        {"criterion": "least_squares", "no_activation_leastsq": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.filterwarnings("ignore:Variable target_is_real has been set to False")
def test_monai(
    options: dict[str, Any], reduction: str, target_is_real: bool, for_discriminator: bool
) -> None:
    theirs = importlib.import_module("monai.losses.adversarial_loss")
    inputs = leaves((2, 1, 5), (3, 1))
    call = inputs, target_is_real, for_discriminator
    ours, original = (
        module.PatchAdversarialLoss(reduction=reduction, **options)(*call) for module in (monai, theirs)
    )
    assert_equal(ours, original, inputs)


def test_monais_hinge_is_flat() -> None:
    """After tanh, the slope at a logit of -5 is that of tanh; ours is -1, hinge's."""
    theirs = importlib.import_module("monai.losses.adversarial_loss")
    slopes = []
    for module in (monai, theirs):
        t = torch.full((1, 1), -5.0, dtype=torch.float64, requires_grad=True)
        loss = module.PatchAdversarialLoss(criterion="hinge")(t, True, True)
        slopes.append(torch.autograd.grad(loss, t)[0].item())
    assert slopes == pytest.approx([-1.0, -1.8e-4], rel=0.02)


@pytest.mark.usefixtures("float64")
def test_ctgan() -> None:
    module = original("ctgan", "synthesizers.ctgan", "synthesizers")
    theirs = module.Discriminator(4, (8, 8), pac=5).eval()
    real, fake = leaves((10, 4), (10, 4))  # theirs needs a graph, and reaches G through it
    torch.manual_seed(5)
    expected = theirs.calc_gradient_penalty(real, fake, pac=5)
    torch.manual_seed(5)
    ours = ctgan.calc_gradient_penalty(theirs, real, fake, pac=5)
    assert_equal(ours, expected, [p for p in theirs.parameters() if p.dim() == 2])


def test_ctgans_constructor() -> None:
    theirs = original("ctgan", "synthesizers.ctgan", "synthesizers").CTGAN
    signatures = [inspect.signature(each).parameters for each in (ctgan.CTGAN, theirs)]
    ours, expected = ([(name, each.default) for name, each in found.items()] for found in signatures)
    assert ours == expected


def test_sdv_trains_the_class_in_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/migration.md says, without the synthesizer's base class, which needs many packages."""
    absent = ("errors", "single_table.base", "single_table.utils")
    for name in ("ctgan", "plotly", "plotly.express", "sdmetrics", *(f"sdv.{each}" for each in absent)):
        monkeypatch.setitem(sys.modules, name, Unused(name))
    module = original("sdv", "single_table.ctgan", "single_table")
    monkeypatch.setattr(module, "CTGAN", ctgan.CTGAN)
    monkeypatch.setattr(module, "detect_discrete_columns", lambda *_: ["city"])
    widths = {"embedding_dim": 4, "generator_dim": (8,), "discriminator_dim": (8,)}
    synthesizer = module.CTGANSynthesizer(None, epochs=2, batch_size=20, **widths, enable_gpu=False)
    synthesizer.metadata, synthesizer._data_processor, synthesizer._fitted = None, MagicMock(), True
    synthesizer._fit(pd.DataFrame({"age": range(40), "city": ["Bonn", "Rome"] * 20}))
    assert set(synthesizer._sample(50)["city"]) == {"Bonn", "Rome"}
    assert list(synthesizer.get_loss_values()) == ["Epoch", "Generator Loss", "Discriminator Loss"]


SETTINGS = types.SimpleNamespace(discriminator_channel_mult=1, use_spectral_norm=False)
# The module of each class that fastgan.patch knows, how to make one, and its layers: fused, and all.
PATCHED: dict[str, tuple[str, str, tuple[str, ...], Callable[[Any], nn.Module], int, int]] = {
    "UNetDiscriminatorSN": (
        *("basicsr", "archs.discriminator_arch", ("archs", "utils")),
        *(lambda cls: cls(3, 8), 9, 10),
    ),
    "DiscriminatorP": ("bigvgan", "discriminators", (), lambda cls: cls(SETTINGS, 2), 5, 6),
    "DiscriminatorR": ("bigvgan", "discriminators", (), lambda cls: cls(SETTINGS, [512, 128, 512]), 5, 6),
    "Discriminator": (
        *("ctgan", "synthesizers.ctgan", ("synthesizers",)),
        *(lambda cls: cls(6, (8, 8), pac=2), 2, 3),
    ),
    "HiFiGANPeriodDiscriminator": (
        "parallel_wavegan",
        "models.hifigan",
        ("models",),
        lambda cls: cls(),
        5,
        6,
    ),
    "HiFiGANScaleDiscriminator": ("parallel_wavegan", "models.hifigan", ("models",), lambda cls: cls(), 7, 8),
    "MelGANDiscriminator": ("parallel_wavegan", "models.melgan", ("models",), lambda cls: cls(), 6, 7),
    "ParallelWaveGANDiscriminator": (
        *("parallel_wavegan", "models.parallel_wavegan", ("models",)),
        *(lambda cls: cls(), 9, 10),
    ),
    "vocos DiscriminatorP": ("vocos", "discriminators", (), lambda cls: cls(2), 5, 6),
}


@pytest.mark.parametrize("name", PATCHED)
def test_patched_layers(name: str) -> None:
    """As docs/fuse.md counts them."""
    package, module, bare, make, fused, layers = PATCHED[name]
    theirs = original(package, module, *bare)
    with without_unused():
        fastgan.patch(package)
    try:
        net = make(getattr(theirs, name.split()[-1]))
    finally:
        fastgan.unpatch(package)
    found = [each for each in net.modules() if isinstance(each, (nn.Linear, _ConvNd))]
    assert sum(isinstance(each, fastgan.nn.WithLeakyReLU) for each in found) == fused
    assert len(found) == layers


def snakes_of_bigvgan() -> list[nn.Module]:
    """Each Snake alone, in both scales, and between filters of BigVGAN's and of other lengths."""
    activations = original("bigvgan", "activations")
    bare = ("alias_free_activation", "alias_free_activation.torch")
    act = original("bigvgan", "alias_free_activation.torch.act", *bare)
    both = (activations.Snake, activations.SnakeBeta)
    plain = [make(3, alpha_logscale=log) for make in both for log in (True, False)]
    made = [act.Activation1d(copy.deepcopy(each)) for each in plain]
    taps = [(3, 12), (4, 5), (11, 24), (24, 2), (13, 13)]
    return [*plain, *made, *[act.Activation1d(activations.SnakeBeta(3, 0.3), 2, 2, *each) for each in taps]]


def snakes_of_dac() -> list[nn.Module]:
    return [original("dac", "nn.layers", "nn").Snake1d(3)]


def snakes_of_stable_audio() -> list[nn.Module]:
    snake = original("stable_audio_tools", "models.blocks", "models").SnakeBeta
    return [snake(3), original("alias_free_torch", "act").Activation1d(snake(3))]


SNAKES = {"bigvgan": snakes_of_bigvgan, "dac": snakes_of_dac, "stable_audio": snakes_of_stable_audio}


@pytest.mark.parametrize("package", SNAKES)
def test_patched_snakes(package: str) -> None:
    """In float64 to 1e-12 at every sample, the ends too, and so are the gradients."""
    torch.manual_seed(0)
    plain = nn.ModuleList(SNAKES[package]()).double()
    with without_unused():
        fastgan.patch(package)
    try:
        fused = nn.ModuleList(SNAKES[package]()).double()
    finally:
        fastgan.unpatch(package)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter += 0.3 * torch.rand_like(parameter)
    fused.load_state_dict(plain.state_dict())
    for theirs, ours in zip(plain, fused, strict=True):
        assert isinstance(ours, (fastgan.nn.Snake, fastgan.nn.AntiAliasedSnake))
        for length in (1, 2, 3, 5, 8, 40, 1000):
            x = torch.randn(2, 3, length, dtype=torch.float64, requires_grad=True)
            weight = torch.randn(2, 3, length, dtype=torch.float64)
            found = []
            for each in (ours, theirs):
                y = each(x)
                found.append([y, *torch.autograd.grad((weight * y).sum(), [x, *each.parameters()])])
            torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


REVERSED: dict[str, tuple[str, str, Callable[..., Tensor]]] = {
    "lightweight-gan, D": ("lightweight_gan", "hinge_loss", lucidrains.hinge_loss),
    "lightweight-gan, G": ("lightweight_gan", "gen_hinge_loss", lucidrains.gen_hinge_loss),
    "stylegan2-pytorch, D": ("stylegan2_pytorch", "hinge_loss", lucidrains.hinge_loss_fake_first),
    "stylegan2-pytorch, G": ("stylegan2_pytorch", "gen_hinge_loss", lucidrains.gen_hinge_loss),
    "gigagan-pytorch, D": (
        "gigagan_pytorch",
        "discriminator_hinge_loss",
        lucidrains.discriminator_hinge_loss,
    ),
    "gigagan-pytorch, G": ("gigagan_pytorch", "generator_hinge_loss", lucidrains.generator_hinge_loss),
    "magvit2-pytorch, D": ("magvit2_pytorch", "hinge_discr_loss", lucidrains.hinge_discr_loss),
    "magvit2-pytorch, G": ("magvit2_pytorch", "hinge_gen_loss", lucidrains.hinge_gen_loss),
}


@pytest.mark.parametrize(("package", "name", "ours"), REVERSED.values(), ids=REVERSED)
def test_lucidrains(package: str, name: str, ours: Callable[..., Tensor]) -> None:
    """The functions alone, from the source: the modules import networks and trainers."""
    source = (folder_of(package) / f"{package}.py").read_text(encoding="utf-8")
    start = source.index(f"def {name}(")
    scope: dict[str, Any] = {"F": torch.nn.functional}
    exec(source[start : source.index("\n\n", start)], scope)
    theirs = scope[name]
    inputs = leaves(*[(4, 1)] * theirs.__code__.co_argcount)
    assert_equal(ours(*inputs), theirs(*inputs), inputs[:1] if name.startswith("gen") else inputs)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_torchgan(reduction: str) -> None:
    theirs = original("torchgan", "losses.functional", "losses")
    real, fake = leaves((4, 1), (4, 1))
    for name in (
        "minimax_discriminator_loss",
        "wasserstein_discriminator_loss",
        "least_squares_discriminator_loss",
    ):
        ours = getattr(torchgan, name)(real, fake, reduction=reduction)
        assert_equal(ours, getattr(theirs, name)(real, fake, reduction=reduction), [real, fake])
    for kind in ("minimax", "wasserstein", "least_squares"):
        name = f"{kind}_generator_loss"
        ours = getattr(torchgan, name)(fake, reduction=reduction)
        assert_equal(ours, getattr(theirs, name)(fake, reduction=reduction), [fake])


def test_mimicry() -> None:
    theirs = original("torch_mimicry", "modules.losses", "modules")
    real, fake = leaves((4, 1), (4, 1))
    for name in ("hinge_loss_dis", "wasserstein_loss_dis"):
        assert_equal(getattr(mimicry, name)(fake, real), getattr(theirs, name)(fake, real), [real, fake])
    for name in ("hinge_loss_gen", "wasserstein_loss_gen"):
        assert_equal(getattr(mimicry, name)(fake), getattr(theirs, name)(fake), [fake])


@pytest.mark.parametrize("width", [2, 64])
def test_frechet_distance(width: int) -> None:
    """torch-fidelity's formula and torchmetrics' class, given the same features, find the same distance."""
    with without_unused():
        fidelity = importlib.import_module("torch_fidelity.metric_fid")
        metrics = importlib.import_module("torchmetrics.image.fid")
    torch.manual_seed(width)
    extractor = nn.Sequential(nn.Flatten(), nn.Linear(48, width), nn.LeakyReLU(0.2)).double()
    sets = torch.rand(500, 3, 4, 4, dtype=torch.float64), torch.rand(400, 3, 4, 4, dtype=torch.float64) ** 2
    with torch.no_grad():
        features = [extractor(images) for images in sets]
    ours = frechet_distance(*features)
    statistics = [fidelity.fid_features_to_statistics(each) for each in features]
    theirs = fidelity.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(float(theirs), rel=1e-9)
    extractor.num_features = width
    theirs = metrics.FrechetInceptionDistance(extractor, normalize=True, input_img_size=(3, 4, 4))
    theirs.set_dtype(torch.float64)
    running = RunningMoments()
    for images, is_real in zip(sets, (True, False), strict=True):
        for part in images.split(64):
            theirs.update(part, real=is_real)
            if is_real:
                running.add(features_of(extractor, part))
    assert frechet_distance(running.moments(), features[1]) == pytest.approx(
        float(theirs.compute()), rel=1e-9
    )
