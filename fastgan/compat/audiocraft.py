"""AudioCraft 1.3.0: ``audiocraft/adversarial/losses.py`` and ``audiocraft/losses/balancer.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, distributed, nn

from fastgan.ops import feature_matching_loss, labelled_loss

Criterion = Callable[[Tensor], Tensor]


def mse_loss(x: Tensor) -> Tensor:
    """``mse_loss``, of G."""
    return labelled_loss(x, 1.0, loss="mse")


def hinge_loss(x: Tensor) -> Tensor:
    """``hinge_loss``, of G: without a margin."""
    return labelled_loss(x, 1.0, loss="wasserstein")


def hinge2_loss(x: Tensor) -> Tensor:
    """``hinge2_loss``, of G: with a margin."""
    return labelled_loss(x, 1.0, loss="hinge")


def mse_real_loss(x: Tensor) -> Tensor:
    """``mse_real_loss``, of D."""
    return labelled_loss(x, 1.0, loss="mse")


def mse_fake_loss(x: Tensor) -> Tensor:
    """``mse_fake_loss``, of D."""
    return labelled_loss(x, 0.0, loss="mse")


def hinge_real_loss(x: Tensor) -> Tensor:
    """``hinge_real_loss``, of D."""
    return labelled_loss(x, 1.0, loss="hinge")


def hinge_fake_loss(x: Tensor) -> Tensor:
    """``hinge_fake_loss``, of D."""
    return labelled_loss(x, 0.0, loss="hinge")


_OF_GENERATOR: dict[str, Criterion] = {"mse": mse_loss, "hinge": hinge_loss, "hinge2": hinge2_loss}
_OF_REAL: dict[str, Criterion] = {"mse": mse_real_loss, "hinge": hinge_real_loss, "hinge2": hinge_real_loss}
_OF_FAKE: dict[str, Criterion] = {"mse": mse_fake_loss, "hinge": hinge_fake_loss, "hinge2": hinge_fake_loss}


def get_adv_criterion(loss_type: str) -> Criterion:
    """``get_adv_criterion``: G's loss, "mse", "hinge" or "hinge2"."""
    return _of_type(_OF_GENERATOR, loss_type)


def get_real_criterion(loss_type: str) -> Criterion:
    """``get_real_criterion``: D's loss of real samples."""
    return _of_type(_OF_REAL, loss_type)


def get_fake_criterion(loss_type: str) -> Criterion:
    """``get_fake_criterion``: D's loss of generated samples."""
    return _of_type(_OF_FAKE, loss_type)


def _of_type(criteria: dict[str, Criterion], loss_type: str) -> Criterion:
    if loss_type not in criteria:
        raise ValueError(f"loss_type must be one of {', '.join(map(repr, criteria))}, but is {loss_type!r}")
    return criteria[loss_type]


class FeatureMatchingLoss(nn.Module):
    """``FeatureMatchingLoss`` with L1, of one discriminator: the mean over maps, or the sum."""

    def __init__(self, *, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, fmap_fake: Sequence[Tensor], fmap_real: Sequence[Tensor]) -> Tensor:
        over = "mean" if self.normalize else "sum"
        return feature_matching_loss(fmap_real, fmap_fake, over_maps=over, detach_real=False)


class Balancer:
    """``Balancer``: scales the gradients of several losses at G's output, so that weights are their shares.

    With the moving average n of the norm of a loss's gradient, that gradient is multiplied by
    ``total_norm * weight / (sum of weights) / (epsilon + n)``.

    Args:
        weights: the share of each loss.
        balance_grads: scale gradients; else weigh them as they are.
        total_norm: the sum of all scaled norms.
        ema_decay: of the moving average.
        per_batch_item: average the norms of single samples instead of taking one over the batch.
        epsilon: added to norms.

    With several processes all use the mean of their norms.
    """

    def __init__(
        self,
        weights: dict[str, float],
        balance_grads: bool = True,
        total_norm: float = 1.0,
        ema_decay: float = 0.999,
        per_batch_item: bool = True,
        epsilon: float = 1e-12,
    ) -> None:
        self.weights, self.balance_grads, self.total_norm = weights, balance_grads, total_norm
        self.ema_decay, self.per_batch_item, self.epsilon = ema_decay, per_batch_item, epsilon
        self._totals: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}

    def backward(self, losses: dict[str, Tensor], input: Tensor) -> Tensor:
        """Propagate the balanced gradient through ``input``, G's output; return the scaled loss."""
        grads = {
            name: torch.autograd.grad(loss, input, retain_graph=True)[0] for name, loss in losses.items()
        }
        norms = self._averaged({name: self._norm(grad) for name, grad in grads.items()}, len(input))
        total_weight = sum(self.weights[name] for name in losses)
        scales: dict[str, Tensor | float] = {name: self.weights[name] for name in losses}
        if self.balance_grads:
            scales = {
                name: self.weights[name] / total_weight * self.total_norm / (self.epsilon + norms[name])
                for name in losses
            }
        input.backward(torch.stack([scales[name] * grad for name, grad in grads.items()]).sum(0))
        return torch.stack([scales[name] * loss.detach() for name, loss in losses.items()]).sum()

    def _norm(self, grad: Tensor) -> Tensor:
        per_item: Tensor = torch.linalg.vector_norm(grad.flatten(1), dim=1)
        return per_item.mean() if self.per_batch_item else per_item.norm()

    def _averaged(self, norms: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
        for name, norm in norms.items():
            self._totals[name] = self._totals.get(name, torch.zeros_like(norm)) * self.ema_decay + norm
            self._counts[name] = self._counts.get(name, 0.0) * self.ema_decay + 1
        averages = {name: self._totals[name] / self._counts[name] for name in norms}
        return _over_processes(averages, rows if self.per_batch_item else 1)


def _over_processes(averages: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """The mean over processes, weighted by ``count``."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return averages
    each = torch.stack(list(averages.values()))
    sums = torch.cat([each, each.new_ones(1)]) * count
    distributed.all_reduce(sums)
    return dict(zip(averages, sums[:-1] / sums[-1], strict=True))
