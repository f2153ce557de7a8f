"""``python -m benchmarks.report [RESULT.json ...]``: what ``pytest benchmarks --benchmark-json`` stored.

Writes docs/benchmarks.md, and a picture for each machine and suite into docs/images/benchmarks. Ratios are
medians of interleaved rounds with their quartiles, computed from the rounds that the results hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.contest import Result

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/benchmarks.md"
PICTURES = ROOT / "docs/images/benchmarks"
INTRODUCTION = """# Benchmarks

Times of fastgan, and how many times as long others take for the same: medians of interleaved rounds,
quartiles in brackets, **bold** where fastgan loses. Losses and layers are forward + backward, a step is one
of training. `make bench` measures on your machine; `python -m benchmarks.report` writes this page from
`benchmarks/results`.
"""


@dataclass(frozen=True)
class Case:
    """One test of one suite, as ``name`` of the contest says it."""

    suite: str
    name: str
    result: Result

    @property
    def others(self) -> list[str]:
        return [name for name in self.result.seconds if name != "fastgan"]

    def loses_to(self, other: str) -> bool:
        return self.result.ratio(other)[1] < 1


def read(path: Path) -> tuple[dict[str, Any], list[Case]]:
    """What is known of the machine and the commit, and the cases."""
    stored = json.loads(path.read_text())
    cases = []
    for benchmark in stored["benchmarks"]:
        seconds = benchmark["extra_info"].get("seconds", {})
        if "fastgan" in seconds:
            suite, _, case = benchmark["name"].removeprefix("test_").partition("[")
            cases.append(Case(suite, case.removesuffix("]"), Result(seconds)))
    return stored, cases


def machine(stored: dict[str, Any]) -> str:
    info = stored["machine_info"]
    cpu = info["cpu"].get("brand_raw") or info["machine"]
    return f"{cpu}, {info['threads']} cores, {info['fastgan']['instruction set']}"


def about(path: Path, stored: dict[str, Any]) -> str:
    info, commit = stored["machine_info"], stored["commit_info"]
    return (
        f"[{path.name}](../{path.relative_to(ROOT)}): torch {info['torch']}, "
        f"Python {info['python_version']}, fastgan {info['fastgan']['version']} at {commit['id'][:12]}"
        f"{' with changes' if commit['dirty'] else ''}, {stored['datetime'][:10]}."
    )


def seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def table(cases: list[Case]) -> list[str]:
    others = list(dict.fromkeys(other for case in cases for other in case.others))
    lines = [f"| size | fastgan | {' | '.join(others)} |", "|---" * (2 + len(others)) + "|"]
    for case in cases:
        cells = [case.name, seconds(case.result.median("fastgan"))]
        for other in others:
            if other not in case.result.seconds:
                cells.append("")
                continue
            low, middle, high = case.result.ratio(other)
            shown = f"{middle:.2f}"
            cells.append(f"{f'**{shown}**' if case.loses_to(other) else shown} ({low:.2f}–{high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def picture(path: Path, cases: list[Case]) -> None:
    """The ratios, a bar each."""
    others = list(dict.fromkeys(other for case in cases for other in case.others))
    figure = Figure(figsize=(8, 0.9 + 0.3 * len(cases) * len(others)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(others)
    for i, other in enumerate(others):
        served = [(y, case.result.ratio(other)) for y, case in enumerate(cases) if other in case.others]
        where = [y + (i - (len(others) - 1) / 2) * height for y, _ in served]
        spread = [[r[1] - r[0] for _, r in served], [r[2] - r[1] for _, r in served]]
        axes.barh(where, [r[1] for _, r in served], height, xerr=spread, label=other, error_kw={"lw": 0.8})
    axes.set_yticks(range(len(cases)), [case.name for case in cases])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as long as fastgan")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def losses(cases: list[Case]) -> list[str]:
    """Where fastgan loses: worst first."""
    lost = [(case, other) for case in cases for other in case.others if case.loses_to(other)]
    if not lost:
        return ["fastgan loses nowhere here."]
    lost.sort(key=lambda pair: pair[0].result.ratio(pair[1])[1])
    return [
        f"- {case.suite} {case.name}: {other} takes {case.result.ratio(other)[1]:.2f} of the time, "
        f"{seconds(statistics.median(case.result.seconds[other]))}"
        for case, other in lost
    ]


def section(title: str, files: list[tuple[Path, dict[str, Any], list[Case]]]) -> list[str]:
    lines = [f"## {title}", "", *(about(path, stored) + "  " for path, stored, _ in files), ""]
    cases = [case for _, _, found in files for case in found]
    suites: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        suites[case.suite].append(case)
    for suite, members in suites.items():
        name = f"{title.replace(', ', '-').replace(' ', '-').lower()}-{suite}.png"
        picture(PICTURES / name, members)
        lines += [f"### {suite}", "", *table(members), "", f"![{suite}](images/benchmarks/{name})", ""]
    return [*lines, "### Where fastgan loses", "", *losses(cases), ""]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="*", help="default: all in benchmarks/results")
    given: list[Path] = parser.parse_args().results
    machines: dict[str, list[tuple[Path, dict[str, Any], list[Case]]]] = defaultdict(list)
    for path in given or sorted((ROOT / "benchmarks/results").glob("*.json")):
        stored, cases = read(path.resolve())
        machines[machine(stored)].append((path.resolve(), stored, cases))
    if not machines:
        parser.error("there is no result; `pytest benchmarks --benchmark-json=FILE` stores one")
    lines = [INTRODUCTION]
    for title, files in machines.items():
        lines += section(title, files)
    DOCUMENT.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
