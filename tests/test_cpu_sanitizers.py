"""The C++ kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import sanitizers
from cuda_on_host import made_once
from sanitizers import COMPILER, FLAGS, ROOT

pytestmark = [
    pytest.mark.skipif(sanitizers.why_not() is not None, reason=str(sanitizers.why_not())),
    pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="needs the sources"),
]


@pytest.fixture(scope="module")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package whose extension is instrumented."""
    folder = tmp_path_factory.mktemp("sanitized")
    for name in ("csrc", "fastgan"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    sources = [path for path in sorted((ROOT / "csrc").rglob("*")) if path.is_file()]
    sources = [path for path in sources if "cuda" not in path.parts]
    state = [FLAGS, *(path.read_bytes() for path in (ROOT / "setup.py", *sources))]
    module = f"_cpu{sysconfig.get_config_var('EXT_SUFFIX')}"
    shutil.copy(made_once(module, state, lambda out: compile_into(folder, out)), folder / "fastgan" / module)
    return folder


def compile_into(folder: Path, out: Path) -> None:
    assert COMPILER is not None
    build = {
        "CXX": COMPILER,
        "CXXFLAGS": FLAGS,
        "LDFLAGS": "-fsanitize=address,undefined",
        "FASTGAN_NO_CUDA": "1",
    }
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, **build},
        check=True,
        capture_output=True,
    )
    shutil.move(folder / "fastgan" / out.name, out)


def test_the_table_and_arguments_that_do_not_fit(instrumented: Path) -> None:
    result = sanitizers.run_table_and_fuzz(instrumented, "cpu", 4000)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert "operator linear_leaky_relu: " in result.stdout
    assert " passed" in result.stdout


def test_the_net_holds(instrumented: Path) -> None:
    """One logit more than there are is an error, and not a silent one."""
    (module,) = (instrumented / "fastgan").glob("_cpu*.so")
    # the module alone: it needs neither torch nor the package, and starts in no time
    call = (
        "import ctypes; from importlib.util import module_from_spec, spec_from_file_location\n"
        f"spec = spec_from_file_location('fastgan._cpu', {str(module)!r})\n"
        "_cpu = module_from_spec(spec); spec.loader.exec_module(_cpu)\n"
        "calloc = ctypes.CDLL(None).calloc; calloc.restype = ctypes.c_void_p\n"
        "t, loss = calloc(1000, 4), calloc(1, 4)\n"
        "_cpu.loss(0, 1, [t], [1000 + {}], [1.0], [1.0], [], 0, 1, loss, 1, 0, 1)"
    )
    right, wrong = (sanitizers.run(instrumented, "-c", call.format(more)) for more in (0, 1))
    assert right.returncode == 0, right.stderr
    assert wrong.returncode != 0
    assert "heap-buffer-overflow" in wrong.stderr
