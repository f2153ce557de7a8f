"""``python -m benchmarks.gpu.build [modules | driver FILE]``: compiles for this GPU only.

Existing modules are used if Python can import them and setup.py's notes next to them say that they were
compiled from these sources for this GPU. The driver is ``tests/cuda_on_host/driver.cpp`` with all CUDA
kernels, for compute-sanitizer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.gpu.rows import put

ROOT = Path(__file__).parents[2]
NAMES = ("_cpu", "_cuda")


def why_not(name: str) -> str:
    """Why an existing module cannot be used; "" if it can."""
    import setup

    module = ROOT / f"fastgan/{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    stamp = setup.stamp_of(module)
    if not module.exists():
        return f"there is no {module.name}"
    if not stamp.exists():
        return f"there is no {stamp.name}"
    noted, here = stamp.read_text().split(), setup.sources().split()
    if noted[0] != here[0]:
        return f"{module.name} was compiled from other sources"
    if name == "_cuda" and not set(here[1:]) <= set(noted[1:]):
        return f"{module.name} was compiled for {' '.join(noted[1:])}, not {' '.join(here[1:])}"
    command = [sys.executable, "-c", f"import torch; from fastgan import {name}"]
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return tried.stderr.strip()[-300:] if tried.returncode else ""


def modules() -> None:
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        os.environ |= {"TORCH_CUDA_ARCH_LIST": f"{major}.{minor}", "FORCE_CUDA": "1"}
    reasons = [reason for name in NAMES if (reason := why_not(name))]
    if not reasons:
        put("build", "modules", status="ok", how="brought along", seconds=0.0)
        return
    start = time.monotonic()
    subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=ROOT, check=True)
    seconds = round(time.monotonic() - start, 1)
    left = [reason for name in NAMES if (reason := why_not(name))]
    status = "failed" if left else "ok"
    put("build", "modules", status=status, how="built", why=reasons, seconds=seconds, error="; ".join(left))


def driver(program: Path) -> None:
    """Compiles the files in parallel, with line numbers for compute-sanitizer's reports."""
    major, minor = torch.cuda.get_device_capability()
    options = ["-std=c++17", "-O3", "-lineinfo", f"-arch=sm_{major}{minor}"]
    sources = [*sorted((ROOT / "csrc/cuda").glob("*.cu")), ROOT / "tests/cuda_on_host/driver.cpp"]
    objects = [program.with_name(f"{source.stem}.o") for source in sources]
    program.parent.mkdir(parents=True, exist_ok=True)

    def compile_one(source: Path, target: Path) -> None:
        command = ["nvcc", *options, "-x", "cu", "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True)

    start = time.monotonic()
    with ThreadPoolExecutor(len(sources)) as pool:
        list(pool.map(compile_one, sources, objects))
    subprocess.run(["nvcc", *options, *map(str, objects), "-o", str(program)], check=True)
    put("build", "driver", status="ok", seconds=round(time.monotonic() - start, 1))


if __name__ == "__main__":
    if sys.argv[1] == "modules":
        modules()
    else:
        driver(Path(sys.argv[2]))
