"""The optimal discriminator and the value function there (Goodfellow et al., 2014, section 4.1).

For two distributions over 16 points the optimum is known: D* = p_data / (p_data + p_g), and V(D*, G) =
-log 4 + 2 JSD(p_data, p_g), which is -log 4 if they are equal. Only D is trained: once as a table of logits
on exact expectations, and once as a network on samples, as in a training run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments import markdown
from experiments.record import PICTURE, arguments, command, write_result
from fastgan.metrics import jensen_shannon
from fastgan.nn import MLP
from fastgan.ops import discriminator_loss
from fastgan.plots.figure import GUIDE, REAL, new_figure, open_axes, save_figure

POINTS = 16
SHIFTS = (0, 1, 2, 4, 8)
TABLE_STEPS = 1_000
NETWORK_STEPS = 3_000
BATCH = 1_024
_CENTER, _SIGMA = 3.5, 2.0
_COLORS = (GUIDE, "#4dabf7", REAL, "#e8590c", "#9c36b5")


@dataclass(frozen=True)
class Case:
    """Two discretized Gaussians, the generator's ``shift`` points to the right. Float64, ``[POINTS]``."""

    shift: int

    @property
    def data(self) -> Tensor:
        return _gaussian(_CENTER)

    @property
    def generated(self) -> Tensor:
        return _gaussian(_CENTER + self.shift)

    @property
    def optimum(self) -> Tensor:
        """D*."""
        return self.data / (self.data + self.generated)

    @property
    def optimal_value(self) -> float:
        """V(D*, G)."""
        return -math.log(4) + 2 * jensen_shannon(self.generated, self.data)

    def value(self, logits: Tensor) -> Tensor:
        """V(D, G) for D's logits at the points, as exact expectations."""
        real, fake = discriminator_loss(logits, logits, reduction="none")
        return -(self.data @ real + self.generated @ fake)


@dataclass(frozen=True)
class Trained:
    """D's logits at the points, and V before each step."""

    logits: Tensor
    values: list[float]

    def compared_with(self, case: Case) -> dict[str, float]:
        """D's distance from the optimum. The mean error is over the mixture of both distributions."""
        error = (self.logits.sigmoid() - case.optimum).abs()
        value = float(case.value(self.logits))
        return {
            "V": value,
            "V - V(D*)": value - case.optimal_value,
            "mean |D - D*|": float((case.data + case.generated) @ error / 2),
        }


def train_table(case: Case, steps: int = TABLE_STEPS) -> Trained:
    """Train one logit per point from a random start, with Adam on the exact loss."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(POINTS, dtype=torch.float64, generator=rng).mul_(3).requires_grad_()
    # beta2 is small, as gradients fall by orders of magnitude during training
    optimizer = torch.optim.Adam([logits], lr=0.3, betas=(0.9, 0.9))
    values = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / steps)
        value = case.value(logits)
        values.append(value.item())
        optimizer.zero_grad()
        (-value).backward()
        optimizer.step()
    return Trained(logits.detach(), values)


def train_network(case: Case, steps: int = NETWORK_STEPS) -> Trained:
    """Train two hidden layers on one-hot inputs, with Adam on batches of samples."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MLP([POINTS, 64, 64, 1])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    inputs, values = torch.eye(POINTS), []
    for step in range(steps):
        values.append(float(case.value(_logits(network, inputs))))
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        batches = (torch.multinomial(p, BATCH, True, generator=rng) for p in (case.data, case.generated))
        loss = discriminator_loss(*(network(inputs[batch]) for batch in batches))
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Trained(_logits(network, inputs), values)


@torch.no_grad()
def _logits(network: MLP, inputs: Tensor) -> Tensor:
    logits: Tensor = network(inputs)[:, 0].double()
    return logits


def _gaussian(center: float) -> Tensor:
    places = torch.arange(POINTS, dtype=torch.float64)
    return torch.softmax(-(places - center).square() / (2 * _SIGMA**2), dim=0)


def save_picture(path: Path, runs: list[tuple[Case, Trained, Trained]]) -> None:
    """Draw D and D*, and V over the steps with its limit, -log 4 + 2 JSD."""
    figure = new_figure(12, 5)
    outputs, values = figure.subplots(1, 2)
    places = torch.arange(POINTS)
    for (case, table, network), color in zip(runs, _COLORS, strict=True):
        outputs.plot(places, case.optimum, color=color, linewidth=1.2)
        outputs.plot(places, table.logits.sigmoid(), ".", color=color, markersize=9)
        outputs.plot(places, network.logits.sigmoid(), "o", color=color, markersize=9, fillstyle="none")
        values.plot(range(1, NETWORK_STEPS + 1), network.values, color=color, linewidth=1.8)
        values.axhline(case.optimal_value, color=color, linestyle="--", linewidth=1)
        name = f"$p_g$ shifted by {case.shift}" if case.shift else "$p_g = p_{data}$: −log 4"
        height = case.optimal_value + (0.015 if case.shift else -0.05)
        values.text(0.8 * NETWORK_STEPS, height, name, color=color, ha="right")
    outputs.set(title="D reaches $p_{data} / (p_{data} + p_g)$.", xlabel="point x", ylabel="D(x)")
    outputs.text(0, 0.06, "line: D*\n•  table of logits, exact loss\n○  network, on samples")
    outputs.text(15.3, 0.56, "hardly a sample\nout here", ha="right")
    values.set(
        title="V reaches −log 4 + 2 JSD, dashed.", xlabel="step of the network", ylabel="V(D, G) (nats)"
    )
    values.set(xscale="log", xlim=(1, NETWORK_STEPS), ylim=(-1.5, 0))
    for axes in (outputs, values):
        open_axes(axes)
    save_figure(figure, path)


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table with the errors of table and network, a row per shift."""
    trained = ("table", "network")
    errors = ("V - V(D*)", "mean |D - D*|")
    rows = []
    for case, found in result["cases"].items():
        exact = [f"{found[name]:.4f}".replace("-", "−") for name in ("JSD", "V(D*)")]
        off = [markdown.number(found[who][error], digits=1) for who in trained for error in errors]
        rows.append([case.removeprefix("shift "), *exact, *off])
    titles = [f"{who}: {error}".replace("|", "\\|").replace("-", "−") for who in trained for error in errors]
    return [markdown.table(["p_g shifted by", "JSD", "V(D*)", *titles], rows)]


@command
def main() -> None:
    folder: Path = arguments("equilibrium", __doc__, seeds=0).parse_args().out
    runs = [(case, train_table(case), train_network(case)) for case in map(Case, SHIFTS)]
    results: dict[str, Any] = {}
    for case, table, network in runs:
        results[f"shift {case.shift}"] = {
            "JSD": jensen_shannon(case.generated, case.data),
            "V(D*)": case.optimal_value,
            "table": table.compared_with(case),
            "network": network.compared_with(case),
        }
    write_result(folder, "equilibrium", {"cases": results}, tables)
    save_picture(folder / PICTURE, runs)


if __name__ == "__main__":
    main()
