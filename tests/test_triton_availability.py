"""If Triton cannot run: one clear message, and the next backend runs, with a warning."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pytest
import torch
from conftest import Python
from packaging.version import Version

import fastgan
from fastgan import kernels

pytest.importorskip("triton", reason="Triton is not installed")
from fastgan.kernels.triton import availability

GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A machine with an H100, as far as PyTorch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a GPU of tests")
    monkeypatch.setattr(availability, "INTERPRETING", False)
    kernels.why_not.cache_clear()
    kernels._choose.cache_clear()
    yield monkeypatch
    kernels.why_not.cache_clear()
    kernels._choose.cache_clear()


def assert_falls_back(reason: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"fastgan runs on plain PyTorch here. .*triton: {reason}"):
        assert kernels._choose(GPU, None) is kernels.reference
    assert fastgan.available_backends(GPU) == ["reference"]
    with pytest.raises(RuntimeError, match=f"triton backend was requested but cannot run: {reason}"):
        kernels._choose(GPU, "triton")


def test_an_interpreter_left_on(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(availability, "INTERPRETING", True)
    assert_falls_back("Triton's interpreter is on.*unset TRITON_INTERPRET")


def test_a_gpu_older_than_ampere(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    assert_falls_back("Triton needs compute capability 8.0.*a GPU of tests has 7.5")


def test_a_driver_that_fails(gpu: pytest.MonkeyPatch) -> None:
    class Broken:
        @property
        def active(self) -> None:
            raise RuntimeError("Failed to find C compiler")

    gpu.setattr(availability, "driver", Broken())
    assert_falls_back(r"Triton cannot reach the GPU.*Failed to find C compiler.*apt install gcc")


def test_no_gpu(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.cuda, "is_available", lambda: False)
    assert_falls_back("there is no GPU that this PyTorch can use")


def test_no_triton(python: Python) -> None:
    done = python(
        "import sys; sys.modules['triton'] = None\n"
        "import torch, fastgan, fastgan.kernels as k\n"
        "assert fastgan.generator_loss(torch.zeros(2)).item() > 0\n"
        "print(k.why_not('triton', torch.device('cuda')))"
    )
    assert "Triton cannot be imported" in done.stdout, done.stderr
    assert "pip install triton" in done.stdout


def test_cpu_tensors_need_the_interpreter(python: Python) -> None:
    code = (
        "import torch, fastgan\nwith fastgan.use_backend('triton'): fastgan.generator_loss(torch.zeros(2))\n"
    )
    refused = python(code)
    assert "no kernels for cpu tensors; TRITON_INTERPRET=1" in refused.stderr
    if Version(version("triton")) < Version("3.7"):  # alone it fails with NumPy 2.4
        code = f"from tests.triton_interpreter import prepare\nprepare()\n{code}"
    assert python(code, TRITON_INTERPRET="1").returncode == 0


def test_importing_fastgan_leaves_triton_alone(python: Python) -> None:
    done = python(
        "import torch, sys; before = 'triton' in sys.modules\nimport fastgan\n"
        "fastgan.generator_loss(torch.zeros(2))\nprint(before or 'triton' not in sys.modules)"
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("value", ["fast", ""])
def test_products_by_a_name_that_is_none(python: Python, value: str) -> None:
    done = python(
        "import torch, fastgan\nwith fastgan.use_backend('triton'): fastgan.generator_loss(torch.zeros(2))\n",
        TRITON_INTERPRET="1",
        FASTGAN_PRODUCTS=value,
    )
    assert f"FASTGAN_PRODUCTS must be 'fused' or 'library', but is {value!r}" in done.stderr
