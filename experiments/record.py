"""Shared by all experiments: options, seeds that run once each, and results with command and versions.

Runs write a file per seed and a result to runs/experiments. ``experiments.pages`` copies the result to docs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.machine import about
from fastgan.files import write_text

RUNS = Path("runs/experiments")
RESULT, PICTURE = "result.json", "picture.png"
_ASCII = str.maketrans({"β": "beta", "γ": "gamma", "λ": "lambda", "₁": "1"})
Tables = Callable[[Mapping[str, Any]], list[str]]
"""Makes the tables of a page, in Markdown, from the content of result.json."""

_COMMIT = about("cpu")["commit"]  # read at import, as later commits are not the code of this process


def arguments(name: str, description: str | None, *, seeds: int = 1) -> argparse.ArgumentParser:
    """A parser for ``python -m experiments.NAME`` with ``--out`` and, unless seeds is 0, ``--seeds``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=RUNS / name, help="folder of the runs")
    if seeds:
        parser.add_argument("--seeds", type=int, nargs="+", default=list(range(seeds)), help="which to run")
    return parser


def data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that the errors of loading MNIST name."""
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("FASTGAN_DATA"), help="folder of MNIST"
    )


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates main() to end with one line on stderr and exit code 2 for bad input, as fastgan's does."""

    @wraps(main)
    def run() -> None:
        try:
            main()
        except (ValueError, OSError) as error:  # ConfigError, DataError and RunError too
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    return run


def folder_name(words: str) -> str:
    """The name of a setting as a folder name that is safe for shells and file systems."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", words.translate(_ASCII)).strip("-")


def run_seeds(
    folder: Path, settings: Mapping[str, Any], seeds: Iterable[int], run: Callable[[int], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Run each seed without a stored result, and store its result before the next one starts.

    A stopped experiment continues where it was. Several processes may run different seeds.

    Args:
        folder: receives ``seed-N.json`` files with settings, result, versions and commit.
        settings: settings of all these runs, as values that JSON supports.
        seeds: which to run.
        run: returns the result of a seed.

    Returns:
        The results, in the order of the seeds.

    Raises:
        ValueError: if a stored seed was run with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in seeds:
        path = folder / f"seed-{seed}.json"
        if not path.exists():
            result = run(seed)
            write_json(path, {**_made(), "settings": settings, "result": result})
            print(f"{path}: done", flush=True)
        stored = _read(path, settings)
        if stored is None:
            raise ValueError(f"{path}: was run with other settings; remove it, or give another --out")
        results.append(stored)
    return results


def stored_seeds(folder: Path, settings: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """All results in a folder, sorted by seed.

    Seeds with other settings are left out and named on stderr.
    """
    paths = {int(path.stem.removeprefix("seed-")): path for path in folder.glob("seed-*.json")}
    found = {seed: _read(paths[seed], settings) for seed in sorted(paths)}
    others = [str(seed) for seed, result in found.items() if result is None]
    if others:
        print(
            f"{folder}: left out of the summary, as run with other settings: seeds {', '.join(others)}",
            file=sys.stderr,
        )
    return {seed: result for seed, result in found.items() if result is not None}


def _read(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """A seed's result, or None if it was run with other settings."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    as_stored = json.loads(json.dumps(settings))  # tuples become lists
    result: dict[str, Any] = stored["result"]
    return result if stored["settings"] == as_stored else None


def write_result(folder: Path, name: str, result: Mapping[str, Any], tables: Tables) -> None:
    """Write result.json with command, versions, commit and result, and print the result's tables.

    Command, versions and commit are those of the last command; each seed's file has its own.
    """
    line = shlex.join(["python", "-m", f"experiments.{name}", *sys.argv[1:]])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT, {"command": line, **_made(), **result})
    print("\n\n".join(tables(result)))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def _made() -> dict[str, object]:
    return {**about("cpu"), "commit": _COMMIT}
