"""``python -m benchmarks.gpu OUT``: losses, head and layers on a GPU, each backend against PyTorch.

Some cases of the suite, forward + backward alone, with what a machine has that trains on a GPU and has no
pytest-benchmark. Writes gpu.json, gpu.md and, where matplotlib is, gpu.png into OUT.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.contest import QUICK, Effort, contest
from benchmarks.gpu_options import parse
from benchmarks.machine import DEVICE, about, rates
from benchmarks.operations import table
from benchmarks.operations.contenders import contenders, samples_of
from benchmarks.operations.operation import Case, Direction

EFFORT = Effort(rounds=30, least=7, seconds=1.0)
SIZES = table.GPU._replace(  # four minutes of it
    loss_powers=(7, 20, 26),
    heads=((65536, 1024),),
    biases=((65536, 1024), (256, 256, 64, 64)),
    linears=((128, 784, 256), (8192, 4096, 4096)),
    mlps=((256, (784, 256, 256, 1)),),
)
Row = dict[str, Any]


def measure(case: Case, effort: Effort) -> Row:
    made = contenders(case, DEVICE, tuned=False)
    result = contest(samples_of(made, Direction.BOTH), effort)
    work = case.work(Direction.BOTH)
    return {
        "case": f"{case.operation.name}, {case.label}",
        "dtype": case.dtype,
        "floor": rates(DEVICE).floor(work.bytes, work.flops, case.dtype),
        "medians": {name: result.median(name) for name in result.seconds},
        "rounds": result.seconds,
    }


def write(out: Path, rows: list[Row], told: dict[str, object]) -> str:
    (out / "gpu.json").write_text(json.dumps({"about": told, "rows": rows}, indent=1))
    names = list(dict.fromkeys(name for row in rows for name in row["medians"]))
    lines = ["| forward + backward | dtype | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for row in rows:
        cells = [
            f"{s * 1e6:.1f} us ({row['floor'] / s:.0%})" if (s := row["medians"].get(name)) else ""
            for name in names
        ]
        lines.append(f"| {row['case']} | {row['dtype']} | {' | '.join(cells)} |")
    head = [f"- {key}: {value}" for key, value in told.items()]
    head += [
        "",
        "In brackets: share of the floor, a copy of as many bytes or products at the matrix rate.",
    ]
    (out / "gpu.md").write_text("\n".join([*head, "", *lines, ""]))
    _plot(out / "gpu.png", rows, [name for name in names if name.startswith(("fastgan", "torch.compile"))])
    return "\n".join(lines)


def _plot(path: Path, rows: list[Row], names: list[str]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(9, 0.4 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names):
        served = [(y, row["medians"]) for y, row in enumerate(rows) if name in row["medians"]]
        where = [y + 0.8 / len(names) * i for y, _ in served]
        axes.barh(where, [m["eager"] / m[name] for _, m in served], 0.8 / len(names), label=name)
    axes.set_yticks(range(len(rows)), [f"{row['case']}, {row['dtype']}" for row in rows])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("times as fast as eager PyTorch, forward + backward")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    out, quick = parse("gpu", __doc__)
    told = about(DEVICE)
    effort, sizes = (QUICK, table.QUICK) if quick else (EFFORT, SIZES)
    rows = [measure(case, effort) for case in table.cases(sizes)]
    print(write(out, rows, told))


if __name__ == "__main__":
    main()
