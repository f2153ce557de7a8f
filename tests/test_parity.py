"""Well-known kinds of scripts give the same loss curves with fastgan as in plain PyTorch.

The scripts are examples/NAME_plain.py and examples/NAME_fastgan.py, run as they stand, from the same seed.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from fastgan.fusion import report

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {
    "mlp": "--lr 1e-3 --batch_size 8 --width 8 --latent_dim 8 --img_size 8 --n_steps",
    "dcgan": "--batchSize 4 --nz 8 --ngf 2 --ndf 4 --niter",
    "hinge": "--batch-size 4 --latent-dim 8 --channels 4 --image-size 8 --steps",
    "hifigan": "--batch-size 1 --segment 1024 --channels 16 --d-channels 32 --steps",
    "bigvgan": "--batch-size 1 --segment 1024 --channels 16 --d-channels 16 --steps",
    "vqgan": "{mnist} --batch-size 4 --channels 4 --codes 8 --steps",
    "esrgan": "--batch-size 4 --channels 8 --blocks 1 --steps",
}
# layers of D
FUSED = {"mlp": 2, "dcgan": 3, "hinge": 4, "hifigan": 46, "bigvgan": 32, "vqgan": 3, "esrgan": 6}
SLOW = ("hifigan", "bigvgan")  # a tenth of the steps


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like MNIST's, with digits of another set."""
    digits = torch.tensor(load_digits().images[:100]).mul(15.9375)
    pixels = F.interpolate(digits[:, None], size=(28, 28)).to(torch.uint8).numpy()
    path = tmp_path_factory.mktemp("mnist") / "train-images-idx3-ubyte"
    path.write_bytes(np.array([2051, 100, 28, 28], ">i4").tobytes() + pixels.tobytes())
    return path


def losses_of(
    path: Path, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, dict[str, object]]:
    """Both losses of each step, ``[steps, 2]``, and all that the script made."""
    monkeypatch.setattr(sys, "argv", [str(path), *arguments.split()])
    made = runpy.run_path(str(path), run_name="__main__")
    return torch.tensor(made["losses"], dtype=torch.float64), made


@pytest.mark.parametrize("name", SMALL)
def test_loss_curves_agree(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, mnist: Path
) -> None:
    """In fp64 to 1e-9 over 80 steps; in fp32 to 1e-5 over 20, as rounding grows from step to step."""
    steps, tolerance = {torch.float64: (80, 1e-9), torch.float32: (20, 1e-5)}[dtype]
    steps //= 10 if name in SLOW else 1
    arguments = f"{SMALL[name].format(mnist=mnist)} {steps}"
    plain, _ = losses_of(EXAMPLES / f"{name}_plain.py", arguments, monkeypatch)
    ours, made = losses_of(EXAMPLES / f"{name}_fastgan.py", arguments, monkeypatch)
    discriminator = next(made[key] for key in ("discriminator", "netD", "D") if key in made)
    assert isinstance(discriminator, torch.nn.Module)
    assert len(report(discriminator).fused) == FUSED[name]
    assert plain.shape == (steps, 2)
    assert plain.std(dim=0).min() > 1e-3  # there is a curve to follow
    torch.testing.assert_close(ours, plain, rtol=tolerance, atol=0)
