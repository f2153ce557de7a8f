"""The classifier that images are compared by: what it learns, keeps and counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from fastgan.data import DataError, Dataset, Labelled, load
from fastgan.data.stacked import stack
from fastgan.metrics import classifier as module
from fastgan.metrics.classifier import FEATURES, Classifier, classifier_of, mode_shares, train_classifier
from fastgan.metrics.suite import compare


@pytest.fixture(scope="module")
def digits() -> Labelled:
    labelled = load("digits").labelled
    assert labelled is not None
    return labelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


@pytest.fixture(scope="module")
def classifier(digits: Labelled, folder: Path) -> Classifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STEPS", 500)  # enough to tell these digits
        return classifier_of(digits, folder)


def test_it_tells_digits_that_it_was_not_trained_on(classifier: Classifier) -> None:
    assert 0.94 < classifier.accuracy < 1


def test_the_folder_keeps_it(
    classifier: Classifier, digits: Labelled, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [path.name for path in folder.iterdir()] == ["classifier-digits.safetensors"]
    monkeypatch.setattr(module, "train_classifier", None)
    kept = classifier_of(digits, folder)
    assert kept.accuracy == classifier.accuracy
    assert torch.equal(kept.features(digits.images), classifier.features(digits.images))


def test_another_or_a_damaged_one_is_refused(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    larger = Labelled("digits", torch.zeros(20, 1, 28, 28), torch.arange(20) % 10)
    with pytest.raises(DataError, match=r"classifier-digits\.safetensors: not a classifier of these images"):
        classifier_of(larger, folder)
    (tmp_path / "classifier-digits.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="remove it to train a new one"):
        classifier_of(larger, tmp_path)


def test_the_seed_decides(digits: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEPS", 5)
    before = torch.get_rng_state()
    one, same, other = (train_classifier(digits, seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_modes_of_stacked_digits(classifier: Classifier, digits: Labelled) -> None:
    first = [int((digits.labels == digit).nonzero()[0]) for digit in range(10)]
    ten = digits.images[first]
    assert classifier.modes(ten).tolist() == list(range(10))
    stacked = torch.cat([ten[[4, 0, 9]], ten[[0, 0, 7]]], dim=1).view(3, 2, 8, 8)
    one_by_one = stacked.reshape(6, 1, 8, 8)
    numbers = classifier.modes(one_by_one).view(3, 2) @ torch.tensor([10, 1])
    assert classifier.modes(stacked).tolist() == numbers.tolist()
    features = classifier.features(stacked)
    assert features.shape == (3, 2 * FEATURES)
    torch.testing.assert_close(features.view(6, FEATURES), classifier.features(one_by_one))


def test_shares_of_stacked_modes() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    assert mode_shares(labels, 2, 1).tolist() == [0.75, 0.25]
    assert mode_shares(labels, 2, 3)[0b010] == pytest.approx(0.75 * 0.25 * 0.75)
    assert mode_shares(labels, 2, 3).sum() == pytest.approx(1)


def test_data_against_themselves(classifier: Classifier, folder: Path) -> None:
    data = load("digits")
    found = compare(data, data.samples, 0, folder)
    assert found["modes covered"] == found["modes"] == 10
    assert found["reverse KL"] == pytest.approx(0, abs=1e-3)  # but for what the classifier gets wrong
    assert found["Fréchet distance"] == pytest.approx(0, abs=1e-6)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    # in another order: rounding takes a few samples in that lie on a ball's edge
    assert found["density"] == pytest.approx(1, abs=2e-3)


def test_stacked_digits_against_one_of_them(classifier: Classifier, digits: Labelled, folder: Path) -> None:
    data = stack(digits)
    found = compare(data, data.samples[:3_000], 0, folder)
    assert found["modes"] == 1_000
    assert found["modes covered"] == pytest.approx(1_000 * (1 - (1 - 1e-3) ** 3_000), rel=0.02)
    # the mean of K - 1 over 2N, and something for modes that few samples fall on
    assert found["reverse KL"] == pytest.approx(999 / 6_000, rel=0.15)
    collapsed = compare(data, data.samples[:1].expand(500, -1, -1, -1), 0, folder)
    assert collapsed["modes covered"] == 1
    number = int(classifier.modes(data.samples[:1]))
    share = mode_shares(digits.labels, 10, 3)[number]
    assert collapsed["reverse KL"] == pytest.approx(-float(share.log()))
    assert (collapsed["recall"], collapsed["coverage"]) == pytest.approx((0, 0), abs=0.02)
    assert collapsed["Fréchet distance"] > 100 * found["Fréchet distance"]


def test_points_and_other_images() -> None:
    ring = load("ring")
    found = compare(ring, ring.samples[:2_000], 0)
    assert (found["modes covered"], found["modes"]) == (8, 8)
    assert found["reverse KL"] < 0.01
    assert found["high quality"] == pytest.approx(0.989, abs=0.01)
    assert min(found[name] for name in ("precision", "recall", "coverage")) > 0.95
    assert compare(Dataset("photos", torch.zeros(9, 3, 4, 4)), torch.zeros(9, 3, 4, 4), 0) == {}


def test_samples_of_another_shape_than_the_data() -> None:
    for shape in ((10, 1, 28, 28), (1, 1, 8, 8), (10,)):
        said = f"fake has shape {list(shape)}, expected [N, 1, 8, 8] as in digits, with N at least 2"
        with pytest.raises(ValueError, match=re.escape(said)):
            compare(load("digits"), torch.zeros(shape), 0)
