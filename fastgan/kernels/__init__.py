"""Which backend serves a tensor.

A backend is one module with the functions of :class:`Backend`: plain tensors in, new plain tensors out,
no autograd. CPU tensors are served by ``cpu``, then ``reference``; CUDA and ROCm tensors by ``cuda``, then
``triton``, then ``reference``. A choice that is not the best one for the device warns once, with the reason;
a backend forced by :func:`fastgan.use_backend` or ``FASTGAN_BACKEND`` never falls back.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from fastgan.kernels import cpu, cuda, optional, reference
from fastgan.kernels.forcing import BACKENDS, CHOICES, BackendError, forced_name
from fastgan.kernels.opaque import opaque

Logits = tuple[Tensor, ...]
Labels = tuple[float, ...]


class Backend(Protocol):
    """What every backend module offers.

    A *loss* is one or two tensors of logits t, of any shape, each with its label, a sign, and a kind, the
    name of a row of :data:`fastgan.kernels.logit_losses.LOSSES`::

        terms_i = sign * LOSSES[kind].term(t_i, label_i)

    summed over each tensor by itself, over its size for a mean, and then added. The second tensor's label is
    0. Statistics are float32: the mean of D's output for each tensor, then the share of saturated logits.
    Layers take matrices: ``input [N, K]``, ``weight [M, K]``, ``grad`` and ``output [N, M]``.
    ``into``, where given, is memory of the right shape and dtype for the gradient of a weight or a bias.
    The gradients of several tensors of one call may lie next to each other, as if they were concatenated.
    """

    def why_not(self, device: torch.device) -> str | None:
        """Why it cannot serve tensors on this device, with the remedy; None if it can."""

    def loss(
        self,
        logits: Logits,
        labels: Labels,
        sign: float,
        mean: bool,
        loss_dtype: torch.dtype,
        with_stats: bool,
        kind: str = "bce",
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, a scalar of ``loss_dtype``, and statistics if asked for."""

    def loss_backward(
        self,
        grad: Tensor,
        logits: Logits,
        labels: Labels,
        sign: float,
        mean: bool,
        kind: str = "bce",
    ) -> tuple[Tensor, ...]:
        """The gradient of each tensor of logits; ``grad`` is a scalar."""

    def loss_keeping_grads(
        self,
        logits: Logits,
        labels: Labels,
        sign: float,
        mean: bool,
        loss_dtype: torch.dtype,
        with_stats: bool,
        kind: str = "bce",
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]] | None:
        """Loss and statistics, and in the same pass the gradients for an incoming gradient of 1.

        A backend without such a pass returns None; the caller then takes :meth:`loss` and
        :meth:`loss_backward`.
        """

    def loss_backward_from(
        self,
        kept: tuple[Tensor, ...],
        grad: Tensor,
        logits: Logits,
        labels: Labels,
        sign: float,
        mean: bool,
        kind: str = "bce",
    ) -> tuple[Tensor, ...] | None:
        """``loss_backward`` into ``kept``, the gradients that :meth:`loss_keeping_grads` returned.

        Where ``grad`` is 1 nothing is written. Otherwise they are computed again from the logits. Only the
        device knows which it is: nothing waits for the host to look.
        """

    def loss_and_grad(
        self,
        logits: Logits,
        labels: Labels,
        sign: float,
        mean: bool,
        scale: Tensor | None,
        loss_dtype: torch.dtype,
        kind: str = "bce",
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Loss, ``scale`` times its gradients, and statistics, in one pass."""

    def loss_terms(self, logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
        """The terms of one tensor, unreduced."""

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, label: float, sign: float, kind: str = "bce"
    ) -> Tensor: ...

    def reconstruction_loss(
        self, input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype
    ) -> Tensor:
        """Sum or mean of ``|input - reconstruction|``, of one shape: a scalar of ``loss_dtype``."""

    def reconstruction_loss_backward(
        self, grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Both gradients, each where needed; ``grad`` is a scalar, or of each of the terms."""

    def reconstruction_loss_and_grad(
        self,
        input: Tensor,
        reconstruction: Tensor,
        mean: bool,
        scale: Tensor | None,
        loss_dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
        """Loss and ``scale`` times its gradients, each where needed, in one pass."""

    def reconstruction_terms(self, input: Tensor, reconstruction: Tensor) -> Tensor:
        """``|input - reconstruction|``, unreduced."""

    def head_loss(
        self,
        features: tuple[Tensor, ...],
        weight: Tensor,
        bias: Tensor | None,
        labels: Labels,
        sign: float,
        mean: bool,
        loss_dtype: torch.dtype,
        with_stats: bool,
        with_grads: bool,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...], Tensor | None, Tensor | None]:
        """The loss of the logits ``features @ weight + bias``: [N, H], [H] and [1] or None.

        Returns loss and statistics; then, if asked for, for :meth:`head_loss_backward`, in float32 (float64
        for float64): d loss / d logits [N] of each tensor, and the gradients of weight [H] and bias [1].
        """

    def head_loss_backward(
        self,
        grad: Tensor,
        slopes: tuple[Tensor, ...],
        weight: Tensor,
        dw: Tensor,
        db: Tensor,
        needs: tuple[bool, bool, bool],
    ) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
        """``grad``, a scalar, times the gradients of features, weight and bias, each where needed."""

    def head_loss_and_grad(
        self,
        features: tuple[Tensor, ...],
        weight: Tensor,
        bias: Tensor | None,
        labels: Labels,
        sign: float,
        mean: bool,
        scale: Tensor | None,
        loss_dtype: torch.dtype,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor, Tensor]:
        """Loss; ``scale`` times the gradients of features, weight and bias; statistics: in one pass."""

    def bias_leaky_relu(
        self, input: Tensor, bias: Tensor | None, negative_slope: float, dim: int
    ) -> Tensor: ...

    def bias_leaky_relu_backward(
        self,
        grad: Tensor,
        output: Tensor,
        negative_slope: float,
        dim: int,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """``grad`` times the slope read from the sign of ``output``, and its sum over all but ``dim``."""

    def linear_leaky_relu(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
    ) -> Tensor: ...

    def linear_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        weight: Tensor,
        output: Tensor,
        negative_slope: float,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of input, weight and bias, each where needed."""

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...

    def dgrad(self, grad: Tensor, weight: Tensor) -> Tensor:
        """``grad @ weight``, [N, K]."""

    def dgrad_leaky_relu(
        self,
        grad: Tensor,
        weight: Tensor,
        output: Tensor,
        negative_slope: float,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """dgrad through the layer below, whose output this layer took: masked, and its bias gradient."""

    def wgrad(self, grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
        """``grad.T @ input``, [M, K]."""

    def mlp(
        self, input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], negative_slope: float
    ) -> list[Tensor] | None:
        """The output of every layer of a chain whose last layer is linear; None: go layer by layer."""

    def mlp_backward(
        self,
        grad: Tensor,
        input: Tensor,
        weights: Sequence[Tensor],
        hidden: Sequence[Tensor],
        negative_slope: float,
        needs: Sequence[bool],
        scale: Tensor | None = None,
        first_row: int = 0,
        into: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor | None] | None:
        """Its gradients (dx, dW_1 ... dW_L, db_1 ... db_L), each where needed; None: go layer by layer.

        Rows count in dW and db as ``scale`` [N, 1] says, if given; dx has the rows from ``first_row`` on.
        ``into`` has a tensor for each of dW_1 ... db_L.
        """

    def adam(
        self,
        values: Tensor,
        grads: Tensor,
        exp_avg: Tensor,
        exp_avg_sq: Tensor,
        count: Tensor,
        is_first: bool,
        learning_rate: Tensor,
        betas: tuple[float, float],
        eps: float,
        average: Tensor | None,
        average_weight: Tensor,
        halves: Tensor | None,
    ) -> None:
        """One step of Adam, in place (Kingma and Ba, 2015, algorithm 1), and all that follows from it.

        ``values``, ``grads`` and both moments are ``[n]`` of one dtype. ``count`` is a float32 scalar, the
        number of this step once the first of a step's calls has added 1 to it. ``average [n]`` goes towards
        the new values by ``average_weight``, and ``halves [n]`` becomes them in bfloat16, where given.
        """

    def draw(
        self,
        integers: Tensor,
        normal: Tensor,
        uniform: Tensor,
        begins: tuple[int, int, int],
        high: int,
        seed: int,
        clock: Tensor,
    ) -> None:
        """Fill three vectors with random numbers by Philox 4x32-10.

        ``integers`` is int64, from 0 to below ``high``, at most 2**31; ``normal`` and ``uniform``, in [0, 1),
        are float32. Number i of a vector is number ``begin + i`` of its kind, 0, 1 or 2, under the key
        ``seed`` and the step ``clock``, int64 [1]; ``begins`` are multiples of 4. Four come from the counter
        ``(place, kind + 4 * (place >> 32), step, step >> 32)`` with place = (begin + i) // 4.
        """

    def record(
        self,
        table: Tensor,
        row: Tensor,
        scalars: list[Tensor],
        schedule: Tensor,
        settings: Tensor,
        clock: Tensor,
    ) -> None:
        """End a step: write scalars down, and put the settings of the next step in force.

        All but the counters are float32. ``table [rows, columns]`` gets the scalars, a column each, in the
        row that ``row``, int64 [1], names. Then ``row`` and ``clock``, int64 [1], move on by one, and
        ``settings`` becomes that row of ``schedule [rows + 1, settings]``.
        """


# The best first. Other devices: the reference.
_PREFERRED = {"cpu": ("cpu", "reference"), "cuda": ("cuda", "triton", "reference")}


@cache
def load(name: str) -> Backend:
    """The module of a backend. Triton, which takes a third of a second to import, only where it is wanted.

    Raises:
        ImportError: the backend is "triton", and Triton is not there.
    """
    if name == "triton":
        from fastgan.kernels import triton

        return _opaque(triton)
    return {"cpu": _opaque(cpu), "cuda": _opaque(cuda)}.get(name, reference)


def _opaque(backend: Backend) -> Backend:
    """A backend whose kernels take addresses; what it has of the reference takes none."""
    for _, function in inspect.getmembers(backend, inspect.isfunction):
        if function.__module__ not in (reference.__name__, optional.__name__):
            opaque(function)
    return backend


@cache
def why_not(name: str, device: torch.device) -> str | None:
    """Why a backend cannot serve tensors on this device, with the remedy; None if it can."""
    try:
        return load(name).why_not(device)
    except ImportError as error:
        return f"Triton cannot be imported ({error}); on Linux, `pip install triton` brings it"


def available_backends(device: str | torch.device = "cpu") -> list[str]:
    """The backends that serve tensors on such a device here unless another is forced, the best first."""
    device = torch.device(device)
    names = _PREFERRED.get(device.type, ("reference",))
    return [name for name in names if why_not(name, device) is None]


def report() -> list[tuple[str, str | None]]:
    """Each backend, and why it cannot be had on this machine (None: it can)."""
    gpu = torch.device("cuda")
    return [
        ("cpu", why_not("cpu", torch.device("cpu"))),
        ("cuda", why_not("cuda", gpu)),
        ("triton", why_not("triton", gpu)),
        ("reference", None),
    ]


def has_chains(tensor: Tensor) -> bool:
    """Whether the backend of a tensor takes a whole chain of layers in one call, where it can."""
    return choose(tensor) is cpu


_CPU = torch.device("cpu")


def choose(tensor: Tensor) -> Backend:
    """The backend for a tensor on this device: the forced one, else the best that is there."""
    return _choose(_CPU if tensor.is_cpu else tensor.device, forced_name())


@cache
def _choose(device: torch.device, forced: str | None) -> Backend:
    if forced:
        if forced not in BACKENDS:
            raise BackendError(f"FASTGAN_BACKEND names no backend: {forced!r}; {CHOICES}, or unset it")
        reason = why_not(forced, device)
        if reason is not None:
            raise BackendError(f"the {forced} backend was asked for but cannot serve: {reason}")
        return load(forced)
    preferred = _PREFERRED.get(device.type)
    if preferred is None:
        warnings.warn(
            f"fastgan has no kernels for {device.type} tensors: plain PyTorch serves them", stacklevel=5
        )
        return reference
    best = available_backends(device)[0]
    missing = [f"{name}: {why_not(name, device)}" for name in preferred[: preferred.index(best)]]
    if missing:
        serving = "plain PyTorch" if best == "reference" else best
        warnings.warn(f"fastgan runs on {serving} here. {'; '.join(missing)}", RuntimeWarning, stacklevel=5)
    return load(best)
