"""The comparison with ctgan: its tables, how it counts steps, and the experiment on real tables."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.tabular import __main__ as timing
from benchmarks.tabular import synthesize
from benchmarks.tabular.table import make_table
from experiments import real_tables, tabular


def test_a_table_is_made_of_its_seed() -> None:
    frame, discrete = make_table(300, 20, seed=1)
    assert frame.shape == (300, 20)
    assert frame.equals(make_table(300, 20, seed=1)[0])
    assert not frame.equals(make_table(300, 20, seed=2)[0])
    assert not frame.isna().any(axis=None)
    numbers = frame.select_dtypes("number")
    assert list(frame.columns.difference(numbers.columns)) == sorted(discrete)
    assert len(discrete) == 8
    assert numbers.select_dtypes("integer").shape[1] == 4
    assert numbers.corr("spearman").abs().to_numpy()[np.triu_indices(12, 1)].mean() > 0.2


def test_ctgans_steps_are_counted_by_its_generators_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    class CTGAN:
        """Two players that update in turn."""

        def __init__(self, epochs: int, enable_gpu: bool) -> None:
            self.epochs = epochs

        def set_random_state(self, seed: int) -> None:
            pass

        def fit(self, frame: pd.DataFrame, discrete: list[str]) -> None:
            players = [torch.optim.Adam([torch.zeros(1, requires_grad=True)]) for _ in range(2)]
            for _ in range(self.epochs):
                for player in players:
                    player.step()

        def sample(self, count: int) -> pd.DataFrame:
            return pd.DataFrame(index=range(count))

    monkeypatch.setitem(sys.modules, "ctgan", types.SimpleNamespace(CTGAN=CTGAN))
    found = timing.measure("ctgan", 20, 4, 5)
    assert found["steps"] == 5
    assert found["peak"] > 2**20
    assert 0 < found["step"] < found["fit"]
    del sys.modules["benchmarks.tabular.in_ctgan"]  # it holds the stand-in


def test_fastgan_is_timed_between_log_points() -> None:
    found = timing.measure("fastgan", 50, 4, 200)
    assert found["steps"] == 200
    assert 0 < 100 * found["step"] < found["fit"]


def test_a_synthetic_table_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, discrete = make_table(40, 4)
    frame.to_csv(tmp_path / "table.csv", index=False)
    paths = str(tmp_path / "table.csv"), str(tmp_path / "made.csv")
    monkeypatch.setattr(sys, "argv", ["synthesize", "fastgan", paths[0], "2", "0", paths[1], *discrete])
    synthesize.main()
    made = pd.read_csv(paths[1])
    assert made.shape == frame.shape
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "made.csv"}


def test_a_real_table_is_always_split_alike() -> None:
    for name, shape in (("wine", (142, 14)), ("breast cancer", (455, 31))):
        table = real_tables.real_table(name)
        assert table.train.shape == shape
        assert table.train.equals(real_tables.real_table(name).train)
        assert 0.79 < len(table.train) / (len(table.train) + len(table.test)) < 0.8
        assert table.discrete == (table.target,)


def test_arrests_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="arrests: scikit-lego, which has it, is not installed; pip install"):
        real_tables.real_table("arrests")


def test_packages_are_compared_on_wine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []

    def resampled(call: list[str], **_: Any) -> None:
        calls.append(call)
        _, _, _, _, source, epochs, seed, out, *discrete = call
        assert (epochs, discrete) == ("1000", ["class"])
        drawn = pd.read_csv(source).sample(frac=1, replace=True, random_state=int(seed))
        drawn.to_csv(out, index=False)

    monkeypatch.setattr(tabular, "subprocess", types.SimpleNamespace(run=resampled))
    words = ["--tables", "wine", "--seeds", "0", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tabular", *words, "--ctgan", "python-with-ctgan"])
    tabular.main()
    printed = capsys.readouterr().out
    assert [call[0] for call in calls].count("python-with-ctgan") == 2
    assert printed.count(" ± ") == 10
    assert "\n| real rows |" in printed
    stored = json.loads((tmp_path / "result.json").read_text())["tables"]["wine"]
    assert (stored["rows"], stored["test_rows"], stored["target"]) == (142, 36, "class")
    assert [row["seed"] for row in stored["packages"]["ctgan"]] == [0, 1]
    assert all(0.8 < row["shapes"] <= 1 and 0 < row["boosting"] <= 1 for row in stored["packages"]["fastgan"])
    tabular.main()
    assert len(calls) == 4, "what is stored is not made again"


def test_the_python_of_ctgan_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FASTGAN_CTGAN", raising=False)
    words = ["--tables", "wine", "--packages", "ctgan", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tabular", *words])
    with pytest.raises(SystemExit):
        tabular.main()
    assert capsys.readouterr().err.startswith("error: --ctgan is not given; set it to the Python of")
