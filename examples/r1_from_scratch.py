"""The R1 penalty written by hand: a gradient of a gradient, which fused layers support."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

import fastgan
from fastgan.data import load

steps = int(sys.argv[1]) if sys.argv[1:] else 5_000
gamma, interval = 0.5, 4
torch.manual_seed(0)

G = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
fastgan.fuse(G)
fastgan.fuse(D)
opt_G, opt_D = (torch.optim.Adam(net.parameters(), 1e-3, betas=(0.0, 0.99)) for net in (G, D))
data = load("ring").samples


def r1_penalty(x: Tensor) -> Tensor:
    """gamma/2 E |grad_x D(x)|^2 on real samples (Mescheder et al., 2018, equation 9)."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return gamma / 2 * slope.square().sum(dim=1).mean()


for step in range(1, steps + 1):
    x = data[torch.randint(len(data), (256,))]
    fake = G(torch.randn(256, 2))

    loss_D = fastgan.discriminator_loss(D(x), D(fake.detach()))
    if step % interval == 0:  # lazy: scaled up for the steps without a penalty (Karras et al., 2020)
        penalty = r1_penalty(x)
        loss_D = loss_D + interval * penalty
    opt_D.zero_grad()
    loss_D.backward()
    opt_D.step()

    loss_G = fastgan.generator_loss(D(fake))
    opt_G.zero_grad()
    loss_G.backward()
    opt_G.step()

print(f"penalty {penalty.item():.3f} after {steps} steps")
