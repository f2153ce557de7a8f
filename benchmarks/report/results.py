"""Reads stored results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Rates


@dataclass(frozen=True)
class Case:
    """One contest.

    Attributes:
        size: size in units of ``axis``; 0 if the suite has no sizes.
        floor: the least possible seconds; None if the machine's rates are unknown.
        seconds: quartiles of each contender's time per call.
        ratios: quartiles of each other contender's time relative to fastgan's, within rounds.
        memory: each contender's bytes saved for backward and at the peak; empty for a contest of times.
    """

    suite: str
    name: str
    dtype: str
    direction: str
    size: int
    axis: str
    floor: float | None
    seconds: dict[str, dict[str, float]]
    ratios: dict[str, dict[str, float]]
    memory: dict[str, dict[str, int]]
    inputs: int

    @property
    def others(self) -> list[str]:
        return list(self.ratios)

    def median(self, name: str) -> float:
        return self.seconds[name]["median"]

    def loses_to(self, other: str) -> bool:
        return self.ratios[other]["median"] < 1


@dataclass(frozen=True)
class Run:
    path: Path
    machine_info: dict[str, Any]
    commit_info: dict[str, Any]
    date: str
    cases: list[Case]

    @property
    def device(self) -> str:
        device: str = self.machine_info["device"]
        is_cpu = "core" in device
        return f"{device}, {self.machine_info['fastgan']['instruction set']}" if is_cpu else device

    @property
    def rates(self) -> Rates | None:
        return _rates(self.machine_info)


def read(path: Path) -> Run:
    stored = json.loads(path.read_text())
    rates = _rates(stored["machine_info"])
    cases = [_case(each["extra_info"], rates) for each in stored["benchmarks"]]
    return Run(path, stored["machine_info"], stored["commit_info"], stored["datetime"][:10], cases)


def _rates(machine_info: dict[str, Any]) -> Rates | None:
    found = machine_info.get("rates")
    if found is None:  # an old run without rates
        return None
    return Rates({int(size): s for size, s in found["copy seconds"].items()}, found["flops"])


def _case(what: dict[str, Any], rates: Rates | None) -> Case:
    moved, flops, dtype = what.get("bytes", 0), what.get("flops", 0), what.get("dtype", "")
    floor = rates.floor(moved, flops, dtype) if rates is not None and moved + flops else None
    return Case(
        what["suite"],
        what["case"],
        dtype,
        what.get("direction", ""),
        what.get("size", 0),
        what.get("axis", ""),
        floor,
        what.get("seconds", {}),
        what.get("ratios", {}),
        what.get("memory", {}),
        what.get("inputs", 0),
    )
