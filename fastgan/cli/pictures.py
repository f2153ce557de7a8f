"""``fastgan sample``, ``interpolate`` and ``plot objectives``."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from fastgan.cli.on_tables import is_table, refuse, tables
from fastgan.cli.terminal import Best, console, fail
from fastgan.data.augmentation import to_bytes
from fastgan.files import save_array, write_whole
from fastgan.plots import save_objectives, save_samples
from fastgan.training.labels import picture_count
from fastgan.training.trained import TrainedGenerator, load

_PICTURES = (".png", ".pdf", ".svg", ".jpg")
_NAMED = 5  # classes that a message names


def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "--rows",
            min=1,
            help="Number of samples, else 64, or whole rows of each class; of a table's rows, else 1,000.",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Class to draw, by name or number, or several: cat,5; else all. Runs with --labels only.",
        ),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--condition", help="Value that all rows have: sex=female. Runs on tables only."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="png or npy; by default the suffix of --out.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Picture or .npy to write, by default samples.png or samples.npy; for a table .csv, .tsv or "
            ".parquet, by default samples.csv."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the latent vectors.")] = 0,
    best: Best = False,
) -> None:
    """Draw samples from a trained generator.

    Writes a picture or, if the name ends in .npy, an array in the data's own units: points are float32
    [N, D], images uint8 [N, H, W, C]. Samples of several classes are in their order, equally many of each.
    Rows of a table are written in parts, so that they need not fit in memory.
    """
    if is_table(run):
        refuse(f"{run}: was trained on a table", class_=classes, format=format, best=best or None)
        tables().sample(run, count or 1_000, out or Path("samples.csv"), conditions or [], seed)
        return
    refuse(f"{run}: was not trained on a table", condition=conditions)
    generator = load(run, best=best)
    if format not in (None, "png", "npy"):
        fail(f"--format {format}: unknown, expected png or npy")
    out = out or Path(f"samples.{format or 'png'}")
    if format and out.suffix.lower() != f".{format}":
        fail(f"--out {out} does not end in .{format}, as --format says; omit one of them")
    is_array = out.suffix.lower() == ".npy"
    if not is_array:
        check_picture(out, ", or .npy")
    chosen = _classes(generator, classes or [])
    count = count or picture_count(chosen)
    samples = generator.sample(count, seed, chosen)
    if is_array:
        array = to_bytes(samples).movedim(1, 3) if generator.data_range else samples
        write_whole(out, lambda path: save_array(array.numpy(), path))
    else:
        save_samples(out, samples, f"{generator.config.title}, {count:,} samples")
    console.print(f"{count} samples of {run} are in {out}", soft_wrap=True)


def interpolate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("interpolation.png"),
    rows: Annotated[
        int, typer.Option(min=2, max=32, help="Number of pairs, and of samples between the two of a pair.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the latent vectors.")] = 0,
    label: Annotated[
        str | None,
        typer.Option(
            "--class", help="Class to draw, by name or number; by default 0. Runs with --labels only."
        ),
    ] = None,
    best: Best = False,
) -> None:
    """Draw interpolations between pairs of samples, a row for each pair."""
    check_picture(out)
    generator = load(run, best=best)
    chosen = None if label is None else _class(generator, label)
    samples = generator.interpolate(rows, seed, chosen)
    save_samples(out, samples, f"{generator.config.title}, {rows} interpolations")
    console.print(f"{rows} interpolations of {run} are in {out}", soft_wrap=True)


def objectives(
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("objectives.png"),
) -> None:
    """Plot the generator's two losses and their gradients against D(G(z)) and its logit."""
    check_picture(out)
    save_objectives(out)
    console.print(f"the generator's objectives are in {out}", soft_wrap=True)


def _classes(generator: TrainedGenerator, given: list[str]) -> list[int]:
    """The classes of ``--class``, by default all. Commas separate several, unless they are part of a name."""
    names = generator.class_names
    wanted = [part for each in given for part in ([each] if each in names else each.split(","))]
    return [_class(generator, each) for each in wanted] or list(range(generator.num_classes))


def _class(generator: TrainedGenerator, wanted: str) -> int:
    """The class of this name or, if there is none, of this number: names may be numbers too."""
    names, count = generator.class_names, generator.num_classes
    if not count:
        fail(f"--class {wanted}: the run was trained without labels; omit it, or train with --labels")
    if wanted in names:
        return names.index(wanted)
    if wanted not in map(str, range(count)):
        closest = "".join(f"{name}, " for name in get_close_matches(wanted, names, _NAMED, cutoff=0))
        fail(f"--class {wanted}: unknown, expected {closest}{'or ' if names else ''}0 to {count - 1}")
    return int(wanted)


def check_picture(out: Path, more: str = "") -> None:
    if out.suffix.lower() not in _PICTURES:
        fail(f"{out}: unknown kind of picture; end the name in {', '.join(_PICTURES)}{more}")
