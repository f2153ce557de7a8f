"""Goodfellow et al., 2014, on MNIST: their networks and training, and their Parzen-window log-likelihood.

python -m experiments.goodfellow2014 --epochs 250
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments import markdown
from experiments.record import PICTURE, arguments, command, data_dir, write_result
from fastgan.data import Dataset
from fastgan.data.mnist import mnist, mnist_test_images
from fastgan.metrics import ParzenWindow, parzen_window
from fastgan.plots import save_samples
from fastgan.training.config_file import CONFIG
from fastgan.training.recipes import PUBLISHED
from fastgan.training.run import load_generator
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import sample
from fastgan.training.session import Outcome, resume_run, train_run

NAME = "goodfellow2014"
PUBLISHED_NATS = "225 ± 2"
_TRAINED_ON = 50_000  # of the 60,000 training images
_VALIDATED_ON = 1_000  # of the other images, to choose the bandwidth as in the authors' code
_SAMPLES = 10_000


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=0)
    parser.add_argument("--epochs", type=int, default=250, help="of 50,000 images")
    parser.add_argument("--run", type=Path, help="folder of the run, new or existing; default: one in runs/")
    parser.add_argument("--seed", type=int, default=0)
    data_dir(parser)
    options = parser.parse_args()
    if options.epochs < 1:
        raise ValueError(f"--epochs is {options.epochs}, expected at least 1")
    data, test = mnist(options.data_dir), mnist_test_images(options.data_dir)
    name = f"{options.epochs}-epochs-seed-{options.seed}"
    folder = options.run or Path("runs") / f"{NAME}-{name}"
    outcome = train(folder, data, options.epochs, options.seed)
    if outcome.interrupted:
        print(f"{folder}: stopped at step {outcome.summary['steps']:,}; the same command goes on")
        return
    _, generator = load_generator(folder)
    config = PUBLISHED[NAME]["images"].config
    fake = sample(generator, _SAMPLES, config.latent_dim, options.seed, config.latent)
    result = {"epochs": options.epochs, "seed": options.seed, **measure(fake, data.samples, test)}
    out = options.out / name
    out.mkdir(parents=True, exist_ok=True)
    save_samples(out / PICTURE, fake[:100], f"Generated after {options.epochs} epochs")
    write_result(out, NAME, result, tables)


def train(folder: Path, data: Dataset, epochs: int, seed: int) -> Outcome:
    """Train for ``epochs``, or continue a run that was stopped."""
    recipe = PUBLISHED[NAME]["images"]
    epoch = _TRAINED_ON // recipe.config.batch_size
    config = replace(
        recipe.config, steps=epochs * epoch, seed=seed, sample_interval=10 * epoch, checkpoint_interval=epoch
    )
    first = Dataset(data.name, data.samples[:_TRAINED_ON])
    run = RunConfig.of(data.name, first, replace(recipe, config=config))
    return (resume_run if (folder / CONFIG).exists() else train_run)(folder, first, run)


def measure(fake: Tensor, train: Tensor, test: Tensor) -> dict[str, Any]:
    """Log-likelihood of test images under Gaussians around samples, and around as many training images."""
    held_out = _intensities(train[_TRAINED_ON : _TRAINED_ON + _VALIDATED_ON])
    test = _intensities(test)
    ours = parzen_window(_intensities(fake), held_out, test)
    real = parzen_window(_intensities(train[: len(fake)]), held_out, test)
    return {"generated": _row(ours), "training images": _row(real), "published": PUBLISHED_NATS}


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table of the published result, ours, and that of training images."""
    published = ["samples, published", result["published"], ""]
    ours = [f"samples, ours, seed {result['seed']}", *_cells(result["generated"])]
    real = ["training images, for comparison", *_cells(result["training images"])]
    titles = ["10,000 Gaussians about", "nats", "σ chosen"]
    return [markdown.table(titles, [published, ours, real])]


def _cells(row: Mapping[str, float]) -> list[str]:
    return [f"{row['nats']:.0f} ± {row['standard_error']:.1f}", f"{row['sigma']:.3f}"]


def _row(window: ParzenWindow) -> dict[str, float]:
    return {"nats": window.mean, "standard_error": window.standard_error, "sigma": window.sigma}


def _intensities(images: Tensor) -> Tensor:
    """Map [-1, 1] to the paper's [0, 1], as a likelihood depends on the unit."""
    return (images.flatten(1) + 1) / 2


if __name__ == "__main__":
    main()
