"""The generator of a run, ready to sample from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from fastgan.data.dataset import is_image
from fastgan.training.run import load_generator
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import interpolation, sample


class TrainedGenerator(nn.Module):
    """From latent vectors to samples in the data's own units: points, or images in [-1, 1].

    Args:
        network: the run's generator, with averaged weights, in evaluation mode.
        config: config of the run.

    Attributes:
        network: generates samples in the units of training.
        config: config of the run, with all settings.
        latent_dim: size of a latent vector.
        latent: distribution of its numbers: ``"normal"``, or ``"uniform"`` between -√3 and √3.
        sample_shape: ``(D,)`` for points, ``(C, H, W)`` for images.
        transform: from the data's units to those of training (:class:`fastgan.data.Transform`).
        data_range: smallest and largest value of images, ``(-1.0, 1.0)``; None for points.

    Example:
        >>> G = fastgan.load("runs/ring-1")
        >>> points = G.sample(16, seed=0)
    """

    def __init__(self, network: nn.Module, config: RunConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.latent_dim, self.latent = config.training.latent_dim, config.training.latent
        self.sample_shape, self.transform = config.sample_shape, config.transform
        self.data_range = (-1.0, 1.0) if is_image(config.sample_shape) else None
        self.eval()

    def forward(self, latent: Tensor) -> Tensor:
        """Samples ``[N, *sample_shape]`` of latent vectors ``[N, latent_dim]``."""
        return self.transform.inverse(self.network(latent))

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """``count`` samples on the CPU, determined by the seed."""
        return sample(self, count, self.latent_dim, seed, self.latent)

    def interpolate(self, rows: int, seed: int = 0) -> Tensor:
        """``rows`` samples from each of ``rows`` latent vectors to another, row by row, on the CPU."""
        return interpolation(self, rows, self.latent_dim, seed, self.latent)


def load(run: str | Path, *, best: bool = False) -> TrainedGenerator:
    """The generator of a run's folder, with the averaged weights of its last checkpoint, on the CPU.

    Args:
        run: the folder that ``fastgan train`` made.
        best: whether to read the checkpoint with the lowest FID instead of the last one.

    Raises:
        RunError: if the folder is not that of a run, or it has no checkpoint.
        CheckpointError: if its checkpoint is damaged.
    """
    config, network = load_generator(Path(run), best=best)
    return TrainedGenerator(network, config)
