"""The file with mean and covariance of the real data's features, so that a resumed run has them at once."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from fastgan.files import save_tensors, write_whole
from fastgan.metrics.moments import Moments
from fastgan.training.run_config import RunConfig

REAL_FEATURES = "real-features.safetensors"


@dataclass(frozen=True)
class Kept:
    """Where the moments of the real features are kept.

    Attributes:
        path: the file.
        key: identifies extractor and data.
    """

    path: Path
    key: str

    def read(self) -> Moments | None:
        """The moments; None if there are none of this extractor and these data."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("key") != self.key:
                    return None
                count, mean, covariance = (file.get_tensor(name) for name in ("count", "mean", "covariance"))
        except (SafetensorError, OSError) as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"{self.path}: damaged ({reason}); computed again", RuntimeWarning, stacklevel=2)
            return None
        return Moments(int(count), mean, covariance)

    def write(self, moments: Moments) -> None:
        """Write the moments, completely or not at all."""
        tensors = {
            "count": torch.tensor(moments.count),
            "mean": moments.mean.cpu(),
            "covariance": moments.covariance.cpu(),
        }
        write_whole(self.path, lambda whole: save_tensors(tensors, whole, {"key": self.key}))


def kept_in(folder: Path, config: RunConfig, extractor: Path) -> Kept:
    """The file of a run's folder.

    Args:
        folder: folder of the run.
        config: config of the run, with the size and digest of its data.
        extractor: file of the extractor.
    """
    about = {
        "data": config.digest or config.data,  # data without a digest are built in, those with one may move
        "samples": config.samples,
        "shape": config.sample_shape,
        "transform": asdict(config.transform),
        "framing": asdict(config.framing),
        "stream": bool(config.stream),  # random crops are read as they come, or taken from the center
        "extractor": hashlib.sha256(extractor.read_bytes()).hexdigest(),
    }
    return Kept(folder / REAL_FEATURES, hashlib.sha256(json.dumps(about).encode()).hexdigest())
