"""Metrics of a trained run."""

from __future__ import annotations

from pathlib import Path

import torch

from fastgan.data import Dataset
from fastgan.metrics import relative_diversity
from fastgan.metrics.suite import compare
from fastgan.training.config import ConfigError
from fastgan.training.config_file import RunError
from fastgan.training.distributed import World
from fastgan.training.objectives import OBJECTIVES
from fastgan.training.run import check_data, read_checkpoint
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import in_batches, sample
from fastgan.training.state import packed

_PAIRS = 2_000


@torch.no_grad()
def evaluate(
    folder: Path,
    config: RunConfig,
    data: Dataset,
    count: int,
    seed: int,
    classifiers: Path | None = None,
    *,
    best: bool = False,
) -> dict[str, float]:
    """Compare samples of the averaged generator with as many real ones.

    Args:
        folder: folder of the run.
        config: config of the run, on the CPU.
        data: data of the run.
        count: number of samples.
        seed: seed of latent vectors and of the choice of real samples.
        classifiers: folder in which to keep the classifiers for images; None to keep none.
        best: whether to evaluate the checkpoint with the lowest FID instead of the latest one.

    Returns:
        Values by name. First those of the objective; for "bce": the value function V(D, G) = E log D(x) +
        E log(1 - D(G(z))) (Goodfellow et al., 2014, equation 1; -log 4 if D cannot tell the samples apart),
        mean D(x) and D(G(z)), and the share of saturated logits. Then ``diversity``, the mean distance
        between two samples divided by that between two real ones (near 0 after a collapse; absent if all
        real samples are equal), and the values of :func:`fastgan.metrics.suite.compare`. In a run with labels
        the generated samples have those of the real ones.

    Raises:
        ConfigError: if there are fewer samples than D sees at once.
        RunError: if the run has no checkpoint, its generator makes samples that are not finite, or the data
            are not those of the run.
        CheckpointError: if the checkpoint is damaged.
    """
    check_data(folder, config, data)
    data = data.under(config.transform)
    training = config.training
    saved = read_checkpoint(folder, best=best)
    generator, discriminator = config.build_generator().eval(), config.build_discriminator().eval()
    saved.load_module("average", generator)
    saved.load_module("discriminator", discriminator)
    rows = torch.randint(len(data.samples), (count,), generator=torch.Generator().manual_seed(seed))
    labels = data.labels[rows] if config.num_classes and data.labels is not None else None
    fake = sample(generator, count, training.latent_dim, seed, training.latent, labels)
    if not torch.isfinite(fake).all():
        raise RunError(f"{folder}: its generator makes nan or infinite samples; try a lower learning rate")
    real = data.seen(rows)
    objective = OBJECTIVES[training.objective](training, torch.device("cpu"), World())
    if count < training.pack:
        raise ConfigError(f"count is {count}, expected at least {training.pack}: D sees that many at once")
    whole = count - count % training.pack
    shown = [packed(samples[:whole], training.pack) for samples in (real, fake)]
    diversity = relative_diversity(fake[:_PAIRS], real[:_PAIRS])
    return {
        "step": float(saved.step),
        **objective.evaluate(lambda samples: in_batches(discriminator, samples, labels), *shown),
        **({} if diversity is None else {"diversity": diversity}),
        **compare(data, fake, seed, classifiers, labels),
    }
