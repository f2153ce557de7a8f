"""Checkpoints: everything the next step depends on, as safetensors and JSON, without pickle.

``checkpoint-STEP.safetensors`` holds the tensors. ``checkpoint.json`` lists these files, the latest last,
with their SHA-256 and the settings of the run, and has the best one by FID. The JSON is renamed into place
last, so that a crash at any moment leaves the previous checkpoint intact.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fastgan.files import WriteError, remove_leftovers, save_tensors, write_text, write_whole
from fastgan.training.fid import Best
from fastgan.training.setting import is_real, is_whole
from fastgan.training.state import DivergenceError, TrainingState

INDEX = "checkpoint.json"
_FORMAT = 2
_OURS = re.compile(r"checkpoint-\d{8,}\.safetensors")  # other names are copies made by users


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written; the message names the file and the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        path: the file with the tensors.
        step: number of steps done.
        settings: the run's settings, as read from JSON.
        tensors: tensors by name, on the CPU.
    """

    path: Path
    step: int
    settings: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``name`` and a dot, without that prefix."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)
        }

    def load_module(self, name: str, module: nn.Module) -> None:
        """Load ``"generator"``, ``"discriminator"`` or ``"average"`` into a module.

        Raises:
            CheckpointError: if the checkpoint is of another network.
        """
        try:
            module.load_state_dict(self.part(name))
        except RuntimeError as error:
            raise _another(self.path, name) from error


def save(folder: Path, state: TrainingState, best: Best | None = None) -> Path:
    """Write a checkpoint into a folder, and remove all but the last ``config.keep`` and the best one.

    Args:
        folder: the folder.
        state: the state to write.
        best: its FID, if it is the best so far; None to leave the best one as it is.

    Returns:
        The file with the tensors.

    Raises:
        CheckpointError: if it cannot be written; earlier checkpoints are kept.
        DivergenceError: if a network has nan or infinite values; nothing is written then.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in state.tensors().items()}
    _check_finite(tensors, state)
    tensors = _apart(tensors)
    tensors |= {f"random.{name}": t for name, t in state.random_states().items()}
    path = folder / f"checkpoint-{state.step:08d}.safetensors"
    older, before = _earlier(folder, state.step)
    try:
        write_whole(path, lambda whole: save_tensors(tensors, whole))
        entry = {"step": state.step, "tensors": path.name, "sha256": _sha256(path)}
        kept = [*older, entry][-state.config.keep :]
        index: dict[str, Any] = {"format": _FORMAT, "checkpoints": kept, "settings": asdict(state.config)}
        if best is not None:
            index["best"] = {**entry, "fid": best.fid, "kind": best.kind}
        elif before is not None:
            index["best"] = {**before, **entry} if before["step"] == state.step else before
        write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")
    except WriteError as error:
        raise CheckpointError(str(error)) from error
    names = {entry["tensors"] for entry in [*kept, index.get("best", entry)]}
    for file in folder.glob("checkpoint-*.safetensors"):
        if _OURS.fullmatch(file.name) and file.name not in names:
            file.unlink()
    remove_leftovers(folder, "checkpoint*")
    return path


def peek(folder: Path) -> tuple[int, dict[str, Any]]:
    """Step and settings of a folder's latest checkpoint that still exists, without its tensors.

    Raises:
        CheckpointError: if there is none.
    """
    index, there = _find(folder)
    return there[-1]["step"], index["settings"]


def best_of(folder: Path) -> Best | None:
    """Step and FID of a folder's best checkpoint; None if there is none.

    Raises:
        CheckpointError: if the index is damaged.
    """
    entry = _read_index(folder / INDEX).get("best")
    if entry is None or not (folder / entry["tensors"]).is_file():
        return None
    return Best(entry["step"], entry["fid"], entry["kind"])


def read(folder: Path, *, best: bool = False) -> Checkpoint:
    """Read a folder's latest checkpoint that still exists, or its best one.

    Raises:
        CheckpointError: if there is none, or it has been altered.
    """
    if best:
        index, entry = _find_best(folder)
        remedy = "use the latest one, or retrain"
    else:
        index, there = _find(folder)
        entry = there[-1]
        before = there[:-1]
        remedy = f"remove it to continue from step {before[-1]['step']}" if before else "restore or retrain"
    path = folder / entry["tensors"]
    if _sha256(path) != entry["sha256"]:
        raise CheckpointError(f"{path}: corrupted, its SHA-256 differs; {remedy}")
    try:
        return Checkpoint(path, entry["step"], index["settings"], load_file(path))
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file; {remedy}") from error


@torch.no_grad()
def restore(checkpoint: Checkpoint, state: TrainingState) -> None:
    """Restore a state of the same networks and settings from a checkpoint.

    Raises:
        CheckpointError: if the checkpoint is of other networks; nothing is changed then.
    """
    live = state.tensors()
    for name, tensor in live.items():
        saved = checkpoint.tensors.get(name)
        if saved is None or saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            raise _another(checkpoint.path, name.partition(".")[0])
    strangers = {name for name in checkpoint.tensors if not name.startswith("random.")} - set(live)
    if strangers:
        raise _another(checkpoint.path, min(strangers).partition(".")[0])
    for name, tensor in live.items():  # in place: captured steps and Adam refer to these tensors
        tensor.copy_(checkpoint.tensors[name])
    state.hold()
    state.set_random_states(checkpoint.part("random"))
    if state.world.rank:  # torch's state in the checkpoint is rank 0's; other ranks need other dropout
        torch.manual_seed(state.config.seed + state.world.rank + state.world.size * checkpoint.step)
    state.step = checkpoint.step


def _another(path: Path, part: str) -> CheckpointError:
    return CheckpointError(f"{path}: its {part} is not that of config.yaml; restore both files")


def _find(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The index, and its entries whose files exist."""
    index = _read_index(folder / INDEX)
    there = [entry for entry in index["checkpoints"] if (folder / entry["tensors"]).is_file()]
    if not there:
        missing = folder / index["checkpoints"][-1]["tensors"]
        raise CheckpointError(f"{missing}: missing, though {INDEX} names it; restore or retrain")
    return index, there


def _find_best(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The index, and its entry of the best checkpoint, whose file exists."""
    index = _read_index(folder / INDEX)
    entry = index.get("best")
    if entry is None:
        raise CheckpointError(
            f"{folder}: has no best checkpoint, as FID was not measured; train with --metrics-interval"
        )
    if not (folder / entry["tensors"]).is_file():
        raise CheckpointError(f"{folder / entry['tensors']}: missing; use the latest checkpoint, or retrain")
    return index, entry


def _earlier(folder: Path, step: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """A folder's checkpoints before the given step, and the best one up to it, if that still exists."""
    if not (folder / INDEX).exists():
        return [], None
    index = _read_index(folder / INDEX)
    best = index.get("best")
    if best is not None and not (best["step"] <= step and (folder / best["tensors"]).is_file()):
        best = None
    return [entry for entry in index["checkpoints"] if entry["step"] < step], best


def _check_finite(tensors: dict[str, Tensor], state: TrainingState) -> None:
    """Raise on nan, and on infinities except in buffers and frozen parameters, which may be masks."""
    players = {"generator": state.generator, "average": state.generator, "discriminator": state.discriminator}
    trained = {
        f"{part}.{name}"
        for part, player in players.items()
        for name, p in player.named_parameters(remove_duplicate=False)
        if p.requires_grad
    }
    for name, tensor in tensors.items():
        is_trained = name in trained or name.partition(".")[0] not in players
        if not torch.isfinite(tensor).all() if is_trained else torch.isnan(tensor).any():
            raise DivergenceError(f"training diverged: {name} is nan or infinite at step {state.step}")


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies the tensors that share memory with others: safetensors refuses tied weights."""
    apart, end = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda entry: entry[1].data_ptr()):
        begin = tensor.data_ptr()
        apart[name] = tensor.clone() if begin < end else tensor
        end = max(end, begin + tensor.nbytes)
    return apart


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
    entries, best = index["checkpoints"], index.get("best")
    return (
        isinstance(index["settings"], dict)
        and bool(entries)
        and all(map(_is_entry, entries))
        and (best is None or (_is_entry(best) and is_real(best["fid"]) and isinstance(best["kind"], str)))
    )


def _is_entry(entry: dict[str, Any]) -> bool:
    step, name, digest = entry["step"], entry["tensors"], entry["sha256"]
    return (
        is_whole(step)
        and step >= 0
        and isinstance(digest, str)
        and isinstance(name, str)
        and name == Path(name).name  # a file of this folder
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
