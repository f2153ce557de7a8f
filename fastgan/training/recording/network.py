"""The calls of a network in a recorded step: forward, backward, and the update of its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fastgan.chains import Chain
from fastgan.kernels.activations import Activation
from fastgan.kernels.cpu.tape import Tape, packed_size
from fastgan.training.adam import Adam
from fastgan.training.recording.arena import Arena
from fastgan.training.sgd import SGD

_FEATURES = 64  # rows of a weight that a thread takes at a time; a multiple of the products' panels


@dataclass(frozen=True)
class Output:
    """A layer's output for a batch.

    Attributes:
        linear: ``[N, features]`` of the linear layer; without maxout the activation's output overwrites it.
        activated: ``[N, features / pieces]``; the same tensor without maxout.
        derivative: ``[N, features]``, of the activation and of dropout; None without dropout.
        first_number: index of the first random number of dropout.
    """

    linear: Tensor
    activated: Tensor
    derivative: Tensor | None = None
    first_number: int = 0

    def rows(self, part: slice) -> Output:
        linear = self.linear[part]
        activated = linear if self.activated is self.linear else self.activated[part]
        if self.derivative is None:
            return Output(linear, activated)
        before = (part.start or 0) * linear.shape[1]
        return Output(linear, activated, self.derivative[part], self.first_number + before)


@dataclass(frozen=True)
class Climb:
    """A penalty's part of the gradient of each weight: dW_i = u_i.T @ a_i.

    Attributes:
        u: ``[N, features]`` for each layer, propagated from the top down.
        a: ``[N, width]`` for each layer, propagated from the bottom up.
    """

    u: list[Tensor]
    a: list[Tensor]


class RecordedLayers:
    """Linear layers whose parameters a step updates.

    Args:
        weights: ``[features, width]`` of each layer.
        others: its other parameters, ``[features]`` each.
        optimizer: holds all of them in one buffer.
        arena: for packed weights.
        reaches_input: whether the gradient of the first layer's input will be needed.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        others: Sequence[Sequence[Tensor]],
        optimizer: Adam | SGD,
        arena: Arena,
        *,
        reaches_input: bool,
    ) -> None:
        self.optimizer, self._weights, self._others = optimizer, weights, others
        self._forward = [arena.take(packed_size(*weight.shape)) for weight in weights]
        self._dgrad = [
            arena.take(packed_size(*weight.shape[::-1])) if i > 0 or reaches_input else None
            for i, weight in enumerate(weights)
        ]
        (flat,) = optimizer.flats
        self._index = {id(p): i for i, p in enumerate(flat.parameters)}
        self._grads = flat.views(flat.grads)
        self._step_of = _adam(optimizer) if isinstance(optimizer, Adam) else _sgd(optimizer)

    def count(self, tape: Tape) -> None:
        """Count the optimizer's step; precedes :meth:`update`, in a stage for one thread."""
        if isinstance(self.optimizer, Adam):
            tape.count(self.optimizer.count)

    def pack(self, tape: Tape) -> None:
        """Add units that pack all weights."""
        for i in range(len(self._weights)):
            self._unit(tape, i)
            tape.pack(self._weights[i], self._forward[i], self._dgrad[i])

    def _update(
        self, tape: Tape, arena: Arena, add_gradients: Callable[[int], None], clip: float | None
    ) -> None:
        """Add units that compute the gradients of each layer and update its parameters.

        Args:
            tape: the tape, at the beginning of a stage.
            arena: its memory.
            add_gradients: adds the calls that compute the gradients of a layer.
            clip: largest norm of all gradients, or None.
        """
        for i in range(len(self._weights)):
            self._unit(tape, i)
            add_gradients(i)
            if clip is None:
                self._move(tape, i)
        if clip is not None:
            (flat,) = self.optimizer.flats
            tape.stage()
            tape.unit(1, 1)
            factor = arena.take(1)
            tape.clip_factor(flat.grads, clip, factor)
            tape.stage()
            for i in range(len(self._weights)):
                self._unit(tape, i)
                for p in self._parameters(i):
                    tape.scale_by(self._grad(p), factor)
                self._move(tape, i)

    def _move(self, tape: Tape, i: int) -> None:
        for p in self._parameters(i):
            self._step_of(tape, self._index[id(p)])
        tape.pack(self._weights[i], self._forward[i], self._dgrad[i])

    def _parameters(self, i: int) -> list[Tensor]:
        return [self._weights[i], *self._others[i]]

    def _grad(self, parameter: Tensor) -> Tensor:
        return self._grads[self._index[id(parameter)]]

    def _unit(self, tape: Tape, i: int) -> None:
        tape.unit(len(self._weights[i]), _FEATURES)


class RecordedNetwork(RecordedLayers):
    """A chain of layers whose weights a step updates.

    Args:
        chain: the layers.
        optimizer: holds their parameters in one buffer.
        arena: for packed weights.
        reaches_input: whether the gradient of the input will be needed.
    """

    def __init__(self, chain: Chain, optimizer: Adam | SGD, arena: Arena, *, reaches_input: bool) -> None:
        self.activations = [layer.activation for layer in chain.layers]
        self._biases: list[Tensor | None] = [layer.bias for layer in chain.linears]
        weights = [layer.weight for layer in chain.linears]
        others = [[] if bias is None else [bias] for bias in self._biases]
        super().__init__(weights, others, optimizer, arena, reaches_input=reaches_input)

    @property
    def width(self) -> int:
        """Features of the input."""
        return self._weights[0].shape[1]

    def outputs(self, arena: Arena, rows: int, last: Tensor | None = None) -> list[Output]:
        """Memory for a batch's outputs; ``last`` is that of the last layer, if the caller has it."""
        outputs = []
        count = len(self._weights) - (last is not None)
        for activation, weight in zip(self.activations[:count], self._weights[:count], strict=True):
            linear = activated = arena.take(rows, len(weight))
            if activation.kind == "maxout":
                activated = arena.take(rows, len(weight) // activation.pieces)
            outputs.append(Output(linear, activated))
        return outputs if last is None else [*outputs, Output(last, last)]

    def outputs_again(
        self, tape: Tape, arena: Arena, x: Tensor, outputs: Sequence[Output]
    ) -> Sequence[Output]:
        """The outputs of another pass of x; they are those of the pass before if layers draw no numbers."""
        return outputs

    def gradients(self, arena: Arena, rows: int) -> list[Tensor]:
        """Memory for a batch's gradients of each linear layer's output."""
        return [arena.take(rows, len(weight)) for weight in self._weights]

    def forward(self, tape: Tape, x: Tensor, outputs: Sequence[Output]) -> None:
        for i, (activation, output) in enumerate(zip(self.activations, outputs, strict=True)):
            slope = _fused_slope(activation)
            tape.forward(x, self._weights[i], self._forward[i], self._biases[i], slope, output.linear)
            if activation.kind == "maxout":
                tape.maxout(output.linear, output.activated, activation.pieces)
            elif activation.kind in ("tanh", "sigmoid"):
                tape.activate(output.linear, activation)
            self._drop(tape, i, output)
            x = output.activated

    def _drop(self, tape: Tape, i: int, output: Output) -> None:
        """Add what follows a layer's activation."""

    def backward(
        self,
        tape: Tape,
        arena: Arena,
        grad: Tensor,
        outputs: Sequence[Output],
        dz: Sequence[Tensor],
        dx: Tensor | None,
    ) -> None:
        """Propagate the gradient of the last output down to the first layer, or to the input.

        Args:
            tape: the tape.
            arena: its memory.
            grad: gradient of the last output; may be ``dz[-1]``.
            outputs: of the forward pass.
            dz: the results: gradients of each linear layer's output.
            dx: gradient of the input, or None if it is not needed.
        """
        _through_activation(tape, self.activations[-1], grad, outputs[-1], dz[-1])
        for i in range(len(self.activations) - 1, 0, -1):
            below, weight, packed = self.activations[i - 1], self._weights[i], self._dgrad[i]
            assert packed is not None
            is_fused, derivative = below.kind == "leaky_relu", outputs[i - 1].derivative
            mask = outputs[i - 1].activated if is_fused and derivative is None else None
            room = arena.take(*outputs[i - 1].activated.shape) if below.kind == "maxout" else dz[i - 1]
            tape.dgrad(dz[i], weight, packed, mask, _fused_slope(below), room)
            if derivative is not None:
                tape.multiply(room, derivative)
            elif not is_fused:
                _through_activation(tape, below, room, outputs[i - 1], dz[i - 1])
        if dx is not None:
            assert self._dgrad[0] is not None
            tape.dgrad(dz[0], self._weights[0], self._dgrad[0], None, 1.0, dx)

    def climb(self, tape: Tape, arena: Arena, a: Tensor, outputs: Sequence[Output], u: list[Tensor]) -> Climb:
        """Differentiate the slope of D's logits (:meth:`fastgan.training.mlp_pass.MLPPass.slope`).

        Args:
            tape: the tape.
            arena: its memory.
            a: ``[N, features[0]]``, the gradient of the slope.
            outputs: of the pass that gave the slope.
            u: gradients of each linear layer's output, of that pass.
        """
        climbed = [a]
        for i, (activation, output) in enumerate(zip(self.activations[:-1], outputs, strict=False)):
            above = arena.take(*output.activated.shape)
            if activation.kind == "maxout":
                linear = arena.take(*output.linear.shape)
                tape.forward(climbed[-1], self._weights[i], self._forward[i], None, 1.0, linear)
                tape.maxout_tangent(linear, output.linear, output.activated, above, activation.pieces)
            else:
                is_fused = activation.kind == "leaky_relu" and output.derivative is None
                mask, slope = output.activated if is_fused else None, _fused_slope(activation)
                tape.climb(climbed[-1], self._weights[i], self._forward[i], mask, slope, above)
                if output.derivative is not None:
                    tape.multiply(above, output.derivative)
            climbed.append(above)
        return Climb(u, climbed)

    def update(
        self,
        tape: Tape,
        arena: Arena,
        x: Tensor,
        outputs: Sequence[Output],
        dz: Sequence[Tensor],
        *,
        scale: Tensor | None = None,
        climbs: Sequence[Climb] = (),
        clip: float | None = None,
    ) -> None:
        """Add units that compute the gradients of each layer and update its parameters.

        Args:
            tape: the tape, at the beginning of a stage.
            arena: its memory.
            x: the input, ``[N, features[0]]``.
            outputs: of the batch.
            dz: gradients of each linear layer's output.
            scale: ``[N]``, a factor of each row's part of the gradients, or None.
            climbs: parts of penalties.
            clip: largest norm of all gradients, or None.
        """

        def add_gradients(i: int) -> None:
            below = x if i == 0 else outputs[i - 1].activated
            self._gradients_of(tape, arena, i, below, dz[i], scale, climbs)

        self._update(tape, arena, add_gradients, clip)

    def _gradients_of(
        self,
        tape: Tape,
        arena: Arena,
        i: int,
        x: Tensor,
        dz: Tensor,
        scale: Tensor | None,
        climbs: Sequence[Climb],
    ) -> None:
        dw, bias = self._grad(self._weights[i]), self._biases[i]
        tape.wgrad(dz, scale, x, dw)
        if climbs:
            part = arena.take(*dw.shape)
            for climb in climbs:
                tape.wgrad(climb.u[i], None, climb.a[i], part)
                tape.add(part, dw)
        if bias is not None:
            tape.bias_gradient(dz, scale, self._grad(bias))


def _fused_slope(activation: Activation) -> float:
    """The slope of the leaky ReLU that is part of a product; 1 if there is none."""
    return activation.negative_slope if activation.kind == "leaky_relu" else 1.0


def _through_activation(tape: Tape, activation: Activation, grad: Tensor, output: Output, dz: Tensor) -> None:
    """Compute ``dz`` from ``grad``, the gradient of ``output``; without an activation they are one tensor."""
    if activation.kind == "maxout":
        tape.maxout_grad(grad, output.linear, output.activated, dz, activation.pieces)
    elif activation.kind != "none":
        tape.activation_grad(grad, output.activated, dz, activation)


Move = Callable[[Tape, int], None]
"""Adds the update of a parameter, given by its index in the optimizer's buffer."""


def _adam(optimizer: Adam) -> Move:
    (flat,) = optimizer.flats
    values, grads, first, second = (
        flat.views(t) for t in (flat.values, flat.grads, optimizer.exp_avg[0], optimizer.exp_avg_sq[0])
    )
    averages = None if flat.average is None else flat.views(flat.average)

    def move(tape: Tape, i: int) -> None:
        average = None if averages is None else averages[i]
        tensors = optimizer.count, optimizer.learning_rate, optimizer.average_weight
        numbers = optimizer.betas, optimizer.eps, optimizer.weight_decay
        tape.adam(values[i], grads[i], (first[i], second[i]), average, *tensors, *numbers)

    return move


def _sgd(optimizer: SGD) -> Move:
    (flat,) = optimizer.flats
    values, grads, velocity = (flat.views(t) for t in (flat.values, flat.grads, optimizer.velocity[0]))
    averages = None if flat.average is None else flat.views(flat.average)

    def move(tape: Tape, i: int) -> None:
        average = None if averages is None else averages[i]
        settings = optimizer.learning_rate, optimizer.momentum, optimizer.average_weight
        tape.sgd(values[i], grads[i], velocity[i], average, *settings)

    return move
