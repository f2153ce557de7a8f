"""Values and gradients of the feature matching loss, in every form, and its errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from oracle import DTYPES, assert_as_exact, evaluate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.kernels.layout import in_one_order

# Shapes of the maps of each discriminator: within a chunk of threads, over several, empty dimensions of one.
SHAPES = [[(2, 3, 5), (1025,)], [()], [(4, 1, 7, 7), (65,), (1, 16385)]]


def maps(shapes: Any, dtype: torch.dtype, device: str) -> Any:
    if isinstance(shapes, tuple):
        return torch.randn(shapes).to(device, dtype)
    return [maps(each, dtype, device) for each in shapes]


def flat(nested: Any) -> list[Tensor]:
    return [nested] if isinstance(nested, Tensor) else [t for each in nested for t in flat(each)]


def nested_like(shapes: Any, tensors: list[Tensor]) -> Any:
    if isinstance(shapes, tuple):
        return tensors.pop(0)
    return [nested_like(each, tensors) for each in shapes]


def usual(real: Any, fake: Any) -> Tensor:
    """The loop of HiFi-GAN's script."""
    loss = torch.zeros_like(flat(real)[0].flatten()[0])
    for real_maps, fake_maps in zip(real, fake, strict=True):
        for r, f in zip(real_maps, fake_maps, strict=True):
            loss = loss + torch.mean(torch.abs(r - f))
    return loss


def compare(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], real: Any, fake: Any, shapes: Any
) -> None:
    """Check value and all gradients against float64."""
    inputs, count = flat(real) + flat(fake), len(flat(real))

    def over(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *t: loss(nested_like(shapes, list(t[:count])), nested_like(shapes, list(t[count:])))

    cotangent = [torch.tensor(0.75, dtype=inputs[0].dtype, device=inputs[0].device)]
    exact = evaluate(over(theirs), [t.double() for t in inputs], [c.double() for c in cotangent])
    for each in zip(
        evaluate(over(ours), inputs, cotangent), evaluate(over(theirs), inputs, cotangent), exact, strict=True
    ):
        assert_as_exact(*each)


def with_real(real: Any, fake: Any, **options: Any) -> Tensor:
    return fastgan.feature_matching_loss(real, fake, detach_real=False, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_and_gradients(variant: Backend, dtype: torch.dtype) -> None:
    real, fake = (maps(SHAPES, dtype, variant.device) for _ in range(2))
    compare(with_real, usual, real, fake, SHAPES)


def test_more_maps_than_a_launch_takes(backend: Backend) -> None:
    shapes = [[(3, i % 5)] for i in range(1, 71)]
    shapes = [each for each in shapes if each[0][1]]
    shapes += [[(2, 2)]] * (70 - len(shapes))
    real, fake = (maps(shapes, torch.float32, backend.device) for _ in range(2))
    compare(with_real, usual, real, fake, shapes)


WAYS: dict[str, tuple[dict[str, Any], Callable[[list[list[Tensor]]], Tensor]]] = {
    "factor": ({"factor": 2.0}, lambda d: 2 * sum(map(sum, d))),
    "over maps": ({"over_maps": "mean"}, lambda d: sum(sum(each) / len(each) for each in d)),
    "over discriminators": ({"over": "mean"}, lambda d: sum(map(sum, d)) / len(d)),
    "both": (
        {"over": "mean", "over_maps": "mean", "factor": -3.0},
        lambda d: -3 * sum(sum(each) / len(each) for each in d) / len(d),
    ),
    "weights of discriminators": (
        {"weights": [2, 0.5, 0.0]},
        lambda d: 2 * sum(d[0]) + sum(d[1]) / 2 + 0 * sum(d[2]),
    ),
    "weights of maps": (
        {"weights": [[1.0, 3.0], 0.0, (0, 0.25, 1)]},
        lambda d: d[0][0] + 3 * d[0][1] + 0 * d[1][0] + 0 * d[2][0] + d[2][1] / 4 + d[2][2],
    ),
}


@pytest.mark.parametrize(("options", "combined"), WAYS.values(), ids=WAYS)
def test_weights_and_means(options: dict[str, Any], combined: Callable[[Any], Tensor]) -> None:
    real, fake = (maps(SHAPES, torch.float64, "cpu") for _ in range(2))

    def theirs(real: Any, fake: Any) -> Tensor:
        return combined(
            [[F.l1_loss(f, r) for r, f in zip(*pair, strict=True)] for pair in zip(real, fake, strict=True)]
        )

    compare(lambda r, f: with_real(r, f, **options), theirs, real, fake, SHAPES)


def test_without_the_last_map_of_each_discriminator() -> None:
    real, fake = (maps([SHAPES[0], SHAPES[2]], torch.float64, "cpu") for _ in range(2))
    real[0][-1].fill_(math.nan)
    loss = fastgan.feature_matching_loss(real, fake, with_last=False, over_maps="mean")
    first, second = F.l1_loss(real[0][0], fake[0][0]), [F.l1_loss(real[1][i], fake[1][i]) for i in (0, 1)]
    torch.testing.assert_close(loss, first + sum(second) / 2)


def test_one_discriminator_and_deeper_nesting() -> None:
    real, fake = (maps(SHAPES[0], torch.float64, "cpu") for _ in range(2))
    loss = fastgan.feature_matching_loss(real, fake)
    torch.testing.assert_close(loss, usual([real], [fake]))
    nested = fastgan.feature_matching_loss(((real, real), [real]), ((fake, fake), [fake]), over="mean")
    torch.testing.assert_close(nested, loss)


def test_real_maps_are_detached(backend: Backend) -> None:
    real, fake = (maps(SHAPES, torch.float32, backend.device) for _ in range(2))
    for t in flat(real) + flat(fake):
        t.requires_grad_()
    fastgan.feature_matching_loss(real, fake).backward()
    assert all(t.grad is None for t in flat(real))
    assert all(t.grad is not None for t in flat(fake))


@pytest.mark.parametrize("both", [True, False], ids=["both", "fake"])
def test_maps_of_convolutions_are_not_copied(backend: Backend, both: bool) -> None:
    """Both channels_last, as after a convolution; or only one of them."""
    real, fake = (maps([(2, 3, 5, 4), (2, 8, 6)], torch.float32, backend.device) for _ in range(2))
    fake[0] = fake[0].to(memory_format=torch.channels_last)
    fake[1] = fake[1].transpose(1, 2).contiguous().transpose(1, 2)
    if both:
        real[0] = real[0].to(memory_format=torch.channels_last)
        real[1] = real[1].transpose(1, 2).contiguous().transpose(1, 2)
    leaves = [t.detach().requires_grad_() for t in fake]
    grads = torch.autograd.grad(fastgan.feature_matching_loss(real, leaves), leaves)
    for grad, r, f in zip(grads, real, fake, strict=True):
        torch.testing.assert_close(grad, torch.sign(f - r) / f.numel())
        if both and backend.name != "reference":
            assert grad.stride() == f.stride()
            assert in_one_order(r, f)[1].data_ptr() == f.data_ptr()


class Counted(TorchDispatchMode):
    """The operators that PyTorch calls, without views."""

    def __enter__(self) -> Counted:
        self.names: list[str] = []
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten.detach.default:
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_one_operator_forward_and_one_backward(backend: Backend) -> None:
    real, fake = (maps(SHAPES * 9, torch.float32, backend.device) for _ in range(2))
    leaves = [t.requires_grad_() for t in flat(fake)]
    with Counted() as counted:
        loss = fastgan.feature_matching_loss(real, fake, factor=2.0)
        torch.autograd.grad(loss, leaves)
    assert counted.names == ["fastgan::l1_loss", "aten::ones_like", "fastgan::l1_loss_backward"]


def test_saves_nothing_but_its_inputs(backend: Backend) -> None:
    if backend.name == "reference":
        pytest.skip("PyTorch differentiates the reference, and saves more")
    real, fake = (maps(SHAPES, torch.float32, backend.device) for _ in range(2))
    for t in flat(fake):
        t.requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        fastgan.feature_matching_loss(real, fake)
    assert [t.data_ptr() for t in kept] == [t.data_ptr() for t in flat(real) + flat(fake)]


def test_a_nan_in_one_map_is_in_the_loss(variant: Backend) -> None:
    real, fake = (maps(SHAPES, torch.float32, variant.device) for _ in range(2))
    fake[2][0][0, 0, 0, 0] = math.nan
    assert fastgan.feature_matching_loss(real, fake).isnan()


def test_an_empty_map_makes_a_mean_nan(variant: Backend) -> None:
    """As PyTorch's mean."""
    real, fake = (
        [[torch.ones(3, device=variant.device), torch.ones(0, 2, device=variant.device)]] for _ in "rf"
    )
    assert fastgan.feature_matching_loss(real, fake).isnan()
    only_empty = [torch.ones(0, device=variant.device)]
    assert fastgan.feature_matching_loss(only_empty, only_empty).isnan()


def test_autocast_mixes_dtypes(backend: Backend) -> None:
    """A map that autocast left in float32, and a pair of which only one did."""
    real, fake = (maps([(4, 4), (4, 4), (3,)], torch.float32, backend.device) for _ in range(2))
    real[0], fake[0], fake[1] = real[0].bfloat16(), fake[0].bfloat16(), fake[1].bfloat16()
    leaves = [t.requires_grad_() for t in fake]
    with torch.autocast(backend.device, torch.bfloat16):
        loss = fastgan.feature_matching_loss(real, fake)
    assert loss.dtype is torch.float32
    exact = sum(F.l1_loss(f.double(), r.double()) for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(loss.double(), exact, rtol=1e-6, atol=0)
    grads = torch.autograd.grad(loss, leaves)
    assert [g.dtype for g in grads] == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_maps_of_several_dtypes_without_autocast() -> None:
    real = [torch.ones(3), torch.ones(2, dtype=torch.float64)]
    loss = fastgan.feature_matching_loss(real, [t * 3 for t in real])
    assert loss.dtype is torch.float64
    assert loss.item() == 4


def test_compiled_discriminators() -> None:
    layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 1)])

    def features(x: Tensor) -> list[Tensor]:
        maps = [layers[0](x)]
        return [*maps, layers[1](maps[0])]

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        return fastgan.feature_matching_loss([features(real)], [features(fake)], factor=2.0)

    real, fake = torch.randn(5, 4), torch.randn(5, 4, requires_grad=True)
    compiled = torch.compile(loss, fullgraph=True)
    torch.testing.assert_close(compiled(real, fake), loss(real, fake))
    ours, theirs = (torch.autograd.grad(each(real, fake), fake)[0] for each in (compiled, loss))
    torch.testing.assert_close(ours, theirs)


ONE, TWO = [torch.ones(2, 3)], [torch.ones(2, 3), torch.ones(4)]
ERRORS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a tensor": (
        lambda: fastgan.feature_matching_loss(ONE[0], ONE[0]),  # type: ignore[arg-type]
        TypeError,
        r"real_features must be a list of feature maps, or of such lists, but is Tensor",
    ),
    "no lists": (
        lambda: fastgan.feature_matching_loss([], []),
        ValueError,
        r"real_features and fake_features are empty, expected feature maps",
    ),
    "an empty list": (
        lambda: fastgan.feature_matching_loss([TWO, []], [TWO, []]),
        ValueError,
        r"real_features\[1\] and fake_features\[1\] are empty",
    ),
    "numbers of discriminators": (
        lambda: fastgan.feature_matching_loss([TWO, TWO], [TWO]),
        ValueError,
        r"real_features has 2 elements and fake_features has 1, expected the same number",
    ),
    "numbers of maps": (
        lambda: fastgan.feature_matching_loss([TWO, TWO], [TWO, ONE]),
        ValueError,
        r"real_features\[1\] has 2 elements and fake_features\[1\] has 1",
    ),
    "shape": (
        lambda: fastgan.feature_matching_loss([ONE, TWO], [ONE, [TWO[0], torch.ones(5)]]),
        ValueError,
        r"fake_features\[1\]\[1\] must have the shape of real_features\[1\]\[1\], \(4,\), but has \(5,\)",
    ),
    "dtype": (
        lambda: fastgan.feature_matching_loss(ONE, [ONE[0].double()]),
        TypeError,
        r"fake_features\[0\] is torch.float64 but real_features\[0\] torch.float32",
    ),
    "device of a pair": (
        lambda: fastgan.feature_matching_loss([ONE], [[ONE[0].to("meta")]]),
        ValueError,
        r"fake_features\[0\]\[0\] is on meta but real_features\[0\]\[0\] on cpu",
    ),
    "device of a discriminator": (
        lambda: fastgan.feature_matching_loss([ONE, [ONE[0].to("meta")]], [ONE, [ONE[0].to("meta")]]),
        ValueError,
        r"fake_features\[1\]\[0\] is on meta but fake_features\[0\]\[0\] on cpu",
    ),
    "a list between maps": (
        lambda: fastgan.feature_matching_loss([*ONE, TWO], [*ONE, TWO]),  # type: ignore[list-item]
        TypeError,
        r"real_features\[1\] must be a torch.Tensor, but is list",
    ),
    "a map between lists": (
        lambda: fastgan.feature_matching_loss([ONE, TWO[1]], [ONE, TWO[1]]),  # type: ignore[list-item]
        TypeError,
        r"real_features\[1\] must be a list of feature maps, or of such lists, but is Tensor",
    ),
    "integers": (
        lambda: fastgan.feature_matching_loss([torch.arange(3)], [torch.arange(3)]),
        TypeError,
        r"real_features\[0\] must be float32.* but is torch.int64",
    ),
    "only last maps": (
        lambda: fastgan.feature_matching_loss([TWO, ONE], [TWO, ONE], with_last=False),
        ValueError,
        r"fake_features\[1\]\[0\] is the only feature map of its discriminator, and with_last=False",
    ),
    "weights": (
        lambda: fastgan.feature_matching_loss([TWO, ONE], [TWO, ONE], weights=[1.0]),
        ValueError,
        r"weights has 1 elements, expected 2, as real_features",
    ),
    "weights of maps": (
        lambda: fastgan.feature_matching_loss([TWO, ONE], [TWO, ONE], weights=[[1.0], 1.0]),
        ValueError,
        r"weights\[0\] has 1 elements, expected 2, as real_features\[0\]",
    ),
    "weight": (
        lambda: fastgan.feature_matching_loss([TWO], [TWO], weights=[["1", 1.0]]),  # type: ignore[list-item]
        TypeError,
        r"weights\[0\]\[0\] must be a number, but is str",
    ),
    "nan weight": (
        lambda: fastgan.feature_matching_loss([TWO], [TWO], weights=[math.nan]),
        ValueError,
        r"weights\[0\]\[0\] must be finite, but is nan",
    ),
    "factor": (
        lambda: fastgan.feature_matching_loss(ONE, ONE, factor=math.inf),
        ValueError,
        "factor must be finite, but is inf",
    ),
    "over": (
        lambda: fastgan.feature_matching_loss(ONE, ONE, over="all"),
        ValueError,
        "over must be 'sum' or 'mean', but is 'all'",
    ),
    "over_maps": (
        lambda: fastgan.feature_matching_loss(ONE, ONE, over_maps="max"),
        ValueError,
        "over_maps must be 'sum' or 'mean', but is 'max'",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
