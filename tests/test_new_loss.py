"""A loss on logits is added in four places: a row, a C++ functor, a Triton function, a formula here.

The CUDA kernels take the C++ functor, as the CPU's do; to compile them too would take a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cuda_on_host import made_once

ROOT = Path(__file__).parents[1]
# Of each file, what the new text stands in front of.
PLACES: dict[str, list[tuple[str, str]]] = {
    "fastgan/kernels/logit_losses.py": [
        (
            "}\n_WITH_KERNELS",
            """\
    # max(0, 1 -+ t)^2
    "squared-hinge": LogitLoss(
        term=lambda t, label: torch.relu(1 + _side(label) * t).square(),
        slope=lambda t, label: 2 * _side(label) * torch.relu(1 + _side(label) * t),
        output=lambda t: t,
        saturated=_beyond_margin,
        generator="wasserstein",
        formulas=("max(0, 1 - r)^2", "max(0, 1 + f)^2"),
        source="nobody",
    ),
""",
        )
    ],
    "csrc/logit_losses.h": [
        (
            "enum class Loss : int",
            """\
struct SquaredHinge {
  static constexpr bool kLogarithm = false;
  template <class A>
  FASTGAN_HD AtLogit<A> at(A t, A, A label) {
    const A side = A(1) - A(2) * label;
    const A left = A(1) + side * t;
    const bool beyond = left <= A(0);
    return {beyond ? A(0) : left * left, beyond ? A(0) : A(2) * side * left, t, beyond ? A(1) : A(0)};
  }
};

""",
        ),
        (", count };\n\n// work(functor)", ", squared_hinge"),
        (
            "    default: return work(Wasserstein{});",
            "    case Loss::squared_hinge: return work(SquaredHinge{});\n",
        ),
    ],
    "fastgan/kernels/triton/logit_losses.py": [
        (
            "_FUNCTIONS: dict[str, Any] = {",
            """\
@triton.jit
def squared_hinge(t, e, label):
    side = 1.0 - 2.0 * label
    left = tl.maximum(1.0 + side * t, 0.0)
    return left * left, 2.0 * side * left, t, tl.where(left <= 0.0, 1.0, 0.0)


""",
        ),
        ('    "wasserstein": wasserstein,\n', '    "squared-hinge": squared_hinge,\n'),
    ],
    "tests/oracle.py": [
        (
            '    "wasserstein": lambda real, fake',
            '    "squared-hinge": lambda real, fake: (F.relu(1 - real) ** 2, F.relu(1 + fake) ** 2),\n',
        )
    ],
}
CHECK = """
import importlib.util, os, sys; sys.path.insert(0, "tests")
os.environ["TRITON_INTERPRET"] = "1"
import triton_interpreter, torch, fastgan
names = ["reference", "cpu"]
if importlib.util.find_spec("triton"):
    triton_interpreter.prepare()
    names.append("triton")
from oracle import OTHER_LOSSES, eager_discriminator_loss
assert "squared-hinge" in OTHER_LOSSES
real, fake = (torch.randn(300, dtype=torch.float64, requires_grad=True) for _ in range(2))
expected = eager_discriminator_loss(real, fake, loss="squared-hinge")
grads = torch.autograd.grad(expected, [real, fake])
for backend in names:
    with fastgan.use_backend(backend):
        loss = fastgan.discriminator_loss(real, fake, loss="squared-hinge")
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, [real, fake]), grads, rtol=1e-12, atol=0)
    print(backend)
of_d, of_g = fastgan.discriminator_loss.__doc__, fastgan.generator_loss.__doc__
assert '| "squared-hinge" | max(0, 1 - r)^2 | max(0, 1 + f)^2 | nobody |' in of_d
assert '| "squared-hinge" | -f | nobody |' in of_g
"""
TRAIN = """
from fastgan.cli import main
for command in ("--objective squared-hinge --steps 3 --out run", "--help"):
    sys.argv = ["fastgan", "train", *command.split()]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with one loss more, built without optimization."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("fastgan", "csrc", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.so*", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    for name, additions in PLACES.items():
        text = (root / name).read_text()
        for before, added in additions:
            assert text.count(before) == 1, f"{name}: {before}"
            text = text.replace(before, added + before)
        (root / name).write_text(text)
    sources = [
        path for path in sorted((root / "csrc").rglob("*")) if path.is_file() and "cuda" not in path.parts
    ]
    state = [path.read_bytes() for path in (root / "setup.py", *sources)]
    module = f"_cpu{sysconfig.get_config_var('EXT_SUFFIX')}"
    shutil.copy(made_once(module, state, lambda out: compile_into(root, out)), root / "fastgan" / module)
    return root


def compile_into(root: Path, out: Path) -> None:
    environment = {**os.environ, "FASTGAN_NO_CUDA": "1", "CXXFLAGS": "-O0"}
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    subprocess.run(build, cwd=root, env=environment, check=True, capture_output=True)
    shutil.move(root / "fastgan" / out.name, out)


def test_four_places(copy: Path) -> None:
    """Its values and gradients are right, and it trains, under its name."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"}
    command = [sys.executable, "-c", CHECK + TRAIN]
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:2] == ["reference", "cpu"]
    assert "objective: squared-hinge" in (copy / "run/config.yaml").read_text()
    assert "squared-hinge" in result.stdout
