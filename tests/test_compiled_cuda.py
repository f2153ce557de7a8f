"""The CUDA kernels as nvcc compiled them: architectures, spills, registers, instructions, wide loads."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import fastgan

pytest.importorskip("triton", reason="Triton, which brings cuobjdump, is not installed")
from benchmarks.kernels.assembly import CUOBJDUMP, loops_of

BUILT = next(iter(Path(fastgan.__file__).parent.glob("_cuda.*.so")), None)
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
MOST_REGISTERS = 128  # two blocks of 256 threads on a multiprocessor
BUDGET = 20  # instructions for each bf16 element of the discriminator loss, with statistics
ELEMENTS = 64  # of a thread, in a tile

pytestmark = pytest.mark.skipif(
    BUILT is None, reason="the CUDA kernels were not built: there was no nvcc at installation"
)


def dump(*options: str) -> str:
    return subprocess.run(
        [CUOBJDUMP, *options, str(BUILT)], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_registers_and_stack(architecture: str) -> None:
    usage = re.findall(
        r"Function (\S+):\s+REG:(\d+) STACK:(\d+) \S+ LOCAL:(\d+)",
        dump("-res-usage", "-arch", architecture),
    )
    assert len(usage) > 100
    assert {name: reg for name, reg, *_ in usage if int(reg) > MOST_REGISTERS} == {}
    assert {name for name, _, stack, local in usage if int(stack) or int(local)} == set()


@pytest.fixture(scope="module")
def sass() -> dict[str, str]:
    """The machine code of each kernel, for sm_90."""
    functions = dump("-sass", "-arch", "sm_90").split("Function : ")[1:]
    return {text.partition("\n")[0].strip(): text for text in functions}


def test_no_spills(sass: dict[str, str]) -> None:
    assert [name for name, text in sass.items() if re.search(r"\b(STL|LDL)\b", text)] == []


def test_instructions_of_the_discriminator_loss(sass: dict[str, str]) -> None:
    # Label one for real samples (kind 1), zero for generated ones; statistics, no gradient.
    (kernel,) = (
        text
        for name, text in sass.items()
        if re.search(r"loss_kernel\S*BFloat16ELNS\d*_4KindE1ELb1ELb0E", name)
    )
    tiles = [count for count, wide in loops_of(kernel) if wide == ELEMENTS // 8]
    assert len(tiles) == 2
    assert 8 < max(tiles) / ELEMENTS <= BUDGET


def test_memory_is_moved_16_bytes_at_a_time(sass: dict[str, str]) -> None:
    # kernels for sizes that a vector does not divide have a width of one
    streams = [n for n in sass if not re.search(r"any_kernel|Li1E", n)]
    loads = [n for n in streams if "grad_kernel" not in n and not re.search(r"LDG\S*\.128", sass[n])]
    stores = [n for n in streams if "each_kernel" in n and not re.search(r"STG\S*\.128", sass[n])]
    assert loads == []
    assert stores == []
