"""Modules for Snake, and fastgan.fuse and patch on the Snakes of published packages."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import stand_ins
import torch
from torch import Tensor, fx, nn

import fastgan
from fastgan.fusion import packages, report
from fastgan.fusion.packages import Network
from fastgan.nn import AntiAliasedSnake, Snake, SnakeBeta, kaiser_sinc_filter

CHANNELS = 3


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins.install(monkeypatch)


def generator() -> nn.Sequential:
    """Each known Snake, alone and between filters."""
    return nn.Sequential(
        nn.Conv1d(1, CHANNELS, 3),
        stand_ins.Activation1d(stand_ins.SnakeBeta(CHANNELS, alpha_logscale=True)),
        nn.Conv1d(CHANNELS, CHANNELS, 3),
        stand_ins.Activation1d(stand_ins.Snake(CHANNELS), up_kernel_size=11, down_kernel_size=24),
        stand_ins.Snake1d(CHANNELS),
        stand_ins.SnakeBeta(CHANNELS),
    )


def shaken(model: nn.Module) -> nn.Module:
    """With parameters other than those at first."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.rand_like(p))
    return model


def results(model: nn.Module, x: Tensor) -> list[Tensor]:
    y = model(x)
    return [y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))]


def kernels_called(model: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    called = []
    for name in ("snake", "anti_aliased_snake"):
        plain = getattr(fastgan.ops, name)

        def watched(*args: object, name: str = name, plain: Callable[..., Tensor] = plain) -> Tensor:
            called.append(name)
            return plain(*args)

        monkeypatch.setattr(fastgan.ops, name, watched)
    model(x)
    monkeypatch.undo()
    return called


def test_fused_model_is_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = shaken(generator())
    model = copy.deepcopy(plain)
    parameters, keys = list(model.parameters()), list(model.state_dict())
    assert report(model).fusable == {
        "1": "fastgan.anti_aliased_snake",
        "1.act": "fastgan.snake",
        "3": "fastgan.anti_aliased_snake",
        "3.act": "fastgan.snake",
        "4": "fastgan.snake",
        "5": "fastgan.snake",
    }
    assert fastgan.fuse(model) is model
    assert list(report(model).fused) == ["1", "1.act", "3", "3.act", "4", "5"]
    assert list(map(id, model.parameters())) == list(map(id, parameters))
    assert list(model.state_dict()) == keys
    assert isinstance(model[1], stand_ins.Activation1d)
    x = torch.randn(2, 1, 50)
    torch.testing.assert_close(results(model, x), results(plain, x), rtol=1e-5, atol=1e-5)
    assert kernels_called(model, x, monkeypatch) == ["anti_aliased_snake"] * 2 + ["snake"] * 2
    stand_ins.install(monkeypatch)
    kept = io.BytesIO()
    torch.save(model, kept)
    kept.seek(0)
    for again in (copy.deepcopy(model), torch.load(kept, weights_only=False)):
        assert report(again).fused == report(model).fused
        assert torch.equal(again(x), model(x))
    fastgan.unfuse(model)
    assert [type(each) for each in model.modules()] == [type(each) for each in plain.modules()]
    assert torch.equal(model(x), plain(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes(dtype: torch.dtype) -> None:
    plain = shaken(generator())[3:].to(dtype)
    x = torch.randn(2, CHANNELS, 50, dtype=dtype)
    fused = fastgan.fuse(copy.deepcopy(plain))(x)
    assert fused.dtype is dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(fused, plain(x), rtol=16 * eps, atol=16 * eps)


def test_under_autocast() -> None:
    plain = shaken(generator())
    model = fastgan.fuse(copy.deepcopy(plain))
    x = torch.randn(2, 1, 50)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(x).float(), plain(x).float(), rtol=0.05, atol=0.05)


HOOKED = {
    "activation": lambda m: m.act,
    "upsampling": lambda m: m.upsample,
    "downsampling": lambda m: m.downsample,
    "its filter": lambda m: m.downsample.lowpass,
}


@pytest.mark.parametrize("part", HOOKED.values(), ids=HOOKED)
@pytest.mark.parametrize("own", [True, False], ids=["own", "published"])
def test_hooks_see_what_they_would_in_the_plain_model(
    part: Callable[[nn.Module], nn.Module], own: bool
) -> None:
    plain = stand_ins.Activation1d(stand_ins.SnakeBeta(CHANNELS, alpha_logscale=True))
    model = (
        AntiAliasedSnake(SnakeBeta(CHANNELS, log_scale=True)) if own else fastgan.fuse(copy.deepcopy(plain))
    )
    x, seen = torch.randn(2, CHANNELS, 20), []
    for each in (plain, model):
        part(each).register_forward_hook(lambda _, args, output: seen.append((*args, output)))
        seen.append(each(x))
    torch.testing.assert_close(seen[:2], seen[2:], rtol=1e-5, atol=1e-5)


def test_replaced_parts_are_called() -> None:
    model = AntiAliasedSnake(SnakeBeta(CHANNELS))
    x = torch.randn(2, CHANNELS, 20)
    model.act = nn.Tanh()
    expected = model.downsample(torch.tanh(model.upsample(x)))
    assert torch.equal(model(x), expected)
    model.act = nn.utils.parametrizations.weight_norm(SnakeBeta(CHANNELS), "alpha", dim=None)
    plain = AntiAliasedSnake(SnakeBeta(CHANNELS))
    torch.testing.assert_close(model(x), plain(x))


def test_what_is_left() -> None:
    act = stand_ins.Snake(CHANNELS)
    trained = stand_ins.Activation1d(act)
    trained.upsample.filter.requires_grad_()
    replaced = stand_ins.Activation1d(act)
    replaced.downsample = nn.AvgPool1d(2)
    reflected = stand_ins.Activation1d(act)
    reflected.downsample.lowpass.padding_mode = "reflect"
    model = nn.ModuleDict(
        {
            "ratio": stand_ins.Activation1d(act, up_ratio=4),
            "taps": stand_ins.Activation1d(act, down_kernel_size=25),
            "two": stand_ins.Activation1d(act, up_kernel_size=2),
            "act": stand_ins.Activation1d(nn.Tanh()),
            "trained": trained,
            "replaced": replaced,
            "reflected": reflected,
        }
    )
    assert report(model).left == {
        "ratio": "it upsamples by 4 and downsamples by 4, and only 2 has a fused form",
        "taps": "its filters have 12 and 25 taps, and only 3 to 24 have a fused form",
        "two": "its filters have 2 and 12 taps, and only 3 to 24 have a fused form",
        "act": "its activation, Tanh, has no fused form",
        "trained": "its filters require gradients",
        "replaced": "its resampling was replaced",
        "reflected": "its low-pass filter does not repeat the ends of the signal",
    }
    fastgan.fuse(model)
    assert list(report(model).fused) == ["ratio.act"]


def test_a_part_that_changes_after_fusing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fastgan.fuse(stand_ins.Activation1d(stand_ins.Snake(CHANNELS)))
    x = torch.randn(2, CHANNELS, 20)
    assert kernels_called(model, x, monkeypatch) == ["anti_aliased_snake"]
    stand_ins.install(monkeypatch)
    model.upsample.filter.requires_grad_()
    assert kernels_called(model, x, monkeypatch) == ["snake"]


def test_parametrized() -> None:
    """Before and after fusing; unfuse restores the class below the parametrization."""
    plain = shaken(
        nn.Sequential(stand_ins.Activation1d(stand_ins.SnakeBeta(CHANNELS)), stand_ins.Snake1d(CHANNELS))
    )
    x = torch.randn(2, CHANNELS, 30)
    for before in (True, False):
        model = copy.deepcopy(plain)
        if not before:
            fastgan.fuse(model)
        for each in (model[0].act, model[1]):
            nn.utils.parametrize.register_parametrization(each, "alpha", nn.Softplus())
        if before:
            expected = model(x)
            fastgan.fuse(model)
        assert list(report(model).fused) == ["0", "0.act", "1"]
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
        fastgan.unfuse(model)
        assert not report(model).fused
        torch.testing.assert_close(model(x), expected)
        for each in (model[0].act, model[1]):
            nn.utils.parametrize.remove_parametrizations(each, "alpha", leave_parametrized=False)
        assert [type(each) for each in model.modules()] == [type(each) for each in plain.modules()]


@pytest.mark.parametrize(
    ("of_model", "of_signal"),
    [(torch.float32, torch.float64), (torch.bfloat16, torch.float32), (torch.float64, torch.float32)],
    ids=str,
)
def test_dtypes_that_do_not_fit_take_the_plain_way(of_model: torch.dtype, of_signal: torch.dtype) -> None:
    for plain in (stand_ins.SnakeBeta(CHANNELS), stand_ins.Snake1d(CHANNELS)):
        shaken(plain).to(of_model)
        x = torch.randn(2, CHANNELS, 30, dtype=of_signal)
        found, expected = fastgan.fuse(copy.deepcopy(plain))(x), plain(x)
        assert found.dtype is expected.dtype
        assert torch.equal(found, expected)


def test_a_signal_without_samples_takes_the_plain_way() -> None:
    plain = shaken(stand_ins.SnakeBeta(CHANNELS))
    x = torch.randn(CHANNELS, CHANNELS)
    assert torch.equal(fastgan.fuse(copy.deepcopy(plain))(x), plain(x))


def test_second_derivative_under_autocast() -> None:
    """It is that of float32, as the first one."""
    model = shaken(AntiAliasedSnake(SnakeBeta(CHANNELS)))
    x = torch.randn(2, CHANNELS, 30, requires_grad=True)
    grads = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
            grads.append([slope, *torch.autograd.grad(slope.square().sum(), [x, *model.parameters()])])
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


def test_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    snakes = [each for each in packages.PACKAGES["bigvgan"] if "discriminators" not in each.module]
    monkeypatch.setitem(packages.PACKAGES, "bigvgan", snakes)  # the package's discriminators are elsewhere
    torch.manual_seed(0)
    plain = generator()
    after = torch.rand(())
    for name in ("bigvgan", "dac"):
        fastgan.patch(name)
    try:
        torch.manual_seed(0)
        model = generator()
        assert torch.equal(torch.rand(()), after)
    finally:
        for name in ("bigvgan", "dac"):
            fastgan.unpatch(name)
    assert list(report(model).fused) == ["1", "1.act", "3", "3.act", "4", "5"]
    assert list(model.state_dict()) == list(plain.state_dict())
    model.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 50)
    torch.testing.assert_close(results(model, x), results(plain, x), rtol=1e-5, atol=1e-5)
    assert not report(generator()).fused
    assert Network("dac.nn.layers", "Snake1d") in packages.PACKAGES["dac"]


def test_state_dict_is_bigvgans() -> None:
    for own, published in (
        (Snake(CHANNELS), stand_ins.Snake(CHANNELS)),
        (SnakeBeta(CHANNELS, log_scale=True), stand_ins.SnakeBeta(CHANNELS, alpha_logscale=True)),
    ):
        ours, theirs = AntiAliasedSnake(own), stand_ins.Activation1d(published)
        shaken(theirs)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(2, CHANNELS, 50)
        torch.testing.assert_close(results(ours, x), results(theirs, x), rtol=1e-5, atol=1e-5)


def test_what_modules_start_with() -> None:
    assert torch.equal(Snake(4).alpha, torch.ones(4))
    assert torch.equal(Snake(4, log_scale=True).alpha, torch.zeros(4))
    layer = SnakeBeta(4, alpha=2.0, dtype=torch.float64)
    assert torch.equal(layer.beta, torch.full((4,), 2.0, dtype=torch.float64))
    assert repr(layer) == "SnakeBeta(4, log_scale=False, eps=1e-09)"
    assert kaiser_sinc_filter(12).sum() == pytest.approx(1)


def test_a_constant_alternates_after_an_odd_filter() -> None:
    """As in bigvgan 2.4.1, so that its checkpoints give its results: findings/odd-upsampling-filter.sh."""
    ones = torch.ones(1, 1, 40)
    for taps, ripple in ((4, 0.0), (5, 0.1202), (11, 0.0027), (12, 0.0), (24, 0.0)):
        u = AntiAliasedSnake(Snake(1), up_taps=taps).upsample(ones)[0, 0, 12:-12]
        assert (u - 1).abs().max().item() == pytest.approx(ripple, abs=1e-4)


def test_a_graph_has_one_call() -> None:
    model = nn.Sequential(AntiAliasedSnake(SnakeBeta(CHANNELS)), Snake(CHANNELS))
    graph = fx.symbolic_trace(model)
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]
    x = torch.randn(2, CHANNELS, 20)
    assert torch.equal(graph(x), model(x))


def test_compiled_modules() -> None:
    torch.compiler.reset()
    model = nn.Sequential(AntiAliasedSnake(SnakeBeta(CHANNELS)), Snake(CHANNELS), *generator()[1:])
    fastgan.fuse(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, CHANNELS, 20)
    torch.testing.assert_close(results(compiled, x), results(model, x))


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="act must be a Snake or SnakeBeta, but is Tanh"):
        AntiAliasedSnake(nn.Tanh())
    for options, message in (
        ({"up_taps": 25}, "up_taps must be 2 to 24, but is 25"),
        ({"down_taps": 1}, "down_taps must be 2 to 24, but is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            AntiAliasedSnake(Snake(2), **options)
    with pytest.raises(ValueError, match="eps must be finite and not negative, but is -1"):
        Snake(2, eps=-1.0)
    with pytest.raises(TypeError, match="cannot trace Snake by itself"):
        fx.symbolic_trace(Snake(2))
    with pytest.raises(ValueError, match="taps must be at least 2, but is 1"):
        kaiser_sinc_filter(1)
