"""Pictures of time and share of the floor: curves over the size, or one row per case."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.report.results import Case
from benchmarks.report.tables import names_of, seconds

_STYLES = {
    "fastgan": ("#c1121f", "-"),
    "fastgan, triton": ("#c1121f", ":"),
    "fastgan, 10 steps a graph": ("#c1121f", ":"),
    "fastgan, reference": ("#e08a8a", "--"),
    "eager": ("#1d3557", "-"),
    "eager, softplus": ("#1d3557", ":"),
    "eager in a CUDA graph": ("#1d3557", "--"),
    "torch.compile": ("#2a7f3f", "-"),
    "torch.compile, max-autotune": ("#2a7f3f", ":"),
    "JAX jit": ("#8a5fbf", "-"),
    "JAX jit, scan of 10": ("#8a5fbf", ":"),
}
_LEADER = {"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)}
_LABEL_GAP = 0.052  # share of an axis's height


def curves(path: Path, cases: Sequence[Case]) -> None:
    """Draws a row of panels per dtype: time, and share of the floor if known."""
    dtypes = list(dict.fromkeys(case.dtype for case in cases))
    with_floor = any(case.floor for case in cases)
    columns = 2 if with_floor else 1
    figure = Figure(figsize=(5.9 * columns, 3.6 * len(dtypes)), layout="constrained")
    grid = figure.subplots(len(dtypes), columns, squeeze=False)
    for row, dtype in zip(grid, dtypes, strict=True):
        members = sorted((case for case in cases if case.dtype == dtype), key=lambda case: case.size)
        _time_panel(row[0], members)
        row[0].set_title(f"time, {members[0].direction}, {dtype}", loc="left", fontsize=10)
        if with_floor:
            _share_panel(row[1], members)
            row[1].set_title("share of the floor", loc="left", fontsize=10)
        for axes in row:
            axes.set_xlabel(members[0].axis)
    _save(figure, path)


def rows(path: Path, cases: Sequence[Case]) -> None:
    """Draws a row of marks per case: time, and share of the floor if known."""
    with_floor = any(case.floor for case in cases)
    panels: list[tuple[str, Callable[[Case, str], float]]] = [("time", lambda c, n: c.median(n))]
    if with_floor:
        panels.append(("share of the floor", _share))
    figure, grid = _row_panels(cases, [title for title, _ in panels])
    names = names_of(case.seconds for case in cases)
    for axes, (_, value) in zip(grid, panels, strict=True):
        for name in names:
            marks = [(y, value(case, name)) for y, case in enumerate(cases) if name in case.seconds]
            _marks(axes, name, marks, names)
    _ticks(grid[0].xaxis, seconds)
    if with_floor:
        _ticks(grid[1].xaxis, _percent)
    _legend(figure, grid[0])
    _save(figure, path)


def memory(path: Path, cases: Sequence[Case]) -> None:
    figure, grid = _row_panels(cases, ["saved for backward, MiB", "peak above what was there, MiB"])
    names = names_of(case.memory for case in cases)
    for axes, kind in zip(grid, ("saved", "peak"), strict=True):
        for name in names:
            found = [(y, case.memory.get(name, {}).get(kind)) for y, case in enumerate(cases)]
            _marks(axes, name, [(y, size / 2**20) for y, size in found if size is not None], names)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=-0.2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    _legend(figure, grid[1])
    _save(figure, path)


def _share(case: Case, name: str) -> float:
    return (case.floor or math.nan) / case.median(name)


def _time_panel(axes: Axes, cases: Sequence[Case]) -> None:
    ends = _lines(axes, cases, lambda case, name: case.median(name))
    if any(case.floor for case in cases):
        floors = [(case.size, case.floor) for case in cases if case.floor]
        axes.plot(*zip(*floors, strict=True), color="black", linewidth=0.8, linestyle=(0, (1, 2)))
        ends["floor"] = floors[-1][1]
    axes.set_yscale("log")
    _ticks(axes.yaxis, seconds)
    _label_ends(axes, cases[-1].size, ends)


def _share_panel(axes: Axes, cases: Sequence[Case]) -> None:
    ends = _lines(axes, cases, _share)
    axes.set_yscale("log")
    axes.axhline(1, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
    _ticks(axes.yaxis, _percent)
    _label_ends(axes, cases[-1].size, ends)


def _lines(axes: Axes, cases: Sequence[Case], value: Callable[[Case, str], float]) -> dict[str, float]:
    """Draws a line per contender. Returns each line's last value."""
    ends = {}
    axes.set_xscale("log")
    for name in names_of(case.seconds for case in cases):
        points = [(case.size, value(case, name)) for case in cases if name in case.seconds]
        color, style = _style(name)
        axes.plot(
            *zip(*points, strict=True),
            color=color,
            linestyle=style,
            linewidth=2.2 if name == "fastgan" else 1.2,
            marker="o",
            markersize=4 if name == "fastgan" else 2.5,
            zorder=3 if name == "fastgan" else 2,
        )
        ends[name] = points[-1][1]
    axes.grid(True, which="major", color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _ticks(axes.xaxis, _count)
    return ends


def _label_ends(axes: Axes, x: float, ends: dict[str, float]) -> None:
    """Writes each line's name at its end, moved up or down so that names do not overlap."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    axes.set_ylim(*axes.get_ylim())
    wanted = sorted(((math.log(y) - low) / (high - low), name) for name, y in ends.items())
    at = [where for where, _ in wanted]
    for _ in range(200):  # moves neighbours apart that are too close
        for i in range(len(at) - 1):
            push = (_LABEL_GAP - (at[i + 1] - at[i])) / 2
            if push > 1e-4:
                at[i], at[i + 1] = at[i] - push, at[i + 1] + push
    for (where, name), shown in zip(wanted, at, strict=True):
        color = "black" if name == "floor" else _style(name)[0]
        axes.annotate(
            name,
            xy=(x, math.exp(low + where * (high - low))),
            xytext=(1.045, shown),
            textcoords="axes fraction",
            fontsize=8,
            fontweight="bold" if name == "fastgan" else "normal",
            color=color,
            verticalalignment="center",
            arrowprops=_LEADER | {"color": color},
            annotation_clip=False,
        )


def _row_panels(cases: Sequence[Case], titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(2.6 + 4 * len(titles), 1.5 + 0.42 * len(cases)), layout="constrained")
    grid = list(figure.subplots(1, len(titles), sharey=True, squeeze=False)[0])
    for axes, title in zip(grid, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xscale("log")
        axes.grid(True, which="major", color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(cases)), [case.name for case in cases])
    grid[0].set_ylim(len(cases) - 0.5, -0.5)
    return figure, grid


def _marks(axes: Axes, name: str, points: Sequence[tuple[int, float]], names: Sequence[str]) -> None:
    """Draws each contender slightly lower than the previous one, so that equal values stay visible."""
    color, style = _style(name)
    lower = 0.07 * (names.index(name) - (len(names) - 1) / 2)
    axes.plot(
        [x for _, x in points],
        [y + lower for y, _ in points],
        linestyle="none",
        marker="D" if name == "fastgan" else "o",
        markersize=7 if name == "fastgan" else 5.5,
        markerfacecolor=color if style == "-" else "white",
        markeredgecolor=color,
        zorder=3 if name == "fastgan" else 2,
        label=name,
    )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _style(name: str) -> tuple[str, str]:
    return _STYLES.get(name, ("#7a7a7a", "-"))


def _ticks(axis: Axis, shown: Callable[[float], str]) -> None:
    """Ticks on a log scale: powers of ten, and 2 and 5 times them if too few are in view."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(10, (1,) if high / low > 1000 else (1, 2, 5), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axis.set_minor_locator(NullLocator())


def _percent(value: float) -> str:
    return f"{100 * value:g} %"


def _count(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
