"""Batch norm + leaky ReLU: values, gradients and running statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from backends import VARIANTS, Backend
from conftest import as_parameters, running_on
from oracle import VIEWS, assert_as_exact, evaluate
from tables import cases, views_and_dtypes
from torch import Tensor, nn

import fastgan
from fastgan.kernels import choose, reference

Shape = tuple[int, ...]
# Rows and planes whose length 16 bytes divide, in every dtype, and others.
FEW_SHAPES: list[Shape] = [(64, 65), (33, 48), (3, 5, 7), (4, 3, 4, 8)]
MORE_SHAPES: list[Shape] = [
    (2, 1),
    (1023, 15),
    (300, 130),
    (2, 3, 1),
    (1, 3, 2),
    (70, 5, 3),
    (2, 1, 130, 129),
    (5, 5, 1, 1),
    (4, 16, 33, 33),
    (2, 3, 2, 2, 2),
]
both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def pair(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    negative_slope: float = 0.2,
) -> Tensor:
    """PyTorch's pair."""
    normalized = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return F.leaky_relu(normalized, negative_slope)


def samples(shape: Shape, dtype: torch.dtype, device: str) -> list[Tensor]:
    """[input, weight, bias]. No normalized value is near zero, where rounding would change the slope.

    Signs alternate in each channel, so that even the deviation of two values is not small.
    """
    place = sum(torch.arange(n).view(-1, *[1] * (len(shape) - 1 - i)) for i, n in enumerate(shape) if i != 1)
    input = (1 - 2 * (place % 2)) * (torch.rand(shape) + 0.5) * 3 + 0.5
    weight = (torch.rand(shape[1]) + 0.5) * (torch.randint(0, 2, (shape[1],)) * 2 - 1)
    return [t.to(device, dtype) for t in (input, weight, torch.rand(shape[1]) * 0.1)]


def running(channels: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    return [t.to(device, dtype) for t in (torch.rand(channels) * 0.1 - 0.2, torch.rand(channels) + 0.5)]


def outcome(
    function: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    statistics: Sequence[Tensor],
    cotangent: Tensor,
    training: bool,
    options: dict[str, float],
) -> list[Tensor]:
    """The output, the gradient of each tensor, and the running statistics afterwards."""
    mean, var = (t.clone() for t in statistics)
    found = evaluate(
        lambda x, *wb: function(x, mean, var, *wb, training=training, **options), tensors, [cotangent]
    )
    return [*found, mean, var]


def check(
    tensors: Sequence[Tensor], training: bool, statistics: Sequence[Tensor] | None = None, **options: float
) -> None:
    """Compare with PyTorch's pair: values, gradients and running statistics."""
    input = tensors[0]
    if statistics is None:
        statistics = running(input.shape[1], input.dtype, input.device.type)
    cotangent = torch.rand_like(input, memory_format=torch.contiguous_format) + 0.5
    call = training, options
    for ours, usual, exact in zip(
        outcome(fastgan.batch_norm_leaky_relu, tensors, statistics, cotangent, *call),
        outcome(pair, tensors, statistics, cotangent, *call),
        outcome(
            pair, [t.double() for t in tensors], [t.double() for t in statistics], cotangent.double(), *call
        ),
        strict=True,
    ):
        assert_as_exact(ours, usual, exact)


@both_modes
@pytest.mark.parametrize(("dtype", "shape"), cases(FEW_SHAPES, MORE_SHAPES))
def test_batch_norm_leaky_relu(variant: Backend, dtype: torch.dtype, shape: Shape, training: bool) -> None:
    check(samples(shape, dtype, variant.device), training)


@both_modes
@pytest.mark.parametrize(
    ("dtype", "shape"), cases([(2, 16, 3, 5)], [(2, 3, 5, 7), (4, 16, 33, 33), (2, 1, 5, 5), (40, 5, 2, 1)])
)
def test_channels_last_is_kept(variant: Backend, dtype: torch.dtype, shape: Shape, training: bool) -> None:
    input, weight, bias = samples(shape, dtype, variant.device)
    input = input.contiguous(memory_format=torch.channels_last)
    check([input, weight, bias], training)
    leaf = input.detach().requires_grad_()
    output = fastgan.batch_norm_leaky_relu(
        leaf, *running(shape[1], dtype, variant.device), weight, bias, training
    )
    assert output.is_contiguous(memory_format=torch.channels_last)
    output.sum().backward()
    assert leaf.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.long
@pytest.mark.parametrize("shape", [(4300, 130), (40, 600), (90, 70, 7, 3)], ids=str)
def test_several_tiles(variant: Backend, shape: Shape) -> None:
    check(samples(shape, torch.float32, variant.device), True)


@pytest.mark.parametrize("threaded", as_parameters([each for each in VARIANTS if each.name == "cpu"]))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_number_of_threads(threaded: Backend, dtype: torch.dtype) -> None:
    """The same bits, for tensors large enough for several threads: tiles, planes, and short planes."""
    with running_on(threaded):
        for shape in ((4300, 130), (8, 16, 130, 129), (64, 300, 5, 4)):
            tensors, statistics = samples(shape, dtype, "cpu"), running(shape[1], dtype, "cpu")
            cotangent, alone = torch.rand(shape).to(dtype), None
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found = outcome(fastgan.batch_norm_leaky_relu, tensors, statistics, cotangent, True, {})
                alone = alone or found
                assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))


@both_modes
@pytest.mark.parametrize("given", [0, 1], ids=["nothing", "weight"])
@pytest.mark.parametrize("shape", [(33, 48), (4, 3, 4, 8)], ids=str)
def test_without_weight_or_bias(backend: Backend, shape: Shape, given: int, training: bool) -> None:
    check(samples(shape, torch.float32, backend.device)[: 1 + given], training)


@both_modes
@pytest.mark.parametrize("shape", [(33, 48), (4, 3, 4, 8)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_input_and_float32_parameters(
    backend: Backend, dtype: torch.dtype, shape: Shape, training: bool
) -> None:
    """As in a network under autocast."""
    input, *parameters = samples(shape, torch.float32, backend.device)
    statistics = running(shape[1], torch.float32, backend.device)
    check([input.to(dtype), *parameters], training, statistics)


@both_modes
@views_and_dtypes
@pytest.mark.parametrize("shape", [(33, 31), (6, 7, 5, 3)], ids=str)
def test_strides(
    backend: Backend, dtype: torch.dtype, view: Callable[[Tensor], Tensor], shape: Shape, training: bool
) -> None:
    tensors = samples(shape, dtype, backend.device)
    check(
        [view(tensors[0]) if view is not VIEWS["expanded"] else tensors[0], *map(view, tensors[1:])], training
    )


@both_modes
def test_running_statistics_with_strides(backend: Backend, training: bool) -> None:
    tensors = samples((33, 5), torch.float32, backend.device)
    around = torch.rand(5, 4, device=backend.device)
    before = around.clone()
    mean, var = around[:, 1], around[:, 2]
    ours = fastgan.batch_norm_leaky_relu(tensors[0], mean, var, *tensors[1:], training)
    expected = pair(tensors[0], before[:, 1], before[:, 2], *tensors[1:], training)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(around, before)


@both_modes
@pytest.mark.parametrize("negative_slope", [0.0, 1.0, 3.0])
def test_slopes(backend: Backend, negative_slope: float, training: bool) -> None:
    check(samples((40, 5), torch.float32, backend.device), training, negative_slope=negative_slope)


@both_modes
@pytest.mark.parametrize("shape", [(40, 5), (4, 5, 3, 3)], ids=str)
@pytest.mark.parametrize("bias", [0.0, -0.5, 0.5])
def test_zero_weight(backend: Backend, shape: Shape, bias: float, training: bool) -> None:
    """Nothing can be computed from the output here. At z = 0 the slope is the negative one, as in PyTorch."""
    input = samples(shape, torch.float32, backend.device)[0]
    weight = torch.tensor([0.0, 0.0, 1.0, -0.0, 2.0], device=backend.device)
    check([input, weight, torch.full_like(weight, bias)], training)


def test_slope_at_zero_is_the_negative_one(backend: Backend) -> None:
    input = torch.tensor([[0.0], [-1.0], [1.0]], device=backend.device, requires_grad=True)
    zero, one = torch.zeros(1, device=backend.device), torch.ones(1, device=backend.device)
    fastgan.batch_norm_leaky_relu(input, zero, one, eps=0.0, negative_slope=0.25).sum().backward()
    assert input.grad.flatten().tolist() == [0.25, 0.25, 1.0]


@pytest.mark.parametrize("channels_last", [True, False], ids=["rows", "planes"])
def test_large_mean_and_small_deviation(backend: Backend, channels_last: bool) -> None:
    """A sum of squares minus the square of the mean would be noise."""
    input = torch.randn(7, 5, 40, 9, dtype=torch.float64) * 1e-2 + 1e4
    input[:, 3] += 10 * torch.arange(7).view(-1, 1, 1)  # and means that differ between samples
    layout = torch.channels_last if channels_last else torch.contiguous_format
    input = input.to(backend.device, torch.float32).contiguous(memory_format=layout)
    check([input], True, negative_slope=1.0)


def test_mean_and_variance(variant: Backend) -> None:
    """More exact than PyTorch's on a CPU."""
    if variant.name == "reference":
        pytest.skip("the reference is PyTorch's")
    input = torch.randn(300, 17, 12, 11, device=variant.device) * 1e-2 + 3
    for x in (input[:, :, 0, 0], input, input.contiguous(memory_format=torch.channels_last)):
        mean, var = (torch.zeros(17, device=variant.device) for _ in "mv")
        fastgan.batch_norm_leaky_relu(x, mean, var, training=True, momentum=1.0)
        dims = [i for i in range(x.dim()) if i != 1]
        exact_var, exact_mean = torch.var_mean(x.double(), dims)
        torch.testing.assert_close(mean.double(), exact_mean, rtol=2e-7, atol=0)
        torch.testing.assert_close(var.double(), exact_var, rtol=1e-6, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "rows"])
def test_an_outlier_comes_first(backend: Backend, layout: torch.memory_format) -> None:
    """Kernels subtract each channel's first value, which must not cost the others their digits."""
    input = torch.randn(7, 5, 6, 5, device=backend.device) * 1e-2 + 1e4
    input[0, :, 0, 0] = -3e6
    input = input.contiguous(memory_format=layout)
    mean, var = (torch.zeros(5, device=backend.device) for _ in "mv")
    fastgan.batch_norm_leaky_relu(input, mean, var, training=True, momentum=1.0)
    exact_var, exact_mean = torch.var_mean(input.double(), (0, 2, 3))
    assert ((mean - exact_mean).abs() <= 1e-6 * exact_var.sqrt()).all()
    # the interpreter adds the rows of a tile one after another, most of them far below the first
    torch.testing.assert_close(var.double(), exact_var, rtol=1e-5, atol=0)


def test_momentum(backend: Backend) -> None:
    """With 1 nothing remains of old statistics, however large; with 0 they stay."""
    input = torch.randn(16, 3, device=backend.device)
    fresh = [torch.zeros(3, device=backend.device) for _ in "mv"]
    fastgan.batch_norm_leaky_relu(input, *fresh, training=True, momentum=1.0)
    for momentum, expected in ((1.0, fresh), (0.0, [torch.full_like(fresh[0], 1e9)] * 2)):
        large = [torch.full_like(fresh[0], 1e9) for _ in "mv"]
        fastgan.batch_norm_leaky_relu(input, *large, training=True, momentum=momentum)
        torch.testing.assert_close(large, expected, rtol=0, atol=0)


def test_training_without_running_statistics(backend: Backend) -> None:
    input, *parameters = samples((33, 5, 2), torch.float32, backend.device)
    output = fastgan.batch_norm_leaky_relu(input, None, None, *parameters, training=True)
    torch.testing.assert_close(output, pair(input, None, None, *parameters, training=True))


@both_modes
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0), (0, 3, 2, 2)], ids=str)
def test_empty_input(backend: Backend, shape: Shape, training: bool) -> None:
    """The running statistics stay, as in PyTorch."""
    leaves = [
        t.to(backend.device).requires_grad_() for t in (torch.randn(shape), torch.ones(3), torch.zeros(3))
    ]
    mean, var = torch.zeros(3, device=backend.device), torch.ones(3, device=backend.device)
    output = fastgan.batch_norm_leaky_relu(leaves[0], mean, var, *leaves[1:], training)
    output.sum().backward()
    assert output.shape == shape
    assert [t.grad.tolist() for t in leaves[1:]] == [[0.0] * 3] * 2
    assert (mean.tolist(), var.tolist()) == ([0.0] * 3, [1.0] * 3)


@both_modes
def test_no_channels(backend: Backend, training: bool) -> None:
    if backend.name == "reference":
        pytest.skip("PyTorch's batch norm needs channels")
    input, none = torch.randn(4, 0, device=backend.device), torch.zeros(0, device=backend.device)
    assert fastgan.batch_norm_leaky_relu(input, none, none, none, none, training).shape == (4, 0)


@both_modes
@pytest.mark.parametrize("channels_last", [True, False], ids=["rows", "planes"])
def test_nan_and_inf_go_no_further_than_in_pytorch(
    backend: Backend, channels_last: bool, training: bool
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    input, *parameters = samples((8, 4, 3, 3), torch.float32, backend.device)
    input[2, 1, 1, 1], input[3, 2, 0, 0] = math.nan, math.inf
    cotangent = torch.ones_like(input)
    cotangent[4, 3, 2, 2] = math.nan
    tensors = [input.contiguous(memory_format=layout), *parameters]
    statistics = running(4, torch.float32, backend.device)
    ours, usual = (
        outcome(function, tensors, statistics, cotangent, training, {})[:2]
        for function in (fastgan.batch_norm_leaky_relu, pair)
    )
    torch.testing.assert_close(ours, usual, equal_nan=True)


@both_modes
@pytest.mark.parametrize("wanted", range(3), ids=["input", "weight", "bias"])
def test_one_gradient(backend: Backend, wanted: int, training: bool) -> None:
    for shape in ((33, 5), (3, 5, 4, 4)):
        tensors = samples(shape, torch.float32, backend.device)
        tensors[wanted].requires_grad_()
        statistics = running(5, torch.float32, backend.device)
        found = [
            torch.autograd.grad(
                function(tensors[0], *statistics, *tensors[1:], training).square().sum(), tensors[wanted]
            )
            for function in (fastgan.batch_norm_leaky_relu, pair)
        ]
        torch.testing.assert_close(*found)


@both_modes
def test_second_derivative(backend: Backend, training: bool) -> None:
    tensors = [t.requires_grad_() for t in samples((6, 3, 2, 2), torch.float64, backend.device)]
    statistics = running(3, torch.float64, backend.device)

    def penalty(function: Callable[..., Tensor]) -> list[Tensor]:
        mean, var = (t.clone() for t in statistics)
        output = function(tensors[0], mean, var, *tensors[1:], training)
        (slope,) = torch.autograd.grad(output.square().sum(), tensors[0], create_graph=True)
        return [slope, *torch.autograd.grad(slope.square().sum(), tensors), mean, var]

    for ours, exact in zip(penalty(fastgan.batch_norm_leaky_relu), penalty(pair), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("transform", ["grad", "jvp"])
def test_transforms_update_running_statistics(backend: Backend, transform: str) -> None:
    input = torch.randn(6, 3, device=backend.device)
    found = []
    for function in (fastgan.batch_norm_leaky_relu, pair):
        mean, var = torch.zeros(3, device=backend.device), torch.ones(3, device=backend.device)

        def loss(x: Tensor, function: Callable[..., Tensor] = function, mean=mean, var=var) -> Tensor:
            return function(x, mean, var, training=True).square().sum()

        result = (
            torch.func.grad(loss)(input) if transform == "grad" else torch.func.jvp(loss, (input,), (input,))
        )
        found.append([result, mean, var])
    torch.testing.assert_close(*found)


@both_modes
@pytest.mark.parametrize("weight", [1.5, 0.0])
def test_methods_of_the_reference(weight: float, training: bool) -> None:
    """Where no transform or second derivative asks for them, the reference backend is PyTorch's pair."""
    input, _, bias = samples((5, 3, 4), torch.float64, "cpu")
    tensors = [input, torch.full_like(bias, weight), bias * (weight != 0)]
    statistics, cotangent = running(3, torch.float64, "cpu"), torch.rand_like(input)
    expected = outcome(pair, tensors, statistics, cotangent, training, {})
    mean, var = statistics
    normalization = mean, var
    if training:
        normalization = reference.batch_norm_statistics(input, mean, var, 0.1)
    call = *normalization, *tensors[1:], 1e-5, 0.2
    output = reference.batch_norm_leaky_relu(input, *call)
    grads = reference.batch_norm_leaky_relu_backward(cotangent, input, *call, training, (True, True, True))
    for ours, exact in zip([output, *grads, mean, var], expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)


def kept_bytes(network: nn.Sequential, input: Tensor) -> tuple[int, int]:
    """Bytes that a convolution, a pair and a convolution keep for backward: those of the pair, and all.

    Without parameters and the input. A storage counts once.
    """
    known = {t.untyped_storage().data_ptr() for t in (input, *network.parameters())}
    storages: list[dict[int, int]] = []
    everything: list[Tensor] = []  # alive until the end, so that no address is another tensor's later

    def pack(t: Tensor) -> Tensor:
        everything.append(t)
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            storages[-1][storage.data_ptr()] = storage.nbytes()
        return t

    output = input
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        for part in (network[:1], network[1:3], network[3:]):
            storages.append({})
            output = part(output)
    everything.append(output)
    merged = {place: size for each in storages for place, size in each.items()}
    return sum(storages[1].values()), sum(merged.values())


@both_modes
@pytest.mark.parametrize("in_place", [True, False])
def test_bytes_kept_for_the_backward_pass(backend: Backend, in_place: bool, training: bool) -> None:
    """The pair keeps one tensor, not two. The convolution after it keeps another, the pair's output.

    In PyTorch, an activation in place and the convolution after it keep the same tensor.
    """
    if backend.name == "reference":
        pytest.skip("the reference is PyTorch's pair")
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2, inplace=in_place),
        nn.Conv2d(8, 16, 4, 2, 1, bias=False),
    )
    plain = plain.to(backend.device).train(training)
    input = torch.randn(4, 3, 16, 16, device=backend.device)
    theirs_of_pair, theirs = kept_bytes(plain, input)
    ours_of_pair, ours = kept_bytes(fastgan.fuse(plain), input)
    assert ours_of_pair <= 0.55 * theirs_of_pair
    assert ours <= (1.0 if in_place else 0.7) * theirs


ONE = torch.ones(3)
BAD_CALLS: dict[str, tuple[tuple[object, ...], dict[str, object], type[Exception], str]] = {
    "one value": (
        (torch.randn(1, 3), ONE, ONE),
        {"training": True},
        ValueError,
        r"Expected more than 1 value per channel when training, got input size \(1, 3\)",
    ),
    "vector": ((torch.randn(3), ONE, ONE), {}, ValueError, r"\[N, channels, ...\], but has shape \(3,\)"),
    "no statistics": ((torch.randn(2, 3), None, None), {}, ValueError, "may be None only in training"),
    "one statistic": (
        (torch.randn(2, 3), ONE, None),
        {"training": True},
        ValueError,
        "running_var is None, but the other running statistic is not",
    ),
    "shape of weight": (
        (torch.randn(2, 3), ONE, ONE, torch.ones(4)),
        {},
        ValueError,
        r"weight must have shape \(3,\), but has \(4,\)",
    ),
    "shape of statistics": (
        (torch.randn(2, 3), torch.ones(3, 1), ONE),
        {},
        ValueError,
        r"running_mean must have shape \(3,\)",
    ),
    "dtype of bias": (
        (torch.randn(2, 3), ONE, ONE, ONE, ONE.half()),
        {},
        TypeError,
        "bias is torch.float16 but input torch.float32",
    ),
    "float64 statistics of halves": (
        (torch.randn(2, 3).half(), ONE.double(), ONE),
        {},
        TypeError,
        "running_mean is torch.float64 but input torch.float16",
    ),
    "integers": ((torch.ones(2, 3, dtype=torch.int64), ONE, ONE), {}, TypeError, "input must be float32"),
    "device": (
        (torch.randn(2, 3), ONE.to("meta"), ONE),
        {},
        ValueError,
        "running_mean is on meta but input on cpu",
    ),
    "negative slope": ((torch.randn(2, 3), ONE, ONE), {"negative_slope": -0.1}, ValueError, "negative_slope"),
    "eps": ((torch.randn(2, 3), ONE, ONE), {"eps": -1.0}, ValueError, "eps must be finite and not negative"),
    "momentum": (
        (torch.randn(2, 3), ONE, ONE),
        {"training": True, "momentum": math.nan},
        ValueError,
        "momentum must be finite, but is nan",
    ),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_invalid_arguments(bad: str) -> None:
    arguments, options, error, message = BAD_CALLS[bad]
    with pytest.raises(error, match=message):
        fastgan.batch_norm_leaky_relu(*arguments, **options)


def test_the_order_of_a_sequence(backend: Backend) -> None:
    """PyTorch's result of three dimensions is contiguous, whatever the input's strides."""
    sequence = torch.randn(2, 5, 3, device=backend.device).transpose(1, 2).requires_grad_()
    ours = fastgan.batch_norm_leaky_relu(sequence, None, None, training=True)
    theirs = F.leaky_relu(F.batch_norm(sequence, None, None, training=True), 0.2)
    assert ours.stride() == theirs.stride()
    torch.testing.assert_close(ours, theirs)


def test_evaluation_before_training(backend: Backend) -> None:
    """A backward pass of evaluation keeps the statistics of its forward pass."""
    if backend.name == "reference":
        pytest.skip("PyTorch's batch norm takes the moved ones")
    module = fastgan.nn.BatchNorm1dLeakyReLU(3).to(backend.device).eval()
    input = torch.randn(6, 3, device=backend.device).requires_grad_()
    (expected,) = torch.autograd.grad(module(input).square().sum(), input)
    loss = module(input).square().sum()
    module.train()(torch.randn(6, 3, device=backend.device) + 3)
    (grad,) = torch.autograd.grad(loss, input)
    torch.testing.assert_close(grad, expected, rtol=0, atol=0)


def test_no_eps_in_training(backend: Backend) -> None:
    input = torch.ones(4, 3, device=backend.device)
    with pytest.raises(ValueError, match="eps must be positive in training, but is 0"):
        fastgan.batch_norm_leaky_relu(input, None, None, training=True, eps=0.0)


@pytest.mark.parametrize("shape", [(64, 65), (33, 48), (500, 256)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rows_with_strides(variant: Backend, shape: Shape, dtype: torch.dtype) -> None:
    """A residual block writes next to its input, and its gradient comes from there, without a copy."""
    input, weight, bias = samples(shape, dtype, variant.device)
    backend, (rows, channels) = choose(input), shape
    room = torch.full((rows, channels + 7), 9.0, dtype=dtype, device=variant.device)
    place = room[:, 3 : 3 + channels]
    mean, var = backend.batch_norm_statistics(input, None, None, 0.1)
    numbers = mean, var, weight, bias, 1e-5, 0.0
    found = backend.batch_norm_leaky_relu(input, *numbers, place)
    assert found.data_ptr() == place.data_ptr()
    assert torch.equal(place, backend.batch_norm_leaky_relu(input, *numbers))
    assert (room[:, [0, 1, 2, -4, -3, -2, -1]] == 9).all()
    incoming = torch.randn(room.shape, device=variant.device).to(dtype)[:, 3 : 3 + channels]
    grads = backend.batch_norm_leaky_relu_backward(incoming, input, *numbers, True, (True, True, True))
    expected = backend.batch_norm_leaky_relu_backward(
        incoming.contiguous(), input, *numbers, True, (True, True, True)
    )
    for each, one in zip(grads, expected, strict=True):
        assert each is not None
        assert one is not None
        assert torch.equal(each, one)
