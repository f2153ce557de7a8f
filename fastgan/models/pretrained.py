"""Trained generators in folders with Hugging Face's file names.

``model.safetensors`` has the module's state_dict; ``config.json`` names its family in ``fastgan.models``, so
that :func:`load` needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fastgan import __version__
from fastgan.data.transform import IDENTITY, Transform
from fastgan.files import save_tensors
from fastgan.models import FAMILIES

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save(
    folder: Path,
    generator: nn.Module,
    *,
    model: str,
    latent_dim: int,
    sample_shape: Sequence[int],
    hidden: Sequence[int],
    transform: Transform = IDENTITY,
    **more: object,
) -> None:
    """Write both files into an existing folder.

    Args:
        folder: the folder.
        generator: the generator to save.
        model: its family, a key of ``fastgan.models.FAMILIES``.
        latent_dim, sample_shape, hidden: the family's arguments.
        transform: from the data's units to the generator's samples.
        more: further entries of config.json.

    Raises:
        OSError: if a file cannot be written.
    """
    config = {
        "architectures": [type(generator).__name__],
        "model": model,
        "latent_dim": latent_dim,
        "sample_shape": sample_shape,
        "hidden": hidden,
        "transform": asdict(transform),
        **more,
        "fastgan_version": __version__,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in generator.state_dict().items()}
    save_tensors(state, folder / WEIGHTS, metadata={"format": "pt"})


def load(folder: str | Path) -> nn.Module:
    """The generator in a folder written by ``fastgan export --format safetensors``, on the CPU.

    Its samples are in the data's own units: if training used others, the family's module is followed by a
    layer that converts them. If config.json has a ``num_classes``, it also takes labels, int64 ``[N]``.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, or the two do not fit each other.
    """
    folder = Path(folder)
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        family = FAMILIES[config["model"]]
        num_classes = config.get("num_classes", 0)  # exports of earlier versions have none
        sizes = config["latent_dim"], tuple(config["sample_shape"]), config["hidden"]
        generator = family.generator(*sizes, **({"num_classes": num_classes} if num_classes else {}))
        generator.float().load_state_dict(load_file(folder / WEIGHTS))
        saved = config.get("transform", {})  # neither have they this
        transform = Transform(**{name: tuple(numbers) for name, numbers in saved.items()})
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder}: {CONFIG} or {WEIGHTS} is damaged ({reason}); export again") from error
    if not transform.is_identity:
        generator = converted(generator, transform.inverse_layer(), num_classes)
    return generator.eval()


def converted(generator: nn.Module, layer: nn.Module, num_classes: int) -> nn.Module:
    """A generator, which takes labels if it has classes, and a layer that converts its samples."""
    return _Converted(generator, layer) if num_classes else nn.Sequential(generator, layer)


class _Converted(nn.Module):
    def __init__(self, generator: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.generator, self.layer = generator, layer

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        samples: Tensor = self.layer(self.generator(latent, labels))
        return samples
