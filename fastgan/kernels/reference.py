"""The reference backend: every operation in plain PyTorch, for every device and dtype.

The other backends derive from it and override the methods for which they have kernels. Like the kernels, it
computes half types in float32 and rounds once. Every method is differentiable: all backends take their second
derivatives from here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.activations import Activation, Forward
from fastgan.kernels.acts import Act, leaky
from fastgan.kernels.channels import along_channels
from fastgan.kernels.logit_losses import LOSSES, LossSpec, weights_of_terms
from fastgan.kernels.native import compute_dtype, in_compute_dtype
from fastgan.kernels.opaque import opaque
from fastgan.kernels.pixels import unit_range
from fastgan.kernels.reference_bias_act import BiasActReference
from fastgan.kernels.reference_snake import SnakeReference
from fastgan.kernels.reference_tables import TablesReference
from fastgan.kernels.reference_upfirdn import UpfirdnReference

Tensors = tuple[Tensor, ...]
Pair = tuple[Tensor | None, Tensor | None]


class Reference(BiasActReference, SnakeReference, TablesReference, UpfirdnReference):
    """The interface of a backend.

    The losses on logits take any number of tensors of one dtype and any shapes, and a
    :class:`~fastgan.kernels.logit_losses.LossSpec` with a label and a weight for each::

        total = sum_i weight_i * mean(LOSSES[loss].term(t_i, label_i))    # or sum

    Layers take matrices: ``input [N, K]``, ``weight [M, K]``, ``grad`` and ``output [N, M]``. If ``into`` is
    given, the gradient of the weight or bias is written there. Gradients that one call returns for several
    tensors may be adjacent in memory, as if concatenated.

    Attributes:
        name: the name for :func:`fastgan.use_backend`.
        chains_layers: :meth:`mlp` is faster than single layers followed by :meth:`head_loss`.
    """

    name = "reference"
    chains_layers = False

    def __init_subclass__(cls, *, takes_addresses: bool = True) -> None:
        """Hide the methods of a subclass that takes addresses from TorchDynamo (see opaque.py)."""
        super().__init_subclass__()
        for method in vars(cls).values():
            if takes_addresses and inspect.isfunction(method):
                opaque(method)

    def why_not(self, device: torch.device) -> str | None:
        """The reason why this backend cannot run on a device, with the remedy; None if it can."""
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
        """Return the total, a scalar of ``dtype``; details or None; and ``kept`` for :meth:`loss_backward`.

        Details are ``[2 n + 1]`` for n tensors, float32 (float64 for float64 logits): each tensor's share of
        the total, the mean of D's output for each, and the fraction of saturated logits over all tensors.
        With ``keep_grads`` a backend may compute the gradients in the same pass: ``kept`` holds those for an
        incoming gradient of 1. Otherwise ``kept`` is empty.
        """
        loss = LOSSES[spec.loss]
        computed = [in_compute_dtype(t) for t in logits]
        terms = [loss.term(t, label) for t, label in zip(computed, spec.labels, strict=True)]
        reduced = [each.mean() if spec.mean else each.sum() for each in terms]
        shares = torch.stack([_scaled(r, w) for r, w in zip(reduced, spec.weights, strict=True)])
        total = shares.sum().to(dtype)
        if not detailed:
            return total, None, ()
        with torch.no_grad():
            means = torch.stack([loss.output(t).mean() for t in computed])
            saturated = [loss.saturated(t, y).flatten() for t, y in zip(computed, spec.labels, strict=True)]
            share = torch.cat(saturated).to(means.dtype).mean().reshape(1)
            return total, torch.cat([shares.detach(), means, share]), ()

    def loss_backward(self, grad: Tensor, logits: Tensors, spec: LossSpec, kept: Tensors = ()) -> Tensors:
        """Return ``grad``, a scalar, times the gradient of each tensor of logits.

        ``kept`` are the gradients for a ``grad`` of 1, or empty. They are returned unchanged if ``grad`` is
        1, and overwritten if not. The device decides, without a synchronization.
        """
        loss, g = LOSSES[spec.loss], in_compute_dtype(grad)
        return tuple(
            (g * (weight * loss.slope(in_compute_dtype(t), label))).to(t.dtype)
            for t, label, weight in zip(
                logits, spec.labels, spec.weights_of([t.numel() for t in logits]), strict=True
            )
        )

    def loss_and_grad(
        self, logits: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensors, Tensor]:
        """Return the total, its gradients times ``scale`` (a scalar tensor; None: 1), and details."""
        total, details, _ = self.loss(logits, spec, dtype, detailed=True)
        assert details is not None
        grad = logits[0].new_ones((), dtype=torch.float32) if scale is None else scale
        return total, self.loss_backward(grad, logits, spec), details

    def loss_terms(self, logits: Tensor, loss: str, label: float, weight: float) -> Tensor:
        """Return ``weight * term`` for each logit."""
        return (weight * LOSSES[loss].term(in_compute_dtype(logits), label)).to(logits.dtype)

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        """Return ``grad``, one value per term, times the slopes."""
        return (in_compute_dtype(grad) * (weight * LOSSES[loss].slope(in_compute_dtype(logits), label))).to(
            logits.dtype
        )

    # --- L1 distances of pairs of tensors

    def l1_loss(
        self, x: Tensors, y: Tensors, weights: Sequence[float], mean: bool, dtype: torch.dtype
    ) -> Tensor:
        """Return ``sum_i weights[i] * mean |x[i] - y[i]|``, or with sums; a scalar of ``dtype``.

        All tensors have one dtype, and ``x[i]`` the shape of ``y[i]``.
        """
        terms = [_difference(a, b).abs() for a, b in zip(x, y, strict=True)]
        reduced = [each.mean() if mean else each.sum() for each in terms]
        return torch.stack([_scaled(r, w) for r, w in zip(reduced, weights, strict=True)]).sum().to(dtype)

    def l1_loss_backward(
        self,
        grad: Tensor,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        needs: tuple[bool, bool],
    ) -> tuple[Tensors, Tensors]:
        """Return ``grad``, a scalar, times the gradients of ``x`` and of ``y``; () for a side not needed."""
        g = in_compute_dtype(grad)
        each = weights_of_terms(weights, [t.numel() for t in x]) if mean else weights
        slopes = [g * w * torch.sign(_difference(a, b)) for a, b, w in zip(x, y, each, strict=True)]
        dx = tuple(slope.to(t.dtype) for slope, t in zip(slopes, x, strict=True)) if needs[0] else ()
        dy = tuple((-slope).to(t.dtype) for slope, t in zip(slopes, y, strict=True)) if needs[1] else ()
        return dx, dy

    def l1_loss_and_grad(
        self,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        scale: Tensor | None,
        dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, Tensors, Tensors]:
        """Return the loss, and the gradients of both sides times ``scale`` (None: 1)."""
        grad = x[0].new_ones((), dtype=torch.float32) if scale is None else scale
        loss = self.l1_loss(x, y, weights, mean, dtype)
        return loss, *self.l1_loss_backward(grad, x, y, weights, mean, needs)

    def l1_terms(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``|x - y|`` for each element."""
        return _difference(x, y).abs().to(x.dtype)

    def l1_terms_backward(self, grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, bool]) -> Pair:
        """Return ``grad``, one value per term, times the gradients; None for one that is not needed."""
        slope = in_compute_dtype(grad) * torch.sign(_difference(x, y))
        return slope.to(x.dtype) if needs[0] else None, (-slope).to(x.dtype) if needs[1] else None

    # --- layers

    def batch_norm_statistics(
        self, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
    ) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of each channel (dim 1): [C], float32 (float64 for float64 input).

        Also updates the running statistics that are not None, in place, to ``(1 - momentum) * running +
        momentum * batch`` with the unbiased variance. They have the input's dtype, or float32 for half types.
        An empty input has zeros as statistics and updates nothing, as in PyTorch.
        """
        x, channels = in_compute_dtype(input), input.shape[1]
        if input.numel() == 0:
            return x.new_zeros(channels), x.new_zeros(channels)
        var, mean = torch.var_mean(x, [i for i in range(input.dim()) if i != 1], correction=0)
        count = input.numel() // channels
        with torch.no_grad():
            for running, batch in ((running_mean, mean), (running_var, var * (count / max(count - 1, 1)))):
                if running is not None:
                    # momentum = 1 gives exactly the batch's: running + momentum * (batch - running) would not
                    running.copy_(torch.lerp(in_compute_dtype(running), batch, momentum))
        return mean, var

    def batch_norm_leaky_relu(
        self,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        into: Tensor | None = None,
    ) -> Tensor:
        """Return ``leaky_relu((input - mean) * (weight * rsqrt(var + eps)) + bias)``, in the input's order.

        ``mean``, ``var``, ``weight`` and ``bias`` are [C], for dim 1. Each has the input's dtype, or float32
        for half types. ``into [N, C]``, for an input of two dimensions, receives the result; its rows may
        have any stride, so that the result can lie next to other columns.
        """
        _, _, z = _normalized(input, mean, var, weight, bias, eps)
        output = F.leaky_relu(z, negative_slope).to(input.dtype)
        return output if into is None else into.copy_(output)

    def batch_norm_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        training: bool,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of input, weight and bias, None if not needed.

        If ``training``, mean and var are functions of the input, otherwise constants. The slope is that of
        the sign of z, which is computed again, as in the forward pass. The rows of a ``grad [N, C]`` may have
        any stride.
        """
        scaled, factor, z = _normalized(input, mean, var, weight, bias, eps)
        g = torch.where(z > 0, in_compute_dtype(grad), negative_slope * in_compute_dtype(grad))
        others = [i for i in range(input.dim()) if i != 1]
        sum_g, sum_gx = g.sum(others), (g * scaled).sum(others)
        dx = g
        if training:
            count = max(input.numel() // max(input.shape[1], 1), 1)
            dx = g - along_channels(sum_g / count, g) - scaled * along_channels(sum_gx / count, g)
        return (
            (dx * factor).to(input.dtype) if needs[0] else None,
            sum_gx.to(weight.dtype) if needs[1] and weight is not None else None,
            sum_g.to(bias.dtype) if needs[2] and bias is not None else None,
        )

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        return F.linear(input, weight, bias)

    def product(self, a: Tensor, b: Tensor, bias: Tensor | None = None, into: Tensor | None = None) -> Tensor:
        """Return ``a [N, K] @ b [K, M] + bias [M]``; matrices and ``into`` may have any strides.

        On a CPU, float32 has the bits of a recorded step.
        """
        return torch.mm(a, b, out=into) if bias is None else torch.addmm(bias, a, b, out=into)

    def row_sums(self, matrix: Tensor, into: Tensor | None = None) -> Tensor:
        """Return the sum of the rows of a contiguous ``[N, M]``; on a CPU as :meth:`product`."""
        return torch.sum(matrix, 0, out=into)

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        """Return ``clamp(act.gain * leaky_relu(input @ weight.T + bias))``; ``act`` has the form "leaky"."""
        return self.bias_act(F.linear(input, weight, bias), None, act, 1)

    def linear_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        weight: Tensor,
        output: Tensor,
        act: Act,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of input, weight and bias, None if not needed."""
        dz, db = self.bias_act_backward(grad, output, None, act, 1, needs[2])
        return self.dgrad(dz, weight) if needs[0] else None, self.wgrad(dz, input) if needs[1] else None, db

    def dgrad(self, grad: Tensor, weight: Tensor) -> Tensor:
        """Return ``grad @ weight``, [N, K]."""
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
        """Return dgrad through the leaky ReLU with this ``output``, and the bias gradient of that layer."""
        act = leaky(negative_slope)
        return self.bias_act_backward(self.dgrad(grad, weight), output, None, act, 1, with_bias, into)

    def wgrad(self, grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
        """Return ``grad.T @ input``, [M, K]."""
        return torch.mm(grad.t(), input, out=into)

    # --- spectral norm of several weights

    def spectral_norm(
        self, weights: Tensors, u: Tensors, v: Tensors, eps: float, iterations: int, columns_first: bool
    ) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        """Return ``weights[i] / sigma_i``, the new ``u`` and ``v``, and sigma.

        ``weights[i]`` is a matrix W ``[R_i, C_i]``, ``u[i]`` is ``[R_i]`` and ``v[i]`` is ``[C_i]``, all of
        one dtype. An iteration is ``u = normalize(W v)`` and then ``v = normalize(W.T u)``, or v first, with
        ``normalize(x) = x / max(|x|, eps)``. ``sigma_i = u.T W v``; sigma is ``[n]`` for n weights, float32
        (float64 for float64 weights). Without iterations ``u`` and ``v`` are those given.
        """
        computed = [in_compute_dtype(w) for w in weights]
        if iterations:
            found = [
                _power_iterations(w.detach(), a, b, eps, iterations, columns_first)
                for w, a, b in zip(computed, u, v, strict=True)
            ]
            u, v = tuple(a for a, _ in found), tuple(b for _, b in found)
        sigmas = [_sigma(*each) for each in zip(computed, u, v, strict=True)]
        scaled = [(c / sigma).to(w.dtype) for w, c, sigma in zip(weights, computed, sigmas, strict=True)]
        return tuple(scaled), u, v, torch.stack(sigmas)

    def spectral_norm_backward(
        self, grads: Tensors, weights: Tensors, u: Tensors, v: Tensors, sigma: Tensor
    ) -> Tensors:
        """Return ``(grads[i] - <grads[i], W / sigma_i> u v.T) / sigma_i`` for each weight W.

        ``u``, ``v`` and ``sigma`` are those that :meth:`spectral_norm` returned; u and v are constants.
        """
        results = []
        for grad, w, a, b, norm in zip(grads, weights, u, v, sigma, strict=True):
            g, c = in_compute_dtype(grad), in_compute_dtype(w)
            again = _sigma(c, a, b)
            factor = norm + (again - again.detach())  # a function of w, for the second derivative
            inner = (g * c).sum() / factor
            results.append(
                ((g - inner * torch.outer(in_compute_dtype(a), in_compute_dtype(b))) / factor).to(w.dtype)
            )
        return tuple(results)

    # --- activations after a layer, [N, M]; their derivatives are computed from the output

    def activate(self, product: Tensor, activation: Activation, into: Tensor | None = None) -> Tensor:
        """Return the activation of a layer's product, [N, pieces * M]."""
        if activation.kind == "tanh":
            return torch.tanh(product, out=into)
        if activation.kind == "sigmoid":
            return torch.sigmoid(product, out=into)
        if activation.kind == "maxout":
            output = _pieces(product, activation).amax(1)
        elif activation.kind == "leaky_relu":
            output = F.leaky_relu(product, activation.negative_slope)
        else:
            output = product
        return output if into is None else into.copy_(output)

    def activation_backward(
        self,
        grad: Tensor,
        product: Tensor | None,
        output: Tensor,
        activation: Activation,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradient of the product, and its sum over the rows. Only a maxout reads the product.

        Pieces that are equal share the gradient of their maximum.
        """
        if activation.kind == "leaky_relu":
            act = leaky(activation.negative_slope)
            return self.bias_act_backward(grad, output, None, act, 1, with_bias, into)
        dz = self._product_grad(grad, product, output, activation)
        return dz, torch.sum(dz, 0, out=into) if with_bias else None

    def _product_grad(
        self, grad: Tensor, product: Tensor | None, output: Tensor, activation: Activation
    ) -> Tensor:
        if activation.kind == "none":
            return grad
        g = in_compute_dtype(grad)
        dz: Tensor
        if activation.kind == "tanh":
            dz = torch.ops.aten.tanh_backward(g, in_compute_dtype(output))
        elif activation.kind == "sigmoid":
            dz = torch.ops.aten.sigmoid_backward(g, in_compute_dtype(output))
        else:
            dz = (g.unsqueeze(1) * _shares(product, output, activation)).flatten(1)
        return dz.to(grad.dtype)

    def activation_tangent(
        self, change: Tensor, product: Tensor | None, output: Tensor, activation: Activation
    ) -> Tensor:
        """Return the change of the output with the product's: the transpose of the backward pass."""
        if activation.kind != "maxout":
            return self.activation_backward(change, product, output, activation, False)[0]
        shares = _shares(product, output, activation)
        return (in_compute_dtype(_pieces(change, activation)) * shares).sum(1).to(change.dtype)

    # --- chains of layers, the last one linear

    def hidden_layers(
        self,
        input: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        activations: tuple[Activation, ...],
    ) -> Forward:
        """The outputs of all layers but the last; ``activations`` are those of these layers."""
        products: list[Tensor | None] = []
        hidden: list[Tensor] = []
        x = input
        for weight, bias, activation in zip(weights[:-1], biases[:-1], activations, strict=True):
            product: Tensor | None = None
            if activation.kind == "leaky_relu":
                x = self.linear_leaky_relu(x, weight, bias, leaky(activation.negative_slope))
            else:
                product = self.linear(x, weight, bias)
                x = self.activate(product, activation)
            products.append(product if activation.kind == "maxout" else None)
            hidden.append(x)
        return Forward(input, weights, activations, products, hidden)

    def mlp(
        self,
        input: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        activations: tuple[Activation, ...],
    ) -> tuple[Forward, Tensor]:
        """:meth:`hidden_layers`, and the output of the last layer."""
        forward = self.hidden_layers(input, weights, biases, activations)
        return forward, self.linear(forward.hidden[-1] if activations else input, weights[-1], biases[-1])

    def mlp_backward(
        self,
        grad: Tensor,
        forward: Forward,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor | None]:
        """Return the gradients (dx, dW_1 ... dW_L, db_1 ... db_L), None if not needed.

        ``into`` has memory, or None, for each of dW_1 ... db_L.
        """
        return self.mlp_chain(grad, forward, needs, into)[1]

    def mlp_chain(
        self,
        grad: Tensor,
        forward: Forward,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Return ``dz_1 ... dz_L`` and the gradients of :meth:`mlp_backward`, layer by layer.

        The backward pass stops at the lowest layer with a needed gradient.
        """
        weights, depth = forward.weights, len(forward.weights)
        needs_weight, needs_bias = needs[1 : depth + 1], needs[depth + 1 :]
        rooms = into or [None] * 2 * depth
        below = [forward.input, *forward.hidden]
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
                room = rooms[depth + i - 1]
                dz[i - 1], db[i - 1] = self._through_layer(dz[i], forward, i, needs_bias[i - 1], room)
            else:
                break
        return dz, [dx, *dw, *db]

    def mlp_slope_backward(
        self, grad: Tensor, dz: Sequence[Tensor], forward: Forward, into: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Return the gradients of the weights; ``grad`` is that of the dx that :meth:`mlp_chain` computed.

        All activations are piecewise linear, so their derivatives are constants. ``dz`` are those that
        :meth:`mlp_chain` returned. The derivative takes a single pass up the chain:

            a_0 = grad,   dW_i = dz_iᵀ a_{i-1},   a_i = d_i * (a_{i-1} W_iᵀ).
        """
        dw = [self.wgrad(dz[0], grad, into[0])]
        for i, activation in enumerate(forward.activations):
            climbed = self.linear(grad, forward.weights[i], None)
            grad = self.activation_tangent(climbed, forward.products[i], forward.hidden[i], activation)
            dw.append(self.wgrad(dz[i + 1], grad, into[i + 1]))
        return dw

    def _through_layer(
        self, dz: Tensor, forward: Forward, layer: int, with_bias: bool, into: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """dz of the layer below, and its sum over the rows: the gradient of that layer's bias."""
        weight, activation = forward.weights[layer], forward.activations[layer - 1]
        product, output = forward.products[layer - 1], forward.hidden[layer - 1]
        if activation.kind == "leaky_relu":
            slope = activation.negative_slope
            return self.dgrad_leaky_relu(dz, weight, output, slope, with_bias, into)
        grad = self.dgrad(dz, weight)
        return self.activation_backward(grad, product, output, activation, with_bias, into)

    def mlp_backward_of_both(
        self,
        scale: Tensor,
        first_row: int,
        forward: Forward,
        needs: Sequence[bool],
        into: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """:meth:`mlp_backward` for one logit per row and an incoming gradient of 1; always computes dx.

        dW and db weight each row by ``scale`` [N, 1]; dx does not. dx starts at row ``first_row``.
        """
        depth = len(forward.weights)
        unit = [torch.ones_like(scale)]
        for i in reversed(range(1, depth)):
            unit.append(self._through_layer(unit[-1], forward, i, False)[0])
        dx = self.dgrad(unit[-1][first_row:], forward.weights[0])
        unit.reverse()
        dw = [
            self.wgrad(u.mul(scale), x, place)
            for u, x, place in zip(unit, [forward.input, *forward.hidden], into[:depth], strict=True)
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
        """The loss of the logits ``features @ weight + bias``: features [N, H] each, [H], and [1] or None.

        Returns the total and its details. With ``with_grads`` also returns d loss / d logits [N] of each
        tensor and the gradients of weight [H] and bias [1], for :meth:`head_loss_backward`. They are float32
        (float64 for float64 features).
        """
        w = in_compute_dtype(weight).unsqueeze(0)
        b = None if bias is None else in_compute_dtype(bias)
        logits = tuple(F.linear(in_compute_dtype(h), w, b).squeeze(1) for h in features)
        total, details, _ = self.loss(logits, spec, dtype, detailed)
        if not with_grads:
            return total, details, (), None, None
        loss = LOSSES[spec.loss]
        slopes = tuple(
            share * loss.slope(t, label)
            for t, label, share in zip(
                logits, spec.labels, spec.weights_of([t.numel() for t in logits]), strict=True
            )
        )
        dw = torch.stack([s @ in_compute_dtype(h) for s, h in zip(slopes, features, strict=True)]).sum(0)
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
        """Return ``grad``, a scalar, times the gradients of features, weight and bias, None if not needed."""
        g, dtype = grad.to(dw.dtype), weight.dtype
        return (
            tuple(
                torch.outer(g * s, in_compute_dtype(weight)).to(dtype) if needs[0] else None for s in slopes
            ),
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
        """Return the total; the gradients of features, weight and bias times ``scale``; and details."""
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
        weight_decay: float,
        average: Tensor | None,
        average_weight: Tensor,
        halves: Tensor | None,
    ) -> None:
        """One step of Adam, in place (Kingma and Ba, 2015, algorithm 1), with average and bfloat16 copy.

        ``values``, ``grads`` and both moments are ``[n]`` of one dtype. ``count``, a float32 scalar, is the
        number of the step; the first call of a step adds 1 to it. ``weight_decay`` times the values is added
        to the gradients first, as in torch.optim.Adam; ``grads`` stay as they are. If given, ``average [n]``
        moves towards the new values by ``average_weight``, and ``halves [n]`` gets the new values in
        bfloat16.
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
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        if average is not None:
            average.lerp_(values, average_weight.to(average.dtype))
        if halves is not None:
            halves.copy_(values)

    def sgd(
        self,
        values: Tensor,
        grads: Tensor,
        velocity: Tensor,
        learning_rate: Tensor,
        momentum: Tensor,
        average: Tensor | None,
        average_weight: Tensor,
        halves: Tensor | None,
    ) -> None:
        """One step of gradient descent with momentum, in place, with average and bfloat16 copy.

        ``velocity = momentum * velocity - learning_rate * grads`` and ``values += velocity``; the other
        arguments are those of :meth:`adam`.
        """
        velocity.mul_(momentum).sub_(grads * learning_rate)
        values.add_(velocity)
        if average is not None:
            average.lerp_(values, average_weight.to(average.dtype))
        if halves is not None:
            halves.copy_(values)

    def norm(self, x: Tensor, order: int) -> Tensor:
        """Return the 1-norm or 2-norm of all elements, float32 (float64 for a float64 tensor)."""
        norm: Tensor = torch.linalg.vector_norm(x, order, dtype=compute_dtype(x.dtype))
        return norm

    def clip(self, grads: Sequence[Tensor], max_norm: float) -> None:
        """Scale tensors in place so that their 2-norm, of all together, is at most ``max_norm``.

        As :func:`torch.nn.utils.clip_grad_norm_`, the factor is ``max_norm / (norm + 1e-6)`` or 1.
        """
        norm = self.norm(torch.stack([self.norm(grad, 2) for grad in grads]), 2)
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor.to(grad.dtype))

    def record(
        self,
        table: Tensor,
        row: Tensor,
        scalars: list[Tensor],
        schedule: Tensor,
        settings: Tensor,
        clock: Tensor,
    ) -> None:
        """End a step: record its scalars and load the settings of the next step.

        Writes the scalars to row ``row`` of ``table [rows, columns]``, one per column. Then increments
        ``row`` and ``clock``, int64 [1] each, and copies the new row of ``schedule [rows + 1, settings]`` to
        ``settings``. All but the two counters are float32.
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
        """Fill three vectors with random numbers from Philox 4x32-10.

        ``integers``, int64, are in [0, high) with high at most 2**31. ``normal`` and ``uniform``, in [0, 1),
        are float32. The key is ``seed``, the step is ``clock``, int64 [1]. Element i of vector ``kind`` (0,
        1 or 2) has the index ``begins[kind] + i``; ``begins`` are multiples of 4. Four indices share the
        counter ``(place, kind + 4 * (place >> 32), step, step >> 32)`` with place = index // 4.
        """
        words = [
            _words(begin, len(room), kind, seed, clock)
            for kind, (begin, room) in enumerate(zip(begins, (integers, normal, uniform), strict=True))
        ]
        integers.copy_(words[0].flatten()[: len(integers)] * high >> 32)
        first, second = words[1][:, ::2].float(), words[1][:, 1::2].float()
        radius = torch.sqrt(-2 * torch.log(first * 2.0**-32 + 2.0**-33))  # the log of a number in (0, 1]
        angle = second * (2.0**-31 * math.pi)
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 2)
        normal.copy_(pairs.flatten()[: len(normal)])
        uniform.copy_((words[2].flatten()[: len(uniform)] >> 8) * 2.0**-24)

    # --- batches of samples, between the networks

    def gather(self, samples: Tensor, rows: Tensor, dtype: torch.dtype, into: Tensor | None) -> Tensor:
        """Return some rows, int64 ``[B]``, of ``samples [N, ...]`` in a dtype; written to ``into`` if given.

        uint8 pixels are mapped to [-1, 1].
        """
        if samples.dtype == dtype:
            return torch.index_select(samples, 0, rows, out=into)
        batch = unit_range(samples.index_select(0, rows), dtype)
        return batch if into is None else into.copy_(batch)

    def add_noise(self, samples: Tensor, noise: Tensor, std: Tensor) -> Tensor:
        """Return ``samples + std * noise``; ``std`` is a scalar tensor."""
        return samples + (std * noise).to(samples.dtype)

    def between(self, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        """Return the points at ``share [N, 1, ...]`` on the way from ``fake`` to ``real [N, ...]``."""
        return torch.lerp(fake, real, share.to(real.dtype))

    def around(self, real: Tensor, share: Tensor, noise: Tensor) -> Tensor:
        """Return ``real + share * std(real) / 2 * noise``; ``share`` is ``[N, 1, ...]``, others ``[N, ...]``.

        The standard deviation is the unbiased one of all elements.
        """
        return real + share * (real.std() / 2) * noise

    def lipschitz_grad(self, slope: Tensor, weight: float) -> Tensor:
        """Return the gradient of ``weight * mean((|slope| - 1)^2)``; ``slope [N, ...]`` has N norms."""
        norm = torch.linalg.vector_norm(slope.flatten(1), dim=1).view(-1, *[1] * (slope.dim() - 1))
        # the norm is not differentiable at zero; PyTorch's derivative there is zero
        factor = torch.where(norm == 0, 0.0, 1 - 1 / norm)
        return 2 * weight / max(len(slope), 1) * factor * slope


def _scaled(scalar: Tensor, weight: float) -> Tensor:
    # torch.func treats a number as a float64 tensor, which would make the product float64
    return scalar if weight == 1 else scalar * scalar.new_full((), weight)


def _difference(x: Tensor, y: Tensor) -> Tensor:
    return in_compute_dtype(x) - in_compute_dtype(y)


def _power_iterations(
    w: Tensor, u: Tensor, v: Tensor, eps: float, iterations: int, columns_first: bool
) -> tuple[Tensor, Tensor]:
    for step in range(2 * iterations):
        if (step % 2 == 0) == columns_first:
            v = F.normalize(torch.mv(w.t(), in_compute_dtype(u)), dim=0, eps=eps).to(v.dtype)
        else:
            u = F.normalize(torch.mv(w, in_compute_dtype(v)), dim=0, eps=eps).to(u.dtype)
    return u, v


def _sigma(w: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """An estimate of the largest singular value of a matrix."""
    return torch.dot(in_compute_dtype(u), torch.mv(w, in_compute_dtype(v)))


def _pieces(product: Tensor, activation: Activation) -> Tensor:
    """The pieces of a maxout, [N, pieces, M]."""
    return product.view(len(product), activation.pieces, -1)


def _shares(product: Tensor | None, output: Tensor, activation: Activation) -> Tensor:
    """The derivative of a maxout with respect to each piece, [N, pieces, M], as in PyTorch's amax."""
    if product is None:
        raise ValueError("a maxout's derivative needs its product, but product is None")
    largest = in_compute_dtype(output).unsqueeze(1)
    is_largest = (in_compute_dtype(_pieces(product, activation)) == largest).to(largest.dtype)
    return is_largest / is_largest.sum(1, keepdim=True)


def _normalized(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm before weight and bias; the factor of ``input - mean`` for each channel; and after them."""
    centered = in_compute_dtype(input) - along_channels(in_compute_dtype(mean), input)
    inverse = torch.rsqrt(in_compute_dtype(var) + eps)
    factor = along_channels(inverse if weight is None else in_compute_dtype(weight) * inverse, input)
    z = centered * factor
    if bias is not None:
        z = z + along_channels(in_compute_dtype(bias), input)
    return centered * along_channels(inverse, input), factor, z


def _words(begin: int, count: int, kind: int, seed: int, clock: Tensor) -> Tensor:
    """Philox words for ``count`` numbers of a kind from index ``begin``, a multiple of 4: four per row."""
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
    """Philox 4x32-10 (Salmon et al., 2011): four words for each counter of four words, stored as int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 holds all 64 bits of a product of two words, the highest one as the sign
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (second >> 32 & _WORD) ^ c1 ^ k0,
            second & _WORD,
            (first >> 32 & _WORD) ^ c3 ^ k1,
            first & _WORD,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return [c0, c1, c2, c3]
