"""One clear message if the CUDA kernels cannot run. Every pointer is checked before it reaches them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from conftest import Python

from fastgan.kernels.cuda import module

GPU = torch.device("cuda", 0)


def test_not_built(python: Python) -> None:
    done = python(
        "import sys; sys.modules['fastgan._cuda'] = None\n"
        "import torch, fastgan.kernels as k\nprint(k.why_not('cuda', torch.device('cuda')))"
    )
    assert "the CUDA kernels are not built" in done.stdout, done.stderr
    assert "pip install '.[nvcc]'" in done.stdout


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a GPU for which the kernels are built, as far as PyTorch says."""
    monkeypatch.setattr(module, "missing", None)
    monkeypatch.setattr(module, "DEVICE_TYPE", "cuda")
    monkeypatch.setattr(module, "_cuda", SimpleNamespace(device_error=lambda: None))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU of tests")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    return monkeypatch


def test_a_gpu(gpu: pytest.MonkeyPatch) -> None:
    assert module.why_not(GPU) is None
    assert module.why_not(torch.device("cpu")) == "there are no CUDA kernels for cpu tensors"


@pytest.mark.parametrize(
    "error",
    [
        "CUDA driver version is insufficient for CUDA runtime version",
        "no kernel image is available for execution on the device",
    ],
)
def test_a_driver_or_a_gpu_that_cannot(gpu: pytest.MonkeyPatch, error: str) -> None:
    gpu.setattr(module, "_cuda", SimpleNamespace(device_error=lambda: error))
    reason = module.why_not(GPU)
    assert reason is not None
    for part in ("a GPU of tests (compute capability 7.5)", error, "580 series", "TORCH_CUDA_ARCH_LIST"):
        assert part in reason


def test_no_gpu(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.cuda, "is_available", lambda: False)
    assert module.why_not(GPU) == "there is no GPU that this PyTorch can use"


def test_amd(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.version, "hip", "7.0")
    assert "use Triton instead" in str(module.why_not(GPU))


@pytest.mark.parametrize(
    "tensor",
    [
        lambda: torch.zeros(4, device=module.DEVICE_TYPE)[::2],
        lambda: torch.zeros(4, dtype=torch.float64, device=module.DEVICE_TYPE),
        lambda: torch.zeros(4, device="meta"),
    ],
    ids=["strided", "another dtype", "another device"],
)
def test_no_pointer_of_another_kind(tensor: Callable[[], torch.Tensor]) -> None:
    if module.DEVICE_TYPE == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU, and no g++ for the kernels on the host")
    with pytest.raises(TypeError, match=r"a kernel takes plain contiguous torch.float32"):
        module.address(tensor(), torch.float32)
