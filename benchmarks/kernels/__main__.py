"""``python -m benchmarks.kernels``: compiles every kernel for every GPU and writes docs/kernels.md.

If a check fails (``benchmarks/kernels/checks.py``), it names the kernels and writes nothing.

``--target sm_90`` prints one target's kernels as JSON lines instead; with ``--plan`` as well, only the list
of kernels to compile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch
import triton

from benchmarks.kernels.checks import CHECKS, Row, failures
from benchmarks.kernels.driver import TARGETS, pretend

_ROOT = Path(__file__).parents[2]
DOCUMENT = _ROOT / "docs/kernels.md"
BUDGET = 20  # instructions per bf16 element of the discriminator loss
_FULL_TILE = 64  # elements per thread in a tile of that kernel

_HEAD = """# The Triton kernels, compiled

`make kernels` compiles every kernel ahead of time for four GPUs, on a machine without one, and writes this
page. Here with Triton {triton} and torch {torch}. Products are compiled with every tile that tuning may
choose. The tables describe the code, not its speed.

- *spills*: machine instructions that move registers to and from memory; for AMD, spilled vector registers. In
  brackets: scalar registers that AMD's compiler keeps in lanes of vector registers.
- *shared*: bytes of shared memory.
- *16 bytes*: instructions that load 16 bytes from global memory, to registers or to shared memory.
- *matrix*: the matrix instruction. There is none for float32, which is multiplied exactly, unless PyTorch
  allows TF32.

`make kernels` writes this page only if every kernel passes `benchmarks/kernels/checks.py`: no spills, no
number whose value is relied on, halves rounded to nearest, memory streamed 16 bytes at a time, and products
of halves on the matrix units. The tests compile every kernel for one of the GPUs and compare it with its row.

On sm_90 the bf16 discriminator loss with details takes **{per_element:.1f} instructions per element** in
the loop over whole tiles ({tile} elements per thread). The goal is at most {budget}.

A GPU's fingerprint is a hash of the kernels' source and launch arguments. A test fails if it has changed, and
asks for `make kernels`.
"""
_LEFT_OUT = ("TRITON_INTERPRET", "FASTGAN_AUTOTUNE", "FASTGAN_PRODUCTS")
# A number that Triton assumes divisible by 16. (It may assume that of pointers, as the launcher checks them.)
_SPECIALIZED = re.compile(r": i(?:32|64) \{[^}]*tt\.divisibility")
_COLUMNS = (
    "| kernel | dtype | tile | warps | registers | spills | shared | instructions | 16 bytes | matrix |"
)


def compile_all(target: str, cases: list[str], dtypes: list[str], every_candidate: bool) -> None:
    pretend(target)
    from benchmarks.kernels.assembly import read, roundings
    from benchmarks.kernels.cases import CASES, kernels_of

    for case in CASES:
        if cases and case.name not in cases:
            continue
        for dtype in case.dtypes:
            name = str(dtype).removeprefix("torch.")
            if dtypes and name not in dtypes:
                continue
            for tile, kernel, key in kernels_of(case, dtype, every_candidate):
                compiled = kernel.compiled[key]
                row = {"case": case.name, "dtype": name, "tile": tile, "warps": compiled.metadata.num_warps}
                row |= {"streams": case.streams, "multiplies": case.multiplies}
                row |= {"specialized": len(_SPECIALIZED.findall(compiled.asm["ttgir"]))}
                row["roundings"], row["to_nearest"] = roundings(compiled)
                row |= asdict(read(compiled))
                print(json.dumps(row), flush=True)


def print_plan(target: str) -> None:
    pretend(target)
    from benchmarks.kernels.plan import plan

    print(json.dumps(plan()))


def rows(target: str, *options: str) -> list[Row]:
    """One target's kernels, compiled in a separate process, as a process has only one driver."""
    command = [sys.executable, "-m", "benchmarks.kernels", "--target", target, *options]
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    environment["TRITON_DISABLE_LINE_INFO"] = "1"  # compiles ten times as fast, same instructions
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=_ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


def all_rows(options: Callable[[str], Sequence[str]]) -> dict[str, list[Row]]:
    """Every target's rows, compiled two targets at a time with a target's options."""
    with ThreadPoolExecutor(2) as pool:
        return dict(
            zip(TARGETS, pool.map(lambda target: rows(target, *options(target)), TARGETS), strict=True)
        )


def instructions_per_element(kernels: list[Row]) -> float:
    """The detailed bf16 discriminator loss: instructions per element of its longest loop over whole tiles."""
    (kernel,) = (
        k for k in kernels if k["case"] == "discriminator loss, detailed" and k["dtype"] == "bfloat16"
    )
    # a loop over whole tiles loads 8 elements at a time
    tiles = [count for count, wide in kernel["loops"] if wide == _FULL_TILE // 8]
    return max(tiles) / _FULL_TILE


def write_document() -> None:
    found = all_rows(lambda _: [])
    failed = [
        f"{name}: expected a kernel that {check}" for check in CHECKS for name in failures(found, check)
    ]
    if failed:
        raise SystemExit("\n".join(failed))
    plans = all_rows(lambda _: ["--plan"])
    text = _HEAD.format(
        triton=triton.__version__,
        torch=torch.__version__.partition("+")[0],
        per_element=instructions_per_element(found["sm_90"]),
        tile=_FULL_TILE,
        budget=BUDGET,
    )
    for target, kernels in found.items():
        text += f"\n## {target}\n\nFingerprint `{plans[target][0]['fingerprint']}`.\n\n"
        text += f"{_COLUMNS}\n" + "|---" * 3 + "|--:" * 6 + "|---|\n"
        text += "".join(map(line, kernels))
    DOCUMENT.write_text(text)


def line(k: Row) -> str:
    spills = f"{k['spills']} ({k['scalar_spills']})" if k["scalar_spills"] else k["spills"]
    cells = [k["case"], k["dtype"], k["tile"], k["warps"], k["registers"], spills]
    cells += [f"{k['shared']:,}", f"{k['instructions']:,}", k["wide_loads"], k["matrix"]]
    return "| " + " | ".join(map(str, cells)) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--plan", action="store_true", help="compile nothing")
    parser.add_argument("--case", action="append", default=[], help="default: all")
    parser.add_argument("--dtype", action="append", default=[], help="default: all")
    parser.add_argument("--first", action="store_true", help="only the default tile of each product")
    options = parser.parse_args()
    if options.target and options.plan:
        print_plan(options.target)
    elif options.target:
        compile_all(options.target, options.case, options.dtype, not options.first)
    else:
        write_document()


if __name__ == "__main__":
    main()
