"""Builds fastgan._C with ninja, against pybind11 alone: no torch is needed, here or in csrc.

Without a C++ compiler the install is pure Python, and `fastgan info` says so. CXX, CXXFLAGS, LDFLAGS and
MAX_JOBS are honoured.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
# -fno-trapping-math: selects may become blends. Nothing that changes results or loses nan.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
# csrc/cpu/isa.cpp is compiled once for each; csrc/cpu/dispatch.cpp chooses at run time.
INSTRUCTION_SETS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma", "-mf16c"]
    INSTRUCTION_SETS["avx512"] = [
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mfma",
        "-mprefer-vector-width=512",
    ]
    FLAGS.append("-DFASTGAN_X86")


def find_compiler() -> list[str] | None:
    chosen = os.environ.get("CXX")
    if chosen:
        return shlex.split(chosen)
    found = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    return [found] if found else None


class NinjaBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        compiler = find_compiler()
        if compiler is None or os.name != "posix":
            print(
                "fastgan: no C++ compiler found: installing without compiled kernels; plain PyTorch will "
                "serve. Install g++ or clang++ and reinstall to have them.",
                file=sys.stderr,
            )
            ext.optional = True  # its file may be missing
            return
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        folder = Path(self.build_temp).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.write_ninja(folder / "build.ninja", compiler, target)
        jobs = ["-j", os.environ["MAX_JOBS"]] if os.environ.get("MAX_JOBS") else []
        subprocess.run([sys.executable, "-m", "ninja", "-C", str(folder), *jobs], check=True)

    def write_ninja(self, path: Path, compiler: list[str], target: Path) -> None:
        import pybind11
        from ninja import ninja_syntax

        openmp = ["-fopenmp"] if accepts(compiler, "-fopenmp", path.parent) else []
        flags = [*FLAGS, *openmp, *shlex.split(os.environ.get("CXXFLAGS", ""))]
        includes = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        with path.open("w") as file:
            ninja = ninja_syntax.Writer(file)
            ninja.rule(
                "compile",
                f"{shlex.join(compiler)} -MMD -MF $out.d $flags -c $in -o $out",
                deps="gcc",
                depfile="$out.d",
            )
            ninja.rule("link", f"{shlex.join(compiler)} -shared $in $flags -o $out")
            objects = []
            for source in sorted((ROOT / "csrc").rglob("*.cpp")):
                variants = INSTRUCTION_SETS if source.name == "isa.cpp" else {"": []}
                for name, isa_flags in variants.items():
                    own = includes if source.name == "bindings.cpp" else []
                    isa = [*isa_flags, f"-DFASTGAN_ISA={name}"] if name else []
                    output = f"{source.stem}{name and '_'}{name}.o"
                    ninja.build(
                        output, "compile", str(source), variables={"flags": shlex.join([*flags, *own, *isa])}
                    )
                    objects.append(output)
            link = [*openmp, *undefined, *shlex.split(os.environ.get("LDFLAGS", ""))]
            ninja.build(str(target), "link", objects, variables={"flags": shlex.join(link)})
            ninja.default(str(target))


def accepts(compiler: list[str], flag: str, folder: Path) -> bool:
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}\n")
    command = [*compiler, flag, str(probe), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


setup(ext_modules=[Extension("fastgan._C", sources=[])], cmdclass={"build_ext": NinjaBuild})
