"""CTGAN's networks as a recording takes them, and reasons why others are not recorded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fastgan.chains import Chain, Layer
from fastgan.hooks import has_hooks
from fastgan.kernels.activations import NONE, Activation
from fastgan.kernels.spans import Spans
from fastgan.models.ctgan import CTGANDiscriminator, CTGANGenerator
from fastgan.training.dropout_pass import layers_of


@dataclass(frozen=True)
class Block:
    """A residual block: a linear layer without a bias, batch norm with these settings, and ReLU."""

    linear: nn.Linear
    norm: nn.BatchNorm1d
    eps: float
    momentum: float


@dataclass(frozen=True)
class TableGenerator:
    """CTGAN's generator.

    Attributes:
        blocks: in the order of their calls.
        last: from the columns of all blocks, the latent vector and the condition to the spans.
        latent_dim: size of the latent vector.
        spans: the output layer's columns.
    """

    blocks: tuple[Block, ...]
    last: nn.Linear
    latent_dim: int
    spans: Spans

    @property
    def added(self) -> int:
        """Columns that all blocks add."""
        return sum(block.norm.num_features for block in self.blocks)


@dataclass(frozen=True)
class DropoutChain:
    """CTGAN's discriminator.

    Attributes:
        chain: its layers without dropout.
        shares: of the outputs of each hidden layer that become zero.
    """

    chain: Chain
    shares: tuple[float, ...]


def table_generator_of(network: nn.Module, *, training: bool) -> TableGenerator | str:
    """The generator that a network is, or the reason why it cannot be recorded in this mode."""
    reason = _reason(network, CTGANGenerator)
    if reason is not None:
        return reason
    assert isinstance(network, CTGANGenerator)
    if not network.residual_blocks:
        return "it has no blocks"
    blocks = []
    for i, block in enumerate(network.residual_blocks):
        norm = block.norm
        if norm.training != training:
            return f"blocks.{i}.norm is in {'evaluation' if training else 'training'} mode"
        if norm.momentum is None or norm.running_mean is None or norm.weight is None:
            return f"blocks.{i}.norm has no momentum, running statistics or weights"
        blocks.append(Block(block.linear, norm, norm.eps, norm.momentum))
    return TableGenerator(tuple(blocks), network.last, network.latent_dim, network.spans)


def dropout_chain_of(network: nn.Module) -> DropoutChain | str:
    """The discriminator that a network is, or the reason why it cannot be recorded."""
    reason = _reason(network, CTGANDiscriminator)
    if reason is not None:
        return reason
    assert isinstance(network, CTGANDiscriminator)
    hidden, last = layers_of(network)
    layers = [Layer(each.linear, Activation("leaky_relu", float(each.negative_slope))) for each in hidden]
    shares = tuple(each.dropout.p if each.dropout.training else 0.0 for each in hidden)
    if 1.0 in shares:
        return "dropout leaves nothing"
    return DropoutChain(Chain((*layers, Layer(last, NONE)), False, (1,)), shares)


def _reason(network: nn.Module, expected: type[nn.Module]) -> str | None:
    if type(network) is not expected:
        return f"the network is a {type(network).__name__}, expected {expected.__name__} for a table"
    for name, module in network.named_modules():
        if has_hooks(module):
            return f"{name or 'the network'} has a hook, or a forward of its own"
        for p in module._parameters.values():
            if p is not None and (p._backward_hooks or p._post_accumulate_grad_hooks):
                return f"a parameter of {name} has a hook"
    return None
