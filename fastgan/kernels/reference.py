"""The reference backend: every operation in plain PyTorch, for every device and dtype.

It is the base class of the other backends, which override what they have a kernel for. Half types are
computed in float32 and rounded once, as the kernels do. Every method is differentiable, so second
derivatives come from here whichever backend computed the first.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.logit_losses import LOSSES, LossSpec
from fastgan.kernels.opaque import opaque

Tensors = tuple[Tensor, ...]
Pair = tuple[Tensor | None, Tensor | None]


class Reference:
    """What a backend offers.

    The losses on logits take any number of tensors of one dtype, of any shapes, and a
    :class:`~fastgan.kernels.logit_losses.LossSpec` with a label and a weight for each::

        total = sum_i weight_i * mean(LOSSES[loss].term(t_i, label_i))    # or sum

    Layers take matrices: ``input [N, K]``, ``weight [M, K]``, ``grad`` and ``output [N, M]``. ``into`` is
    memory of the right shape and dtype for the gradient of a weight or a bias. Gradients that one call
    returns for several tensors may be neighbours in memory, as if they had been concatenated.

    Attributes:
        name: what :func:`fastgan.use_backend` calls it.
        chains_layers: whether :meth:`mlp` is faster than layer by layer followed by :meth:`head_loss`.
    """

    name = "reference"
    chains_layers = False

    def __init_subclass__(cls, *, takes_addresses: bool = True) -> None:
        """TorchDynamo must not trace what takes addresses, as most subclasses do."""
        super().__init_subclass__()
        for method in vars(cls).values():
            if takes_addresses and inspect.isfunction(method):
                opaque(method)

    def why_not(self, device: torch.device) -> str | None:
        """Why this backend cannot run on a device, with the remedy; None if it can."""
        return None

    # --- losses on logits

    def loss(
        self,
        logits: Tensors,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool = False,
        keep_grads: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """The total, a scalar of ``dtype``; details if asked for; and ``kept`` for :meth:`loss_backward`.

        Details are ``[2 n + 1]`` for n tensors, float32 (float64 for float64 logits): the share of each
        tensor in the total, the mean of D's output for each, and the share of saturated logits among all.
        A backend that finds gradients in the same pass keeps, if asked to, those for an incoming gradient
        of 1; others keep nothing.
        """
        of = LOSSES[spec.loss]
        computed = [_computed(t) for t in logits]
        terms = [of.term(t, label) for t, label in zip(computed, spec.labels, strict=True)]
        reduced = [each.mean() if spec.mean else each.sum() for each in terms]
        shares = torch.stack([_times(r, w) for r, w in zip(reduced, spec.weights, strict=True)])
        total = shares.sum().to(dtype)
        if not detailed:
            return total, None, ()
        with torch.no_grad():
            means = torch.stack([of.output(t).mean() for t in computed])
            saturated = [of.saturated(t, y).flatten() for t, y in zip(computed, spec.labels, strict=True)]
            share = torch.cat(saturated).to(means.dtype).mean().reshape(1)
            return total, torch.cat([shares.detach(), means, share]), ()

    def loss_backward(self, grad: Tensor, logits: Tensors, spec: LossSpec, kept: Tensors = ()) -> Tensors:
        """``grad``, a scalar, times the gradient for each tensor of logits.

        Where ``kept`` has the gradients for a ``grad`` of 1, they are returned as they are if it is 1, and
        overwritten if not. Only the device knows which: nothing waits for the host to look.
        """
        of, g = LOSSES[spec.loss], _computed(grad)
        return tuple(
            (g * (weight * of.slope(_computed(t), label))).to(t.dtype)
            for t, label, weight in zip(
                logits, spec.labels, spec.weights_of([t.numel() for t in logits]), strict=True
            )
        )

    def loss_and_grad(
        self, logits: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensors, Tensor]:
        """The total, ``scale`` (a scalar tensor, or 1) times its gradients, and details, in one pass."""
        total, details, _ = self.loss(logits, spec, dtype, detailed=True)
        assert details is not None
        grad = logits[0].new_ones((), dtype=torch.float32) if scale is None else scale
        return total, self.loss_backward(grad, logits, spec), details

    def loss_terms(self, logits: Tensor, loss: str, label: float, weight: float) -> Tensor:
        """``weight * term`` of each logit."""
        return (weight * LOSSES[loss].term(_computed(logits), label)).to(logits.dtype)

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        """``grad``, one for each term, times the slopes."""
        return (_computed(grad) * (weight * LOSSES[loss].slope(_computed(logits), label))).to(logits.dtype)

    # --- reconstruction

    def reconstruction_loss(
        self, input: Tensor, reconstruction: Tensor, mean: bool, dtype: torch.dtype
    ) -> Tensor:
        """Sum or mean of ``|input - reconstruction|``, of one shape: a scalar of ``dtype``."""
        terms = _difference(input, reconstruction).abs()
        return (terms.mean() if mean else terms.sum()).to(dtype)

    def reconstruction_loss_backward(
        self, grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
    ) -> Pair:
        """Both gradients, each where needed; ``grad`` is a scalar, or has one number for each term."""
        scale = 1 / input.numel() if mean and input.numel() else 1.0
        slope = _computed(grad) * scale * torch.sign(_difference(input, reconstruction))
        return slope.to(input.dtype) if needs[0] else None, (-slope).to(input.dtype) if needs[1] else None

    def reconstruction_loss_and_grad(
        self,
        input: Tensor,
        reconstruction: Tensor,
        mean: bool,
        scale: Tensor | None,
        dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, Pair]:
        """The loss and ``scale`` times its gradients, each where needed, in one pass."""
        loss = self.reconstruction_loss(input, reconstruction, mean, dtype)
        grad = input.new_ones((), dtype=torch.float32) if scale is None else scale
        return loss, self.reconstruction_loss_backward(grad, input, reconstruction, mean, needs)

    def reconstruction_terms(self, input: Tensor, reconstruction: Tensor) -> Tensor:
        """``|input - reconstruction|``, unreduced."""
        return _difference(input, reconstruction).abs().to(input.dtype)

    # --- layers

    def bias_leaky_relu(self, input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
        """``leaky_relu(input + bias)``, with the bias along ``dim``, counted from 0."""
        z = _computed(input)
        if bias is not None:
            z = z + _computed(bias).view([-1 if i == dim else 1 for i in range(input.dim())])
        return F.leaky_relu(z, negative_slope).to(input.dtype)

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
        g = _computed(grad)
        masked = torch.where(output > 0, g, negative_slope * g)
        summed = None
        if with_bias:
            others = [i for i in range(output.dim()) if i != dim]
            # sum(()) would mean all dimensions
            summed = (masked.sum(others) if others else masked.clone()).to(grad.dtype)
            summed = summed if into is None else into.copy_(summed)
        return masked.to(grad.dtype), summed

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``input @ weight.T + bias``."""
        return F.linear(input, weight, bias)

    def linear_leaky_relu(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
    ) -> Tensor:
        """``leaky_relu(input @ weight.T + bias)``."""
        return F.leaky_relu(F.linear(input, weight, bias), negative_slope)

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
        dz, db = self.bias_leaky_relu_backward(grad, output, negative_slope, 1, needs[2])
        return self.dgrad(dz, weight) if needs[0] else None, self.wgrad(dz, input) if needs[1] else None, db

    def dgrad(self, grad: Tensor, weight: Tensor) -> Tensor:
        """``grad @ weight``, [N, K]."""
        return grad @ weight

    def dgrad_leaky_relu(
        self,
        grad: Tensor,
        weight: Tensor,
        output: Tensor,
        negative_slope: float,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """dgrad through the layer below, whose ``output`` this layer took: masked, and its bias gradient."""
        return self.bias_leaky_relu_backward(
            self.dgrad(grad, weight), output, negative_slope, 1, with_bias, into
        )

    def wgrad(self, grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
        """``grad.T @ input``, [M, K]."""
        return torch.mm(grad.t(), input, out=into)

    # --- chains of layers, the last one linear

    def mlp(
        self,
        input: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        negative_slope: float,
    ) -> list[Tensor]:
        """The output of every layer."""
        outputs: list[Tensor] = []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            input = self.linear_leaky_relu(input, weight, bias, negative_slope)
            outputs.append(input)
        return [*outputs, self.linear(input, weights[-1], biases[-1])]

    def mlp_backward(
        self,
        grad: Tensor,
        input: Tensor,
        weights: Sequence[Tensor],
        hidden: Sequence[Tensor],
        negative_slope: float,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor | None]:
        """Its gradients (dx, dW_1 ... dW_L, db_1 ... db_L), each where needed.

        ``into`` has a place, or None, for each of dW_1 ... db_L.
        """
        return self.mlp_chain(grad, input, weights, hidden, negative_slope, needs, into)[1]

    def mlp_chain(
        self,
        grad: Tensor,
        input: Tensor,
        weights: Sequence[Tensor],
        hidden: Sequence[Tensor],
        negative_slope: float,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """``dz_1 ... dz_L`` as well as :meth:`mlp_backward`'s gradients, layer by layer.

        It stops at the lowest layer that anything is needed of.
        """
        depth = len(weights)
        needs_weight, needs_bias = needs[1 : depth + 1], needs[depth + 1 :]
        rooms = into or [None] * 2 * depth
        below = [input, *hidden]
        dz: list[Tensor] = [grad] * depth
        dx: Tensor | None = None
        dw: list[Tensor | None] = [None] * depth
        db: list[Tensor | None] = [None] * depth
        if needs_bias[-1]:
            db[-1] = torch.sum(grad, 0, out=rooms[-1])
        for i in reversed(range(depth)):
            if needs_weight[i]:
                dw[i] = self.wgrad(dz[i], below[i], rooms[i])
            if i == 0:
                dx = self.dgrad(dz[0], weights[0]) if needs[0] else None
            elif any((needs[0], *needs_weight[:i], *needs_bias[:i])):
                masked = dz[i], weights[i], hidden[i - 1], negative_slope, needs_bias[i - 1]
                dz[i - 1], db[i - 1] = self.dgrad_leaky_relu(*masked, rooms[depth + i - 1])
            else:
                break
        return dz, [dx, *dw, *db]

    def mlp_backward_of_both(
        self,
        scale: Tensor,
        first_row: int,
        input: Tensor,
        weights: Sequence[Tensor],
        hidden: Sequence[Tensor],
        negative_slope: float,
        needs: Sequence[bool],
        into: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """:meth:`mlp_backward` of one logit a row, for an incoming gradient of 1, with dx always wanted.

        A row counts in dW and db as ``scale`` [N, 1] says; dx has the rows from ``first_row`` on.
        """
        unit = [torch.ones_like(scale)]
        for weight, output in zip(weights[:0:-1], hidden[::-1], strict=True):
            unit.append(self.dgrad_leaky_relu(unit[-1], weight, output, negative_slope, False)[0])
        dx = self.dgrad(unit[-1][first_row:], weights[0])
        unit.reverse()
        depth = len(unit)
        dw = [
            self.wgrad(u.mul(scale), x, place)
            for u, x, place in zip(unit, [input, *hidden], into[:depth], strict=True)
        ]
        db = [
            torch.mm(scale.t(), u, out=None if place is None else place.unsqueeze(0)).squeeze(0)
            for u, place in zip(unit, into[depth:], strict=True)
        ]
        return [dx, *dw, *db]

    # --- the discriminator's head

    def head_loss(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool,
        with_grads: bool,
    ) -> tuple[Tensor, Tensor | None, Tensors, Tensor | None, Tensor | None]:
        """The loss of the logits ``features @ weight + bias``: [N, H] each, [H] and [1] or None.

        Returns the total and its details; then, if asked for, for :meth:`head_loss_backward`, in float32
        (float64 for float64): d loss / d logits [N] of each tensor, and the gradients of weight [H] and
        bias [1].
        """
        w = _computed(weight).unsqueeze(0)
        b = None if bias is None else _computed(bias)
        logits = tuple(F.linear(_computed(h), w, b).squeeze(1) for h in features)
        total, details, _ = self.loss(logits, spec, dtype, detailed)
        if not with_grads:
            return total, details, (), None, None
        of = LOSSES[spec.loss]
        slopes = tuple(
            share * of.slope(t, label)
            for t, label, share in zip(
                logits, spec.labels, spec.weights_of([t.numel() for t in logits]), strict=True
            )
        )
        dw = torch.stack([s @ _computed(h) for s, h in zip(slopes, features, strict=True)]).sum(0)
        return total, details, slopes, dw, torch.cat(slopes).sum().reshape(1)

    def head_loss_backward(
        self,
        grad: Tensor,
        slopes: Tensors,
        weight: Tensor,
        dw: Tensor,
        db: Tensor,
        needs: tuple[bool, bool, bool],
    ) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
        """``grad``, a scalar, times the gradients of features, weight and bias, each where needed."""
        g, dtype = grad.to(dw.dtype), weight.dtype
        return (
            tuple(torch.outer(g * s, _computed(weight)).to(dtype) if needs[0] else None for s in slopes),
            (g * dw).to(dtype) if needs[1] else None,
            (g * db).to(dtype) if needs[2] else None,
        )

    def head_loss_and_grad(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        scale: Tensor | None,
        dtype: torch.dtype,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensors, Tensor, Tensor, Tensor]:
        """The total; ``scale`` times the gradients of features, weight and bias; details: in one pass."""
        total, details, slopes, dw, db = self.head_loss(features, weight, bias, spec, dtype, True, True)
        assert details is not None
        assert dw is not None
        assert db is not None
        factor = dw.new_ones(()) if scale is None else scale
        grads, dweight, dbias = self.head_loss_backward(factor, slopes, weight, dw, db, (True, True, True))
        assert dweight is not None
        assert dbias is not None
        if into is not None:
            dweight, dbias = into[0].copy_(dweight), into[1].copy_(dbias)
        return total, grads, dweight, dbias, details  # type: ignore[return-value]

    # --- the training step

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

        ``values``, ``grads`` and both moments are ``[n]`` of one dtype. ``count`` is a float32 scalar: the
        first call of a step adds 1 to it, and it is then the step's number. ``average [n]`` moves towards
        the new values by ``average_weight``, and ``halves [n]`` becomes them in bfloat16, where given.
        """
        if is_first:
            count += 1
        torch._fused_adam_(
            [values],
            [grads],
            [exp_avg],
            [exp_avg_sq],
            [],
            [count],
            lr=learning_rate,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=0.0,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        if average is not None:
            average.lerp_(values, average_weight.to(average.dtype))
        if halves is not None:
            halves.copy_(values)

    def record(
        self,
        table: Tensor,
        row: Tensor,
        scalars: list[Tensor],
        schedule: Tensor,
        settings: Tensor,
        clock: Tensor,
    ) -> None:
        """End a step: write its scalars down and put the settings of the next step in force.

        Everything but the counters is float32. ``table [rows, columns]`` gets the scalars, one a column, in
        the row that ``row``, int64 [1], names. Then ``row`` and ``clock``, int64 [1], move on by one, and
        ``settings`` becomes that row of ``schedule [rows + 1, settings]``.
        """
        table.index_copy_(0, row, torch.stack(scalars).unsqueeze(0))
        row += 1
        clock += 1
        torch.index_select(schedule, 0, row, out=settings.view(1, -1))

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

        ``integers`` is int64, from 0 to below ``high``, at most 2**31; ``normal`` and ``uniform``, in
        [0, 1), are float32. Number i of a vector is number ``begin + i`` of its kind, 0, 1 or 2, under the
        key ``seed`` and the step ``clock``, int64 [1]; ``begins`` are multiples of 4. Four come from the
        counter ``(place, kind + 4 * (place >> 32), step, step >> 32)`` with place = (begin + i) // 4.
        """
        words = [
            _words(begin, len(room), kind, seed, clock)
            for kind, (begin, room) in enumerate(zip(begins, (integers, normal, uniform), strict=True))
        ]
        integers.copy_(words[0].flatten()[: len(integers)] * high >> 32)
        first, second = words[1][:, ::2].float(), words[1][:, 1::2].float()
        radius = torch.sqrt(-2 * torch.log(first * 2.0**-32 + 2.0**-33))  # of a number in (0, 1]
        angle = second * (2.0**-31 * math.pi)
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 2)
        normal.copy_(pairs.flatten()[: len(normal)])
        uniform.copy_((words[2].flatten()[: len(uniform)] >> 8) * 2.0**-24)


def _computed(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _times(scalar: Tensor, weight: float) -> Tensor:
    # torch.func takes a number for a float64 tensor, and so would the product be
    return scalar if weight == 1 else scalar * scalar.new_full((), weight)


def _difference(input: Tensor, reconstruction: Tensor) -> Tensor:
    return _computed(input) - _computed(reconstruction)


def _words(begin: int, count: int, kind: int, seed: int, clock: Tensor) -> Tensor:
    """The words behind so many numbers of a kind from a multiple of 4 on, four a row."""
    place = torch.arange(begin // 4, -(-(begin + count) // 4), device=clock.device)
    counter = [
        place & _WORD,
        kind + 4 * (place >> 32),
        (clock & _WORD).expand_as(place),
        clock.expand_as(place) >> 32,
    ]
    return torch.stack(philox(counter, (seed & _WORD, seed >> 32)), 1)


_WORD = 0xFFFFFFFF


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox 4x32-10 (Salmon et al., 2011): four words of each counter of four words, all of them int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # of a product of two words int64 has all 64 bits, the highest as its sign
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (second >> 32 & _WORD) ^ c1 ^ k0,
            second & _WORD,
            (first >> 32 & _WORD) ^ c3 ^ k1,
            first & _WORD,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return [c0, c1, c2, c3]
