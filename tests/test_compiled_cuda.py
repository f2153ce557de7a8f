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


def only(sass: dict[str, str], name: str) -> str:
    (kernel,) = (text for each, text in sass.items() if re.search(name, each))
    return kernel


def test_no_spills(sass: dict[str, str]) -> None:
    assert [name for name, text in sass.items() if re.search(r"\b(STL|LDL)\b", text)] == []


def test_instructions_of_the_discriminator_loss(sass: dict[str, str]) -> None:
    # Label one for real samples (kind 1), zero for generated ones; statistics, no gradient.
    kernel = only(sass, r"loss_kernel\S*BFloat16ELNS\d*_4KindE1ELb1ELb0E")
    # for each tensor a loop over tiles, and in it one over the halves of a tile
    loops = sorted(count for count, wide in loops_of(kernel) if wide == ELEMENTS // 8 // 2)
    assert len(loops) == 4
    half, tile = loops[1], loops[3]
    assert 8 < (tile + half) / ELEMENTS <= BUDGET


@pytest.mark.parametrize(("dtype", "width"), [("NS_8BFloat16E", 8), ("f", 4)])
@pytest.mark.parametrize(
    ("kernel", "loads"),
    [
        (r"loss_kernelI{dtype}\S*KindE1ELb1ELb1E", 2),  # value and gradients
        (r"each_kernelI{dtype}\S*KindE1\S*WantedE1E", 4),  # the backward pass
        (r"11head_kernelI{dtype}Li{width}E", 9),  # the weight and four rows, then four rows again
        (r"forward_kernelI{dtype}Li{width}E\S*BiasE1E", 2),
        (r"backward_rows_kernelI{dtype}Li{width}ELb1E", 4),
        (r"backward_planes_kernelI{dtype}Li{width}E", 4),
        (r"reconstruction_kernelI{dtype}Lb1E", 4),
    ],
)
def test_loads_are_in_flight_together(
    sass: dict[str, str], kernel: str, loads: int, dtype: str, width: int
) -> None:
    """So many before a store: else each waits for memory by itself, as results may overwrite what is read."""
    text = only(sass, kernel.format(dtype=dtype, width=width))
    moves = "".join(name[0] for name in re.findall(r"\b(?:LDG|STG)\S*\.128", text))
    assert max(map(len, moves.split("S"))) >= loads


def test_memory_is_moved_16_bytes_at_a_time(sass: dict[str, str]) -> None:
    # kernels for sizes that a vector does not divide have a width of one
    streams = [n for n in sass if not re.search(r"any_kernel|Li1E", n)]
    loads = [n for n in streams if "grad_kernel" not in n and not re.search(r"LDG\S*\.128", sass[n])]
    stores = [n for n in streams if "each_kernel" in n and not re.search(r"STG\S*\.128", sass[n])]
    assert loads == []
    assert stores == []
