"""Your own training loop in several processes: torchrun --nproc-per-node=2 examples/data_parallel.py

fastgan's loop supports this without further code: torchrun ... -m fastgan train.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
import torch.distributed.nn  # before init_process_group, else defaults of its functions keep the group alive
from torch.nn.parallel import DistributedDataParallel

import fastgan
from fastgan.data import load
from fastgan.nn import MLP

steps = int(sys.argv[1]) if sys.argv[1:] else 2_000
dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
rank, world = dist.get_rank(), dist.get_world_size()
device = torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else "cpu"

G, D = (DistributedDataParallel(MLP([2, 64, 64, out]).to(device)) for out in (2, 1))
opt_G, opt_D = (torch.optim.Adam(net.parameters(), 1e-3, betas=(0.5, 0.999)) for net in (G, D))
data = load("ring").samples.to(device)
torch.manual_seed(1 + rank)  # each process draws its own share of a batch
share = 256 // world

for _ in range(steps):
    x = data[torch.randint(len(data), (share,), device=device)]
    fake = G(torch.randn(share, 2, device=device))

    real_logits, fake_logits = D(torch.cat([x, fake.detach()])).chunk(2)  # one pass, so one all-reduce
    loss_D = fastgan.discriminator_loss(real_logits, fake_logits)
    opt_D.zero_grad()
    loss_D.backward()
    opt_D.step()

    loss_G = fastgan.generator_loss(D.module(fake))  # not through DDP, as D's gradients are not needed
    opt_G.zero_grad()
    loss_G.backward(inputs=list(G.parameters()))
    opt_G.step()

weights = torch.cat([p.detach().flatten() for net in (G, D) for p in net.parameters()])
others = [torch.empty_like(weights) for _ in range(world)]
dist.all_gather(others, weights)
if rank == 0:
    print(f"{world} processes, alike: {all(torch.equal(weights, other) for other in others)}")
del G, D  # they keep the group alive; its threads may abort the process at exit
dist.destroy_process_group()
