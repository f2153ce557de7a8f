"""The benchmarks themselves: what they check, how they count, and what becomes of a stored run."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import bench_recipes, load, machine, replay
from benchmarks.contest import Effort, check_agreement, contest, timed
from benchmarks.machine import Rates
from benchmarks.operations import table
from benchmarks.operations.contenders import samples_of
from benchmarks.operations.in_pytorch import InPyTorch
from benchmarks.operations.operation import Case, Direction
from benchmarks.report import __main__ as report
from benchmarks.step.agreement import check_agreement as check_step
from benchmarks.step.contenders import at_jax_best
from benchmarks.step.contenders import contenders as contenders_of_the_step
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem

QUARTILES = ("min", "q1", "median", "q3", "max", "iqr")
TINY = table.tiny()
BRIEF = Effort(rounds=3, least=2, seconds=0.0)


@pytest.fixture(autouse=True, scope="module")
def _nothing_to_collect() -> Iterator[None]:
    """Every contest collects garbage, and would look through the objects of all other tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("case", TINY, ids=str)
def test_contenders_agree_and_run_every_direction(case: Case) -> None:
    inputs = case.inputs("cpu")
    expected, grad = case.expected(inputs)
    forwards = {"fastgan": case.operation.ours, **case.operation.eager}
    made = {name: InPyTorch(forward, inputs, grad, "cpu") for name, forward in forwards.items()}
    check_agreement({name: each.results() for name, each in made.items()}, expected, 1e-5)
    samples = {
        f"{name}, {direction.value}": sample
        for direction in Direction
        for name, sample in samples_of(made, direction).items()
    }
    result = contest(samples, BRIEF, min_seconds=0.0)
    assert len(result.seconds) == len(made) * len(Direction)
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in result.seconds.values())
    assert all(t.grad is None for t in inputs)


@pytest.mark.parametrize("case", TINY, ids=str)
def test_jax_agrees(case: Case) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    from benchmarks.operations.in_jax import InJax

    inputs = case.inputs("cpu")
    expected, grad = case.expected(inputs)
    made = InJax(case.operation.name, inputs, grad)
    check_agreement({"JAX": made.results()}, expected, 1e-5)
    assert all(made.sample(direction)(2) > 0 for direction in Direction)


def test_a_wrong_result_is_not_timed() -> None:
    right = [torch.tensor(1.0), torch.ones(3)]
    with pytest.raises(AssertionError, match=r"halved: result 1 is off by 5\.00e-01"):
        check_agreement({"halved": [right[0], right[1] / 2]}, right, 1e-4)


def test_ratios_are_of_one_round_each() -> None:
    slow, fast = iter([4.0, 6.0, 8.0] * 9), iter([1.0, 3.0, 2.0] * 9)
    result = contest({"slow": lambda _: next(slow), "fastgan": lambda _: next(fast)}, Effort(3, 3, 0.0))
    # before the rounds: two calls of each, and long ones are not warmed up
    pairs = zip(result.seconds["slow"], result.seconds["fastgan"], strict=True)
    assert result.ratio("slow")[1] == sorted(a / b for a, b in pairs)[1]


def test_a_sample_counts_its_calls() -> None:
    calls: list[None] = []
    ends: list[None] = []
    timed(lambda: calls.append(None), lambda: ends.append(None))(7)
    assert (len(calls), len(ends)) == (7, 1)


def test_jax_competes_in_its_faster_way() -> None:
    ways = {"fastgan": [1.0, 1.0, 1.0], "JAX jit": [2.0, 2.0, 9.0], "JAX jit, scan of 100": [1.0, 3.0, 3.0]}
    assert at_jax_best(ways) == ({"fastgan": [1.0, 1.0, 1.0], "JAX jit": [2.0, 2.0, 9.0]}, "JAX jit")
    ways["JAX jit"] = [4.0, 4.0, 4.0]
    assert at_jax_best(ways) == (
        {"fastgan": [1.0, 1.0, 1.0], "JAX jit": [1.0, 3.0, 3.0]},
        "JAX jit, scan of 100",
    )
    assert at_jax_best({"fastgan": [1.0]}) == ({"fastgan": [1.0]}, None)


def test_a_step_of_the_contest_is_one_of_the_trainers() -> None:
    """Many steps a call, past log points too, do what as many calls of one step do."""
    many, single = (Fastgan(Problem(4, 8, simultaneous=False), steps=steps) for steps in (130, 1))
    many.run()
    for _ in range(130):
        single.run()
    assert many.state.step == single.state.step == 130
    for ours, theirs in zip(many.weights(), single.weights(), strict=True):
        assert torch.equal(ours, theirs)


def test_contenders_of_the_step_agree() -> None:
    problem = Problem(32, 16, simultaneous=False)
    offered = dict(contenders_of_the_step(problem, "cpu"))
    check_step(problem, {name: make() for name, make in offered.items() if "compile" not in name})
    assert offered["fastgan"]().steps_a_run == 100


def test_other_load_ends_with_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with contextlib.suppress(KeyboardInterrupt), load.spinning(2):
        assert [process.poll() for process in started] == [None, None]
        raise KeyboardInterrupt
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2


def test_a_recipe_is_trained_by_the_build_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_recipes, "STEPS", 1)
    assert 0 < bench_recipes.sample_of(bench_recipes.ROOT, "ring")(1) < 1
    with pytest.raises(AssertionError, match=str(tmp_path)):
        bench_recipes.sample_of(tmp_path, "ring")(1)


def test_floor_is_the_longer_of_copy_and_products() -> None:
    rates = Rates({100: 1.0, 200: 3.0}, {"fp32": 10.0})
    assert [rates.floor(moved, 0, "fp32") for moved in (0, 50, 100, 150, 200, 400)] == [0, 1, 1, 2, 3, 6]
    assert rates.floor(150, 1_000, "fp32") == 100
    assert rates.floor(150, 10, "fp32") == 2


@pytest.mark.parametrize(
    ("family", "model", "expected"), [(25, 1, "Zen3"), (25, 17, "Zen4"), (26, 2, "Zen5"), (23, 49, None)]
)
def test_amd_generations(family: int, model: int, expected: str | None) -> None:
    assert machine._amd_generation(family, model) == expected


def test_results_are_named_after_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu", lambda: "Zen5")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert machine.slug("cpu") == "cpu-zen5-2-cores"


def test_pytest_benchmark_gets_the_rounds() -> None:
    taken: list[float] = []

    class Benchmark:
        def pedantic(self, target: Any, rounds: int) -> None:
            for _ in range(rounds):
                start = replay.replayed()
                target()
                taken.append(replay.replayed() - start)

    replay.replay(Benchmark(), [0.5, 0.25, 2.0])
    assert taken == [0.5, 0.25, 2.0]


def stored(tmp_path: Path, *cases: dict[str, Any]) -> Path:
    path = tmp_path / "run.json"
    info = {
        "device": "Zen5, 2 cores",
        "torch": "2.13.0",
        "jax": None,
        "python_version": "3.11.7",
        "fastgan": {"version": "1", "instruction set": "avx512"},
        "rates": {"copy seconds": {"1024": 1e-6, "4194304": 1e-3}, "flops": {"fp32": 1e11}},
    }
    path.write_text(
        json.dumps(
            {
                "machine_info": info,
                "commit_info": {"id": "0" * 40, "dirty": False},
                "datetime": "2026-01-02T03:04:05",
                "benchmarks": [{"extra_info": case} for case in cases],
            }
        )
    )
    return path


def case_of(name: str, direction: str, ours: float, theirs: float, size: int) -> dict[str, Any]:
    return {
        "suite": "discriminator_loss",
        "case": name,
        "dtype": "fp32",
        "direction": direction,
        "axis": "logits",
        "size": size,
        "bytes": 1024,
        "seconds": {"fastgan": dict.fromkeys(QUARTILES, ours), "eager": dict.fromkeys(QUARTILES, theirs)},
        "ratios": {"eager": dict.fromkeys(QUARTILES, theirs / ours)},
    }


def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the report writes, instead of into the project."""
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "benchmarks.md")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    monkeypatch.setattr(report, "PICTURES", tmp_path / "pictures")
    for page in (report.DOCUMENT, report.README):
        page.write_text(f"before\n\n{report.BEGIN}\n\nof earlier\n\n{report.END}\n\nafter\n")


def timed_on_a_gpu(case: str, **times: float) -> list[dict[str, Any]]:
    each = {"fastgan": 1.0} | {name.replace("_", " "): ratio for name, ratio in times.items()}
    return [
        {"what": "contest", "case": case, "contender": name, "us": 500 * ratio, "times": [ratio] * 3}
        for name, ratio in each.items()
    ]


def gpu_rows(*, is_gpu: bool) -> list[dict[str, Any]]:
    about = {"what": "about", "case": "versions", "is_gpu": is_gpu, "torch": "2.11.0", "commit": "abc"}
    loss = "discriminator_loss, 2 × 67,108,864, bf16, forward + backward"
    layer = "linear_leaky_relu, 8,192 × 4,096 → 4,096, bf16, forward + backward"
    return [
        about | {"fastgan": "1"},
        {"what": "correct", "case": "mlp, cuda, float32", "checks": 3, "worst": 1e-7, "status": "ok"},
        {"what": "contest", "case": loss, "contender": "torch.compile", "status": "over its time"},
        *timed_on_a_gpu(loss, copy=0.87, eager=4.5),
        *timed_on_a_gpu(layer, products=1 / 1.05),
        *timed_on_a_gpu("step, alternating, batch 128, 256 wide", eager=13.0),
        {"what": "stage", "case": "step", "status": "ok", "seconds": 3.0},
    ]


def stored_of_a_gpu(path: Path, *, is_gpu: bool = True) -> Path:
    every = {"t": 1.0, "run": "one", "stage": "a", "device": "H100"}
    path.write_text(
        "".join(json.dumps(every | row) + "\n" for row in gpu_rows(is_gpu=is_gpu)) + '{"what": "cut'
    )
    return path


def test_report_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both pages get its figures between the comments, again and again, and keep the rest."""
    pages(tmp_path, monkeypatch)
    monkeypatch.setattr("sys.argv", ["report", str(stored_of_a_gpu(tmp_path / "h100.jsonl"))])
    report.main()
    report.main()
    for page in (report.DOCUMENT, report.README):
        text = page.read_text()
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        assert "of earlier" not in text
        assert text.count("| discriminator loss, 2 × 2²⁶, bf16 |") == 3
        assert "| 85% of a copy's speed | 87% of a copy's speed | reached |" in text
        assert "| 5.0 × eager | 4.5 × eager | **falls short** |" in text
        assert "| 1.4 × torch.compile | not measured |  |" in text
        assert "| 1.10 of its products' time | 1.05 of its products' time | reached |" in text
        assert "| 13.0 × eager | reached, the aim too |" in text
        assert "H100" in text
        assert "torch 2.11.0" in text
        assert "commit abc" in text
    assert (
        "- contest: discriminator_loss, 2 × 67,108,864, bf16, forward + backward, torch.compile: over its"
        in (report.DOCUMENT.read_text())
    )
    assert [path.name for path in report.PICTURES.iterdir()] == ["h100-gpu.png"]


def test_a_try_on_a_cpu_is_no_result_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages(tmp_path, monkeypatch)
    path = stored_of_a_gpu(tmp_path / "quick.jsonl", is_gpu=False)
    monkeypatch.setattr("sys.argv", ["report", str(path)])
    with pytest.raises(SystemExit):
        report.main()
    assert "of earlier" in report.README.read_text()


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(
        tmp_path,
        case_of("small", "forward + backward", 4e-6, 2e-6, 10),
        case_of("large", "forward + backward", 2e-6, 8e-6, 100),
        case_of("large", "forward", 2e-6, 8e-6, 100),
        {
            "suite": "memory",
            "case": "a loss",
            "inputs": 2**20,
            "memory": {"fastgan": {"saved": 0, "peak": 2**21}, "JAX jit": {"peak": 2**20}},
        },
    )
    pages(tmp_path, monkeypatch)
    monkeypatch.setattr("sys.argv", ["report", str(path)])
    report.main()
    document = (tmp_path / "benchmarks.md").read_text()
    assert "No GPU has measured anything yet" in document
    assert "No GPU has measured anything yet" in (tmp_path / "README.md").read_text()
    assert "| small | 4 µs | 25% | **0.50** (0.50–0.50) |" in document
    assert "| large | 2 µs | 50% | 4.00 (4.00–4.00) |" in document
    assert "eager is faster in 1 of 2; at worst it takes 0.50 of the time (small, fp32)" in document
    assert "<details><summary>forward</summary>" in document
    assert "| a loss | 1.0 | 0.0, 2.0 | 1.0 |" in document
    pictures = re.findall(r"images/benchmarks/(\S+\.png)", document)
    assert sorted(pictures) == sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert len(pictures) == 2


def test_stored_results_can_be_read() -> None:
    paths = sorted((report.ROOT / "benchmarks/results").glob("*.json"))
    assert paths
    for path in paths:
        assert all(case.seconds or case.memory for case in report.read(path).cases)
        stored = json.loads(path.read_text())["benchmarks"]
        assert not [each["name"] for each in stored if "data" in each["stats"]], "rounds, not quartiles"
        contests = [each["extra_info"] for each in stored if "seconds" in each["extra_info"]]
        assert {tuple(q) for each in contests for q in each["seconds"].values()} == {QUARTILES}


@pytest.mark.parametrize("name", [path.stem for path in (report.ROOT / "benchmarks").glob("bench_*.py")])
def test_benchmarks_import(name: str) -> None:
    """CI runs none of them."""
    importlib.import_module(f"benchmarks.{name}")
