from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before numpy and torch are imported, and for all processes that tests start: on a machine that is busy with
# other tests, threads wait for each other. In the small products of Triton's interpreter they do anyway.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from backends import BACKENDS, INSTRUCTION_SETS, VARIANTS, Backend
from forked import Forks

import fastgan

sys.path.append(str(Path(__file__).parents[1]))  # for benchmarks; last, as another fastgan may be under test
# Where test_cpu_sanitizers.py has the package that its run must test, and no other.
assert Path(fastgan.__file__).is_relative_to(os.environ.get("FASTGAN_TESTED", "/"))

gc.disable()  # until all tests are collected: imports and tests make many objects, which stay

# What takes longest begins first: a file is one process's, and the last one should not have the others wait.
LONGEST = (
    "test_cuda_sanitizers",
    "test_compiled_kernels",
    "test_gpu_check",
    "test_distributed",
    "test_signals",
    "test_cpu_sanitizers",
    "test_registered",
    "test_types",
    "test_dynamo",
    "test_new_loss",
    "test_large",
    "test_plots",
    "test_parity",
    "test_compiled_cuda",
    "test_docs",
    "test_resume",
    "test_tools",
    "test_layers",
    "test_losses",
)

Python = Callable[..., "subprocess.CompletedProcess[str]"]


def as_parameters(backends: list[Backend]) -> list[object]:
    return [
        pytest.param(
            b,
            id=str(b),
            marks=[
                pytest.mark.skipif(b.why_not is not None, reason=str(b.why_not)),
                *([pytest.mark.gpu] if b.device == "cuda" else []),
            ],
        )
        for b in backends
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``long`` or ``breadth`` for the backends that these marks are about.

    The interpreter is ten thousand times slower than a GPU. The reference has no tiles to end in the middle
    of, and the instruction sets are one source.
    """

    def left_out(item: pytest.Item) -> bool:
        parameters = getattr(item, "callspec", None)
        backends = [p for p in parameters.params.values() if isinstance(p, Backend)] if parameters else []
        is_long = item.get_closest_marker("long") is not None
        is_breadth = item.get_closest_marker("breadth") is not None
        return any(
            (is_long and b.is_interpreted)
            or (is_breadth and (b.name == "reference" or b.instruction_set is not None))
            for b in backends
        )

    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    gc.enable()


@contextlib.contextmanager
def running_on(backend: Backend) -> Iterator[Backend]:
    with fastgan.use_backend(backend.name):
        if backend.instruction_set is None:
            yield backend
            return
        fastgan._cpu.use_instruction_set(backend.instruction_set)
        try:
            yield backend
        finally:
            fastgan._cpu.use_instruction_set(INSTRUCTION_SETS[-1])


@pytest.fixture(params=as_parameters(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Runs the test on each backend in turn."""
    with running_on(request.param) as running:
        yield running


@pytest.fixture(params=as_parameters(VARIANTS))
def variant(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Runs the test on each backend, and on each instruction set of the cpu backend."""
    with running_on(request.param) as running:
        yield running


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the test with each instruction set of the C++ kernels."""
    with running_on(Backend("cpu", instruction_set=request.param)):
        yield


def run_together(commands: list[list[str]]) -> None:
    """Run Python with these arguments in processes that wait for each other. Each must print "done"."""
    started = [
        subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert out == "done\n", err


@pytest.fixture(autouse=True)
def same_start() -> None:
    """One seed; and one thread: test_repeatability.py shows that more give the same bits."""
    # torch.manual_seed keeps the seed for GPUs that are not there, and the stack with it, three times a test
    (torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed)(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shown() -> Iterator[Callable[[Path], list[list[int]]]]:
    """What a picture shows: of each artist of each axes, how many points or pixels."""
    # matplotlib is not there where the operations alone are tested
    from pictures import watched_pictures

    with watched_pictures() as shown:
        yield shown


@pytest.fixture
def undrawn() -> Iterator[None]:
    """For tests of runs whose pictures nobody looks at."""
    from pictures import undrawn_pictures

    with undrawn_pictures():
        yield


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    ours = ("FASTGAN_BACKEND", "TRITON_INTERPRET")
    path = os.pathsep.join([str(Path(fastgan.__file__).parents[1]), *sys.path])
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    forks = Forks({**inherited, "PYTHONPATH": path})
    yield forks
    forks.close()


@pytest.fixture
def python(forks: Forks) -> Python:
    """Runs code in a process of its own, which has imported torch and imports this fastgan."""
    return forks.run


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """Processes of the test heed SIGINT and SIGHUP, which nohup and a shell's background ignore."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
