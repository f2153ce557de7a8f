"""Builds fastgan._cpu and, if nvcc is found, fastgan._cuda with ninja. Needs only pybind11 and CUDA.

Neither torch nor a GPU is needed. Without a C++ compiler the install is pure Python, without nvcc it has no
CUDA kernels; `fastgan info` shows which is the case. Reads CXX, CXXFLAGS, LDFLAGS, MAX_JOBS, CUDA_HOME and
TORCH_CUDA_ARCH_LIST. FASTGAN_NO_CUDA=1 omits the CUDA kernels; FORCE_CUDA=1 fails without nvcc. A wheel has
no files of earlier builds in build/.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

if TYPE_CHECKING:
    from ninja.ninja_syntax import Writer

ROOT = Path(__file__).parent.resolve()
# -fno-trapping-math allows blends for selects. No flag changes results or loses nan.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
# csrc/cpu/isa.cpp is compiled once per instruction set; csrc/cpu/dispatch.cpp chooses at run time.
INSTRUCTION_SETS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma", "-mf16c"]
    avx512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512"
    INSTRUCTION_SETS["avx512"] = avx512.split()
    FLAGS.append("-DFASTGAN_X86")


# Programs that may precede the compiler in CXX. nvcc needs the compiler itself.
LAUNCHERS = ("ccache", "sccache", "distcc", "icecc")


def from_environment(name: str) -> list[str]:
    return shlex.split(os.environ.get(name, ""))


def find_compiler() -> list[str] | None:
    """Return CXX split into words, else the first compiler found, else None."""
    chosen = from_environment("CXX")
    found = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    return chosen or ([found] if found else None)


def without_launcher(compiler: list[str]) -> str:
    return compiler[1 if Path(compiler[0]).name in LAUNCHERS and len(compiler) > 1 else 0]


def check_compiler(compiler: list[str], folder: Path) -> None:
    """Check the compiler before the build, so that its errors do not look like errors in our sources."""
    command = shlex.join(compiler)
    for program in (compiler[0], without_launcher(compiler)):
        if shutil.which(program) is None:
            raise RuntimeError(f"CXX={command!r}: there is no program {program!r}")
    tried = compile_probe(compiler, [], folder)
    if tried.returncode != 0:
        raise RuntimeError(f"{command!r} does not compile an empty program:\n{tried.stderr.strip()}")


def compile_probe(compiler: list[str], flags: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}\n")
    command = [*compiler, *flags, str(probe), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def max_jobs() -> int | None:
    value = os.environ.get("MAX_JOBS", "")
    if value and not (value.isdecimal() and int(value) > 0):
        raise ValueError(f"MAX_JOBS={value!r}: expected a whole number from 1 up, such as 4")
    return int(value) if value else None


def find_nvcc() -> Path | None:
    """Look for nvcc in CUDA_HOME, then on the PATH, then in pip's nvidia-cuda-nvcc."""
    if os.environ.get("FASTGAN_NO_CUDA") == "1":
        return None
    places = [Path(os.environ["CUDA_HOME"], "bin")] if os.environ.get("CUDA_HOME") else []
    on_path = shutil.which("nvcc")
    if on_path:
        places.append(Path(on_path).resolve().parent)
    # Search by path: an isolated build cannot import packages of the target environment.
    places.extend(sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin")))
    found = next((place / "nvcc" for place in places if (place / "nvcc").exists()), None)
    if found is None and os.environ.get("FORCE_CUDA") == "1":
        raise RuntimeError("FORCE_CUDA=1, but there is no nvcc: set CUDA_HOME, or `pip install '.[nvcc]'`")
    return found


def cuda_home(nvcc: Path) -> Path:
    """The folder that contains include and lib. Ask nvcc, which may be a wrapper script elsewhere."""
    command = [nvcc, "--dryrun", "-x", "cu", "-E", os.devnull]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()
    top = next((line.partition("=")[2] for line in lines if line.startswith("#$ TOP=")), nvcc.parents[1])
    return Path(top).resolve()


def sources() -> str:
    """A hash of all sources of the modules, and the target GPU architectures."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(path for path in (ROOT / "csrc").rglob("*") if path.is_file()):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return f"{digest.hexdigest()} {' '.join(cuda_architectures())}"


def stamp_of(module: Path) -> Path:
    """The file with ``sources()`` of a module built in place. It may be copied along to another machine."""
    return module.with_name(f"{module.name}.sources")


def cuda_architectures() -> list[str]:
    """nvcc options for TORCH_CUDA_ARCH_LIST, such as "8.0;9.0+PTX"."""
    chosen = os.environ.get("TORCH_CUDA_ARCH_LIST", "8.0;9.0;10.0+PTX")
    options = []
    for each in chosen.replace(" ", ";").split(";"):
        number = each.removesuffix("+PTX").replace(".", "")
        if not number.rstrip("af").isdigit():
            raise ValueError(f"TORCH_CUDA_ARCH_LIST={chosen!r} must list capabilities, such as '8.0;9.0+PTX'")
        options.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if each.endswith("+PTX"):
            options.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return options


class CleanBuild(build):
    def run(self) -> None:
        built = Path(self.build_lib, "fastgan").resolve()
        if built != (ROOT / "fastgan").resolve():  # with --build-lib . this would delete the sources
            shutil.rmtree(built, ignore_errors=True)
        super().run()


class CleanWheel(bdist_wheel):
    def run(self) -> None:
        shutil.rmtree(self.bdist_dir, ignore_errors=True)  # leftovers of a killed build
        super().run()


class NinjaBuild(build_ext):
    def initialize_options(self) -> None:
        super().initialize_options()
        self.compiled: list[str] = []  # file names

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        for ext in self.extensions:
            module = ROOT / self.get_ext_filename(ext.name)
            stamp = stamp_of(module)
            if module.name in self.compiled:
                stamp.write_text(sources())
            elif not stamp.exists() or stamp.read_text() != sources():
                module.unlink(missing_ok=True)
                stamp.unlink(missing_ok=True)

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.unlink(missing_ok=True)  # an older build's module would pass for this one's
        compiler = find_compiler() if os.name == "posix" else None
        if compiler is None:
            reason = "compiled kernels are only built on Linux and macOS"
            if os.name == "posix":
                reason = "no C++ compiler found; install g++ or clang++ and reinstall for compiled kernels"
            print(f"fastgan: {reason}. Installing without them; it will use plain PyTorch.", file=sys.stderr)
            ext.optional = True  # the module's file may be missing
            return
        folder = Path(self.build_temp).resolve() / ext.name
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        check_compiler(compiler, folder)
        jobs = max_jobs()
        with (folder / "build.ninja").open("w") as file:
            if ext.name == "fastgan._cpu":
                write_cpu(file, compiler, folder, target)
            else:
                nvcc = find_nvcc()
                if nvcc is None:
                    is_off = os.environ.get("FASTGAN_NO_CUDA") == "1"
                    reason = "FASTGAN_NO_CUDA=1" if is_off else "no nvcc found"
                    message = f"{reason}: installing without CUDA kernels; GPUs will use Triton."
                    print(f"fastgan: {message}", file=sys.stderr)
                    ext.optional = True
                    return
                write_cuda(file, compiler, nvcc, target, jobs)
        limit = [f"-j{jobs}"] if jobs else []
        done = subprocess.run([sys.executable, "-m", "ninja", "-C", str(folder), *limit], check=False)
        if done.returncode == 0:
            self.compiled.append(target.name)
            return
        if ext.name == "fastgan._cpu" or os.environ.get("FORCE_CUDA") == "1":
            raise RuntimeError(f"{ext.name} was not built: see the message of ninja or the compiler above")
        print(
            "fastgan: nvcc was found but cannot compile the CUDA kernels (they need CUDA 13, and "
            "architectures that nvcc supports in TORCH_CUDA_ARCH_LIST): installing without them; GPUs will "
            "use Triton.",
            file=sys.stderr,
        )
        ext.optional = True


def start(file: TextIO, compiler: list[str], target: Path) -> Writer:
    """Write the rules of both builds. Paths are variables, which ninja does not split at spaces."""
    from ninja import ninja_syntax

    ninja: Writer = ninja_syntax.Writer(file, width=sys.maxsize)
    ninja.variable("root", ninja_syntax.escape(str(ROOT)))
    ninja.variable("target", ninja_syntax.escape(str(target)))
    command = ninja_syntax.escape(shlex.join(compiler))
    ninja.rule("compile", f"{command} -MMD -MF $out.d $flags -c $in -o $out", deps="gcc", depfile="$out.d")
    ninja.rule("link", f"{command} -shared $in $flags -o $out")
    return ninja


def variables(flags: list[str]) -> dict[str, str]:
    from ninja import ninja_syntax

    return {"flags": ninja_syntax.escape(shlex.join(flags))}


def python_includes() -> list[str]:
    import pybind11

    return [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]


def write_cpu(file: TextIO, compiler: list[str], folder: Path, target: Path) -> None:
    openmp = ["-fopenmp"] if compile_probe(compiler, ["-fopenmp"], folder).returncode == 0 else []
    flags = [*FLAGS, *openmp, *from_environment("CXXFLAGS")]
    ninja = start(file, compiler, target)
    objects = []
    for path in sorted((ROOT / "csrc/cpu").glob("*.cpp")):
        source, stem = path.relative_to(ROOT).as_posix(), path.stem
        for name, isa_flags in INSTRUCTION_SETS.items() if stem == "isa" else [("", [])]:
            own = python_includes() if stem.endswith("bindings") else []
            if stem == "samples":  # each product and sum there is rounded by itself, as in PyTorch
                own = ["-ffp-contract=off"]
            isa = [*isa_flags, f"-DFASTGAN_ISA={name}"] if name else []
            output = f"{stem}{name and '_'}{name}.o"
            ninja.build(output, "compile", f"$root/{source}", variables=variables([*flags, *own, *isa]))
            objects.append(output)
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    link = [*openmp, *undefined, *from_environment("LDFLAGS")]
    ninja.build("$target", "link", objects, variables=variables(link))


def write_cuda(file: TextIO, compiler: list[str], nvcc: Path, target: Path, jobs: int | None) -> None:
    from ninja import ninja_syntax

    home = cuda_home(nvcc)
    ninja = start(file, compiler, target)
    # compile architectures in parallel; otherwise the longest file runs alone at the end
    threads = f"--threads={jobs or 4}"
    options = ["-std=c++17", "-O3", "-ccbin", without_launcher(compiler)]
    options += ["-Xcompiler=-fPIC,-fvisibility=hidden", threads]
    command = ninja_syntax.escape(shlex.join([str(nvcc), *options, *cuda_architectures()]))
    ninja.rule("cuda", f"{command} -MD -MF $out.d -c $in -o $out", deps="gcc", depfile="$out.d")
    objects = ["bindings.o"]
    flags = [*FLAGS, *python_includes(), f"-isystem{home / 'include'}", *from_environment("CXXFLAGS")]
    ninja.build(objects[0], "compile", "$root/csrc/cuda/bindings.cpp", variables=variables(flags))
    for source in sorted((ROOT / "csrc/cuda").glob("*.cu")):
        objects.append(f"{source.stem}.o")
        ninja.build(objects[-1], "cuda", f"$root/csrc/cuda/{source.name}")
    folders = [f"-L{home / name}" for name in ("lib64", "lib") if (home / name).exists()]
    link = [*folders, "-lcudart_static", "-ldl", "-lrt", "-lpthread", *from_environment("LDFLAGS")]
    ninja.build("$target", "link", objects, variables=variables(link))


EXTENSIONS = [Extension("fastgan._cpu", sources=[]), Extension("fastgan._cuda", sources=[])]

if __name__ == "__main__":
    commands = {"build": CleanBuild, "build_ext": NinjaBuild, "bdist_wheel": CleanWheel}
    setup(ext_modules=EXTENSIONS, cmdclass=commands)
