"""The CUDA kernels as nvcc compiled them: architectures, spills, registers, instructions, wide loads."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Python
from cuda_on_host import made_once

import fastgan

pytest.importorskip("triton", reason="Triton, which brings cuobjdump, is not installed")
from benchmarks.kernels.assembly import CUOBJDUMP, fewest_before_loop, loops_of

BUILT = next(iter(Path(fastgan.__file__).parent.glob("_cuda.*.so")), None)
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
MOST_REGISTERS = 128  # two blocks of 256 threads on a multiprocessor
BUDGET = 20  # instructions for each bf16 element of the discriminator loss, with statistics
ELEMENTS = 64  # of a thread, in a tile
SNAKE_STEP = 16  # samples of an iteration
SNAKE_RUN = 128  # of a thread, where there are enough threads for as many or twice as many

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
    assert BUILT is not None
    options = ("-sass", "-arch", "sm_90")
    # reading it takes ten seconds, and says the same until the kernels are compiled again
    state = [BUILT.read_bytes(), str(CUOBJDUMP), *options]
    functions = made_once("kernels.sass", state, lambda out: write(out, dump(*options))).read_text()
    return {text.partition("\n")[0].strip(): text for text in functions.split("Function : ")[1:]}


def write(path: Path, text: str) -> None:
    path.write_text(text)


def only(sass: dict[str, str], name: str) -> str:
    (kernel,) = (text for each, text in sass.items() if re.search(name, each))
    return kernel


def test_no_spills(sass: dict[str, str]) -> None:
    assert [name for name, text in sass.items() if " STL" in text or " LDL" in text] == []


def test_instructions_of_the_discriminator_loss(sass: dict[str, str]) -> None:
    # Labels of one and zero (kind 0); statistics, no gradient.
    kernel = only(sass, r"loss_kernel\S*BFloat16ELNS\d*_4KindE0ELb1ELb0E")
    # a loop over tiles, and in it one over the halves of a tile
    loops = sorted(count for count, wide in loops_of(kernel) if wide == ELEMENTS // 8 // 2)
    half, tile = loops
    assert 8 < (tile + half) / ELEMENTS <= BUDGET


@pytest.mark.parametrize(("dtype", "width"), [("NS_8BFloat16E", 8), ("f", 4)])
@pytest.mark.parametrize(
    ("kernel", "loads"),
    [
        (r"loss_kernelI{dtype}\S*KindE0ELb1ELb1E", 2),  # value and gradients
        (r"each_kernelI{dtype}\S*KindE0\S*WantedE1E", 4),  # the backward pass
        (r"11head_kernelI{dtype}Li{width}E", 9),  # the weight and four rows, then four rows again
        (r"14forward_kernelI{dtype}Li{width}ELb1E\S*LeakyAct", 2),
        (r"14forward_kernelI{dtype}Li{width}ELb0E\S*LeakyAct", 2),
        (r"backward_rows_kernelI{dtype}Li{width}ELb1E\S*LeakyAct", 4),
        (r"backward_rows_kernelI{dtype}Li{width}ELb1E\S*AnyAct", 2),
        (r"backward_planes_kernelI{dtype}Li{width}E\S*LeakyAct", 4),
        (r"backward_planes_kernelI{dtype}Li{width}E\S*AnyAct", 2),
        (r"9l1_kernelI{dtype}Lb1E", 4),
        (r"12snake_kernelI{dtype}Li{width}ELb0E", 2),
        (r"12snake_kernelI{dtype}Li{width}ELb1E", 2),
        (r"21snake_backward_kernelI{dtype}Li{width}ELb0E", 4),
        (r"21snake_backward_kernelI{dtype}Li{width}ELb1E", 4),
        (r"multiply_rows_kernelI{dtype}E", 8),  # four vectors of the weight, and of v
        (r"multiply_columns_kernelI{dtype}E", 2),
        (r"divide_kernelI{dtype}E", 2),
        (r"inner_product_kernelI{dtype}E", 4),
        (r"15backward_kernelI{dtype}E", 2),
        (r"statistics_kernelI{dtype}Li{width}ELb0E", 3),  # planes; two and one that is left
        (r"normalize_kernelI{dtype}Li{width}ELb1E", 2),
        (r"normalize_kernelI{dtype}Li{width}ELb0E", 2),
        (r"normalize_backward_kernelI{dtype}Li{width}ELb1ELb0ELb1E", 4),  # dx, of rows
        (r"normalize_backward_kernelI{dtype}Li{width}ELb0ELb0ELb1E", 4),
        (r"normalize_backward_kernelI{dtype}Li{width}ELb1ELb1ELb1E", 4),  # sums and dx
        (r"normalize_backward_kernelI{dtype}Li{width}ELb0ELb1ELb1E", 4),
        (r"planes_kernelI{dtype}NS\S*4AxisILi2ELi1E", 4),
        (r"planes_kernelI{dtype}NS\S*4AxisILi1ELi2E", 4),
        (r"planes_kernelI{dtype}NS\S*4AxisILi1ELi1E", 4),
        (r"separable_kernelI{dtype}NS\S*4AxisILi2ELi1E", 4),
        (r"separable_kernelI{dtype}NS\S*4AxisILi1ELi2E", 4),
        (r"channels_kernelI{dtype}NS\S*4AxisILi2ELi1E", 4),
        (r"channels_kernelI{dtype}NS\S*4AxisILi1ELi2E", 4),
        (r"channels_kernelI{dtype}NS\S*4AxisILi1ELi1E", 4),
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
    # kernels for sizes that a vector does not divide have a width of one; two read a few numbers each; rows
    # of tables have any width, and there neighbouring threads have neighbouring columns
    exceptions = r"any_kernel|Li1E|draw_kernel|record_kernel|snake_sums|spans_|table_batch|draw_conditions"
    streams = [n for n in sass if not re.search(exceptions, n)]
    loads = [n for n in streams if "grad_kernel" not in n and not re.search(r"LDG\S*\.128", sass[n])]
    stores = [n for n in streams if "each_kernel" in n and not re.search(r"STG\S*\.128", sass[n])]
    assert loads == []
    assert stores == []


def test_the_last_block_reads_sums_16_bytes_at_a_time(sass: dict[str, str]) -> None:
    """It reads what many blocks have stored, alone; loads that other blocks' stores reach are strong."""
    for name, loads in (
        (r"backward_rows_kernelI\S*Li\dELb1E", 8),
        (r"11head_kernelI\S*Li[248]E", 8),
        (r"multiply_(?:rows|columns)_kernelI", 4),
        (r"statistics_kernelI\S*Li\dELb1E", 8),
        (r"normalize_backward_kernelI\S*Li\dELb1ELb1E", 8),
    ):
        kernels = [text for each, text in sass.items() if re.search(name, each)]
        assert len(kernels) >= 4
        for text in kernels:
            assert len(re.findall(r"LDG\S*\.128\.STRONG\.GPU", text)) >= loads  # in flight together


def test_the_head_keeps_rows_in_shared_memory(sass: dict[str, str]) -> None:
    for dtype, width in (("NS_8BFloat16E", 8), ("NS_4HalfE", 8), ("f", 4), ("d", 2)):
        text = only(sass, rf"11head_kernelI{dtype}Li{width}E")
        assert len(re.findall(r"STS\.128", text)) >= 4
        assert len(re.findall(r"LDS\.128", text)) >= 4


def test_instructions_of_the_anti_aliased_snake(sass: dict[str, str]) -> None:
    """A bf16 sample, with filters of 12 taps, has those of the loop, and a share of those before it."""
    kernel = only(sass, r"11walk_kernelINS_8BFloat16ELi8E")
    (loop,) = (count for count, wide in loops_of(kernel) if wide == 2)
    before = fewest_before_loop(kernel, 2)
    assert 24 < loop / SNAKE_STEP + before / SNAKE_RUN <= 40


def test_instructions_of_its_backward_pass(sass: dict[str, str]) -> None:
    kernel = only(sass, r"20walk_backward_kernelINS_8BFloat16ELi8E")
    (loop,) = (count for count, wide in loops_of(kernel) if wide == 4)
    assert 36 < loop / SNAKE_STEP <= 65


DTYPE_NUMBERS = {"float64": 0, "float32": 1, "bfloat16": 3}


@pytest.mark.parametrize("dtype", DTYPE_NUMBERS)
def test_a_stripe_has_few_partial_sums(python: Python, dtype: str) -> None:
    """One block adds them up, alone: 256 KB take it about 2 us, where the whole pass takes tens."""
    done = python(
        "import json, fastgan._cuda as c\n"  # the real one: in this process the host's stands in
        "shapes = [(rows, columns, 1) for rows in (128, 8192, 1 << 20, 1 << 24)"
        " for columns in (1, 3, 8, 64, 100, 256, 512, 1000, 1024, 4096, 16384)]\n"
        f"print(json.dumps([(s, *c.layer_workspace({DTYPE_NUMBERS[dtype]}, *s)) for s in shapes]))"
    )
    workspaces = json.loads(done.stdout)
    assert len(workspaces) == 44
    assert {str(shape): n for shape, sums, n in workspaces if sums > n * (1 << 16)} == {}
