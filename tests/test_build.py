"""Building where nvcc is there but cannot compile, with stand-ins for both compilers."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs the sources")

# Each argument is shifted away until the one behind -o is left, which is then written.
COMPILES = '#!/bin/sh\nwhile [ "$1" != "-o" ]; do shift; done\n: > "$2"\n'
FAILS = "#!/bin/sh\necho 'nvcc fatal: Unsupported gpu architecture' >&2\nexit 1\n"


def build(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "bin").mkdir()
    for name, script in {"g++": COMPILES, "nvcc": FAILS}.items():
        program = folder / "bin" / name
        program.write_text(script)
        program.chmod(0o755)
    places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "temp")]
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", *places, *command],
        cwd=ROOT,
        env=os.environ | {"CXX": str(folder / "bin/g++"), "CUDA_HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def built(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in (folder / "lib").rglob("*.so")}


def test_the_rest_is_installed(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    assert built(tmp_path) == {"_C"}
    assert "nvcc is there but cannot compile the CUDA kernels" in done.stderr
    assert "Triton will serve GPUs" in done.stderr


def test_force_cuda_fails(tmp_path: Path) -> None:
    done = build(tmp_path, FORCE_CUDA="1")
    assert done.returncode != 0
    assert "fastgan._cuda does not compile" in done.stderr


def test_no_cuda_asks_no_nvcc(tmp_path: Path) -> None:
    done = build(tmp_path, FASTGAN_NO_CUDA="1")
    assert done.returncode == 0, done.stderr
    assert built(tmp_path) == {"_C"}
    assert "no nvcc found" in done.stderr


def test_a_wheel_has_its_types_and_nothing_beside_the_package(tmp_path: Path) -> None:
    build_base = ["build", "--build-base", str(tmp_path / "temp"), "--build-lib", str(tmp_path / "lib")]
    wheel = ["bdist_wheel", "--dist-dir", str(tmp_path), "--bdist-dir", str(tmp_path / "dist")]
    egg = ["egg_info", "--egg-base", str(tmp_path)]
    done = build(tmp_path, *egg, *build_base, *wheel, FASTGAN_NO_CUDA="1")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in (ROOT / "fastgan").rglob(pattern)
    }
    assert "fastgan/py.typed" in sources
    assert {name for name in names if not name.endswith(".so")} == sources
