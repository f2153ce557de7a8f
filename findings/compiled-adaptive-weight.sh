#!/bin/sh
# VQGAN's adaptive weight cannot be computed once the decoder or the discriminator is compiled.
#
# The weight of the adversarial loss is a quotient of two gradients at the decoder's last layer, each from
# torch.autograd.grad(..., retain_graph=True), before the step's own backward pass. In eager PyTorch that is ordinary.
# torch.compile lets the backward pass write into buffers that it kept ("donated buffers"), so a graph of a compiled
# function can be differentiated once, and the first of the three passes raises an error. Cure:
# torch._functorch.config.donated_buffer = False before the first call, which costs memory; or compile without the last
# layer and differentiate from its input.
#
# Needs python3 with venv and pip, a C++ compiler, and no GPU. Installs the version below into a temporary folder, which
# is removed at the end. Exits with 0 if it behaves so, and with 1 if it does not.
#
#     sh findings/compiled-adaptive-weight.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/weight.py" <<'PYTHON'
import sys

import torch
from torch import nn


def weight(compiled):
    """The weight, or the error in place of it."""
    torch.manual_seed(0)
    torch.compiler.reset()
    decoder = nn.Sequential(nn.Conv2d(4, 8, 3), nn.SiLU(), nn.Conv2d(8, 3, 3))
    image = (torch.compile(decoder) if compiled else decoder)(torch.randn(2, 4, 16, 16))
    losses = (image - 1).abs().mean(), -image.square().mean()
    try:
        of_reconstruction, of_adversary = (
            torch.autograd.grad(loss, decoder[2].weight, retain_graph=True)[0].norm() for loss in losses
        )
        return f"{of_reconstruction / (of_adversary + 1e-4):.4f}"
    except RuntimeError as error:
        return str(error).split(".")[0]


print(f"torch {torch.__version__}")
eager, compiled = weight(False), weight(True)
torch._functorch.config.donated_buffer = False
cured = weight(True)
for name, found in (("eager", eager), ("compiled", compiled), ("without donated buffers", cured)):
    print(f"  {name}: {found}")
fails = "donated buffers" in compiled and cured == eager
print("  a compiled decoder", "has no adaptive weight" if fails else "has one: fixed")
sys.exit(not fails)
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy setuptools
TORCHINDUCTOR_CACHE_DIR="$folder/cache" "$folder/env/bin/python" -W ignore "$folder/weight.py"
