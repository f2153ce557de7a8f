#!/bin/sh
# DistributedDataParallel does not average the gradients of a gradient penalty.
#
# R1 and WGAN-GP differentiate D's gradient, which the bias of the last layer does not enter. If the penalty has a
# backward pass of its own, as in StyleGAN's lazy regularization, that bias gets no gradient, and
# DistributedDataParallel waits for it: it averages no gradient of that pass, without a word, and raises an error at the
# next forward pass. With find_unused_parameters=True it cannot tell either, as the last bias is used in the forward
# pass. Cure: add 0 * logits.sum() to the penalty, so that the pass reaches every parameter.
#
# Needs python3 with venv and pip, and no GPU. Installs the version below into a temporary folder, which is removed at
# the end, and starts two processes. Exits with 0 if it behaves so, and with 1 if it does not.
#
#     sh findings/ddp-gradient-penalty.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/penalty.py" <<'PYTHON'
import sys

import torch
import torch.distributed as dist
from torch import nn


def run(cure):
    """Whether the first weight's gradient is the same on both processes, and the error of the next step."""
    torch.manual_seed(0)
    net = nn.parallel.DistributedDataParallel(
        nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    )
    torch.manual_seed(1 + dist.get_rank())
    x = torch.randn(16, 4, requires_grad=True)
    logits = net(x)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    penalty = slope.square().sum(1).mean()
    (penalty + 0 * logits.sum() if cure else penalty).backward()
    grad = net.module[0].weight.grad
    both = [torch.zeros_like(grad) for _ in range(2)]
    dist.all_gather(both, grad)
    last = net.module[2].bias.grad
    try:
        net(torch.randn(16, 4)).sum().backward()
        error = "none"
    except RuntimeError as raised:
        error = str(raised).split(".")[0]
    return torch.equal(*both), last is None, error


torch.set_num_threads(1)
rank = int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meet", rank=rank, world_size=2)
plain, cured = run(False), run(True)
if rank == 0:
    print(f"torch {torch.__version__}, two processes, R1 with a backward pass of its own")
    for name, (same, missing, error) in (("as written", plain), ("with 0 * logits.sum()", cured)):
        print(f"  {name}: averaged: {same}; last bias without a gradient: {missing}; next step's error: {error}")
sys.exit(not (not plain[0] and plain[1] and plain[2] != "none" and cured == (True, False, "none")))
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
"$folder/env/bin/python" -W ignore "$folder/penalty.py" "$folder" 1 &
"$folder/env/bin/python" -W ignore "$folder/penalty.py" "$folder" 0
wait $!
