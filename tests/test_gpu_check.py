"""``make gpu-check`` without a GPU: nothing that it found is lost, whatever goes wrong, and nothing hides."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backends import Backend
from forked import Forks, Started
from torch import Tensor

from benchmarks.gpu import contests, schedule, stages
from benchmarks.gpu.record import NAME, Record, Row, read
from benchmarks.gpu.schedule import ROOT, Schedule, Stage, python
from benchmarks.operations import contenders, table
from benchmarks.operations.contenders import Make
from benchmarks.operations.in_pytorch import InPyTorch
from benchmarks.operations.operation import Case, Direction

CHECK = """
import gc
import {imported}
from forked_stages import main
gc.freeze()
main({out!r}, "--quick", "--part", {part!r}, "--seconds", "400")
"""


class Check(Started):
    """``python -m benchmarks.gpu``, and its stages, in forks of a process that has imported torch."""

    def __init__(self, forks: Forks, out: Path, part: int, imported: str = "torch") -> None:
        self.log = out / f"{NAME}.log"
        self.begins = self.log.stat().st_size if self.log.exists() else 0
        code = CHECK.format(out=str(out), part=str(part), imported=imported)
        super().__init__(forks, code, **stages.UNCOMPILED)

    def shown(self) -> list[str]:
        """The rows that it has shown."""
        if not self.log.exists():
            return []
        lines = self.log.read_bytes()[self.begins :].decode().split("\n")
        return [line for line in lines[:-1] if " s  " in line[:12]]


def rows_of(out: Path) -> list[Row]:
    """Each line by itself, strictly as JSON has it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (out / f"{NAME}.jsonl").read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def wait_for(check: Check, kind: str, count: int) -> int:
    """Waits until the check has shown so many rows of a kind; how many it has shown of all kinds."""
    while True:
        has_ended = check.has_ended
        rows = check.shown()
        found = sum(f" s  {kind}, " in row for row in rows)
        if found >= count:
            return len(rows)
        assert not has_ended, f"it ended after {found} rows of {kind}"
        time.sleep(0.02)


# In which part, after at most how many rows of which kind, and how it is ended.
MOMENTS = [
    (1, 20, "correct", signal.SIGKILL),
    (1, 4, "contest", signal.SIGINT),
    (2, 2, "stage", signal.SIGKILL),
]


def test_the_whole_check_survives_interrupts_and_kills(tmp_path: Path, forks: Forks) -> None:
    """It is ended three times, at random. Part 2 then has what is left."""
    seed = random.randrange(1000)
    print(f"seed {seed}")
    rng = random.Random(seed)
    out = tmp_path / "out"
    kept: list[Row] = []
    for part, most, kind, how in MOMENTS:
        check = Check(forks, out, part)
        seen = wait_for(check, kind, rng.randint(1, most))
        time.sleep(rng.random() * 0.3)
        check.send_signal(how)
        assert check.wait(30).returncode != 0
        rows = rows_of(out)
        assert rows[: len(kept)] == kept
        assert len(rows) >= len(kept) + seen
        kept = rows
        if how == signal.SIGINT:
            assert (rows[-1]["what"], rows[-1]["status"]) == ("end", "interrupted")
            told = {row["case"] for row in rows if row["what"] == "stage"}
            assert told == {stage.name for stage in stages.first(True)}
            assert "| eager |" in (out / f"{NAME}.md").read_text()
    # three of the stages that are left import it, by torch.optim or torch.compile
    done = Check(forks, out, 2, imported="torch._dynamo").wait(300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert_complete(out)


def assert_complete(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {
        f"{NAME}.{kind}" for kind in ("jsonl", "log", "md", "png")
    }
    rows = rows_of(out)
    results = {row["case"]: row["status"] for row in rows if row["what"] == "stage"}
    assert results == dict.fromkeys(("tests, cpu", *(s.name for s in stages.first(True))), "ok")
    with_versions = {row["run"] for row in rows if row["what"] == "about"}
    for row in rows:
        assert {"t", "run", "stage", "what", "case", "device"} <= row.keys()
        assert row["run"] in with_versions or row["what"] == "correct"  # of the run that was killed at once
    assert sum(row.get("checks", 0) for row in rows) > 100
    assert any(row["what"] == "tests" and row["passed"] > 0 and row["until"] == "the end" for row in rows)
    timed = {row["contender"] for row in rows if row["what"] == "contest" and "us" in row}
    assert timed >= {
        "fastgan",
        "eager",
        "copy",
        "products",
        "torch.compile",
        "torch.compile, reduce-overhead",
    }
    page = (out / f"{NAME}.md").read_text()
    assert "these times say nothing" in page
    assert "not measured" in page


# A stage whose contenders are planted: what each does, after one that is well.
PLANTED = """
import os, signal, time
from benchmarks.gpu.rows import DONE, attempt, done, is_lost, put
def wrong(): raise AssertionError("result 1 is off by 5.00e-01")
def segfault(): os.kill(os.getpid(), signal.SIGSEGV)
def hang():
    while True:
        try: time.sleep(60)
        except KeyboardInterrupt: pass
bad = {BAD}
for case in ("a", "b"):
    if case in DONE: continue
    for name, run in {{"first": int, "bad": bad, "last": int}}.items():
        if not is_lost(case, name):
            with attempt("contest", case, name, 0.5 if run is hang else 10.0):
                run()
                put("contest", case, contender=name, us=1.0)
    done(case)
"""


def planted(name: str, code: str, **options: object) -> Stage:
    settings = {"need": 1.0, "limit": 30.0} | options
    return Stage(name, [sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


def run(out: Path, *stages: Stage, seconds: float = 60.0) -> tuple[dict[str, str], list[Row]]:
    results = Schedule(Record(out, 1), stages, seconds).run()
    return results, rows_of(out)


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("bad", "status", "says"),
    [
        ("wrong", "failed", "AssertionError: result 1 is off by 5.00e-01"),
        ("segfault", "failed", "ended with code -11"),
        ("hang", "over its time", "ended with code -9"),
    ],
)
def test_a_contender_costs_its_row_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, status: str, says: str
) -> None:
    monkeypatch.setattr(schedule, "GRACE", 0.5)
    results, rows = run(tmp_path, planted("planted", PLANTED.format(BAD=bad)), planted("next", WELL))
    assert results == {"planted": "failed", "next": "ok"}
    timed = {(row["case"], row["contender"]) for row in rows if "us" in row}
    assert timed >= {(case, name) for case in "ab" for name in ("first", "last")}
    failures = [row for row in rows if row["what"] == "contest" and "us" not in row]
    assert failures[0]["status"] == status
    assert says in failures[0]["error"]
    assert {row["contender"] for row in failures} == {"bad"}
    assert [row["case"] for row in failures] == ["a", "b"]


class Doubled(InPyTorch):
    def results(self) -> list[Tensor]:
        return [2 * t for t in super().results()]


def test_what_disagrees_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor what cannot be made; the rest is."""

    def makes(case: Case, inputs: list[Tensor], grad: Tensor, device: str) -> Iterator[tuple[str, Make]]:
        for name, make in contenders.makes(case, inputs, grad, device):
            yield name, make
            if name == "fastgan":
                yield "raises", lambda: getattr(case, "nothing")  # noqa: B009
                yield "disagrees", lambda: Doubled(case.operation.ours, inputs, grad, device)

    monkeypatch.setattr(contests, "makes", makes)
    wanted = ("fastgan", "raises", "disagrees", "eager")
    case = table.loss(table.DISCRIMINATOR_LOSS, 64, "fp32")
    contests.run(contests.Contest(case, (Direction.BOTH, Direction.FORWARD), wanted, "copy"), contests.BRIEF)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [each["row"] for each in told if "row" in each]
    timed = {(row["case"].rpartition(", ")[2], row["contender"]) for row in rows if "us" in row}
    assert timed == {
        (direction, name)
        for direction in ("forward", "forward + backward")
        for name in ("fastgan", "eager", "copy")
    }
    errors = {row["contender"]: row["error"] for row in rows if "us" not in row}
    assert errors.keys() == {"raises", "disagrees"}
    assert "has no attribute 'nothing'" in errors["raises"]
    assert "disagrees: result 0 is off by 1.00e+00" in errors["disagrees"]


WELL = "from benchmarks.gpu.rows import put; put('correct', 'a', checks=1, status='ok')"
SLOW = f"import time\n{WELL}\ntime.sleep(60)"


@pytest.mark.usefixtures("_here")
def test_what_ran_nothing_has_not_passed(tmp_path: Path) -> None:
    each = [
        planted("silent", "print('well')"),
        planted("none", "import nothing_there"),
        planted("absent", WELL.replace("ok", "left out")),
    ]
    results, rows = run(tmp_path, *each)
    assert results == {"silent": "failed", "none": "failed", "absent": "left out"}
    errors = {row["case"]: row["error"] for row in rows if row["what"] == "stage"}
    assert "it put no rows" in errors["silent"]
    assert "No module named 'nothing_there'" in errors["none"]


@pytest.mark.usefixtures("_here")
def test_time_is_kept_and_what_had_none_is_named(tmp_path: Path) -> None:
    each = [
        planted("slow", SLOW, limit=1.0, alone=True),
        planted("well", WELL, need=3.0),
        planted("late", WELL, need=50.0),
    ]
    results, rows = run(tmp_path, *each, seconds=30)
    assert results == {"slow": "over its time", "well": "ok", "late": "skipped"}
    (late,) = (row for row in rows if row["case"] == "late")
    assert late["error"].startswith("it needs 50 s, and 2")
    assert {row["stage"] for row in rows if row["what"] == "correct"} == {"slow", "well"}


TWICE = """
import time
from benchmarks.gpu.rows import put
put("it", "{0}", at=str(time.monotonic()), status="ok")
time.sleep(0.6)
put("it", "{0}", at=str(time.monotonic()), status="ok")
"""


@pytest.mark.usefixtures("_here")
def test_a_stage_alone_has_no_company(tmp_path: Path) -> None:
    _, rows = run(tmp_path, *(planted(name, TWICE.format(name), alone=name == "b") for name in "aAbc"))
    spans = {
        name: [float(row["at"]) for row in rows if row["what"] == "it" and row["case"] == name]
        for name in "aAbc"
    }
    assert max(spans["a"][0], spans["A"][0]) < min(spans["a"][1], spans["A"][1])
    assert max(spans["a"][1], spans["A"][1]) < spans["b"][0]
    assert spans["b"][1] < spans["c"][0]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("program", "status"),
    [
        (["true"], "failed"),
        (["echo", "0"], "ok"),
        (["false"], "failed"),
        (["/no"], "failed"),
        (["no-"], "left out"),
    ],
)
def test_a_program_must_end_well_and_say_so(tmp_path: Path, program: list[str], status: str) -> None:
    results, _ = run(tmp_path, Stage("it", python("benchmarks.gpu.program", "it", *program), 1, 10))
    assert results == {"it": status}


def test_a_program_that_is_missing_is_told(tmp_path: Path) -> None:
    results, rows = run(tmp_path, Stage("none", [str(tmp_path / "none")], 1, 1))
    assert results == {"none": "failed"}
    assert rows[0]["error"].startswith("could not start: ")


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.jsonl"
    path.write_text('{"what": "a", "run": "0"}\n{"what": "b", "ru')
    assert [row["what"] for row in read(path)] == ["a"]
    Record(tmp_path, 2).put("stage", {"what": "c", "case": ""})
    assert [row["what"] for row in rows_of(tmp_path)] == ["a", "c"]


def needs_a_gpu(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    backends = [p for p in parameters.params.values() if isinstance(p, Backend)] if parameters else []
    return item.get_closest_marker("gpu") is not None or any(b.name in ("cuda", "triton") for b in backends)


def test_every_file_with_tests_for_a_gpu_is_run(request: pytest.FixtureRequest) -> None:
    """Of the files that are being tested now: all of them, in a run of all tests."""
    found = {item.path.stem for item in request.session.items if needs_a_gpu(item)}
    listed = {f"test_{name}" for name in (*stages.TESTED, *stages.TESTED_TRAINING)}
    assert found <= listed
    assert all((ROOT / f"tests/{name}.py").is_file() for name in listed)


def test_every_operation_is_checked_on_both_backends() -> None:
    from benchmarks.gpu.correct import OPERATIONS

    names = {stage.name for stage in stages.first(False)}
    assert {f"correct, {backend}, {name}" for backend in ("cuda", "triton") for name in OPERATIONS} <= names


def test_what_stages_need_fits_a_part() -> None:
    first = list(stages.first(False))
    for part in (first, stages.second(False, [stage.name for stage in first])):
        together = max(stage.need for stage in part if not stage.alone)
        assert together + sum(stage.need for stage in part if stage.alone) < 232
        assert all(stage.need <= stage.limit for stage in part)


@pytest.mark.usefixtures("_here")
def test_no_stage_waits_for_ever(tmp_path: Path) -> None:
    """The stages of a GPU, each doing next to nothing: all of them run, in the order that they ask for."""
    row = {"what": "correct", "case": "a", "checks": 1, "status": "ok"}
    for part, found in enumerate((list(stages.first(False)), stages.second(False, ())), 1):
        each = [
            replace(stage, command=["sh", "-c", f"echo '{json.dumps({'row': row})}' > /dev/fd/$FASTGAN_ROWS"])
            for stage in found
        ]
        results = Schedule(Record(tmp_path, part), each, 232.0).run()
        assert results == dict.fromkeys((stage.name for stage in found), "ok")
        order = list(results)
        for stage in found:
            assert all(order.index(name) < order.index(stage.name) for name in stage.after)


def test_part_2_has_what_did_not_end() -> None:
    ended = {stage.name for stage in stages.first(False)} - {"JAX"}
    left = [stage.name for stage in stages.second(False, ended)]
    assert left == ["about", "build", "tests, CUDA", "JAX", "tests, Triton"]
    assert [s.name for s in stages.second(False, {*ended, *left[2:4]})] == ["about", "build", "tests, Triton"]


def test_training_is_left_out_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> str:
        (tests,) = (stage for stage in stages.second(False, ()) if stage.name == "tests, CUDA")
        return " ".join(tests.command)

    assert "test_resume.py" in files()
    monkeypatch.setattr(stages, "PACKAGES", ("a_package_that_nobody_has",))
    assert "test_resume.py" not in files()
