"""The CUDA kernels on the host under sanitizers: the table, and a driver; planted bugs must be caught."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import cuda_on_host
import pytest
import sanitizers

pytestmark = pytest.mark.skipif(cuda_on_host.why_not() is not None, reason=str(cuda_on_host.why_not()))

LOSSES = "cuda/losses.cu"


def flags_of(sanitizer: str) -> list[str]:
    return [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O0", "-g1"]


@pytest.fixture(scope="module")
def instrumented() -> dict[str, str]:
    """The environment of a process whose CUDA kernels are instrumented."""
    if sanitizers.why_not() is not None:
        pytest.skip(str(sanitizers.why_not()))
    flags = flags_of("address,undefined")
    cuda_on_host.build_module(flags)  # here the compiler runs without the sanitizers
    return {"FASTGAN_CUDA_ON_HOST_FLAGS": shlex.join(flags)}


def test_the_table_and_arguments_that_do_not_fit(instrumented: dict[str, str]) -> None:
    result = sanitizers.run_table_and_fuzz(sanitizers.ROOT, "cuda", 400, **instrumented)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert "operator linear_leaky_relu: " in result.stdout
    assert " passed" in result.stdout


def run_driver(folder: Path, sanitizer: str, planted: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The driver over the kernels, those of the losses from a copy of the sources that holds a bug."""
    flags = flags_of(sanitizer)
    needs = "int main() {}"
    if sanitizer == "thread":
        needs = "#include <sanitizer/tsan_interface.h>\nint main() { __tsan_get_current_fiber(); }"
    probe = subprocess.run(
        ["g++", *flags, "-x", "c++", "-", "-o", str(folder / "probe")],
        input=needs,
        text=True,
        capture_output=True,
        check=False,
    )
    if probe.returncode != 0:
        pytest.skip(f"g++ has no -fsanitize={sanitizer} here")
    files = [*cuda_on_host.kernels(), cuda_on_host.HEADER / "driver.cpp"]
    objects = []
    if planted:
        files.remove(cuda_on_host.SOURCES / LOSSES)
        # first: of the functions that several files have the linker takes the first
        objects += cuda_on_host.compile_files([planted / LOSSES], flags, planted)
    objects += cuda_on_host.compile_files(files, flags)
    program = folder / "driver"
    command = ["g++", *flags, "-pthread", *map(str, objects), "-ldl", "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    # Thread sanitizers of this age do not know how newer kernels lay out memory.
    command = ["setarch", "-R", str(program), *(["briefly"] if sanitizer == "thread" else [])]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_clean(tmp_path: Path, sanitizer: str) -> None:
    done = run_driver(tmp_path, sanitizer)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "checks passed" in done.stdout


# What is planted: in which file, what becomes what, who sees it, and what it says.
PLANTED = {
    "a removed barrier": (
        "reduce.cuh",
        "    if (lane == 0) of_warp[i][warp] = values[i];\n  __syncthreads();\n",
        "    if (lane == 0) of_warp[i][warp] = values[i];\n",
        "thread",
        "data race",
    ),
    "an index off by one": (
        "losses.cu",
        "if (at < r.size) {",
        "if (at <= r.size) {",
        "address,undefined",
        "heap-buffer-overflow",
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(tmp_path: Path, bug: str) -> None:
    name, right, wrong, sanitizer, says = PLANTED[bug]
    sources = tmp_path / "planted"
    shutil.copytree(cuda_on_host.SOURCES, sources)
    file = sources / "cuda" / name
    text = file.read_text()
    assert text.count(right) == 1
    file.write_text(text.replace(right, wrong))
    done = run_driver(tmp_path, sanitizer, sources)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


# Kernels whose threads do not wait as one, and what the header says of them.
NOT_AS_ONE = {
    "a thread leaves": (
        "if (threadIdx.x == 7) return;\n  __syncthreads();",
        "threads wait for others that never come, in block 0 of 3:\n"
        "  from thread 0 on: at kernel.cpp:4\n"
        "  from thread 7 on: left the kernel\n"
        "  from thread 8 on: at kernel.cpp:4\n",
    ),
    "a thread waits elsewhere": (
        "if (threadIdx.x == 63)\n    __syncthreads();\n  else\n    __syncthreads();",
        "threads wait for each other in different places, in block 0 of 3:\n"
        "  from thread 0 on: at kernel.cpp:6\n"
        "  from thread 63 on: at kernel.cpp:4\n",
    ),
    "half a warp shuffles": (
        "if (threadIdx.x < 16) __shfl_xor_sync(~0u, 1, 1);\n  __syncthreads();",
        "threads wait for others that never come, in block 0 of 3:\n"
        "  from thread 0 on: at kernel.cpp:3\n"
        "  from thread 16 on: at kernel.cpp:4\n",
    ),
}


@pytest.fixture(scope="module")
def not_as_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that runs the kernel of the case whose number it is given."""
    folder = tmp_path_factory.mktemp("not_as_one")
    bodies = [
        f"    if (number == {i}) {{\n#line 3\n{body}\n}}\n" for i, (body, _) in enumerate(NOT_AS_ONE.values())
    ]
    (folder / "kernel.cpp").write_text(
        '#include "cuda_on_host.h"\n'
        f"void kernel(int number) {{\n{''.join(bodies)}}}\n"
        "int main(int, char** arguments) { FASTGAN_LAUNCH((kernel), 3, nullptr, atoi(arguments[1])); }\n"
    )
    command = ["g++", *cuda_on_host.FLAGS, f"-I{cuda_on_host.HEADER}", "kernel.cpp", "-o", "kernel"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "kernel"


@pytest.mark.parametrize("case", NOT_AS_ONE)
def test_threads_that_do_not_wait_as_one_end_the_program(not_as_one: Path, case: str) -> None:
    number = str(list(NOT_AS_ONE).index(case))
    done = subprocess.run([not_as_one, number], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr == f"CUDA on the host: {NOT_AS_ONE[case][1]}"
