"""Tables and a picture of the rows of ``make gpu-check``. Only the picture needs a package, matplotlib.

``python -m benchmarks.report.gpu FILE.jsonl PICTURE.png`` draws.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.gpu.record import Row, read
from benchmarks.report.goals import GOALS, MOST_KERNELS, STEP, Contests

NOTHING = "No GPU has measured anything yet. `make gpu-check` does it on a machine that has one."
_VERSIONS = ("torch", "triton", "jax", "numpy", "python", "driver", "nvcc")


def read_if_there(path: Path) -> list[Row]:
    return read(path) if path.exists() else []


def is_of_a_gpu(rows: Iterable[Row]) -> bool:
    """Whether all rows come from a GPU: ``--quick`` runs on a CPU."""
    of_gpus = [row["is_gpu"] for row in rows if row["what"] == "about"]
    return bool(of_gpus) and all(of_gpus)


def page(rows: Sequence[Row]) -> list[str]:
    """The page for the person who runs the check."""
    lines = ["# GPU check", ""]
    if not is_of_a_gpu(rows):
        lines += ["**On a CPU, to try the check itself: these times say nothing.**", ""]
    lines += [*about(rows), "", "## Goals", "", *goals(rows), ""]
    if failed := list(_failed(rows)):
        lines += ["## What failed, or was left out", "", *failed, ""]
    lines += ["## Numbers", "", *_numbers(rows), "", "## Times", "", *times(rows), ""]
    lines += [*_kernels(rows), "## Stages", "", *_stages(rows), ""]
    lines += ["", "![times](gpu-check.png)"]
    return lines


def section(rows: Sequence[Row], picture: str) -> list[str]:
    """The GPU's section in docs/benchmarks.md."""
    device = _device(rows)
    lines = [f"## {device}", "", *about(rows), "", "### Goals", "", *goals(rows), ""]
    lines += ["### Times on a GPU", "", f"![{device}]({picture})", "", *times(rows), "", *_kernels(rows)]
    lines += ["### Numbers on a GPU", "", *_numbers(rows), ""]
    if failed := list(_failed(rows)):
        lines += ["### What failed, or was left out", "", *failed, ""]
    return lines


def figures(rows: Sequence[Row]) -> list[str]:
    """The GPU's figures in README."""
    (last,) = [row for row in rows if row["what"] == "about"][-1:]
    known = ", ".join(f"{name} {last[name]}" for name in ("torch", "triton", "jax") if last.get(name))
    measured = f"On one {_device(rows)}, {known}, commit {str(last['commit'])[:12]}, by `make gpu-check`:"
    end = "[docs/benchmarks.md](docs/benchmarks.md) has every case that was measured."
    return [measured, "", *goals(rows), "", end]


def about(rows: Iterable[Row]) -> list[str]:
    """One line per machine and set of versions."""
    lines = []
    for row in rows:
        if row["what"] == "about":
            known = ", ".join(f"{name} {row[name]}" for name in _VERSIONS if row.get(name))
            lines.append(f"- {row['device']}: {known}; fastgan {row['fastgan']}, commit {row['commit']}")
    return list(dict.fromkeys(lines))


def goals(rows: Sequence[Row]) -> list[str]:
    contests = Contests(rows)
    lines = ["| forward + backward, if nothing else is said | wanted | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        measured, verdict = goal.found(contests)
        lines.append(f"| {goal.name} | {goal.wanted} | {measured} | {verdict} |")
    counts = [row["count"] for row in _latest(rows, "kernels") if row["case"] == STEP and "count" in row]
    measured, verdict = "not measured", ""
    if counts:
        measured, verdict = str(counts[-1]), "reached" if counts[-1] <= MOST_KERNELS else "**falls short**"
    lines.append(f"| kernels of a captured {STEP} | at most {MOST_KERNELS} | {measured} | {verdict} |")
    return lines


def times(rows: Iterable[Row]) -> list[str]:
    """A table of fastgan's time in each case, and of the others' ratios to it: medians and quartiles.

    A floor is a copy of as many bytes, or the bare products. torch.compile and JAX are timed in separate
    processes; their ratios refer to fastgan's time there.
    """
    lines = [
        "| | contender | time | times as long as fastgan | of the floor's speed |",
        "|---|---|--:|---|--:|",
    ]
    for case, members in Contests(rows).cases.items():
        floor = members.get("copy") or members.get("products")
        for name, row in members.items():
            share = f"{floor['us'] / row['us']:.0%}" if floor and floor["stage"] == row["stage"] else ""
            low, middle, high = row.get("times", (None, None, None))
            loses = name not in ("copy", "products") and not name.startswith("fastgan")
            shown = "" if middle is None else f"{middle:.2f}"
            shown = f"**{shown}**" if middle is not None and middle < 1 and loses else shown
            ratio = f"{shown} ({low:.2f}–{high:.2f})" if middle is not None and name != "fastgan" else ""
            lines.append(f"| {case} | {name} | {microseconds(row['us'])} | {ratio} | {share} |")
            case = ""
    return lines if len(lines) > 2 else ["Nothing was timed."]


def microseconds(value: float) -> str:
    return f"{value / 1000:.3g} ms" if value >= 1000 else f"{value:.3g} µs"


def _device(rows: Iterable[Row]) -> str:
    return ", ".join(dict.fromkeys(str(row["device"]) for row in rows if row["what"] == "about"))


def _latest(rows: Iterable[Row], *kinds: str) -> list[Row]:
    found = {(row["what"], row["case"], row.get("contender")): row for row in rows if row["what"] in kinds}
    return list(found.values())


def _numbers(rows: Sequence[Row]) -> list[str]:
    """A table of the checks of values."""
    lines = ["| | | |", "|---|---|---|"]
    for row in _latest(rows, "build", "backends", "correct", "captured", "program", "tests"):
        known = {
            "correct": lambda r: f"{r['checks']} checks, largest relative error {r['worst']:.1e}",
            "captured": lambda r: "the same bits" if r["same_bits"] else "other bits",
            "tests": _counts,
            "build": lambda r: f"{r.get('how', 'built')}, {r['seconds']} s",
        }
        details = known[row["what"]](row) if row["what"] in known and "error" not in row else ""
        lines.append(f"| {row['what']}: {row['case']} | {row['status']} | {details} |")
    return lines if len(lines) > 2 else ["Nothing was checked."]


def _counts(row: Row) -> str:
    counts = ", ".join(f"{row[name]} {name}" for name in ("passed", "failed", "skipped") if name in row)
    return f"{counts}, until {row['until']}"


def _failed(rows: Sequence[Row]) -> Iterator[str]:
    """One line per failure. Only the latest result of a repeated stage counts."""
    for row in _latest(rows, *{row["what"] for row in rows}):
        status = row.get("status", "ok")
        if status != "ok":
            who = f", {row['contender']}" if "contender" in row else ""
            why = " ".join(str(row.get("error", row.get("said", ""))).split())[:300].replace("|", "/")
            yield f"- {row['what']}: {row['case']}{who}: {status}{f': {why}' if why else ''}"


def _kernels(rows: Iterable[Row]) -> list[str]:
    lines = []
    for row in _latest(rows, "kernels"):
        if "count" in row:
            busy = microseconds(row["busy_us"])
            lines.append(f"- {row['case']}: {row['count']} kernels in a captured step, {busy} of the device")
            lines += [f"  - {microseconds(us)} `{name}`" for name, us in row["longest"][:8]]
    return [*lines, ""] if lines else []


def _stages(rows: Iterable[Row]) -> list[str]:
    lines = ["| stage | | s |", "|---|---|--:|"]
    return lines + [f"| {r['case']} | {r['status']} | {r['seconds']:.0f} |" for r in _latest(rows, "stage")]


def draw(rows: Iterable[Row], path: Path) -> None:
    """Draws a row of marks per case: each contender's time relative to fastgan's."""
    from matplotlib.figure import Figure

    cases = [(case, members) for case, members in Contests(rows).cases.items() if "fastgan" in members]
    figure = Figure(figsize=(10, 0.34 * len(cases) + 2), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(name for _, members in cases for name in members):
        found = [
            (members[name]["times"][1], y)
            for y, (_, members) in enumerate(cases)
            if name in members and "times" in members[name]
        ]
        axes.plot(*zip(*found, strict=True), "D" if name == "fastgan" else "o", label=name, linestyle="none")
    axes.set_yticks(range(len(cases)), [case for case, _ in cases], fontsize=7)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("times as long as fastgan")
    axes.grid(True, axis="x", which="major", color="#e6e6e6", linewidth=0.6)
    if cases:
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))
