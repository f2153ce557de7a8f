"""What every experiment needs: its folder, seeds that run once each, and a word on what made the result."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import about
from fastgan.files import write_text

RESULT = "result.json"


def arguments(name: str, description: str | None, *, seeds: int = 1) -> argparse.ArgumentParser:
    """A parser of ``python -m experiments.NAME`` that knows ``--out`` and ``--seeds``."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=description)
    parser.add_argument("--out", type=Path, default=Path("docs/experiments") / name, help="folder of results")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(seeds)), help="which to run")
    return parser


def run_seeds(
    folder: Path, settings: Mapping[str, Any], seeds: Iterable[int], run: Callable[[int], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Run each seed that has not been run, and store its result whole before the next begins.

    An experiment that was stopped goes on where it was, and processes may share the seeds out.

    Args:
        folder: gets ``seed-N.json``, each with its settings.
        settings: of all these runs, as JSON knows them.
        seeds: which to run.
        run: from a seed to its result.

    Returns:
        The results, in the order of the seeds.

    Raises:
        ValueError: if a stored seed was run with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = json.loads(json.dumps(settings))  # tuples are lists there
    results = []
    for seed in seeds:
        path = folder / f"seed-{seed}.json"
        if not path.exists():
            write_json(path, {"settings": kept, "result": run(seed)})
            print(f"{path}: done", flush=True)
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["settings"] != kept:
            raise ValueError(f"{path}: was run with other settings; remove it, or give another --out")
        results.append(stored["result"])
    return results


def write_result(folder: Path, name: str, result: Mapping[str, Any]) -> None:
    """Write result.json: the command of the experiment, versions, commit, and the result."""
    command = shlex.join(["python", "-m", f"experiments.{name}", *sys.argv[1:]])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT, {"command": command, **about("cpu"), **result})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")
