"""Your own training loop with fused layers and losses. The host waits for the GPU only to print."""

from __future__ import annotations

import sys

import torch

import fastgan
from fastgan.data import load
from fastgan.nn import MLP

steps = int(sys.argv[1]) if sys.argv[1:] else 5_000
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)

data = load("ring").samples.to(device)  # eight Gaussians, [N, 2]
G, D = MLP([2, 64, 64, 2]).to(device), MLP([2, 64, 64, 1]).to(device)
opt_G, opt_D = (torch.optim.Adam(net.parameters(), 1e-3, betas=(0.5, 0.999)) for net in (G, D))

for step in range(1, steps + 1):
    x = data[torch.randint(len(data), (256,), device=device)]
    fake = G(torch.randn(256, 2, device=device))

    # D has no batch statistics, so both batches go through it at once
    real_logits, fake_logits = D(torch.cat([x, fake.detach()])).chunk(2)
    loss_D, stats = fastgan.discriminator_loss(real_logits, fake_logits, return_stats=True)
    opt_D.zero_grad()
    loss_D.backward()
    opt_D.step()

    loss_G = fastgan.generator_loss(D(fake))
    opt_G.zero_grad()
    loss_G.backward(inputs=list(G.parameters()))  # no gradients for D
    opt_G.step()

    if step % 1_000 == 0 or step == steps:
        d_real, d_fake, saturated = stats.tolist()
        print(f"step {step}: D(x) {d_real:.2f}, D(G(z)) {d_fake:.2f}, {saturated:.0%} of logits saturated")
