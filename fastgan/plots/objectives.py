"""Plots the generator's two losses and their gradients against D(G(z)) and against its logit.

After figure 16 of Goodfellow's tutorial (2016; arXiv:1701.00160), with gradients in addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from torch import Tensor

from fastgan.ops import generator_loss
from fastgan.plots.figure import DISCRIMINATOR, GENERATOR, GUIDE, new_figure, open_axes, save_figure

_LOGITS = -20.0, 8.0
_POINTS = 801
_SATURATING = DISCRIMINATOR
_NON_SATURATING = GENERATOR


@dataclass(frozen=True)
class Curve:
    """A generator loss as computed by our kernels; tensors are ``[N]`` in the logits' dtype.

    Attributes:
        logits: f, the logits of D(G(z)).
        output: D(G(z)), the sigmoid of f.
        loss: the loss.
        slope: derivative of the loss with respect to f.
        slope_of_output: derivative of the loss with respect to D(G(z)).
    """

    logits: Tensor
    output: Tensor
    loss: Tensor
    slope: Tensor
    slope_of_output: Tensor


def objective_curve(logits: Tensor, *, saturating: bool) -> Curve:
    """Evaluate a generator loss and both derivatives.

    Args:
        logits: ``[N]`` float64, with absolute values below 30, so that D(G(z)) does not round to 1.
        saturating: as for :func:`fastgan.generator_loss`.
    """
    output = logits.sigmoid().requires_grad_()
    through = output.logit()
    loss = generator_loss(through, saturating=saturating, reduction="none")
    slope, slope_of_output = torch.autograd.grad(loss.sum(), (through, output))
    return Curve(logits, output.detach(), loss.detach(), slope, slope_of_output)


def flat_below(limit: float, dtype: torch.dtype) -> float:
    """The logit below which the saturating loss's derivative is at most ``limit`` in a dtype.

    For a limit of 0 the derivative itself underflows there, so scaling the loss does not help.
    """
    logits = torch.arange(-24, 0, 2**-6, dtype=dtype).requires_grad_()
    loss = generator_loss(logits, saturating=True, reduction="sum")
    (slope,) = torch.autograd.grad(loss, logits)
    return logits.detach()[slope.abs() <= limit].max().item()


def save_objectives(path: str | Path) -> None:
    """Write the figure: losses above, derivatives below; against D(G(z)) left, against its logit right.

    Args:
        path: file to write; the suffix determines the format, as in matplotlib.
    """
    by_output = torch.linspace(1 / _POINTS, 1 - 1 / _POINTS, _POINTS, dtype=torch.float64).logit()
    by_logit = torch.linspace(*_LOGITS, _POINTS, dtype=torch.float64)
    figure = new_figure(11.5, 8.5)
    panels = figure.subplots(2, 2)
    for saturating, color in ((True, _SATURATING), (False, _NON_SATURATING)):
        left, right = (objective_curve(logits, saturating=saturating) for logits in (by_output, by_logit))
        for axes, x, y in (
            (panels[0, 0], left.output, left.loss),
            (panels[0, 1], right.logits, right.loss),
            (panels[1, 0], left.output, left.slope_of_output),
            (panels[1, 1], right.logits, right.slope),
        ):
            axes.plot(x, y, color=color, linewidth=2.2)
    _explain_against_output(panels[0, 0], panels[1, 0])
    _explain_against_logit(panels[0, 1], panels[1, 1])
    for axes in panels.flat:
        open_axes(axes)
    save_figure(figure, path)


def _explain_against_output(losses: Axes, slopes: Axes) -> None:
    losses.set(title="Both losses fall as D takes more samples for real.", ylabel="loss (nats)", ylim=(-5, 5))
    _say(losses, 0.09, 3.0, "non-saturating, −log D(G(z))", _NON_SATURATING)
    _say(losses, 0.33, -2.6, "saturating, log(1 − D(G(z)))", _SATURATING)
    slopes.set(title="Only the non-saturating loss is steep near 0.", ylim=(-12, 0.5))
    slopes.set(ylabel="derivative with respect to D(G(z))")
    _say(slopes, 0.15, -9, "−1 / D(G(z))", _NON_SATURATING)
    _say(slopes, 0.60, -9, "−1 / (1 − D(G(z)))", _SATURATING)
    for axes in (losses, slopes):
        axes.set(xlabel="D(G(z))", xlim=(0, 1))


def _explain_against_logit(losses: Axes, slopes: Axes) -> None:
    losses.set(title="Where D is sure, the saturating loss is flat.", ylabel="loss (nats)", ylim=(-8, 21))
    _say(losses, -12.6, 14.5, "non-saturating, softplus(−f)", _NON_SATURATING)
    _say(losses, -16.5, -1.8, "saturating, −softplus(f)", _SATURATING)
    slopes.set(title="There its gradient vanishes, and the other's is −1.", ylim=(-1.08, 0.08))
    slopes.set(ylabel="derivative with respect to the logit")
    _say(slopes, -16.5, -0.92, "σ(f) − 1", _NON_SATURATING)
    _say(slopes, -16.5, -0.11, "−σ(f)", _SATURATING)
    small, zero = flat_below(1e-3, torch.float64), flat_below(0.0, torch.float16)
    for axes in (losses, slopes):
        axes.set(xlabel="f, the logit of D(G(z))", xlim=_LOGITS)
        axes.axvspan(_LOGITS[0], small, color=GUIDE, alpha=0.12, linewidth=0)
        axes.axvspan(_LOGITS[0], zero, color=GUIDE, alpha=0.3, linewidth=0)
    slopes.plot(0, -0.5, marker="o", color=GUIDE, zorder=3)
    _say(slopes, 0.6, -0.51, "−½ at D = ½", "black")
    _say(slopes, zero + 0.8, -0.56, f"saturating gradient\nbelow 10⁻³\nfrom f = −{-small:.1f} down", "black")
    _say(slopes, zero - 1.7, -0.77, f"0 in float16 from −{-zero:.1f} down", "black", rotation=90)


def _say(axes: Axes, x: float, y: float, text: str, color: str, rotation: float = 0) -> None:
    axes.text(x, y, text, color=color, fontsize=10.5, rotation=rotation)
