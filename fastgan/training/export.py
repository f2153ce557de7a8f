"""A trained generator for other programs: a file of plain PyTorch operations, or its weights in a folder."""

from __future__ import annotations

import copy
import importlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from fastgan.files import write_folder, write_whole
from fastgan.models import MLPGenerator, pretrained
from fastgan.ops import mlp_reference
from fastgan.training.run import RunConfig

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ""}
_CHECKED = 7  # a batch of another size than that of the trace
_TOLERANCE = 1e-5


class ExportError(RuntimeError):
    """A generator that cannot be exported here, or whose file computes something else."""


class PlainGenerator(nn.Module):
    """An :class:`fastgan.models.MLPGenerator` through the reference operations, which any program knows."""

    def __init__(self, generator: MLPGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor) -> Tensor:
        mlp = self.generator.mlp
        layers = [layer for layer in mlp.layers if isinstance(layer, nn.Linear)]
        weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        flat = mlp_reference(latent, weights, biases, mlp.negative_slope)
        values = torch.tanh(flat) if self.generator.bounded else flat
        return values.reshape(-1, *self.generator.sample_shape)


def export(generator: nn.Module, config: RunConfig, path: Path, kind: str) -> None:
    """Write a generator that takes ``latent`` ``[N, latent_dim]`` for any N, and run what was written once.

    Args:
        generator: of a run, on the CPU.
        config: of that run.
        path: of the file; for ``"safetensors"`` of a folder, new or empty.
        kind: one of ``SUFFIXES``.

    Raises:
        ExportError: if a package is missing, or the file's samples differ from the generator's.
        WriteError: if it cannot be written.
    """
    latent_dim = config.training.latent_dim
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(_CHECKED, latent_dim, generator=rng, dtype=torch.float32)
    with torch.no_grad():
        expected = generator(latent)

    def write_checked(whole: Path) -> None:
        if kind == "safetensors":
            _write_folder(generator, config, whole)
        else:
            plain = PlainGenerator(generator) if isinstance(generator, MLPGenerator) else generator
            # other programs want weights in the usual order, not channels last
            usual = copy.deepcopy(plain).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            _WRITE[kind](usual.eval(), latent[:2], whole)
        error = (_RUN[kind](whole, latent) - expected).abs().max().item()
        if not error <= _TOLERANCE:
            raise ExportError(f"{path}: the exported generator differs by {error:.1e}; report this")

    write = write_folder if kind == "safetensors" else write_whole
    write(path, write_checked)


def _write_folder(generator: nn.Module, config: RunConfig, folder: Path) -> None:
    pretrained.save(
        folder,
        generator,
        model=config.model,
        latent_dim=config.training.latent_dim,
        sample_shape=config.sample_shape,
        hidden=config.generator,
        latent=config.training.latent,
        data=config.data,
        scale=config.scale,
    )


def _run_folder(folder: Path, latent: Tensor) -> Tensor:
    with torch.no_grad():
        samples: Tensor = pretrained.load(folder)(latent)
        return samples


def _write_onnx(module: nn.Module, latent: Tensor, path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _need(package)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of every optional package that is not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, of torch's own calls
            torch.onnx.export(
                module,
                (latent,),
                path,
                input_names=["latent"],
                output_names=["samples"],
                dynamic_shapes=({0: Dim("N")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(level)


def _run_onnx(path: Path, latent: Tensor) -> Tensor:
    runtime = _need("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"latent": latent.numpy()})[0])


def _write_torch(module: nn.Module, latent: Tensor, path: Path) -> None:
    program = torch.export.export(module, (latent,), dynamic_shapes=({0: Dim("N")},))
    whole = io.BytesIO()  # a full disk would end the process: torch's writer fails again as it is destroyed
    torch.export.save(program, whole)
    path.write_bytes(whole.getbuffer())


def _run_torch(path: Path, latent: Tensor) -> Tensor:
    with path.open("rb") as file:
        module: Callable[[Tensor], Tensor] = torch.export.load(file).module()
    with torch.no_grad():
        return module(latent)


def _need(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as missing:
        raise ExportError(f"ONNX needs {missing.name}: pip install onnx onnxscript onnxruntime") from None


_WRITE = {"onnx": _write_onnx, "torch-export": _write_torch}
_RUN = {"onnx": _run_onnx, "torch-export": _run_torch, "safetensors": _run_folder}
