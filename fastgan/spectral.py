"""Spectral norms of a network's layers, computed together: the power iterations of all weights in one call.

A pre-hook of the network computes every weight, and each layer takes its own when it first reads it. Where
that would not be the same, a layer computes its weight by itself, as PyTorch does: in compiled, traced or
checkpointed parts, in transforms of torch.func, for a second use, and for a weight that has changed since.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm as Parametrization
from torch.nn.utils.spectral_norm import SpectralNorm as Hook

from fastgan.applying import saving_hooks, version_of
from fastgan.kernels.native import PLAIN
from fastgan.ops.arguments import DTYPES
from fastgan.ops.spectral_norm import spectral_norm

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def join_spectral_norms(model: ModuleT) -> ModuleT:
    """Compute the spectral norms of all layers of a model together, at the start of its forward pass.

    For layers with ``torch.nn.utils.parametrizations.spectral_norm`` or the older
    ``torch.nn.utils.spectral_norm``. Parameters, buffers and state_dict stay as they are, and results change
    by rounding only; under autocast the power iterations keep the dtype of the weights. Gradients of all
    these weights arrive together, at the end of the backward pass. Under torch.compile the layers compute as
    before. (Miyato et al. 2018, arXiv:1802.05957, algorithm 1.)

    Args:
        model: the module that is called, such as a discriminator, searched at every depth. It may be wrapped
            by DistributedDataParallel.

    Returns:
        ``model`` itself.

    Raises:
        ValueError: no layer has a spectral norm, or one is joined as part of another module.

    >>> D = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> for layer in (D[0], D[2]):
    ...     _ = torch.nn.utils.parametrizations.spectral_norm(layer)
    >>> join_spectral_norms(D)(torch.zeros(4, 2)).shape
    torch.Size([4, 1])
    """
    root = model.module if isinstance(model, DistributedDataParallel) else model
    found = list(_norms_of(root))
    if not found:
        raise ValueError(
            f"{type(root).__name__} has no layer with a spectral norm of torch.nn.utils, so there is nothing "
            "to join; apply torch.nn.utils.parametrizations.spectral_norm to its layers first"
        )
    for name, norm, _ in found:
        if isinstance(norm, _Joinable) and norm.joined.root is not root:
            raise ValueError(
                f"layer '{name}' is already joined as part of {type(norm.joined.root).__name__}; call "
                "fastgan.separate_spectral_norms on that first"
            )
    separate_spectral_norms(root)
    _Joined(root, {norm: owner for _, norm, owner in found})
    return model


def separate_spectral_norms(model: ModuleT) -> ModuleT:
    """Undo :func:`join_spectral_norms`: each layer computes its weight by itself again.

    Returns:
        ``model`` itself.
    """
    for _, norm, _ in list(_norms_of(model)):
        if isinstance(norm, _Joinable):
            norm.joined.separate()
    return model


class _Joinable:
    """A spectral norm that takes its weight from the others' call."""

    joined: _Joined


class JoinedParametrization(_Joinable, Parametrization):
    """Spectral norm as a parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        scaled = None if torch.compiler.is_compiling() else self.joined.take(self, weight)
        return super().forward(weight) if scaled is None else scaled


class JoinedHook(_Joinable, Hook):
    """Spectral norm as a pre-hook of a layer."""

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        scaled = None
        if not torch.compiler.is_compiling() and do_power_iteration is module.training:
            scaled = self.joined.take(self, getattr(module, f"{self.name}_orig"))
        return super().compute_weight(module, do_power_iteration) if scaled is None else scaled


class Source(NamedTuple):
    """What a spectral norm computes from."""

    weight: Tensor
    u: Tensor
    v: Tensor
    versions: tuple[int | None, int | None, int | None]
    training: bool

    def is_like(self, other: Source) -> bool:
        is_same = self.weight is other.weight and self.u is other.u and self.v is other.v
        return is_same and self.versions == other.versions and self.training is other.training


class Ready(NamedTuple):
    """A weight that a layer may take, and its new vectors."""

    source: Source
    scaled: Tensor
    u: Tensor
    v: Tensor


class Frame:
    """A running call of a network: weights that layers may take, and those that they have taken."""

    def __init__(self, ready: dict[Any, Ready]) -> None:
        self.ready = ready
        self.taken: list[Ready] = []
        self.surroundings = _surroundings()

    def store(self) -> None:
        """Update the vectors of all weights that were taken in training, as the layers would have done."""
        trained = [each for each in self.taken if each.source.training]
        self.taken = []
        if trained:
            with torch.no_grad():
                torch._foreach_copy_(
                    [t for each in trained for t in (each.source.u, each.source.v)],
                    [t for each in trained for t in (each.u, each.v)],
                )


_running = threading.local()


class _Joined:
    """The spectral norms of a network, and the hooks that compute and store them."""

    def __init__(self, root: nn.Module, owners: dict[Any, nn.Module]) -> None:
        self.root, self.owners = root, owners
        self.handles = [
            root.register_forward_pre_hook(self.prepare),
            root.register_forward_hook(self.finish, always_call=True),
        ]
        for norm in owners:
            norm.__class__ = JoinedHook if isinstance(norm, Hook) else JoinedParametrization
            norm.joined = self

    def separate(self) -> None:
        for handle in self.handles:
            handle.remove()
        for norm in self.owners:
            del norm.joined
            norm.__class__ = Hook if isinstance(norm, Hook) else Parametrization

    def prepare(self, root: nn.Module, _: Any) -> None:
        """Compute all weights; not for a replica of the network, which has weights of its own."""
        if torch.compiler.is_compiling() or root is not self.root or _computes_alone():
            return
        self.finish()  # what a call has left that calls itself, or was interrupted
        groups: dict[tuple[Any, ...], list[tuple[Any, Source]]] = {}
        for norm, owner in self.owners.items():
            source = _source_of(owner, norm)
            if source is not None and _fits_kernels(source):
                groups.setdefault(_call_of(norm, source), []).append((norm, source))
        ready: dict[Any, Ready] = {}
        for (_, _, *call), group in groups.items():
            matrices = tuple(_matrix(source.weight, norm.dim) for norm, source in group)
            u, v = tuple(source.u for _, source in group), tuple(source.v for _, source in group)
            results = spectral_norm(matrices, u, v, *call)
            for (norm, source), scaled, *vectors in zip(group, *results, strict=True):
                ready[norm] = Ready(source, _shaped(scaled, source.weight, norm.dim), *vectors)
        _frames()[self] = Frame(ready)

    def finish(self, *_: Any) -> None:
        frame = None if torch.compiler.is_compiling() else _frames().pop(self, None)
        if frame is not None:
            frame.store()

    def take(self, norm: Any, weight: Tensor) -> Tensor | None:
        """The weight of a layer; None if the layer has to compute it."""
        frame = _frames().get(self)
        if frame is None:
            return None
        ready = frame.ready.pop(norm, None)
        if ready is None:
            frame.store()  # a second use starts from the vectors of the first
            return None
        now = _source_of(self.owners[norm], norm)
        if now is None or not ready.source.is_like(now) or weight is not now.weight:
            return None
        if frame.surroundings != _surroundings():
            return None
        frame.taken.append(ready)
        return ready.scaled


def _frames() -> dict[_Joined, Frame]:
    frames: dict[_Joined, Frame] = _running.__dict__.setdefault("frames", {})
    return frames


def _surroundings() -> tuple[bool, int]:
    """What has to be the same where a weight is computed and where it is used.

    A segment of torch.utils.checkpoint has hooks of its own, and is computed again when the network does not
    run.
    """
    return torch.is_grad_enabled(), id(saving_hooks())


def _computes_alone() -> bool:
    return bool(
        torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or parametrize._cache_enabled  # which keeps weights longer than a call
    )


def _norms_of(model: nn.Module) -> Iterator[tuple[str, Any, nn.Module]]:
    """The spectral norms in a model: the layer's name, the norm, and the module that has the weight."""
    for name, module in model.named_modules():
        is_list = isinstance(module, parametrize.ParametrizationList) and module.is_tensor
        if is_list and isinstance(module[0], Parametrization):  # a second one does not get the parameter
            yield name.split(".parametrizations.")[0], module[0], module
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, Hook):
                yield name, hook, module


def _source_of(owner: nn.Module, norm: Any) -> Source | None:
    """What a norm computes from now; None if it has been removed or its weight is a vector."""
    if isinstance(norm, Hook):
        weight, buffers, prefix = owner._parameters.get(f"{norm.name}_orig"), owner._buffers, norm.name
        training = owner.training
    else:
        weight, buffers, prefix = owner._parameters.get("original"), norm._buffers, ""
        training = norm.training
    u, v = buffers.get(f"{prefix}_u"), buffers.get(f"{prefix}_v")
    if weight is None or u is None or v is None:
        return None
    return Source(weight, u, v, (version_of(weight), version_of(u), version_of(v)), training)


def _fits_kernels(source: Source) -> bool:
    """Whether all are plain tensors of one dtype and device: not, say, shards of weights."""
    weight = source.weight
    return (
        weight.dim() > 1
        and weight.numel() > 0
        and weight.dtype in DTYPES
        and weight.layout is torch.strided
        and all(
            type(t) in PLAIN and t.dtype is weight.dtype and t.device == weight.device for t in source[:3]
        )
    )


def _call_of(norm: Any, source: Source) -> tuple[Any, ...]:
    """Dtype, device and the last arguments of spectral_norm; weights share a call where these are equal."""
    iterations = norm.n_power_iterations if source.training else 0
    return source.weight.dtype, source.weight.device, norm.eps, iterations, isinstance(norm, Hook)


def _matrix(weight: Tensor, dim: int) -> Tensor:
    if dim == 0:
        return weight if weight.dim() == 2 else weight.flatten(1)
    return weight.movedim(dim, 0).flatten(1)


def _shaped(scaled: Tensor, weight: Tensor, dim: int) -> Tensor:
    """A matrix in the shape and memory format of the weight that it was made of."""
    if dim == 0 and weight.is_contiguous():
        return scaled if weight.dim() == 2 else scaled.view(weight.shape)
    result = scaled.view(weight.movedim(dim, 0).shape).movedim(0, dim)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if not weight.is_contiguous() and weight.dim() in formats:
        return result.contiguous(memory_format=formats[weight.dim()])
    return result.contiguous()
