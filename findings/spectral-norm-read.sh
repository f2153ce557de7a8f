#!/bin/sh
# Reading the weight of a spectrally normalized layer changes the layer.
#
# torch.nn.utils.parametrizations.spectral_norm runs a step of power iteration each time .weight is read in training
# mode, not each time the layer is called. A script that logs the norm of a discriminator's weights, clips or
# regularizes them, or asks for their shape, trains another discriminator than one that does not: the buffers move, and
# so does the next output. The old torch.nn.utils.spectral_norm iterates in a hook before the forward pass, and a read
# changes nothing. Cure: read under torch.nn.utils.parametrize.cached(), in evaluation mode, or read
# layer.parametrizations.weight.original.
#
# Needs python3 with venv and pip, and no GPU. Installs each version below into a temporary folder, which is removed
# at the end. Exits with 0 if every version behaves so, and with 1 if one does not.
#
#     sh findings/spectral-norm-read.sh [version ...]

set -eu
[ $# -gt 0 ] || set -- 2.13.0 2.14.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/read.py" <<'PYTHON'
import sys

import torch
from torch import nn


def change(norm, read):
    """By how much the output changes if `read` happens before the forward pass."""
    outputs = []
    for happens in (False, True):
        torch.manual_seed(0)
        layer, x = norm(nn.Linear(64, 64)), torch.randn(8, 64)
        if happens:
            read(layer)
        outputs.append(layer(x))
    return (outputs[1] - outputs[0]).abs().max().item()


print(f"torch {torch.__version__}, a layer in training mode")
new, old = nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm
by_shape = change(new, lambda layer: layer.weight.shape)
by_norm = change(new, lambda layer: layer.weight.norm())
before = change(old, lambda layer: layer.weight.norm())
original = change(new, lambda layer: layer.parametrizations.weight.original.norm())
print(f"  parametrizations.spectral_norm: reading weight.shape changes the next output by {by_shape:.2g}")
print(f"  parametrizations.spectral_norm: reading weight.norm() changes it by {by_norm:.2g}")
print(f"  utils.spectral_norm: reading weight.norm() changes it by {before:.2g}")
print(f"  reading parametrizations.weight.original changes it by {original:.2g}")
moves = by_shape > 0 and by_norm > 0 and before == original == 0
print("  a read", "changes the layer" if moves else "changes nothing: fixed")
sys.exit(not moves)
PYTHON

gone=0
for version in "$@"; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "torch==$version" numpy
    "$folder/$version/bin/python" -W ignore "$folder/read.py" || gone=1
    rm -rf "${folder:?}/$version"
done
exit $gone
