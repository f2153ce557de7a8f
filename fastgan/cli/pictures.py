"""``fastgan sample``, ``interpolate`` and ``plot objectives``: what ends in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan.cli.terminal import console, fail
from fastgan.plots import save_objectives, save_samples
from fastgan.training.run import load_generator
from fastgan.training.sampling import interpolation
from fastgan.training.sampling import sample as draw_samples

_PICTURES = (".png", ".pdf", ".svg", ".jpg")


def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[int, typer.Option(min=1, help="How many samples.")] = 64,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("samples.png"),
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the noise.")] = 0,
) -> None:
    """Draw samples from a trained generator."""
    _check_picture(out)
    config, generator = load_generator(run)
    training = config.training
    samples = draw_samples(generator, count, training.latent_dim, seed, training.latent)
    save_samples(out, samples, config.scale, f"{config.title}, {count:,} samples")
    console.print(f"{count} samples of {run} are in {out}", soft_wrap=True)


def interpolate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=2, max=32, help="Pairs, and samples from one to the other.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the noise.")] = 0,
) -> None:
    """Draw what lies between samples, a row a pair."""
    _check_picture(out)
    config, generator = load_generator(run)
    training = config.training
    samples = interpolation(generator, rows, training.latent_dim, seed, training.latent)
    save_samples(out, samples, config.scale, f"{config.title}, {rows} interpolations")
    console.print(f"{rows} interpolations of {run} are in {out}", soft_wrap=True)


def objectives(
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("objectives.png"),
) -> None:
    """Draw the generator's two losses and their gradients, against D(G(z)) and its logit."""
    _check_picture(out)
    save_objectives(out)
    console.print(f"the generator's objectives are in {out}", soft_wrap=True)


def _check_picture(out: Path) -> None:
    if out.suffix.lower() not in _PICTURES:
        fail(f"{out}: unknown kind of picture; end the name in {', '.join(_PICTURES)}")
