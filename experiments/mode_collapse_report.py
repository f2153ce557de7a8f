"""Tables and picture of experiments.mode_collapse, from its stored results."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from torch import Tensor

from experiments import markdown
from experiments.remedies import PROTOCOLS, REMEDIES, SAMPLES
from experiments.thumbnails import images_of
from fastgan.data import Dataset
from fastgan.plots.figure import GENERATED, REAL, new_figure, open_axes, save_figure
from fastgan.plots.samples import draw_images

_MEASURES = {
    "modes": ("modes", 1, ".1f", ""),
    "high_quality": ("high quality", 100, ".1f", " %"),
    "reverse_kl": ("reverse KL", 1, ".3f", ""),
}
"""By key: title in the table, factor, format and unit."""

Seed = Mapping[str, Any]
"""The result of ``experiments.mode_collapse.run`` for one seed."""


def measures(seeds: Mapping[int, Seed]) -> list[dict[str, Any]]:
    """Each seed's result without samples and counts, for result.json."""
    return [
        {"seed": seed} | {name: found for name, found in result.items() if name not in ("samples", "counts")}
        for seed, result in seeds.items()
    ]


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table per data set, with a row per remedy: our figures and any published ones."""
    return [_table(name, result["protocol"], **found) for name, found in result["results"].items()]


def _table(name: str, protocol_name: str, steps: int, remedies: Mapping[str, Sequence[Seed]]) -> str:
    protocol = PROTOCOLS[protocol_name]
    full = protocol.steps.get(name, steps)
    length = f"{steps:,} steps" if steps == full else f"{steps:,} of its {full:,} steps"
    caption = (
        f"{name}: {protocol.words.format(length=length)}; mean ± standard error over seeds, "
        f"{SAMPLES[name]:,} samples"
    )
    measured = [measure for measure in _MEASURES if measure in next(iter(remedies.values()))[0]]
    titles = ["remedy", "seeds", *(_MEASURES[measure][0] for measure in measured)]
    rows = [
        [remedy, str(len(seeds)), *(cell(seeds, measure) for measure in measured)]
        for remedy, seeds in remedies.items()
    ]
    published = {remedy: words for (of, remedy), words in protocol.published.items() if of == name}
    if published:
        titles.append(f"published, {protocol.published_as}")
        rows = [[*row, published.get(row[0], "")] for row in rows]
    return f"{caption}\n\n{markdown.table(titles, rows)}"


def cell(seeds: Sequence[Seed], measure: str) -> str:
    """Mean and standard error over the seeds for which the measure is defined."""
    _, factor, digits, unit = _MEASURES[measure]
    values = [factor * seed[measure] for seed in seeds if seed[measure] is not None]
    if not values:
        return "no sample in a mode"
    error = f" ± {statistics.stdev(values) / len(values) ** 0.5:{digits}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{digits}}{error}{unit}"


def draw(path: Path, pictured: Mapping[str, tuple[Dataset, Mapping[str, Seed]]]) -> None:
    """Draw samples of the first seed of each remedy; for points also the modes' centres."""
    remedies = [remedy for remedy in REMEDIES if any(remedy in seeds for _, seeds in pictured.values())]
    figure = new_figure(2.6 * len(remedies), 2.9 * len(pictured))
    figure.suptitle("First seed" + ("; crosses: the modes' centres" if set(pictured) != {"stacked"} else ""))
    grid_of_axes = figure.subplots(len(pictured), len(remedies), squeeze=False)
    for row, (name, (data, by_remedy)) in zip(grid_of_axes, pictured.items(), strict=True):
        for axes, remedy in zip(row, remedies, strict=True):
            if remedy not in by_remedy:
                axes.set_axis_off()
                continue
            stored = by_remedy[remedy]["samples"]
            if data.modes is None:
                draw_images(axes, images_of(stored, data.shape), f"{name}, {remedy}")
            else:
                _draw_points(axes, stored, data.modes.centers, f"{name}, {remedy}")
            axes.title.set_fontsize(9)
    save_figure(figure, path)


def _draw_points(axes: Axes, stored: list[str], centers: Tensor, title: str) -> None:
    reach = 1.3 * float(centers.abs().max())
    x, y = centers.t().numpy()
    axes.scatter(x, y, marker="+", s=40, linewidths=0.8, color=REAL)
    x, y = ([float(number) for number in axis.split()] for axis in stored)
    axes.scatter(x, y, s=4, alpha=0.4, color=GENERATED, linewidths=0)
    axes.set(title=title, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    open_axes(axes)
