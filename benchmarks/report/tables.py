"""Tables in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.report.results import Case


def seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def mebibytes(value: int) -> str:
    return f"{value / 2**20:.1f}"


def names_of(groups: Iterable[Iterable[str]]) -> list[str]:
    """The distinct names in order of appearance."""
    return list(dict.fromkeys(name for group in groups for name in group))


def times(cases: Sequence[Case]) -> list[str]:
    """A table: fastgan's median, its share of the floor, and the others' ratios with quartiles."""
    others = names_of(case.others for case in cases)
    has_dtypes, has_floor = len({case.dtype for case in cases}) > 1, any(case.floor for case in cases)
    head = ["", *(["dtype"] if has_dtypes else []), "fastgan"]
    head += [*(["of the floor"] if has_floor else []), *others]
    lines = [_row(head), "|---" * len(head) + "|"]
    for case in cases:
        ours = case.median("fastgan")
        cells = [case.name, *([case.dtype] if has_dtypes else []), seconds(ours)]
        cells += [f"{case.floor / ours:.0%}" if case.floor else ""] if has_floor else []
        lines.append(_row([*cells, *(_ratio(case, other) for other in others)]))
    return lines


def _ratio(case: Case, other: str) -> str:
    if other not in case.ratios:
        return ""
    ratio = case.ratios[other]
    shown = f"{ratio['median']:.2f}"
    return f"{f'**{shown}**' if case.loses_to(other) else shown} ({ratio['q1']:.2f}–{ratio['q3']:.2f})"


def memory(cases: Sequence[Case]) -> list[str]:
    names = names_of(case.memory for case in cases)
    lines = [_row(["MiB", "inputs", *names]), "|---" * (2 + len(names)) + "|"]
    for case in cases:
        cells = []
        for name in names:
            found = case.memory.get(name, {})
            cells.append(", ".join(mebibytes(found[kind]) for kind in ("saved", "peak") if kind in found))
        lines.append(_row([case.name, mebibytes(case.inputs), *cells]))
    return lines


def losses(cases: Sequence[Case]) -> list[str]:
    """One line per suite and contender where fastgan loses, the worst first."""
    found: dict[tuple[str, str, str], list[Case]] = defaultdict(list)
    for case in cases:
        for other in case.others:
            found[case.suite, case.direction, other].append(case)
    lines = []
    for (suite, direction, other), members in found.items():
        lost = [case for case in members if case.loses_to(other)]
        if lost:
            worst = min(lost, key=lambda case: case.ratios[other]["median"])
            ratio = worst.ratios[other]["median"]
            where = suite + (f", {direction}" if direction else "")
            lines.append(
                (
                    ratio,
                    f"- {where}: {other} is faster in {len(lost)} of {len(members)}; at worst it takes "
                    f"{ratio:.2f} of the time ({worst.name}{f', {worst.dtype}' if worst.dtype else ''})",
                )
            )
    return [line for _, line in sorted(lines)] or ["fastgan loses nowhere here."]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
