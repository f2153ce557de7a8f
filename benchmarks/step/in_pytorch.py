"""The step as usually written in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.machine import finish_of
from benchmarks.step.problem import BETAS, EPS, LATENT_DIM, LEARNING_RATE, SLOPE, Problem, Weights


class Eager:
    """``BCEWithLogitsLoss`` with ``ones_like``, two Adams, one pass through D per batch.

    Args:
        compiled: mode of ``torch.compile`` for the functions that return losses; None for eager.
        precision: ``"bf16"`` for autocast.
        capturable: passed to both Adams, for capture in a CUDA graph.
    """

    steps_a_run = 1

    def __init__(
        self,
        problem: Problem,
        device: str = "cpu",
        compiled: str | None = None,
        precision: str = "fp32",
        capturable: bool = False,
    ) -> None:
        g, d = problem.weights()
        self.generator = _sequential(g, [nn.Tanh()]).to(device)
        self.discriminator = _sequential(d, []).to(device)
        self.problem, self.device, self.data = problem, device, problem.data(device)
        self.finish = finish_of(device)
        self.of_g, self.of_d = (
            torch.optim.Adam(module.parameters(), LEARNING_RATE, BETAS, EPS, capturable=capturable)
            for module in (self.generator, self.discriminator)
        )
        self.loss = nn.BCEWithLogitsLoss()
        self.autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
        losses = (self._both_losses, self._loss_of_d, self._loss_of_g)
        self.is_compiled = compiled is not None
        self.both, self.first, self.second = (
            [torch.compile(loss, mode=compiled) for loss in losses] if compiled else losses
        )

    def step(self, real: Tensor, first: Tensor, second: Tensor) -> None:
        if self.is_compiled:
            torch.compiler.cudagraph_mark_step_begin()
        self.of_d.zero_grad()
        self.of_g.zero_grad()
        if self.problem.simultaneous:
            with self.autocast:
                loss, loss_g = self.both(real, first)
            d, g = list(self.discriminator.parameters()), list(self.generator.parameters())
            loss.backward(inputs=d, retain_graph=True)
            loss_g.backward(inputs=g)
        else:
            with self.autocast:
                loss = self.first(real, first)
            loss.backward()
            self.of_d.step()
            with self.autocast:
                loss_g = self.second(second)
            loss_g.backward()
        self.of_g.step()
        if self.problem.simultaneous:
            self.of_d.step()

    def run(self) -> None:
        batch = self.problem.batch
        real = self.data[torch.randint(len(self.data), (batch,), device=self.device)]
        first = torch.randn(batch, LATENT_DIM, device=self.device)
        second = first if self.problem.simultaneous else torch.randn(batch, LATENT_DIM, device=self.device)
        self.step(real, first, second)

    def weights(self) -> list[Tensor]:
        return [p.detach().cpu() for m in (self.generator, self.discriminator) for p in m.parameters()]

    def _loss_of_d(self, real: Tensor, latent: Tensor) -> Tensor:
        if self.problem.r1_gamma:
            real = real.detach().requires_grad_()
        real_logits = self.discriminator(real)
        fake_logits = self.discriminator(self.generator(latent).detach())
        loss: Tensor = self.loss(real_logits, torch.ones_like(real_logits))
        loss = loss + self.loss(fake_logits, torch.zeros_like(fake_logits))
        if self.problem.r1_gamma:
            (slope,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
            loss = loss + self.problem.r1_gamma / 2 * slope.square().sum(1).mean()
        return loss

    def _loss_of_g(self, latent: Tensor) -> Tensor:
        logits = self.discriminator(self.generator(latent))
        loss: Tensor = self.loss(logits, torch.ones_like(logits))
        return loss

    def _both_losses(self, real: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        real_logits, fake_logits = self.discriminator(real), self.discriminator(self.generator(latent))
        ones, zeros = torch.ones_like(real_logits), torch.zeros_like(fake_logits)
        loss = self.loss(real_logits, ones) + self.loss(fake_logits, zeros)
        return loss, self.loss(fake_logits, ones)


class Graphed(Eager):
    """The eager step, captured once in a CUDA graph and replayed."""

    def __init__(self, problem: Problem, device: str, precision: str = "fp32") -> None:
        super().__init__(problem, device, precision=precision, capturable=True)
        self.graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        if self.graph is None:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for _ in range(3):
                    super().run()
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                super().run()
        self.graph.replay()


def _sequential(weights: Weights, last: list[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in weights:
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight = nn.Parameter(weight.clone())
        linear.bias = nn.Parameter(bias.clone())
        layers += [linear, nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1], *last)
