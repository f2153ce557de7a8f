"""fastgan.fuse on forwards that call activations as functions, as vocoders and upscalers are written."""

from __future__ import annotations

import copy
import gc
import io
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import fastgan
from fastgan.fusion import report
from fastgan.nn import WithLeakyReLU


@pytest.fixture(autouse=True)
def _float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Period(nn.Module):
    """HiFi-GAN's discriminator of a period: activated maps are kept, raw ones are not."""

    def __init__(self, norm: Callable[..., nn.Module] = lambda layer: layer, slope: float = 0.1) -> None:
        super().__init__()
        channels = itertools.pairwise((1, 4, 5, 6))
        self.convolutions = nn.ModuleList(
            [norm(nn.Conv2d(*ends, (5, 1), (2, 1), (2, 0))) for ends in channels]
        )
        self.last, self.slope = norm(nn.Conv2d(6, 1, (3, 1), 1, (1, 0))), slope

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), self.slope)
            features.append(x)
        x = self.last(x)
        return x.flatten(1), [*features, x]


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList([Period(), Period(nn.utils.spectral_norm)])

    def forward(self, x: Tensor) -> list[Any]:
        return [each(x) for each in self.discriminators]


class UNet(nn.Module):
    """Real-ESRGAN's discriminator."""

    def __init__(self) -> None:
        super().__init__()
        norm = parametrizations.spectral_norm
        self.conv0 = nn.Conv2d(1, 4, 3, 1, 1)
        self.conv1 = norm(nn.Conv2d(4, 8, 4, 2, 1, bias=False))
        self.conv2 = norm(nn.Conv2d(8, 4, 3, 1, 1, bias=False))
        self.conv3 = norm(nn.Conv2d(4, 4, 3, 1, 1, bias=False))
        self.last = nn.Conv2d(4, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x0 = F.leaky_relu(self.conv0(x), negative_slope=0.2, inplace=True)
        x1 = F.leaky_relu(self.conv1(x0), negative_slope=0.2, inplace=True)
        x1 = F.interpolate(x1, scale_factor=2, mode="bilinear", align_corners=False)
        x2 = F.leaky_relu(self.conv2(x1), negative_slope=0.2, inplace=True) + x0
        return self.last(F.leaky_relu(self.conv3(x2), negative_slope=0.2, inplace=True))


class Forms(nn.Module):
    """Every way to write it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(9)])

    def forward(self, x: Tensor) -> Tensor:
        one, two, three, four, five, six, seven, eight, nine = self.layers
        x = F.relu(one(x))
        x = torch.relu(two(x))
        x = three(x).relu()
        x = F.leaky_relu(four(x))
        x = torch.nn.functional.leaky_relu_(five(x), 0.3)
        x = F.relu(six(x), inplace=True)
        x = torch.relu_(seven(x))
        x = F.leaky_relu(input=eight(x), negative_slope=0.3)
        return torch._C._nn.leaky_relu(input=nine(x), negative_slope=0.4)


class Norms(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4, momentum=None)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.leaky_relu(self.bn2(self.conv2(x)), 0.3) + x


class Dropped(nn.Module):
    """Dropouts between layers and activations, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.middle, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 5), nn.Linear(5, 3)
        self.maps, self.rows, self.same = nn.Dropout2d(0.4), nn.Dropout(0.3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.same(self.maps(self.conv(x))), 0.2).mean((2, 3))
        x = torch.relu(self.rows(self.middle(x)))
        return F.leaky_relu(self.rows(self.last(x)), 0.3)


class Steps(nn.Module):
    """A forward that torch.fx cannot trace: it looks at its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, _ = x.shape
        if rows % 2:
            x = torch.cat([x, x[:1]])
        return self.second(F.leaky_relu(self.first(x), 0.2))


IMAGE, ROWS = (2, 1, 16, 3), (4, 6)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "period": (Period, IMAGE, 3),
    "weight norm": (lambda: Period(parametrizations.weight_norm), IMAGE, 3),
    "spectral norm": (lambda: Period(parametrizations.spectral_norm), IMAGE, 3),
    "spectral norm with hooks": (lambda: Period(nn.utils.spectral_norm), IMAGE, 3),
    "slope 0": (lambda: Period(slope=0.0), IMAGE, 3),
    "several": (Several, IMAGE, 6),
    "unet": (UNet, (2, 1, 8, 8), 4),
    "forms": (Forms, ROWS, 9),
    "batch norms": (Norms, (3, 1, 8, 8), 2),
    "dropouts": (Dropped, (3, 1, 8, 8), 3),
}


def flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for each in value for t in flat(each)]


def results(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs, gradients of input and parameters, and those of a gradient penalty."""
    x = x.clone().requires_grad_()
    torch.manual_seed(5)  # for dropouts
    outputs = flat(model(x))
    parameters = [p for p in model.parameters() if p.requires_grad]
    (slope,) = torch.autograd.grad(sum(t.square().sum() for t in outputs), x, create_graph=True)
    second = torch.autograd.grad(slope.square().sum(), parameters, retain_graph=True, allow_unused=True)
    first = torch.autograd.grad(sum(t.sum() for t in outputs), parameters)
    return [*outputs, slope, *first, *(t for t in second if t is not None)]


def compare(ours: nn.Module, plain: nn.Module, x: Tensor) -> None:
    for pair in zip(results(ours, x), results(plain, x), strict=True):
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-12)


def fused_layers(model: nn.Module) -> int:
    return sum(isinstance(each, WithLeakyReLU) for each in model.modules())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("make", "shape", "layers"), MODELS.values(), ids=MODELS)
def test_same_model(
    make: Callable[[], nn.Module], shape: tuple[int, ...], layers: int, training: bool
) -> None:
    plain = make().train(training)
    x = torch.randn(shape)
    model, copied = copy.deepcopy(plain), copy.deepcopy(plain)
    kinds = [type(each) for each in plain.modules()]
    before = report(model)
    assert len(before.fusable) == layers
    assert not before.left
    assert fastgan.fuse(model) is model
    assert fused_layers(model) == len(report(model).fused) == layers
    assert isinstance(model, kinds[0])
    assert list(model.state_dict()) == list(plain.state_dict())
    unfused = fastgan.unfuse(copy.deepcopy(model))
    assert [type(each).__name__ for each in unfused.modules()] == [kind.__name__ for kind in kinds]
    assert fused_layers(unfused) == 0
    for each in (model, copy.deepcopy(model), unfused):  # none was called: spectral norm would have moved
        compare(copy.deepcopy(each), copy.deepcopy(copied), x)


def test_an_example_input_shows_what_cannot_be_traced() -> None:
    plain = Steps()
    model = copy.deepcopy(plain)
    with pytest.warns(UserWarning, match="found no layer to fuse"):
        fastgan.fuse(model)
    fastgan.fuse(model, torch.randn(3, 6))
    assert report(model, torch.randn(3, 6)).fused == {"first": "LinearLeakyReLU"}
    for rows in (3, 4):
        compare(model, plain, torch.randn(rows, 6))


def test_fewer_bytes_are_kept_for_the_backward_pass() -> None:
    """One tensor for each layer and activation, not two."""
    plain = Period()
    kept = []
    for model in (plain, fastgan.fuse(copy.deepcopy(plain))):
        storages: dict[int, int] = {}

        def pack(t: Tensor, storages: dict[int, int] = storages) -> Tensor:
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        x = torch.randn(2, 1, 640, 3)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            output = model(x)
        kept.append(sum(storages.values()))
        del output
    assert kept[1] < 0.65 * kept[0]


def test_a_layer_that_is_called_from_elsewhere_computes_as_before() -> None:
    plain = Period()
    model, x = fastgan.fuse(copy.deepcopy(plain)), torch.randn(IMAGE)
    torch.testing.assert_close(model.convolutions[0](x), plain.convolutions[0](x))
    assert (model.convolutions[0](x) < 0).any()


def test_hooks_wrappers_and_replaced_layers_see_raw_values() -> None:
    plain = Period()
    x = torch.randn(IMAGE)
    expected = plain(x)
    seen: list[Tensor] = []
    model = fastgan.fuse(copy.deepcopy(plain))
    model.convolutions[1].register_forward_hook(lambda *call: seen.append(call[-1]))
    torch.testing.assert_close(model(x), expected)
    assert (seen[0] < -0.2).any()  # not multiplied by the slope

    class Added(nn.Module):
        """As an adapter is added to a layer."""

        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + 1

    for change in (Added, lambda layer: copy.deepcopy(plain.convolutions[1])):
        pair = [copy.deepcopy(plain), fastgan.fuse(copy.deepcopy(plain))]
        for each in pair:
            each.convolutions[1] = change(each.convolutions[1])
        torch.testing.assert_close(*(each(x) for each in pair))


def test_an_activation_of_an_activation_is_computed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return F.leaky_relu(F.leaky_relu(self.layer(x), 0.2), 0.2)

    plain, x = Twice(), torch.randn(ROWS)
    model = fastgan.fuse(copy.deepcopy(plain))
    assert fused_layers(model) == 1
    compare(model, plain, x)


def test_a_changed_slope_is_refused() -> None:
    model = fastgan.fuse(Period())
    model.slope = 0.3
    with pytest.raises(
        RuntimeError, match=r"has a negative slope of 0.1 and the forward asks for one of 0.3"
    ):
        model(torch.randn(IMAGE))


def test_failures_and_threads_do_not_mix_up_who_runs() -> None:
    plain = Period()
    model, x = fastgan.fuse(copy.deepcopy(plain)), torch.randn(IMAGE)
    with pytest.raises(RuntimeError):
        model(torch.randn(2, 7, 16, 3))
    torch.testing.assert_close(model.convolutions[0](x), plain.convolutions[0](x))
    outputs: list[Any] = [None] * 4
    expected = plain(x)

    def run(i: int) -> None:
        outputs[i] = model(x) if i % 2 else model.convolutions[0](x)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, output in enumerate(outputs):
        torch.testing.assert_close(output, expected if i % 2 else plain.convolutions[0](x))


def test_saved_models_and_graphs() -> None:
    plain, x = Period(), torch.randn(IMAGE)
    model = fastgan.fuse(copy.deepcopy(plain))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert fused_layers(loaded) == 3
    compare(loaded, plain, x)
    traced = fx.symbolic_trace(model)
    torch.testing.assert_close(traced(x), plain(x))
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), plain(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), plain(x))
    jacobians = (torch.func.vmap(lambda row, m=m: m(row[None])[0])(x) for m in (model, plain))
    torch.testing.assert_close(*jacobians)
    assert fused_layers(fastgan.unfuse(loaded)) == 0


class Segments(nn.Module):
    """Layers whose values are computed again in the backward pass: with their activations, and without."""

    def __init__(self, reentrant: bool, alone: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Conv1d(4, 4, 3, padding=1)
        self.reentrant, self.alone = reentrant, alone

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            if self.alone:
                x = F.leaky_relu(checkpoint(layer, x, use_reentrant=self.reentrant), 0.2)
            else:
                x = checkpoint(
                    lambda x, layer=layer: F.leaky_relu(layer(x), 0.2), x, use_reentrant=self.reentrant
                )
        return x


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant: bool, alone: bool) -> None:
    plain, x = Segments(reentrant, alone), torch.randn(ROWS, requires_grad=True)
    model = fastgan.fuse(copy.deepcopy(plain), x)
    assert fused_layers(model) == 2

    def gradients(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        model.zero_grad()
        plain.zero_grad()
        leaf = x.detach().clone().requires_grad_()
        run(leaf).square().sum().backward()
        return [
            leaf.grad,
            *(p.grad for each in (model, plain) for p in each.parameters() if p.grad is not None),
        ]

    if reentrant and alone:
        with pytest.raises(RuntimeError, match="was detached before its activation"):
            gradients(model)
        return
    expected = gradients(plain)
    for run in (model, lambda x: checkpoint(model, x, use_reentrant=False)):
        torch.testing.assert_close(gradients(run), expected, rtol=1e-10, atol=1e-12)


class Raw(nn.Module):
    def __init__(self, slopes: tuple[float, ...] = (0.2,)) -> None:
        super().__init__()
        self.layer, self.slopes = nn.Linear(6, 6), slopes


class Residual(Raw):
    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return h + F.leaky_relu(h, 0.2)


class TwoSlopes(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.layer(F.leaky_relu(self.layer(x), 0.1)), 0.2)


class Negative(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.layer(x), -0.2)


class Written(Raw):
    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.layer(x), 0.2).mul_(2)


class Hooked(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.layer.register_forward_hook(lambda *_: None)


LEFT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "residual": (Residual, "is followed by a function, but its output goes to 2 calls"),
    "two slopes": (TwoSlopes, "is followed by a function, but with slopes of 0.1 and 0.2"),
    "negative": (Negative, "its negative slope is -0.2; the fused backward needs at least 0"),
    "written": (Written, "'mul_' overwrites its output in place"),
    "hooked": (Hooked, "a hook sees its output"),
}


@pytest.mark.parametrize(("make", "reason"), LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("watched", [True, False])
def test_what_is_left_and_why(make: Callable[[], nn.Module], reason: str, watched: bool) -> None:
    model = make()
    found = report(model, torch.randn(ROWS) if watched else None)
    assert not found.fusable
    assert reason in found.left["layer"]


def test_classes_of_a_script_are_not_kept() -> None:
    """A class holds the names of the script that defines it, with its networks."""

    class Own(nn.Linear):
        pass

    class Local(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.layer(x))

    model = Local()
    model.layer = Own(6, 6)
    assert fused_layers(fastgan.fuse(model)) == 1
    known = [weakref.ref(Own), weakref.ref(Local)]
    del model, Own, Local
    for _ in range(3):  # a collected class frees the name under which it was known, which holds another
        gc.collect()
    assert [each() for each in known] == [None, None]
