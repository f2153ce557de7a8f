"""Exports a trained generator for other programs: as ONNX, torch.export or safetensors."""

from __future__ import annotations

import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from fastgan.files import write_folder, write_whole
from fastgan.models import pretrained
from fastgan.training.latent import REACH, inputs
from fastgan.training.run_config import RunConfig
from fastgan.training.trained import TrainedGenerator

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ""}
METADATA = "metadata.json"
_CHECKED_BATCH = 7  # differs from the batch size of the trace
_TOLERANCE = 1e-5
_INPUTS = ["latent", "labels"]  # the second one of runs with labels


class ExportError(RuntimeError):
    """A generator cannot be exported, or the exported one computes other samples."""


def export(generator: nn.Module, config: RunConfig, path: Path, kind: str) -> None:
    """Write a generator for ``latent`` ``[N, latent_dim]`` with any N, and run it once to check the file.

    The generator of a run with labels also takes ``labels``, int64 ``[N]``.

    Its samples are in the data's own units. The other facts about the generator are in the file's metadata:
    for ONNX in ``metadata_props``, for torch.export in the extra file ``metadata.json``, for safetensors in
    ``config.json``.

    Args:
        generator: generator of a run, on the CPU.
        config: config of that run.
        path: the file; for ``"safetensors"`` a folder, new or empty.
        kind: a key of ``SUFFIXES``.

    Raises:
        ExportError: if a package is missing, or the file's samples differ from the generator's.
        WriteError: if the file cannot be written.
    """
    latent_dim = config.training.latent_dim
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(_CHECKED_BATCH, latent_dim, generator=rng, dtype=torch.float32)
    labels = torch.arange(_CHECKED_BATCH) % config.num_classes if config.num_classes else None
    arguments = inputs(latent, labels)
    trained = TrainedGenerator(generator, config)
    with torch.no_grad():
        expected = trained(*arguments)

    def write_checked(whole: Path) -> None:
        if kind == "safetensors":
            _write_folder(generator, config, whole)
        else:
            # other programs expect weights in the usual order, not channels last
            usual: Any = copy.deepcopy(generator)  # Any: some PyTorch versions have no stub for this call
            usual.to(memory_format=torch.contiguous_format)
            in_units = pretrained.converted(
                usual, config.transform.inverse_layer(), config.num_classes
            ).eval()
            _WRITE[kind](in_units, tuple(each[:2] for each in arguments), whole, metadata(trained))
        scale, offset = map(torch.tensor, (config.transform.scale, config.transform.offset))
        # relative to the offset too: float32 has fewer digits for values near 1,000 than near 0
        magnitude = (scale + offset.abs()).clamp(min=torch.finfo(torch.float32).tiny)
        error = ((_RUN[kind](whole, *arguments) - expected).abs() / magnitude).max().item()
        if not error <= _TOLERANCE:
            raise ExportError(f"{path}: the exported generator differs by {error:.1e}; report this")

    write = write_folder if kind == "safetensors" else write_whole
    write(path, write_checked)


def _write_folder(generator: nn.Module, config: RunConfig, folder: Path) -> None:
    pretrained.save(
        folder,
        generator,
        model=config.model,
        hidden=config.generator,
        transform=config.transform,
        **metadata(TrainedGenerator(generator, config)),
    )


def metadata(generator: TrainedGenerator) -> dict[str, Any]:
    """What a program must know to use the generator.

    Returns:
        Values for JSON by name: ``data``, the name of the data without their folder; ``latent_dim``;
        ``latent``, ``"normal"`` or ``"uniform"``; ``latent_range``, the bounds of uniform numbers;
        ``sample_shape``; ``data_range``, the bounds of images; ``num_classes``, 0 if the generator takes no
        labels; ``class_names``, empty if classes have only numbers. A range that does not apply is None.
    """
    return {
        "data": generator.config.title,
        "latent": generator.latent,
        "latent_range": [-REACH, REACH] if generator.latent == "uniform" else None,
        "latent_dim": generator.latent_dim,
        "sample_shape": list(generator.sample_shape),
        "data_range": generator.data_range and list(generator.data_range),
        "num_classes": generator.num_classes,
        "class_names": list(generator.class_names),
    }


def _run_folder(folder: Path, *arguments: Tensor) -> Tensor:
    with torch.no_grad():
        samples: Tensor = pretrained.load(folder)(*arguments)
        return samples


def _traced(module: nn.Module, arguments: tuple[Tensor, ...]) -> ExportedProgram:
    """The module as a program for any N, without the paths of this machine's source files."""
    sizes = ({0: Dim("N")},) * len(arguments)
    program = torch.export.export(module, arguments, dynamic_shapes=sizes)
    for graph in (each.graph for each in program.graph_module.modules() if isinstance(each, fx.GraphModule)):
        for node in graph.nodes:
            node.meta.pop("stack_trace", None)
    return program


def _write_onnx(module: nn.Module, arguments: tuple[Tensor, ...], path: Path, facts: dict[str, Any]) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _need(package)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns about every missing optional package
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's warnings about its own calls
            program = torch.onnx.export(
                _traced(module, arguments),
                input_names=_INPUTS[: len(arguments)],
                output_names=["samples"],
                dynamo=True,
                verbose=False,
            )
        assert program is not None  # because dynamo=True
        program.model.metadata_props.update({name: json.dumps(value) for name, value in facts.items()})
        program.save(path, external_data=False)
    finally:
        log.setLevel(level)


def _run_onnx(path: Path, *arguments: Tensor) -> Tensor:
    runtime = _need("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    named = {name: each.numpy() for name, each in zip(_INPUTS, arguments, strict=False)}
    return torch.from_numpy(session.run(None, named)[0])


def _write_torch(module: nn.Module, arguments: tuple[Tensor, ...], path: Path, facts: dict[str, Any]) -> None:
    program = _traced(module, arguments)
    whole = io.BytesIO()  # on a full disk, the destructor of torch's writer would end the process
    torch.export.save(program, whole, extra_files={METADATA: json.dumps(facts)})
    path.write_bytes(whole.getbuffer())


def _run_torch(path: Path, *arguments: Tensor) -> Tensor:
    with path.open("rb") as file, warnings.catch_warnings():
        # torch 2.9 warns about its own way of reading the file
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        module: Callable[..., Tensor] = torch.export.load(file).module()
    with torch.no_grad():
        return module(*arguments)


def _need(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as missing:
        raise ExportError(f"ONNX needs {missing.name}: pip install onnx onnxscript onnxruntime") from None


_WRITE = {"onnx": _write_onnx, "torch-export": _write_torch}
_RUN = {"onnx": _run_onnx, "torch-export": _run_torch, "safetensors": _run_folder}
