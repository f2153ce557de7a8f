"""The Triton kernels compiled for GPUs that are not here: spills, wide loads, matrix units, instructions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Python
from cuda_on_host import made_once
from forked import Forks
from packaging.version import Version

pytest.importorskip("triton", reason="Triton is not installed")
import triton

from benchmarks.kernels.__main__ import BUDGET, DOCUMENT, all_rows, instructions_per_element, line
from benchmarks.kernels.assembly import roundings
from benchmarks.kernels.checks import CHECKS, Row, failures
from benchmarks.kernels.driver import TARGETS
from benchmarks.kernels.plan import code_of

ROOT = Path(__file__).parents[1]
targets = pytest.mark.parametrize("target", TARGETS)
installed = Version(triton.__version__)
Kernels = dict[str, list[Row]]
DETAILED = "discriminator loss, detailed"


@pytest.fixture(scope="module")
def plans(forks: Forks) -> dict[str, dict[str, Any]]:
    """A process has one driver."""
    code = "from benchmarks.kernels.__main__ import print_plan; print_plan({!r})"
    return {target: json.loads(forks.run(code.format(target)).stdout) for target in TARGETS}


@pytest.fixture(scope="module")
def kernels(plans: dict[str, dict[str, Any]]) -> Kernels:
    """Every case in bfloat16 for one of the GPUs, which take turns, with the fixed choice of tiles.

    They are kept for as long as the kernels and what compiles them stay the same. docs/kernels.md has all
    GPUs, dtypes and tiles: when a kernel changes, its fingerprint asks for `make kernels`, which checks all.
    """

    def options(target: str) -> list[str]:
        cases = list(dict.fromkeys(row[0] for row in plans[target]["rows"] if row[1] == "bfloat16"))
        chosen = {*cases[list(TARGETS).index(target) :: len(TARGETS)]}
        if target == "sm_90":
            chosen.add(DETAILED)
        return ["--first", "--dtype=bfloat16", *(f"--case={case}" for case in cases if case in chosen)]

    options_of = {target: options(target) for target in TARGETS}

    def compile_into(path: Path) -> None:
        path.write_text(json.dumps(all_rows(options_of.__getitem__)))

    sources = sorted(
        path for name in ("fastgan/kernels", "benchmarks/kernels") for path in (ROOT / name).rglob("*.py")
    )
    state = [triton.__version__, torch.__version__, str(options_of)]
    state += [code_of(path.read_text()) for path in sources]
    found: Kernels = json.loads(made_once("kernels.json", state, compile_into).read_text())
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_check(kernels: Kernels, check: str) -> None:
    if check == "spills no registers" and installed < Version("3.7"):
        # docs/install.md says what spills with Triton 3.5 and 3.6 on NVIDIA's GPUs
        kernels = {"gfx942": kernels["gfx942"]}
    assert failures(kernels, check) == []


@pytest.mark.parametrize("check", CHECKS)
def test_a_planted_failure_of_a_check_is_named(kernels: Kernels, check: str) -> None:
    wrong = {"spills": 4, "specialized": 1, "to_nearest": False, "wide_loads": 0, "matrix": ""}
    found = failures({target: [row | wrong for row in rows] for target, rows in kernels.items()}, check)
    assert {name.partition(",")[0] for name in found} == set(TARGETS)


def test_every_case_is_compiled_and_some_round(kernels: Kernels) -> None:
    every = [row["case"] for rows in kernels.values() for row in rows]
    assert len(every) > 40
    rounding = {row["case"] for rows in kernels.values() for row in rows if row["roundings"]}
    assert rounding >= {
        "bias + leaky ReLU, rows",
        "discriminator loss backward",
        "Adam with average",
        "forward, small",
    }


@pytest.mark.parametrize(
    ("code", "to_nearest"),
    [
        ({"ptx": "cvt.rn.bf16x2.f32 %r1, %f2, %f1;"}, True),
        ({"ptx": "cvt.rn.bf16.f32 %rs1, %f1; cvt.rz.bf16.f32 %rs2, %f2;"}, False),
        ({"ptx": "shr.u32 %r2, %r1, 16;"}, False),
        ({"amdgcn": "v_cvt_f16_f32_e32 v1, v2"}, True),
        ({"amdgcn": "v_cvt_pkrtz_f16_f32 v1, v2, v3"}, False),
        ({"amdgcn": "v_lshrrev_b32_e32 v1, 16, v2"}, False),
        ({"amdgcn": "v_bfe_u32 v1, v0, 16, 1; v_add3_u32 v1, v0, v1, 0x7fff"}, True),
        ({"amdgcn": "v_bfe_u32 v1, v0, 16, 1; v_and_b32_e32 v5, 0x7fffff, v5"}, False),
    ],
)
def test_a_planted_truncation_is_seen(code: dict[str, str], to_nearest: bool) -> None:
    kernel = SimpleNamespace(asm={"ttgir": "arith.truncf %1 : tensor<8xf32> to tensor<8xbf16>", **code})
    assert roundings(kernel)[1] is to_nearest


def test_instructions_of_the_discriminator_loss(kernels: Kernels) -> None:
    assert 8 < instructions_per_element(kernels["sm_90"]) <= BUDGET


@pytest.fixture(scope="module")
def document() -> dict[str, str]:
    """docs/kernels.md, a GPU's part each, and what stands before them under ""."""
    before, *parts = DOCUMENT.read_text().split("\n## ")
    return {"": before} | {part.partition("\n")[0]: part for part in parts}


def rows_of(part: str) -> list[list[str]]:
    """The cells of its table."""
    lines = [row for row in part.splitlines() if row.startswith("| ")][1:]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in lines]


@targets
def test_the_document_is_of_these_kernels(
    plans: dict[str, dict[str, Any]], document: dict[str, str], target: str
) -> None:
    plan = plans[target]
    assert plan["launched"] == plan["kernels"]  # a case for each
    assert f"Fingerprint `{plan['fingerprint']}`" in document[target], (
        "the kernels have changed: run `make kernels`"
    )
    assert [row[:4] for row in rows_of(document[target])] == plan["rows"]


def test_the_document_is_of_the_pinned_torch(document: dict[str, str]) -> None:
    """Which brings the Triton that registers depend on."""
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert f"and torch {pinned}." in document[""], "another torch is pinned: run `make kernels`"


@targets
def test_the_document_says_what_is_compiled(kernels: Kernels, document: dict[str, str], target: str) -> None:
    if f"Triton {triton.__version__} " not in document[""]:
        pytest.skip(f"docs/kernels.md is of another Triton than {triton.__version__}")
    # of one tile's rows, which differ in stages, the first is the fixed choice's
    said = {tuple(row[:4]): row for row in reversed(rows_of(document[target]))}
    for kernel in kernels[target]:
        row = said[kernel["case"], kernel["dtype"], kernel["tile"], str(kernel["warps"])]
        assert row == rows_of(f"| heading |\n{line(kernel)}")[0]


@targets
def test_no_spills_with_any_tile(document: dict[str, str], target: str) -> None:
    rows = rows_of(document[target])
    assert len(rows) >= 200
    assert [row for row in rows if row[5].split()[0] != "0"] == []


def test_a_comment_does_not_make_the_document_stale() -> None:
    plain = "def f(x):\n    return x + 1\n"
    assert code_of(plain) == code_of('def f(x):\n    """What."""\n\n    return x  + 1  # why\n')
    assert code_of(plain) != code_of(plain.replace("1", "2"))
    assert code_of(plain) != code_of(plain.replace("return", "if x: return"))


PLANTED = """
import sys
from benchmarks.kernels.driver import pretend
pretend(sys.argv[1])
import torch, triton, triton.language as tl
from benchmarks.kernels.assembly import read

@triton.jit
def hoards(x, y, ROWS: tl.constexpr):
    at = tl.arange(0, ROWS)[:, None] * 128 + tl.arange(0, 128)[None, :]
    a = tl.load(x + at)
    tl.debug_barrier()
    tl.store(y + at, a * tl.sum(a))

x, y = torch.empty(65536), torch.empty(65536)
print("spills", read(hoards[(1, 1, 1)](x, y, int(sys.argv[2]), num_warps=1)).spills)
"""


@pytest.mark.parametrize(("target", "rows"), [("sm_90", "128"), ("gfx942", "256")])
def test_a_planted_spill_is_seen(python: Python, tmp_path: Path, target: str, rows: str) -> None:
    """512 elements a thread, in 255 registers; for AMD in 512."""
    script = tmp_path / "planted.py"  # Triton reads a kernel's source
    script.write_text(PLANTED)
    done = python(f"import sys, runpy; sys.argv[1:] = {[target, rows]!r}; runpy.run_path({str(script)!r})")
    assert int(re.search(r"spills (\d+)", done.stdout)[1]) > 0, done.stderr


NEW_BATCHES = """
import re
from benchmarks.kernels.driver import pretend
pretend("sm_90")
import torch
from fastgan.kernels.acts import Act, leaky
from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.reference_snake import Scale
from fastgan.kernels.reference_upfirdn import Resampling
from fastgan.kernels.spans import Spans, Table
from fastgan.kernels.triton import Triton
from fastgan.kernels.triton.launch import KERNELS

backend = Triton()
scale = Scale(True, 1e-9)

def tables(n, spans, scalar):
    x, wide = torch.empty(n, spans.width), torch.empty(n, spans.width + spans.num_conditions)
    conditions, share = torch.empty(n, dtype=torch.int64), torch.empty(n)
    place = wide[:, : spans.width]
    backend.span_activations(x, spans, x, 0.2, conditions, place)
    backend.span_activations(x, spans, x, 0.2, None)
    backend.span_activations_backward(place, scalar, x, place, spans, 0.2, conditions)
    backend.span_activations_backward(x, None, None, x, spans, 0.2, None)
    starts = torch.empty(spans.num_conditions + 1, dtype=torch.int64)
    codes, order = torch.empty(n, spans.num_codes, dtype=torch.int32), torch.empty(n, dtype=torch.int32)
    table = Table(spans, codes, torch.empty(n, spans.num_values), order, starts)
    backend.table_batch(table, conditions, share, wide)
    backend.table_batch(table, None, share, x)
    backend.draw_conditions(share, torch.empty(spans.num_conditions, dtype=torch.float64))

def everything(n, k, m):
    x, w, b = torch.empty(n, k), torch.empty(m, k), torch.empty(m)
    y = backend.linear_leaky_relu(x, w, b, leaky(0.2))
    backend.linear_leaky_relu_backward(y, x, w, y, leaky(0.2), (True, True, True))
    backend.dgrad_leaky_relu(y, w, x, 0.2, True)
    backend.bias_act(y, b, leaky(0.2), 1)
    backend.bias_act_backward(torch.empty(n, m, k), torch.empty(n, m, k), None, leaky(0.2), 1, True)
    for channels in (64, 3, 64):
        backend.bias_act(torch.empty(n, channels, k), torch.empty(channels), leaky(0.2), 1)
    swish = Act("swish", 0.0, 1.0, 256.0)
    for input in (y, torch.empty(n, m, k)):
        backend.bias_act(input, b, swish, 1)
        backend.bias_act_backward(input, input, b, swish, 1, True)
        backend.bias_act_backward(input, input, b, swish, 1, False)
        backend.bias_act_curvature(input, input, input, b, swish, 1, True)
    for input in (x, torch.empty(n, m, k)):
        channels = [torch.empty(input.shape[1]) for _ in range(4)]
        backend.batch_norm_statistics(input, *channels[:2], 0.1)
        backend.batch_norm_leaky_relu(input, *channels, 1e-5, 0.2)
        for training in (True, False):
            call = *channels, 1e-5, 0.2, training, (True, True, True)
            backend.batch_norm_leaky_relu_backward(input, input, *call)
        backend.snake(input, *channels[:2], scale)
        backend.snake_backward(input, input, *channels[:2], scale, (True, True, True))
    wide, norm = torch.empty(n, m + k), [torch.empty(k) for _ in range(4)]
    backend.batch_norm_leaky_relu(x, *norm, 1e-5, 0.0, wide[:, m:])
    call = *norm, 1e-5, 0.0, True, (True, True, True)
    backend.batch_norm_leaky_relu_backward(wide[:, m:], x, *call)
    for wave in (torch.empty(n, m, k), torch.empty(n, k, m).transpose(1, 2)):
        call = *channels[:2], torch.empty(2), torch.empty(3), scale
        backend.anti_aliased_snake(wave, *call)
        backend.anti_aliased_snake_backward(wave, wave, *call, (True, True, True))
    images = torch.empty(n, 3, 4, k)
    last = torch.empty(n, m, 4, 5).contiguous(memory_format=torch.channels_last)
    for input, up, down in ((images, 2, 1), (last, 1, 2), (images, 3, 2)):
        resampling = Resampling((up, up), (down, down), (2, 1, 2, 1), False, 4.0)
        backend.upfirdn2d(input, torch.empty(4, 4), resampling)
    scalar = torch.empty(())
    for logits in ((torch.empty(n * 100), torch.empty(n * 90)), (torch.empty(n // 9), torch.empty(n // 9))):
        spec = LossSpec("bce", (1.0, 0.0), (1.0, 1.0), True)
        backend.loss(logits, spec, torch.float32, True)
        backend.loss(logits, spec, torch.float32, True, True)
        backend.loss_backward(scalar, logits, spec)
        backend.loss_backward(scalar, logits, spec, logits)
        backend.loss_terms(logits[0], "bce", 1.0, 1.0)
        backend.loss_terms_backward(logits[0], logits[0].clone(), "bce", 1.0, 1.0)
        t = logits[0]
        for maps in ((t,), (t, t[:8].clone(), t)):
            weights = (1.0,) * len(maps)
            backend.l1_loss_and_grad(maps, maps, weights, True, None, torch.float32, (True, True))
            backend.l1_loss_backward(scalar, maps, maps, weights, True, (True, True))
        backend.l1_terms(t, t)
        backend.l1_terms_backward(t, t, t, (True, True))
    head = w[0].clone(), b[:1].clone()
    _, _, slopes, dw, db = backend.head_loss((x, x), *head, spec, torch.float32, True, True)
    backend.head_loss_backward(scalar, slopes, head[0], dw, db, (True, True, True))
    matrices = (w, w.t()), (torch.empty(m), torch.empty(k)), (torch.empty(k), torch.empty(m))
    for columns_first in (False, True):
        backend.spectral_norm(*matrices, 1e-12, 1, columns_first)
    *_, sigma = backend.spectral_norm(*matrices, 1e-12, 0, False)
    backend.spectral_norm_backward(matrices[0], *matrices, sigma)
    flat, number = torch.empty(m * k), torch.empty(1, dtype=torch.int64)  # of a layer, not of a batch
    rest = (0.5, 0.999), 1e-8, 0.01, flat, scalar, flat.bfloat16()
    backend.adam(flat, flat, flat, flat, scalar, True, scalar, *rest)
    for sizes in ((1, 10) * 4 + (3, 2, 40, 600), (1, 1, k)):
        tables(n, Spans(sizes, (len(sizes) - 1,)), scalar)
    drawn = torch.empty(n, dtype=torch.int64), torch.empty(n * 64), torch.empty(n)
    backend.draw(*drawn, (0, 0, 0), n + 1, n, number)
    backend.record(torch.empty(9, 2), number, [scalar, scalar], torch.empty(10, 5), torch.empty(5), number)

def compiled():
    return sum(len(each.compiled) for each in KERNELS), sum(
        len(cache) for each in KERNELS for cache, *_ in each.jit.device_caches.values()
    )

def all_compiled():
    return [(each, one) for each in KERNELS for one in each.compiled.values()]
"""

SMALLER_BATCHES = """
everything(1008, 96, 64)  # multiples of 16, throughout
before = compiled()
assert all(each.compiled for each in KERNELS)
for n in (909, 1024, 1500, 3001, 1008):
    everything(n, 96, 64)
print("new", [now - then for now, then in zip(compiled(), before)])
"""

ODD_SIZES = """
everything(SIZE, 101, 33)
for kernel, one in all_compiled():
    name = kernel.jit.fn.__name__
    # a number that is 1 is no constant either
    (signature,) = re.findall("tt.func public.*", one.asm["ttgir"])
    taken = re.findall(r"%(\\w+): (?:i64|f64)", signature)
    assert taken == kernel.numbers, (name, taken, kernel.numbers)
    wide = re.findall(r"@%p\\d+ (?:ld|st)\\.global\\S*\\.v\\d.*|cp\\.async\\S* .*0x10.*", one.asm["ptx"])
    assert not wide, (name, wide)
print("checked", len(all_compiled()))
"""


def test_a_new_batch_size_compiles_nothing(python: Python) -> None:
    done = python(NEW_BATCHES + SMALLER_BATCHES, FASTGAN_AUTOTUNE="0")
    assert "new [0, 0]" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("n", [1, 1008])
def test_odd_sizes_are_masked_element_by_element(python: Python, n: int) -> None:
    """float32, in which an access under a predicate that is wider than 4 bytes has several elements."""
    done = python(NEW_BATCHES + ODD_SIZES.replace("SIZE", str(n)), FASTGAN_AUTOTUNE="0")
    assert "checked" in done.stdout, done.stdout + done.stderr


LONG_STORAGE = """
from benchmarks.kernels.driver import pretend
pretend("gfx942")
import torch
from fastgan.kernels.triton import Triton
from fastgan.kernels.triton.l1 import l1_terms_kernel as kernel

short = torch.empty(4096)
long = torch.empty((1 << 31) + 64, dtype=torch.uint8)[: 4 * 4096].view(torch.float32)
for t in (short, long, short, long):
    Triton().l1_terms(t, t)
((cache, *_),) = kernel.jit.device_caches.values()
kept, = kernel.compiled.values()
for one in cache.values():
    print("kept" if one is kept else "other", one.asm["ttgir"].count("tt.pointer_range"))
"""


def test_offsets_of_32_bits_are_for_short_storages(python: Python) -> None:
    """From 3.6 on Triton counts on them on AMD for what it compiled first with a storage of at most 2 GiB."""
    done = python(LONG_STORAGE)
    nowhere = installed < Version("3.6")
    assert done.stdout.split() == (["kept", "0"] if nowhere else ["kept", "3", "other", "1"]), (
        done.stdout + done.stderr
    )
