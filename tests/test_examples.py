"""Every example runs as it stands, for a few steps.

examples/*_plain.py and *_fastgan.py are run by test_parity.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from tests.test_distributed import torchrun

EXAMPLES = Path(__file__).parent.parent / "examples"
PRINTED = {
    "any_modules": "64 samples of shape (1, 8, 8) after 20 steps",
    "callbacks": "resumed at step 1\n",
    "custom_loop": "step 20: D(x) 0.",
    "data_parallel": "2 processes, alike: True",
    "lightning_module": " after 20 steps",
    "map_style_dataset": "a sample: [",
    "r1_from_scratch": " after 20 steps",
}
PROCESSES = {"data_parallel": torchrun(2), "map_style_dataset": [sys.executable]}
NEEDS = {"lightning_module": "pytorch_lightning"}


def test_every_example_is_run() -> None:
    there = {path.stem for path in EXAMPLES.glob("*.py")}
    pairs = {path.stem for kind in ("plain", "fastgan") for path in EXAMPLES.glob(f"*_{kind}.py")}
    assert there == pairs | PRINTED.keys()


@pytest.mark.parametrize("name", PRINTED)
def test_example(name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    path = EXAMPLES / f"{name}.py"
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    if name in PROCESSES:
        subprocess.run(
            [*PROCESSES[name], str(path), "20"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    else:
        monkeypatch.setattr(sys, "argv", [str(path), "20"])
        runpy.run_path(str(path), run_name="__main__")
    assert PRINTED[name] in capfd.readouterr().out


def test_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells in turn, as plain Python, but for those that are commands to the notebook."""
    notebook = json.loads((EXAMPLES / "colab.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    commands = [cell for cell in cells if cell.startswith("%")]
    assert commands == ["%pip install --quiet '.[train]'"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    plt.switch_backend("agg")
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf().number) or plt.close())
    names: dict[str, object] = {}
    for cell in cells:
        if cell not in commands:
            exec(compile(cell.replace("steps=2_000", "steps=3"), "colab.ipynb", "exec"), names)
    assert len(shown) == 3
    samples = names["samples"]
    assert isinstance(samples, torch.Tensor)
    assert samples.shape == (32, 1, 8, 8)
