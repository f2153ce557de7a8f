"""Checkpoints: everything the next step depends on, as safetensors and JSON, without pickle.

A checkpoint is two files of a folder: ``checkpoint-STEP.safetensors`` holds the tensors, and
``checkpoint.json`` names that file with its SHA-256. The JSON is renamed into place last, so that
a crash at any moment leaves the previous checkpoint whole.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fastgan.files import WriteError, cannot_write, write_text, write_whole
from fastgan.training.config import is_whole
from fastgan.training.state import DivergenceError, TrainingState

INDEX = "checkpoint.json"
_FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written; the message names the file and the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        path: the file with the tensors.
        step: how many steps it has behind it.
        tensors: by name, on the CPU.
    """

    path: Path
    step: int
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``name`` and a dot, without that prefix."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)
        }

    def load_module(self, name: str, module: nn.Module) -> None:
        """Load one of ``generator``, ``discriminator`` and ``average``.

        Raises:
            CheckpointError: if it is a checkpoint of another network.
        """
        try:
            module.load_state_dict(self.part(name))
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.path}: holds another {name}; config.yaml and checkpoint do not belong together; "
                "restore both"
            ) from error


def save(folder: Path, state: TrainingState) -> Path:
    """Write a checkpoint into a folder and remove the one before it.

    Returns:
        The file with the tensors.

    Raises:
        CheckpointError: if it cannot be written; the checkpoint before it is kept.
        DivergenceError: if a network holds nan or infinities; nothing is written then.
    """
    tensors = _tensors(state)
    _check_finite(tensors, state.step)
    path = folder / f"checkpoint-{state.step:08d}.safetensors"
    try:
        write_whole(path, lambda temporary: save_file(tensors, temporary))
        index = {"format": _FORMAT, "step": state.step, "tensors": path.name, "sha256": _sha256(path)}
        write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")
    except WriteError as error:
        raise CheckpointError(str(error)) from error
    except SafetensorError as error:  # a full disk, which safetensors does not report as an OSError
        raise CheckpointError(cannot_write(path, error)) from error
    for old in folder.glob("checkpoint-*.safetensors"):
        if old != path:
            old.unlink()
    return path


def read(folder: Path) -> Checkpoint:
    """Read the checkpoint of a folder.

    Raises:
        CheckpointError: if there is none, or a byte of it has changed.
    """
    index = _read_index(folder / INDEX)
    path = folder / index["tensors"]
    if not path.is_file():
        raise CheckpointError(f"{path}: missing, though {INDEX} names it; restore or retrain")
    if _sha256(path) != index["sha256"]:
        raise CheckpointError(f"{path}: corrupted, its SHA-256 differs; restore or retrain")
    try:
        return Checkpoint(path, index["step"], load_file(path))
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file; restore or retrain") from error


def restore(checkpoint: Checkpoint, state: TrainingState) -> None:
    """Bring a state with the same networks and settings to where the checkpoint was taken.

    Raises:
        CheckpointError: if it is a checkpoint of other networks.
    """
    checkpoint.load_module("generator", state.generator)
    checkpoint.load_module("discriminator", state.discriminator)
    checkpoint.load_module("average", state.average)
    _load_optimizer(state.generator_optimizer, checkpoint.part("generator_optimizer"))
    _load_optimizer(state.discriminator_optimizer, checkpoint.part("discriminator_optimizer"))
    state.rng.set_state(checkpoint.tensors["random.state"])
    torch.set_rng_state(checkpoint.tensors["random.cpu"])
    if state.device.type == "cuda":
        torch.cuda.set_rng_state(checkpoint.tensors["random.cuda"], state.device)
    state.step = checkpoint.step


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    parts = {
        "generator": state.generator.state_dict(),
        "discriminator": state.discriminator.state_dict(),
        "average": state.average.state_dict(),
        "generator_optimizer": _optimizer_tensors(state.generator_optimizer),
        "discriminator_optimizer": _optimizer_tensors(state.discriminator_optimizer),
        "random": _random_states(state),
    }
    return {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }


def _random_states(state: TrainingState) -> dict[str, Tensor]:
    # the global streams too: a user's network may hold dropout
    states = {"state": state.rng.get_state(), "cpu": torch.get_rng_state()}
    if state.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(state.device)
    return states


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts, named ``INDEX.KEY``; settings come from the config."""
    per_parameter: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": tensor for index, entry in per_parameter.items() for key, tensor in entry.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    per_parameter: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        per_parameter.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": per_parameter})


def _check_finite(tensors: dict[str, Tensor], step: int) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise DivergenceError(f"training diverged: {name} is nan or infinite at step {step}")


def _read_index(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent}: holds no {INDEX}; give the folder of a run")
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = index["format"] == _FORMAT
        valid = not known or _is_valid(index)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: corrupted; restore or retrain") from error
    if not valid:
        raise CheckpointError(f"{path}: corrupted; restore or retrain")
    if not known:
        raise CheckpointError(f"{path}: written by another version of fastgan; use that one")
    return index


def _is_valid(index: dict[str, Any]) -> bool:
    step, name, digest = index["step"], index["tensors"], index["sha256"]
    return (
        is_whole(step)
        and step >= 0
        and isinstance(digest, str)
        and isinstance(name, str)
        and name == Path(name).name  # a file of this folder, and no other
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
