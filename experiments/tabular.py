"""Synthetic tables of fastgan and of ctgan, after as many steps, compared with real ones, over seeds.

python -m experiments.tabular --ctgan ctgan/bin/python
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tabular import CONTENDERS
from experiments import markdown
from experiments.real_tables import NAMES, RealTable, real_table
from experiments.record import arguments, command, folder_name, run_seeds, stored_seeds, write_result
from fastgan.tabular.quality import evaluate_tables

NAME = "tabular"
_STEPS, _BATCH = 1_000, 500
_ROOT = Path(__file__).parents[1]
_FIGURES = {
    "shapes": "marginals",
    "pairs": "pairs",
    "linear": "F1, linear",
    "boosting": "F1, boosting",
    "detection": "detection, AUC",
}


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=5)
    parser.add_argument("--tables", nargs="+", choices=NAMES, default=list(NAMES), help="which to run")
    parser.add_argument("--packages", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument(
        "--ctgan",
        default=os.environ.get("FASTGAN_CTGAN"),
        help="Python of an environment with ctgan; see benchmarks/bench_tabular.py",
    )
    options = parser.parse_args()
    pythons = {"fastgan": sys.executable, "ctgan": options.ctgan}
    tables_of = {name: real_table(name) for name in options.tables}
    for seed in options.seeds:
        for name, table in tables_of.items():
            for package in options.packages:
                folder = options.out / folder_name(name) / package
                synthesize = partial(synthetic, folder, package, pythons[package], table)
                run_seeds(folder, settings(table), [seed], partial(measured, table, synthesize))
    found = {name: _stored(options.out / folder_name(name), table) for name, table in tables_of.items()}
    write_result(options.out, NAME, {"tables": found}, tables)


def settings(table: RealTable) -> dict[str, Any]:
    steps_an_epoch = max(len(table.train) // _BATCH, 1)
    return {
        "rows": len(table.train),
        "columns": len(table.train.columns),
        "test_rows": len(table.test),
        "target": table.target,
        "epochs": _STEPS // steps_an_epoch,
    }


def synthetic(folder: Path, package: str, python: str | None, table: RealTable, seed: int) -> pd.DataFrame:
    """As many rows as the table's: a file in ``folder``, which a process of the package writes."""
    epochs = settings(table)["epochs"]
    path = folder / f"seed-{seed}-{epochs}-epochs.csv"
    if not path.exists():
        if python is None:
            raise ValueError("--ctgan is not given; set it to the Python of an environment with ctgan")
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "train.csv"
        table.train.to_csv(source, index=False)
        call = [python, "-m", "benchmarks.tabular.synthesize", package, source, epochs, seed, path]
        environment = os.environ | {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([*map(str, call), *table.discrete], env=environment, check=True)
    return pd.read_csv(path, dtype=dict.fromkeys(table.discrete, str))


def measured(table: RealTable, synthesize: Any, seed: int) -> dict[str, Any]:
    """The figures of a seed; F1 is a mean over classes, on test rows."""
    kinds = {name: "category" if name in table.discrete else "continuous" for name in table.train}
    found = evaluate_tables(
        table.train, synthesize(seed), holdout=table.test, target=table.target, kinds=kinds
    )
    assert found.utility is not None
    f1 = found.utility[found.utility["figure"] == "F1"].set_index("model")
    return {
        "shapes": found.shapes,
        "pairs": found.pairs,
        "detection": found.detection.boosting,
        **f1["synthetic"].to_dict(),
        "real": f1["real"].to_dict(),
    }


def _stored(folder: Path, table: RealTable) -> dict[str, Any]:
    """What was run on a table: its settings, and the seeds of each package."""
    packages = {name: stored_seeds(folder / name, settings(table)) for name in CONTENDERS}
    return {
        **settings(table),
        "packages": {
            name: [{"seed": seed, **row} for seed, row in rows.items()]
            for name, rows in packages.items()
            if rows
        },
    }


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table for each real one, with a row for each package and one for models trained on real rows."""
    return [_table(name, found) for name, found in result["tables"].items() if found["packages"]]


def _table(name: str, found: Mapping[str, Any]) -> str:
    rows = [
        [package, str(len(seeds)), *(_cell([seed[key] for seed in seeds]) for key in _FIGURES)]
        for package, seeds in found["packages"].items()
    ]
    real = next(iter(found["packages"].values()))[0]["real"]
    rows.append(["real rows", "", *(f"{real[key]:.3f}" if key in real else "" for key in _FIGURES)])
    return markdown.table([name, "seeds", *_FIGURES.values()], rows)


def _cell(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()
