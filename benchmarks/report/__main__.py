"""``python -m benchmarks.report [RESULT.json ... | RESULT.jsonl ...]``: writes docs/benchmarks.md.

Draws a picture for each device and suite in docs/images/benchmarks. Ratios are medians of interleaved rounds,
with quartiles. A .jsonl comes from ``make gpu-check``. Without a .json it replaces only the figures of GPUs
in docs/benchmarks.md and README, between two comments.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gpu.record import read as read_rows
from benchmarks.report import gpu, pictures, tables
from benchmarks.report.results import Case, Run, read

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures of a GPU: begin -->", "<!-- figures of a GPU: end -->"
PICTURES = ROOT / "docs/images/benchmarks"
_STEPS = ("step", "step on busy cores", "recipe")
_LOOPS = ("loop of 100 steps", "diagnostics in the step", "row of diagnostics")
INTRODUCTION = """# Benchmarks

Times of fastgan, and how many times as long others take for the same: medians of interleaved rounds,
quartiles in brackets, **bold** where fastgan loses. `make bench` measures on your machine and writes this
page from `benchmarks/results`; every contender's results are checked against the reference first. What a
GPU measured comes from `make gpu-check`.

- *eager* is PyTorch as people write it (`BCEWithLogitsLoss` against `ones_like`); *fastgan, reference* is
  fastgan's own plain PyTorch. max-autotune is left out where there is no matrix product: on a CPU it compiles
  the same code then. torch.compile has no second derivatives, so no step with R1.
- A *step* of fastgan is one of the 100 between two rows of its trainer's log. For JAX it is one of a jitted
  step's or of a jitted scan's of 100 steps, whichever is faster. *On busy cores* each core runs
  another process too. *recipe* is a step of `fastgan train`'s recipes, its log's diagnostics included.
- *forward* keeps what backward needs. *backward* goes through graphs that were made before the clock is read.
- The *floor* is what a copy of as many bytes takes here, or the products at the best rate of a large one,
  whichever is longer. Small tensors stay in cache between the two passes, which can beat it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="*", help="default: all in benchmarks/results")
    given: list[Path] = parser.parse_args().results
    stored = given or sorted((ROOT / "benchmarks/results").glob("*.json*"))
    of_cpus = [path for path in stored if path.suffix == ".json"]
    of_gpus = [path for path in stored if path.suffix == ".jsonl"]
    if not stored:
        parser.error("there is no result; `make bench` stores one")
    for path in of_gpus:
        if not gpu.is_of_a_gpu(read_rows(path)):
            parser.error(f"{path} was not measured on a GPU; `make gpu-check` on a machine with one does")
    if of_cpus:
        write_document(of_cpus)
    write_gpus(of_gpus)


def write_document(results: Sequence[Path]) -> None:
    """Writes the page, with nothing between the comments."""
    devices: dict[str, list[Run]] = defaultdict(list)
    for path in results:
        run = read(path.resolve())
        devices[run.device].append(run)
    for stale in PICTURES.glob("*.png"):
        stale.unlink()
    lines = [INTRODUCTION, BEGIN, END, ""]
    for device, runs in devices.items():
        lines += section(device, runs)
    DOCUMENT.write_text("\n".join(lines))


def write_gpus(results: Sequence[Path]) -> None:
    """Writes the figures of all GPUs, or that there are none, between the comments of the page and README."""
    on_the_page: list[str] = []
    in_readme: list[str] = []
    for path in results:
        rows = read_rows(path)
        picture = PICTURES / f"{_slug(path.stem)}-gpu.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        gpu.draw(rows, picture)
        on_the_page += gpu.section(rows, f"images/benchmarks/{picture.name}")
        in_readme += [*gpu.figures(rows), ""]
    enclose(DOCUMENT, on_the_page or [gpu.NOTHING])
    enclose(README, in_readme or [gpu.NOTHING])


def enclose(path: Path, lines: Sequence[str]) -> None:
    before, found, rest = path.read_text().partition(BEGIN)
    _, found_too, after = rest.partition(END)
    if not found or not found_too:
        raise SystemExit(f"{path} needs the lines {BEGIN} and {END}, to have figures of a GPU between them")
    path.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]))


def section(device: str, runs: Sequence[Run]) -> list[str]:
    cases = sorted((case for run in runs for case in run.cases), key=_rank)
    suites: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        suites[case.suite].append(case)
    lines = [f"## {device}", "", *(f"- {about(run)}" for run in runs), ""]
    lines += ["### Where fastgan loses", "", *tables.losses(_whole(cases)), ""]
    for suite, members in suites.items():
        picture = PICTURES / f"{_slug(device)}-{_slug(suite)}.png"
        lines += [f"### {suite}", "", *suite_body(members, picture), ""]
    return lines


def suite_body(cases: Sequence[Case], picture: Path) -> list[str]:
    """A picture if it shows more than the table, the table, and tables of single directions."""
    first = cases[0]
    if first.memory:
        legend = ["Saved for backward, and the peak above what was there before, all scratch included.", ""]
        return [*_drawn(pictures.memory, picture, cases), *legend, *tables.memory(cases)]
    whole = _whole(cases)
    draw = pictures.curves if first.axis and first.direction != "no grad" else pictures.rows
    shown = [] if first.suite.startswith("choices") or len(whole) == 1 else _drawn(draw, picture, whole)
    lines = [*shown, *tables.times(whole)]
    for direction in dict.fromkeys(case.direction for case in cases if case not in whole):
        part = [case for case in cases if case.direction == direction]
        lines += ["", f"<details><summary>{direction}</summary>", "", *tables.times(part), "", "</details>"]
    return lines


def about(run: Run) -> str:
    info, commit, rates = run.machine_info, run.commit_info, run.rates
    known = [f"torch {info['torch']}", f"Python {info['python_version']}"]
    known += [f"JAX {info['jax']}"] if info.get("jax") else []
    changes = " with changes" if commit["dirty"] else ""
    known.append(f"fastgan {info['fastgan']['version']} at {commit['id'][:12]}{changes}")
    if rates is not None:
        largest = max(rates.copy_seconds)
        known.append(f"copies at {largest / rates.copy_seconds[largest] / 1e9:.1f} GB/s")
        known += [f"{dtype} products at {rate / 1e9:,.0f} GFLOP/s" for dtype, rate in rates.flops.items()]
    where = run.path.relative_to(ROOT) if run.path.is_relative_to(ROOT) else run.path
    return f"[{run.path.name}](../{where}), {run.date}: {', '.join(known)}."


def _rank(case: Case) -> int:
    """Sorts operations first, then steps, then calls, memory and loops, and choices last."""
    if case.axis and case.suite != "call":
        return 0
    last = (*_STEPS, "call", "memory", *_LOOPS, "streaming", "launch")
    return 1 + last.index(case.suite) if case.suite in last else 1 + len(last)


def _whole(cases: Sequence[Case]) -> list[Case]:
    """The cases that are not only one direction of another case."""
    return [case for case in cases if case.direction not in ("forward", "backward")]


def _drawn(draw: Callable[[Path, Sequence[Case]], None], picture: Path, cases: Sequence[Case]) -> list[str]:
    draw(picture, cases)
    return [f"![{cases[0].suite}](images/benchmarks/{picture.name})", ""]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    main()
