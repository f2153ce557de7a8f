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
from torch.autograd import forward_ad
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm as Parametrization
from torch.nn.utils.spectral_norm import SpectralNorm as Hook

from fastgan.applying import saving_hooks, version_of
from fastgan.kernels.native import PLAIN
from fastgan.ops.arguments import DTYPES
from fastgan.ops.spectral_norm import Divided, spectral_norms, with_gradient

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def join_spectral_norms(model: ModuleT) -> ModuleT:
    """Compute the spectral norms of all layers of a model together, at the start of its forward pass.

    For layers with ``torch.nn.utils.parametrizations.spectral_norm`` or the older
    ``torch.nn.utils.spectral_norm``, but not for subclasses of these. Parameters, buffers and state_dict stay
    as they are, and results change by rounding only; under autocast and in half precision the power
    iterations compute in float32. The vectors u and v are stored when the call ends. Under torch.compile the
    layers compute as before. (Miyato et al. 2018, arXiv:1802.05957, algorithm 1.)

    Args:
        model: the module that is called, such as a discriminator, searched at every depth. It may be wrapped
            by DistributedDataParallel or torch.compile.

    Returns:
        ``model`` itself.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: no layer has a spectral norm.

    >>> D = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> for layer in (D[0], D[2]):
    ...     _ = torch.nn.utils.parametrizations.spectral_norm(layer)
    >>> join_spectral_norms(D)(torch.zeros(4, 2)).shape
    torch.Size([4, 1])
    """
    separate_spectral_norms(model)
    root = _unwrapped(model)
    owners = dict(_norms_in(root))
    if not owners:
        raise ValueError(
            f"{type(root).__name__} has no layer with a spectral norm of torch.nn.utils, so there is nothing "
            "to join; apply torch.nn.utils.parametrizations.spectral_norm to its layers first"
        )
    _Joined(root, owners)
    for norm in owners:
        norm.__class__ = JoinedHook if isinstance(norm, Hook) else JoinedParametrization
    return model


def separate_spectral_norms(model: ModuleT) -> ModuleT:
    """Undo :func:`join_spectral_norms` for all layers of a model: each computes its weight by itself again.

    Returns:
        ``model`` itself.

    Raises:
        TypeError: ``model`` is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module, but is {type(model).__name__}")
    for module in model.modules():
        hooks = [getattr(hook, "__self__", None) for hook in module._forward_pre_hooks.values()]
        for joined in hooks:
            if isinstance(joined, _Joined):
                joined.remove()
    for norm, _ in _norms_in(model):
        norm.__class__ = Hook if isinstance(norm, Hook) else Parametrization
    return model


class JoinedParametrization(Parametrization):
    """Spectral norm as a parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        divided = _take(self, weight)
        return super().forward(weight) if divided is None else with_gradient(weight, divided)


class JoinedHook(Hook):
    """Spectral norm as a pre-hook of a layer."""

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        if do_power_iteration is module.training:
            weight = getattr(module, f"{self.name}_orig")
            divided = _take(self, weight)
            if divided is not None:
                return with_gradient(weight, divided)
        return super().compute_weight(module, do_power_iteration)


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
    """A weight that a layer may take, and what it was computed from."""

    source: Source
    divided: Divided


class Frame:
    """A running call of a network: weights that layers may take, and those that they have taken."""

    def __init__(self, joined: _Joined, ready: dict[Any, Ready]) -> None:
        self.joined, self.ready = joined, ready
        self.taken: list[Ready] = []
        self.norms = list(ready)
        # A segment of torch.utils.checkpoint has hooks of its own. It is computed again later, when the
        # network does not run.
        self.hooks = saving_hooks()

    def store(self) -> None:
        """Update the vectors of all weights that were taken in training, as the layers would have done."""
        old, new = [], []
        for (_, u, v, versions, training), divided in self.taken:
            if training and versions[1:] == (version_of(u), version_of(v)):  # else a checkpoint was loaded
                old += [u, v]
                new += [divided.u, divided.v]
        self.taken = []
        if old:
            with torch.no_grad():
                torch._foreach_copy_(old, new)


class _Joined:
    """The spectral norms of a network, each with its owner, and the hooks that compute and store them.

    The owner is the module that has the weight: the layer, or its list of parametrizations.
    """

    def __init__(self, root: nn.Module, owners: dict[Any, nn.Module]) -> None:
        self.root, self.owners = root, owners
        self.handles = [
            root.register_forward_pre_hook(self.prepare),
            root.register_forward_hook(self.finish, always_call=True, prepend=True),
        ]

    def remove(self) -> None:
        self.finish()
        for handle in self.handles:
            handle.remove()

    def prepare(self, root: nn.Module, _: Any) -> None:
        """Compute all weights; not for a replica of the network, which has weights of its own."""
        if torch.compiler.is_compiling() or root is not self.root or _computes_alone():
            return
        self.finish()  # what a call has left that calls itself, or was interrupted
        groups: dict[tuple[Any, ...], list[tuple[Any, Source]]] = {}
        for norm, owner in self.owners.items():
            source = _source_of(owner, norm)
            if source is not None and _fits_kernels(source) and isinstance(norm, _JOINED):
                groups.setdefault(_call_of(norm, source), []).append((norm, source))
        ready: dict[Any, Ready] = {}
        for (_, _, *call), group in groups.items():
            weights, u, v, *_ = zip(*(source for _, source in group), strict=True)
            results = spectral_norms(weights, [norm.dim for norm, _ in group], u, v, *call)
            for (norm, source), divided in zip(group, results, strict=True):
                ready[norm] = Ready(source, divided)
        frame = Frame(self, ready)
        _frames().update(dict.fromkeys((self, *ready), frame))

    def finish(self, *_: Any) -> None:
        """End a call."""
        frame = None if torch.compiler.is_compiling() else _frames().pop(self, None)
        if frame is not None:
            for norm in frame.norms:
                _frames().pop(norm, None)
            frame.store()


_JOINED = (JoinedParametrization, JoinedHook)
_running = threading.local()


def _frames() -> dict[object, Frame]:
    """The running calls of this thread, for their networks and for their norms."""
    frames: dict[object, Frame] = _running.__dict__.setdefault("frames", {})
    return frames


def _take(norm: Any, weight: Tensor) -> Divided | None:
    """The weight of a layer, divided; None if the layer has to compute it."""
    frame = None if torch.compiler.is_compiling() else _frames().get(norm)
    if frame is None:
        return None
    ready = frame.ready.pop(norm, None)
    if ready is None:
        frame.store()  # a second use starts from the vectors of the first
        return None
    now = _source_of(frame.joined.owners[norm], norm)
    if now is None or not ready.source.is_like(now) or weight is not now.weight:
        return None
    if frame.hooks is not saving_hooks():
        return None
    frame.taken.append(ready)
    return ready.divided


def _computes_alone() -> bool:
    return bool(
        torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or parametrize._cache_enabled  # which keeps weights longer than a call
    )


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside wrappers."""
    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:  # of torch.compile
            model = model.get_submodule("_orig_mod")
        else:
            return model


def _norms_in(model: nn.Module) -> Iterator[tuple[Any, nn.Module]]:
    """The spectral norms in a model with their owners, without those of subclasses, which may do more."""
    for module in model.modules():
        if isinstance(module, parametrize.ParametrizationList) and module.is_tensor:
            first = module[0]  # a second one does not get the parameter
            if type(first) in (Parametrization, JoinedParametrization):
                yield first, module
        for hook in module._forward_pre_hooks.values():
            if type(hook) in (Hook, JoinedHook):
                yield hook, module


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
    """Dtype, device and the last arguments of spectral_norms; weights share a call where these are equal."""
    iterations = norm.n_power_iterations if source.training else 0
    return source.weight.dtype, source.weight.device, norm.eps, iterations, isinstance(norm, Hook)
