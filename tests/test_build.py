"""Building where nvcc is there but cannot compile, with stand-ins for both compilers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs the sources")

# Each argument is shifted away until the one behind -o is left, which is then written.
COMPILES = '#!/bin/sh\nwhile [ "$1" != "-o" ]; do shift; done\n: > "$2"\n'
FAILS = "#!/bin/sh\necho 'nvcc fatal: Unsupported gpu architecture' >&2\nexit 1\n"


def build(
    folder: Path, *command: str, root: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder / "bin").mkdir(exist_ok=True)
    for name, script in {"g++": COMPILES, "nvcc": FAILS}.items():
        program = folder / "bin" / name
        program.write_text(script)
        program.chmod(0o755)
    places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "temp")]
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", *places, *command],
        cwd=root,
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


def test_what_is_built_in_place_notes_its_sources(tmp_path: Path) -> None:
    """So that ``make gpu-check`` can tell whether a module that was brought along is of these sources."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    (tmp_path / "fastgan").mkdir()
    (tmp_path / "fastgan/__init__.py").touch()

    def noted() -> str:
        done = build(tmp_path, "--inplace", FASTGAN_NO_CUDA="1", root=tmp_path)
        assert done.returncode == 0, done.stderr
        (stamp,) = (tmp_path / "fastgan").glob("*.sources")
        assert stamp.with_name(stamp.name.removesuffix(".sources")).exists()
        return stamp.read_text()

    first = noted()
    assert first == noted()
    with (tmp_path / "csrc/scalar_math.h").open("a") as file:
        file.write("// one more line\n")
    assert first.split()[0] != noted().split()[0]


def test_which_modules_that_were_brought_along_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.gpu import build as gpu_build

    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(gpu_build, "ROOT", tmp_path)
    import setup

    module = tmp_path / f"fastgan/_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert gpu_build.why_not("_cuda") == f"there is no {module.name}"
    module.parent.mkdir()
    module.with_name("__init__.py").touch()
    module.touch()
    assert gpu_build.why_not("_cuda") == f"there is no {module.name}.sources"
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0")
    setup.stamp_of(module).write_text(setup.sources())
    assert "file too short" in gpu_build.why_not("_cuda")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    assert gpu_build.why_not("_cuda").endswith(
        "for -gencode=arch=compute_80,code=sm_80, not -gencode=arch=compute_90,code=sm_90"
    )
    setup.stamp_of(module).write_text(f"0{setup.sources()}")
    assert gpu_build.why_not("_cuda") == f"{module.name} was compiled from other sources"


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
