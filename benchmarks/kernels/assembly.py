"""Reads resources and instructions of a compiled kernel from its machine code."""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
# "        /*0a30*/   @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;"
_SASS = re.compile(r"/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
_MATRIX = re.compile(r"^(HGMMA|IGMMA|QGMMA|HMMA|DMMA|UTC\w*MMA|v_mfma)")


@dataclass(frozen=True)
class Code:
    registers: int
    spills: int  # instructions that spill to memory; on AMD, spilled vector registers
    scalar_spills: int  # on AMD: scalar registers kept in lanes of vector registers
    shared: int  # bytes of shared memory
    instructions: int
    wide_loads: int  # loads of 16 bytes from global memory
    matrix: str  # the matrix instruction; "" if there is none
    loops: list[tuple[int, int]] = field(default_factory=list)  # (instructions, wide loads) of each loop


def read(compiled: Any) -> Code:
    shared = compiled.metadata.shared
    if "cubin" not in compiled.asm:
        return _read_amdgcn(compiled.asm["amdgcn"], shared)
    return _read_sass(_dump(compiled, "-sass", "-res-usage"), shared)


# Instructions that round to a 16-bit float: conversions, and subtractions and multiply-adds with that result.
# In PTX only cvt has other modes than round to nearest. On gfx942 only pkrtz does not round to nearest.
_TO_HALF = re.compile(
    r"\bcvt\.[\w.]*\.(?:bf16|f16)(?:x2)?\.f(?:32|64)\b|\b(?:sub|fma\.rn)\.(?:bf16|f16)\b"
    r"|\bv_(?:cvt_f16_f32|cvt_pkrtz_f16_f32|fma_mix(?:lo|hi)_f16|sub_f16|pk_add_f16)"
)
_ADDS_LOWEST_BIT = re.compile(r"\bv_add3_u32\b|\bv_bfe_u32(?= v\d+, v\d+, 16, 1\b)")
_TO_NEAREST = re.compile(r"(?:cvt|fma)\.rn\.|sub\.|v_(?!cvt_pkrtz)")


def roundings(compiled: Any) -> tuple[list[str], bool]:
    """The instructions that round to float16 or bfloat16, and whether each of them rounds to nearest."""
    if not re.search(r"arith\.truncf[^\n]*(?:xbf16|xf16|to bf16|to f16)\b", compiled.asm["ttgir"]):
        return [], True
    code = compiled.asm["ptx" if "ptx" in compiled.asm else "amdgcn"]
    found = set(_TO_HALF.findall(code))
    # gfx942 has no conversion to bfloat16: code adds 0x7fff and the lowest remaining bit instead
    if not found and re.search(r"\b0x7fff\b", code):
        found = set(_ADDS_LOWEST_BIT.findall(code))
    return sorted(found), bool(found) and all(map(_TO_NEAREST.match, found))


def _dump(compiled: Any, *options: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [CUOBJDUMP, *options, file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _read_sass(sass: str, shared: int) -> Code:
    names = [name for _, name, _ in _code(sass)]
    registers = re.search(r"REG:(\d+)", sass)
    assert registers is not None
    return Code(
        registers=int(registers[1]),
        spills=sum(name.startswith(("STL", "LDL")) for name in names),
        scalar_spills=0,
        shared=shared,
        instructions=len(names),
        wide_loads=sum(map(_is_wide, names)),
        matrix=_matrix(names),
        loops=loops_of(sass),
    )


def _code(sass: str) -> list[tuple[int, str, str]]:
    """Address, name and operands of each instruction."""
    code = [(int(at, 16), name, rest) for at, name, rest in _SASS.findall(sass)]
    while code and code[-1][1] in ("NOP", "BRA"):  # padding and an unreachable endless loop
        code.pop()
    return code


def loops_of(sass: str) -> list[tuple[int, int]]:
    """(instructions, wide loads) of each loop: from the target of a backward branch to the branch."""
    return [(count, wide) for _, count, wide in _loops(sass)]


def _loops(sass: str) -> list[tuple[int, int, int]]:
    """The same, with the address of the loop's first instruction."""
    code, loops = _code(sass), []
    for at, name, rest in code:
        target = _target(name, rest)
        if target is not None and target < at:
            body = [n for a, n, _ in code if target <= a <= at]
            loops.append((target, len(body), sum(_is_wide(n) for n in body)))
    return loops


def _target(name: str, rest: str) -> int | None:
    """Where a branch goes."""
    found = re.search(r"0x([0-9a-f]+)", rest) if name.startswith("BRA") else None
    return int(found[1], 16) if found else None


def fewest_before_loop(sass: str, wide_loads: int) -> int:
    """How many instructions the shortest way has from the start to the loop with so many wide loads."""
    ((loop, _, _),) = (each for each in _loops(sass) if each[2] == wide_loads)
    code = _code(sass)
    following = dict(itertools.pairwise(at for at, _, _ in code))
    taken_always = {int(at, 16) for at in re.findall(r"/\*([0-9a-f]+)\*/\s+(?:BRA 0x|EXIT|RET)", sass)}
    ways = {}
    for at, name, rest in code:
        ways[at] = [] if at in taken_always else [following.get(at)]
        ways[at].append(_target(name, rest))
    steps, reached = 0, {code[0][0]}
    while loop not in reached:
        reached |= {to for at in reached for to in ways.get(at, []) if to is not None}
        steps += 1
    return steps


def _is_wide(name: str) -> bool:
    """Whether it loads 16 bytes from global memory, into registers or (LDGSTS) into shared memory."""
    return name.startswith(("LDG", "LDGSTS")) and ".128" in name


def _read_amdgcn(text: str, shared: int) -> Code:
    names = re.findall(r"^\t([vsdgb]\w+)", text, re.MULTILINE)

    def note(key: str) -> int:
        found = re.search(rf"\.{key}:\s*(\d+)", text)
        return int(found[1]) if found else 0

    return Code(
        registers=note("vgpr_count"),
        spills=note("vgpr_spill_count"),
        scalar_spills=note("sgpr_spill_count"),
        shared=shared,
        instructions=len(names),
        wide_loads=sum(n.startswith(("global_load_dwordx4", "buffer_load_dwordx4")) for n in names),
        matrix=_matrix(names),
    )


def _matrix(names: list[str]) -> str:
    return next((found[1] for name in names if (found := _MATRIX.match(name))), "")
