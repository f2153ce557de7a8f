"""What type checkers, which read py.typed, say of code that uses the losses; stubs of compiled modules."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = """\
import torch
from torch import Tensor, nn
D: nn.Module = nn.Linear(2, 1)
G: nn.Module = nn.Linear(2, 2)
x: Tensor = torch.ones(4, 2)
z: Tensor = torch.ones(4, 2)
"""
USES = """\
from typing_extensions import assert_type
import fastgan
from fastgan import ops
from fastgan.nn import DiscriminatorLoss, GeneratorLoss

fastgan.discriminator_loss(x, x).backward()
fastgan.discriminator_loss(x, x, loss="hinge", reduction="sum").backward()
fastgan.generator_loss(x).backward()
fastgan.relativistic_loss(x, x).backward()
fastgan.relativistic_loss(x, x, average=True).backward()
fastgan.reconstruction_loss(x, x).backward()
ops.labelled_loss(x, 0.9, reduction="none").sum().backward()
ops.discriminator_head_loss(x, x, z).backward()
DiscriminatorLoss()(x, x).backward()
GeneratorLoss()(x).backward()
GeneratorLoss().forward(x).backward()

Pair = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]
assert_type(fastgan.discriminator_loss(x, x, return_stats=True), Pair)
assert_type(fastgan.discriminator_loss(x, x, reduction="none"), Pair)
assert_type(fastgan.discriminator_loss(x, x, reduction="none", return_stats=True), Triple)
assert_type(fastgan.discriminator_loss([x, x], [x, x]), Tensor)
assert_type(fastgan.discriminator_loss([x, x], [x, x], return_terms=True), Pair)
assert_type(fastgan.generator_loss(x, reduction="none"), Tensor)
assert_type(fastgan.generator_loss(x, reduction="none", return_stats=True), Pair)
assert_type(fastgan.relativistic_loss(x, x, reduction="none"), Tensor)
assert_type(fastgan.relativistic_loss(x, x, average=True, reduction="none"), Pair)
assert_type(fastgan.relativistic_loss(x, x, average=True, return_stats=True), Pair)
assert_type(fastgan.relativistic_loss(x, x, average=True, reduction="none", return_stats=True), Triple)
assert_type(ops.discriminator_head_loss(x, x, z, return_stats=True), Pair)


def chosen_later(reduction: str, return_stats: bool) -> None:
    assert_type(fastgan.discriminator_loss(x, x, reduction=reduction), Tensor | tuple[Tensor, ...])
    assert_type(fastgan.discriminator_loss(x, x, return_stats=return_stats), Tensor | tuple[Tensor, ...])
    assert_type(fastgan.generator_loss(x, reduction=reduction), Tensor)
"""


def first_snippet() -> str:
    readme = (ROOT / "README.md").read_text()
    return readme.split("```python\n")[1].split("```")[0]


def test_mypy(tmp_path: Path) -> None:
    """The types in README's first lines, and those of what every loss returns."""
    pytest.importorskip("mypy")
    (tmp_path / "readme.py").write_text(f"{NAMES}{first_snippet()}loss.backward()\n")
    (tmp_path / "uses.py").write_text(NAMES + USES)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--follow-imports=silent",
        f"--cache-dir={ROOT / 'build' / 'mypy'}",  # torch's sources take most of the time
        "readme.py",
        "uses.py",
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


# pybind11's words for what a stub writes with Python's.
WORDS: dict[str, str] = {
    r"collections\.abc\.|typing\.": "",
    r" \| SupportsIndex": "",
    r"fastgan\._cpu\.": "",
    r"Callable\[\[\], \w+\]": "Callable",  # pybind11 writes no types of its parameters
    "SupportsInt": "int",
    "SupportsFloat": "float",
    **{
        rf"Annotated\[Sequence\[(\w+)\], \"FixedSize\({n}\)\"\]": "tuple[" + ", ".join([r"\1"] * n) + "]"
        for n in (2, 3, 6)
    },
}


def parameters(signature: str) -> list[str]:
    """The types of the parameters in ``name(...) -> ...``, which a stub or pybind11 has written."""
    for theirs, ours in WORDS.items():
        signature = re.sub(theirs, ours, signature)
    (function,) = ast.parse(f"def {signature.strip()}: ...").body
    assert isinstance(function, ast.FunctionDef)
    assert function.args.vararg is None
    assert function.args.kwarg is None
    return [
        ast.unparse(each.annotation)
        for each in function.args.args
        if each.annotation is not None and each.arg != "self"
    ]


def compare(stubs: list[ast.stmt], built: dict[str, object]) -> None:
    declared = {
        node.name: ast.unparse(node).removeprefix("def ").removesuffix(":\n    ...")
        for node in stubs
        if isinstance(node, ast.FunctionDef)
    }
    assert declared.keys() == built.keys()
    for function, text in declared.items():
        assert (function, parameters(text)) == (function, parameters(str(built[function].__doc__)))


@pytest.mark.parametrize("name", ["_cpu", "_cuda"])
def test_stubs_of_compiled_modules(name: str) -> None:
    """They have every function, and each has as many parameters as in the module, of the same types."""
    module = pytest.importorskip(f"fastgan.{name}")
    stub = ast.parse((ROOT / f"fastgan/{name}.pyi").read_text())
    classes = [node for node in stub.body if isinstance(node, ast.ClassDef)]
    assert {node.name for node in classes} == {
        key for key, value in vars(module).items() if isinstance(value, type)
    }
    compare(stub.body, {key: value for key, value in vars(module).items() if inspect.isbuiltin(value)})
    for node in classes:
        methods = vars(getattr(module, node.name)).items()
        built = {key: value for key, value in methods if type(value).__name__ == "instancemethod"}
        compare(node.body, {key: value for key, value in built.items() if not key.startswith("_pybind11")})
    attributes = {ast.unparse(node.target) for node in stub.body if isinstance(node, ast.AnnAssign)}
    assert attributes == {key for key in vars(module) if key.isupper()}
