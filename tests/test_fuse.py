"""fastgan.fuse: the same model, faster; and fastgan.unfuse, the model as it was."""

from __future__ import annotations

import copy
import io
import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, parametrize
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint_sequential

import fastgan
from fastgan.fusion import report

Build = Callable[[], nn.Module]


def pair(negative_slope: float = 0.2, bias: bool = True) -> list[nn.Module]:
    return [nn.Linear(4, 4, bias=bias), nn.LeakyReLU(negative_slope)]


def image_pair(cls: type[nn.Module] = nn.Conv2d, **options: object) -> nn.Module:
    return nn.Sequential(cls(4, 4, 3, **options), nn.LeakyReLU(0.2, inplace=True))


def shared_activation() -> nn.Module:
    activation = nn.LeakyReLU(0.3)
    return nn.Sequential(nn.Linear(4, 4), activation, nn.Linear(4, 4), activation, nn.Linear(4, 1))


def shared_linear() -> nn.Module:
    linear = nn.Linear(4, 4)
    return nn.Sequential(linear, nn.LeakyReLU(0.2), linear, nn.LeakyReLU(0.1), *pair())


def dcgan(norm: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> nn.Module:
    return nn.Sequential(
        norm(nn.Conv2d(4, 6, 4, 2, 1, bias=False)),
        nn.LeakyReLU(0.2, inplace=True),
        norm(nn.Conv2d(6, 8, 4, 2, 1)),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        norm(nn.Linear(32, 5)),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(5, 1),
    )


class Residual(nn.Module):
    """A forward of its own: one activation for all, a layer list, a skip, an argument left out."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.LeakyReLU(0.1)
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.up = nn.ConvTranspose2d(4, 4, 3, 2)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 3), nn.LeakyReLU(0.2))
        self.calls = 0

    def forward(self, input: Tensor, label: Tensor | None = None) -> Tensor:
        self.calls += 1
        hidden = input
        for conv in self.convs:
            hidden = self.act(conv(hidden))
        if label is not None:
            hidden = hidden + label
        hidden = F.relu(hidden + input, inplace=True)
        size = (2 * hidden.shape[2] + 2, 2 * hidden.shape[3] + 2)
        return self.head(self.act(self.up(hidden, output_size=size)))


class Untraceable(nn.Module):
    """A forward that looks at its data, around layers that need no look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*pair())
        self.last, self.act = nn.Linear(4, 4), nn.LeakyReLU()

    def forward(self, input: Tensor) -> Tensor:
        output = self.act(self.last(self.body(input)))
        return -output if output.sum() > 1e9 else output


class MyLinear(nn.Linear):
    """A linear layer with another beginning and a method of its own."""

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.weight)
        nn.init.constant_(self.bias, 0.1)

    def norm(self) -> Tensor:
        return self.weight.norm()


class MyConv(nn.Conv2d):
    pass


class MyNorm(nn.BatchNorm1d):
    """Takes matrices only."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() != 2:
            raise ValueError(f"expected a matrix, got {input.dim()} dimensions")


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Padded(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(F.pad(input, (1, 1, 1, 1)), weight, bias)


class Wrapped(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        return self.layer(input)


def hooked_between() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.LeakyReLU())
    model[1].register_forward_hook(lambda *_: None)
    return model


def hooked(register: str, where: int) -> nn.Module:
    model = nn.Sequential(*pair())
    getattr(model[where], register)(lambda *_: None)
    return model


def old_norm(norm: Callable[..., nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(norm(nn.Linear(4, 4)), nn.LeakyReLU(0.2))


LINEAR: dict[str, tuple[Build, int]] = {
    "two": (lambda: nn.Sequential(*pair(), *pair(0.01), nn.Linear(4, 1)), 2),
    "no bias": (lambda: nn.Sequential(*pair(bias=False), nn.Linear(4, 1)), 1),
    "slope 0": (lambda: nn.Sequential(*pair(0.0)), 1),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(*pair()), nn.ModuleDict({"a": nn.Sequential(*pair())})["a"]),
        2,
    ),
    "mixed": (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), *pair(), nn.LeakyReLU()), 2),
    "ReLU in place": (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)), 1),
    "shared ReLU": (lambda: nn.Sequential(nn.Linear(4, 4), relu := nn.ReLU(), nn.Linear(4, 4), relu), 2),
    "eval": (lambda: nn.Sequential(*pair()).eval(), 1),
    "shared LeakyReLU": (shared_activation, 2),
    "shared Linear": (shared_linear, 1),
    "called twice": (lambda: nn.Sequential(*(layers := pair()), nn.Linear(4, 4), *layers), 1),
    "pre-hook": (lambda: hooked("register_forward_pre_hook", 0), 1),
    "untraceable": (Untraceable, 1),
    "spectral_norm": (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), *pair()[1:]), 1),
    "weight_norm": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), *pair()[1:]), 1),
    "orthogonal": (lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), *pair()[1:]), 1),
    "spectral_norm by hook": (lambda: old_norm(nn.utils.spectral_norm), 1),
    "weight_norm by hook": (lambda: old_norm(nn.utils.weight_norm), 1),
    "Identity between": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Identity(), *pair()[1:]), 1),
    "no dropout between": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), *pair()[1:]), 1),
    "dropout between": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.4), *pair()[1:]), 1),
    "subclass": (lambda: nn.Sequential(MyLinear(4, 4), *pair()[1:]), 1),
    "subclass, weight_norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(MyLinear(4, 4)), *pair()[1:]),
        1,
    ),
    "in place elsewhere": (lambda: nn.Sequential(*pair(), nn.LayerNorm(4), nn.ReLU(inplace=True)), 1),
    "BatchNorm1d": (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True)), 1),
    "BatchNorm1d, not affine": (
        lambda: nn.Sequential(
            nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False, track_running_stats=False), nn.ReLU()
        ),
        1,
    ),
    "BatchNorm1d, weight_norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.BatchNorm1d(4)), *pair()[1:]),
        1,
    ),
    "subclass of BatchNorm1d": (lambda: nn.Sequential(MyNorm(4), *pair()[1:]), 1),
}
IMAGES: dict[str, tuple[Build, int]] = {
    "Conv2d": (image_pair, 1),
    "subclass": (lambda: nn.Sequential(MyConv(4, 4, 3), nn.LeakyReLU(0.2)), 1),
    "reflect": (lambda: image_pair(padding=1, padding_mode="reflect", bias=False), 1),
    "Dropout2d between": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.Dropout2d(0.5), nn.Identity(), nn.ReLU()),
        1,
    ),
    "groups": (lambda: image_pair(groups=2, stride=2, dilation=2), 1),
    "ConvTranspose2d": (lambda: image_pair(nn.ConvTranspose2d, stride=2, output_padding=1, groups=2), 1),
    "BatchNorm2d": (lambda: nn.Sequential(nn.BatchNorm2d(4, momentum=None, eps=0.1), nn.LeakyReLU(0.2)), 1),
    "DCGAN": (dcgan, 3),
    "DCGAN, spectral_norm": (lambda: dcgan(parametrizations.spectral_norm), 3),
    "DCGAN, weight_norm": (lambda: dcgan(parametrizations.weight_norm), 3),
    "own forward": (Residual, 4),
    "in DCGAN": (lambda: nn.Sequential(Residual(), nn.Conv2d(4, 4, 3), nn.LeakyReLU()), 5),
}
SHAPES = {"linear": (5, 4), "images": (3, 4, 8, 8)}
MODELS = [
    pytest.param(build, fused, shape, id=name)
    for shape, table in zip(SHAPES.values(), (LINEAR, IMAGES), strict=True)
    for name, (build, fused) in table.items()
] + [
    pytest.param(lambda cls=cls: image_pair(cls, stride=2), 1, (2, 4, *[5] * n), id=cls.__name__)
    for cls, n in (
        (nn.Conv1d, 1),
        (nn.ConvTranspose1d, 1),
        (nn.Conv3d, 3),
        (nn.ConvTranspose3d, 3),
    )
]


def twice(build: Build) -> tuple[nn.Module, nn.Module]:
    """The same model two times over: what was made with a hook cannot be copied."""
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build().double())
    return models[0], models[1]


def fused_layers(module: nn.Module) -> int:
    return len(report(module).fused)


def outputs_and_gradients(model: nn.Module, input: Tensor) -> list[Tensor]:
    """The output, each gradient, and those of a gradient penalty (R1)."""
    input = input.clone().requires_grad_()
    torch.manual_seed(5)  # for dropouts
    output = model(input)
    (to_input,) = torch.autograd.grad(output.square().sum(), input, create_graph=True)
    parameters = list(model.parameters())
    first = torch.autograd.grad(output.square().sum(), parameters, retain_graph=True)
    second = torch.autograd.grad(to_input.square().sum(), parameters, materialize_grads=True)
    return [output, to_input, *first, *second]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12 * max(1.0, other.abs().max().item()))


def anatomy(model: nn.Module) -> list[object]:
    """Everything of a model but its forward: names, types, attributes, Parameters themselves."""
    return [
        (name, type(m).__name__, type(m).__bases__, m.training, list(vars(m)), list(map(id, m.parameters())))
        for name, m in model.named_modules()
    ]


@pytest.fixture(params=[True, False], ids=["bias in the convolution", "bias with the activation"])
def adds_bias(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fused convolutions do on a CPU; and what they do on a GPU, done on the CPU."""
    monkeypatch.setattr("fastgan.nn._adds_bias", lambda input: request.param)


@pytest.mark.usefixtures("adds_bias")
@pytest.mark.parametrize(("build", "fused", "shape"), MODELS)
def test_same_model(build: Build, fused: int, shape: tuple[int, ...]) -> None:
    plain, model = twice(build)
    before, keys = anatomy(model), list(model.state_dict())
    tensors = [(name, id(t)) for name, t in [*model.named_parameters(), *model.named_buffers()]]
    input, state = torch.randn(shape, dtype=torch.float64), torch.get_rng_state()

    assert fastgan.fuse(model) is model
    assert torch.equal(torch.get_rng_state(), state)
    assert fused_layers(model) == fused
    assert list(model.state_dict()) == keys
    assert [(name, id(t)) for name, t in [*model.named_parameters(), *model.named_buffers()]] == tensors
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))

    plain.load_state_dict(model.state_dict())
    model.load_state_dict(plain.state_dict())
    assert fastgan.unfuse(model) is model
    assert anatomy(model) == before
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


@pytest.mark.usefixtures("adds_bias")
@pytest.mark.parametrize("build", [dcgan, Residual])
def test_channels_last_is_kept(build: Build) -> None:
    plain, model = (each.to(memory_format=torch.channels_last) for each in twice(build))
    first = next(m for m in fastgan.fuse(model).modules() if isinstance(m, nn.Conv2d))
    assert first.weight.is_contiguous(memory_format=torch.channels_last)
    input = torch.randn(SHAPES["images"], dtype=torch.float64).to(memory_format=torch.channels_last)
    assert first(input).is_contiguous(memory_format=torch.channels_last)
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


@pytest.mark.usefixtures("adds_bias")
def test_without_a_batch() -> None:
    plain, model = twice(lambda: nn.Sequential(nn.Conv2d(4, 3, 3), nn.LeakyReLU()))
    input = torch.randn(4, 8, 8, dtype=torch.float64)
    assert_same([fastgan.fuse(model)(input)], [plain(input)])


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"momentum": 0.7}, {"affine": False}, {"track_running_stats": False}],
    ids=str,
)
def test_buffers_of_a_fused_batch_norm(options: dict[str, object]) -> None:
    """Statistics after several batches, and evaluation with them."""
    plain, model = twice(lambda: nn.Sequential(nn.BatchNorm2d(4, **options), nn.LeakyReLU(0.2)))
    fastgan.fuse(model)
    assert fused_layers(model) == 1
    for mode in (True, True, True, False):
        input = torch.randn(SHAPES["images"], dtype=torch.float64)
        plain.train(mode)
        model.train(mode)
        assert_same([model(input), *model.buffers()], [plain(input), *plain.buffers()])
    with pytest.raises(ValueError, match="expected 4D input"):
        model(torch.randn(3, 4))


def test_a_batch_norm_that_became_synchronized() -> None:
    """PyTorch's conversion makes new layers; the activation notices. Converted before, it is refused."""
    model = fastgan.fuse(nn.Sequential(nn.BatchNorm1d(4), nn.LeakyReLU(0.2))).eval()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with pytest.raises(RuntimeError, match=r"a tensor that is not the output of its layer"):
        converted(torch.randn(3, 4))


def test_fusing_twice_changes_nothing() -> None:
    model = fastgan.fuse(dcgan())
    before = anatomy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert anatomy(fastgan.fuse(model)) == before


def test_layers_that_were_built_fused_are_not_unfused() -> None:
    model = nn.Sequential(fastgan.nn.LinearLeakyReLU(4, 4), fastgan.nn.Conv2dLeakyReLU(4, 4, 1))
    before = anatomy(model)
    assert anatomy(fastgan.unfuse(fastgan.fuse(model))) == before


def test_a_fused_layer_by_hand() -> None:
    layer = fastgan.nn.Conv2dLeakyReLU(4, 6, 4, 2, padding=1, negative_slope=0.3)
    input = torch.randn(SHAPES["images"])
    expected = F.leaky_relu(F.conv2d(input, layer.weight, layer.bias, 2, 1), 0.3)
    torch.testing.assert_close(layer(input), expected)
    assert repr(layer).endswith("padding=(1, 1), negative_slope=0.3)")
    norm = fastgan.nn.BatchNorm2dLeakyReLU(4, eps=0.1, negative_slope=0.3)
    expected = F.leaky_relu(F.batch_norm(input, None, None, norm.weight, norm.bias, True, eps=0.1), 0.3)
    torch.testing.assert_close(norm(input), expected)
    assert repr(norm).endswith("track_running_stats=True, negative_slope=0.3)")
    with pytest.raises(ValueError, match=r"negative_slope .*-1"):
        fastgan.nn.BatchNorm1dLeakyReLU(4, negative_slope=-1)
    with pytest.raises(ValueError, match=r"negative_slope .*-1"):
        fastgan.nn.ConvTranspose1dLeakyReLU(1, 1, 1, negative_slope=-1)


def test_frozen_parameters_stay_frozen() -> None:
    model = nn.Sequential(*pair())
    model[0].weight.requires_grad_(False)
    assert not fastgan.fuse(model)[0].weight.requires_grad


def test_an_optimizer_made_before_keeps_working() -> None:
    model = nn.Sequential(*pair(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model[0].weight.clone()
    fastgan.fuse(model)(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before)


def test_normalized_layers_before_and_after() -> None:
    """Parametrizations may come off, and on, a fused layer; pre-hooks run."""
    plain, model = twice(lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.LeakyReLU()))
    calls = []
    model[0].register_forward_pre_hook(lambda *_: calls.append(1))
    fastgan.fuse(model)
    for each in (plain, model):
        parametrize.remove_parametrizations(each[0], "weight")
        torch.manual_seed(0)
        parametrizations.spectral_norm(each[0])
    input = torch.randn(3, 4, dtype=torch.float64)
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))
    fastgan.unfuse(model)
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))
    assert len(calls) == 2
    assert parametrize.type_before_parametrizations(model[0]) is nn.Linear


@pytest.mark.parametrize("norm", [None, parametrizations.spectral_norm])
def test_copies_and_checkpoints(norm: Callable[[nn.Module], nn.Module] | None) -> None:
    """deepcopy, whole modules through torch.save, and a checkpoint of either in the other."""
    plain, model = (m.eval() for m in twice(dcgan if norm is None else lambda: dcgan(norm)))
    fastgan.fuse(model)
    input = torch.randn(SHAPES["images"], dtype=torch.float64)
    other = copy.deepcopy(model)
    assert fused_layers(other) == 3
    assert torch.equal(other(input), model(input))
    assert fused_layers(fastgan.unfuse(other)) == 0
    assert fused_layers(model) == 3
    for source, target in ((plain, model), (model, plain)):
        for parameter in source.parameters():
            nn.init.normal_(parameter)
        buffer = io.BytesIO()
        torch.save(source.state_dict(), buffer)
        buffer.seek(0)
        target.load_state_dict(torch.load(buffer))
        assert_same([target(input)], [source(input)])
    if norm is None:  # PyTorch does not pickle parametrized modules
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        assert torch.equal(torch.load(buffer, weights_only=False)(input), model(input))


def test_averaged_model() -> None:
    """The moving average of a fused model, and a moving average that is fused."""
    for fused_first in (True, False):
        plain, model = twice(dcgan)
        averages = []
        for each in (plain, model):
            if each is model and fused_first:
                fastgan.fuse(each)
            averages.append(AveragedModel(each, use_buffers=True).eval())
        if not fused_first:
            fastgan.fuse(averages[1])
        for each, average in zip((plain, model), averages, strict=True):
            for k, parameter in enumerate(each.parameters()):
                nn.init.constant_(parameter, 0.01 * k)
            average.update_parameters(each)
        input = torch.randn(SHAPES["images"], dtype=torch.float64)
        assert fused_layers(averages[1]) == 3
        assert list(averages[1].state_dict()) == list(averages[0].state_dict())
        assert_same([averages[1](input)], [averages[0](input)])


def test_distributed_data_parallel() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        for fused_first in (True, False):
            plain, model = twice(lambda: dcgan(parametrizations.spectral_norm))
            wrapped = DistributedDataParallel(fastgan.fuse(model) if fused_first else model)
            fastgan.fuse(wrapped)
            assert fused_layers(wrapped) == 3
            input = torch.randn(SHAPES["images"], dtype=torch.float64)
            for each in (plain, wrapped):
                each(input).sum().backward()
            assert_same([p.grad for p in wrapped.parameters()], [p.grad for p in plain.parameters()])
    finally:
        dist.destroy_process_group()


class Forward(nn.Module):
    """A linear layer, its activation, and a forward to be tried."""

    def __init__(self, run: Callable[[Forward, Tensor], object]) -> None:
        super().__init__()
        self.linear, self.act, self.norm = nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.LayerNorm(4)
        self.drop = nn.Dropout(0.5, inplace=True)
        self.run = run

    def forward(self, input: Tensor) -> object:
        return self.run(self, input)


def activated(m: Forward, x: Tensor) -> Tensor:
    return m.act(m.linear(x))


def added_in_place(m: Forward, x: Tensor) -> Tensor:
    y = activated(m, x)
    y += x
    return y


def assigned_to(m: Forward, x: Tensor) -> Tensor:
    y = activated(m, x)
    y[0] = 1
    return y


def with_a_feature(m: Forward, x: Tensor) -> tuple[Tensor, Tensor]:
    z = m.linear(x)
    return m.act(z), z


def shape_is_read(m: Forward, x: Tensor) -> Tensor:
    z = m.linear(x)
    return m.act(z).view(z.shape[0], -1)


class WithMode(nn.Module):
    """Another way through it in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(4, 4), nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return self.act(z) if self.training else z


class WithLabel(nn.Module):
    """Another way through it when an argument is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(4, 4), nn.LeakyReLU(0.2)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        z = self.linear(x)
        return z if label is None else self.act(z)


class Layerwise(nn.Module):
    """Reads a Sequential layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*pair())

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [x]
        for layer in self.features:
            outputs.append(layer(outputs[-1]))
        return outputs


class InMethods(nn.Module):
    """Looks at its data, and names its activation elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(4, 4), F.leaky_relu

    def act(self, x: Tensor) -> Tensor:
        return self.function(x, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 1e9 else self.act(self.linear(x))


class NormOfOwn(nn.BatchNorm1d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


def hooked_norm() -> nn.Module:
    norm = nn.BatchNorm1d(4)
    norm.register_forward_hook(lambda *_: None)
    return norm


LEFT: dict[str, tuple[Build, str]] = {
    "forward hook": (lambda: hooked("register_forward_hook", 0), r"1: a hook sees .* Linear '0'"),
    "activation hook": (lambda: hooked("register_forward_hook", 1), r"1: it has a hook"),
    "backward hook": (lambda: hooked("register_full_backward_hook", 0), r"1: a hook sees .* Linear '0'"),
    "backward pre-hook": (lambda: hooked("register_full_backward_pre_hook", 1), r"1: it has a hook"),
    "subclass": (
        lambda: nn.Sequential(Doubled(4, 4), nn.LeakyReLU()),
        r"1: follows Doubled '0', which has a forward of its own",
    ),
    "subclass that pads": (
        lambda: nn.Sequential(Padded(4, 4, 3), nn.LeakyReLU()),
        r"1: follows Padded '0', which has a _conv_forward of its own",
    ),
    "Dropout(inplace) between": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1, inplace=True), nn.LeakyReLU()),
        r"2: follows Dropout '1', which overwrites its input; set inplace=False there",
    ),
    "lazy batch norm": (
        lambda: nn.Sequential(nn.LazyBatchNorm1d(), nn.LeakyReLU()),
        r"1: follows LazyBatchNorm1d '0', which has no weight yet; call the model once",
    ),
    "AlphaDropout between": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.AlphaDropout(0.1), nn.LeakyReLU()),
        r"2: follows AlphaDropout '1', which has no fused form",
    ),
    "hook between": (hooked_between, r"2: a hook sees the output of Identity '1'"),
    "lazy": (
        lambda: nn.Sequential(nn.LazyLinear(4), nn.LeakyReLU()),
        r"1: follows LazyLinear '0', which has no weight yet; call the model once",
    ),
    "F.leaky_relu where fx cannot trace": (
        lambda: Forward(lambda m, x: F.leaky_relu(m.linear(x)) if x.sum() > 0 else x),
        r"act: torch.fx cannot trace",
    ),
    "wrapped": (
        lambda: nn.Sequential(Wrapped(nn.Linear(4, 4)), nn.LeakyReLU()),
        r"1: Linear '0\.layer' is a part of Wrapped '0', and this activation is not",
    ),
    "a function, in a forward that fx cannot trace": (
        InMethods,
        r"left     InMethods: its forward holds layers, and torch.fx cannot trace it; an F.leaky_relu behind "
        r"them is seen only with example_input: TraceError: symbolically traced",
    ),
    "negative slope": (lambda: nn.Sequential(*pair(-0.1)), r"1: its negative slope is -0.1"),
    "other order": (lambda: nn.Sequential(nn.LeakyReLU(), nn.Linear(4, 4)), r"0: follows the input"),
    "empty": (nn.Sequential, "no nn.LeakyReLU, no nn.ReLU and no Snake"),
    "SyncBatchNorm": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.SyncBatchNorm(4), nn.LeakyReLU()),
        r"2: follows SyncBatchNorm '1', which takes the statistics of all processes",
    ),
    "GroupNorm": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.LeakyReLU()),
        r"2: follows GroupNorm '1', which has no fused form",
    ),
    "BatchNorm with a forward of its own": (
        lambda: nn.Sequential(NormOfOwn(4), nn.LeakyReLU()),
        r"1: follows NormOfOwn '0', which has a forward of its own",
    ),
    "BatchNorm with a hook": (
        lambda: nn.Sequential(hooked_norm(), nn.LeakyReLU()),
        r"1: a hook sees the output of BatchNorm1d '0'",
    ),
    "ReLU(inplace)": (
        lambda: nn.Sequential(*pair(), nn.ReLU(inplace=True)),
        r"1: ReLU '2' overwrites its output in place",
    ),
    "Dropout(inplace) of a view": (
        lambda: nn.Sequential(*pair(), nn.Flatten(), nn.Dropout(inplace=True)),
        r"1: Dropout '3' overwrites what may be a view of its output",
    ),
    "in place in another module": (
        lambda: nn.Sequential(Forward(activated), nn.ReLU(inplace=True)),
        r"0\.act: ReLU '1' overwrites",
    ),
    "+=": (lambda: Forward(added_in_place), r"act: 'iadd' overwrites"),
    "method_": (lambda: Forward(lambda m, x: activated(m, x).clamp_(0)), r"act: 'clamp_' overwrites"),
    "view, method_": (lambda: Forward(lambda m, x: activated(m, x).T.mul_(2)), r"act: 'mul_' overwrites"),
    "function_": (lambda: Forward(lambda m, x: torch.relu_(activated(m, x))), r"act: 'relu_' overwrites"),
    "F.relu(inplace)": (
        lambda: Forward(lambda m, x: F.relu(activated(m, x), True)),
        r"act: 'relu' overwrites",
    ),
    "out=": (
        lambda: Forward(lambda m, x: torch.add(x, 1, out=activated(m, x))),
        r"act: 'add' overwrites",
    ),
    "another consumer": (
        lambda: Forward(with_a_feature),
        r"act: the output of Linear 'linear' also .* output",
    ),
    "shared LeakyReLU": (
        lambda: Forward(lambda m, x: m.act(m.norm(activated(m, x)))),
        r"act: follows LayerNorm 'norm'",
    ),
    "function of the input": (lambda: Forward(lambda m, x: m.act(m.linear(x) + 1)), r"act: follows 'add'"),
    "not always used": (
        lambda: Forward(lambda m, x: (activated(m, x), m.linear(x))[0]),
        r"act: the output of Linear 'linear' is not always used",
    ),
    "two slopes": (
        lambda: nn.Sequential(*(first := pair()), first[0], nn.LeakyReLU(0.1)),
        r"1: Linear '0' is followed by another slope elsewhere",
    ),
    "untraceable": (
        lambda: Forward(lambda m, x: activated(m, x) if x.sum() > 0 else x),
        r"act: torch.fx cannot trace the forward of Forward: TraceError: symbolically traced variables",
    ),
    "item assignment": (
        lambda: Forward(assigned_to),
        r"act: torch.fx cannot trace the forward of Forward: TypeError: .* item assignment",
    ),
    "never called": (lambda: Forward(lambda m, x: m.linear(x)), r"act: no traced forward calls it"),
    "evaluation mode": (WithMode, r"act: the output of Linear 'linear' also goes to the output"),
    "argument left out": (WithLabel, r"act: the output of Linear 'linear' also goes to the output"),
    "another module's layer": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.LeakyReLU()),
        r"1: Linear '0\.0' is a part of Sequential '0', and this activation is not",
    ),
    "read layer by layer": (Layerwise, r"features\.1: the output of Linear 'features\.0' also"),
}


@pytest.mark.parametrize(("build", "reason"), LEFT.values(), ids=LEFT)
def test_left_alone_with_a_warning(build: Build, reason: str) -> None:
    model = build()
    before = anatomy(model)
    with pytest.warns(UserWarning, match=re.compile(r"found no layer.*" + reason, re.DOTALL)):
        fastgan.fuse(model)
    assert anatomy(model) == before


def test_report() -> None:
    model = nn.Sequential(dcgan(), nn.Linear(1, 1))
    assert str(report(model)) == ("fusable  0.0 with 0.1\nfusable  0.3 with 0.4\nfusable  0.6 with 0.7")
    assert str(report(fastgan.fuse(model))) == (
        "fused    0.0: Conv2dLeakyReLU\nfused    0.3: BatchNorm2dLeakyReLU\nfused    0.6: LinearLeakyReLU"
    )
    assert "applied by the layer before" in repr(model)


def test_tracing_leaves_no_trace() -> None:
    model = Residual()
    model.register_buffer("seen", torch.zeros(()))
    before = copy.deepcopy(model)
    fastgan.fuse(model)
    assert model.calls == 0
    assert torch.equal(model.seen, before.seen)
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]


def test_a_fused_subclass_is_still_one() -> None:
    model = fastgan.fuse(nn.Sequential(MyLinear(4, 4), *pair()[1:]))
    assert isinstance(model[0], MyLinear)
    torch.testing.assert_close(model[0].norm(), model[0].weight.norm())
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    input = torch.randn(3, 4)
    for other in (torch.load(buffer, weights_only=False), copy.deepcopy(model)):
        assert torch.equal(other(input), model(input))
        assert fused_layers(other) == 1
        assert type(fastgan.unfuse(other)[0]) is MyLinear


def negated(module: nn.Module, _: object, output: Tensor) -> None:
    output.data.neg_()


HOOKS = {
    "writes through .data": ("register_forward_hook", negated),
    "another output": ("register_forward_hook", lambda _module, _input, output: output - 0.5),
    "another input": ("register_forward_pre_hook", lambda _module, inputs: (inputs[0] - 0.5,)),
    "gradient of the output": ("register_full_backward_pre_hook", lambda _module, grads: (2 * grads[0],)),
    "gradient of the input": (
        "register_full_backward_hook",
        lambda _module, grads, _: (None if grads[0] is None else 2 * grads[0],),
    ),
}


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize(("register", "hook"), HOOKS.values(), ids=HOOKS)
def test_a_hook_after_fusing_sees_what_it_saw(register: str, hook: Callable[..., object], where: int) -> None:
    """On the layer, on what lies between, on the activation; once it is off, the pair is fused again."""
    plain, model = twice(
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.LeakyReLU(0.2), nn.Linear(4, 1))
    )
    fastgan.fuse(model)
    input = torch.randn(5, 4, dtype=torch.float64)
    handles = [getattr(each[where], register)(hook) for each in (plain, model)]
    leaves = [input.clone().requires_grad_() for _ in range(2)]
    for each, leaf in zip((plain, model), leaves, strict=True):
        each(leaf).square().sum().backward()
    grads = [
        [leaf.grad, *(p.grad for p in each.parameters())]
        for each, leaf in zip((plain, model), leaves, strict=True)
    ]
    assert_same(*grads)
    for handle in handles:
        handle.remove()
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


def test_hooks_of_all_modules_after_fusing() -> None:
    plain, model = twice(lambda: nn.Sequential(*pair(), nn.Linear(4, 1)))
    fastgan.fuse(model)
    input = torch.randn(5, 4, dtype=torch.float64)
    seen: list[Tensor] = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda _module, _input, output: seen.append(output)
    )
    try:
        for each in (plain, model):
            each(input)
    finally:
        handle.remove()
    assert_same(seen[:4], seen[4:])


class LowRank(nn.Module):
    """As adapters wrap a layer."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(4, 1, bias=False), nn.Linear(1, 4, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return self.base(input) + self.up(self.down(input))


SURGERY: dict[str, Callable[[nn.Sequential], object]] = {
    "wrapped": lambda model: model.__setitem__(0, LowRank(model[0])),
    "replaced": lambda model: model.__setitem__(0, nn.Linear(4, 4)),
    "norm between": lambda model: model.insert(1, nn.BatchNorm1d(4)),
}


class LowRankInPlace(LowRank):
    def forward(self, input: Tensor) -> Tensor:
        output = self.base(input)
        output += self.up(self.down(input))
        return output


MODES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "training": lambda model, input: model(input),
    "no_grad": torch.no_grad()(lambda model, input: model(input)),
    "inference": torch.inference_mode()(lambda model, input: model(input)),
    "compiled": lambda model, input: torch.compile(model, backend="eager")(input),
}


@pytest.mark.parametrize("call", MODES.values(), ids=MODES)
@pytest.mark.parametrize("between", [[], [nn.Identity()]], ids=["", "Identity"])
def test_a_wrapper_that_writes_in_place(
    between: list[nn.Module], call: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    model = fastgan.fuse(nn.Sequential(nn.Linear(4, 4), *between, nn.LeakyReLU(0.2)))
    input = torch.randn(3, 4)
    call(model, input)
    model[0] = LowRankInPlace(model[0])
    with pytest.raises(RuntimeError, match=r"wrapp.*fastgan\.unfuse on the model before such a change"):
        call(model, input)


EXCHANGED: dict[str, Callable[[nn.Sequential], object]] = {
    "another function": lambda model: model.__setitem__(1, nn.Tanh()),
    "another slope": lambda model: model.__setitem__(1, nn.LeakyReLU(0.7)),
    "nothing": lambda model: model.__setitem__(1, nn.Identity()),
    "removed": lambda model: model.__delitem__(1),
    "one of two": lambda model: model.__setitem__(3, nn.Tanh()),
    "what holds it": lambda model: setattr(model[4], "act", nn.Sequential(nn.Tanh())),
}


class Held(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(4, 4), nn.Sequential(nn.LeakyReLU(0.2))

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.linear(input))


@pytest.mark.parametrize("call", MODES.values(), ids=MODES)
@pytest.mark.parametrize("change", EXCHANGED.values(), ids=EXCHANGED)
def test_an_activation_that_was_exchanged(
    change: Callable[[nn.Sequential], object], call: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    act = nn.LeakyReLU(0.2)
    original = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, Held())
    assert fused_layers(fastgan.fuse(original, torch.randn(3, 4))) == 3
    input = torch.randn(3, 4)
    for model in (copy.deepcopy(original), original):
        call(model, input)
        change(model)
        with pytest.raises(RuntimeError, match=r"activation of a fused .* replaced or removed .*unfuse"):
            call(model, input)
        plain = fastgan.unfuse(model)
        assert not any(isinstance(each, fastgan.nn.WithLeakyReLU) for each in plain.modules())
        call(plain, input)


def test_modules_may_move_and_be_taken_together() -> None:
    plain, model = twice(lambda: nn.Sequential(*pair(), *pair(0.1), nn.Linear(4, 1)))
    fastgan.fuse(model)
    input = torch.randn(5, 4, dtype=torch.float64)
    assert_same(outputs_and_gradients(model[:2], input), outputs_and_gradients(plain[:2], input))
    for each in (plain, model):
        each.insert(0, nn.Tanh())
        each.append(nn.Tanh())
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))
    assert fused_layers(model) == 2


def test_a_dropout_between_several_pairs() -> None:
    """To undo one pair undoes the others that share its dropout; a pair may be fused after the others."""

    def make() -> nn.Module:
        dropout = nn.Dropout(0.5)
        return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), dropout, nn.LeakyReLU(0.2)) for _ in "12"))

    plain, model = twice(make)
    input = torch.randn(5, 4, dtype=torch.float64)
    fastgan.fuse(model[0])  # type: ignore[index]
    fastgan.fuse(model)
    assert fused_layers(model) == 2
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))
    fastgan.unfuse(model[0])  # type: ignore[index]
    assert fused_layers(model) == 0
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


def test_a_dropout_that_changes() -> None:
    plain, model = twice(lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0, True), nn.LeakyReLU(0.2)))
    fastgan.fuse(model)
    for each in (plain, model):
        each[1].p = 0.5  # type: ignore[index]
    input = torch.randn(5, 4, dtype=torch.float64)
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("change", SURGERY.values(), ids=SURGERY)
def test_a_fused_model_that_was_changed_says_so(
    change: Callable[[nn.Sequential], object], compiled: bool
) -> None:
    model = fastgan.fuse(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.4), nn.LeakyReLU(0.2)))
    change(model)
    run = torch.compile(model, backend="eager") if compiled else model
    with pytest.raises(RuntimeError, match=r"wrapped, replaced or called in another way since fastgan\.fuse"):
        run(torch.randn(3, 4))
    for name, each in model.named_modules():
        assert fastgan.unfuse(each) is each, name
    assert not any(isinstance(each, fastgan.nn.AppliedLeakyReLU) for each in model.modules())
    model(torch.randn(3, 4))


def test_a_layer_and_its_wrapper_that_passes_it_on() -> None:
    plain, model = twice(lambda: nn.Sequential(*pair(), nn.Linear(4, 1)))
    fastgan.fuse(model)
    model[0] = Wrapped(model[0])
    input = torch.randn(5, 4, dtype=torch.float64)
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


@pytest.mark.parametrize("which", [0, 1])
def test_a_slope_that_was_changed_after_fusing(which: int) -> None:
    model = fastgan.fuse(nn.Sequential(*pair()))
    model[which].negative_slope = 0.1
    with pytest.raises(RuntimeError, match=r"negative slope of 0\.\d.* one of 0\.\d.*unfuse"):
        model(torch.randn(3, 4))
    if which == 1:
        input = torch.randn(3, 4)
        expected = F.leaky_relu(F.linear(input, model[0].weight, model[0].bias), 0.1)
        torch.testing.assert_close(fastgan.unfuse(model)(input), expected)


def test_half_of_a_pair_brings_the_other_with_it() -> None:
    for i in range(2):
        model = fastgan.fuse(nn.Sequential(*pair()))
        fastgan.unfuse(model[i])
        assert [type(each) for each in model] == [nn.Linear, nn.LeakyReLU]


def test_checkpointed_segments() -> None:
    """A segment may end between a layer and its activation."""
    plain, model = twice(lambda: nn.Sequential(*pair(), *pair(), *pair()))
    fastgan.fuse(model)
    grads = []
    for each in (plain, model):
        leaf = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
        checkpoint_sequential(each, 6, leaf, use_reentrant=False).sum().backward()
        grads.append([leaf.grad])
    assert_same(*grads)


def test_a_shape_may_be_read() -> None:
    assert report(Forward(shape_is_read)).fusable == {"linear": "act"}
    assert report(Forward(shape_is_read), torch.randn(3, 4)).fusable == {"linear": "act"}


def test_watching_a_call() -> None:
    """A forward that tracing cannot follow, of layers that a call shows to be pairs."""
    plain, model = twice(lambda: nn.Sequential(Untraceable(), nn.BatchNorm1d(4), MyDropout(), *pair()))
    input = torch.randn(6, 4, dtype=torch.float64)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    assert len(report(model).fusable) == 2
    assert report(model, input).fusable == {"0.body.0": "0.body.1", "0.last": "0.act", "3": "4"}
    assert fused_layers(fastgan.fuse(model, (input,))) == 3
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    for each in (plain, model):
        each.eval()
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


class MyDropout(nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        return input * torch.rand_like(input) if self.training else input


WATCHED: dict[str, tuple[Build, dict[str, str]]] = {
    "+=": (lambda: Forward(added_in_place), {"act": "'add_' overwrites its output in place"}),
    "item assignment": (lambda: Forward(assigned_to), {"act": "'setitem' overwrites its output in place"}),
    "written through .data": (
        lambda: Forward(lambda m, x: (y := activated(m, x)).data.neg_() + y),
        {"act": "'neg_' overwrites what may be a view of its output"},
    ),
    "F.relu(inplace)": (
        lambda: Forward(lambda m, x: F.relu(activated(m, x), inplace=True)),
        {"act": "'relu' overwrites its output in place"},
    ),
    "F.dropout(inplace)": (
        lambda: Forward(lambda m, x: F.dropout(activated(m, x), 0.3, m.training, True)),
        {"act": "'dropout' overwrites its output in place"},
    ),
    "another module made in the forward": (
        lambda: Forward(lambda m, x: m.act(z := m.linear(x)) + nn.Tanh()(z)),
        {"act": "the output of Linear 'linear' also goes to Tanh, which is not registered in the model"},
    ),
    "another activation made in the forward": (
        lambda: Forward(lambda m, x: m.act(z := m.linear(x)) + nn.LeakyReLU(0.2)(z)),
        {"act": "the output of Linear 'linear' also goes to LeakyReLU, which is not registered in the model"},
    ),
    "a layer made in the forward": (
        lambda: Forward(lambda m, x: m.act(nn.Linear(4, 4)(x))),
        {"act": "follows Linear, which is not registered in the model"},
    ),
    "a layer made in the forward, F.leaky_relu": (
        lambda: Forward(lambda m, x: F.leaky_relu(nn.Linear(4, 4)(m.linear(x)))),
        {
            "act": "the call with example_input does not reach it",
            "Linear": "is followed by a function, but is not registered in the model",
        },
    ),
    "another consumer": (
        lambda: Forward(with_a_feature),
        {"act": "the output of Linear 'linear' also goes to the output"},
    ),
    "a function of the layer": (
        lambda: Forward(lambda m, x: m.act(m.linear(x) + 1)),
        {"act": "follows 'add', not a layer"},
    ),
    "evaluation mode": (WithMode, {"act": "the output of Linear 'linear' also goes to the output"}),
    "the input": (lambda: nn.Sequential(nn.LeakyReLU()), {"0": "follows the input, not a layer"}),
}


@pytest.mark.parametrize(("build", "left"), WATCHED.values(), ids=WATCHED)
def test_what_a_watched_call_leaves(build: Build, left: dict[str, str]) -> None:
    found = report(build(), torch.randn(3, 4))
    assert found.left == left
    assert not found.fusable


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "alias": torch.ops.aten.alias,
    "alias.default": torch.ops.aten.alias.default,
    "as_strided": lambda h: h.as_strided((4,), (1,)),
    "atleast_2d": torch.atleast_2d,
    "broadcast_to": lambda h: torch.broadcast_to(h, (3, 4)),
    "cpu": lambda h: h.cpu(),
    "diagonal": lambda h: h.diagonal(),
    "float": lambda h: h.float(),
    "hsplit": lambda h: torch.hsplit(h, 2)[0],
    "mT": lambda h: h.mT,
    "positive": torch.positive,
    "ravel": lambda h: h.ravel(),
    "real": torch.real,
    "requires_grad_": lambda h: h.requires_grad_(),
    "resolve_conj": torch.resolve_conj,
    "swapdims": lambda h: h.swapdims(0, 1),
    "tensor_split": lambda h: torch.tensor_split(h, 2)[0],
    "type": lambda h: h.type(torch.float32),
    "type_as": lambda h: h.type_as(h),
    "unfold": lambda h: h.unfold(0, 2, 2),
    "unsafe_chunk": lambda h: h.unsafe_chunk(2)[0],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_write_behind_a_view_is_seen(view: Callable[[Tensor], Tensor]) -> None:
    def forward(m: Forward, x: Tensor) -> Tensor:
        y = activated(m, x)
        view(y).data.neg_()
        return y

    left = {"act": "'neg_' overwrites what may be a view of its output"}
    assert report(Forward(forward)).left == left
    assert report(Forward(forward), torch.randn(3, 4)).left == left


def added_to_data(h: Tensor) -> None:
    h.data += 5


# What each does, and that it is found without an example input too: numpy cannot take what torch.fx shows it.
WRITES: dict[str, tuple[Callable[[Tensor], object], str, bool]] = {
    "data +=": (added_to_data, r"'(iadd|add_)' overwrites what may be a view of its output", True),
    "mT.data +=": (
        lambda h: added_to_data(h.mT),
        r"'(iadd|add_)' overwrites what may be a view of its output",
        True,
    ),
    "a view, not of data": (
        lambda h: h.ravel().neg_(),
        "'neg_' overwrites what may be a view of its output",
        True,
    ),
    "an operator": (
        lambda h: torch.ops.aten.neg_.default(h.data),
        "'neg_' overwrites what may be a view of its output",
        True,
    ),
    "a list": (
        lambda h: torch._foreach_neg_([h.data]),
        "'_foreach_neg_' overwrites what may be a view of its output",
        True,
    ),
    "out of several": (
        lambda h: torch.max(2 * h.detach(), 0, out=(h.data[0], torch.zeros(4, dtype=torch.long))),
        "'max' overwrites what may be a view of its output",
        True,
    ),
    "nn.init": (
        lambda h: nn.init.constant_(h.data, -1.0),
        "'constant_' overwrites what may be a view of its output",
        True,
    ),
    "storage": (
        lambda h: h.untyped_storage().fill_(0),
        "'untyped_storage' hands out the memory of its output, where a write is not seen",
        True,
    ),
    "numpy": (
        lambda h: np.negative(a := h.detach().numpy(), out=a),
        "'numpy' hands out the memory of its output, where a write is not seen",
        False,
    ),
    "an array": (
        lambda h: np.asarray(h.detach()).fill(0),
        "'array' hands out the memory of its output, where a write is not seen",
        False,
    ),
}


@pytest.mark.parametrize("watched", [False, True], ids=["traced", "watched"])
@pytest.mark.parametrize(("write", "reason", "traceable"), WRITES.values(), ids=WRITES)
def test_a_write_is_seen(
    write: Callable[[Tensor], object], reason: str, traceable: bool, watched: bool
) -> None:
    def forward(m: Forward, x: Tensor) -> Tensor:
        y = activated(m, x)
        write(y)
        return y

    left = report(Forward(forward), torch.randn(3, 4) if watched else None).left["act"]
    if watched or traceable:
        assert re.fullmatch(reason, left)
    else:
        assert left.startswith("torch.fx cannot trace the forward of Forward")


def added_to_a_new_tensor(m: Forward, x: Tensor) -> Tensor:
    y = activated(m, x)
    z = m.linear2(y)
    z += y
    return F.relu(z, inplace=True)


READS: dict[str, Callable[[Forward, Tensor], Tensor]] = {
    "a residual block": added_to_a_new_tensor,
    "arithmetic": lambda m, x: F.relu_((2 - activated(m, x).exp()) / 3),
    "standard deviation of a batch": lambda m, x: torch.cat(
        [y := activated(m, x), y.std(0).mean().expand(len(x) if isinstance(x, Tensor) else 3, 1)], 1
    ).mul_(2),
    "a matrix product": lambda m, x: torch.relu_(activated(m, x) @ m.linear2.weight),
    "pooling": lambda m, x: F.avg_pool1d(activated(m, x), 2).clamp_(0),
    "a view that is read": lambda m, x: activated(m, x).view(-1).detach().sum(),
}


@pytest.mark.parametrize("example_input", [None, torch.randn(3, 4)], ids=["traced", "watched"])
@pytest.mark.parametrize("forward", READS.values(), ids=READS)
def test_a_write_into_new_memory_is_none(
    forward: Callable[[Forward, Tensor], Tensor], example_input: Tensor | None
) -> None:
    model = Forward(forward)
    model.linear2 = nn.Linear(4, 4)
    assert report(model, example_input).fusable == {"linear": "act"}


def test_a_wrapped_layer_is_fused_where_a_call_shows_it() -> None:
    plain, model = twice(lambda: nn.Sequential(Wrapped(nn.Linear(4, 4)), nn.LeakyReLU(0.1)))
    input = torch.randn(3, 4, dtype=torch.float64)
    assert fused_layers(fastgan.fuse(model, input)) == 1
    assert_same(outputs_and_gradients(model, input), outputs_and_gradients(plain, input))


class Counting(nn.Module):
    """Puts a new tensor in the place of a buffer, and writes into another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.activation = pair()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.seen += input.sum().detach()
        return self.activation(self.layer(input))


def test_a_watched_call_leaves_buffers_as_they_were() -> None:
    model = Counting()
    buffers = dict(model.named_buffers())
    fastgan.fuse(model, torch.ones(3, 4))
    assert all(after is buffers[name] and not after for name, after in model.named_buffers())


def test_an_untraceable_forward_is_told_once() -> None:
    """Not one whose layers others call, nor one that an activation's reason names."""
    found = report(nn.Sequential(Untraceable(), InMethods(), MyDropout()))
    assert list(found.left) == ["0.act", "1"]
    watched = report(InMethods(), torch.randn(3, 4))
    assert not watched.left
    assert watched.fusable == {"linear": "F.leaky_relu"}


@pytest.mark.parametrize("several", [list, dict], ids=["list", "dict"])
def test_several_arguments_in_no_tuple(several: type) -> None:
    x = torch.randn(3, 4)
    example_input = [x, x] if several is list else {"x": x}
    expected = rf"cannot be called with example_input, one {several.__name__}: .*; .* a tuple of several"
    for run in (fastgan.fuse, report):
        with pytest.raises(ValueError, match=re.compile(expected, re.DOTALL)):
            run(nn.Sequential(*pair()), example_input)


def test_watching_needs_weights() -> None:
    with pytest.raises(ValueError, match="lazy layers without a weight; call it once"):
        fastgan.fuse(nn.Sequential(nn.LazyLinear(4), nn.LeakyReLU()), torch.randn(3, 4))


def test_what_fx_cannot_see_is_refused_by_autograd() -> None:
    """Written over by code that no forward of the model holds: an error, never a wrong gradient."""
    model = fastgan.fuse(nn.Sequential(*pair()))
    output = model(torch.randn(3, 4, requires_grad=True))
    output.mul_(2)
    with pytest.raises(RuntimeError, match="inplace operation"):
        output.sum().backward()
