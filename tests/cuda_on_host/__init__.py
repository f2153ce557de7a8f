"""The CUDA kernels compiled for the host, as the module that fastgan would load on a machine with a GPU."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "csrc"
HEADER = Path(__file__).parent
FLAGS = [
    "-std=c++17",
    "-g",
    "-fPIC",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",  # which lets longjmp only go up a stack, and not to another
    "-DFASTGAN_CUDA_ON_HOST",
    f"-I{HEADER}",
]


def why_not() -> str | None:
    if shutil.which("g++") is None:
        return "needs g++, to compile the CUDA kernels for the host"
    return None if SOURCES.exists() else "needs the sources"


def compile_kernels(folder: Path, flags: list[str], sources: Path = SOURCES) -> list[Path]:
    """An object file for each .cu file."""

    def one(source: Path) -> Path:
        out = folder / f"{source.stem}.o"
        command = ["g++", *FLAGS, *flags, "-x", "c++", "-c", str(source), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sorted((sources / "cuda").glob("*.cu"))))


def build_module() -> Path:
    """The compiled module, made once for each state of the sources, with FASTGAN_CUDA_ON_HOST_FLAGS."""
    import pybind11

    flags = shlex.split(os.environ.get("FASTGAN_CUDA_ON_HOST_FLAGS", "-O1"))
    state = hashlib.sha256(repr((flags, sys.version)).encode())
    for path in sorted([*SOURCES.rglob("*"), *HEADER.glob("*.h")]):
        if path.is_file():
            state.update(path.read_bytes())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    built = ROOT / "build" / "cuda_on_host" / f"{state.hexdigest()[:16]}{suffix}"
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as name:
        folder = Path(name)
        includes = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]
        bindings, unfinished = folder / "bindings.o", folder / "module.so"
        source = SOURCES / "cuda" / "bindings.cpp"
        compile_bindings = ["g++", *FLAGS, *flags, "-fvisibility=hidden", *includes, "-c", str(source)]
        subprocess.run([*compile_bindings, "-o", str(bindings)], check=True, capture_output=True)
        objects = [bindings, *compile_kernels(folder, flags)]
        link = ["g++", "-shared", *flags, "-pthread", *map(str, objects), "-o", str(unfinished)]
        subprocess.run(link, check=True, capture_output=True)
        unfinished.rename(built)
    return built


def load() -> None:
    """From here on ``fastgan._cuda`` is that module."""
    spec = importlib.util.spec_from_file_location("fastgan._cuda", build_module())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["fastgan._cuda"] = module
