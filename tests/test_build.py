"""What is built and packed, from which files and for which Python, with stand-ins for both compilers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs the sources")

# What stands behind -c must be there, and what stands behind -o is written.
COMPILES = """#!/bin/sh
while [ "$1" != "-o" ]; do
    if [ "$1" = "-c" ] && [ ! -e "$2" ]; then echo "no $2" >&2; exit 1; fi
    shift
done
: > "$2"
"""
FAILS = "#!/bin/sh\necho 'nvcc fatal: Unsupported gpu architecture' >&2\nexit 1\n"


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


def run_setup(
    folder: Path, *arguments: str, root: Path = ROOT, nvcc: str = FAILS, **environment: str
) -> subprocess.CompletedProcess[str]:
    """setup.py in ``root``, with stand-ins for the compilers in ``folder``."""
    write_program(folder / "bin/g++", COMPILES)
    write_program(folder / "bin/nvcc", nvcc)
    return subprocess.run(
        [sys.executable, "setup.py", *arguments],
        cwd=root,
        env=os.environ | {"CXX": shlex.quote(f"{folder}/bin/g++"), "CUDA_HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def build(
    folder: Path, *command: str, root: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "temp")]
    return run_setup(folder, "build_ext", *places, *command, root=root, **environment)


def built(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in (folder / "lib").rglob("*.so")}


def test_the_rest_is_installed(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    assert built(tmp_path) == {"_cpu"}
    assert "nvcc was found but cannot compile the CUDA kernels" in done.stderr
    assert "GPUs will use Triton" in done.stderr


def test_force_cuda_fails(tmp_path: Path) -> None:
    done = build(tmp_path, FORCE_CUDA="1")
    assert done.returncode != 0
    assert "fastgan._cuda was not built" in done.stderr


def test_no_cuda_asks_no_nvcc(tmp_path: Path) -> None:
    done = build(tmp_path, FASTGAN_NO_CUDA="1")
    assert done.returncode == 0, done.stderr
    assert built(tmp_path) == {"_cpu"}
    assert "FASTGAN_NO_CUDA=1: installing without CUDA kernels" in done.stderr


def small_copy(folder: Path) -> Path:
    """All that a build needs, with a package of one empty module."""
    root = folder / "sources"
    shutil.copytree(ROOT / "csrc", root / "csrc")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    (root / "fastgan").mkdir()
    (root / "fastgan/__init__.py").touch()
    return root


def wheel_of(root: Path) -> set[str]:
    """The modules in the wheel that was built there, without suffixes."""
    (wheel,) = (root / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wheel.unlink()
    return {name.removeprefix("fastgan/").partition(".")[0] for name in names}


def test_a_path_may_have_spaces_and_signs(tmp_path: Path) -> None:
    folder = tmp_path / "it's a  folder: $5 #1 & more"
    root = small_copy(folder)
    done = run_setup(folder, "bdist_wheel", root=root, nvcc=COMPILES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert wheel_of(root) == {"__init__", "_cpu", "_cuda"}


def test_a_used_build_folder_leaves_nothing_in_the_wheel(tmp_path: Path) -> None:
    """Neither deleted modules nor kernels of an earlier build, which the new Python does not know."""
    root = small_copy(tmp_path)
    (root / "fastgan/deleted.py").touch()
    assert run_setup(tmp_path, "bdist_wheel", root=root, nvcc=COMPILES).returncode == 0
    assert wheel_of(root) == {"__init__", "deleted", "_cpu", "_cuda"}
    (root / "fastgan/deleted.py").unlink()
    (platform,) = (path.name.removeprefix("lib.") for path in (root / "build").glob("lib.*"))
    killed = root / "build" / f"bdist.{platform.removesuffix(f'-{sys.implementation.cache_tag}')}" / "wheel"
    (killed / "fastgan").mkdir(parents=True)
    (killed / "fastgan/killed.py").touch()

    assert run_setup(tmp_path, "bdist_wheel", root=root, FASTGAN_NO_CUDA="1").returncode == 0
    assert wheel_of(root) == {"__init__", "_cpu"}
    (tmp_path / "empty").mkdir()
    done = run_setup(tmp_path, "bdist_wheel", root=root, CXX="", PATH=str(tmp_path / "empty"))
    assert "no C++ compiler found" in done.stderr
    assert wheel_of(root) == {"__init__"}


def test_sources_outlive_a_build_into_their_own_folder(tmp_path: Path) -> None:
    root = small_copy(tmp_path)
    done = run_setup(tmp_path, "build", "--build-lib", ".", root=root, FASTGAN_NO_CUDA="1")
    assert done.returncode == 0, done.stderr
    assert (root / "fastgan/__init__.py").is_file()


def test_what_was_built_in_place_from_other_sources_goes(tmp_path: Path) -> None:
    root = small_copy(tmp_path)

    def in_place(**environment: str) -> set[str]:
        done = run_setup(tmp_path, "build_ext", "--inplace", root=root, **environment)
        assert done.returncode == 0, done.stderr
        return {path.name.partition(".")[0] for path in (root / "fastgan").glob("*.so*")}

    assert in_place(nvcc=COMPILES) == {"_cpu", "_cuda"}
    assert in_place(FASTGAN_NO_CUDA="1") == {"_cpu", "_cuda"}  # of these sources: as good as built now
    with (root / "csrc/scalar_math.h").open("a") as file:
        file.write("// one more line\n")
    assert in_place(FASTGAN_NO_CUDA="1") == {"_cpu"}


@pytest.mark.parametrize("jobs", ["abc", "0", "-1", "2.5"])
def test_the_number_of_jobs_is_a_number(tmp_path: Path, jobs: str) -> None:
    done = build(tmp_path, MAX_JOBS=jobs)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith(
        f"MAX_JOBS={jobs!r}: expected a whole number from 1 up, such as 4"
    )
    assert "compiler" not in done.stderr


def test_a_launcher_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    compiler = tmp_path / "bin/g++"
    missing = build(tmp_path, CXX=f"{tmp_path}/ccache {compiler}")
    assert missing.stderr.splitlines()[-1].endswith(f"there is no program '{tmp_path}/ccache'")
    missing = build(tmp_path, CXX=f"{tmp_path}/g++")
    assert missing.stderr.splitlines()[-1].endswith(f"there is no program '{tmp_path}/g++'")
    write_program(tmp_path / "ccache", "#!/bin/sh\necho 'ccache: error: no such folder' >&2\nexit 1\n")
    broken = build(tmp_path, CXX=f"{tmp_path}/ccache {compiler}")
    assert (
        f"'{tmp_path}/ccache {compiler}' does not compile an empty program:\nccache: error" in broken.stderr
    )
    assert missing.returncode != 0
    assert broken.returncode != 0


def test_nvcc_gets_the_compiler_without_its_launcher(tmp_path: Path) -> None:
    write_program(tmp_path / "ccache", '#!/bin/sh\nexec "$@"\n')
    done = build(tmp_path, CXX=f"{tmp_path}/ccache {tmp_path}/bin/g++")
    assert done.returncode == 0, done.stderr
    rules = (tmp_path / "temp/fastgan._cuda/build.ninja").read_text()
    assert re.findall(r"-ccbin (\S+)", rules) == [f"{tmp_path}/bin/g++"]


def test_what_is_built_in_place_notes_its_sources(tmp_path: Path) -> None:
    """So that ``make gpu-check`` can tell whether a module that was brought along is of these sources."""
    root = small_copy(tmp_path)

    def noted() -> str:
        done = build(tmp_path, "--inplace", FASTGAN_NO_CUDA="1", root=root)
        assert done.returncode == 0, done.stderr
        (stamp,) = (root / "fastgan").glob("*.sources")
        assert stamp.with_name(stamp.name.removesuffix(".sources")).exists()
        return stamp.read_text()

    first = noted()
    assert first == noted()
    with (root / "csrc/scalar_math.h").open("a") as file:
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


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_no_pin_is_for_a_python_that_its_package_refuses(python: str) -> None:
    """It looks at what is installed here: everything but what `make bench` and `make docs` add."""
    unknown, refused = set(), []
    for pin in pins():
        applies = pin.marker is None or pin.marker.evaluate({"python_version": python})
        try:
            found = metadata.metadata(pin.name)
        except metadata.PackageNotFoundError:
            unknown.add(pin.name)
            continue
        version = found["Version"].partition("+")[0]
        if (
            applies
            and version in pin.specifier
            and f"{python}.0" not in SpecifierSet(found["Requires-Python"])
        ):
            refused.append(f"{pin} wants Python {found['Requires-Python']}")
    assert refused == []
    assert unknown <= {"jax", "latex2mathml", "mkdocs-material", "mkdocstrings", "mkdocstrings-python"}


def tracked() -> set[str]:
    """The repository's files, new ones included."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")
def test_an_sdist_has_every_file_and_its_tests_run(tmp_path: Path) -> None:
    root = tmp_path / "used"
    for name in tracked():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for junk in ("fastgan/_cpu.so", "fastgan/_cpu.so.sources", "tests/x.pyc", "build/lib/fastgan/old.py"):
        (root / junk).parent.mkdir(parents=True, exist_ok=True)
        (root / junk).touch()
    done = run_setup(tmp_path, "sdist", "--formats=gztar", root=root)
    assert done.returncode == 0, done.stderr
    (archive,) = (root / "dist").iterdir()
    with tarfile.open(archive) as file:
        packed = {each.name.partition("/")[2] for each in file.getmembers() if each.isfile()}
        file.extractall(tmp_path / "unpacked", filter="data")
    generated = {name for name in packed if name.startswith("fastgan.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert packed - generated == tracked() - {".gitignore"}

    (unpacked,) = (tmp_path / "unpacked").iterdir()
    # No compiler on the path: the CUDA kernels for the host would be compiled anew for this folder.
    (tmp_path / "empty").mkdir()
    tests = ["tests/test_docs.py", "tests/test_experiments.py"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "links or began_that_was", *tests],
        cwd=unpacked,
        env=os.environ | {"PYTHONPATH": str(unpacked), "PATH": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout


def test_every_compiled_module_says_that_it_needs_no_lock_of_pythons() -> None:
    """Else a free-threaded Python takes its lock again when it imports the module, with a warning."""
    modules = [
        line
        for path in (ROOT / "csrc").rglob("*.cpp")
        for line in path.read_text().splitlines()
        if line.startswith("PYBIND11_MODULE")
    ]
    assert len(modules) == 2
    assert all("py::mod_gil_not_used()" in line for line in modules)
