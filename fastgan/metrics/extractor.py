"""Feature extractors for metrics: modules that users give, and TorchScript files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn


class ExtractorError(ValueError):
    """A feature extractor cannot be used; the message says why."""


def load_extractor(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Load a TorchScript file, such as ``torch.jit.script(module).save(path)`` writes. No pickle is read.

    Raises:
        ExtractorError: if there is no such file, or it is not TorchScript.
    """
    path = Path(path)
    if not path.is_file():
        raise ExtractorError(f"{path}: no such file; give a TorchScript file as the extractor")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.export's files do not run everywhere
            module: nn.Module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise ExtractorError(
            f"{path}: not a TorchScript file; write one with torch.jit.script(module).save(path)"
        ) from error
    return module


@torch.no_grad()
def features_of(extractor: nn.Module, samples: Tensor) -> Tensor:
    """The features ``[N, D]`` of N samples, in evaluation mode.

    Raises:
        ExtractorError: if the extractor does not take the samples, or its output is not ``[N, D]`` of finite
            floats.
    """
    try:
        with evaluating(extractor):
            made = extractor(samples)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ExtractorError(
            f"extractor does not take samples of shape {list(samples.shape)}: {_reason(error)}"
        ) from error
    _check(made, len(samples))
    features: Tensor = made
    return features


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set a module to evaluation mode inside the context."""
    # frozen TorchScript has no modes
    modes = [(each, each.training) for each in module.modules() if hasattr(each, "training")]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _check(made: object, count: int) -> None:
    expected = f"expected a tensor of shape [{count}, D]"
    if not isinstance(made, Tensor):
        raise ExtractorError(f"extractor returns a {type(made).__name__} for {count} samples, {expected}")
    if made.ndim != 2 or len(made) != count or made.shape[1] == 0:
        shape = list(made.shape)
        raise ExtractorError(f"extractor returns features of shape {shape} for {count} samples, {expected}")
    if not made.is_floating_point():
        raise ExtractorError(f"extractor returns features of {made.dtype}, expected floats")
    if not torch.isfinite(made).all():
        raise ExtractorError("extractor returns nan or infinite features of finite samples")


def _reason(error: Exception) -> str:
    """One line of an error. TorchScript's begin with their traceback, and end with what is wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1].partition(": ")[2] or lines[-1] if "TorchScript" in lines[0] else lines[0]
