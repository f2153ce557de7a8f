"""Which backend is chosen, and which modules are imported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from backends import BACKENDS
from conftest import Python

import fastgan
from fastgan import kernels

IMPORTS = "import torch, fastgan, fastgan.kernels as k; t = torch.ones(2)\n"
WITHOUT_EXTENSION = "import sys; sys.modules['fastgan._cpu'] = None\n"


def chosen() -> str:
    """The name of the backend of CPU tensors."""
    return kernels.choose(torch.ones(1)).name


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of backends whose loss functions are called."""
    calls: list[str] = []
    for name in kernels.BACKENDS:
        backend = kernels.load(name)
        for function in ("loss", "loss_backward"):
            original = getattr(backend, function)

            def wrapper(
                *args: Any, name: str = name, original: Callable[..., Any] = original, **kwargs: Any
            ) -> Any:
                calls.append(name)
                return original(*args, **kwargs)

            monkeypatch.setattr(backend, function, wrapper)
    return calls


def test_every_known_backend_is_in_the_table() -> None:
    assert set(kernels.BACKENDS) == {backend.name for backend in BACKENDS}


def test_the_best_first() -> None:
    assert chosen() == fastgan.available_backends()[0]
    assert fastgan.available_backends()[-1] == "reference"
    assert all(why is None or isinstance(why, str) for _, why in kernels.report())


def test_forcing_nests() -> None:
    best = chosen()
    with fastgan.use_backend("reference"):
        assert chosen() == "reference"
        with fastgan.use_backend(best):
            assert chosen() == best
        assert chosen() == "reference"
    assert chosen() == best


def test_an_exception_ends_the_choice() -> None:
    best = chosen()
    with pytest.raises(KeyError), fastgan.use_backend("reference"):
        raise KeyError
    assert chosen() == best


def test_a_bare_call_holds_from_then_on(python: Python) -> None:
    result = python(
        IMPORTS + "name = lambda: k.choose(t).name\n"
        "for _ in range(1_000): fastgan.use_backend('cpu')\n"
        "fastgan.use_backend('reference'); print(name())\n"
        "with fastgan.use_backend('cpu'): print(name())\n"
        "print(name())\n"
        "import threading; thread = threading.Thread(target=lambda: print(name()))\n"
        "thread.start(); thread.join()\n"
        "with fastgan.use_backend('reference'):\n"
        "    fastgan.use_backend('cpu'); print(name())\n"
        "print(name(), len(k.forcing.calls))",
        FASTGAN_BACKEND="tpu",
    )
    expected = ["reference", "cpu", "reference", "reference", "cpu", "cpu", "2"]
    assert result.stdout.split() == expected, result.stderr


def test_threads_see_the_block_that_they_start_in_and_their_own() -> None:
    best = chosen()
    seen: list[str] = []

    def look() -> None:
        seen.append(chosen())

    def look_in_a_block() -> None:
        with fastgan.use_backend(best):
            seen.append(chosen())
            within.set()
            leave.wait()
        seen.append(chosen())

    within, leave = threading.Event(), threading.Event()
    with fastgan.use_backend("reference"):
        first = threading.Thread(target=look)
        first.start()
        first.join()
        second = threading.Thread(target=look_in_a_block)
        second.start()
        within.wait()
        look()
        leave.set()
        second.join()
    assert seen == ["reference", best, "reference", "reference"]
    assert chosen() == best


def test_blocks_of_threads_end_in_any_order() -> None:
    best = chosen()
    names = [*fastgan.available_backends(), "reference"]

    def switch(number: int) -> None:
        for i in range(200):
            name = names[(number + i) % len(names)]
            with fastgan.use_backend(name):
                assert chosen() == name

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(switch, range(8)))
    assert chosen() == best


def test_a_function_can_be_decorated() -> None:
    best = chosen()

    @fastgan.use_backend("reference")
    def chosen_at(depth: int) -> list[str]:
        return [chosen(), *(chosen_at(depth - 1) if depth else [])]

    assert chosen() == best
    assert chosen_at(2) == ["reference"] * 3
    assert chosen() == best


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'tpu'.*choose one of .*reference"), fastgan.use_backend("tpu"):
        pass


@pytest.mark.parametrize("name", fastgan.available_backends())
def test_backward_by_the_backend_of_forward(counted: list[str], name: str) -> None:
    fake = torch.randn(3, requires_grad=True)
    with fastgan.use_backend(name):
        loss = fastgan.generator_loss(fake)
    loss.backward()
    # PyTorch differentiates the reference by itself
    assert counted == ([name] if name == "reference" else [name, name])


def test_second_derivatives_leave_the_choice_alone(counted: list[str]) -> None:
    fake = torch.randn(3, requires_grad=True)
    torch.autograd.grad(fastgan.generator_loss(fake), fake, create_graph=True)[0].sum().backward()
    assert counted[0] == chosen()


def test_environment_variable(python: Python) -> None:
    code = IMPORTS + "print(k.choose(t).name)"
    assert python(code, FASTGAN_BACKEND="reference").stdout.strip() == "reference"
    result = python(code, FASTGAN_BACKEND="tpu")
    assert result.returncode != 0
    assert "BackendError: FASTGAN_BACKEND='tpu' is not a backend; choose one of" in result.stderr


def test_the_context_wins_over_the_environment(python: Python) -> None:
    code = IMPORTS + "with fastgan.use_backend('reference'): print(k.choose(t).name)"
    assert python(code, FASTGAN_BACKEND="cpu").stdout.strip() == "reference"


@pytest.mark.parametrize(
    "call",
    [
        "fastgan.generator_loss(t)",
        "fastgan.nn.GeneratorLoss()(t)",
        "fastgan.nn.MLP([2, 3, 1])(t)",
        "torch.nn.Sequential(fastgan.nn.LinearLeakyReLU(2, 3))(t)",
    ],
)
def test_a_fallback_names_the_line_of_the_user(python: Python, call: str) -> None:
    result = python(WITHOUT_EXTENSION + IMPORTS + "def of_user():\n    return " + call + "\nof_user()\n")
    assert result.returncode == 0, result.stderr
    assert "<string>:4: RuntimeWarning: fastgan runs on plain PyTorch here" in result.stderr


def test_without_the_extension_one_warning(python: Python) -> None:
    result = python(
        WITHOUT_EXTENSION + IMPORTS + "for _ in range(3): fastgan.generator_loss(t)\n"
        "print(fastgan.available_backends(), fastgan.generator_loss(t).item())"
    )
    assert result.stdout.startswith("['reference'] 0.313"), result.stderr
    assert result.stderr.count("RuntimeWarning") == 1
    assert "plain PyTorch" in result.stderr
    assert "install" in result.stderr


def test_forced_but_missing(python: Python) -> None:
    code = WITHOUT_EXTENSION + IMPORTS + "with fastgan.use_backend('cpu'): fastgan.generator_loss(t)"
    result = python(code)
    assert "BackendError: the cpu backend was requested but cannot run" in result.stderr
    assert "compiler" in result.stderr


def test_an_import_in_a_fake_tensor_mode_leaves_nothing_fake(python: Python) -> None:
    code = (
        "import torch\n"
        "from torch._subclasses.fake_tensor import FakeTensorMode\n"
        "with FakeTensorMode():\n"
        "    import fastgan\n"
        "x = torch.zeros(4, 1)\n"
        "print(f'{fastgan.discriminator_loss(x, x).item():.4f}')"
    )
    result = python(code)
    assert result.stdout.strip() == "1.3863", result.stderr


def test_import_is_light(python: Python) -> None:
    """Without triton, and with nothing that only training needs."""
    result = python(
        "import sys; sys.modules['triton'] = None\n" + IMPORTS + "fastgan.generator_loss(t)\n"
        "extras = 'matplotlib PIL typer rich sklearn tensorboard safetensors pooch yaml'\n"
        "print(sorted(set(extras.split()) & set(sys.modules)))"
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_import_adds_no_module_but_its_own(python: Python) -> None:
    """What ``import torch`` has not imported already is fastgan's: importing it takes little longer."""
    result = python(
        "import sys, torch; before = set(sys.modules); import fastgan\n"
        "print(sorted(name for name in set(sys.modules) - before if name.split('.')[0] != 'fastgan'))"
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_bfloat16_on_a_machine_without_avx512(python: Python) -> None:
    """There oneDNN has no bfloat16 products."""
    result = python(
        "import torch, fastgan; x = torch.ones(32, 32, dtype=torch.bfloat16)\n"
        "print(fastgan.linear_leaky_relu(x, x).sum().item())",
        ONEDNN_MAX_CPU_ISA="AVX2",
    )
    assert result.stdout.strip() == "32768.0", result.stderr


@pytest.mark.skipif("cpu" not in fastgan.available_backends(), reason="the extension is not built")
@pytest.mark.parametrize(
    "before", ["", "import sklearn.utils._openmp_helpers\n"], ids=["alone", "beside sklearn"]
)
def test_no_further_openmp_runtime(python: Python, before: str) -> None:
    """Two pools of threads that spin against each other cost milliseconds a call."""
    if before:
        pytest.importorskip("sklearn")
    result = python(
        "import re, torch\n" + before + "def mapped():\n"
        r"    return set(re.findall(r'/\S*lib[gi]?omp\S*', open('/proc/self/maps').read()))"
        "\nruntimes = mapped()\nimport fastgan\nfastgan.generator_loss(torch.ones(1 << 20))\n"
        "print(runtimes == mapped(), mapped())"
    )
    assert result.stdout.startswith("True"), result.stdout + result.stderr
