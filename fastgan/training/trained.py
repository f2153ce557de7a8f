"""The generator of a run, ready to sample from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from fastgan.data.dataset import is_image
from fastgan.training.labels import in_order
from fastgan.training.latent import inputs
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
        num_classes: number of classes; 0 for a run without labels.
        class_names: their names, in order; empty if they have only numbers.
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
        self.num_classes, self.class_names = config.num_classes, config.class_names
        self.data_range = (-1.0, 1.0) if is_image(config.sample_shape) else None
        self.eval()

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples ``[N, *sample_shape]`` of latent vectors ``[N, latent_dim]`` and, of classes, labels."""
        return self.transform.inverse(self.network(*inputs(latent, labels)))

    def sample(self, count: int, seed: int = 0, classes: Sequence[int] = ()) -> Tensor:
        """``count`` samples on the CPU, determined by the seed.

        Args:
            count: number of samples.
            seed: seed of the latent vectors.
            classes: those to sample, by default all. Samples are in their order, equally many of each.

        Raises:
            ValueError: if there is no such class, or the run has no labels.
        """
        self._check(classes)
        chosen = classes or range(self.num_classes)
        labels = in_order(chosen, count) if chosen else None
        return sample(self, count, self.latent_dim, seed, self.latent, labels)

    def interpolate(self, rows: int, seed: int = 0, label: int | None = None) -> Tensor:
        """``rows`` samples from each of ``rows`` latent vectors to another, row by row, on the CPU.

        Args:
            rows: number of pairs, and of samples between the two of a pair.
            seed: seed of the latent vectors.
            label: class of all samples, by default the first one.

        Raises:
            ValueError: as for :meth:`sample`.
        """
        self._check([] if label is None else [label])
        if label is None and self.num_classes:
            label = 0
        return interpolation(self, rows, self.latent_dim, seed, self.latent, label)

    def _check(self, classes: Sequence[int]) -> None:
        for label in classes:
            if not self.num_classes:
                raise ValueError(f"class {label}: the run was trained without labels; omit it")
            if not 0 <= label < self.num_classes:
                raise ValueError(f"class {label}: unknown, expected 0 to {self.num_classes - 1}")


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
