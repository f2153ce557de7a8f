"""The experiments in short, and the runner that they share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.record import run_seeds, write_result


def test_a_stopped_experiment_goes_on_with_the_seeds_that_are_left(tmp_path: Path) -> None:
    ran = []

    def run(seed: int) -> dict[str, int]:
        if seed == 2 and len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(seed)
        return {"square": seed**2}

    settings = {"steps": 3, "betas": (0.5, 0.9)}
    with pytest.raises(KeyboardInterrupt):
        run_seeds(tmp_path, settings, range(3), run)
    ran.append(-1)
    results = run_seeds(tmp_path, settings, range(3), run)
    assert ran == [0, 1, -1, 2]
    assert results == [{"square": 0}, {"square": 1}, {"square": 4}]


def test_seeds_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    run_seeds(tmp_path, {"steps": 3}, [0], lambda seed: {})
    with pytest.raises(ValueError, match=r"seed-0.json: was run with other settings; remove it"):
        run_seeds(tmp_path, {"steps": 4}, [0], lambda seed: {})


def test_a_result_names_what_made_it(tmp_path: Path) -> None:
    write_result(tmp_path, "equilibrium", {"modes": 8})
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["command"].startswith("python -m experiments.equilibrium")
    assert {"torch", "fastgan", "commit"} < stored.keys()
    assert stored["modes"] == 8
