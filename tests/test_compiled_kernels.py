"""The Triton kernels compiled for GPUs that are not here: spills, wide loads, matrix units, instructions."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Python

pytest.importorskip("triton", reason="Triton is not installed")
from benchmarks.kernels.__main__ import BUDGET, instructions_per_element, rows
from benchmarks.kernels.driver import TARGETS

MATRIX = {"sm_80": "HMMA", "sm_90": "HGMMA", "sm_100": "UTCHMMA", "gfx942": "v_mfma"}
Kernels = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    """Every kernel for every GPU, in bfloat16, with the fixed choice of tiles."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda target: rows(target, "--dtype", "bfloat16", "--first"), TARGETS)
        return dict(zip(TARGETS, found, strict=True))


targets = pytest.mark.parametrize("target", TARGETS)


@targets
def test_no_spills(kernels: Kernels, target: str) -> None:
    assert len(kernels[target]) >= 20
    assert [k["case"] for k in kernels[target] if k["spills"]] == []


@targets
def test_memory_is_read_16_bytes_at_a_time(kernels: Kernels, target: str) -> None:
    narrow = [k["case"] for k in kernels[target] if k["streams"] and not k["wide_loads"]]
    assert narrow == []


@targets
def test_products_run_on_the_matrix_units(kernels: Kernels, target: str) -> None:
    products = {k["case"]: k["matrix"] for k in kernels[target] if k["multiplies"]}
    few_rows = products.pop("forward, 16 rows")
    assert set(products.values()) == {MATRIX[target]}
    assert few_rows == ("v_mfma" if target == "gfx942" else "HMMA")  # the wide units start at 64 rows


def test_instructions_of_the_discriminator_loss(kernels: Kernels) -> None:
    assert 8 < instructions_per_element(kernels["sm_90"]) <= BUDGET


PLANTED = """
import sys
from benchmarks.kernels.driver import pretend
pretend(sys.argv[1])
import torch, triton, triton.language as tl
from benchmarks.kernels.assembly import read

@triton.jit
def hoards(x, y):
    at = tl.arange(0, 256)[:, None] * 256 + tl.arange(0, 256)[None, :]
    a = tl.load(x + at)
    tl.debug_barrier()
    tl.store(y + at, a * tl.sum(a))

print("spills", read(hoards[(1, 1, 1)](torch.empty(65536), torch.empty(65536), num_warps=1)).spills)
"""


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_a_planted_spill_is_seen(python: Python, tmp_path: Path, target: str) -> None:
    script = tmp_path / "planted.py"  # Triton reads a kernel's source
    script.write_text(PLANTED)
    done = python(f"import sys, runpy; sys.argv[1:] = [{target!r}]; runpy.run_path({str(script)!r})")
    assert int(re.search(r"spills (\d+)", done.stdout)[1]) > 0, done.stderr


NEW_BATCHES = """
from benchmarks.kernels.driver import pretend
pretend("sm_90")
import torch
from fastgan.kernels import triton as backend
from fastgan.kernels.triton.launch import KERNELS

def everything(n):
    x, w, b = torch.empty(n, 96), torch.empty(64, 96), torch.empty(64)
    y = backend.linear_leaky_relu(x, w, b, 0.2)
    backend.linear_leaky_relu_backward(y, x, w, y, 0.2, (True, True, True))
    backend.dgrad_leaky_relu(y, w, x, 0.2, True)
    backend.bias_leaky_relu(y, b, 0.2, 1)
    backend.bias_leaky_relu_backward(torch.empty(n, 8, 16), torch.empty(n, 8, 16), 0.2, 1, True)
    logits = torch.empty(n * 100), torch.empty(n * 90)
    backend.loss(logits, (1.0, 0.0), 1.0, True, torch.float32, True)
    backend.loss_backward(b[0].clone(), logits, (1.0, 0.0), 1.0, True)
    backend.reconstruction_loss_and_grad(logits[0], logits[0], True, None, torch.float32, (False, True))
    backend.reconstruction_loss_backward(b[0].clone(), x, x.clone(), True, (True, True))
    backend.head_loss((x, x), w[0].clone(), b[:1].clone(), (1.0, 0.0), 1.0, True, torch.float32, True, True)

def compiled():
    return sum(len(each.compiled) for each in KERNELS), sum(
        len(cache) for each in KERNELS for cache, *_ in each.jit.device_caches.values()
    )

everything(1000)
before = compiled()
for n in (999, 1024, 1500, 3001):
    everything(n)
assert before[0] > 8, before
print("new", [now - then for now, then in zip(compiled(), before)])
"""


def test_a_new_batch_size_compiles_nothing(python: Python) -> None:
    done = python(NEW_BATCHES, FASTGAN_AUTOTUNE="0")
    assert "new [0, 0]" in done.stdout, done.stdout + done.stderr
