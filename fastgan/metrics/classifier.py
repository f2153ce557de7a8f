"""A small classifier of labelled images, for metrics on features and counts of modes.

It trains in seconds. Values measured with it can be compared with each other, but not with published ones,
which use the features of other networks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.data import DataError, Labelled
from fastgan.data.dataset import reading
from fastgan.files import naming, save_tensors, write_whole

FEATURES = 64
_STEPS = 1_000
_BATCH = 128
_LEARNING_RATE = 3e-3
_HELD_OUT = 6  # one image in six is held out
_AT_ONCE = 1_000


class Classifier(nn.Module):
    """Two strided convolutions and two linear layers.

    Args:
        shape: ``(C, H, W)`` of an image.
        classes: number of classes.

    Attributes:
        accuracy: share of held-out images that are classified correctly, a scalar.
    """

    accuracy: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.shape, self.classes = shape, classes
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(32 * -(-height // 4) * -(-width // 4), FEATURES),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Linear(FEATURES, classes)
        self.register_buffer("accuracy", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, classes]`` of images ``[N, *shape]``."""
        logits: Tensor = self.head(self.body(images))
        return logits

    @torch.no_grad()
    def features(self, samples: Tensor) -> Tensor:
        """Features ``[N, S * FEATURES]`` of samples with S images stacked as channels."""
        features = torch.cat([self.body(part) for part in self._single(samples).split(_AT_ONCE)])
        return features.reshape(len(samples), -1)

    @torch.no_grad()
    def modes(self, samples: Tensor) -> Tensor:
        """int64 ``[N]``: the class or, for stacked images, the number whose digits are the S classes."""
        classes = torch.cat([self(part).argmax(dim=1) for part in self._single(samples).split(_AT_ONCE)])
        return _spelled(classes.view(len(samples), -1), self.classes)

    def _single(self, samples: Tensor) -> Tensor:
        return samples.reshape(-1, *self.shape)


class Features(nn.Module):
    """A classifier's features, as the output of a module."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, samples: Tensor) -> Tensor:
        """:meth:`Classifier.features`."""
        return self.classifier.features(samples)


def mode_shares(labels: Tensor, classes: int, stacked: int) -> Tensor:
    """Probability of each mode if ``stacked`` images are drawn independently and stacked.

    Returns:
        float64 ``[classes ** stacked]``, in the order of :meth:`Classifier.modes`; its sum is 1.
    """
    single = torch.bincount(labels, minlength=classes).double() / len(labels)
    shares = torch.ones(1, dtype=torch.float64)
    for _ in range(stacked):
        shares = torch.outer(shares, single).flatten()
    return shares


def classifier_of(data: Labelled, folder: Path | None = None) -> Classifier:
    """A trained classifier, read from the folder or trained and written there.

    Args:
        data: images for the training.
        folder: folder of ``classifier-NAME.safetensors``; None to train without a file.

    Raises:
        DataError: if the file is damaged, or its classifier has other image sizes or classes.
        WriteError: if the file cannot be written.
    """
    if folder is None:
        return train_classifier(data)
    path = folder / file_of(data)
    if path.exists():
        return _load(path, _untrained(data, seed=0))
    classifier = train_classifier(data)
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda whole: save_tensors(classifier.state_dict(), whole))
    return classifier


def file_of(data: Labelled) -> str:
    """The name of the file in which :func:`classifier_of` keeps a classifier."""
    return f"classifier-{data.name}.safetensors"


def train_classifier(data: Labelled, seed: int = 0) -> Classifier:
    """Train on five sixths of the images, and measure the accuracy on the rest.

    The result depends only on the seed, on the same machine with the same number of threads.
    """
    rng = torch.Generator().manual_seed(seed)
    classifier = _untrained(data, seed)
    order = torch.randperm(len(data.images), generator=rng)
    held_out, rows = order.tensor_split([len(order) // _HELD_OUT])
    optimizer = torch.optim.Adam(classifier.parameters(), lr=_LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, _STEPS)
    with torch.enable_grad():
        for _ in range(_STEPS):
            batch = rows[torch.randint(len(rows), (_BATCH,), generator=rng)]
            loss = F.cross_entropy(classifier(data.images[batch]), data.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
    right = classifier.modes(data.images[held_out]) == data.labels[held_out]
    classifier.accuracy.copy_(right.float().mean())
    return classifier.requires_grad_(False).eval()


def _untrained(data: Labelled, seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):  # a run's random state must not change, also when it is resumed
        torch.manual_seed(seed)
        classifier = Classifier(tuple(data.images.shape[1:]), int(data.labels.max()) + 1)
    return classifier.float()  # the dtype of images


def _load(path: Path, classifier: Classifier) -> Classifier:
    try:
        with reading(path):
            weights = load_file(path)
        classifier.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{path}: not a classifier of these images; remove it to train a new one") from error
    return classifier.requires_grad_(False).eval()


def _spelled(digits: Tensor, base: int) -> Tensor:
    """The numbers ``[N]`` with the digits ``[N, S]``, the most significant first."""
    number = torch.zeros_like(digits[:, 0])
    for digit in digits.unbind(dim=1):
        number = number * base + digit
    return number
