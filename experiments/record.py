"""What every experiment needs: its folder, seeds that run once each, and a word on what made the result.

Runs leave a file for each seed in runs/experiments, and there the result that ``experiments.pages`` stores.
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
"""From what a result.json holds to the tables of its page, in Markdown."""

_COMMIT = about("cpu")["commit"]  # of the code that this process has read, whatever is committed since


def arguments(name: str, description: str | None, *, seeds: int = 1) -> argparse.ArgumentParser:
    """A parser of ``python -m experiments.NAME`` that knows ``--out``, and ``--seeds`` if there are any."""
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
    """The option that MNIST's errors name."""
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("FASTGAN_DATA"), help="where MNIST lies"
    )


def command(main: Callable[[], None]) -> Callable[[], None]:
    """A main() whose bad input ends in one line on stderr and exit code 2, as fastgan's does."""

    @wraps(main)
    def ending_in_words() -> None:
        try:
            main()
        except (ValueError, OSError) as error:  # ConfigError, DataError and RunError too
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    return ending_in_words


def folder_name(words: str) -> str:
    """The name of a setting as that of a folder, which any shell and file system takes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", words.translate(_ASCII)).strip("-")


def run_seeds(
    folder: Path, settings: Mapping[str, Any], seeds: Iterable[int], run: Callable[[int], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Run each seed that has not been run, and store its result whole before the next begins.

    An experiment that was stopped goes on where it was, and processes may share the seeds out.

    Args:
        folder: gets ``seed-N.json``, each with its settings and what made it.
        settings: of all these runs, as JSON knows them.
        seeds: which to run.
        run: from a seed to its result.

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
    """The results that lie in a folder, whichever commands ran them, in the order of their seeds.

    Seeds of other settings are left out, and named on stderr.
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
    as_stored = json.loads(json.dumps(settings))  # tuples are lists there
    result: dict[str, Any] = stored["result"]
    return result if stored["settings"] == as_stored else None


def write_result(folder: Path, name: str, result: Mapping[str, Any], tables: Tables) -> None:
    """Write result.json: the command of the experiment, versions, commit, and the result; print its tables.

    They are those of the last command; what made a seed is in the seed's own file.
    """
    line = shlex.join(["python", "-m", f"experiments.{name}", *sys.argv[1:]])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT, {"command": line, **_made(), **result})
    print("\n\n".join(tables(result)))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def _made() -> dict[str, object]:
    return {**about("cpu"), "commit": _COMMIT}
