"""Every matrix product that can compute a layer, relative to the one that fastgan chooses.

``pytest benchmarks/bench_choices.py`` prints for each pass and size how many times as long each product takes
as the chosen one. A ratio below 1 means that the choice is wrong on this machine. The choices are in
``fastgan/kernels/cpu/products.py``, ``fastgan/kernels/triton/layers.py`` and, for tiles, ``tuning.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, Effort, Sample, contest, timed
from benchmarks.machine import DEVICE, finish_of
from benchmarks.operations.operation import DTYPES
from benchmarks.operations.table import SLOPE
from benchmarks.replay import replayed
from fastgan.kernels import load
from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.products import Product

pytestmark = pytest.mark.benchmark(timer=replayed)
SIZES = [(64, 64, 64), (256, 256, 256)]
if not IS_QUICK:
    SIZES += [(128, 128, 128), (512, 512, 512), (1024, 1024, 1024)]
    SIZES += [(128, 784, 256), (64, 2, 128), (8192, 256, 256), (64, 1024, 1024), (256, 256, 1)]
EFFORT = Effort(rounds=20, least=5, seconds=1.0)
PASSES = ("forward", "dgrad", "wgrad")
Run = Callable[[], object]


def passes(backend: str, sizes: tuple[int, int, int], dtype: str, device: str) -> dict[str, Run]:
    """The passes of a layer. sizes: n rows, k input and m output features."""
    n, k, m = sizes
    layers = load(backend)
    rng = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng).to(device, DTYPES[dtype])

    input, weight, bias, grad, below = random(n, k), random(m, k), random(m), random(n, m), random(n, k)
    return {
        "forward": partial(layers.linear_leaky_relu, input, weight, bias, SLOPE),
        "dgrad": partial(layers.dgrad_leaky_relu, grad, weight, below, SLOPE, True),
        "wgrad": partial(layers.wgrad, grad, input),
    }


def _forced(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: object, sample: Sample) -> Sample:
    def under(calls: int) -> float:
        with monkeypatch.context() as patched:
            patched.setattr(module, name, value)
            return sample(calls)

    return under


def _label(kind: str, sizes: tuple[int, int, int]) -> str:
    return "{}, {:,} × {:,} → {:,}".format(kind, *sizes)


@pytest.mark.skipif(DEVICE != "cpu", reason="the table of the CPU's products")
@pytest.mark.skipif(load("cpu").why_not(torch.device("cpu")) is not None, reason="no cpu backend")
@pytest.mark.parametrize("dtype", ["fp32"] if IS_QUICK else ["fp32", "bf16"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", PASSES)
def test_cpu_products(
    record: Record, monkeypatch: pytest.MonkeyPatch, kind: str, sizes: tuple[int, int, int], dtype: str
) -> None:
    usual = timed(passes("cpu", sizes, dtype, "cpu")[kind])
    paths = [Product.BLAS]
    paths += [Product.ONEDNN] if _has_onednn(dtype) else []
    paths += [Product.OWN] if dtype == "fp32" else []
    samples = {"fastgan": usual}
    for path in paths:
        samples[path.name] = _forced(monkeypatch, products, "choose", lambda *_, path=path: path, usual)
    chosen = products.choose(kind, DTYPES[dtype], *sizes)
    record(
        "choices, products on a CPU",
        f"{_label(kind, sizes)}: {chosen.name}",
        contest(samples, EFFORT),
        dtype=dtype,
    )


def _has_onednn(dtype: str) -> bool:
    return products.HAS_ONEDNN and (dtype == "fp32" or torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _needs_a_gpu() -> None:
    reason = load("triton").why_not(torch.device("cuda"))
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("sizes", [*SIZES, (8192, 1024, 1024), (8192, 4096, 4096)], ids=str)
@pytest.mark.parametrize("kind", PASSES)
def test_triton_products(
    record: Record, monkeypatch: pytest.MonkeyPatch, kind: str, sizes: tuple[int, int, int], dtype: str
) -> None:
    _needs_a_gpu()
    from fastgan.kernels.triton import layers

    usual = timed(passes("triton", sizes, dtype, "cuda")[kind], finish_of("cuda"))
    samples = {"fastgan": usual}
    for path in layers.Product:
        samples[path.name] = _forced(monkeypatch, layers, "_forced", path, usual)
    record("choices, products on a GPU", _label(kind, sizes), contest(samples, EFFORT), dtype=dtype)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("sizes", [(16, 1024, 1024), *SIZES, (8192, 4096, 4096)], ids=str)
@pytest.mark.parametrize("kind", PASSES)
def test_triton_tiles(
    record: Record, monkeypatch: pytest.MonkeyPatch, kind: str, sizes: tuple[int, int, int], dtype: str
) -> None:
    """Every candidate relative to the fixed choice, which is the first one."""
    _needs_a_gpu()
    from fastgan.kernels.triton import layers, tuning

    monkeypatch.setattr(layers, "_forced", layers.Product.FUSED)
    run = timed(passes("triton", sizes, dtype, "cuda")[kind], finish_of("cuda"))
    n, k, m = sizes
    result = {"forward": (n, m), "dgrad": (n, k), "wgrad": (m, k)}[kind]
    of_kind = {
        "forward": tuning.Kind.FORWARD,
        "dgrad": tuning.Kind.DGRAD_WITH_SUMS,
        "wgrad": tuning.Kind.WGRAD,
    }[kind]
    family, shared_memory = tuning._device(torch.cuda.current_device())
    shape = tuning.shape_class(*result)
    tiles = tuning.candidates(family, shape, of_kind, DTYPES[dtype], shared_memory, tuning.tf32_is_allowed())
    samples = {}
    for tile in tiles:
        name = "fastgan" if tile is tiles[0] else " ".join(map(str, tile))
        only = lambda product, *_, tile=tile: product(tile)  # noqa: E731
        samples[name] = _forced(monkeypatch, tuning, "run", only, run)
    record(
        "choices, tiles on a GPU",
        f"{_label(kind, sizes)}: {shape.value}",
        contest(samples, EFFORT),
        dtype=dtype,
    )
