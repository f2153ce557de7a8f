"""The CUDA kernels compiled for the host, as the module that fastgan would load on a machine with a GPU."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
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
]


def why_not() -> str | None:
    if shutil.which("g++") is None:
        return "needs g++, to compile the CUDA kernels for the host"
    return None if SOURCES.exists() else "needs the sources"


def made_once(name: str, state: Iterable[str | bytes], make: Callable[[Path], None]) -> Path:
    """The file that ``make`` writes, kept in ``build`` for as long as what it depends on stays the same.

    One process makes it, and others that want it wait.
    """
    digest = hashlib.sha256()
    for each in state:
        digest.update(each if isinstance(each, bytes) else each.encode())
    made = ROOT / "build" / "cuda_on_host" / f"{digest.hexdigest()[:16]}-{name}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                unfinished = Path(folder) / name
                make(unfinished)
                unfinished.rename(made)
    return made


def compile_files(files: Iterable[Path], flags: list[str], sources: Path = SOURCES) -> list[Path]:
    """An object file for each, the same in every checkout."""
    headers = [
        p.read_bytes() for folder in (sources, sources / "cuda", HEADER) for p in sorted(folder.glob("*.*h"))
    ]

    def one(file: Path) -> Path:
        command = ["g++", *FLAGS, f"-I{HEADER}", *flags, "-x", "c++", "-c", str(file), "-o"]

        def make(out: Path) -> None:
            subprocess.run([*command, str(out)], check=True, capture_output=True, text=True)

        return made_once(f"{file.stem}.o", [*FLAGS, *flags, file.read_bytes(), *headers], make)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, files))


def kernels() -> list[Path]:
    return sorted((SOURCES / "cuda").glob("*.cu"))


def build_module(flags: list[str]) -> Path:
    """The compiled module."""
    import pybind11

    includes = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]
    # they only pass pointers on: compiled once, and without sanitizers
    bindings = compile_files([SOURCES / "cuda" / "bindings.cpp"], ["-g0", "-fvisibility=hidden", *includes])
    objects = compile_files(kernels(), flags) + bindings
    inputs = list(map(str, objects))

    def link(out: Path) -> None:
        command = ["g++", "-shared", *flags, "-pthread", *inputs, "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True)

    names = [*flags, *(path.name for path in objects)]  # which say what is in them
    return made_once(f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}", names, link)


def load() -> None:
    """From here on ``fastgan._cuda`` is that module, compiled with FASTGAN_CUDA_ON_HOST_FLAGS."""
    flags = shlex.split(os.environ.get("FASTGAN_CUDA_ON_HOST_FLAGS", "-O1"))
    spec = importlib.util.spec_from_file_location("fastgan._cuda", build_module(flags))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["fastgan._cuda"] = module
