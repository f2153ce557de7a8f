"""More elements than an int holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from backends import Backend

import fastgan
from fastgan.nn import kaiser_sinc_filter
from fastgan.ops import generator_loss_value_and_grad, reconstruction_loss_value_and_grad

GIB = 1 << 30


def available_gib() -> float:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 0
    return int(re.search(r"MemAvailable:\s+(\d+)", meminfo.read_text())[1]) * 1024 / GIB


needs_memory = pytest.mark.skipif(available_gib() < 14, reason="needs 14 GiB of available memory")


def zeros(size: int, device: str) -> torch.Tensor:
    if device != "cpu":
        return torch.zeros(size, dtype=torch.bfloat16, device=device)
    # NumPy's zeros are pages that nobody has touched; torch writes its zeros
    return torch.from_numpy(np.zeros(size, np.int16)).view(torch.bfloat16)


@pytest.mark.long
@needs_memory
def test_more_than_2_to_the_31_elements(backend: Backend) -> None:
    if backend.name == "reference":
        pytest.skip("plain PyTorch in float32 needs 40 GiB")
    torch.set_num_threads(2)
    size = 2**31 + 8
    fake = zeros(size, backend.device)
    fake[-4:] = torch.tensor([1e4, -1e4, 9.0, -9.0], dtype=torch.bfloat16)
    scale = torch.tensor(float(2**31), device=backend.device)
    loss, grad, stats = generator_loss_value_and_grad(fake, scale=scale)
    assert loss.item() == pytest.approx(0.693, rel=4e-3)
    torch.testing.assert_close(stats.cpu(), torch.tensor([0.5, 4 / size]))
    assert grad.numel() == size
    assert (grad[: 1 << 20] == -0.5).all()
    assert (grad[-(1 << 20) : -4] == -0.5).all()
    ends = -torch.sigmoid(-fake[-4:].float()).to(grad.dtype)
    torch.testing.assert_close(grad[-4:], ends)


@pytest.mark.long
@needs_memory
def test_reconstructions_of_more_than_2_to_the_31_elements(backend: Backend) -> None:
    if backend.name == "reference":
        pytest.skip("plain PyTorch in float32 needs 40 GiB")
    torch.set_num_threads(2)
    size = 2**31 + 8
    input = torch.ones(size, dtype=torch.bfloat16, device=backend.device)
    input[-2:] = torch.tensor([0.0, -1.0])
    reconstruction = zeros(size, backend.device)
    loss, _, grad = reconstruction_loss_value_and_grad(
        input, reconstruction, reduction="sum", with_input_grad=False
    )
    assert loss.item() == pytest.approx(size - 1, rel=4e-3)
    assert (grad[: 1 << 20] == -1).all()
    assert (grad[-(1 << 20) : -2] == -1).all()
    assert grad[-2:].tolist() == [0, 1]


@pytest.mark.long
@needs_memory
def test_signals_of_more_than_2_to_the_31_samples(backend: Backend) -> None:
    """One channel: a tone at the end is as at the end of a short signal."""
    if backend.name == "reference":
        pytest.skip("plain PyTorch in float32 needs 40 GiB")
    torch.set_num_threads(2)
    x = zeros(2**31 + 8, backend.device).view(1, 1, -1)
    tone = torch.sin(torch.arange(1000.0)).to(x)
    x[..., -1000:] = tone
    short = torch.cat([tone.new_zeros(1000), tone]).view(1, 1, -1)
    one, taps = torch.ones(1, device=backend.device), kaiser_sinc_filter(12).to(backend.device)
    for call in (fastgan.snake, lambda *t: fastgan.anti_aliased_snake(*t, taps, taps)):
        output = call(x, one, one)
        assert output.numel() == x.numel()
        assert not output[..., : 1 << 20].any()
        torch.testing.assert_close(output[..., -1500:], call(short, one, one)[..., -1500:])
        del output
