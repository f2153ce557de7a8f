"""Tables and picture of experiments.mode_collapse, from its results alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from experiments.remedies import REMEDIES, SAMPLES, Protocol
from fastgan.data import Dataset
from fastgan.data.dataset import is_points
from fastgan.plots.figure import GENERATED, REAL, new_figure, open_axes, save_figure
from fastgan.plots.samples import draw_images

_MEASURES = {
    "modes": ("modes", 1, ".1f", ""),
    "high_quality": ("high quality", 100, ".1f", " %"),
    "reverse_kl": ("reverse KL", 1, ".3f", ""),
}
"""By key: what a table calls it, the factor to what is printed, digits and unit."""
_POINTS, _IMAGES = 1_000, 9

Seeds = list[dict[str, Any]]
"""What ``experiments.mode_collapse.run`` returned for each."""


def summary(seeds: Seeds) -> dict[str, Any]:
    """Mean and standard error over seeds of each measure; reverse KL over those where it is defined."""
    result: dict[str, Any] = {"seeds": len(seeds)}
    for measure in filter(seeds[0].__contains__, _MEASURES):
        values = [float(seed[measure]) for seed in seeds if seed[measure] is not None]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        result[measure] = [statistics.mean(values) if values else None, error]
    return result


def table(name: str, protocol: Protocol, steps: int, by_remedy: Mapping[str, Any]) -> list[str]:
    """Markdown: the protocol, then ours and any published figures, a remedy a line."""
    measures = [measure for measure in _MEASURES if measure in by_remedy[next(iter(by_remedy))]]
    titles = ["remedy", "seeds", *(_MEASURES[measure][0] for measure in measures)]
    published = {remedy: words for (of, remedy), words in protocol.published.items() if of == name}
    if published:
        titles.append(f"published, {protocol.published_as}")
    full = protocol.steps.get(name, steps)
    length = f"{steps:,} steps" if steps == full else f"{steps:,} of its {full:,} steps"
    lines = [
        f"{name}: {protocol.words.format(length=length)}; mean ± standard error over seeds, "
        f"{SAMPLES[name]:,} samples",
        "",
        f"| {' | '.join(titles)} |",
        "|---" * len(titles) + "|",
    ]
    for remedy, row in by_remedy.items():
        cells = [
            remedy,
            str(row["seeds"]),
            *(_cell(row[measure], *_MEASURES[measure][1:]) for measure in measures),
        ]
        if published:
            cells.append(published.get(remedy, ""))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(measure: list[float | None], factor: float, digits: str, unit: str) -> str:
    mean, error = measure
    if mean is None:
        return "no sample in a mode"
    return f"{mean * factor:{digits}}" + (f" ± {error * factor:{digits}}" if error is not None else "") + unit


def stored_picture(samples: Tensor) -> list[str]:
    """What of a seed's samples ``draw`` shows, as JSON keeps it in few lines.

    A line for each coordinate of points; for each image the hexadecimal digits of its bytes.
    """
    if is_points(tuple(samples.shape[1:])):
        return [" ".join(f"{x:.4g}" for x in axis) for axis in samples[:_POINTS].t().tolist()]
    levels = (samples[:_IMAGES].clamp(-1, 1) + 1).mul(127.5).round().byte()
    return [bytes(image).hex() for image in levels.flatten(1).tolist()]


def images_of(stored: list[str], shape: tuple[int, ...]) -> Tensor:
    """The images that ``stored_picture`` kept."""
    levels = torch.tensor([list(bytes.fromhex(image)) for image in stored])
    return (levels / 127.5 - 1).reshape(-1, *shape)


def draw(path: Path, pictured: Mapping[str, tuple[Dataset, Mapping[str, Seeds]]]) -> None:
    """Samples of the first seed of each remedy; points on the modes' centres."""
    remedies = [remedy for remedy in REMEDIES if any(remedy in seeds for _, seeds in pictured.values())]
    figure = new_figure(2.6 * len(remedies), 2.9 * len(pictured))
    figure.suptitle("First seed" + ("; crosses: the modes' centres" if set(pictured) != {"stacked"} else ""))
    grid_of_axes = figure.subplots(len(pictured), len(remedies), squeeze=False)
    for row, (name, (data, by_remedy)) in zip(grid_of_axes, pictured.items(), strict=True):
        for axes, remedy in zip(row, remedies, strict=True):
            if remedy not in by_remedy:
                axes.set_axis_off()
                continue
            stored = by_remedy[remedy][0]["samples"]
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
