"""fastgan.nn: the parameters and state_dict keys of torch.nn, and what modules must survive."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from changed_layers import CHANGES, changed_pair
from torch import Tensor, nn

import fastgan

MODULES = {
    "LinearLeakyReLU": lambda: fastgan.nn.LinearLeakyReLU(3, 4, negative_slope=0.1),
    "MLP": lambda: fastgan.nn.MLP([3, 5, 1], negative_slope=0.1),
}


def test_state_dict_of_a_linear_fits() -> None:
    plain, fused = nn.Linear(3, 4), fastgan.nn.LinearLeakyReLU(3, 4)
    assert isinstance(fused, nn.Linear)
    fused.load_state_dict(plain.state_dict())
    input = torch.randn(5, 3)
    torch.testing.assert_close(fused(input), F.leaky_relu(plain(input), 0.2))


def test_the_same_start_as_a_linear() -> None:
    torch.manual_seed(1)
    plain = nn.Linear(3, 4)
    torch.manual_seed(1)
    assert torch.equal(fastgan.nn.LinearLeakyReLU(3, 4).weight, plain.weight)


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_copies(build: object) -> None:
    module = build()
    input = torch.randn(5, 3)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
    ]
    for other in copies:
        assert torch.equal(other(input), module(input))
        assert repr(other) == repr(module)


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_negative_slope_is_used(build: object) -> None:
    module = build()
    input = torch.randn(5, 3)
    expected = input
    for layer in [module] if isinstance(module, nn.Linear) else module.layers:
        expected = F.linear(expected, layer.weight, layer.bias)
        if layer.out_features > 1:
            expected = F.leaky_relu(expected, 0.1)
    torch.testing.assert_close(module(input), expected)


def test_losses() -> None:
    real, fake = torch.randn(4, 1), torch.randn(4, 1)
    ours = fastgan.nn.DiscriminatorLoss(real_label=0.9, reduction="sum")(real, fake)
    assert torch.equal(ours, fastgan.discriminator_loss(real, fake, real_label=0.9, reduction="sum"))
    ours = fastgan.nn.GeneratorLoss(saturating=True)(fake)
    assert torch.equal(ours, fastgan.generator_loss(fake, saturating=True))


def test_in_place_operations_on_an_output() -> None:
    """As after any layer of PyTorch; channels_last outputs too."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        input = torch.randn(2, 3, 4, 4).contiguous(memory_format=memory_format).requires_grad_()
        output = fastgan.bias_leaky_relu(input)
        output.clone().mul_(2).sum().backward()
        with torch.no_grad():
            fastgan.bias_leaky_relu(input).mul_(2)
        fastgan.bias_leaky_relu(input).add_(1)


def test_bad_features() -> None:
    with pytest.raises(ValueError, match=r"features .*\[3\]"):
        fastgan.nn.MLP([3])
    with pytest.raises(ValueError, match=r"negative_slope .*-1"):
        fastgan.nn.LinearLeakyReLU(3, 4, negative_slope=-1)


def outputs_and_gradients(model: nn.Module, input: Tensor) -> list[Tensor]:
    """Those of three calls with a step between them: spectral norm moves its vectors at each."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    results: list[Tensor] = []
    for _ in range(3):
        leaf = input.clone().requires_grad_()
        output = model(leaf)
        gradients = torch.autograd.grad(output.square().sum(), [leaf, *parameters])
        results += [output, *gradients]
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients[1:], strict=True):
                parameter -= 0.1 * gradient
    return [*results, *model.state_dict().values()]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_mlp_calls_its_layers(change: Callable[[nn.Linear], nn.Module]) -> None:
    """Whatever is done to a layer does what it does in an nn.Sequential."""
    ours, plain = changed_pair([4, 6, 5, 1], change)
    input = torch.randn(7, 4, dtype=torch.float64)
    torch.testing.assert_close(
        outputs_and_gradients(ours, input), outputs_and_gradients(plain, input), rtol=1e-12, atol=1e-12
    )


def test_a_change_can_be_taken_back() -> None:
    mlp, _ = changed_pair([4, 6, 1], lambda layer: layer)
    input = torch.randn(7, 4, dtype=torch.float64)
    before = mlp(input)
    handle = mlp.layers[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    assert not torch.equal(mlp(input), before)
    handle.remove()
    assert torch.equal(mlp(input), before)


HOOKS_OF_ALL_MODULES = (
    "register_module_forward_pre_hook",
    "register_module_forward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_full_backward_hook",
)


@pytest.mark.parametrize("register", HOOKS_OF_ALL_MODULES)
def test_hooks_of_all_modules_see_the_layers(register: str) -> None:
    mlp = fastgan.nn.MLP([4, 6, 1])
    seen: list[nn.Module] = []
    handle = getattr(nn.modules.module, register)(lambda module, *_: seen.append(module))
    try:
        mlp(torch.randn(3, 4, requires_grad=True)).sum().backward()
    finally:
        handle.remove()
    assert {*mlp.layers} < {*seen}


EXTENDED: dict[
    str, tuple[Callable[[nn.ModuleList], object], Callable[[list[nn.Module]], list[nn.Module]]]
] = {
    "an activation at the end": (
        lambda layers: layers.append(nn.Sigmoid()),
        lambda linear: [linear[0], nn.LeakyReLU(0.2), linear[1], nn.Sigmoid()],
    ),
    "an activation in the middle": (
        lambda layers: layers.insert(1, nn.Tanh()),
        lambda linear: [linear[0], nn.Tanh(), linear[1]],
    ),
    "dropout": (
        lambda layers: layers.insert(1, nn.Dropout(0.5)),
        lambda linear: [linear[0], nn.LeakyReLU(0.2), nn.Dropout(0.5), linear[1]],
    ),
    "features": (
        lambda layers: layers.__setitem__(-1, nn.Identity()),
        lambda linear: [linear[0], nn.LeakyReLU(0.2)],
    ),
    "a shorter chain": (lambda layers: layers.__delitem__(-1), lambda linear: [linear[0]]),
    "a linear layer more": (
        lambda layers: layers.append(nn.utils.skip_init(nn.Linear, 1, 1)),
        lambda linear: [linear[0], nn.LeakyReLU(0.2), linear[1], nn.LeakyReLU(0.2), nn.Linear(1, 1)],
    ),
}


@pytest.mark.parametrize(("extend", "layers"), EXTENDED.values(), ids=EXTENDED)
def test_an_mlp_with_other_layers(
    extend: Callable[[nn.ModuleList], object], layers: Callable[[list[nn.Module]], list[nn.Module]]
) -> None:
    mlp = fastgan.nn.MLP([4, 6, 1])
    plain = nn.Sequential(*layers(copy.deepcopy([*mlp.layers])))
    extend(mlp.layers)
    for parameter, other in zip(mlp.parameters(), plain.parameters(), strict=True):
        with torch.no_grad():
            parameter.copy_(other)
    results = []
    for model in (mlp, plain):
        torch.manual_seed(0)
        results.append(model(torch.randn(5, 4)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: fastgan.nn.MLP([4, 6, 1]), (3, 4)),
        (lambda: fastgan.fuse(nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))), (3, 4)),
        (lambda: fastgan.fuse(nn.Sequential(nn.Conv2d(2, 3, 3), nn.LeakyReLU(0.2))), (2, 2, 5, 5)),
        (lambda: fastgan.fuse(nn.Sequential(nn.ConvTranspose2d(2, 3, 3), nn.LeakyReLU(0.2))), (2, 2, 5, 5)),
    ],
    ids=["MLP", "Linear", "Conv2d", "ConvTranspose2d"],
)
def test_symbolic_tracing(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """With the same names of parameters, and the same gradients."""
    for model in (nn.Sequential(build()), build()):  # as a part, and as the whole of what is traced
        traced = torch.fx.symbolic_trace(model)
        input = torch.randn(shape)
        assert sorted(traced.state_dict()) == sorted(model.state_dict())
        results = []
        for each in (model, traced):
            output = each(input)
            parameters = [each.get_parameter(name) for name, _ in model.named_parameters()]
            results.append([output, *torch.autograd.grad(output.square().sum(), parameters)])
        torch.testing.assert_close(*results)


def test_a_function_cannot_be_traced_unless_it_is_wrapped() -> None:
    with pytest.raises(TypeError, match=r"input is a torch.fx.Proxy.*torch.fx.wrap\('NAME'\)"):
        torch.fx.symbolic_trace(lambda x: fastgan.linear_leaky_relu(x, torch.ones(2, 3)))
