"""Freezes networks: their parameters need no gradient for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Compute no gradients of the modules' parameters for what is called in this context.

    The generator's turn needs the gradient of D's input. Without this context PyTorch also computes the
    gradients of all of D's weights, which the script then throws away, and it keeps D's activations of real
    samples for them. The gradients that reach the generator are the same, bit for bit.

    Only the forward pass has to be in the context. On exit, for whatever reason, those parameters need
    gradients again that did before. The context may be nested. Under DistributedDataParallel D does not
    synchronize gradients for what is called here, as there are none. Enter the context outside of functions
    that you compile: torch.compile then compiles D once more, without the gradients of its parameters.

    Args:
        modules: one or more discriminators, also wrapped by DistributedDataParallel, fully_shard or
            torch.compile, or with spectral or weight norm.

    Raises:
        TypeError: an argument is not a module.
        ValueError: there are no arguments, or one has no parameters.

    >>> D, fake = torch.nn.Linear(2, 1), torch.randn(4, 2, requires_grad=True)
    >>> with frozen(D):
    ...     loss = generator_loss(D(fake))
    >>> loss.backward()
    >>> D.weight.grad is None, fake.grad is None
    (True, False)
    """
    _check(modules)
    trainable = [p for module in modules for p in module.parameters() if p.requires_grad]
    with ExitStack() as stack:
        for module in modules:
            for each in module.modules():
                if isinstance(each, DistributedDataParallel):
                    stack.enter_context(each.no_sync())
        try:
            for parameter in trainable:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)


def _check(modules: tuple[nn.Module, ...]) -> None:
    if not modules:
        raise ValueError("frozen() got no modules, expected the discriminators that are not to be trained")
    for i, module in enumerate(modules):
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"argument {i} of frozen() must be a module, but is {type(module).__name__}; for several "
                "discriminators write frozen(D1, D2), not frozen([D1, D2])"
            )
        if next(module.parameters(), None) is None:
            raise ValueError(
                f"argument {i} of frozen() is a {type(module).__name__} without parameters, so there is "
                "nothing to freeze; pass the discriminator"
            )
