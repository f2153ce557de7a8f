"""``fastgan export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan.cli.terminal import Best, console, fail
from fastgan.training.export import SUFFIXES
from fastgan.training.export import export as export_generator
from fastgan.training.run import load_generator


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    format: Annotated[str, typer.Option(help="onnx, torch-export or safetensors.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="File or, for safetensors, folder to write; by default generator.onnx or similar."),
    ] = None,
    best: Best = False,
) -> None:
    """Write the generator for other programs, and check it by running it.

    onnx and torch-export give a file that does not need fastgan, safetensors a folder for
    fastgan.models.pretrained.load.
    """
    if format not in SUFFIXES:
        fail(f"--format {format}: unknown, expected {' or '.join(SUFFIXES)}")
    config, generator = load_generator(run, best=best)
    path = out or Path(f"generator{SUFFIXES[format]}")
    export_generator(generator, config, path, format)
    latent_dim = config.training.latent_dim
    also = " and labels [N]" if config.num_classes else ""
    console.print(f"{path}: from latent [N, {latent_dim}]{also} to samples, checked", soft_wrap=True)
