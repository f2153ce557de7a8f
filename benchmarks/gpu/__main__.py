"""``python -m benchmarks.gpu OUT [--part 1 | 2]``: what ``make gpu-check`` runs.

This process neither imports torch nor uses the GPU, so that no failure there ends it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu.record import NAME, Record, Row
from benchmarks.gpu.schedule import ROOT, Schedule, Stage, python
from benchmarks.gpu.stages import first, missing, second
from benchmarks.report import gpu

WRITING = 8  # seconds of a part reserved for the page and the picture


class Signals:
    """Notes the first signal: the check then stops and writes its results. Further ones have no effect."""

    def __init__(self) -> None:
        self.came = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.came = True


def run(
    out: Path, part: int, stages: Iterable[Stage], seconds: float, stop: Callable[[], bool]
) -> dict[str, str]:
    """Runs a part's stages. Writes the page of all parts after each stage, and a picture at the end."""
    record = Record(out, part)
    page = out / f"{NAME}.md"

    def write() -> None:
        """Replaces the page atomically. A failure does not end the check, as the rows are stored."""
        try:
            unfinished = page.with_name(f".{page.name}.{os.getpid()}.tmp")
            unfinished.write_text("\n".join(gpu.page(record.rows)) + "\n")
            unfinished.rename(page)
        except Exception:
            record.log("page", traceback.format_exc().splitlines())

    results = Schedule(record, list(stages), seconds - WRITING, stop, write).run()
    record.put("check", {"what": "end", "case": f"part {part}", "status": "interrupted" if stop() else "ok"})
    write()
    _draw(out)
    for name, result in results.items():
        record.tell(f"{name:36}{result}")
    return results


def _draw(out: Path) -> None:
    """Draws in another process, as matplotlib may be missing or slow."""
    command = python("benchmarks.report.gpu", str(out / f"{NAME}.jsonl"), str(out / f"{NAME}.png"))
    try:
        subprocess.run(command, cwd=ROOT, check=False, timeout=WRITING, start_new_session=True)
    except subprocess.TimeoutExpired:
        print("no picture: it took too long")


def ended(rows: Iterable[Row]) -> set[str]:
    """The stages that ran to their end in any run of the check."""
    results = {row["case"]: row["status"] for row in rows if row["what"] == "stage"}
    return {name for name, status in results.items() if status in ("ok", "failed")}


def left_of(part: Callable[[bool, set[str]], list[Stage]], quick: bool, rows: Sequence[Row]) -> list[Stage]:
    """The part's stages that have not ended, without their cases that were timed."""

    def timed(name: str) -> tuple[str, ...]:
        found = [
            row["case"] for row in rows if row["stage"] == name and row["what"] == "contest" and "us" in row
        ]
        return tuple(dict.fromkeys(found))

    return [replace(stage, done=timed(stage.name)) for stage in part(quick, ended(rows))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", type=int, choices=(1, 2), help="default: one after the other")
    parser.add_argument("--seconds", type=float, default=240.0, help="limit of a part")
    parser.add_argument("--quick", action="store_true", help="the check itself, on a CPU, at tiny sizes")
    options = parser.parse_args()
    signals = Signals()
    out: Path = options.out.resolve()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if options.quick:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    elif shutil.which("nvidia-smi") is None and not Path("/dev/nvidiactl").exists():
        parser.error("there is no NVIDIA GPU here; --quick tries the check itself on the CPU")
    else:
        os.environ.pop("TRITON_INTERPRET", None)
    results: dict[str, str] = {}
    for part in (options.part,) if options.part else (1, 2):
        if part == 1:
            stages = list(first(options.quick))
        else:
            stages = left_of(second, options.quick, gpu.read_if_there(out / f"{NAME}.jsonl"))
            if absent := missing():
                print(f"no {', '.join(absent)} here: tests of training are left out")
        results |= run(out, part, stages, options.seconds, lambda: signals.came)
    raise SystemExit(signals.came or any(result not in ("ok", "left out") for result in results.values()))


if __name__ == "__main__":
    main()
