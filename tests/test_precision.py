"""Both of PyTorch's interfaces for TensorFloat-32, alone and mixed: none raises, and all is restored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch

from fastgan.training import Callback, TrainConfig, Trainer
from fastgan.training.precision import matmul_precision
from fastgan.training.state import TrainingState
from tests.test_fit import networks, points

SETTINGS = [
    *(("generic", "all"), ("cuda", "all"), ("cuda", "matmul"), ("cuda", "conv"), ("cuda", "rnn")),
    *(("mkldnn", "all"), ("mkldnn", "matmul"), ("mkldnn", "conv")),
]
OLDER = ("highest", "high", "medium")


def read(*setting: str) -> str:
    return torch._C._get_fp32_precision_getter(*setting)


def write(value: str, *setting: str) -> None:
    torch._C._set_fp32_precision_setter(*setting, value)


def older() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the newer interface says otherwise
        return "raises"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    for setting in SETTINGS:
        write("tf32" if setting in (("cuda", "conv"), ("cuda", "rnn")) else "none", *setting)


def assert_restored() -> None:
    before = [older(), *(read(*setting) for setting in SETTINGS)]
    for precision in ("fp32", "tf32", "bf16"):
        with matmul_precision(precision):
            allowed = precision == "tf32"
            assert (torch.backends.cuda.matmul.fp32_precision == "tf32") is allowed
            assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert [older(), *(read(*setting) for setting in SETTINGS)] == before


@pytest.mark.parametrize("first", OLDER)
@pytest.mark.parametrize("backend", ["cuda", "mkldnn"])
def test_all_settings_are_restored(first: str, backend: str) -> None:
    values = ("none", "ieee", "tf32") if backend == "cuda" else ("none", "ieee", "tf32", "bf16")
    for generic, own, product in itertools.product(("none", "ieee", "tf32", "bf16"), values, values):
        torch.set_float32_matmul_precision(first)
        write(generic, "generic", "all")
        write(own, backend, "all")
        write(product, backend, "matmul")
        assert_restored()
        # what follows another setting still does, and what does not follow it still does not
        for value in ("ieee", "tf32"):
            write(value, "generic", "all")
            expected = product if product != "none" else own if own != "none" else value
            assert read(backend, "matmul") == expected
        for value in ("ieee", "tf32"):
            write(value, backend, "all")
            assert read(backend, "matmul") == (product if product != "none" else value)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize(
    "setting",
    [
        "cuda.matmul.fp32_precision",
        "fp32_precision",
        "cudnn.fp32_precision",
        "cudnn.conv.fp32_precision",
        "mkldnn.fp32_precision",
        "mkldnn.matmul.fp32_precision",
        "mkldnn.conv.fp32_precision",
        "cuda.matmul.allow_tf32",
        "cudnn.allow_tf32",
    ],
)
def test_a_trainer_trains_after_each_setting(setting: str, precision: str) -> None:
    *path, name = setting.split(".")
    owner = torch.backends
    for part in path:
        owner = getattr(owner, part)
    for value in (True, False) if name == "allow_tf32" else ("tf32", "ieee", "none"):
        setattr(owner, name, value)
        before = [older(), *(read(*each) for each in SETTINGS)]
        Trainer(*networks(), TrainConfig(steps=1, latent_dim=4, batch_size=8, precision=precision)).fit(
            points()
        )
        assert [older(), *(read(*each) for each in SETTINGS)] == before


def test_products_are_as_asked_for_while_training() -> None:
    seen = []

    class Looks(Callback):
        def on_log(self, state: TrainingState, row: object) -> None:
            seen.append((torch.backends.cuda.matmul.fp32_precision, older()))

    torch.backends.fp32_precision = "tf32"
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    for precision in ("fp32", "tf32"):
        config = TrainConfig(steps=1, latent_dim=4, batch_size=8, precision=precision)
        Trainer(*networks(), config, [Looks()]).fit(points())
    assert seen == [("ieee", "highest"), ("tf32", "high")]
