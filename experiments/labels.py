"""MNIST by class: is a sample of the class that G was asked for? A classifier of test images above 99 % says.

fastgan train mnist --labels --model dcgan --out runs/dcgan
python -m experiments.labels --run runs/dcgan
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import fastgan
from experiments import markdown
from experiments.record import PICTURE, arguments, command, data_dir, write_result
from fastgan.data import Labelled
from fastgan.data.mnist import mnist, mnist_test_images, mnist_test_labels
from fastgan.files import save_tensors
from fastgan.metrics import relative_diversity
from fastgan.plots import save_samples
from fastgan.training.checkpoint import peek
from fastgan.training.sampling import in_batches

NAME = "labels"
_CLASSES = 10
_SAMPLES_OF_A_CLASS = 1_000
_COMPARED = 500  # samples of a class
_BATCH = 128
_EPOCHS = 4
_PEAK_RATE = 3e-3
_SHIFT = 2  # pixels by which training images are moved


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=0)
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="folders of runs")
    parser.add_argument("--epochs", type=int, default=_EPOCHS, help="of the classifier's training")
    data_dir(parser)
    options = parser.parse_args()
    generators = {run: fastgan.load(run) for run in options.run}
    classifier = classifier_in(options.out, options.data_dir, options.epochs)
    test, classes = mnist_test_images(options.data_dir), mnist_test_labels(options.data_dir)
    of_class = [test[classes == number] for number in range(_CLASSES)]
    rows = []
    for run, generator in generators.items():
        samples = generator.sample(_CLASSES * _SAMPLES_OF_A_CLASS)
        rows.append(
            {
                "model": generator.config.model,
                "steps": peek(run)[0],
                "shares": shares(predicted(classifier, samples)),
                "diversity": diversity(samples, of_class),
            }
        )
    accuracy = float((predicted(classifier, test) == classes).float().mean())
    save_samples(options.out / PICTURE, generators[options.run[0]].sample(100), "A row for each class")
    write_result(options.out, NAME, {"accuracy": accuracy, "runs": rows}, tables)


def classifier_in(folder: Path, data: Path | None, epochs: int) -> nn.Module:
    """The classifier stored in a folder, or trained on the training images and stored there."""
    network, path = _network(), folder / "classifier.safetensors"
    if path.exists():
        network.load_state_dict(load_file(path))
    else:
        labelled = mnist(data).labelled
        if labelled is None:
            raise ValueError(f"{data}: holds no labels of the training images; add them")
        train(network, labelled, epochs)
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(network.state_dict(), path)
    return network.eval()


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 5, 2, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten()),
        *(nn.Dropout(0.4), nn.Linear(64 * 7 * 7, 128), nn.ReLU()),
        *(nn.Dropout(0.4), nn.Linear(128, _CLASSES)),
    )


def train(network: nn.Module, data: Labelled, epochs: int) -> None:
    """Adam, with a rate that rises and falls once; images are moved by up to ``_SHIFT`` pixels."""
    steps = epochs * len(data.images) // _BATCH
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps)
    rng = torch.Generator().manual_seed(0)
    for step in range(steps):
        rows = torch.randint(len(data.images), (_BATCH,), generator=rng)
        shifts = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=rng).tolist()
        images = data.images[rows].roll(shifts, (2, 3))  # their edges are black
        loss = F.cross_entropy(network(images), data.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            print(f"classifier, step {step + 1:,} of {steps:,}: loss {loss.item():.3f}", flush=True)


@torch.no_grad()
def predicted(classifier: nn.Module, images: Tensor) -> Tensor:
    return in_batches(classifier, images, None).argmax(1)


def shares(found: Tensor) -> list[float]:
    """The share of each class's samples that are of that class; ``found`` is ordered by class."""
    asked = torch.arange(_CLASSES)[:, None]
    return (found.view(_CLASSES, -1) == asked).double().mean(1).tolist()


def diversity(samples: Tensor, real: Sequence[Tensor]) -> float:
    """Mean distance of two samples of a class, divided by that of two real ones: the mean of the classes."""
    pairs = zip(samples.split(len(samples) // _CLASSES), real, strict=True)
    values = [relative_diversity(fake[:_COMPARED], images[:_COMPARED]) for fake, images in pairs]
    return sum(value or 0.0 for value in values) / _CLASSES


def tables(result: Mapping[str, Any]) -> list[str]:
    """The share of samples of each class, and diversity within classes, for each run."""
    titles = ["", *map(str, range(_CLASSES)), "all", "diversity within a class"]
    rows = [
        [
            f"{run['model']}, {run['steps']:,} steps",
            *(f"{share:.1%}" for share in (*run["shares"], sum(run["shares"]) / _CLASSES)),
            f"{run['diversity']:.2f}",
        ]
        for run in result["runs"]
    ]
    return [
        markdown.table(titles, rows),
        f"Accuracy of the classifier on test images: {result['accuracy']:.2%}.",
    ]


if __name__ == "__main__":
    main()
