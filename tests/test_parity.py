"""Well-known kinds of scripts give the same loss curves with fastgan as in plain PyTorch.

The scripts are examples/NAME_plain.py and examples/NAME_fastgan.py, run as they stand, from the same seed.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastgan.fusion import report

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {
    "mlp": "--lr 1e-3 --batch_size 8 --width 8 --latent_dim 8 --img_size 8 --n_steps",
    "dcgan": "--batchSize 4 --nz 8 --ngf 2 --ndf 4 --niter",
    "hinge": "--batch-size 4 --latent-dim 8 --channels 4 --image-size 8 --steps",
}
FUSED = {"mlp": 2, "dcgan": 1, "hinge": 4}  # layers of D


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def losses_of(
    path: Path, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, dict[str, object]]:
    """Both losses of each step, ``[steps, 2]``, and all that the script made."""
    monkeypatch.setattr(sys, "argv", [str(path), *arguments.split()])
    made = runpy.run_path(str(path), run_name="__main__")
    return torch.tensor(made["losses"], dtype=torch.float64), made


@pytest.mark.parametrize("name", SMALL)
def test_loss_curves_agree(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp64 to 1e-9 over 80 steps; in fp32 to 1e-5 over 20, as rounding grows from step to step."""
    steps, tolerance = {torch.float64: (80, 1e-9), torch.float32: (20, 1e-5)}[dtype]
    arguments = f"{SMALL[name]} {steps}"
    plain, _ = losses_of(EXAMPLES / f"{name}_plain.py", arguments, monkeypatch)
    ours, made = losses_of(EXAMPLES / f"{name}_fastgan.py", arguments, monkeypatch)
    discriminator = next(made[key] for key in ("discriminator", "netD", "D") if key in made)
    assert isinstance(discriminator, torch.nn.Module)
    assert len(report(discriminator).fused) == FUSED[name]
    assert plain.shape == (steps, 2)
    assert plain.std(dim=0).min() > 1e-3  # there is a curve to follow
    torch.testing.assert_close(ours, plain, rtol=tolerance, atol=0)
